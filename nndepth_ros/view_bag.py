"""Shows every pair, or every image of a camera, of a bag in a viewer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from nndepth_core.camera import CalibrationError, PinholeCamera
from nndepth_core.cli.saying import say
from nndepth_core.clouds import CloudSettings
from nndepth_core.estimator import MonoEstimator, StageClock, StereoEstimator
from nndepth_core.spec import ModelSpec
from nndepth_core.view import Frame, SinkSettings, view
from nndepth_core.view.frame import right_of
from nndepth_ros.bag import BagReader
from nndepth_ros.known_depths import depth_of_image, known_disparity
from nndepth_ros.mono_pipeline import MonoInput, map_topic
from nndepth_ros.outputs import CONFIDENCE, DEPTH, DISPARITY
from nndepth_ros.pipeline import Estimate
from nndepth_ros.replay import ReplaySettings
from nndepth_ros.replay.processor import RecordedMoment
from nndepth_ros.replay.report import describe, describe_input
from nndepth_ros.replay.run import PROCESSORS
from nndepth_ros.stereo_pipeline import StereoInput


def view_bag(
    source: Path,
    estimator: StereoEstimator | MonoEstimator,
    settings: ReplaySettings,
    shown: SinkSettings,
    cloud: CloudSettings,
    confidence: bool = False,
) -> dict[str, Any]:
    """Show a bag, each moment under its stamp; progress and findings go to stderr.

    Args:
        source: a bag; see `replay`.
        estimator: computes the disparity of pairs, or the depth of single images.
        settings: topics, filters and limits; its outputs are those that are shown.
        shown: where the frames are shown.
        cloud: which points are shown.
        confidence: whether the confidence is shown although the model has none of its own.

    Returns:
        A report as of `replay`; `problem` says why nothing was shown.

    Raises:
        BagError: the bag cannot be read.
        ValueError: the settings do not fit the model, or nothing could be shown.
        KeyboardInterrupt: it was interrupted; what was shown before is in the file.
    """
    spec = estimator.engine.spec
    outputs = outputs_of(spec, settings, confidence)
    clock = StageClock()
    with BagReader(source) as bag:
        processor = PROCESSORS[estimator.task](bag, estimator, replace(settings, outputs=outputs))
        processor.look_through(_never)
        clock.lap('survey')
        for damage in bag.damage:
            say(f'warning: {damage}')

        def feed(show: Callable[[Frame], None]) -> None:
            def show_estimate(moment: RecordedMoment, estimate: Estimate) -> None:
                show(frame_of(estimate, spec, cloud, moment.stamp))

            inputs = {*processor.topics.images, *processor.topics.depths}
            moments = processor.moments(processor.records(inputs))
            processor.process_all(moments, processor.survey.moments, _never, show_estimate)

        if processor.survey.moments:
            view(shown, feed, say)
        clock.lap('processing')
        return {
            'input': str(source),
            'output': str(shown.save) if shown.save else None,
            'interrupted': False,
            **describe(processor, clock.milliseconds),
            **describe_input(bag),
        }


def outputs_of(spec: ModelSpec, settings: ReplaySettings, confidence: bool) -> tuple[str, ...]:
    """The topics whose messages hold what is shown of a model."""
    if spec.task == 'stereo':
        topics = [DISPARITY, DEPTH]
    elif spec.output == 'depth':
        topics = [DEPTH]
    else:
        topics = [map_topic(spec)] + [DEPTH] * settings.scale.applies_to(spec)
    if confidence or spec.confidence is not None:
        topics.append(CONFIDENCE)
    return tuple(topics)


def frame_of(estimate: Estimate, spec: ModelSpec, cloud: CloudSettings, stamp: int) -> Frame:
    """Show an estimate by its messages, which hold what the filters left of it."""
    messages = estimate.messages
    frame = Frame(
        estimate.frame.left if spec.task == 'stereo' else estimate.frame.image,
        output=spec.output,
        depth=depth_of_image(messages[DEPTH]) if DEPTH in messages else None,
        confidence=_map(messages, CONFIDENCE),
        cloud=cloud,
        stamp=stamp,
        milliseconds=estimate.milliseconds,
    )
    if spec.task == 'stereo':
        given: StereoInput = estimate.frame
        return replace(
            frame,
            right=given.right,
            values=known_disparity(messages[DISPARITY]),
            camera=given.camera.left,
            right_camera=right_of(given.camera),
        )
    values = None if spec.output == 'depth' else _map(messages, map_topic(spec))
    return replace(frame, values=values, camera=_camera(estimate.frame))


def _camera(given: MonoInput) -> PinholeCamera | None:
    """The camera of an image; None if it is not known, as many models do not need it."""
    with suppress(CalibrationError):
        return given.camera
    return None


def _map(messages: dict[str, Any], topic: str) -> Any:
    """The map of a message, float32 (H, W); None without the message."""
    return depth_of_image(messages[topic]) if topic in messages else None


def _never() -> bool:
    """Interruptions come as exceptions here."""
    return False
