"""How far estimates may be from the truth: the sigma of disparities and depths.

A learned confidence c promises that the mean of exp(-e / s) over pixels of that confidence is c,
where e is the error in pixels and s is CONFIDENCE_SCALE. If errors have an exponential
distribution, that mean is 1 / (1 + b / s), where b is the mean error: b = s (1 - c) / c. This is
taken as sigma: on rendered pairs, about as many errors are within one and two of it as with a
normal distribution (docs/filters.md). The root mean square of the errors is larger, because few
are very large.
"""

from __future__ import annotations

import numpy as np

from nndepth_core.camera import StereoCamera
from nndepth_core.spec import ModelSpec

CONFIDENCE_SCALE = 1.5
"""The error in pixels of the processed image at which a learned confidence is 1 / e."""

LARGEST_SIGMA = 100.0
"""The largest sigma of disparities that a user can give, in pixels."""


def is_calibrated(spec: ModelSpec) -> bool:
    """Whether the confidence of a model promises errors in pixels; only a learned one can."""
    return spec.output == 'disparity' and spec.confidence == 'head'


def disparity_sigma(confidence: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """The sigma of disparities by a calibrated confidence.

    Args:
        confidence: float32, 0 to 1.
        scale: pixels of the disparity in a pixel of the processed image.

    Returns:
        float32 of the same shape, in pixels; infinite where the confidence is 0.
    """
    with np.errstate(divide='ignore'):
        doubt = np.float32(1) / confidence
    return (doubt - 1) * np.float32(CONFIDENCE_SCALE * scale)


def depth_sigma(depth: np.ndarray, sigma: np.ndarray | float, camera: StereoCamera) -> np.ndarray:
    """The sigma of depths: Z^2 / (f B) times that of the disparities.

    Args:
        depth: float32 (H, W), in metres.
        sigma: of the disparities, in pixels, (H, W) or for all alike.
        camera: the camera at the size of the depth.

    Returns:
        float32 (H, W), in metres; NaN where the depth is not finite, infinite where sigma is.
    """
    with np.errstate(invalid='ignore', over='ignore'):
        squared = depth * depth
        squared += 0 * depth  # infinities become NaN
        return squared * (sigma / np.float32(camera.focal_baseline))
