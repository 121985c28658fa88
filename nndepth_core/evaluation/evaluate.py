"""Models on a data set: how good and how fast they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
from tqdm import tqdm

from nndepth_core.data.sample import MonoSample, StereoSample, spread
from nndepth_core.estimator import StereoEstimator, StereoResult, check_pair
from nndepth_core.evaluation.metrics import regional_metrics
from nndepth_core.evaluation.mono_metrics import DEPTH_RANGE, Alignment, Output, mono_metrics
from nndepth_core.evaluation.regions import ALL, edge_bands, stereo_regions
from nndepth_core.evaluation.sparsification import sparsify
from nndepth_core.plausibility import (
    Finding,
    Once,
    examine_estimate,
    examine_levels,
    examine_truth,
)

EXAMINED_SAMPLES = 5

Metrics = dict[str, dict[str, float]]
"""Region -> measure -> value."""

SampleT = TypeVar('SampleT')
SampleT_co = TypeVar('SampleT_co', covariant=True)


class Samples(Protocol[SampleT_co]):
    """A map-style data set."""

    name: str

    def __len__(self) -> int:
        """How many samples there are."""
        ...

    def __getitem__(self, index: int, /) -> SampleT_co:
        """Read a sample; ValueError or OSError if it is damaged."""
        ...


@dataclass(frozen=True)
class SampleScore:
    """One model on one sample.

    Attributes:
        name: of the sample.
        size: (width, height) of its images.
        metrics: see `regional_metrics` and `mono_metrics`; empty without truth.
        milliseconds: from images to result.
    """

    name: str
    size: tuple[int, int]
    metrics: Metrics
    milliseconds: float


@dataclass
class ModelScore:
    """One model on all samples.

    Attributes:
        model: what to call it.
        runs_on: engine and device.
        samples: in the order of the data set.
    """

    model: str
    runs_on: str = ''
    samples: list[SampleScore] = field(default_factory=list)

    def mean(self) -> Metrics:
        """Mean over the samples that have the region, each with the same weight."""
        rows: dict[str, list[dict[str, float]]] = {}
        for sample in self.samples:
            for region, metrics in sample.metrics.items():
                rows.setdefault(region, []).append(metrics)
        return {
            region: {key: float(np.mean([row[key] for row in metrics])) for key in metrics[0]}
            for region, metrics in rows.items()
        }

    def speed(self) -> dict[str, float]:
        """Milliseconds that 50 and 95 percent of the samples stay below: 'p50', 'p95'.

        The first sample of a size, for which an engine prepares, counts only if all are first.
        """
        firsts = {sample.size: index for index, sample in reversed([*enumerate(self.samples)])}
        later = [
            sample.milliseconds
            for index, sample in enumerate(self.samples)
            if index != firsts[sample.size]
        ]
        durations = later or [sample.milliseconds for sample in self.samples]
        return {f'p{share}': float(np.percentile(durations, share)) for share in (50, 95)}


@dataclass
class Evaluation:
    """Models on one data set.

    Attributes:
        dataset: its name.
        models: in the order they were given, all with the same samples.
        skipped: name of a sample that could not be used -> why.
        findings: (where, what) does not look right: in the data set, or in what a model makes of
            the first samples.
    """

    dataset: str
    models: list[ModelScore]
    skipped: dict[str, str] = field(default_factory=dict)
    findings: list[tuple[str, Finding]] = field(default_factory=list)


Observer = Callable[[StereoSample, Sequence[StereoResult], Sequence[SampleScore]], None]
"""Told of every sample: its name is never empty; results and scores are in the models' order."""


def evaluate_stereo(
    models: Mapping[str, StereoEstimator],
    dataset: Samples[StereoSample],
    *,
    confidence: bool = False,
    bands: bool = False,
    truth: bool = True,
    limit: int = 0,
    strict: bool = False,
    progress: bool = False,
    observe: Observer | None = None,
) -> Evaluation:
    """Measure models on the same samples, sample by sample in turns.

    Args:
        models: what to call each -> the estimator.
        dataset: pairs with their truth.
        confidence: measure too how well the confidence sorts: 'ause', 'ause_normalized' and
            'aurg' of `sparsify`, for the absolute error.
        bands: measure too along depth edges, in the regions of `edge_bands`.
        truth: skip samples without any known truth; else they are only timed.
        limit: samples at the most, spread evenly over the data set; 0 for all.
        strict: stop at a sample that cannot be used instead of skipping it.
        progress: show a bar where there is a terminal.
        observe: see `Observer`.

    Raises:
        ValueError, OSError: no sample can be used, or with `strict` one cannot.
        EngineError: a model fails.
    """
    evaluation = Evaluation(
        dataset.name,
        [ModelScore(name, f'{x.engine.name}/{x.engine.device}') for name, x in models.items()],
    )

    examination = _Examination(evaluation, models)

    def measure(sample: StereoSample, name: str) -> list[SampleScore]:
        _check(sample, truth)
        results = [model(sample.left, sample.right, confidence) for model in models.values()]
        examination(sample, name, results)
        regions = stereo_regions(sample.left, sample.disparity, sample.occluded)
        if bands:
            regions |= edge_bands(sample.disparity)
        scores = [
            SampleScore(
                name,
                (sample.left.shape[1], sample.left.shape[0]),
                _stereo_metrics(result, sample.disparity, regions),
                sum(result.milliseconds.values()),
            )
            for result in results
        ]
        if observe is not None:
            observe(sample, results, scores)
        return scores

    return _collect(dataset, evaluation, measure, limit, strict, progress)


