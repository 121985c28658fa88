"""Measures filters: their cost, what they remove rightly and wrongly, and the noise they leave."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np

from nndepth_core.data.sample import StereoSample
from nndepth_core.data.synthetic.procedural import ProceduralStereo
from nndepth_core.estimator import StereoEstimator, StereoResult
from nndepth_core.filters import DepthFilters, FilterSettings, View
from nndepth_core.filters.surfaces import tolerance
from nndepth_core.uncertainty import confidence_sigma, is_calibrated

ONE_BY_ONE: Mapping[str, FilterSettings] = {
    'border': FilterSettings(border=8),
    'flying': FilterSettings(flying=3),
    'speckle_size': FilterSettings(speckle_size=100),
    'smoothing': FilterSettings(smoothing=0.5),
    'fill_holes': FilterSettings(fill_holes=50),
}
TOGETHER = FilterSettings(8, 3, 100, 0.5, 50)
REMOVING = (
    *(('flying', FilterSettings(flying=width)) for width in (1, 2, 3, 4)),
    *(('speckle_size', FilterSettings(speckle_size=size)) for size in (100, 400)),
    ('flying 3, speckle_size', FilterSettings(flying=3, speckle_size=100)),
    ('border', FilterSettings(border=8)),
)
THRESHOLDS = (0.3, 0.5, 0.6)
SMOOTHING = (0.0, 0.2, 0.5, 1.0)
SIGMA_RANGES = (0, 0.2, 0.3, 0.5, 1, 2, 4, math.inf)
SIGMA_PAIRS, SIGMA_SEED = 24, 2
"""Rendered pairs by which sigma is examined; the default model is not trained on them."""
STEP, NOISE = FilterSettings.step, 1.0
"""What counts as wrong: the step between surfaces, and pixels of disparity."""
REACH = 3
"""Pixels from an edge within which an estimate can be a flying pixel."""
INSIDE = 0.2
"""The share of the gap between two surfaces that separates a flying pixel from either."""
PERIOD = 100_000_000
"""Nanoseconds from one frame of a static scene to the next."""
WARM_UP = 3
SETTLED = 10
"""The frames of a static scene after which noise is measured."""


@dataclass(frozen=True)
class Frame:
    """A sample with its estimate."""

    sample: StereoSample
    result: StereoResult

    @property
    def view(self) -> View:
        """What filters know of the image."""
        return View(self.sample.left, self.sample.camera, self.sample.stamp)


def estimated(
    estimator: StereoEstimator, samples: Iterable[StereoSample], period: int | None = None
) -> list[Frame]:
    """Estimate the disparities of samples with their confidence.

    Args:
        estimator: the estimator.
        samples: the samples.
        period: nanoseconds from one to the next; None leaves their stamps.
    """
    frames = []
    for number, sample in enumerate(samples):
        result = estimator(sample.left, sample.right, confidence=True)
        stamp = sample.stamp if period is None else number * period
        frames.append(Frame(replace(sample, stamp=stamp), result))
    return frames


def enlarged(frame: Frame, size: tuple[int, int]) -> Frame:
    """A frame of another (width, height), by which costs are measured."""
    before = frame.result.disparity
    nearest = cv2.resize(before, size, interpolation=cv2.INTER_NEAREST_EXACT)
    disparity = np.multiply(nearest, size[0] / before.shape[1], dtype=np.float32)
    image = cv2.resize(frame.sample.left, size)
    return Frame(
        replace(frame.sample, left=image, camera=None), StereoResult(disparity, None, size)
    )


def filter_costs(frames: Sequence[Frame], runs: int) -> dict[str, float]:
    """Measure the processor time of each filter, and of all, on one core.

    Args:
        frames: what is filtered, in turns.
        runs: how often each is measured.

    Returns:
        Microseconds for a thousand pixels, the median of the runs.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        settings = {**ONE_BY_ONE, 'all': TOGETHER}
        return {name: _cost(frames, settings[name], runs) for name in settings}
    finally:
        cv2.setNumThreads(threads)


def _cost(frames: Sequence[Frame], settings: FilterSettings, runs: int) -> float:
    filters, seconds = DepthFilters(), []
    for number in range(WARM_UP + runs):
        frame = frames[number % len(frames)]
        view = View(frame.sample.left, None, number * PERIOD)
        begun = time.thread_time()
        filters.disparity(frame.result, settings, view)
        seconds.append(time.thread_time() - begun)
    return 1e9 * float(np.median(seconds[WARM_UP:])) / frames[0].result.disparity.size


