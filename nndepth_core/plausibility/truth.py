"""Checks whether the ground truth of a data set can be true."""

from __future__ import annotations

import math

import numpy as np

from nndepth_core.plausibility.findings import BEHIND, MOST, MUCH, Finding, Level, percent
from nndepth_core.plausibility.fit import MARGIN, Fit, measure_fit

TRUTH_FACTORS = (-1.0, *(2.0**power for power in range(-8, 9) if power))


def examine_truth(
    left: np.ndarray,
    right: np.ndarray,
    truth: np.ndarray,
    occluded: np.ndarray | None = None,
    warp: bool = True,
) -> list[Finding]:
    """Check the true disparity of a pair.

    Args:
        left: uint8 RGB (H, W, 3).
        right: uint8 RGB (H, W, 3).
        truth: float32 (H, W), in pixels, NaN where unknown.
        occluded: bool (H, W), None if it is not known.
        warp: whether to compare the images too, which takes some hundredths of a second.
    """
    values = truth[np.isfinite(truth)].astype(np.float64)
    if not values.size:
        return []
    zero, negative = float(np.mean(values == 0)), float(np.mean(values < BEHIND))
    if zero > MUCH:
        text = (
            f'the truth is 0 at {percent(zero)} of its known pixels: where 0 stands for unknown, '
            'store NaN; else it is no disparity of these images'
        )
        return [Finding('truth_zero', Level.ERROR if zero > MOST else Level.WARN, text)]
    fit = measure_fit(left, right, truth, TRUTH_FACTORS, occluded) if warp else None
    found = []
    if negative > 0.01:
        text = (
            f'the truth is negative at {percent(negative)} of its known pixels, down to '
            f'{values.min():.1f} px; disparities are x_left - x_right, positive for points nearer '
            'than infinity: '
        )
        if fit is not None and fit.factor == -1:
            text += 'the images fit the opposite sign, negate it'
        elif fit is not None and fit.good:
            text += 'the images fit it as it is, so that left and right are swapped'
        else:
            text += 'is its sign another, or are left and right swapped?'
        found.append(Finding('truth_sign', Level.ERROR, text))
    elif fit is not None:
        found += _judge_truth(fit, float(np.median(values)))
    return found


def _judge_truth(fit: Fit, median: float) -> list[Finding]:
    if fit.factor != 1:
        meant = 'of the other sign' if fit.factor == -1 else f'multiplied by {fit.factor:g}'
        beside = '' if math.isnan(fit.error) else f' beside {fit.error:.2f}'
        text = (
            f'the truth (median {median:.4g} px) fits the images better {meant} (error '
            f'{fit.better:.2f}{beside}): is its scale that of the file and of images of this size?'
        )
        return [Finding('truth_scale', Level.ERROR, text)]
    if fit.in_sight < MUCH:
        text = (
            f'only {percent(fit.in_sight)} of the truth (median {median:.4g} px) has its match '
            'inside the right image: is its scale right, and is it of these images?'
        )
        return [Finding('truth_scale', Level.ERROR, text)]
    if fit.error > MARGIN * fit.elsewhere:
        text = (
            f'the truth fits the images worse (error {fit.error:.2f}) than other disparities '
            f'({fit.elsewhere:.2f}): is it of these images? (nndepth data inspect shows both)'
        )
        return [Finding('truth_misfit', Level.WARN, text)]
    return []
