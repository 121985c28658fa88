"""Parameters of the outputs."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from nndepth_core import clouds
from nndepth_core.camera import FARTHEST
from nndepth_core.clouds import CloudSettings
from nndepth_core.filters import FilterSettings
from nndepth_core.filters import settings as filters
from nndepth_ros.depth_images import ENCODINGS, METRES
from nndepth_ros.outputs import HIGHEST, OutputSettings
from nndepth_ros.parameters.table import Parameter, filled, group, group_of

FILTER, CLOUD = 'filter.', 'cloud.'
"""The first parts of the names of the filters and of what `points2/filtered` keeps."""
OF_SIGMA = (f'{CLOUD}voxel_sigmas',)
"""The parameters below that need the sigma of depth, which single images do not have."""
OUTPUT_PARAMETERS = (
    Parameter(
        'min_depth',
        0.0,
        'Nearer points are -inf in depth images, metres; 0: no limit.',
        high=FARTHEST,
    ),
    Parameter(
        'max_depth',
        0.0,
        'Farther points are +inf in depth images, metres; 0: no limit.',
        high=FARTHEST,
    ),
    Parameter(
        'depth_encoding',
        METRES,
        'Of depth images: 32FC1 in metres, or 16UC1 in millimetres, with 0 for what is unknown, '
        'infinite or beyond 65.535 m.',
        choices=ENCODINGS,
    ),
    *group(FILTER, FilterSettings, filters.MEANING, filters.LOWEST, filters.HIGHEST),
    *group(CLOUD, CloudSettings, clouds.MEANING, clouds.LOWEST, clouds.HIGHEST),
    Parameter(
        f'{CLOUD}frame',
        '',
        'The frame, z upwards, in which points have the heights below; tf2 must know where the '
        'camera stands in it. Empty: there are no such limits.',
    ),
    *(
        Parameter(
            f'{CLOUD}{end}_height',
            default,
            f'{which} points are left out, metres along z of cloud.frame.',
            low=-HIGHEST,
            high=HIGHEST,
        )
        for end, which, default in (('min', 'Lower', -HIGHEST), ('max', 'Higher', HIGHEST))
    ),
)


def color_parameters(
    quantity: str, unit: str, low: float, high: float, ends: tuple[str, str] = ('low', 'high')
) -> tuple[Parameter, ...]:
    """Make the rows for the ends of the colour map.

    Args:
        quantity: the quantity that is coloured, 'disparity' or 'depth'.
        unit: its unit.
        low: the smallest value of both ends.
        high: the largest value of both ends.
        ends: the names of the ends for the smallest and the largest value.
    """
    rows = (('min', ends[0], ''), ('max', ends[1], "; both 0: the model's range"))
    return tuple(
        Parameter(
            f'color_{name}_{quantity}',
            0.0,
            f'{quantity.capitalize()} at the {end} end of the colour map, {unit}{otherwise}.',
            low=low,
            high=high,
        )
        for name, end, otherwise in rows
    )


def output_settings(values: Mapping[str, Any], quantity: str) -> OutputSettings:
    """Read the rows above, and those of sigma where they are; `quantity` as in `color_parameters`.

    Raises:
        ValueError: a maximum is not larger than its minimum, or a value out of its range.
    """
    low, high = values[f'color_min_{quantity}'], values[f'color_max_{quantity}']
    if (low or high) and high <= low:
        raise ValueError(
            f'color_max_{quantity} is {high} and color_min_{quantity} {low}; '
            'the maximum must be larger (or both 0)'
        )
    groups = {
        'filters': group_of(FILTER, FilterSettings, values),
        'cloud': group_of(CLOUD, CloudSettings, values),
    }
    frame = values[f'{CLOUD}frame']
    _check_tf2(frame)
    heights = tuple(values[f'{CLOUD}{end}_height'] for end in ('min', 'max'))
    return filled(
        OutputSettings,
        values,
        color_range=(low, high),
        cloud_frame=frame,
        cloud_heights=heights,
        **groups,
    )


def _check_tf2(frame: str) -> None:
    """Refuse a frame where there is no tf2.

    Raises:
        ValueError: tf2_ros is not installed.
    """
    if frame and find_spec('tf2_ros') is None:
        raise ValueError(
            f'cloud.frame is {frame!r}, which needs tf2_ros, and that is not installed; install '
            "ros-$ROS_DISTRO-tf2-ros-py, or set cloud.frame to ''"
        )
