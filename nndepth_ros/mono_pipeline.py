"""The way of a single image from messages to messages."""

from __future__ import annotations

import math
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nndepth_core.camera import CalibrationError, PinholeCamera, limited_depth
from nndepth_core.estimator import DepthResult, MonoEstimator
from nndepth_core.filters import View
from nndepth_core.plausibility import (
    Finding,
    Level,
    examine_depth,
    examine_image_levels,
    share_inside,
)
from nndepth_core.rectification.rectifier import Rectifier, clear_uncovered, rectified
from nndepth_core.scale import ScaledResult, ScaleError
from nndepth_core.spec import ModelSpec, Output
from nndepth_core.visualization import value_range
from nndepth_ros import conversions, doctor
from nndepth_ros.conversions import ConversionError, MessageTypes
from nndepth_ros.live_scale import LiveScale, ScaleSettings
from nndepth_ros.outputs import (
    CLOUDS,
    CONFIDENCE,
    DEPTH,
    DEPTH_COLOR,
    DEPTH_INFO,
    MONO_OUTPUTS,
    OF_DEPTH,
    POINTS,
    OutputSettings,
    depth_messages,
)
from nndepth_ros.pipeline import Moment, Pipeline, Report

CLIPPED = 2.0
"""Per cent of a map without scale that lie outside of its colours, at each end."""
_COLORED_BY = 1 << 16
"""The number of evenly spread pixels that determine the range of a map."""
_NEAREST = 1e-6
"""In metres; what is nearer, or behind the camera, has no depth."""


