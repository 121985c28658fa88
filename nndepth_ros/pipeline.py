"""The way of the messages of one moment, which is the same in a running node and in `replay`.

Messages are decoded, a map is estimated, and messages are made from it. From time to time all of
this is examined: can it be true? Stereo and mono pipelines define these steps.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from nndepth_core.camera import CalibrationError
from nndepth_core.clouds import Heights, Plane
from nndepth_core.estimator import StageClock
from nndepth_core.filters import DepthFilters
from nndepth_core.plausibility import Finding, Level, UsedBits
from nndepth_core.spec import ModelSpec
from nndepth_ros import doctor
from nndepth_ros.cameras import Cameras
from nndepth_ros.conversions import MessageTypes
from nndepth_ros.outputs import CONFIDENCE, POINTS_FILTERED, OutputSettings

STAGES = ('decode', 'preprocess', 'inference', 'postprocess', 'geometry')
"""The stages that are timed; those who publish or write the messages add the time for that."""
EXAMINED = 3
"""The number of moments that are examined when a stream or its calibration is new."""
EXAMINE_EVERY = 5_000_000_000
"""Nanoseconds until the next examination, which notices what changes later."""

Report = Callable[[str, list[Finding]], None]


class Moment(NamedTuple):
    """Messages that belong together: each camera's image, maybe compressed, and its CameraInfo."""

    images: tuple[Any, ...]
    infos: tuple[Any, ...]


@dataclass(frozen=True)
class Estimate:
    """The result for one moment.

    Attributes:
        frame: what `Pipeline.decode` returned.
        result: the result of the estimator, as it was before it was filtered.
        messages: the messages by topic, of what the filters left.
        size: (width, height) of the maps.
        density: the share of pixels with a finite value inside the limits, 0..1.
        milliseconds: the time of each stage in STAGES.
    """

    frame: Any
    result: Any
    messages: dict[str, Any]
    size: tuple[int, int]
    density: float
    milliseconds: dict[str, float]


