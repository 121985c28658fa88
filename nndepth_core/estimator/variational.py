"""Variational refinement: makes disparities more precise by the gradients of both images.

Networks compare features at a part of the size; the last tenths of a pixel are in the images
themselves. Every disparity may change a little, so that the gradients at both ends agree and
neighbours change alike (Brox et al., ECCV 2004, whose functional OpenCV minimises). What lies in
plain areas follows what is around it.
"""

from __future__ import annotations

import math
import threading

import cv2
import numpy as np

from nndepth_core.estimator.depth_edges import at_depth_edges
from nndepth_core.filters.holes import filled_from_background

BYTES_PER_PIXEL = 150
"""The memory that refinement needs for each pixel, as measured."""
_LARGEST = 1.0
"""The most that a disparity changes, in pixels."""
_LOST = 4.0
"""What would change by more than this, in pixels, shows something else, and stays."""
_MOST = 32766
"""The longest side of a map that OpenCV resamples."""
_BRIGHTNESS = 0.0
"""The weight of equal brightness, which different exposures of two cameras would mislead."""

_own = threading.local()


def refined(
    left: np.ndarray,
    right: np.ndarray,
    disparity: np.ndarray,
    bounds: tuple[float, float] = (0.0, math.inf),
) -> np.ndarray:
    """Return the disparity of a pair, more precise.

    Args:
        left: uint8 RGB (H, W, 3).
        right: uint8 RGB (H, W, 3).
        disparity: float32 (H, W) of the left image in pixels, NaN where unknown, which stays.
        bounds: the smallest and largest disparity to expect; none leaves them by this.

    Raises:
        ValueError: the images are too large.
    """
    if max(disparity.shape) > _MOST:
        height, width = disparity.shape
        raise ValueError(
            f'disparities of {width}x{height} cannot be refined, only of up to {_MOST} pixels a '
            'side; set a smaller processing_size, or refine to never'
        )
    known = np.isfinite(disparity)
    if not known.any():
        return disparity
    whole = disparity if known.all() else filled_from_background(disparity)
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (left, right)]
    across, down = -whole, np.zeros_like(whole)
    _solver().calcUV(grey[0], grey[1], across, down)
    change = -across - whole
    seen = (whole > 0) & (whole < np.arange(whole.shape[1], dtype=np.float32))
    change[~seen | at_depth_edges(whole) | ~(np.abs(change) < _LOST)] = 0  # edges stay sharp
    result = disparity + change.clip(-_LARGEST, _LARGEST)
    low, high = np.minimum(disparity, bounds[0]), np.maximum(disparity, bounds[1])
    return np.clip(result, low, high)


def _solver() -> cv2.VariationalRefinement:
    """The solver of this thread, which keeps its buffers; getting new ones takes as long again."""
    if not hasattr(_own, 'solver'):
        _own.solver = cv2.VariationalRefinement.create()
        _own.solver.setDelta(_BRIGHTNESS)
    return _own.solver
