"""Robust linear regression: up to half of the data may be anything.

Source: Rousseeuw and Leroy, Robust Regression and Outlier Detection, Wiley 1987, chapter 5: the
least median of squares over random minimal samples, and least squares on what lies within 2.5
robust standard deviations of it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_SAMPLES = 200
"""Random samples; even of three points with half of the data wrong, some 25 are right."""
_SCORED = 1000
"""The number of points that judge a sample."""
_CUT = 2.5
_NORMAL = 1.4826
"""The standard deviation of a normal distribution over the median of its absolute values."""
_EXACT = 1e-6
"""The share of the range of the target that rounding to float32 may make a residual."""
_ROUNDS = 20


class LinearFit(NamedTuple):
    """The result of `fit_linear`.

    Attributes:
        coefficients: float64 (D,).
        inliers: bool (N,), the points that the least squares are taken of.
        residual: the root mean square of the residuals of the inliers.
        spread: the standard deviation of the target of the inliers.
    """

    coefficients: np.ndarray
    inliers: np.ndarray
    residual: float
    spread: float


def fit_linear(design: np.ndarray, target: np.ndarray) -> LinearFit:
    """Fit target = design @ coefficients; the same input gives the same result.

    Args:
        design: float64 (N, D), with N of at least D.
        target: float64 (N,).
    """
    coefficients = _least_median(design, target)
    inliers = np.zeros(len(target), bool)
    exact = _EXACT * float(np.ptp(target))
    for _ in range(_ROUNDS):
        errors = np.abs(design @ coefficients - target)
        before = inliers
        inliers = errors <= max(_CUT * _NORMAL * float(np.median(errors)), exact)
        if np.array_equal(before, inliers):
            break
        coefficients = np.linalg.lstsq(design[inliers], target[inliers], rcond=None)[0]
    errors = design[inliers] @ coefficients - target[inliers]
    residual = float(np.sqrt(np.mean(np.square(errors))))
    return LinearFit(coefficients, inliers, residual, float(target[inliers].std()))


def _least_median(design: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the coefficients through few points from which half of all deviate least, (D,)."""
    random = np.random.default_rng(0)
    count, unknowns = design.shape
    picked = random.integers(0, count, (_SAMPLES, unknowns))
    candidates = (np.linalg.pinv(design[picked]) @ target[picked][..., None])[..., 0]
    judges = random.choice(count, min(count, _SCORED), replace=False)
    errors = np.abs(candidates @ design[judges].T - target[judges])
    return candidates[np.argmin(np.median(errors, axis=1))]
