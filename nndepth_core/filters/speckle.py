"""Finds speckles: small regions that belong to none of the surfaces around them."""

from __future__ import annotations

import cv2
import numpy as np

from nndepth_core.filters.surfaces import LEVELS, UNKNOWN, surface_levels


def speckles(values: np.ndarray, size: int, step: float, noise: float) -> np.ndarray:
    """Find the regions of at most `size` pixels, bool (H, W).

    A region is what one reaches from pixel to pixel, up, down and sideways, without a step.

    Args:
        values: float32 (H, W), the inverse of the depth, NaN where unknown.
        size: the number of pixels.
        step: see `surface_levels`.
        noise: see `surface_levels`.
    """
    levels = surface_levels(values, step, noise)
    known = levels != UNKNOWN
    cv2.filterSpeckles(levels, UNKNOWN, size, LEVELS)
    return known & (levels == UNKNOWN)
