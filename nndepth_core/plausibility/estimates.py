"""Checks whether the disparities and depths that a model gives can be true."""

from __future__ import annotations

import math

import cv2
import numpy as np

from nndepth_core.camera import StereoCamera
from nndepth_core.plausibility.corners import ENOUGH_MATCHES, match_corners
from nndepth_core.plausibility.findings import (
    BEHIND,
    MEDIAN_DEPTHS,
    MOST,
    MUCH,
    RANGE_SETTINGS,
    Finding,
    Level,
    percent,
)
from nndepth_core.plausibility.fit import MARGIN, Fit, measure_fit

MUCH_INFINITE = 0.6  # a share of estimates at infinity that sky alone seldom reaches
SOME = 0.1
CONSTANT = 0.5  # pixels between smallest and largest estimate, below which it counts as constant
_WIDEN = f'lower processing_size, or let the model search farther ({RANGE_SETTINGS})'
ESTIMATE_FACTORS = (-1.0, 0.25, 0.5, 2.0, 4.0, 8.0)


def density(
    disparity: np.ndarray,
    camera: StereoCamera | None = None,
    depth_limits: tuple[float, float] = (0.0, math.inf),
) -> float:
    """The share of the pixels whose estimate has a finite depth inside the limits, 0..1.

    Unknown pixels, pixels at or beyond infinity, and pixels outside the limits do not count.

    Args:
        disparity: float32 (H, W), in pixels.
        camera: the camera at the disparity's size; with None every finite disparity counts.
        depth_limits: in metres.
    """
    if camera is None:
        return float(np.isfinite(disparity).mean())
    low, high = (
        camera.cx_offset + camera.focal_baseline / depth if depth else math.inf
        for depth in reversed(depth_limits)
    )
    with np.errstate(over='ignore'):
        beyond = np.nextafter(np.float32(camera.cx_offset), np.float32(math.inf))
    return share_inside(disparity, max(low, float(beyond)), high)


def share_inside(values: np.ndarray, low: float, high: float) -> float:
    """The share of the pixels of a float32 map (H, W) that are finite and in low..high, 0..1."""
    largest = float(np.finfo(np.float32).max)
    inside = cv2.inRange(values, max(low, -largest), min(high, largest))
    return cv2.countNonZero(inside) / values.size


def examine_depth(
    depth: np.ndarray, limits: tuple[float, float] | None = (0.0, math.inf)
) -> list[Finding]:
    """Check the estimate for a single image.

    Args:
        depth: float32 (H, W), NaN where unknown, +inf beyond the range of the model.
        limits: the limits that clip the depth, in metres; None if the estimate is not in metres.
    """
    known = float(np.mean(~np.isnan(depth)))
    if known < 1 - MOST:
        text = (
            f'only {percent(known)} of the pixels have an estimate: the model fails on '
            'this scene, or is less confident than confidence_threshold'
        )
        return [Finding('few_estimates', Level.WARN, text)]
    values = depth[np.isfinite(depth)].astype(np.float64)
    if not values.size:
        text = (
            'no pixel has a finite estimate: the scene is beyond the range of the model, as sky '
            'is, or the model fails on it'
        )
        return [Finding('infinite_depth', Level.WARN, text)]
    low, high = np.percentile(values, (1, 99))
    if high - low <= 1e-6 * abs(high):
        text = (
            f'the estimate is {high:.4g} everywhere: the model does not react to the images; are '
            'they like those it was trained on?'
        )
        return [Finding('constant', Level.ERROR, text)]
    return (_judge_unit(values) or _judge_limits(values, limits)) if limits else []


def examine_estimate(
    left: np.ndarray,
    right: np.ndarray,
    disparity: np.ndarray,
    camera: StereoCamera | None = None,
    largest: float = math.inf,
    depth_limits: tuple[float, float] = (0.0, math.inf),
) -> list[Finding]:
    """Check the estimate for a stereo pair.

    Args:
        left: uint8 RGB (H, W, 3).
        right: uint8 RGB (H, W, 3).
        disparity: float32 of any size, in pixels of its own size, NaN where unknown.
        camera: the stereo camera at any size; None if it is not known.
        largest: the upper end of the model's disparity range, in pixels of the disparity's size.
        depth_limits: the limits that clip the depth, in metres.
    """
    height, width = disparity.shape
    if left.shape[:2] != (height, width):
        left, right = (
            cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
            for image in (left, right)
        )
    known = np.isfinite(disparity)
    if known.mean() < 1 - MUCH and (found := _judge_corners(left, right, largest)):
        return found
    if known.mean() < 1 - MOST:
        text = (
            f'only {percent(known.mean())} of the pixels have an estimate: the pair has no '
            "texture, is not rectified, or lies outside of the model's range or below the "
            'confidence_threshold'
        )
        return [Finding('few_estimates', Level.WARN, text)]
    fit = measure_fit(left, right, disparity, (*ESTIMATE_FACTORS, float(width)))
    values = disparity[known].astype(np.float64)
    found = _judge_sign(values, fit, camera.resized(width, height) if camera else None)
    if 'negative_disparity' not in (finding.code for finding in found):
        found += _judge_range(values, fit, width, largest)
    if not found and fit.factor == 1 and fit.error > MARGIN * fit.elsewhere:
        found += _judge_misfit(left, right, fit, largest)
    if camera is not None:
        depth = camera.resized(width, height).disparity_to_depth(values)
        found += _judge_limits(depth[np.isfinite(depth)].astype(np.float64), depth_limits)
    return found


