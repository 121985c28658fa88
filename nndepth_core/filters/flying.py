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

    changed = cv2.absdiff(moved(values, 0), moved(values, -width)) > moved(tolerance, 0)
    row, column = np.divmod(np.flatnonzero(changed), changed.shape[1])
    at = (row + margin * (axis == 0)) * values.shape[1] + column + margin * (axis == 1)
    jump = width * (1 if axis else values.shape[1])

    def change(at: np.ndarray, start: int, end: int) -> np.ndarray:
        return flat[at + end * jump] - flat[at + start * jump]

    direction = np.sign(change(at, -1, 0))
    goes_on = direction * change(at, 0, 1) > tolerance.reshape(-1)[at]
    at, direction = at[goes_on], direction[goes_on]
    outside = direction * np.stack([change(at, -3, -1), change(at, 1, 3)])
    outside = np.where(np.isnan(outside), outside[::-1], outside)
    ends = np.maximum(outside, 0).sum(axis=0) < CONTINUED * np.abs(change(at, -1, 1))
    return at[ends]
