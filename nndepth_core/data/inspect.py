"""Check the ground truth of stereo data sets by warping the right image to the left one."""

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
    """How well a sample's disparity explains its images, compared with wrong disparities.

    Attributes:
        name: The name of the sample.
        errors: The mean photometric error by hypothesis. 0 is a perfect match; unrelated images
            with texture everywhere have about 1. Empty where too few pixels can be compared.
        density: The part of the pixels whose ground truth is known.
        low: The smallest known disparity in pixels; NaN where none is known.
        high: The largest known disparity in pixels; NaN where none is known.
        problem: What looks wrong; empty where nothing does.
    """

    name: str
    errors: Mapping[str, float]
    density: float
    low: float
    high: float
    problem: str


def check_truth(sample: StereoSample, shift: float = 2.0) -> TruthCheck:
    """Compare the photometric error at the ground truth with that at wrong disparities.

    The wrong disparities are the ground truth shifted by `shift` pixels to both sides, with its
    sign flipped, doubled and halved. Those that differ from the ground truth by less than a pixel
    are left out. All are compared under one valid mask: the disparity is known, the pixel is not
    occluded, and its match lies inside the right image. The images are normalised by their local
    mean and contrast first, so that a difference in exposure has no effect.

    Args:
        sample: The sample to check.
        shift: The shift in pixels.
    """
    truth, width = sample.disparity, sample.disparity.shape[1]
    known = np.isfinite(truth)
    if not known.any():
        return TruthCheck(sample.name, {}, 0.0, np.nan, np.nan, 'no pixel has a disparity')
    target = np.arange(width) - truth
    valid = known & (target >= 0) & (target <= width - 1)
    if sample.occluded is not None:
        valid &= ~sample.occluded
    errors = _errors(sample, valid, shift) if valid.sum() >= FEW else {}
    low, high = float(truth[known].min()), float(truth[known].max())
    problem = _problem(errors)
    if low < 0:
        problem = f'disparities are negative, down to {low:.1f} px; {problem}'.rstrip('; ')
    return TruthCheck(sample.name, errors, float(known.mean()), low, high, problem)


def examine_dataset(dataset: StereoSource, samples: int = 3) -> Iterator[tuple[str, Finding]]:
    """Yield what looks wrong with a data set, each kind of finding once.

    Args:
        dataset: The data set; samples that cannot be read are passed over.
        samples: The number of samples to look at, spread evenly.

    Yields:
        The name of a sample, and a finding about it.

    Raises:
        DatasetError: The samples are no pairs.
    """
    once = Once()
    for index in spread(len(dataset), samples):
        try:
            sample = dataset[index]
        except DatasetError:
            continue
        if not isinstance(sample, StereoSample):
            raise DatasetError(
                f'{dataset.name} holds {type(sample).__name__} objects, no pairs; give a data set '
                'of stereo pairs'
            )
        left, right, truth = sample.left, sample.right, sample.disparity
        if left.shape[:2] == right.shape[:2] == truth.shape:
            found = examine_levels(left, right)
            found += examine_truth(left, right, truth, sample.occluded)
            yield from ((sample.name, finding) for finding in once(found))


def picture(sample: StereoSample | MonoSample) -> np.ndarray:
    """Draw the images of a sample and its ground truth; of a pair also the warped right image.

    Returns:
        A picture, uint8 RGB (H, W, 3), with the images beside each other under titles.
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


def _errors(sample: StereoSample, valid: np.ndarray, shift: float) -> dict[str, float]:
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
        name: float(np.abs(left - warped(right, disparity))[valid].mean())
        for name, disparity in hypotheses.items()
        if name == TRUTH or np.median(np.abs(disparity - truth)[valid]) >= 1
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
