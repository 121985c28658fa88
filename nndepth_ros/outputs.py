"""From one estimate to the messages asked for; shared by the nodes and the bag processor."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import cv2
import numpy as np

from nndepth_core.camera import StereoCamera
from nndepth_core.config.checks import number
from nndepth_core.estimator import StereoResult
from nndepth_core.files.picture import MAX_PIXELS
from nndepth_core.plausibility import Finding, UsedBits, density, examine_estimate
from nndepth_core.visualization import colorize
from nndepth_ros import conversions
from nndepth_ros.conversions import MessageTypes

DISPARITY = 'disparity'
COLOR = 'disparity/image_color'
DEPTH = 'depth/image'
DEPTH_INFO = 'depth/camera_info'
CONFIDENCE = 'confidence'
POINTS = 'points2'
STEREO_OUTPUTS = (DISPARITY, COLOR, DEPTH, DEPTH_INFO, CONFIDENCE, POINTS)
FARTHEST = 1e6
"""The largest limit of depth, metres."""

T = TypeVar('T')


@dataclass(frozen=True)
class OutputSettings:
    """How estimates become messages.

    Attributes:
        min_depth: metres; nearer points are -inf in depth images. 0: no limit.
        max_depth: metres; farther points are +inf. 0: no limit.
        color_range: disparities at the ends of the colour map; (0, 0): the model's range.
    """

    min_depth: float = 0.0
    max_depth: float = 0.0
    color_range: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        for name in ('min_depth', 'max_depth'):
            number(name, getattr(self, name), 0, FARTHEST)
        if 0 < self.max_depth <= self.min_depth:
            raise ValueError(
                f'max_depth is {self.max_depth} and min_depth {self.min_depth}; max_depth must be '
                'larger (or 0 for no limit)'
            )

    @property
    def depth_limits(self) -> tuple[float, float]:
        """Smallest and largest depth, metres; infinity where there is no largest."""
        return self.min_depth, self.max_depth or math.inf


@dataclass(frozen=True)
class StereoInput:
    """One rectified pair with what is known of its cameras.

    Attributes:
        left: uint8 RGB (H, W, 3).
        right: the same.
        left_info: left CameraInfo as it came.
        camera: the rig at the images' size.
        header: of the left image; every output carries it.
    """

    left: np.ndarray
    right: np.ndarray
    left_info: Any
    camera: StereoCamera
    header: Any

    @classmethod
    def from_messages(
        cls,
        left: Any,
        right: Any,
        left_info: Any,
        right_info: Any,
        *,
        max_pixels: int = MAX_PIXELS,
        used_bits: UsedBits | None = None,
    ) -> StereoInput:
        """Decode two images and their CameraInfo.

        Sizes are compared first: nothing is decoded that cannot be used.

        Args:
            left: left Image or CompressedImage.
            right: right one.
            left_info: CameraInfo of the left image.
            right_info: of the right one.
            max_pixels: larger images are refused.
            used_bits: of the stream, which 16-bit values are stretched by; None: all 16.

        Raises:
            ValueError: an image cannot be decoded, they differ in size, or the calibration cannot
                be used; the message names the side.
        """
        images = {'left': left, 'right': right}
        sizes = _by_side(images, conversions.image_size)
        (width, height), other = sizes.values()
        if (width, height) != other:
            raise ValueError(
                f'left is {width}x{height} and right {other[0]}x{other[1]}; the images of a pair '
                'must have one size'
            )
        camera = conversions.stereo_camera(left_info, right_info, width, height)
        decode = partial(conversions.to_rgb, max_pixels=max_pixels, used_bits=used_bits)
        bits = used_bits and used_bits.bits
        rgb = _by_side(images, decode)
        if used_bits is not None and used_bits.bits != bits:
            rgb = _by_side(images, decode)  # both by what the brighter one uses
        return cls(rgb['left'], rgb['right'], left_info, camera, left.header)


def _by_side(images: Mapping[str, Any], convert: Callable[[Any], T]) -> dict[str, T]:
    converted = {}
    for side, message in images.items():
        try:
            converted[side] = convert(message)
        except conversions.ConversionError as error:
            raise conversions.ConversionError(f'{side} image: {error}') from error
    return converted


def examine_result(
    pair: StereoInput,
    result: StereoResult,
    disparity_range: tuple[float, float],
    settings: OutputSettings,
) -> list[Finding]:
    """Whether an estimate is plausible; see `stereo_messages` for the arguments."""
    scale = result.disparity.shape[1] / result.processing_size[0]
    return examine_estimate(
        pair.left,
        pair.right,
        result.disparity,
        pair.camera,
        disparity_range[1] * scale,
        settings.depth_limits,
    )


def depth_density(pair: StereoInput, result: StereoResult, settings: OutputSettings) -> float:
    """Share of the pixels with a finite depth inside the limits, 0..1."""
    height, width = result.disparity.shape
    camera = pair.camera.resized(width, height)
    return density(result.disparity, camera, settings.depth_limits)


def stereo_messages(
    types: MessageTypes,
    wanted: Collection[str],
    pair: StereoInput,
    result: StereoResult,
    disparity_range: tuple[float, float],
    resolution: float,
    settings: OutputSettings,
) -> dict[str, Any]:
    """Make the messages of the topics in `wanted`.

    Args:
        types: message classes.
        wanted: names out of STEREO_OUTPUTS.
        pair: what was estimated from.
        result: the estimate; its confidence must be there if CONFIDENCE is wanted.
        disparity_range: of the model, pixels at its processing size.
        resolution: smallest disparity step of the model, pixels at its processing size.
        settings: limits of depth and colours.
    """
    height, width = result.disparity.shape
    header, camera = pair.header, pair.camera.resized(width, height)
    scale = width / result.processing_size[0]
    low, high = disparity_range[0] * scale, disparity_range[1] * scale
    messages: dict[str, Any] = {}
    if DISPARITY in wanted:
        messages[DISPARITY] = conversions.disparity_message(
            types, header, result.disparity, camera, (low, high), resolution * scale
        )
    if COLOR in wanted:
        start, end = settings.color_range if any(settings.color_range) else (low, high)
        picture = colorize(result.disparity, start, end, order='bgr')
        messages[COLOR] = conversions.image_message(types, header, picture, 'bgr8')
    if DEPTH_INFO in wanted:
        messages[DEPTH_INFO] = conversions.depth_camera_info(
            types, header, pair.left_info, pair.camera.left, width, height
        )
    if CONFIDENCE in wanted and result.confidence is not None:
        messages[CONFIDENCE] = conversions.image_message(types, header, result.confidence, '32FC1')
    if DEPTH in wanted or POINTS in wanted:
        depth = camera.disparity_to_depth(result.disparity, *settings.depth_limits)
        if DEPTH in wanted:
            messages[DEPTH] = conversions.image_message(types, header, depth, '32FC1')
        if POINTS in wanted:
            rgb = pair.left
            if rgb.shape[:2] != (height, width):
                rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
            points = camera.left.colored_points(depth, rgb)
            messages[POINTS] = conversions.cloud_message(types, header, points)
    return messages
