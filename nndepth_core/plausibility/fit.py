"""Measures how well a disparity explains a pair, by warping the right image to the left one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

FEW = 100  # with fewer pixels than this, an error says nothing
MARGIN = 0.95  # an error counts as better if it is below this share of another

_WINDOW = (9, 9)
_CONTRAST = 4.0  # grey levels; a local contrast well below this counts as no texture
_SHIFT = 2.0  # pixels by which a disparity is moved to see whether it then fits better
_ENOUGH = 0.3  # share of the textured pixels whose match must lie inside the right image
_CLEARLY = 0.8  # like MARGIN, but for the claim that another meaning is right
_ROWS = 160  # the most rows that are compared
_LARGEST = np.float32(1e6)  # pixels; no image is wider


class Fit(NamedTuple):
    """How well a disparity explains its images.

    Attributes:
        in_sight: the share of the known pixels whose match lies inside the right image.
        error: the mean photometric error, 0 for a perfect match and about 1 for unrelated images;
            NaN if too few textured pixels have a match inside the right image.
        elsewhere: the smallest error at disparities a little larger or smaller.
        factor: a multiple of the disparity that fits clearly better; 1 if there is none.
        better: the error of that multiple.
    """

    in_sight: float
    error: float
    elsewhere: float
    factor: float
    better: float

    @property
    def good(self) -> bool:
        """Whether the disparity fits better than its neighbours; False if nothing is known."""
        return self.error < MARGIN * self.elsewhere


def measure_fit(
    left: np.ndarray,
    right: np.ndarray,
    disparity: np.ndarray,
    factors: Sequence[float],
    occluded: np.ndarray | None = None,
) -> Fit:
    """Compare the photometric error at a disparity with the errors close to it and at multiples.

    Only textured, known pixels of the middle rows that are not occluded count.

    Args:
        left: uint8 RGB (H, W, 3).
        right: uint8 RGB (H, W, 3).
        disparity: float32 (H, W), in pixels, not finite where unknown.
        factors: the multiples to try.
        occluded: bool (H, W), None if it is not known.
    """
    top = max(0, (len(disparity) - _ROWS) // 2)
    band = slice(top, top + _ROWS)
    left, right, disparity = left[band], right[band], disparity[band]
    known = np.isfinite(disparity)
    if occluded is not None:
        known &= ~occluded[band]
    normal_left, normal_right = normalized(left), normalized(right)
    textured = known & (contrast(left) > _CONTRAST)

    def in_sight(values: np.ndarray) -> np.ndarray:
        target = np.arange(values.shape[1], dtype=np.float32) - values
        return (target >= 0) & (target <= values.shape[1] - 1)

    def error(values: np.ndarray, at: np.ndarray) -> float:
        return float(np.abs(normal_left - warped(normal_right, values))[at].mean())

    def beside(values: np.ndarray, at: np.ndarray) -> float:
        return min(error(values + shift, at) for shift in (_SHIFT, -_SHIFT))

    disparity = np.clip(np.nan_to_num(disparity, posinf=0, neginf=0), -_LARGEST, _LARGEST)
    inside = in_sight(disparity)
    here = textured & inside
    measurable = here.sum() >= max(FEW, _ENOUGH * textured.sum())
    best = (_CLEARLY, 1.0, math.nan)
    for factor in factors:
        values = disparity * np.float32(factor)
        there = textured & in_sight(values)
        if measurable:
            there &= inside
            if there.any() and np.abs(values - disparity)[there].mean() < 1:
                continue
        if there.sum() < max(FEW, _ENOUGH * textured.sum()):
            continue
        found = error(values, there)
        reference = error(disparity, there) if measurable else beside(values, there)
        candidate = found / (reference or 1e-9), factor, found
        if candidate < best and found < MARGIN * beside(values, there):
            best = candidate
    return Fit(
        float(inside[known].mean()) if known.any() else math.nan,
        error(disparity, here) if measurable else math.nan,
        beside(disparity, here) if measurable else math.nan,
        *best[1:],
    )


def contrast(image: np.ndarray) -> np.ndarray:
    """Compute the local standard deviation of the grey values of an RGB image, float32 (H, W)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    mean = cv2.blur(grey, _WINDOW)
    return np.sqrt(np.maximum(cv2.blur(grey * grey, _WINDOW) - mean * mean, 0))


def normalized(image: np.ndarray) -> np.ndarray:
    """Normalise grey values to local mean 0 and, if there is texture, deviation 1; (H, W)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return (grey - cv2.blur(grey, _WINDOW)) / (contrast(image) + _CONTRAST)


def warped(right: np.ndarray, disparity: np.ndarray) -> np.ndarray:
    """Warp the right image: take its values at x - disparity."""
    height, width = disparity.shape
    x = np.arange(width, dtype=np.float32) - np.nan_to_num(disparity)
    y = np.repeat(np.arange(height, dtype=np.float32)[:, None], width, axis=1)
    return cv2.remap(right, x.astype(np.float32), y, cv2.INTER_LINEAR, None, cv2.BORDER_REFLECT)
