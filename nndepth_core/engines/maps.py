"""Images to the size that a model works at, and what is made of its maps afterwards."""

from __future__ import annotations

import cv2
import numpy as np

# Stands for "unknown" in the right map: NaN would spread to neighbours of weight 0 in remap.
_UNMATCHED = 1e6


def resampled(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring an image (H, W, 3) to (width, height), averaging where it shrinks."""
    if size == (image.shape[1], image.shape[0]):
        return image
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def left_right_confidence(of_left: np.ndarray, of_right: np.ndarray) -> np.ndarray:
    """Agreement of the left and the right disparity map, float32 (H, W) in 0..1.

    The left estimate d at x should be met by the right map at x - d; the confidence is
    exp(-|difference| / 1 px), and 0 where either is unknown or the match lies outside.
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
    """Bring a map to width x height: bilinear inside surfaces, nearest across edges.

    A blend of two surfaces would float between them.

    Args:
        values: float32 (H, W).
        width: of the result.
        height: of the result.
        allowed: difference up to which neighbours count as one surface.
        relative: the same as a share of the value.
    """
    nearest = cv2.resize(values, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    smooth = cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
    with np.errstate(invalid='ignore'):
        limit = allowed + relative * np.abs(nearest) if relative else allowed
        same_surface = np.abs(smooth - nearest) < limit
    return np.where(same_surface, smooth, nearest)
