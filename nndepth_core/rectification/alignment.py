"""What the images of a pair alone tell: do they show something, are they rectified or swapped?"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from nndepth_core.plausibility import Finding, Level, examine_levels

ENOUGH_MATCHES = 20
LARGEST_VERTICAL = 1.0


class Alignment(NamedTuple):
    """Offsets between corners of the left image and their matches in the right image.

    Attributes:
        matches: the number of corners that were matched with certainty.
        vertical: the median of y_right - y_left in pixels; 0 for a rectified pair.
        behind: the share of matches that lie more than a pixel beyond infinity; it is near 1 if
            the images are swapped.
    """

    matches: int
    vertical: float
    behind: float


def measure_alignment(
    left: np.ndarray,
    right: np.ndarray,
    rows: int = 8,
    columns: int = 160,
    corners: int = 150,
    cx_offset: float = 0.0,
) -> Alignment:
    """Search corners of the left image in the right one, in bands around their rows.

    Args:
        left: uint8 RGB (H, W, 3).
        right: uint8 RGB (H, W, 3).
        rows: half the height of the band that is searched, in pixels.
        columns: half the width of the band that is searched, in pixels.
        corners: the most corners that are tried.
        cx_offset: the disparity of a point at infinity, in pixels.
    """
    left, right = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (left, right))
    found = cv2.goodFeaturesToTrack(left, corners, 0.02, 12)
    offsets = []
    for x, y in [] if found is None else found[:, 0].round().astype(int):
        offset = _match(left, right, x, y, rows, columns)
        if offset is not None:
            offsets.append(offset)
    if not offsets:
        return Alignment(0, 0.0, 0.0)
    dx, dy = np.array(offsets).T
    return Alignment(len(offsets), float(np.median(dy)), float(np.mean(dx > 1 - cx_offset)))


def examine_pair(left: np.ndarray, right: np.ndarray, cx_offset: float = 0.0) -> list[Finding]:
    """Examine the images: do they show something, do rows agree, is no point beyond infinity?

    Args:
        left: uint8 RGB (H, W, 3).
        right: uint8 RGB (H, W, 3).
        cx_offset: the disparity of a point at infinity, in pixels.
    """
    found = examine_levels(left, right)
    alignment = measure_alignment(left, right, cx_offset=cx_offset)
    if alignment.matches < ENOUGH_MATCHES:
        return found
    if alignment.behind > 0.5:
        found.append(
            Finding(
                'images_swapped',
                Level.ERROR,
                f'{100 * alignment.behind:.0f} % of {alignment.matches} matched corners lie '
                'farther right in the right image: left and right images are swapped; exchange '
                'them',
            )
        )
    if abs(alignment.vertical) > LARGEST_VERTICAL:
        found.append(
            Finding(
                'vertical',
                Level.WARN,
                f'rows differ by {alignment.vertical:+.2f} px (median of {alignment.matches} '
                'matched corners): the pair is not rectified (raw images need rectify), or its '
                'calibration is out of date; calibrate again',
            )
        )
    return found


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
