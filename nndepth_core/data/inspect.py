"""Whether the truth of a stereo data set fits its images, tested by warping right to left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from nndepth_core.data.datasets.base import DatasetError, StereoSource
from nndepth_core.data.sample import MonoSample, StereoSample, spread
from nndepth_core.plausibility import Finding, Once, examine_levels, examine_truth
from nndepth_core.plausibility.fit import FEW, MARGIN, normalized, warped
from nndepth_core.visualization import colorize, panel, value_range

TRUTH = 'as it is'
LARGEST_PICTURE = 640  # pixels of the longer side of one image in a picture

_HINTS = {
    'of the other sign': 'are left and right swapped?',
    'twice as large': 'is it that of smaller images, or of another scale?',
    'half as large': 'is it that of larger images, or of another scale?',
}


@dataclass(frozen=True)
class TruthCheck:
    """How well a sample's disparity, and what it is easily confused with, explain the images.

    Attributes:
        name: of the sample.
        errors: hypothesis -> mean photometric error; 0 is a perfect match, about 1 that of
            unrelated images with texture everywhere. Empty where too few pixels can be compared.
        density: part of the pixels whose truth is known.
        low: smallest known disparity, pixels; NaN without any.
        high: largest known disparity, pixels.
        problem: what looks wrong, '' for nothing.
    """

    name: str
    errors: Mapping[str, float]
    density: float
    low: float
    high: float
    problem: str


def check_truth(sample: StereoSample, shift: float = 2.0) -> TruthCheck:
    """Compare the photometric error at the truth with that at wrong disparities.

    The wrong ones are the truth `shift` pixels larger and smaller, with the sign flipped, doubled
    and halved, as far as they differ from the truth by a pixel. All are compared on the same
    pixels: those that are known, not occluded and, at the truth, in sight of the right camera.
    Local mean and contrast are taken out of the images first, so that exposure does not count.

    Args:
        sample: what to check.
        shift: pixels.
    """
    truth, width = sample.disparity, sample.disparity.shape[1]
    known = np.isfinite(truth)
    if not known.any():
        return TruthCheck(sample.name, {}, 0.0, np.nan, np.nan, 'no pixel has a disparity')
    target = np.arange(width) - truth
    usable = known & (target >= 0) & (target <= width - 1)
    if sample.occluded is not None:
        usable &= ~sample.occluded
    errors = _errors(sample, usable, shift) if usable.sum() >= FEW else {}
    low, high = float(truth[known].min()), float(truth[known].max())
    problem = _problem(errors)
    if low < 0:
        problem = f'disparities are negative, down to {low:.1f} px; {problem}'.rstrip('; ')
    return TruthCheck(sample.name, errors, float(known.mean()), low, high, problem)


def examine_dataset(dataset: StereoSource, samples: int = 3) -> Iterator[tuple[str, Finding]]:
    """Yield name of a sample and what looks wrong with it, each kind once.

    Args:
        dataset: any; samples that cannot be used are left to its users.
        samples: how many are looked at, spread evenly.
    """
    once = Once()
    for index in spread(len(dataset), samples):
        try:
            sample = dataset[index]
            left, right, truth = sample.left, sample.right, sample.disparity
            if not left.shape[:2] == right.shape[:2] == truth.shape:
                continue
            found = examine_levels(left, right) + examine_truth(
                left, right, truth, sample.occluded
            )
        except DatasetError:
            continue
        yield from ((sample.name, finding) for finding in once(found))


def picture(sample: StereoSample | MonoSample) -> np.ndarray:
    """Show a sample: its images, its truth and, of a pair, what the truth makes of the right one.

    Returns:
        uint8 RGB, images beside each other and under titles.
    """
    if isinstance(sample, MonoSample):
        low, high = value_range(sample.depth)
        nearest, farthest = (high, low) if sample.meaning == 'metric' else (low, high)
        unit = ' m' if sample.meaning == 'metric' else ''
        depth = colorize(sample.depth, nearest, farthest)
        return panel(_small({'image': sample.image, f'{low:.3g} to {high:.3g}{unit}': depth}))
    low, high = value_range(sample.disparity)
    known = np.isfinite(sample.disparity)[..., None]
    seen = np.where(known, warped(sample.right, sample.disparity), 0).astype(np.uint8)
    difference = np.where(known, cv2.absdiff(sample.left, seen), 0).astype(np.uint8)
    pictures = {
        'left': sample.left,
        'right': sample.right,
        f'disparity {low:.1f} to {high:.1f} px': colorize(sample.disparity, low, high),
        'right, warped to left': seen,
        'difference to left': difference,
    }
    if sample.occluded is not None:
        pictures['occluded'] = np.where(sample.occluded[..., None], 255, sample.left // 2)
    return panel(_small(pictures))


def _errors(sample: StereoSample, usable: np.ndarray, shift: float) -> dict[str, float]:
    truth = sample.disparity
    hypotheses = {
        TRUTH: truth,
        f'{shift:g} px larger': truth + shift,
        f'{shift:g} px smaller': truth - shift,
        'of the other sign': -truth,
        'twice as large': 2 * truth,
        'half as large': truth / 2,
    }
    left, right = normalized(sample.left), normalized(sample.right)
    return {
        name: float(np.abs(left - warped(right, disparity))[usable].mean())
        for name, disparity in hypotheses.items()
        if name == TRUTH or np.median(np.abs(disparity - truth)[usable]) >= 1
    }


def _problem(errors: Mapping[str, float]) -> str:
    if not errors:
        return 'hardly any pixel has its match inside the right image; is the scale right?'
    best = min(errors, key=errors.__getitem__)
    if errors[best] < MARGIN * errors[TRUTH]:
        return f'the images fit the truth better {best}; {_HINTS.get(best, "")}'.rstrip('; ')
    others = [error for name, error in errors.items() if name != TRUTH]
    if others and errors[TRUTH] > MARGIN * min(others):
        return 'the images fit the truth no better than wrong disparities; are they of one scene?'
    return ''


def _small(pictures: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    height, width = next(iter(pictures.values())).shape[:2]
    scale = min(1.0, LARGEST_PICTURE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return {
        title: cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        for title, image in pictures.items()
    }
