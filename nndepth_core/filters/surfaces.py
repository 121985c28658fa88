"""When two estimates belong to one surface, which all filters decide alike.

Filters work on the inverse of the depth, in any unit: there a plane is a linear function of the
pixel, however steeply it is seen, and a difference has the same share of the value as one of the
depth. What is known to be noise is never a step.
"""

from __future__ import annotations

import cv2
import numpy as np

LEVELS = 16
"""The numbers of `surface_levels` that make one step."""
UNKNOWN = np.iinfo(np.int16).min
"""The number of an unknown value."""
_LARGEST = np.iinfo(np.int16).max
_ROUNDED = 1.001
"""So many times the noise is still noise, because numbers are rounded."""


def tolerance(values: np.ndarray, step: float, noise: float) -> np.ndarray:
    """The difference to each value of a map (H, W) up to which another is of its surface.

    Args:
        values: float32, the inverse of the depth, NaN where unknown.
        step: the share of the value.
        noise: the least difference, in the unit of the values.
    """
    scaled = values * np.float32(step)
    return np.maximum(scaled, np.float32(_ROUNDED * noise), out=scaled)


def surface_levels(values: np.ndarray, step: float, noise: float) -> np.ndarray:
    """Number the values of a map so that a step between surfaces is LEVELS everywhere.

    The numbers grow evenly as long as `noise` is the tolerance, and with the logarithm beyond.
    They are rounded, and so are steps, to 1 / LEVELS of one.

    Args:
        values: float32 (H, W), the inverse of the depth, NaN where unknown.
        step: the share of the value that is a step, at least 0.005.
        noise: the smallest step, in the unit of the values, larger than 0.

    Returns:
        int16 (H, W), UNKNOWN where the value is unknown.
    """
    turn = noise / step
    scaled = values * np.float32(1 / turn)
    logarithm = cv2.log(np.maximum(scaled, np.float32(1)))
    levels = np.minimum(scaled, np.float32(1), out=scaled)
    levels += logarithm
    levels *= np.float32(LEVELS / step)
    np.clip(np.rint(levels, out=levels), -_LARGEST, _LARGEST, out=levels)
    cv2.patchNaNs(levels, UNKNOWN)
    return levels.astype(np.int16)
