"""Fills holes from the background."""

from __future__ import annotations

import numpy as np


def fill_holes(values: np.ndarray, widest: int) -> np.ndarray:
    """Fill the gaps in the rows of a map with the farther of the values at both ends, in place.

    The gaps that matching leaves beside a surface show what is behind it. A gap at the border of
    the map has only one end, and stays.

    Args:
        values: float32 (H, W), the inverse of the depth, NaN where unknown.
        widest: the number of pixels of the widest gap that is filled.

    Returns:
        The indices (K,) of the pixels in the flat map that were filled.
    """
    height, width = values.shape
    unknown = np.zeros((height, width + 2), bool)  # every gap begins and ends in its row
    np.isnan(values, out=unknown[:, 1:-1])
    before, after = unknown.reshape(-1)[:-1], unknown.reshape(-1)[1:]
    row, begin = np.divmod(np.flatnonzero(before < after), width + 2)
    end = np.flatnonzero(before > after) % (width + 2)
    filled = (begin > 0) & (end < width) & (end - begin <= widest)
    row, begin, end = row[filled], begin[filled], end[filled]
    farther = np.minimum(values[row, begin - 1], values[row, end])
    length = end - begin
    within = np.arange(length.sum()) - np.repeat(length.cumsum() - length, length)
    at = np.repeat(row * width + begin, length) + within
    values.reshape(-1)[at] = np.repeat(farther, length)
    return at


def filled_from_background(values: np.ndarray) -> np.ndarray:
    """Fill all unknown pixels of a map from the background.

    A hole takes the farther of the nearest known values to its left and right in the row; a row
    without any takes the nearest row that has some. A map without any stays unknown.

    Args:
        values: float32 (H, W), the inverse of the depth, not finite where unknown.

    Returns:
        A new map, float32.
    """
    known = np.isfinite(values)
    rows = np.flatnonzero(known.any(axis=1))
    if not rows.size:
        return np.full(values.shape, np.nan, np.float32)
    columns = np.arange(values.shape[1])
    before = np.maximum.accumulate(np.where(known, columns, 0), axis=1)
    after = np.minimum.accumulate(np.where(known, columns, columns[-1])[:, ::-1], axis=1)[:, ::-1]
    neighbours = [
        np.take_along_axis(np.where(known, values, np.nan), index, axis=1)
        for index in (before, after)
    ]
    filled = np.fmin(*neighbours).astype(np.float32)
    nearest = np.abs(np.arange(len(filled))[:, None] - rows).argmin(axis=1)
    return filled[rows[nearest]]
