"""The parameter of the rate that a node keeps."""

from __future__ import annotations

import reprlib
from typing import Any

from nndepth_core.files.values import number
from nndepth_ros.parameters.table import Parameter

CAMERA = 'auto'
"""The word for the rate of the camera."""
LOWEST, HIGHEST = 0.1, 240.0
"""The rates in Hz that can be kept."""
TARGET_RATE = Parameter(
    'target_rate',
    0.0,
    f'Rate of the outputs in Hz, {LOWEST:g}..{HIGHEST:g}, that is kept by fewer iterations and a '
    f"smaller processing size where needed; {CAMERA}: the camera's rate; 0: off.",
    words=(CAMERA,),
)


def read_rate(value: Any) -> float | str:
    """Return the value of TARGET_RATE, which may be a number, a number as text, or a word.

    Raises:
        ValueError: it is something else, or out of its range.
    """
    if value == CAMERA:
        return CAMERA
    try:
        rate = float(value) if isinstance(value, str) else value
        return number('', rate, LOWEST, HIGHEST) if rate != 0 or rate is False else 0.0
    except ValueError:
        raise ValueError(
            f'target_rate is {reprlib.repr(value)}; give {LOWEST:g}..{HIGHEST:g} Hz, '
            f'{CAMERA} for the rate of the camera, or 0 for none'
        ) from None
