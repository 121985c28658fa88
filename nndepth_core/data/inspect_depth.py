"""Check the true depth of single images by its unit, and by its steps, where images have edges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from nndepth_core.data.sample import MonoSample
from nndepth_core.plausibility import examine_image_levels
from nndepth_core.plausibility.findings import MEDIAN_DEPTHS

AS_IT_IS = 'as it is'
_TURNED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    AS_IT_IS: lambda steps: steps,
    'mirrored': np.fliplr,
    'upside down': np.flipud,
    'turned by half': lambda steps: steps[::-1, ::-1],
}
_STEP = 0.1
"""Neighbours whose depths differ by more than this share are on both sides of a step."""
_FEW = 200
"""With fewer pixels at steps, nothing can be told."""
_CLEARLY = 1.5
"""The depth is of another image, or turned, if it fits turned by so much better."""


@dataclass(frozen=True)
class DepthCheck:
    """What a sample's depth is like, and how well its steps fit the edges of the image.

    Attributes:
        name: The name of the sample.
        contrasts: By hypothesis, the strength of the image's edges at the steps of the depth, in
            multiples of the mean over the image. Empty where the depth has too few steps.
        density: The part of the pixels whose depth is known.
        low: The smallest known depth; NaN where none is known.
        high: The largest known depth; NaN where none is known.
        problem: What looks wrong; empty where nothing does.
    """

    name: str
    contrasts: Mapping[str, float]
    density: float
    low: float
    high: float
    problem: str


def check_depth(sample: MonoSample) -> DepthCheck:
    """Compare the steps of the true depth, as it is and turned, with the edges of the image.

    Args:
        sample: The sample to check; the unit is judged where its depth is in metres.
    """
    depth = sample.depth
    known = np.isfinite(depth)
    if not known.any():
        return DepthCheck(sample.name, {}, 0.0, np.nan, np.nan, 'no pixel has a depth')
    contrasts = _contrasts(sample)
    values = depth[known]
    low, high = float(values.min()), float(values.max())
    found = [finding.text for finding in examine_image_levels(sample.image)]
    if low == high:
        found.append(f'the depth is {low:g} everywhere')
    elif sample.meaning == 'metric':
        found += _judge_unit(low, float(np.median(values)))
    best = max(contrasts, key=contrasts.__getitem__, default=AS_IT_IS)
    if contrasts and contrasts[best] > _CLEARLY * contrasts[AS_IT_IS]:
        found.append(f'its steps fit the edges of the image better {best}')
    return DepthCheck(sample.name, contrasts, float(known.mean()), low, high, '; '.join(found))


def _judge_unit(low: float, median: float) -> list[str]:
    if low <= 0:
        return [f'depths are not positive, down to {low:g} m']
    least, most = MEDIAN_DEPTHS
    if not least <= median <= most:
        return [
            f'half of the depths are below {median:.4g} m; is the stored value of one metre right?'
        ]
    return []


def _contrasts(sample: MonoSample) -> dict[str, float]:
    steps, edges = _steps(sample.depth), _edges(sample.image)
    if steps.sum() < _FEW:
        return {}
    return {name: float(edges[turn(steps)].mean()) for name, turn in _TURNED.items()}


def _steps(depth: np.ndarray) -> np.ndarray:
    """Find pixels behind a step of the depth, bool (H, W)."""
    steps = np.zeros(depth.shape, bool)
    with np.errstate(invalid='ignore', divide='ignore'):
        for axis, behind in ((0, np.s_[1:, :]), (1, np.s_[:, 1:])):
            steps[behind] |= np.abs(np.diff(np.log(np.abs(depth)), axis=axis)) > _STEP
    return steps


def _edges(image: np.ndarray) -> np.ndarray:
    """Measure how strong edges are, float32 (H, W), in multiples of their mean."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.5)
    strength = np.hypot(*(cv2.Sobel(smooth, cv2.CV_32F, *order) for order in ((1, 0), (0, 1))))
    return strength / max(float(strength.mean()), 1e-6)
