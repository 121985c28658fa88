"""The topics of the outputs, and the messages with depth that all nodes share."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from nndepth_core.camera import PinholeCamera, depth_limits
from nndepth_core.clouds import HIGHEST as OF_CLOUDS
from nndepth_core.clouds import CloudSettings, Heights, filtered_points
from nndepth_core.files.values import choice, number
from nndepth_core.filters import FilterSettings
from nndepth_core.uncertainty import LARGEST_SIGMA
from nndepth_ros import conversions
from nndepth_ros.conversions import MessageTypes
from nndepth_ros.depth_images import (
    ENCODINGS,
    METRES,
    compressed_depth_message,
    depth_message,
)

DISPARITY = 'disparity'
COLOR = 'disparity/image_color'
DEPTH = 'depth/image'
DEPTH_COMPRESSED = 'depth/image/compressedDepth'
DEPTH_INFO = 'depth/camera_info'
INVERSE_DEPTH = 'inverse_depth/image'
RELATIVE_DEPTH = 'relative_depth/image'
DEPTH_COLOR = 'depth/image_color'
CONFIDENCE = 'confidence'
SIGMA = 'depth/sigma'
POINTS = 'points2'
POINTS_FILTERED = 'points2/filtered'
STATS = 'stats'
STEREO_OUTPUTS: Mapping[str, str] = {
    DISPARITY: 'disparity_image',
    COLOR: 'image',
    DEPTH: 'image',
    DEPTH_COMPRESSED: 'compressed_image',
    DEPTH_INFO: 'camera_info',
    CONFIDENCE: 'image',
    SIGMA: 'image',
    POINTS: 'point_cloud',
    POINTS_FILTERED: 'point_cloud',
}
"""The topics of the outputs for a stereo pair, each with the name of its class in MessageTypes."""
OTHER_FORMS = frozenset({DEPTH_COMPRESSED, POINTS_FILTERED})
"""The outputs that hold what others hold too, and are written only if they are asked for."""
USUAL_OUTPUTS = tuple(
    topic for topic in STEREO_OUTPUTS if topic != SIGMA and topic not in OTHER_FORMS
)
"""Those of STEREO_OUTPUTS that every model can fill, without OTHER_FORMS."""
MONO_OUTPUTS: Mapping[str, str] = {
    DEPTH: 'image',
    DEPTH_COMPRESSED: 'compressed_image',
    INVERSE_DEPTH: 'image',
    RELATIVE_DEPTH: 'image',
    DEPTH_COLOR: 'image',
    DEPTH_INFO: 'camera_info',
    CONFIDENCE: 'image',
    POINTS: 'point_cloud',
    POINTS_FILTERED: 'point_cloud',
}
"""The same for a single image; no model gives all of them."""
CLOUDS = frozenset({POINTS, POINTS_FILTERED})
OF_DEPTH = CLOUDS | {DEPTH, DEPTH_COMPRESSED}
"""The outputs that `depth_messages` makes."""
HIGHEST = OF_CLOUDS['max_range']
"""Metres; no point is higher or lower than that."""


@dataclass(frozen=True)
class OutputSettings:
    """How estimates become messages.

    Attributes:
        min_depth: in metres; nearer points are -inf in depth images. 0 sets no limit.
        max_depth: in metres; farther points are +inf. 0 sets no limit.
        color_range: the values at the ends of the colour map: disparities, or metres of a network
            that gives depth; (0, 0) takes the model's range.
        filters: what cleans the estimates before.
        disparity_sigma: the standard deviation of disparities, in pixels of the images; 0 takes
            what the confidence of the model says.
        cloud_sigma: whether points have the standard deviation of their depth.
        cloud: which points the filtered cloud keeps.
        depth_encoding: of depth images, one of ENCODINGS.
        cloud_frame: the frame in which points of the filtered cloud have heights; '' for none.
        cloud_heights: the smallest and the largest height that they may have, metres.
    """

    min_depth: float = 0.0
    max_depth: float = 0.0
    color_range: tuple[float, float] = (0.0, 0.0)
    filters: FilterSettings = field(default_factory=FilterSettings)
    disparity_sigma: float = 0.0
    cloud_sigma: bool = False
    cloud: CloudSettings = field(default_factory=CloudSettings)
    depth_encoding: str = METRES
    cloud_frame: str = ''
    cloud_heights: tuple[float, float] = (-HIGHEST, HIGHEST)

    def __post_init__(self) -> None:
        depth_limits(self.min_depth, self.max_depth)
        choice('depth_encoding', self.depth_encoding, ENCODINGS)
        try:
            self.cloud.check_limits(self.max_depth)
        except ValueError as error:
            raise ValueError(f'cloud.{error}') from error
        low, high = self.cloud_heights
        if not low < high:
            raise ValueError(
                f'cloud.max_height is {high} and cloud.min_height {low}; the maximum must be '
                'larger'
            )
        if not self.cloud_frame and (low, high) != (-HIGHEST, HIGHEST):
            raise ValueError(
                f'cloud.min_height is {low} and cloud.max_height {high}, but heights belong to a '
                'frame; set cloud.frame to one that stands upright, such as base_link'
            )
        number('disparity_sigma', self.disparity_sigma, 0, LARGEST_SIGMA)
        if self.cloud_sigma and self.cloud.far_depth:
            raise ValueError(
                f'cloud.far_depth is {self.cloud.far_depth} and cloud_sigma is set, but points at '
                'infinity have no sigma; choose one of the two'
            )

    @property
    def depth_limits(self) -> tuple[float, float]:
        """The smallest and largest depth in metres; infinite if there is no largest."""
        return depth_limits(self.min_depth, self.max_depth)


def depth_messages(
    types: MessageTypes,
    wanted: Collection[str],
    header: Any,
    depth: np.ndarray,
    rgb: np.ndarray,
    camera: PinholeCamera | None,
    settings: OutputSettings,
    sigma: np.ndarray | None = None,
    heights: Heights | None = None,
) -> dict[str, Any]:
    """Make the depth images and the coloured points, if they are in `wanted`.

    Args:
        types: the message classes.
        wanted: the topics to make.
        header: the header of the image; all messages have it too.
        depth: float32 (H, W), in metres, NaN where unknown, infinite outside of the limits.
        rgb: uint8 (H, W, 3) of any size, the colours of the points.
        camera: the camera at the size of the depth; only needed for points.
        settings: how depths become messages.
        sigma: float32 (H, W), in metres, of the depth; None if it is not known.
        heights: those that points of the filtered cloud may have; None allows all.
    """
    messages = {}
    if DEPTH in wanted:
        messages[DEPTH] = depth_message(types, header, depth, settings.depth_encoding)
    if DEPTH_COMPRESSED in wanted:
        messages[DEPTH_COMPRESSED] = compressed_depth_message(
            types, header, depth, settings.depth_encoding, settings.min_depth
        )
    if camera is None or CLOUDS.isdisjoint(wanted):
        return messages
    height, width = depth.shape
    if rgb.shape[:2] != (height, width):
        rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    if POINTS in wanted:
        more = []
        if settings.cloud_sigma:
            more = [np.full_like(depth, np.nan) if sigma is None else sigma]
        shape = height, width, 4 + len(more)
        messages[POINTS], points = conversions.cloud_with_room(types, header, shape)
        camera.colored_points(depth, rgb, *more, out=points)
    if POINTS_FILTERED in wanted:
        points = filtered_points(
            depth, rgb, camera, settings.cloud, sigma, settings.cloud_sigma, heights
        )
        messages[POINTS_FILTERED] = conversions.cloud_message(
            types, header, points[np.newaxis], dense=True
        )
    return messages
