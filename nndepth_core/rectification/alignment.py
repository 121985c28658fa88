"""What the images of a pair alone tell: do they show something, are they rectified or swapped?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nndepth_core.plausibility import Finding, Level, examine_levels
from nndepth_core.plausibility.corners import ENOUGH_MATCHES, match_corners

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


def measure_alignment(left: np.ndarray, right: np.ndarray, cx_offset: float = 0.0) -> Alignment:
    """Compare the places of corners that `match_corners` finds in both images.

    Args:
        left: uint8 RGB (H, W, 3).
        right: uint8 RGB (H, W, 3).
        cx_offset: the disparity of a point at infinity, in pixels.
    """
    offsets = match_corners(left, right)
    if not len(offsets):
        return Alignment(0, 0.0, 0.0)
    dx, dy = offsets.T
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
                'matched corners): the pair is not rectified (for raw images set rectify), or its '
                'calibration is out of date; calibrate again',
            )
        )
    return found
