"""The topics of the outputs, and how depth becomes the messages of those that all nodes share."""

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
"""Topics of a stereo pair's outputs, each with the name of its class in MessageTypes."""
MONO_OUTPUTS: Mapping[str, str] = {
    DEPTH: 'image',
    INVERSE_DEPTH: 'image',
    RELATIVE_DEPTH: 'image',
    DEPTH_COLOR: 'image',
    DEPTH_INFO: 'camera_info',
    CONFIDENCE: 'image',
    POINTS: 'point_cloud',
}
"""The same of a single image's outputs, of which no model gives all."""
FARTHEST = 1e6
"""The largest limit of depth, metres."""


@dataclass(frozen=True)
class OutputSettings:
    """How estimates become messages.

    Attributes:
        min_depth: metres; nearer points are -inf in depth images. 0: no limit.
        max_depth: metres; farther points are +inf. 0: no limit.
        color_range: disparities, or metres of a depth network, at the ends of the colour map;
            (0, 0): the model's range.
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


def depth_messages(
    types: MessageTypes,
    wanted: Collection[str],
    header: Any,
    depth: np.ndarray,
    rgb: np.ndarray,
    camera: PinholeCamera | None,
) -> dict[str, Any]:
    """Make the depth image and the coloured points, those that are in `wanted`.

    Args:
        types: message classes.
        wanted: topics.
        header: of the image; both carry it.
        depth: float32 (H, W), metres, NaN unknown, infinite beyond the limits.
        rgb: uint8 (H, W, 3) of any size, the colours of the points.
        camera: of the depth's size; needed for points only.
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
