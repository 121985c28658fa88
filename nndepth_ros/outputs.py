"""The topics of the outputs, and the messages with depth that all nodes share."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from nndepth_core.camera import PinholeCamera
from nndepth_core.files.values import number
from nndepth_ros import conversions
from nndepth_ros.conversions import MessageTypes

DISPARITY = 'disparity'
COLOR = 'disparity/image_color'
DEPTH = 'depth/image'
DEPTH_INFO = 'depth/camera_info'
INVERSE_DEPTH = 'inverse_depth/image'
RELATIVE_DEPTH = 'relative_depth/image'
DEPTH_COLOR = 'depth/image_color'
CONFIDENCE = 'confidence'
POINTS = 'points2'
STATS = 'stats'
STEREO_OUTPUTS: Mapping[str, str] = {
    DISPARITY: 'disparity_image',
    COLOR: 'image',
    DEPTH: 'image',
    DEPTH_INFO: 'camera_info',
    CONFIDENCE: 'image',
    POINTS: 'point_cloud',
}
"""The topics of the outputs for a stereo pair, each with the name of its class in MessageTypes."""
MONO_OUTPUTS: Mapping[str, str] = {
    DEPTH: 'image',
    INVERSE_DEPTH: 'image',
    RELATIVE_DEPTH: 'image',
    DEPTH_COLOR: 'image',
    DEPTH_INFO: 'camera_info',
    CONFIDENCE: 'image',
    POINTS: 'point_cloud',
}
"""The same for a single image; no model gives all of them."""
FARTHEST = 1e6
"""The largest limit of depth, in metres."""


@dataclass(frozen=True)
class OutputSettings:
    """How estimates become messages.

    Attributes:
        min_depth: in metres; nearer points are -inf in depth images. 0 sets no limit.
        max_depth: in metres; farther points are +inf. 0 sets no limit.
        color_range: the values at the ends of the colour map: disparities, or metres of a network
            that gives depth; (0, 0) takes the model's range.
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
        """The smallest and largest depth in metres; infinite if there is no largest."""
        return self.min_depth, self.max_depth or math.inf


def depth_messages(
    types: MessageTypes,
    wanted: Collection[str],
    header: Any,
    depth: np.ndarray,
    rgb: np.ndarray,
    camera: PinholeCamera | None,
) -> dict[str, Any]:
    """Make the depth image and the coloured points, if they are in `wanted`.

    Args:
        types: the message classes.
        wanted: the topics to make.
        header: the header of the image; both messages have it too.
        depth: float32 (H, W), in metres, NaN where unknown, infinite outside of the limits.
        rgb: uint8 (H, W, 3) of any size, the colours of the points.
        camera: the camera at the size of the depth; only needed for points.
    """
    messages = {}
    if DEPTH in wanted:
        messages[DEPTH] = conversions.image_message(types, header, depth, '32FC1')
    if POINTS in wanted and camera is not None:
        height, width = depth.shape
        if rgb.shape[:2] != (height, width):
            rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
        points = camera.colored_points(depth, rgb)
        messages[POINTS] = conversions.cloud_message(types, header, points)
    return messages
