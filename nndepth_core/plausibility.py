"""Whether numbers that can be computed with can also be true: findings, each with its cure.

Pure, and used alike by the node, replay, infer, evaluate and training. A reading of implausible
numbers is named only where the numbers fit it; which one is meant, the user decides.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from nndepth_core.camera import StereoCamera
from nndepth_core.warping import MARGIN, Fit, measure_fit

FEW_LEVELS = 16  # of 256; pictures with fewer grey levels can hardly be matched
BEHIND = -1.0  # pixels beyond infinity that noise explains
MUCH_INFINITE = 0.6  # share of estimates at infinity that the sky seldom has
SOME = 0.1
MUCH = 0.3
MOST = 0.9
CONSTANT = 0.5  # pixels between the smallest and the largest estimate
LEVELS = (8, 10, 12, 14, 16)  # bits that cameras give
TRUTH_FACTORS = (-1.0, *(2.0**power for power in range(-8, 9) if power))
ESTIMATE_FACTORS = (-1.0, 0.25, 0.5, 2.0, 4.0, 8.0)


class Level(enum.IntEnum):
    """Severity, with the numbers of diagnostic_msgs/DiagnosticStatus."""

    INFO = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: a stable code, how bad, and a sentence with the cure."""

    code: str
    level: Level
    text: str

    def described(self) -> dict[str, str]:
        """For reports in JSON."""
        return {'code': self.code, 'level': self.level.name, 'text': self.text}


@dataclass(frozen=True)
class BaselineLimits:
    """Baselines that are plausible, metres."""

    low: float = 0.005
    high: float = 5.0

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high:
            raise ValueError(
                f'min_baseline is {self.low} and max_baseline {self.high}; both must be positive '
                'metres and max_baseline the larger'
            )

    def __contains__(self, baseline: float) -> bool:
        return self.low <= baseline <= self.high


