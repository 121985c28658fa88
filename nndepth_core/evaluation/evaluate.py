"""Measuring how good and how fast models are on a data set, whatever their task is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
        workers: how many processes worked at one time, each of which makes the others slower.
    """

    dataset: str
    measures: Measures
    models: list[ModelScore]
    skipped: dict[str, str] = field(default_factory=dict)
    findings: list[tuple[str, Finding]] = field(default_factory=list)
    workers: int = 1


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
    about = [about_model(name, model, measures) for name, model in models.items()]
    collected = Collected(Evaluation(dataset.name, measures, about), strict, observe)
    examined = 0
    for index in tqdm(
        indices_of(dataset.name, len(dataset), limit),
        unit='sample',
        disable=None if progress else True,
    ):
        measured = measure_sample(models, dataset, measures, index, examined < EXAMINED_SAMPLES)
        examined += measured.examined
        collected.add(measured)
    return collected.result()


@dataclass(frozen=True)
class Measured:
    """What was found on one sample.

    Attributes:
        index: of the sample in the data set.
        name: of the sample.
        loaded: whether it could be read.
        examined: whether it was used so far that it was examined.
        scores: in the models' order; none if it could not be used.
        findings: what does not look right, each with the name of the model, or '' for the sample.
        view: the maps, unless the sample could not be used.
        error: why it could not be used.
    """

    index: int
    name: str
    loaded: bool = False
    examined: bool = False
    scores: Sequence[SampleScore] = ()
    findings: Sequence[tuple[str, Finding]] = ()
    view: View | None = None
    error: Exception | None = None


def measure_sample(
    models: Mapping[str, EstimatorT],
    dataset: Source[SampleT],
    measures: Measures[SampleT, EstimatorT, ResultT],
    index: int,
    closely: bool,
) -> Measured:
    """Measure models on a sample; what makes it useless is returned and not raised.

    Args:
        models: the name of each -> its estimator.
        dataset: what holds the sample.
        measures: how the models are run and what is measured.
        index: of the sample.
        closely: whether it is one of the first, which are examined closely.

    Raises:
        EngineError: a model fails.
    """
    measured = Measured(index, _name(dataset, index))
    try:
        sample = dataset[index]
        name = getattr(sample, 'name', '') or measured.name
        measured = replace(measured, name=name, loaded=True)
        measures.check(sample)
        results = [measures.estimate(model, sample) for model in models.values()]
        findings = [('', it) for it in measures.examine(sample, closely)]
        for (model, estimator), result in zip(models.items(), results, strict=True):
            if closely:
                found = measures.examine_result(estimator, sample, result)
                findings += [(model, it) for it in found]
        measured = replace(measured, examined=True, findings=findings)
        view = measures.view(sample, results)
        size = view.image.shape[1], view.image.shape[0]
        scores = [
            SampleScore(name, size, metrics, sum(result.milliseconds.values()))
            for result, metrics in zip(results, measures.metrics(sample, view), strict=True)
        ]
        return replace(measured, scores=scores, view=view)
    except (ValueError, OSError) as error:
        return replace(measured, error=error)


class Collected:
    """Makes an evaluation of samples, which are added in the order of the data set.

    Args:
        evaluation: without any sample.
        strict: raise what makes a sample useless.
        observe: see `Observer`.
    """

    def __init__(
        self, evaluation: Evaluation, strict: bool = False, observe: Observer | None = None
    ) -> None:
        self.evaluation = evaluation
        self._strict = strict
        self._observe = observe
        self._once = {name: Once() for name in ('', *(it.model for it in evaluation.models))}
        self._names: set[str] = set()  # results are kept by name, and a mixture repeats samples
        self._count = 0

    def add(self, measured: Measured) -> Sequence[SampleScore]:
        """Add the next sample; return its scores, none if it cannot be used."""
        name, error = measured.name, measured.error
        if measured.loaded:
            if name in self._names:
                name = f'{name} ({measured.index})'
            self._names.add(name)
        self._count += 1
        for model, finding in measured.findings:
            where = f'{model}, {name}' if model else name
            new = self._once[model]([finding])
            self.evaluation.findings += [(where, it) for it in new]
        scores = [replace(score, name=name) for score in measured.scores]
        try:
            if error is not None:
                raise error
            if self._observe is not None and measured.view is not None:
                self._observe(measured.view, scores)
        except (ValueError, OSError) as reason:
            if self._strict:
                raise
            self.evaluation.skipped[name] = ' '.join(str(reason).split())
            return ()
        for of, score in zip(self.evaluation.models, scores, strict=True):
            of.samples.append(score)
        return scores

    def result(self) -> Evaluation:
        """Return the evaluation.

        Raises:
            ValueError: no sample could be used.
        """
        evaluation = self.evaluation
        if not evaluation.models[0].samples:
            name, why = next(iter(evaluation.skipped.items()))
            raise ValueError(
                f'{evaluation.dataset}: none of {self._count} samples can be used; {name}: {why}'
            )
        return evaluation


def about_model(name: str, model: EstimatorT, measures: Measures) -> ModelScore:
    """Say what a model runs on and how it is judged, before any sample."""
    runs_on = f'{model.engine.name}/{model.engine.device}'
    return ModelScore(name, runs_on, about=measures.about(model))


def indices_of(name: str, size: int, limit: int) -> Sequence[int]:
    """The samples of a data set that are used; ValueError if it has none."""
    indices = spread(size, limit)
    if not indices:
        raise ValueError(f'{name} has no samples')
    return indices


def _name(dataset: Source[SampleT], index: int) -> str:
    """Name a sample that cannot be read."""
    entries = getattr(dataset, 'entries', None)
    return entries[index].name if entries else f'sample {index}'
