"""Depth edges: what a network is unsure of beside them follows the colours of the left image.

Networks upsample what they found at a part of the size, so that depth edges are off by a few
pixels, and what only one camera sees is a guess. A weighted median (Ma et al., ICCV 2013) moves
such pixels to the surface of those around them that look like them and of which the network is
sure.
"""

from __future__ import annotations

import cv2
import numpy as np

from nndepth_core.filters.holes import filled_from_background

_EDGE = 4.0
"""Where neighbours differ by more than this, in pixels, is a depth edge."""
_REACH = 4
"""How far a pixel looks for others, in pixels."""
_AROUND = np.array(
    [(y, x) for y in (-4, 4) for x in (-4, 4)]
    + [(y, x) for y in (-2, 2) for x in (-2, 2)]
    + [(-4, 0), (0, -4), (0, 4), (4, 0)]
)
"""The places around a pixel that it looks at, (down, right)."""
_SURE = 0.7
"""Pixels of more confidence stay."""
_LEAST = 1.0
"""What would change by less, in pixels, stays."""
_LIKE = np.exp(-0.5 * np.square(np.arange(3 * 255 + 1, dtype=np.float32) / 20))
"""How alike two colours are, by the sum of their differences in CIELAB of 8 bits."""
_AT_ONCE = 16384
"""Pixels that are handled together; more need more memory, and are not faster."""


def at_depth_edges(disparity: np.ndarray) -> np.ndarray:
    """Find the depth edges of a disparity float32 (H, W) in pixels; bool of the same shape."""
    return cv2.morphologyEx(disparity, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > _EDGE


def with_edges_of_image(
    left: np.ndarray, disparity: np.ndarray, confidence: np.ndarray
) -> np.ndarray:
    """Return the disparity with its depth edges where the colours of the image change.

    Args:
        left: uint8 RGB (H, W, 3).
        disparity: float32 (H, W) of this image in pixels, NaN where unknown, which stays.
        confidence: float32 (H, W) in 0..1.
    """
    known = np.isfinite(disparity)
    whole = disparity if known.all() else filled_from_background(disparity)
    window = np.ones((2 * _REACH + 1, 2 * _REACH + 1), np.uint8)
    near = cv2.dilate(at_depth_edges(whole).astype(np.uint8), window) > 0
    chosen = np.flatnonzero(near & (confidence < _SURE) & known & (disparity > 0))
    if not chosen.size:
        return disparity
    colours = cv2.cvtColor(left, cv2.COLOR_RGB2LAB)
    confidence = np.fmax(confidence * known, 0)  # 0 for NaN too
    framed = [
        cv2.copyMakeBorder(values, *(_REACH,) * 4, cv2.BORDER_REPLICATE)
        for values in (colours, whole, confidence)
    ]
    width = framed[1].shape[1]
    rows, columns = np.divmod(chosen, disparity.shape[1])
    places = (rows + _REACH) * width + columns + _REACH
    around = _AROUND @ (width, 1)
    result = disparity.copy()
    for first in range(0, len(chosen), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        result.flat[chosen[part]] = _medians(places[part], around, *framed)
    return np.where(np.abs(result - disparity) > _LEAST, result, disparity)


def _medians(
    places: np.ndarray,
    around: np.ndarray,
    colours: np.ndarray,
    disparity: np.ndarray,
    confidence: np.ndarray,
) -> np.ndarray:
    """Compute weighted medians of the disparity around some pixels.

    A pixel stays as it is if none around it looks like it and has any confidence.

    Args:
        places: the pixels, as indices of the flat maps.
        around: the steps from a pixel to those around it, as differences of such indices.
        colours: uint8 (H, W, 3), in CIELAB.
        disparity: float32 (H, W), all of it known.
        confidence: float32 (H, W).
    """
    others = places + around[:, None]
    colours = colours.reshape(-1, 3).astype(np.int16)
    unlike = sum(np.abs(part[others] - part[places]) for part in colours.T)
    weights = _LIKE[unlike] * np.square(confidence.ravel()[others])
    values = disparity.ravel()[others]
    half = weights.sum(0) / 2
    medians = np.full(len(places), np.inf, np.float32)
    for candidate in values:
        reached = (weights * (values <= candidate)).sum(0) >= half
        np.copyto(medians, candidate, where=reached & (candidate < medians))
    return np.where(half > 0, medians, disparity.ravel()[places])
