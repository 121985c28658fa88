"""Parameters that tell the scale of networks without metres."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nndepth_core.scale import TrackerSettings
from nndepth_core.scale.ground import LARGEST_PITCH
from nndepth_core.scale.tracker import LONGEST
from nndepth_ros.live_scale import HIGHEST, NONE, SOURCES, ScaleSettings
from nndepth_ros.parameters.table import Parameter

SCALE_PARAMETERS = (
    Parameter(
        'scale_source',
        NONE,
        'What tells the scale of a network that gives no metres: sparse_depth, on scale/depth or '
        'scale/points in the frame of the images; stereo, on scale/disparity or scale/depth; '
        'camera_height, the height above a flat ground.',
        choices=tuple(SOURCES),
    ),
    Parameter(
        'camera_height',
        0.0,
        'Height of the camera above the ground for scale_source camera_height, metres.',
        high=HIGHEST,
    ),
    Parameter(
        'camera_pitch',
        0.0,
        'Degrees by which the camera looks down for scale_source camera_height; negative: up.',
        low=-LARGEST_PITCH,
        high=LARGEST_PITCH,
    ),
    Parameter(
        'scale_tolerance',
        TrackerSettings.tolerance,
        'Largest difference of the stamps of an image and of depths that tell its scale, seconds.',
        high=LONGEST,
    ),
    Parameter(
        'scale_smoothing',
        TrackerSettings.smoothing,
        'Time constant by which the scale is smoothed, seconds; 0: not at all. Jumps are not '
        'smoothed.',
        high=LONGEST,
    ),
    Parameter(
        'scale_max_age',
        TrackerSettings.max_age,
        'Seconds for which a scale is used after it was found; then metres are not published.',
        high=LONGEST,
    ),
)


def scale_settings(values: Mapping[str, Any]) -> ScaleSettings:
    """Read the rows above.

    Raises:
        ValueError: the source needs another value.
    """
    following = TrackerSettings(
        values['scale_tolerance'], values['scale_smoothing'], values['scale_max_age']
    )
    return ScaleSettings(
        values['scale_source'], values['camera_height'], values['camera_pitch'], following
    )
