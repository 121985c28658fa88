"""Whether the truth of a stereo data set fits its images, tested by warping right to left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from nndepth_core.data.sample import MonoSample, StereoSample
from nndepth_core.visualization import colorize, panel, value_range

TRUTH = 'as it is'
LARGEST_PICTURE = 640  # pixels of the longer side of one image in a picture

_WINDOW = (9, 9)
_CONTRAST = 4.0  # grey levels; local contrast well below counts as no texture
_FEW = 100  # pixels below which an error says nothing
_MARGIN = 0.95  # an error must be below this part of another to be better
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
    errors = _errors(sample, usable, shift) if usable.sum() >= _FEW else {}
    low, high = float(truth[known].min()), float(truth[known].max())
    problem = _problem(errors)
    if low < 0:
        problem = f'disparities are negative, down to {low:.1f} px; {problem}'.rstrip('; ')
    return TruthCheck(sample.name, errors, float(known.mean()), low, high, problem)


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
    warped = np.where(known, _warped(sample.right, sample.disparity), 0).astype(np.uint8)
    difference = np.where(known, cv2.absdiff(sample.left, warped), 0).astype(np.uint8)
    pictures = {
        'left': sample.left,
        'right': sample.right,
        f'disparity {low:.1f} to {high:.1f} px': colorize(sample.disparity, low, high),
        'right, warped to left': warped,
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
    left, right = _normalized(sample.left), _normalized(sample.right)
    return {
        name: float(np.abs(left - _warped(right, disparity))[usable].mean())
        for name, disparity in hypotheses.items()
        if name == TRUTH or np.median(np.abs(disparity - truth)[usable]) >= 1
    }


def _problem(errors: Mapping[str, float]) -> str:
    if not errors:
        return 'hardly any pixel has its match inside the right image; is the scale right?'
    best = min(errors, key=errors.__getitem__)
    if errors[best] < _MARGIN * errors[TRUTH]:
        return f'the images fit the truth better {best}; {_HINTS.get(best, "")}'.rstrip('; ')
    others = [error for name, error in errors.items() if name != TRUTH]
    if others and errors[TRUTH] > _MARGIN * min(others):
        return 'the images fit the truth no better than wrong disparities; are they of one scene?'
    return ''


def _normalized(image: np.ndarray) -> np.ndarray:
    """Grey with local mean 0 and, where there is texture, local deviation 1: float32 (H, W)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    mean = cv2.blur(grey, _WINDOW)
    deviation = np.sqrt(np.maximum(cv2.blur(grey * grey, _WINDOW) - mean * mean, 0))
    return (grey - mean) / (deviation + _CONTRAST)


def _warped(right: np.ndarray, disparity: np.ndarray) -> np.ndarray:
    """What the right image shows at x - disparity."""
    height, width = disparity.shape
    x = np.arange(width, dtype=np.float32) - np.nan_to_num(disparity)
    y = np.repeat(np.arange(height, dtype=np.float32)[:, None], width, axis=1)
    return cv2.remap(right, x.astype(np.float32), y, cv2.INTER_LINEAR, None, cv2.BORDER_REFLECT)


def _small(pictures: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    height, width = next(iter(pictures.values())).shape[:2]
    scale = min(1.0, LARGEST_PICTURE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return {
        title: cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        for title, image in pictures.items()
    }
