"""Measuring how good and how fast models are on a data set, whatever their task is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from tqdm import tqdm

from nndepth_core.data.datasets.base import Source
from nndepth_core.data.sample import spread
from nndepth_core.estimator import Estimator
from nndepth_core.evaluation.measures import Measures, Metrics, ResultT, SampleT, View
from nndepth_core.plausibility import Finding, Once

EXAMINED_SAMPLES = 5

EstimatorT = TypeVar('EstimatorT', bound=Estimator)


@dataclass(frozen=True)
class SampleScore:
    """One model on one sample.

    Attributes:
        name: of the sample.
        size: (width, height) of its images.
        metrics: see `regional_metrics` and `mono_metrics`; empty without truth.
        milliseconds: the time from the images to the result.
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
        about: how it is judged, see `Measures.about`.
    """

    model: str
    runs_on: str = ''
    samples: list[SampleScore] = field(default_factory=list)
    about: Mapping[str, Any] = field(default_factory=dict)

    def mean(self) -> Metrics:
        """Average over the samples that have the region, each with the same weight."""
        rows: dict[str, list[dict[str, float]]] = {}
        for sample in self.samples:
            for region, metrics in sample.metrics.items():
                rows.setdefault(region, []).append(metrics)
        return {
            region: {key: float(np.mean([row[key] for row in metrics])) for key in metrics[0]}
            for region, metrics in rows.items()
        }

    def speed(self) -> dict[str, float]:
        """Return the milliseconds that 50 and 95 per cent of the samples stay below: p50, p95.

        An engine prepares itself for the first sample of each size, so that this one counts only
        if there are no others.
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
        measures: what was measured.
        models: in the order they were given, all with the same samples.
        skipped: name of a sample that could not be used -> why.
        findings: (where, what) does not look right: in the data set, or in what a model makes of
            the first samples.
    """

    dataset: str
    measures: Measures
    models: list[ModelScore]
    skipped: dict[str, str] = field(default_factory=dict)
    findings: list[tuple[str, Finding]] = field(default_factory=list)


Observer = Callable[[View, Sequence[SampleScore]], None]
"""Told of every sample: its name is never empty; maps and scores are in the models' order."""


def evaluate(
    models: Mapping[str, EstimatorT],
    dataset: Source[SampleT],
    measures: Measures[SampleT, EstimatorT, ResultT],
    *,
    limit: int = 0,
    strict: bool = False,
    progress: bool = False,
    observe: Observer | None = None,
) -> Evaluation:
    """Measure models on the same samples, sample by sample in turns.

    Args:
        models: the name of each -> its estimator.
        dataset: samples with their truth.
        measures: how the models are run and what is measured.
        limit: how many samples are used at most, spread evenly over the data set; 0 for all.
        strict: stop at a sample that cannot be used instead of skipping it.
        progress: show a bar where there is a terminal.
        observe: see `Observer`.

    Raises:
        ValueError, OSError: no sample can be used, or with `strict` one cannot.
        EngineError: a model fails.
    """
    estimators = [*models.values()]
    scores = [
        ModelScore(name, f'{x.engine.name}/{x.engine.device}', about=measures.about(x))
        for name, x in models.items()
    ]
    evaluation = Evaluation(dataset.name, measures, scores)
    examine = _Examination(evaluation, models)

    def measure(sample: SampleT, name: str) -> list[SampleScore]:
        measures.check(sample)
        results = [measures.estimate(model, sample) for model in estimators]
        examine(sample, name, results)
        view = measures.view(sample, results)
        size = view.image.shape[1], view.image.shape[0]
        scores = [
            SampleScore(name, size, metrics, sum(result.milliseconds.values()))
            for result, metrics in zip(results, measures.metrics(sample, view), strict=True)
        ]
        if observe is not None:
            observe(view, scores)
        return scores

    return _collect(dataset, evaluation, measure, limit, strict, progress)


def _collect(
    dataset: Source[SampleT],
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


def _name(dataset: Source[SampleT], index: int) -> str:
    """Name a sample that cannot be read."""
    entries = getattr(dataset, 'entries', None)
    return entries[index].name if entries else f'sample {index}'


class _Examination:
    """Adds what does not look right to an evaluation, each kind of finding once."""

    def __init__(self, evaluation: Evaluation, models: Mapping[str, Estimator]) -> None:
        self.evaluation = evaluation
        self.models = models
        self.once = {name: Once() for name in ('', *models)}
        self.remaining = EXAMINED_SAMPLES

    def __call__(self, sample: object, name: str, results: Sequence[object]) -> None:
        measures, closely = self.evaluation.measures, self.remaining > 0
        self.remaining -= 1
        self._add('', name, measures.examine(sample, closely))
        for (model, estimator), result in zip(self.models.items(), results, strict=True):
            if closely:
                found = measures.examine_result(estimator, sample, result)
                self._add(model, f'{model}, {name}', found)

    def _add(self, model: str, where: str, found: Sequence[Finding]) -> None:
        self.evaluation.findings += [(where, finding) for finding in self.once[model](found)]
