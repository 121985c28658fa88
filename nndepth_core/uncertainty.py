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
from nndepth_core.estimator import StereoResult
from nndepth_core.spec import ModelSpec

CONFIDENCE_SCALE = 1.5
"""The error in pixels of the processed image at which a learned confidence is 1 / e."""

LARGEST_SIGMA = 100.0
"""The largest sigma of disparities that a user can give, in pixels."""


def is_calibrated(spec: ModelSpec) -> bool:
    """Whether the confidence of a model promises errors in pixels; only a learned one can."""
    return spec.output == 'disparity' and spec.confidence == 'head'


def confidence_sigma(confidence: np.ndarray) -> np.ndarray:
    """The sigma of disparities by a calibrated confidence, float32 0 to 1 of any shape.

    Returns:
        float32 of the same shape, in pixels of the processed image; infinite for 0.
    """
    with np.errstate(divide='ignore'):
        doubt = np.float32(1) / confidence
    return (doubt - 1) * np.float32(CONFIDENCE_SCALE)


def depth_sigma(
    depth: np.ndarray, result: StereoResult, camera: StereoCamera, of_disparities: float = 0.0
) -> np.ndarray:
    """The sigma of depths: Z^2 / (f B) times that of the disparities.

    Args:
        depth: float32 (H, W), in metres.
        result: what the depth is of; it needs a calibrated confidence unless sigma is given.
        camera: the camera at the size of the depth.
        of_disparities: the sigma of all disparities, in pixels of the processed image; 0 takes
            that of the confidence.

    Returns:
        float32 (H, W), in metres; NaN where the depth is not finite, elsewhere infinite where the
        confidence is 0 and where a filter filled a hole.

    Raises:
        ValueError: there is neither a confidence nor a sigma.
    """
    if not of_disparities and result.confidence is None:
        raise ValueError(
            'the result has no confidence; ask for it, or give a sigma of disparities'
        )
    with np.errstate(invalid='ignore', over='ignore'):
        sigma = depth * depth * np.float32(result.scale / camera.focal_baseline)
        if of_disparities:
            sigma *= np.float32(of_disparities)
        elif result.confidence is not None:
            sigma *= confidence_sigma(result.confidence)
        if result.filled is not None:
            np.put(sigma, result.filled, np.inf)
        sigma += 0 * depth  # NaN where the depth is not finite
    return sigma