@dataclass(frozen=True)
class MonoInput:
    """One image with what is known of its camera.

    Attributes:
        image: uint8 RGB (H, W, 3).
        info: its CameraInfo, of the rectified image; None if none has come.
        header: the header of the image; every output has it too.
        rectifiers: what rectified the image; none if it came so.
    """

    image: np.ndarray
    info: Any
    header: Any
    rectifiers: tuple[Rectifier, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the image."""
        return self.image.shape[1], self.image.shape[0]

    @cached_property
    def camera(self) -> PinholeCamera:
        """The camera at the size of the image.

        Raises:
            CalibrationError: it cannot be used; many models do not need it.
        """
        if self.info is None:
            raise CalibrationError('no camera_info has come; let the camera publish it')
        try:
            return conversions.effective_camera(self.info, *self.size)
        except CalibrationError as error:
            said = str(error)
            named = said if said.startswith('camera_info') else f'camera_info: {said}'
            raise CalibrationError(named) from error


def map_topic(spec: ModelSpec) -> str:
    """The topic for the map of a model, which depends on what it holds."""
    return f'{spec.output}/image'


def offered(spec: ModelSpec, scaled: bool = False) -> set[str]:
    """Those of MONO_OUTPUTS that a model can fill.

    Args:
        spec: the spec of the model.
        scaled: whether something tells the scale of a model that does not give metres.
    """
    topics = {map_topic(spec), DEPTH_COLOR}
    if spec.output == 'depth' or scaled:
        topics |= {DEPTH_INFO, *OF_DEPTH}
    if spec.confidence is not None:
        topics.add(CONFIDENCE)
    return topics


def scale_fields(settings: ScaleSettings, spec: ModelSpec, result: Any) -> dict[str, Any]:
    """Fields of InferenceStats: the scale with which a result was brought to metres.

    Args:
        settings: what tells the scale.
        spec: the spec of the model.
        result: what the estimator returned, a ScaledResult where the scale was known.
    """
    if not settings.applies_to(spec):
        return {}
    if not isinstance(result, ScaledResult):
        return {'scale_source': settings.source}
    scale = result.scale
    return {
        'scale_source': settings.source,
        'scale': scale.factor,
        'scale_shift': scale.shift,
        'scale_residual': scale.residual,
        'scale_inliers': scale.inliers,
        'scale_points': scale.points,
    }


class MonoPipeline(Pipeline):
    """The steps of a single image."""

    sides = ('',)
    outputs = MONO_OUTPUTS

    def __init__(self, types: MessageTypes, report: Report) -> None:
        super().__init__(types, report)
        self.scale = LiveScale()

    def decode(self, moment: Moment, max_pixels: int) -> MonoInput:
        """Decode the image, and rectify it if it is raw.

        Raises:
            ValueError: it cannot be decoded, or cannot be rectified.
        """
        (message,), infos = moment
        rectifiers = self.cameras.rectifiers(infos)
        (info,) = self.cameras.rectified_infos(infos)
        try:
            image = conversions.to_rgb(message, max_pixels, self.used_bits)
        except ConversionError as error:
            raise ConversionError(f'image: {error}') from error
        (image,) = rectified(rectifiers, (image,))
        return MonoInput(image, info, message.header, rectifiers)

    def infer(self, estimator: MonoEstimator, frame: MonoInput, confidence: bool) -> DepthResult:
        """Estimate the depth, or what the model gives where no scale is known."""
        spec = estimator.engine.spec
        camera = frame.camera if spec.needs_camera else None
        if spec.affine_points:  # which are better with a camera, but do not need one
            with suppress(CalibrationError):
                camera = frame.camera
        result = estimator(frame.image, camera, confidence)
        clear_uncovered(result.depth, frame.rectifiers)
        settings, found = self.scale.settings, []
        if settings.applies_to(spec):
            try:
                result = self.scale.scaled(frame, result, spec)
            except ScaleError as refusal:
                found = [_no_scale(self.scale, refusal)]
        self._report('scale', found)
        return result

    def filtered(
        self, frame: MonoInput, result: DepthResult, settings: OutputSettings
    ) -> DepthResult:
        """Let the filters clean a depth in metres."""
        camera = None
        with suppress(CalibrationError):
            camera = frame.camera
        view = View(frame.image, camera, conversions.stamp_ns(frame.header.stamp))
        return self.filters.depth(result, settings.filters, view)

    def values(self, result: DepthResult) -> np.ndarray:
        """The map of the result."""
        return result.depth

    def messages(
        self,
        wanted: Collection[str],
        frame: MonoInput,
        result: DepthResult,
        spec: ModelSpec,
        settings: OutputSettings,
    ) -> dict[str, Any]:
        """Make the messages of the wanted topics, if the model can fill them.

        Those that need a camera that is not known are left out, which is reported.
        """
        unscaled = result.unscaled if isinstance(result, ScaledResult) else result
        given = offered(spec, scaled=unscaled is not result)
        wanted = self._possible(given.intersection(wanted), frame)
        types, header, values = self.types, frame.header, result.depth
        height, width = values.shape
        messages: dict[str, Any] = {}
        if DEPTH_COLOR in wanted:
            near, far = colored_range(values, result.output, spec, settings)
            messages[DEPTH_COLOR] = conversions.color_message(types, header, values, far, near)
        if CONFIDENCE in wanted and result.confidence is not None:
            messages[CONFIDENCE] = conversions.image_message(
                types, header, result.confidence, '32FC1'
            )
        if unscaled.output != 'depth' and (topic := map_topic(spec)) in wanted:
            messages[topic] = conversions.image_message(types, header, unscaled.depth, '32FC1')
        if result.output != 'depth':
            return messages
        if DEPTH_INFO in wanted:
            messages[DEPTH_INFO] = conversions.depth_camera_info(
                types, header, frame.info, frame.camera, width, height
            )
        if not OF_DEPTH.isdisjoint(wanted):
            low, high = settings.depth_limits
            depth = limited_depth(values.copy(), max(low, _NEAREST), high)
            camera = frame.camera.resized(width, height) if wanted & CLOUDS else None
            topics, heights = self.heights(wanted, header, settings)
            messages |= depth_messages(
                types, topics, header, depth, frame.image, camera, settings, heights=heights
            )
        return messages

    def _possible(self, wanted: set[str], frame: MonoInput) -> set[str]:
        """Leave out the topics that need the camera where it is not known, and report that."""
        of_camera = wanted & {DEPTH_INFO, *CLOUDS}
        found = []
        if of_camera:
            try:
                _ = frame.camera
            except CalibrationError as error:
                text = f'{error}; without it {" and ".join(sorted(of_camera))} are left out'
                found = [Finding('calibration', Level.ERROR, text)]
                wanted = wanted - of_camera
        self._report('camera of the image', found)
        return wanted

    def density(self, frame: MonoInput, result: DepthResult, settings: OutputSettings) -> float:
        """The share of pixels with a finite value, for metres inside the limits, 0..1."""
        if result.output != 'depth':
            return share_inside(result.depth, -math.inf, math.inf)
        low, high = settings.depth_limits
        return share_inside(result.depth, max(low, _NEAREST), high)

    def examine_images(self, frame: MonoInput) -> list[Finding]:
        """Check that the image shows something."""
        return examine_image_levels(frame.image)

    def examine_result(
        self,
        frame: MonoInput,
        result: DepthResult,
        spec: ModelSpec,
        settings: OutputSettings,
    ) -> list[Finding]:
        """Check whether the estimate can be true."""
        return examine_depth(
            result.depth, settings.depth_limits if result.output == 'depth' else None
        )

    def examine_infos(self, *infos: Any, **limits: Any) -> list[Finding]:
        """Check that the camera_info describes a camera."""
        return doctor.examine_camera(*infos)


def colored_range(
    values: np.ndarray, output: Output, spec: ModelSpec, settings: OutputSettings
) -> tuple[float, float]:
    """The values of the nearest (red) and farthest (blue) end of the colours of a map.

    For metres these are the same in every image: those of the settings, or the model's range. A
    map without scale, or of a model without a range, is coloured by its own range.
    """
    metric = output == 'depth'
    if metric and any(settings.color_range):
        low, high = settings.color_range
    elif metric and spec.value_range is not None:
        low, high = spec.value_range
    else:
        step = max(1, math.isqrt(values.size // _COLORED_BY))
        low, high = value_range(values[::step, ::step], CLIPPED)
    return (high, low) if output == 'inverse_depth' else (low, high)


def _no_scale(scale: LiveScale, refusal: ScaleError) -> Finding:
    """Say why there are no metres."""
    topics = f' ({" or ".join(scale.topics)})' if scale.topics else ''
    text = (
        f'scale_source is {scale.settings.source}{topics}, but there is no scale: {refusal}; '
        f'until there is, {DEPTH}, {DEPTH_INFO} and {POINTS} are left out'
    )
    level = Level.WARN if refusal.code == 'scale_waiting' else Level.ERROR
    return Finding(refusal.code, level, text)
