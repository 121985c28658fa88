"""Rectifies images: takes the distortion of a lens away and turns the camera."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from nndepth_core.camera import CalibrationError
from nndepth_core.rectification.raw_camera import RawCamera

CAMERAS = 16
"""The number of cameras whose maps are kept."""


class Rectifier:
    """Rectifies the images of one camera, by maps that are computed once.

    The maps are in fixed point, 1/32 pixel, as image_proc uses them; OpenCV works on the rows in
    parallel.

    Args:
        camera: the camera.

    Attributes:
        camera: the camera.
        covered: bool (H, W), which pixels of the rectified image the raw image shows; the others
            are black. None if it shows all of them.
    """

    def __init__(self, camera: RawCamera) -> None:
        self.camera = camera
        raw, seen = camera.intrinsics, camera.rectified
        module: Any = cv2.fisheye if camera.model == 'equidistant' else cv2
        self._places, self._weights = module.initUndistortRectifyMap(
            np.array([[raw.fx, 0, raw.cx], [0, raw.fy, raw.cy], [0, 0, 1]]),
            np.array(camera.d),
            np.array(camera.r).reshape(3, 3),
            np.array([[seen.fx, 0, seen.cx], [0, seen.fy, seen.cy], [0, 0, 1]]),
            (seen.width, seen.height),
            cv2.CV_16SC2,
        )
        white = np.full((raw.height, raw.width), 255, np.uint8)
        covered = self(white) == 255
        self.covered: np.ndarray | None = None if covered.all() else covered

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of rectified images."""
        return self.camera.rectified.width, self.camera.rectified.height

    def check(self, width: int, height: int, side: str = '') -> None:
        """Refuse images of another size.

        Args:
            width: the width of the images, in pixels.
            height: their height.
            side: the name of the camera, for messages.

        Raises:
            CalibrationError: the camera is calibrated for another size.
        """
        raw = self.camera.intrinsics
        if (width, height) != (raw.width, raw.height):
            raise CalibrationError(
                f'the maps of the {f"{side} camera".lstrip()} are for raw images of '
                f'{raw.width}x{raw.height} and these are {width}x{height}; give the calibration '
                'of these images'
            )

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Rectify an image (H, W) or (H, W, C) of uint8, uint16 or float32.

        Raises:
            CalibrationError: the camera is calibrated for another size.
        """
        self.check(image.shape[1], image.shape[0])
        return cv2.remap(image, self._places, self._weights, cv2.INTER_LINEAR)


@lru_cache(CAMERAS)
def rectifier_of(camera: RawCamera) -> Rectifier:
    """Return the rectifier of a camera, whose maps are computed at the first call only."""
    return Rectifier(camera)


def rectified(
    rectifiers: Sequence[Rectifier], images: Sequence[np.ndarray]
) -> tuple[np.ndarray, ...]:
    """Rectify the images of all cameras, or return them as they are if there is no rectifier."""
    pairs = zip(rectifiers, images, strict=False)  # the left camera of a pair may serve alone
    return tuple(rectify(image) for rectify, image in pairs) if rectifiers else tuple(images)


def clear_uncovered(values: np.ndarray, rectifiers: Sequence[Rectifier]) -> None:
    """Write NaN where the raw image of the first camera shows nothing.

    Args:
        values: float32 (H, W), changed in place; it may have another size than the images.
        rectifiers: those of the images that the values were estimated from, or none.
    """
    covered = rectifiers[0].covered if rectifiers else None
    if covered is None:
        return
    if covered.shape != values.shape:
        size = values.shape[1], values.shape[0]
        covered = cv2.resize(covered.view(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    values[~covered] = np.nan
