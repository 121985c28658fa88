"""Parameters of the outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nndepth_core import clouds
from nndepth_core.camera import FARTHEST
from nndepth_core.clouds import CloudSettings
from nndepth_core.filters import FilterSettings
from nndepth_core.filters import settings as filters
from nndepth_ros.depth_images import ENCODINGS, METRES
from nndepth_ros.outputs import OutputSettings
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
    return filled(OutputSettings, values, color_range=(low, high), **groups)