class Once:
    """Lets each finding through once, by its code."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def __call__(self, found: Iterable[Finding]) -> list[Finding]:
        """Those that were not there before."""
        new = []
        for finding in found:
            if finding.code not in self._known:
                self._known.add(finding.code)
                new.append(finding)
        return new


class UsedBits:
    """How many bits the values of a stream of 16-bit images use: the most seen so far.

    Both images of a pair share it, and it never shrinks, so that brightness stays comparable.
    """

    def __init__(self) -> None:
        self.bits = LEVELS[0]
        self.largest = 0

    def see(self, largest: int) -> None:
        """Take the largest value of an image into account."""
        self.largest = max(self.largest, largest)
        self.bits = next(bits for bits in LEVELS if self.largest < 2**bits)

    def findings(self) -> list[Finding]:
        """What to say once where the values do not use all bits."""
        if self.bits == LEVELS[-1] or not self.largest:
            return []
        text = (
            f'16-bit images use {self.bits} bits (largest value so far {self.largest}): their '
            f'values 0..{2**self.bits - 1} are stretched to 0..255'
        )
        return [Finding('used_bits', Level.INFO, text)]


def eight_bits(values: np.ndarray, used_bits: UsedBits | None = None) -> np.ndarray:
    """Stretch 16-bit values to uint8: all 16 bits, or those that the stream uses."""
    bits = 16
    if used_bits is not None:
        used_bits.see(int(values.max()))
        bits = used_bits.bits
    return cv2.convertScaleAbs(values.astype(np.uint16), alpha=255 / (2**bits - 1))


def examine_baseline(baseline: float, fx: float, limits: BaselineLimits) -> list[Finding]:
    """Look at a rig's numbers.

    Args:
        baseline: metres, as P[3] gives it.
        fx: P[0], pixels of the image that P is for.
        limits: what is plausible.
    """
    if baseline in limits:
        return []
    readings = {
        'P[3] in pixels times millimetres': baseline / 1000,
        'P[3] = -baseline, without fx': baseline * fx,
    }
    fitting = [f'{name} would mean {b:.4g} m' for name, b in readings.items() if b in limits]
    text = (
        f'the baseline is {baseline:.4g} m (P[3] = -fx * baseline, fx = {fx:.6g}), outside of '
        f'{limits.low:g} to {limits.high:g} m'
        + ''.join(f'; {reading}' for reading in fitting)
        + ': correct the calibration, or, if the rig is like that, set min_baseline or '
        'max_baseline'
    )
    return [Finding('baseline', Level.ERROR, text)]


def examine_levels(left: np.ndarray, right: np.ndarray) -> list[Finding]:
    """Look at the grey values of a pair, uint8 RGB (H, W, 3)."""
    found = []
    for side, image in (('left', left), ('right', right)):
        step = max(1, round(math.sqrt(image.shape[0] * image.shape[1] / 1e5)))
        low, high = np.percentile(image[::step, ::step].max(axis=2), (0.5, 99.5))
        if high - low >= FEW_LEVELS:
            continue
        text = (
            f'the {side} image shows grey levels {low:.0f} to {high:.0f} of 0 to 255: the lens is '
            'covered, the exposure is wrong or the scene has no contrast'
        )
        found.append(Finding(f'levels_{side}', Level.WARN, text))
    if not found and left.shape == right.shape and np.array_equal(left, right):
        text = (
            'left and right are the same picture, so that every disparity is 0: one topic or file '
            'serves both; give those of two cameras'
        )
        found.append(Finding('same_picture', Level.ERROR, text))
    return found


def density(
    disparity: np.ndarray,
    camera: StereoCamera | None = None,
    depth_limits: tuple[float, float] = (0.0, math.inf),
) -> float:
    """Share of the pixels with an estimate of finite depth inside the limits, 0..1.

    Unknown pixels, those at or beyond infinity and those that the limits clip do not count.

    Args:
        disparity: float32 (H, W), pixels.
        camera: of the disparity's size; None counts every finite disparity.
        depth_limits: metres.
    """
    if camera is None:
        return float(np.isfinite(disparity).mean())
    low, high = (
        camera.cx_offset + camera.focal_baseline / depth if depth else math.inf
        for depth in reversed(depth_limits)
    )
    with np.errstate(over='ignore'):
        beyond = np.nextafter(np.float32(camera.cx_offset), np.float32(math.inf))
    high = min(high, float(np.finfo(np.float32).max))
    inside = cv2.inRange(disparity, max(low, float(beyond)), high)
    return cv2.countNonZero(inside) / disparity.size


def examine_estimate(
    left: np.ndarray,
    right: np.ndarray,
    disparity: np.ndarray,
    camera: StereoCamera | None = None,
    largest: float = math.inf,
    depth_limits: tuple[float, float] = (0.0, math.inf),
) -> list[Finding]:
    """Look at what a model made of a pair.

    Args:
        left: uint8 RGB (H, W, 3).
        right: the same.
        disparity: float32 of any size, pixels of its own size, NaN where unknown.
        camera: the rig at any size; None where it is not known.
        largest: end of the model's range, pixels of the disparity's size.
        depth_limits: those that clip the depth, metres.
    """
    height, width = disparity.shape
    if left.shape[:2] != (height, width):
        left, right = (
            cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
            for image in (left, right)
        )
    known = np.isfinite(disparity)
    if known.mean() < 1 - MOST:
        text = (
            f'only {_percent(known.mean())} of the pixels have an estimate: the pair has no '
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
        text = (
            f'the disparities explain the images worse (error {fit.error:.2f}) than others '
            f'({fit.elsewhere:.2f}): the model fails on this scene, is fed other values than it '
            'was trained on, or the pair is not rectified'
        )
        found.append(Finding('misfit', Level.WARN, text))
    if camera is not None:
        found += _judge_limits(values, camera.resized(width, height), depth_limits)
    return found


def _judge_sign(values: np.ndarray, fit: Fit, camera: StereoCamera | None) -> list[Finding]:
    """Estimates at and beyond infinity."""
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
            f'{_percent(behind)} of the disparities lie beyond infinity (below {offset:.1f} px; '
            f'median {np.median(values):.1f} px) and give no depth: {why}'
        )
        level = Level.ERROR if behind > 1 - SOME or fit.factor == -1 else Level.WARN
        return [Finding('negative_disparity', level, text)]
    if infinite > MUCH_INFINITE:
        text = (
            f'{_percent(infinite)} of the disparities are {offset:.1f} px or less and give no '
            'finite depth: the scene is far away, cx of left and right are not those of the '
            'images, or the model fails on them'
        )
        return [Finding('infinite_depth', Level.WARN, text)]
    return []


def _judge_range(values: np.ndarray, fit: Fit, width: int, largest: float) -> list[Finding]:
    """Estimates that no pair of this width has, or that do not depend on it."""
    low, median, high = (float(value) for value in np.percentile(values, (1, 50, 99)))
    if fit.in_sight < 1 - MUCH and median > 0:
        text = (
            f'{_percent(1 - fit.in_sight)} of the disparities (median {median:.4g} px) point '
            f'outside of the right image, which is {width} px wide: the model gives another unit '
            'than pixels of its input, or is fed other values than it was trained on (0 to 255, 0 '
            'to 1, or normalised)'
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
            'does not answer to them; is it fed the values it was trained on?'
        )
        return [Finding('constant', Level.ERROR, text)]
    at_end = float(np.mean(np.abs(values - largest) < 1))
    if at_end > MUCH:
        text = (
            f"{_percent(at_end)} of the disparities are at the end of the model's range "
            f'({largest:g} px): the scene is nearer than it can measure, or the model fails on '
            'it; lower the processing size, or let sgbm search more (sgbm.num_disparities, '
            '--max-disparity)'
        )
        return [Finding('range_end', Level.WARN, text)]
    return []


def _judge_limits(
    values: np.ndarray, camera: StereoCamera, limits: tuple[float, float]
) -> list[Finding]:
    """Depths that the user's limits take away."""
    depth = camera.disparity_to_depth(values)
    depth = depth[np.isfinite(depth)].astype(np.float64)  # holds any limit
    if not depth.size:
        return []
    found = []
    for name, share, limit, value in (
        ('nearer than min_depth', np.mean(depth < limits[0]), limits[0], '-inf'),
        ('farther than max_depth', np.mean(depth > limits[1]), limits[1], '+inf'),
    ):
        if share > MOST:
            text = (
                f'{_percent(share)} of the depths (median {np.median(depth):.4g} m) are {name} '
                f'({limit:g} m) and become {value}: set the limit to metres of this scene'
            )
            found.append(Finding('clipped', Level.WARN, text))
    return found


