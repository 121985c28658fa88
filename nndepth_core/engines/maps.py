"""Resizing images to the size at which a model works, and processing the maps that it gives."""

from __future__ import annotations

import cv2
import numpy as np

# Stands for "unknown" in the right map; with NaN, remap would make the neighbours unknown too.
_UNMATCHED = 1e6


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


def resampled_surfaces(
    values: np.ndarray, width: int, height: int, allowed: float, relative: float = 0.0
) -> np.ndarray:
    """Resize a map to width x height: bilinear inside surfaces, nearest neighbour across edges.

    A value between two surfaces would be a point that lies on neither of them.

    Args:
        values: float32 (H, W).
        width: the width of the result.
        height: the height of the result.
        allowed: neighbours that differ by at most this much belong to one surface.
        relative: a further difference that is allowed, as a share of the value.
    """
    nearest = cv2.resize(values, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    smooth = cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
    with np.errstate(invalid='ignore'):
        limit = allowed + relative * np.abs(nearest) if relative else allowed
        same_surface = np.abs(smooth - nearest) < limit
    return np.where(same_surface, smooth, nearest)