class Pipeline:
    """The steps for one stream of moments.

    Args:
        types: the message classes.
        report: takes the name of an examination and its findings.

    Attributes:
        cameras: what describes the cameras and rectifies their images; by default camera_info
            does, and images are rectified.
        examine_every: nanoseconds until the next examination.
        next_examination: when it is time for that, once `to_examine` moments are examined.
        plane: tells how high points are, see `Frames.plane`; None if nothing does.
    """

    sides: tuple[str, ...]
    """The names of the cameras."""
    outputs: Mapping[str, str]
    """The topics, each with the name of its class in MessageTypes."""

    def __init__(self, types: MessageTypes, report: Report) -> None:
        self.types = types
        self.cameras = Cameras(types, self.sides)
        self.to_examine = EXAMINED
        self.examine_every = EXAMINE_EVERY
        self.calibration: Any = None
        self.used_bits = UsedBits()
        self.filters = DepthFilters()
        self.plane: Callable[[str, Any], Plane] | None = None
        self._report = report
        self.next_examination = 0

    # --- what a subclass defines -----------------------------------------------------------------

    def decode(self, moment: Moment, max_pixels: int) -> Any:
        """Turn messages into images and cameras; ValueError if they cannot be used."""
        raise NotImplementedError

    def infer(self, estimator: Any, frame: Any, confidence: bool) -> Any:
        """Run the estimator on what `decode` returned."""
        raise NotImplementedError

    def needs_confidence(
        self, wanted: Collection[str], spec: ModelSpec, settings: OutputSettings
    ) -> bool:
        """Whether messages of the wanted topics tell the confidence, or what follows from it."""
        return CONFIDENCE in wanted

    def filtered(self, frame: Any, result: Any, settings: OutputSettings) -> Any:
        """Let the filters clean a result."""
        raise NotImplementedError

    def values(self, result: Any) -> np.ndarray:
        """The map of a result, float32 (H, W)."""
        raise NotImplementedError

    def messages(
        self,
        wanted: Collection[str],
        frame: Any,
        result: Any,
        spec: ModelSpec,
        settings: OutputSettings,
    ) -> dict[str, Any]:
        """Make the messages of the wanted topics from the result of a model with this spec."""
        raise NotImplementedError

    def density(self, frame: Any, result: Any, settings: OutputSettings) -> float:
        """The share of pixels with a finite value inside the limits, 0..1."""
        raise NotImplementedError

    def examine_images(self, frame: Any) -> list[Finding]:
        """Examine the images."""
        raise NotImplementedError

    def examine_result(
        self, frame: Any, result: Any, spec: ModelSpec, settings: OutputSettings
    ) -> list[Finding]:
        """Examine the estimate."""
        raise NotImplementedError

    def examine_infos(self, *infos: Any, **limits: Any) -> list[Finding]:
        """Examine the camera_info of all cameras."""
        raise NotImplementedError

    # --- heights of points ---------------------------------------------------------------------

    def heights(
        self, wanted: Collection[str], header: Any, settings: OutputSettings
    ) -> tuple[Collection[str], Heights | None]:
        """Find the heights that points of the filtered cloud may have.

        Returns:
            The wanted topics, without that cloud if the heights of points are not known, which is
            reported, and the heights, None if all are allowed.
        """
        heights, found = None, []
        if POINTS_FILTERED in wanted and settings.cloud_frame and self.plane is not None:
            try:
                plane = self.plane(settings.cloud_frame, header)
                heights = Heights(plane, *settings.cloud_heights)
            except ValueError as error:
                text = (
                    f"{error}; {POINTS_FILTERED} is left out: publish it, or set cloud.frame to ''"
                )
                found = [Finding('cloud_frame', Level.WARN, text)]
                wanted = {topic for topic in wanted if topic != POINTS_FILTERED}
        self._report('cloud frame', found)
        return wanted, heights

    # --- the way of one moment -------------------------------------------------------------------

    def estimate(
        self,
        estimator: Any,
        frame: Any,
        wanted: Collection[str],
        settings: OutputSettings,
        clock: StageClock,
    ) -> Estimate:
        """Estimate, and make the messages of the wanted topics.

        Args:
            estimator: the estimator of the task.
            frame: what `decode` returned.
            wanted: the topics to make.
            settings: filters, limits of depth, colours.
            clock: a clock that was started before decoding and has timed that.

        Raises:
            ValueError, RuntimeError: this frame fails.
        """
        spec = estimator.engine.spec
        result = self.infer(estimator, frame, self.needs_confidence(wanted, spec, settings))
        clock.lap('estimate')
        filtered = self.filtered(frame, result, settings)
        messages = self.messages(wanted, frame, filtered, spec, settings)
        clock.lap('geometry')
        times = {**clock.milliseconds, **result.milliseconds}
        height, width = self.values(result).shape
        return Estimate(
            frame,
            result,
            messages,
            (width, height),
            self.density(frame, filtered, settings),
            {stage: times[stage] for stage in STAGES},
        )

    # --- can it be true? -------------------------------------------------------------------------

    def examine_calibration(self, *infos: Any, **limits: Any) -> None:
        """Examine the camera_info of all cameras if they or a limit are new, and report."""
        key = doctor.calibration_key(*infos), limits
        if key != self.calibration:
            self.calibration, self.to_examine = key, EXAMINED
            self._report('calibration', self._examined(infos, limits))

    def _examined(self, infos: tuple[Any, ...], limits: Mapping[str, Any]) -> list[Finding]:
        try:
            infos = self.cameras.rectified_infos(infos)
        except CalibrationError as error:
            return [Finding('calibration', Level.ERROR, str(error))]
        return self.examine_infos(*infos, **limits)

    def examine(
        self,
        now: int,
        moment: Moment,
        frame: Any,
        estimate: Estimate | None,
        spec: ModelSpec,
        settings: OutputSettings,
    ) -> None:
        """Examine a moment if it is time to, and report.

        Args:
            now: nanoseconds of any steady clock.
            moment: the messages.
            frame: what `decode` made of them.
            estimate: the result; None if there is none.
            spec: the spec of the model.
            settings: how estimates become messages.
        """
        if not self.to_examine and now < self.next_examination:
            return
        self.to_examine = max(0, self.to_examine - 1)
        self.next_examination = now + self.examine_every
        self._report('headers', doctor.examine_headers(self.sides, *moment))
        wrong = self.examine_images(frame)
        self._report('images', wrong)
        self._report('used bits', self.used_bits.findings())
        if estimate is not None:  # an estimate from wrong images says nothing about the model
            self._report(
                'estimate',
                [] if wrong else self.examine_result(frame, estimate.result, spec, settings),
            )