def examine_truth(
    left: np.ndarray,
    right: np.ndarray,
    truth: np.ndarray,
    occluded: np.ndarray | None = None,
    warp: bool = True,
) -> list[Finding]:
    """Look at the true disparity of a pair.

    Args:
        left: uint8 RGB (H, W, 3).
        right: the same.
        truth: float32 (H, W), pixels, NaN where unknown.
        occluded: bool (H, W), None where it is not known.
        warp: also compare the images, which takes some hundredths of a second.
    """
    values = truth[np.isfinite(truth)].astype(np.float64)
    if not values.size:
        return []
    zero, negative = float(np.mean(values == 0)), float(np.mean(values < BEHIND))
    if zero > MUCH:
        text = (
            f'the truth is 0 at {_percent(zero)} of its known pixels: where 0 stands for unknown, '
            'store NaN; else it is no disparity of these images'
        )
        return [Finding('truth_zero', Level.ERROR if zero > MOST else Level.WARN, text)]
    fit = measure_fit(left, right, truth, TRUTH_FACTORS, occluded) if warp else None
    found = []
    if negative > 0.01:
        text = (
            f'the truth is negative at {_percent(negative)} of its known pixels, down to '
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
            f'only {_percent(fit.in_sight)} of the truth (median {median:.4g} px) has its match '
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


def _percent(share: float) -> str:
    return f'{100 * share:.0f} %'