def _judge_sign(values: np.ndarray, fit: Fit, camera: StereoCamera | None) -> list[Finding]:
    """Check for estimates at infinity and beyond it."""
    offset = camera.cx_offset if camera else 0.0
    behind = float(np.mean(values - offset < BEHIND))
    infinite = float(np.mean(values <= offset))
    if behind > SOME:
        if fit.factor == -1:
            why = (
                "the images fit the opposite sign: negate the model's output, or declare its sign "
                '(disparity_sign)'
            )
        elif fit.good:
            why = 'the images fit them: left and right are swapped, exchange them'
        else:
            why = (
                'the model has the other sign, left and right are swapped, or the model fails on '
                'these images'
            )
        text = (
            f'{percent(behind)} of the disparities lie beyond infinity (below {offset:.1f} px; '
            f'median {np.median(values):.1f} px) and give no depth: {why}'
        )
        level = Level.ERROR if behind > 1 - SOME or fit.factor == -1 else Level.WARN
        return [Finding('negative_disparity', level, text)]
    if infinite > MUCH_INFINITE:
        text = (
            f'{percent(infinite)} of the disparities are {offset:.1f} px or less and give no '
            'finite depth: the scene is far away, cx of left and right are not those of the '
            'images, or the model fails on them'
        )
        return [Finding('infinite_depth', Level.WARN, text)]
    return []


def _judge_range(values: np.ndarray, fit: Fit, width: int, largest: float) -> list[Finding]:
    """Check for disparities that no pair of this width can have, or that do not depend on it."""
    low, median, high = (float(value) for value in np.percentile(values, (1, 50, 99)))
    if fit.in_sight < 1 - MUCH and median > 0:
        text = (
            f'{percent(1 - fit.in_sight)} of the disparities (median {median:.4g} px) point '
            f'outside of the right image, which is {width} px wide: the model gives another unit '
            'than pixels of its input, or gets other values than those it was trained on (0 to '
            '255, 0 to 1, or normalised)'
        )
        return [Finding('out_of_sight', Level.ERROR, text)]
    if fit.factor not in (1.0, -1.0):
        text = (
            f'the images fit the disparities better (error {fit.better:.2f}) when these are '
            f'multiplied by {fit.factor:g}: the model gives another unit than pixels of its input'
        )
        return [Finding('disparity_scale', Level.ERROR, text)]
    if high - low < CONSTANT and fit.error >= MARGIN * fit.elsewhere:
        text = (
            f'the disparity is {median:.4g} px everywhere and the images do not fit it: the model '
            'does not react to them; does it get the values that it was trained on?'
        )
        return [Finding('constant', Level.ERROR, text)]
    at_end = float(np.mean(np.abs(values - largest) < 1))
    if at_end > MUCH:
        text = (
            f"{percent(at_end)} of the disparities are at the end of the model's range "
            f'({largest:.4g} px): the scene is nearer than the model can measure, or the model '
            f'fails on it; {_WIDEN}'
        )
        return [Finding('range_end', Level.WARN, text)]
    return []


def _judge_corners(left: np.ndarray, right: np.ndarray, largest: float) -> list[Finding] | None:
    """Check by corners whether the scene lies beyond the model's range; None if they are few."""
    if not math.isfinite(largest):
        return []
    disparities = -match_corners(left, right, columns=left.shape[1])[:, 0]
    if len(disparities) < ENOUGH_MATCHES:
        return None
    beyond = disparities[disparities > largest + 1]
    if len(beyond) <= SOME * len(disparities):
        return []
    text = (
        f'{percent(len(beyond) / len(disparities))} of {len(disparities)} matched corners have '
        f"disparities beyond the model's range of {largest:.4g} px (median "
        f'{np.median(beyond):.4g} px), and its estimates do not fit or are few: the scene is too '
        f'near for it; {_WIDEN}'
    )
    return [Finding('range_end', Level.WARN, text)]


def _judge_misfit(left: np.ndarray, right: np.ndarray, fit: Fit, largest: float) -> list[Finding]:
    """Tell why disparities do not fit the images."""
    found = _judge_corners(left, right, largest)
    if found:
        return found
    causes = 'the model fails on this scene, gets other values than those it was trained on, or '
    if found is None:
        causes += f'has a range that ends before this scene, at {largest:.4g} px ({_WIDEN}), or '
    text = (
        f'the disparities do not explain the images (error {fit.error:.2f}) clearly better than '
        f'others ({fit.elsewhere:.2f}): {causes}the pair is not rectified'
    )
    return [Finding('misfit', Level.WARN, text)]


def _judge_unit(depth: np.ndarray) -> list[Finding]:
    """Check whether finite depths, float64, can be metres of a scene."""
    (least, most), median = MEDIAN_DEPTHS, float(np.median(depth))
    if least <= median <= most:
        return []
    text = (
        f'the median depth is {median:.4g} m and scenes lie between {least:g} and {most:g} m: are '
        'the depths that tell the scale in metres, or does the model fail on this scene?'
    )
    return [Finding('depth_unit', Level.WARN, text)]


def _judge_limits(depth: np.ndarray, limits: tuple[float, float]) -> list[Finding]:
    """Check how many finite depths, float64 in metres, the user's limits remove."""
    if not depth.size:
        return []
    found = []
    for name, share, limit, value in (
        ('nearer than min_depth', float(np.mean(depth < limits[0])), limits[0], '-inf'),
        ('farther than max_depth', float(np.mean(depth > limits[1])), limits[1], '+inf'),
    ):
        if share > MOST:
            text = (
                f'{percent(share)} of the depths (median {np.median(depth):.4g} m) are {name} '
                f'({limit:g} m) and become {value}: set the limit to metres of this scene'
            )
            found.append(Finding('clipped', Level.WARN, text))
    return found
