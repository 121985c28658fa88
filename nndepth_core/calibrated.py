"""From the images of calibrated cameras to maps: rectified, estimated, filtered, in metres.

The command line goes this way from files and cameras; messages go through `nndepth_ros.pipeline`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np

from nndepth_core.calibration import AnyCalibration
from nndepth_core.camera import PinholeCamera, StereoCamera, limited_depth
from nndepth_core.estimator import (
    DepthResult,
    Estimator,
    MonoEstimator,
    StereoEstimator,
    StereoResult,
)
from nndepth_core.filters import DepthFilters, FilterSettings, View
from nndepth_core.plausibility import (
    BaselineLimits,
    Finding,
    examine_baseline,
    examine_depth,
    examine_estimate,
    examine_image_levels,
)
from nndepth_core.plausibility.projections import examine_projections
from nndepth_core.rectification.alignment import examine_pair
from nndepth_core.rectification.rectifier import Rectifier, clear_uncovered, rectified
from nndepth_core.rectification.rows import RowAligner

NO_FILTERS = FilterSettings()
NO_LIMITS = 0.0, math.inf
"""The smallest and the largest depth in metres where none is too near or too far."""

EstimatorT = TypeVar('EstimatorT', bound=Estimator)


@dataclass(frozen=True)
class PairDepth:
    """What is known of a pair once it is through the estimator.

    Attributes:
        left: the rectified left image, uint8 RGB (H, W, 3).
        right: the rectified right image.
        estimate: the result of the estimator.
        result: what the filters left of it.
        camera: the cameras at the size of the images; None without a calibration.
        projections: the matrices P of both cameras; None without a calibration.
        depth: float32 (H, W) in metres by REP-117; None without a calibration.
    """

    left: np.ndarray
    right: np.ndarray
    estimate: StereoResult
    result: StereoResult
    camera: StereoCamera | None
    projections: Sequence[Sequence[float]] | None
    depth: np.ndarray | None

    def examine_images(self, baselines: BaselineLimits) -> list[Finding]:
        """Examine whether images and calibration can be true."""
        if self.camera is None or self.projections is None:  # nor is the disparity at infinity
            found = examine_pair(self.left, self.right)
            return [finding for finding in found if finding.code != 'images_swapped']
        camera = self.camera
        found = examine_pair(self.left, self.right, camera.cx_offset)
        found += examine_baseline(camera.baseline, camera.left.fx, baselines)
        p_left, p_right = self.projections
        return found + examine_projections(p_left, p_right, camera.left.width, camera.left.height)

    def examine_disparity(self, largest: float, limits: tuple[float, float]) -> list[Finding]:
        """Examine whether the disparity can be true.

        Args:
            largest: the largest disparity that the model gives, in pixels of the processing size.
            limits: the smallest and the largest depth in metres.
        """
        return examine_estimate(
            self.left,
            self.right,
            self.estimate.disparity,
            self.camera,
            largest * self.result.scale,
            limits,
        )


class _Calibrated(Generic[EstimatorT]):
    """Estimates images of the same cameras, one after the other.

    Args:
        estimator: what runs the model.
        source: the calibration; None without one.
        filters: what cleans disparity or depth.
        limits: the smallest and the largest depth in metres.
    """

    def __init__(
        self,
        estimator: EstimatorT,
        source: AnyCalibration | None,
        filters: FilterSettings = NO_FILTERS,
        limits: tuple[float, float] = NO_LIMITS,
    ) -> None:
        self._estimator, self._source = estimator, source
        self._settings, self._limits = filters, limits
        self._filters = DepthFilters()

    def _rectifiers(self, size: tuple[int, int]) -> tuple[Rectifier, ...]:
        return self._source.rectifiers(size) if self._source else ()


class CalibratedPairs(_Calibrated[StereoEstimator]):
    """Estimates the pairs of one rig; pairs without a stamp may be of others."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._rows = RowAligner()

    def __call__(
        self,
        left: np.ndarray,
        right: np.ndarray,
        confidence: bool = False,
        stamp: int | None = None,
    ) -> PairDepth:
        """Estimate the disparity of a pair, and its depth if there is a calibration.

        Args:
            left: uint8 RGB (H, W, 3); raw if the calibration is that of raw cameras.
            right: the same of the right camera.
            confidence: whether the results have a confidence.
            stamp: the time of the pair in nanoseconds; None without one.

        Raises:
            ValueError: the images do not fit each other, the calibration or the model.
        """
        size, source = (left.shape[1], left.shape[0]), self._source
        camera = source.camera(size) if source else None
        rectifiers = self._rectifiers(size)
        left, right = rectified(rectifiers, (left, right))
        estimate = self._estimator(left, right, confidence, None if stamp is None else self._rows)
        clear_uncovered(estimate.disparity, rectifiers)
        result = self._filters.disparity(estimate, self._settings, View(left, camera, stamp))
        depth = camera.disparity_to_depth(result.disparity, *self._limits) if camera else None
        projections = source.projections(size) if source else None
        return PairDepth(left, right, estimate, result, camera, projections, depth)


@dataclass(frozen=True)
class ImageDepth:
    """What is known of a single image once it is through the estimator.

    Attributes:
        image: the rectified image, uint8 RGB (H, W, 3).
        estimate: the result of the estimator.
        result: what the filters and, in metres, the limits left of it.
        camera: the camera at the size of the image; None without a calibration.
    """

    image: np.ndarray
    estimate: DepthResult
    result: DepthResult
    camera: PinholeCamera | None

    def examine(self, limits: tuple[float, float]) -> list[Finding]:
        """Examine whether image and depth can be true, between limits in metres."""
        known = limits if self.estimate.output == 'depth' else None
        return examine_image_levels(self.image) + examine_depth(self.estimate.depth, known)


class CalibratedImages(_Calibrated[MonoEstimator]):
    """Estimates the images of one camera."""

    def __call__(
        self, image: np.ndarray, confidence: bool = False, stamp: int | None = None
    ) -> ImageDepth:
        """Estimate the depth of an image, uint8 RGB (H, W, 3); see `CalibratedPairs`."""
        size, source = (image.shape[1], image.shape[0]), self._source
        camera = source.left_camera(size) if source else None
        rectifiers = self._rectifiers(size)
        (image,) = rectified(rectifiers, (image,))
        estimate = self._estimator(image, camera, confidence=confidence)
        clear_uncovered(estimate.depth, rectifiers)
        result = self._filters.depth(estimate, self._settings, View(image, camera, stamp))
        if result.output == 'depth':
            depth = limited_depth(result.depth.copy(), *self._limits)
            result = replace(result, depth=depth)
        return ImageDepth(image, estimate, result, camera)
