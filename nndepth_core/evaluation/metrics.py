"""Measures of how good a disparity map is.

Source of the measures: the Middlebury stereo evaluation (bad-N, Scharstein and Szeliski, IJCV
2002) and the KITTI 2015 benchmark (D1-all and the filling of holes from the background).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nndepth_core.filters.holes import filled_from_background

BAD_PIXELS = (0.5, 1, 2, 3, 4)


def stereo_metrics(
    disparity: np.ndarray, truth: np.ndarray, valid: np.ndarray | None = None
) -> dict[str, float]:
    """Compare a disparity map with the truth.

    Args:
        disparity: estimate (H, W), pixels, NaN where there is none.
        truth: true disparity (H, W), pixels, NaN where unknown.
        valid: bool (H, W), the pixels that count; all with a known truth if None.

    Returns:
        Over the valid pixels:
        density: percentage with an estimate;
        epe_estimated: mean absolute error of the pixels with an estimate, pixels;
        epe, rmse: mean and root mean square error after `filled_from_background`, pixels;
        bad_0.5 .. bad_4: percentage with an error above so many pixels; d1_all: above 3 pixels
        and 5 percent of the truth; a missing estimate counts as bad;
        bad_0.5_filled .. d1_all_filled: the same after `filled_from_background`.

    Raises:
        ValueError: the shapes differ, or no pixel is valid.
    """
    known = np.isfinite(truth) if valid is None else valid & np.isfinite(truth)
    regions = regional_metrics(disparity, truth, {'valid': known})
    if not regions:
        raise ValueError('the truth has no known pixel; is it the right file and scale?')
    return regions['valid']


def regional_metrics(
    disparity: np.ndarray, truth: np.ndarray, regions: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """Compare a disparity map with the truth region by region.

    Args:
        disparity: estimate (H, W), pixels, NaN where there is none.
        truth: true disparity (H, W), pixels, NaN where unknown.
        regions: name -> bool (H, W), see `stereo_regions`.

    Returns:
        Name -> what `stereo_metrics` returns; without regions where no truth is known.

    Raises:
        ValueError: the shapes differ.
    """
    if disparity.shape != truth.shape:
        raise ValueError(
            f'the truth is {truth.shape[1]}x{truth.shape[0]} and the disparity '
            f'{disparity.shape[1]}x{disparity.shape[0]}; they must have one size'
        )
    target = truth.astype(np.float64)
    error = np.abs(disparity - target)
    filled = np.abs(filled_from_background(disparity) - target)
    masks = {name: mask & np.isfinite(truth) for name, mask in regions.items()}
    return {
        name: _summary(error[mask], filled[mask], target[mask])
        for name, mask in masks.items()
        if mask.any()
    }


def _summary(error: np.ndarray, filled: np.ndarray, target: np.ndarray) -> dict[str, float]:
    estimated = np.isfinite(error)
    return {
        'epe': float(filled.mean()),
        'epe_estimated': float(error[estimated].mean()) if estimated.any() else float('nan'),
        'rmse': float(np.sqrt(np.square(filled).mean())),
        **_bad(error, target, ''),
        **_bad(filled, target, '_filled'),
        'density': _percent(estimated),
    }


def _bad(error: np.ndarray, target: np.ndarray, suffix: str) -> dict[str, float]:
    """Return the percentages of errors that are too large; NaN counts as too large."""
    shares = {f'bad_{limit}{suffix}': _percent(~(error <= limit)) for limit in BAD_PIXELS}
    return {**shares, f'd1_all{suffix}': _percent(~((error <= 3) | (error <= 0.05 * target)))}


def _percent(selected: np.ndarray) -> float:
    return 100 * float(selected.mean())
