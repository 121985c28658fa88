"""All parameters of the comparing node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nndepth_ros.parameters.inputs import INPUT_PARAMETERS
from nndepth_ros.parameters.table import Parameter, check_choices, filled

_SHARED = ('autostart', 'image_transport', 'rectify', 'max_pixels', 'input_timeout')

COMPARE_PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        'task',
        'stereo',
        'What the models do: stereo compares disparities, mono depths in metres.',
        live=False,
        choices=('stereo', 'mono'),
    ),
    *(row for row in INPUT_PARAMETERS if row.name in _SHARED),
    Parameter('window', 100, 'Frames in the window of the statistics.', low=1, high=100_000),
    Parameter(
        'max_wait',
        5.0,
        'Seconds for which an answer waits for that of the other model; longer than the slower '
        'model takes.',
        low=0.01,
        high=60.0,
    ),
    Parameter('picture_rate', 5.0, 'Pictures a second at most.', low=0.01, high=100.0),
)


@dataclass(frozen=True)
class CompareConfig:
    """All parameters of the comparing node, checked."""

    task: str
    autostart: bool
    image_transport: str
    rectify: bool
    max_pixels: int
    input_timeout: float
    window: int
    max_wait: float
    picture_rate: float

    @property
    def compressed(self) -> bool:
        """Whether images arrive as CompressedImage."""
        return self.image_transport == 'compressed'

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> CompareConfig:
        """Check the values of all COMPARE_PARAMETERS together.

        Raises:
            ValueError: a value is not allowed; the message says which and what is.
        """
        check_choices(COMPARE_PARAMETERS, values)
        return filled(cls, values)
