"""Measures of how good a depth map of a single image is.

Source of the measures: Eigen, Puhrsch and Fergus, Depth Map Prediction from a Single Image using a
Multi-Scale Deep Network, NeurIPS 2014. Source of the alignment of outputs that are relative:
Ranftl et al., Towards Robust Monocular Depth Estimation, TPAMI 2020 (scale and shift by least
squares in inverse depth); median scaling is that of Zhou et al., CVPR 2017.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

Alignment = Literal['none', 'median', 'scale_shift']
ALIGNMENTS: dict[str, Alignment] = {
    'depth': 'none',
    'relative_depth': 'scale_shift',
    'inverse_depth': 'scale_shift',
}
"""Output of a model -> the alignment that it needs, see `align_depth`."""
FITTED: dict[Alignment, str] = {'none': '', 'median': 'scale', 'scale_shift': 'scale and shift'}
"""Alignment -> what of a map is fitted to the truth before it is measured."""

DEPTH_RANGE = (1e-3, 80.0)
"""Metres that the usual protocol of KITTI counts; the one of NYUv2 ends at 10 m."""


def mono_metrics(
    estimate: np.ndarray,
    truth: np.ndarray,
    output: str = 'depth',
    alignment: Alignment = 'none',
    depth_range: tuple[float, float] = DEPTH_RANGE,
    valid: np.ndarray | None = None,
) -> dict[str, float]:
    """Compare a depth map with the truth, after aligning it.

    Args:
        estimate: float (H, W), NaN where there is none; infinity is an estimate that is clipped.
        truth: true depth (H, W), metres, NaN where unknown.
        output: what `estimate` holds, see `align_depth`.
        alignment: see `align_depth`.
        depth_range: metres; only truths in it count, and estimates are clipped to it.
        valid: bool (H, W), the pixels that count; all with such a truth if None.

    Returns:
        Over the valid pixels with an estimate:
        abs_rel, sq_rel: mean of |d| / truth and of d^2 / truth (metres), d the difference;
        rmse: root mean square of d, metres; rmse_log: of the difference of the logarithms;
        log10: mean difference of the logarithms to base 10;
        delta_1, delta_2, delta_3: share with max(estimate / truth, truth / estimate) below 1.25
        to that power, 0..1.
        density: percentage of the valid pixels with an estimate; the others are NaN if it is 0.

    Raises:
        ValueError: the shapes differ, no pixel is valid, or an argument is not allowed.
    """
    if estimate.shape != truth.shape:
        raise ValueError(
            f'the truth is {truth.shape[1]}x{truth.shape[0]} and the estimate '
            f'{estimate.shape[1]}x{estimate.shape[0]}; they must have one size'
        )
    near, far = depth_range
    known = (truth >= near) & (truth <= far)
    if valid is not None:
        known &= valid
    if not known.any():
        raise ValueError(
            f'the truth has no known pixel between {near} and {far} m; is it the right file and '
            'unit?'
        )
    target = truth[known].astype(np.float64)
    depth = align_depth(estimate[known], target, output, alignment)
    estimated = ~np.isnan(depth)
    return {
        **_errors(np.clip(depth[estimated], near, far), target[estimated]),
        'density': 100 * float(estimated.mean()),
    }


def align_depth(
    estimate: np.ndarray,
    truth: np.ndarray,
    output: str = 'depth',
    alignment: Alignment = 'none',
) -> np.ndarray:
    """Bring an output to depth in metres with the help of the truth.

    Args:
        estimate: float of any shape, NaN where there is none.
        truth: the same shape, metres, NaN where unknown.
        output: what `estimate` holds: 'depth', 'relative_depth' or 'inverse_depth', as in
            `ModelSpec`.
        alignment: 'none' leaves the values as they are; 'median' scales them to the median of the
            truth; 'scale_shift' fits scale and shift to the truth by least squares, and those of
            inverse depth to the inverse of the truth.

    Returns:
        float64; infinity where an inverse depth is not positive, NaN where there is no estimate.

    Raises:
        ValueError: an argument is not allowed.
    """
    for what, value, allowed in (
        ('output', output, tuple(ALIGNMENTS)),
        ('alignment', alignment, get_args(Alignment)),
    ):
        if value not in allowed:
            raise ValueError(f'{what} is {value!r}; choose one of {", ".join(allowed)}')
    values = estimate.astype(np.float64)
    target = truth.astype(np.float64)
    if output == 'inverse_depth':
        target = 1 / target
    both = np.isfinite(values) & np.isfinite(target)
    if alignment != 'none' and both.any():
        find = _median_scale if alignment == 'median' else fit_scale_shift
        scale, shift = find(values[both], target[both])
        values = scale * values + shift
    if output != 'inverse_depth':
        return values
    with np.errstate(divide='ignore'):
        return 1 / np.maximum(values, 0)


def fit_scale_shift(values: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    """Find the scale and shift with the least sum of squares of scale * values + shift - target.

    The scale of constant values is 0, and the shift is then the mean of the target.
    """
    centred = values - values.mean()
    variance = float(np.square(centred).sum())
    scale = float((centred * target).sum()) / variance if variance > 0 else 0.0
    return scale, float(target.mean() - scale * values.mean())


def _median_scale(values: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    median = float(np.median(values))
    if median <= 0:
        raise ValueError(f'the median of the estimate is {median:g}; it must be positive to scale')
    return float(np.median(target)) / median, 0.0


def _errors(depth: np.ndarray, target: np.ndarray) -> dict[str, float]:
    if not depth.size:
        nothing = ('abs_rel', 'sq_rel', 'rmse', 'rmse_log', 'log10')
        return dict.fromkeys((*nothing, 'delta_1', 'delta_2', 'delta_3'), float('nan'))
    difference = depth - target
    logarithms = np.log(depth / target)
    ratio = np.maximum(depth / target, target / depth)
    return {
        'abs_rel': float(np.mean(np.abs(difference) / target)),
        'sq_rel': float(np.mean(np.square(difference) / target)),
        'rmse': float(np.sqrt(np.mean(np.square(difference)))),
        'rmse_log': float(np.sqrt(np.mean(np.square(logarithms)))),
        'log10': float(np.mean(np.abs(logarithms)) / np.log(10)),
        **{f'delta_{power}': float(np.mean(ratio < 1.25**power)) for power in (1, 2, 3)},
    }
