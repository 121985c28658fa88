"""Resizing images to the size at which a model works, and processing the maps that it gives."""

from __future__ import annotations

import cv2
import numpy as np

# Stands for "unknown" in the right map; with NaN, remap would make the neighbours unknown too.
_UNMATCHED = 1e6
_NOISE = 0.005
"""The share of the range of a map that neighbours on one surface may differ by."""
_CONTINUED = 3.0
"""How many times larger a difference on one surface may be than the next one."""


def resampled(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image (H, W, 3) to (width, height); where it shrinks, pixels are averaged."""
    if size == (image.shape[1], image.shape[0]):
        return image
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def left_right_confidence(of_left: np.ndarray, of_right: np.ndarray) -> np.ndarray:
    """Compare the left and the right disparity map; gives a confidence float32 (H, W) in 0..1.

    A left disparity d at x should be equal to the right disparity at x - d. The confidence is
    exp(-|difference| / 1 px), and 0 where one of them is unknown or x - d is outside the image.
    """
    height, width = of_left.shape
    columns = np.arange(width, dtype=np.float32) - of_left
    rows = np.repeat(np.arange(height, dtype=np.float32)[:, None], width, axis=1)
    met = cv2.remap(
        np.nan_to_num(of_right, nan=_UNMATCHED),
        np.nan_to_num(columns, nan=-2.0),
        rows,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=_UNMATCHED,
    )
    return np.nan_to_num(np.exp(-np.abs(of_left - met)), nan=0.0)


def resampled_disparity(disparity: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize a disparity map to width x height, and scale its values with the width.

    Bilinear where neighbours differ by less than a pixel, nearest neighbour elsewhere: a value
    between two surfaces would be a point that lies on neither of them.

    Args:
        disparity: float32 (H, W), in pixels of its own size, NaN where unknown.
        width: the width of the result.
        height: the height of the result.
    """
    nearest = cv2.resize(disparity, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    smooth = cv2.resize(disparity, (width, height), interpolation=cv2.INTER_LINEAR)
    with np.errstate(invalid='ignore'):
        same_surface = np.abs(smooth - nearest) < 1
    return np.where(same_surface, smooth, nearest) * np.float32(width / disparity.shape[1])


def resampled_depth(values: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize a map of any unit, or of none, to width x height.

    Bilinear inside of surfaces, nearest neighbour across the steps between them. A step is a
    difference that neither neighbour continues, so that a slope is none, however steep it is.

    Args:
        values: float32 (H, W), NaN where unknown.
        width: the width of the result.
        height: the height of the result.
    """
    nearest = cv2.resize(values, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    smooth = cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
    known = values[np.isfinite(values)]
    noise = _NOISE * float(np.ptp(np.percentile(known, (2, 98)))) if known.size else 0.0
    rows, columns = (
        np.clip(np.floor((np.arange(new) + 0.5) * (old / new) - 0.5), 0, max(0, old - 2))
        for old, new in zip(values.shape, (height, width), strict=True)
    )
    rows, columns = rows.astype(int), columns.astype(int)
    below, right = (
        np.minimum(start + 1, side - 1)
        for start, side in zip((rows, columns), values.shape, strict=True)
    )
    between = np.zeros((height, width), bool)
    if values.shape[1] > 1:
        steps = _steps(values, noise)
        between |= steps[np.ix_(rows, columns)] | steps[np.ix_(below, columns)]
    if values.shape[0] > 1:
        steps = _steps(values.T, noise).T
        between |= steps[np.ix_(rows, columns)] | steps[np.ix_(rows, right)]
    return np.where(between, nearest, smooth)


def _steps(values: np.ndarray, noise: float) -> np.ndarray:
    """Tell where a value and the next one in its row belong to two surfaces, bool (H, W - 1).

    Args:
        values: float32 (H, W).
        noise: differences up to this are no steps.
    """
    with np.errstate(invalid='ignore'):
        change = np.diff(values, axis=1)
        padded = np.pad(change, ((0, 0), (1, 1)))
        slope = np.maximum(padded[:, :-2] * np.sign(change), padded[:, 2:] * np.sign(change))
        return ~(np.abs(change) <= _CONTINUED * np.maximum(slope, 0) + noise)
