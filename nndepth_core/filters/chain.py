"""All filters in their order, on the maps of one stream."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np

from nndepth_core.camera import FARTHEST, StereoCamera
from nndepth_core.estimator import DepthResult, StereoResult
from nndepth_core.filters.border import remove_border
from nndepth_core.filters.flying import flying_pixels
from nndepth_core.filters.holes import fill_holes
from nndepth_core.filters.settings import FilterSettings
from nndepth_core.filters.speckle import speckles
from nndepth_core.filters.surfaces import tolerance
from nndepth_core.filters.temporal import TemporalMean

NOISE = 1.0
"""Pixels of the processed image by which disparities on one surface may differ."""


class View(NamedTuple):
    """What is known of the image that a map belongs to.

    Attributes:
        image: uint8 RGB, of any size.
        camera: the camera at the size of the map; None if it is not known.
        stamp: the time of the image in nanoseconds; None if there is none, and no mean over time.
    """

    image: np.ndarray
    camera: Hashable = None
    stamp: int | None = None


class DepthFilters:
    """Filters the results of one stream, of which it remembers the mean over time.

    The order is: border, flying pixels, speckles, mean over time, holes. A cut by confidence comes
    before, in the estimator; the limits of depth after, where disparities become metres. A veil
    would connect speckles to surfaces, so it goes first; nothing that is removed enters the mean,
    and nothing that is filled in is remembered.
    """

    def __init__(self) -> None:
        self._mean = TemporalMean()

    def disparity(
        self, result: StereoResult, settings: FilterSettings, view: View
    ) -> StereoResult:
        """Filter the disparity of a pair.

        Args:
            result: the result of the estimator, which stays as it is.
            settings: they may change from one result to the next.
            view: the left image with the StereoCamera; without it, cx has no offset.

        Returns:
            The result with what the filters make of its disparity; the confidence, if there is
            one, is 0 where a hole was filled.
        """
        if not settings.any:
            self._mean.reset()
            return result
        camera, shift = view.camera, result.disparity
        offset = np.float32(camera.cx_offset if isinstance(camera, StereoCamera) else 0)
        values = np.subtract(shift, offset, order='C')
        values, filled = self._filtered(values, settings, NOISE * result.scale, view, shift)
        confidence = _doubted(result.confidence, filled)
        return replace(result, disparity=values + offset, confidence=confidence, filled=filled)

    def depth(self, result: DepthResult, settings: FilterSettings, view: View) -> DepthResult:
        """Filter the depth of an image; one without metres comes back as it is.

        Args:
            result: the result of the estimator, which stays as it is.
            settings: they may change from one result to the next.
            view: the image.

        Returns:
            See `disparity`.
        """
        if not settings.any or result.output != 'depth':
            self._mean.reset()
            return result
        with np.errstate(divide='ignore'):
            inverse = 1 / result.depth
            values, filled = self._filtered(inverse.copy(), settings, 1 / FARTHEST, view)
            depth = np.where(values == inverse, result.depth, 1 / values)
        return replace(result, depth=depth, confidence=_doubted(result.confidence, filled))

    @np.errstate(invalid='ignore', over='ignore')
    def _filtered(
        self,
        values: np.ndarray,
        settings: FilterSettings,
        noise: float,
        view: View,
        shift: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Run the filters on a map of the inverse depth, which is changed; it is in order C.

        Returns:
            The filtered map, and the indices of the pixels in the flat map that were filled.
        """
        if settings.border:
            remove_border(values, settings.border, shift)
        limit = tolerance(values, settings.step, noise)
        if settings.flying:
            values.reshape(-1)[flying_pixels(values, limit, settings.flying)] = np.nan
        if settings.speckle_size:
            values[speckles(values, settings.speckle_size, settings.step, noise)] = np.nan
        if settings.smoothing and view.stamp is not None:
            height, width = values.shape
            image = view.image
            if image.shape[:2] != (height, width):
                image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
            values = self._mean(values, limit, image, view.stamp, settings.smoothing, view.camera)
        else:
            self._mean.reset()
        filled = np.empty(0, np.intp)
        if settings.fill_holes:
            filled = fill_holes(values, settings.fill_holes)
        return values, filled


def _doubted(confidence: np.ndarray | None, filled: np.ndarray) -> np.ndarray | None:
    """The confidence with 0 where a pixel was filled."""
    if confidence is None or not filled.size:
        return confidence
    confidence = confidence.copy()
    confidence.reshape(-1)[filled] = 0
    return confidence
