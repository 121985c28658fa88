"""Finds flying pixels: estimates between a surface and what is behind it, where nothing is."""

from __future__ import annotations

import cv2
import numpy as np

CONTINUED = 1.5
"""A change that goes on by this share of it on both sides together is a slope, and no step."""


def flying_pixels(values: np.ndarray, tolerance: np.ndarray, width: int) -> np.ndarray:
    """Find the pixels of a veil, which is up to 2 * width - 1 pixels wide.

    Along its row or its column, the value of such a pixel lies between those `width` pixels before
    and after it, differs from both by more than the tolerance, and the change ends there: over the
    next 2 * width pixels on both sides, values change in the same direction by less than CONTINUED
    times as much. What is unknown on one side counts like the other side. Where the inverse depth
    is a quadratic function of the pixel, as on planes, that is twice as much, so that nothing of
    them is found, however steeply they are seen.

    Args:
        values: float32 (H, W), the inverse of the depth, NaN where unknown.
        tolerance: float32 (H, W), the largest difference on one surface.
        width: the distance in pixels.

    Returns:
        The indices (K,) of the pixels in the flat map; some may be there twice.
    """
    flat = np.ascontiguousarray(values).reshape(-1)
    return np.concatenate(
        [_along(flat, values, tolerance, width, axis) for axis in range(values.ndim)]
    )


def _along(
    flat: np.ndarray, values: np.ndarray, tolerance: np.ndarray, width: int, axis: int
) -> np.ndarray:
    """Find those of a veil along one axis; the pixels near the ends of the axis are left out."""
    margin = 3 * width
    inside = values.shape[axis] - 2 * margin
    if inside <= 0:
        return np.empty(0, np.intp)

    def moved(array: np.ndarray, by: int) -> np.ndarray:
        part = slice(margin + by, margin + by + inside)
        return array[:, part] if axis else array[part]

    here, limit = moved(values, 0), moved(tolerance, 0)
    before = cv2.subtract(here, moved(values, -width))
    after = cv2.subtract(moved(values, width), here)
    found = cv2.min(before, after) > limit
    found |= cv2.max(before, after) < -limit
    row, column = np.divmod(np.flatnonzero(found), found.shape[1])
    at = (row + margin * (axis == 0)) * values.shape[1] + column + margin * (axis == 1)

    # What follows is exact, also where values are unknown, and only for the few that are left.
    jump = width * (1 if axis else values.shape[1])
    first, second = flat[at] - flat[at - jump], flat[at + jump] - flat[at]
    whole = first + second
    direction = np.sign(whole)
    smaller = np.minimum(first * direction, second * direction)
    outside = np.stack(
        [flat[at - jump] - flat[at - 3 * jump], flat[at + 3 * jump] - flat[at + jump]]
    )
    outside = np.where(np.isnan(outside), outside[::-1], outside) * direction
    ends = np.maximum(outside, 0).sum(axis=0) < CONTINUED * np.abs(whole)
    return at[ends & (smaller > tolerance.reshape(-1)[at])]