def evaluate_mono(
    models: Mapping[str, Callable[[np.ndarray], np.ndarray]],
    dataset: Samples[MonoSample],
    *,
    output: Output = 'depth',
    alignment: Alignment = 'none',
    depth_range: tuple[float, float] = DEPTH_RANGE,
    limit: int = 0,
    strict: bool = False,
    progress: bool = False,
) -> Evaluation:
    """Measure models of depth from one image on the same samples.

    Args:
        models: what to call each -> from uint8 RGB (H, W, 3) to float (H, W).
        dataset: images with their depth in metres.
        output: what the models return, see `mono_metrics`.
        alignment: see `align_depth`.
        depth_range: see `mono_metrics`.
        limit: samples at the most, spread evenly over the data set; 0 for all.
        strict: stop at a sample that cannot be used instead of skipping it.
        progress: show a bar where there is a terminal.

    Raises:
        ValueError, OSError: no sample can be used, or with `strict` one cannot.
    """

    def measure(sample: MonoSample, name: str) -> list[SampleScore]:
        if sample.meaning != 'metric':
            raise ValueError(
                f'the truth is {sample.meaning}, not metres; choose a data set of metric depth'
            )
        scores = []
        for model in models.values():
            start = time.perf_counter()
            estimate = model(sample.image)
            milliseconds = 1000 * (time.perf_counter() - start)
            metrics = mono_metrics(estimate, sample.depth, output, alignment, depth_range)
            size = (sample.image.shape[1], sample.image.shape[0])
            scores.append(SampleScore(name, size, {ALL: metrics}, milliseconds))
        return scores

    evaluation = Evaluation(dataset.name, [ModelScore(name) for name in models])
    return _collect(dataset, evaluation, measure, limit, strict, progress)


def _collect(
    dataset: Samples[SampleT],
    evaluation: Evaluation,
    measure: Callable[[SampleT, str], list[SampleScore]],
    limit: int,
    strict: bool,
    progress: bool,
) -> Evaluation:
    indices = spread(len(dataset), limit)
    if not indices:
        raise ValueError(f'{evaluation.dataset} has no samples')
    names: set[str] = set()  # results are kept by name, and a mixture repeats samples
    for index in tqdm(indices, unit='sample', disable=None if progress else True):
        name = _name(dataset, index)
        try:
            sample = dataset[index]
            name = getattr(sample, 'name', '') or name
            if name in names:
                name = f'{name} ({index})'
            names.add(name)
            scores = measure(sample, name)
        except (ValueError, OSError) as error:
            if strict:
                raise
            evaluation.skipped[name] = ' '.join(str(error).split())
            continue
        for model, score in zip(evaluation.models, scores, strict=True):
            model.samples.append(score)
    if not evaluation.models[0].samples:
        name, why = next(iter(evaluation.skipped.items()))
        raise ValueError(
            f'{evaluation.dataset}: none of {len(indices)} samples can be used; {name}: {why}'
        )
    return evaluation


def _name(dataset: Samples[SampleT], index: int) -> str:
    """What to call a sample that cannot be read."""
    entries = getattr(dataset, 'entries', None)
    return entries[index].name if entries else f'sample {index}'


def _check(sample: StereoSample, truth: bool) -> None:
    check_pair(sample.left, sample.right)
    for what, values in (('truth', sample.disparity), ('occlusion mask', sample.occluded)):
        if values is not None and values.shape != sample.left.shape[:2]:
            raise ValueError(
                f'the {what} is {values.shape[1]}x{values.shape[0]} and the left image '
                f'{sample.left.shape[1]}x{sample.left.shape[0]}; they must have one size'
            )
    if truth and not np.isfinite(sample.disparity).any():
        raise ValueError('the truth has no known pixel; is it the right file and scale?')


class _Examination:
    """Adds what does not look right to an evaluation, each kind once.

    Numbers of the truth are looked at in every sample, the images only in the first ones.
    """

    def __init__(self, evaluation: Evaluation, models: Mapping[str, StereoEstimator]) -> None:
        self.findings = evaluation.findings
        self.models = models
        self.once = {name: Once() for name in ('', *models)}
        self.left = EXAMINED_SAMPLES

    def __call__(self, sample: StereoSample, name: str, results: Sequence[StereoResult]) -> None:
        left, right, first = sample.left, sample.right, self.left > 0
        self.left -= 1
        found = examine_levels(left, right) if first else []
        found += examine_truth(left, right, sample.disparity, sample.occluded, warp=first)
        self._add('', f'{name}', found)
        for (model, estimator), result in zip(self.models.items(), results, strict=True):
            if first:
                scale = result.disparity.shape[1] / result.processing_size[0]
                largest = estimator.engine.spec.bounds[1] * scale
                found = examine_estimate(left, right, result.disparity, largest=largest)
                self._add(model, f'{model}, {name}', found)

    def _add(self, model: str, where: str, found: Sequence[Finding]) -> None:
        self.findings += [(where, finding) for finding in self.once[model](found)]


def _stereo_metrics(
    result: StereoResult, truth: np.ndarray, regions: Mapping[str, np.ndarray]
) -> Metrics:
    metrics = regional_metrics(result.disparity, truth, regions)
    if result.confidence is not None:
        error = np.abs(result.disparity - truth)
        for name, values in metrics.items():
            values |= _sparsification(error[regions[name]], result.confidence[regions[name]])
    return metrics


def _sparsification(error: np.ndarray, confidence: np.ndarray) -> dict[str, float]:
    names = ('ause', 'ause_normalized', 'aurg')
    if not np.isfinite(error).any():
        return dict.fromkeys(names, float('nan'))
    found = sparsify(error, confidence)
    return {name: getattr(found, name) for name in names}