def flying_truth(disparity: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Find the flying pixels of an estimate, by the truth: bool (H, W).

    Such an estimate is wrong, near an edge, and in the empty space between the nearest and the
    farthest surface there.

    Args:
        disparity: float32 (H, W), in pixels, NaN where unknown.
        truth: float32 (H, W), NaN where unknown.
    """
    around = np.ones((2 * REACH + 1, 2 * REACH + 1), np.uint8)
    far = cv2.erode(np.nan_to_num(truth, nan=math.inf), around)
    near = cv2.dilate(np.nan_to_num(truth, nan=0), around)
    least = np.maximum(INSIDE * (near - far), tolerance(truth, STEP, NOISE))
    return (disparity - far > least) & (near - disparity > least) & wrong(disparity, truth)


def wrong(disparity: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Find the estimates that are a step away from the truth, bool (H, W)."""
    return np.abs(disparity - truth) > tolerance(truth, STEP, NOISE)


def removal(frames: Sequence[Frame], clean: Callable[[Frame], np.ndarray]) -> dict[str, float]:
    """Measure what cleaning removes, in per cent.

    Args:
        frames: a sequence with its truth.
        clean: makes a disparity that is NaN where an estimate is removed.

    Returns:
        flying, wrong, true: the shares of the flying pixels, of all wrong estimates and of the
        others that are removed.
    """
    removed, total = Counter[str](), Counter[str]()
    for frame in frames:
        before, truth = frame.result.disparity, frame.sample.disparity
        gone = np.isfinite(before) & ~np.isfinite(clean(frame))
        is_wrong = wrong(before, truth)
        kinds = {
            'flying': flying_truth(before, truth),
            'wrong': is_wrong,
            'true': np.isfinite(before - truth) & ~is_wrong,
        }
        for name, pixels in kinds.items():
            total[name] += int(np.count_nonzero(pixels))
            removed[name] += int(np.count_nonzero(pixels & gone))
    return {name: 100 * removed[name] / max(1, total[name]) for name in total}


def by_filter(settings: FilterSettings) -> Callable[[Frame], np.ndarray]:
    """Make what cleans a frame by a filter, without memory of others."""
    return lambda frame: DepthFilters().disparity(frame.result, settings, frame.view).disparity


def by_confidence(threshold: float) -> Callable[[Frame], np.ndarray]:
    """Make what removes the estimates of less confidence."""

    def clean(frame: Frame) -> np.ndarray:
        confidence = frame.result.confidence
        if confidence is None:
            raise ValueError('the estimates have no confidence')
        return np.where(confidence >= threshold, frame.result.disparity, np.nan)

    return clean


def over_time(frames: Sequence[Frame], smoothing: float) -> dict[str, float]:
    """Measure a sequence that the mean over time has smoothed, in pixels.

    Args:
        frames: the sequence.
        smoothing: the time constant, seconds; 0 for none.

    Returns:
        noise: the standard deviation over time, the median of the image, which means something
        where nothing moves; error: the mean error.
    """
    filters, settings = DepthFilters(), FilterSettings(smoothing=smoothing)
    maps = [filters.disparity(x.result, settings, x.view).disparity for x in frames]
    truths = [frame.sample.disparity for frame in frames]
    errors = [np.nanmean(np.abs(out - truth)) for out, truth in zip(maps, truths, strict=True)]
    return {
        'noise': float(np.nanmedian(np.std(maps[SETTLED:], axis=0))),
        'error': float(np.mean(errors)),
    }


def sigma_table(frames: Iterable[Frame]) -> dict[str, dict[str, float]]:
    """Compare the sigma that follows from the confidence with the errors.

    Returns:
        For each range of sigma in pixels, and for all: the share of the pixels in per cent, the
        means of sigma and of the error in pixels, and the shares of the errors within one, two and
        three sigma in per cent.
    """
    errors, sigmas = [], []
    for frame in frames:
        error = np.abs(frame.result.disparity - frame.sample.disparity)
        known = np.isfinite(error)
        if frame.result.confidence is None:
            raise ValueError('the estimates have no confidence')
        errors.append(error[known])
        sigmas.append(frame.result.scale * confidence_sigma(frame.result.confidence)[known])
    error, sigma = np.concatenate(errors), np.concatenate(sigmas)
    rows = {}
    for low, high in [*pairwise(SIGMA_RANGES), (0.0, math.inf)]:
        chosen = (sigma >= low) & (sigma < high)
        if not chosen.any():
            continue
        within = {
            f'within_{times}': 100 * float(np.mean(error[chosen] <= times * sigma[chosen]))
            for times in (1, 2, 3)
        }
        rows[f'{low:g} to {high:g} px' if high < math.inf or low else 'all'] = {
            'share': 100 * float(np.mean(chosen)),
            'sigma': float(np.mean(sigma[chosen])),
            'error': float(np.mean(error[chosen])),
            **within,
        }
    return rows


def measure_filters(
    estimator: StereoEstimator,
    moving: Iterable[StereoSample],
    static: Iterable[StereoSample],
    size: tuple[int, int],
    runs: int = 40,
) -> dict[str, dict[str, dict[str, float]]]:
    """Make all tables for a model.

    Args:
        estimator: runs the model.
        moving: a sequence with its truth.
        static: images of one view with different noise.
        size: (width, height) of the maps by which costs are measured.
        runs: how often each cost is measured.

    Returns:
        Title of the table -> name of the row -> name of the column -> figure.
    """
    frames = estimated(estimator, moving)
    still = estimated(estimator, static, PERIOD)
    costs = filter_costs([enlarged(frame, size) for frame in frames[:8]], runs)
    removed = {
        f'{name} {getattr(settings, name.split()[-1])}': removal(frames, by_filter(settings))
        for name, settings in REMOVING
    }
    removed |= {
        f'confidence_threshold {threshold}': removal(frames, by_confidence(threshold))
        for threshold in THRESHOLDS
    }
    smoothed = {}
    for seconds in SMOOTHING:
        noise, error = over_time(still, seconds)['noise'], over_time(frames, seconds)['error']
        smoothed[f'smoothing {seconds}'] = {'noise px': noise, 'error of moving px': error}
    tables = {
        'microseconds for 1000 pixels': {name: {'cost': cost} for name, cost in costs.items()},
        'removed, per cent': removed,
        'over time': smoothed,
    }
    if is_calibrated(estimator.engine.spec):
        rendered = ProceduralStereo(size=(320, 512), length=SIGMA_PAIRS, seed=SIGMA_SEED)
        pairs = (rendered[index] for index in range(len(rendered)))
        tables['sigma on rendered pairs'] = sigma_table(estimated(estimator, pairs))
    return tables
