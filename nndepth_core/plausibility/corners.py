"""Finds corners of the left image in the right one, whatever a model says of them."""

from __future__ import annotations

import cv2
import numpy as np

ENOUGH_MATCHES = 20
"""With fewer matches than this, their median says nothing."""


def match_corners(
    left: np.ndarray, right: np.ndarray, rows: int = 8, columns: int = 160, corners: int = 150
) -> np.ndarray:
    """Search corners of the left image in the right one, in bands around their rows.

    Args:
        left: uint8 RGB (H, W, 3).
        right: uint8 RGB (H, W, 3).
        rows: half the height of the band that is searched, in pixels.
        columns: half the width of the band that is searched, in pixels.
        corners: the most corners that are tried.

    Returns:
        float64 (N, 2): x_right - x_left and y_right - y_left of those that are found with
        certainty, in pixels.
    """
    left, right = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (left, right))
    found = cv2.goodFeaturesToTrack(left, corners, 0.02, 12)
    places = [] if found is None else found[:, 0].round().astype(int)
    offsets = (_match(left, right, x, y, rows, columns) for x, y in places)
    return np.array([it for it in offsets if it is not None], np.float64).reshape(-1, 2)


def _match(
    left: np.ndarray, right: np.ndarray, x: int, y: int, rows: int, columns: int, half: int = 7
) -> tuple[float, float] | None:
    """Find the offset (dx, dy) of the patch around (x, y); None if it is cut off or ambiguous."""
    height, width = left.shape
    if not (half <= x < width - half and half + rows <= y < height - half - rows):
        return None
    patch = left[y - half : y + half + 1, x - half : x + half + 1]
    start, stop = max(0, x - half - columns), min(width, x + half + 1 + columns)
    band = right[y - half - rows : y + half + 1 + rows, start:stop]
    score = cv2.matchTemplate(band, patch, cv2.TM_CCOEFF_NORMED)
    _, best, _, (column, row) = cv2.minMaxLoc(score)
    rivals = score.copy()
    rivals[:, max(0, column - 3) : column + 4] = -1
    if best < 0.9 or rivals.max() > best - 0.05 or not 0 < row < score.shape[0] - 1:
        return None
    above, below = score[row - 1, column], score[row + 1, column]
    subpixel = (above - below) / (2 * (above - 2 * best + below) or 1)
    return start + column + half - x, row - rows + float(subpixel)
