"""Removes what lies at the border, where images show too little around a point."""

from __future__ import annotations

import math

import numpy as np


def remove_border(values: np.ndarray, width: int, shift: np.ndarray | None = None) -> None:
    """Make the pixels near the border of a map unknown, in place.

    Args:
        values: float32 (H, W).
        width: the number of rows and columns on each side.
        shift: float32 (H, W), how many columns farther to the left another image shows the point
            of each pixel, NaN where unknown; what it does not show so far from its first column
            is removed too. None if there is no other image.
    """
    if shift is not None:
        largest = np.nanmax(shift, initial=0.0)
        reach = values.shape[1] if math.isinf(largest) else math.ceil(width + largest)
        near = np.s_[:, :reach]
        columns = np.arange(values.shape[1], dtype=np.float32)[:reach]
        values[near][columns - shift[near] < width] = np.nan
    for side in (np.s_[:width], np.s_[-width:], np.s_[:, :width], np.s_[:, -width:]):
        values[side] = np.nan
