"""Parameters of the inputs."""

from __future__ import annotations

from dataclasses import dataclass

from nndepth_core.files.picture import MAX_PIXELS
from nndepth_ros.parameters.table import Parameter

INPUT_PARAMETERS = (
    Parameter('autostart', True, 'Configure and activate at start.', live=False),
    Parameter(
        'image_transport',
        'raw',
        'How images are sent: raw, or compressed (JPEG, PNG).',
        live=False,
        choices=('raw', 'compressed'),
    ),
    Parameter(
        'max_pixels',
        MAX_PIXELS,
        'Images with more pixels (width times height) are refused before they are decoded.',
        low=1,
        high=2**31 - 1,
    ),
    Parameter(
        'input_timeout',
        2.0,
        'Seconds after which an input without messages is reported.',
        low=0.1,
        high=3600.0,
    ),
)


def max_age(what: str) -> Parameter:
    """Make the row for the largest age of `what`, 'Pairs' or 'Images'."""
    text = f'{what} that waited longer than this are skipped, seconds; 0: no limit.'
    return Parameter('max_age', 0.0, text, high=60.0)


@dataclass(frozen=True)
class InputConfig:
    """How images are received."""

    autostart: bool
    image_transport: str
    max_pixels: int
    max_age: float
    input_timeout: float

    @property
    def compressed(self) -> bool:
        """Whether images arrive as CompressedImage."""
        return self.image_transport == 'compressed'
