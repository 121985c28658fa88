"""A measure of how well a confidence map tells good estimates from bad ones.

Source: Ilg et al., Uncertainty Estimates and Multi-Hypotheses Networks for Optical Flow, ECCV
2018, section 5 (sparsification plots and the area under the sparsification error).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sparsification:
    """The mean error that is left as the least confident pixels are taken away.

    Attributes:
        removed: share of the pixels taken away, (K,), from 0 to almost 1.
        error: mean error of the others, (K,), in units of the error.
        oracle: the same if the pixels with the largest errors are taken away, (K,).
        ause: mean distance of the two, units of the error; 0: no confidence sorts better.
        ause_normalized: the same over the mean error of all pixels; NaN where that is 0.
        aurg: mean distance of the mean error of all pixels, which is what random confidences
            give, to `error`; positive: the confidence is better than random.
    """

    removed: np.ndarray
    error: np.ndarray
    oracle: np.ndarray
    ause: float
    ause_normalized: float
    aurg: float


def sparsify(error: np.ndarray, confidence: np.ndarray, points: int = 101) -> Sparsification:
    """Take pixels away one by one, the least confident pixel first.

    Pixels of equal confidence share their mean error, which is what taking them in random order
    gives on average. The areas are exact; they do not depend on `points`.

    Args:
        error: errors of any shape and unit, 0 or more; NaN leaves a pixel out.
        confidence: the same shape, larger is surer; NaN leaves a pixel out.
        points: length of the curves at the most.

    Raises:
        ValueError: the shapes differ, or no pixel has both.
    """
    values, sure = known_pixels(error, confidence)
    _, group, size = np.unique(sure, return_inverse=True, return_counts=True)
    group = group.ravel()
    of_group = np.bincount(group, weights=values) / size
    curve = _mean_of_rest(np.repeat(of_group, size))
    oracle = _mean_of_rest(np.sort(values)[::-1])
    ause, mean = float(np.mean(curve - oracle)), float(values.mean())
    shown = np.unique(np.linspace(0, values.size - 1, min(points, values.size)).astype(int))
    return Sparsification(
        shown / values.size,
        curve[shown],
        oracle[shown],
        ause,
        ause / mean if mean > 0 else float('nan'),
        mean - float(curve.mean()),
    )


def known_pixels(error: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Select the errors (n,) float64 and confidences (n,) of the pixels that have both.

    Raises:
        ValueError: the shapes differ, or no pixel has both.
    """
    if error.shape != confidence.shape:
        raise ValueError(
            f'the errors are {error.shape} and the confidence {confidence.shape}; give one shape'
        )
    known = np.isfinite(error) & np.isfinite(confidence)
    if not known.any():
        raise ValueError('no pixel has both an error and a confidence; is the truth known?')
    return error[known].astype(np.float64), confidence[known]


def _mean_of_rest(values: np.ndarray) -> np.ndarray:
    """Return the mean of values[k:] for every k."""
    return np.cumsum(values[::-1])[::-1] / np.arange(values.size, 0, -1)
