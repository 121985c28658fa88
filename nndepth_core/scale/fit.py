"""The scale and shift of a map without metres, from true depths at some of its pixels.

The model is that of Ranftl et al., Towards Robust Monocular Depth Estimation, TPAMI 2020: inverse
depth is known up to a scale and a shift. They fit both by least squares to all of the truth; here
up to half of it may be wrong, as where a sensor beside the camera looks behind an edge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from nndepth_core.scale.robust import fit_linear
from nndepth_core.spec import Output

ENOUGH = 20
"""The fewest points with a true depth."""
MOST = 20_000
"""The most points that are used; of more, so many are taken at random."""
DISAGREEMENT = 0.5
"""The largest residual, as a share of the standard deviation of the truth of the inliers: the map
then explains three quarters of the variance."""
_EQUAL = 1e-6
"""The standard deviation, as a share of the median, of depths that differ by rounding only."""
_FLAT = 0.02
"""The same of depths at one distance, up to the noise of a sensor, which the map ignores."""
_SPREAD = 0.05
"""The least spread of the values at the points, as a share of the spread of the map."""
_ENDS = (2, 98)
"""Percentiles that stand for the smallest and largest value."""


class ScaleError(ValueError):
    """A scale cannot be determined.

    Attributes:
        code: a word for the reason; the message names the numbers and the cure.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Scale:
    """What turns the map of a network into metres, and how well it is known.

    Attributes:
        factor: the scale, positive.
        shift: what is added to scaled values; in 1/m, or in metres for 'relative_depth'.
        residual: the root mean square of what the inliers deviate by, in the unit of the shift.
        inliers: the number of points that the scale explains.
        points: the number of points that were used.
        span: the smallest and largest value of the map at the inliers.
        output: what the map holds: 'inverse_depth' or 'relative_depth'.
    """

    factor: float
    shift: float
    residual: float
    inliers: int
    points: int
    span: tuple[float, float]
    output: Output = 'inverse_depth'

    def depth(self, values: np.ndarray) -> np.ndarray:
        """Turn a map into metres, float32; infinity where an inverse depth is not positive."""
        with np.errstate(all='ignore'):  # values beyond the range of float32 become infinite
            metres = np.float32(self.factor) * values + np.float32(self.shift)
            if self.output == 'inverse_depth':
                metres = 1 / np.maximum(metres, 0)
        return metres.astype(np.float32, copy=False)

    def at_span(self) -> np.ndarray:
        """The scaled values at both ends of the span, float64 (2,)."""
        return self.factor * np.array(self.span) + self.shift

    def mixed(self, newer: Scale, weight: float) -> Scale:
        """The newer scale, drawn towards this one; a weight of 1 leaves the newer as it is."""
        factor = (1 - weight) * self.factor + weight * newer.factor
        shift = (1 - weight) * self.shift + weight * newer.shift
        return replace(newer, factor=factor, shift=shift)

    def differs(self, newer: Scale, share: float) -> bool:
        """Whether both differ, at the ends of the newer's span, by more than a share of these."""
        here = replace(self, span=newer.span).at_span()
        there = newer.at_span()
        return bool(np.abs(here - there).max() > share * np.abs(there).max())


def fit_scale(values: np.ndarray, depth: np.ndarray, output: Output = 'inverse_depth') -> Scale:
    """Find the scale and shift with which a map agrees with true depths.

    Inverse depth is fitted to the inverse of the truth, relative depth to the truth itself, all
    points alike. Inliers deviate by at most 2.5 robust standard deviations; see `robust`.

    Args:
        values: float (H, W), the map of a network, NaN where unknown.
        depth: metres, (h, w) of any size for the same view; not finite or not positive where
            unknown.
        output: what the map holds, 'inverse_depth' or 'relative_depth'.

    Raises:
        ScaleError: there are too few points, their values or depths are almost equal, or the map
            and the truth do not agree.
    """
    found, truth = _common(values, depth)
    _check_points(values, found, truth, depth)
    target = 1 / truth if output == 'inverse_depth' else truth
    fit = fit_linear(np.stack([found, np.ones_like(found)], axis=1), target)
    factor, shift = fit.coefficients.tolist()
    inliers = int(fit.inliers.sum())
    flatness = fit.spread / float(np.median(target[fit.inliers]))
    disagrees = fit.residual >= DISAGREEMENT * fit.spread or factor == 0
    if flatness < _EQUAL or (disagrees and flatness < _FLAT):
        raise ScaleError(
            'scale_one_distance',
            f'of {len(truth)} known depths, {inliers} lie at one distance '
            f'({np.median(truth[fit.inliers]):.4g} m), from which scale and shift cannot be told; '
            'they must lie both near and far',
        )
    if disagrees:
        raise ScaleError(
            'scale_disagreement',
            f'the estimate does not follow the {len(truth)} known depths: even the {inliers} that '
            f'fit best deviate by {fit.residual:.3g}, and they spread by {fit.spread:.3g} only; '
            'are both of the same view and moment?',
        )
    if factor < 0:
        raise ScaleError(
            'scale_negative',
            f'the scale would be negative ({factor:.3g}): where the estimate is nearer, the '
            f'{len(truth)} known depths are farther; are both of the same view?',
        )
    low, high = np.percentile(found[fit.inliers], _ENDS).tolist()
    return Scale(factor, shift, fit.residual, inliers, len(truth), (low, high), output)


def _common(values: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the values and depths of at most MOST pixels that have both, float64 (N,)."""
    with np.errstate(invalid='ignore'):
        (places,) = thinned(np.flatnonzero((depth > 0) & (depth < np.inf)), most=2 * MOST)
    at = [
        ((place + 0.5) * (side / of)).astype(int)
        for place, side, of in zip(
            np.divmod(places, depth.shape[1]), values.shape, depth.shape, strict=True
        )
    ]
    found = values[at[0], at[1]].astype(np.float64)
    known = np.isfinite(found)
    found, truth = thinned(found[known], depth.ravel()[places[known]].astype(np.float64))
    return found, truth


def _check_points(
    values: np.ndarray, found: np.ndarray, truth: np.ndarray, depth: np.ndarray
) -> None:
    """Raise ScaleError unless the points can determine a scale and a shift."""
    if not truth.size:
        raise ScaleError(
            'scale_overlap',
            f'none of the {depth.size} places has both a known depth and an estimate; does the '
            'sensor see what the camera sees, and is the calibration right?',
        )
    if truth.size < ENOUGH:
        raise ScaleError(
            'scale_few_points',
            f'{truth.size} known depths lie on the image; {ENOUGH} are needed at least',
        )
    spread = np.ptp(np.percentile(found, _ENDS))
    step = max(1, math.isqrt(values.size // MOST))
    some = values[::step, ::step]
    some = np.concatenate([some[np.isfinite(some)], found])
    whole = np.ptp(np.percentile(some, _ENDS))
    if spread <= _SPREAD * whole or spread <= 1e-6 * np.abs(found).max():
        raise ScaleError(
            'scale_no_spread',
            f'the estimate is almost the same ({np.median(found):.4g}) at all {truth.size} known '
            'depths, so that they tell no scale; they must lie both near and far',
        )


def thinned(*arrays: np.ndarray, most: int = MOST) -> tuple[np.ndarray, ...]:
    """Take at most so many entries of arrays of one length, at random, the same of each."""
    count = len(arrays[0])
    if count <= most:
        return arrays
    taken = np.random.default_rng(0).choice(count, most, replace=False, shuffle=False)
    return tuple(values[taken] for values in arrays)
