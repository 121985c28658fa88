"""A test of whether a confidence is calibrated: the reliability table of exp(-error / scale).

Source of the table: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nndepth_core.evaluation.sparsification import known_pixels


@dataclass(frozen=True)
class Reliability:
    """The pixels sorted by their confidence into bins of equal width from 0 to 1.

    Attributes:
        count: pixels of each bin (B,).
        confidence: their mean confidence (B,), NaN in an empty bin.
        achieved: their mean of exp(-error / scale) (B,), which a calibrated confidence equals.
        gap: mean distance of the two over all pixels (the expected calibration error).
    """

    count: np.ndarray
    confidence: np.ndarray
    achieved: np.ndarray
    gap: float


def reliability(
    error: np.ndarray, confidence: np.ndarray, scale: float = 1.5, bins: int = 10
) -> Reliability:
    """Compare what a confidence promises with what the errors were.

    Args:
        error: absolute errors of any shape, pixels; NaN leaves a pixel out.
        confidence: the same shape, 0 to 1; NaN leaves a pixel out.
        scale: error in pixels at which the confidence should be 1 / e.
        bins: how many there are.

    Raises:
        ValueError: the shapes differ, a confidence is outside 0..1, or no pixel has both.
    """
    values, promised = known_pixels(error, confidence)
    low, high = promised.min(), promised.max()
    if low < 0 or high > 1:
        raise ValueError(f'confidences reach from {low:g} to {high:g}; they must be in 0..1')
    kept = np.exp(-values / scale)
    number = (promised * bins).astype(int).clip(0, bins - 1)
    count = np.bincount(number, minlength=bins)
    sums = [np.bincount(number, weights=values, minlength=bins) for values in (promised, kept)]
    with np.errstate(invalid='ignore'):
        means = [total / count for total in sums]
    gap = float(np.abs(sums[0] - sums[1]).sum() / count.sum())
    return Reliability(count, means[0], means[1], gap)
