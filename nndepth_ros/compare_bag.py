"""Compares two models on the pairs or images of a bag."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nndepth_core.data.sample import spread
from nndepth_core.estimator import MonoEstimator, StageClock, StereoEstimator
from nndepth_core.evaluation.agreement import Comparison, picture
from nndepth_core.evaluation.tables import finite
from nndepth_core.io import write_image
from nndepth_ros.bag import BagReader
from nndepth_ros.known_depths import COMPARED
from nndepth_ros.pipeline import Estimate
from nndepth_ros.replay import ReplaySettings
from nndepth_ros.replay.processor import FAULTS, Processor, RecordedMoment
from nndepth_ros.replay.report import describe, describe_input
from nndepth_ros.replay.run import PROCESSORS

KEPT = ('problem', 'topics', 'images', 'damaged_messages', 'pairs', 'frames', 'failures')
"""What the report of a replay says too; the rest is of one model."""


class _OnBag:
    """Two models on the same moments of a bag, one after the other."""

    def __init__(
        self,
        processor: Processor,
        models: Mapping[str, StereoEstimator | MonoEstimator],
        comparison: Comparison,
    ) -> None:
        self.processor = processor
        self.models = models
        self.comparison = comparison
        self.alone = dict.fromkeys(models, 0)
        self.each: list[dict[str, Any]] = []
        _, self._topic, self._values = COMPARED[processor.estimator.task]

    def __call__(self, recorded: RecordedMoment, folder: Path | None) -> None:
        """Compare on one moment, and draw it in a folder; what fails is kept."""
        clock = StageClock()
        try:
            moment, frame = self.processor.decode(recorded)
        except FAULTS as error:
            self.processor.fail(recorded.stamp, error)
            return
        clock.lap('decode')
        estimates, wrong = self._estimates(frame, clock)
        self._examine(recorded, moment, frame, estimates)
        if wrong:
            for model in estimates:
                self.alone[model] += 1
            self.processor.fail(recorded.stamp, ValueError('; '.join(wrong)))
            return
        self.processor.outcome.add(estimates['a'], estimates['a'].milliseconds)
        a, b = (self._values(of.messages[self._topic]) for of in estimates.values())
        whole = self.comparison
        single = Comparison(whole.output, names=whole.names)
        for comparison in (whole, single):
            shown = comparison.add(a, b)
            for model, estimate in estimates.items():
                times = estimate.milliseconds
                comparison.add_times(model, times['inference'], sum(times.values()))
        self.processor.find(whole.findings)
        self.each.append({'stamp_ns': recorded.stamp, **_without_count(single)})
        if folder is not None:
            drawn = picture(_image(frame), *shown, single, single.table({'total': 'this frame'}))
            write_image(folder / f'{recorded.stamp}.png', drawn)

    def _estimates(self, frame: Any, clock: StageClock) -> tuple[dict[str, Estimate], list[str]]:
        """Let each model estimate; return the estimates, and what is wrong with the others."""
        estimates, wrong = {}, []
        settings = self.processor.settings.messages
        for model, estimator in self.models.items():
            own = StageClock()
            own.milliseconds.update(clock.milliseconds)
            try:
                estimates[model] = self.processor.pipeline.estimate(
                    estimator, frame, {self._topic}, settings, own
                )
            except FAULTS as error:
                wrong.append(f'{model.upper()}, {self.comparison.names[model]}: {error}')
        return estimates, wrong

    def _examine(
        self, recorded: RecordedMoment, moment: Any, frame: Any, estimates: Mapping[str, Estimate]
    ) -> None:
        """Examine the images, and of the first ones what both models make of them."""
        pipeline, settings = self.processor.pipeline, self.processor.settings.messages
        closely, spec = pipeline.to_examine, self.models['a'].engine.spec
        pipeline.examine(recorded.time, moment, frame, None, spec, settings)
        for model, estimate in estimates.items() if closely else ():
            spec, name = self.models[model].engine.spec, model.upper()
            self.processor.find(
                replace(finding, code=f'{finding.code}_{model}', text=f'{name}: {finding.text}')
                for finding in pipeline.examine_result(frame, estimate.result, spec, settings)
            )


def compare_bag(
    source: Path,
    models: Mapping[str, StereoEstimator | MonoEstimator],
    names: Mapping[str, str],
    settings: ReplaySettings,
    folder: Path,
    *,
    every: int = 1,
    pictures: int = 12,
    stopped: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Compare two models on every moment of a bag; progress and findings go to stderr.

    Args:
        source: a bag; see `replay`.
        models: 'a' and 'b', of one task; those of single images give metres.
        names: what the models are called.
        settings: topics and limits; nothing is filtered.
        folder: where to write the pictures, named by the stamps of their frames.
        every: 1 takes all moments, 10 every tenth.
        pictures: how many are drawn at most, spread evenly over the bag.
        stopped: asked before every message and moment.

    Returns:
        The report, ready for JSON: the figures of all frames are in `comparison`, with the table
        of them, and those of each frame in `each`; `problem` says why nothing was compared.

    Raises:
        ValueError: `every` is less than 1, or a model gives no metres.
        BagError: the bag cannot be read.
        OSError: a picture cannot be written.
    """
    if every < 1:
        raise ValueError(f'every is {every}; give at least 1')
    task = models['a'].task
    output, topic, _ = COMPARED[task]
    for model in models.values():
        spec = model.engine.spec
        if spec.output != output:
            raise ValueError(
                f'{spec.title} gives {spec.output} and no {output}; compare it on single images, '
                'by `nndepth compare A B IMAGE`'
            )
    clock = StageClock()
    with BagReader(source) as bag:
        processor = PROCESSORS[task](bag, models['a'], replace(settings, outputs=(topic,)))
        processor.look_through(stopped)
        clock.lap('survey')
        comparison = Comparison(output, names=names)
        compare = _OnBag(processor, models, comparison)
        moments = processor.moments(processor.records(processor.topics.images))
        expected = dict.fromkeys(processor.survey.moments[::every])
        drawn = {*spread(len(expected), pictures)} if pictures and expected else set()
        chosen = (moment for moment in moments if moment.frames in expected)
        for number, recorded in enumerate(processor.awaited(chosen, expected, stopped)):
            compare(recorded, folder if number in drawn else None)
        clock.lap('processing')
        described = describe(processor, clock.milliseconds)
        figures = {'unit': comparison.unit, **comparison.figures('total')}
        figures |= {f'only_{model}': count for model, count in compare.alone.items()}
        report = {
            'input': str(source),
            'output': str(folder) if drawn else None,
            'every': every,
            'interrupted': stopped(),
            'models': {model: _described(names[model], of) for model, of in models.items()},
            'comparison': figures,
            'table': comparison.table({'total': 'all {} frames'}),
            'each': compare.each,
            **{key: described[key] for key in KEPT if key in described},
            'findings': described['findings'],
            'seconds': described['seconds'],
            **describe_input(bag),
        }
    return finite(report)


def _described(name: str, model: StereoEstimator | MonoEstimator) -> dict[str, str]:
    engine = model.engine
    return {'name': name, 'engine': engine.name, 'device': engine.device}


def _without_count(single: Comparison) -> dict[str, float]:
    return {name: value for name, value in single.figures('total').items() if name != 'frames'}


def _image(frame: Any) -> np.ndarray:
    return frame.left if hasattr(frame, 'left') else frame.image
