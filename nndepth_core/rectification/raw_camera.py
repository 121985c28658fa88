"""A camera whose images are not rectified: its lens, and the view that they are rectified to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nndepth_core.camera import CalibrationError, PinholeCamera
from nndepth_core.files.picture import MAX_PIXELS

COEFFICIENTS = {'plumb_bob': (4, 5), 'rational_polynomial': (8, 12, 14), 'equidistant': (4,)}
"""The distortion models of sensor_msgs/CameraInfo, each with the numbers of entries D can have."""
LARGEST_SIDE = 32766
"""The most pixels of a side, which the fixed-point maps of OpenCV can address."""
_NO_ROTATION = 1e-3
"""How far the entries of R R^T may be from those of the identity."""

Matrix = Sequence[float]


@dataclass(frozen=True)
class RawCamera:
    """A camera by the conventions of sensor_msgs/CameraInfo, at the size of its images.

    Attributes:
        intrinsics: of the raw images, which is K, in pixels.
        model: the distortion model, one of COEFFICIENTS.
        d: the distortion coefficients in the order of OpenCV.
        r: the rotation from the raw camera to the rectified one, row-major 3x3.
        rectified: the camera of the rectified images, which is P and their size.
    """

    intrinsics: PinholeCamera
    model: str
    d: tuple[float, ...]
    r: tuple[float, ...]
    rectified: PinholeCamera

    def __post_init__(self) -> None:
        check_lens(self.model, self.d)
        check_rotation(self.r)
        for camera in (self.intrinsics, self.rectified):
            width, height = camera.width, camera.height
            if max(width, height) > LARGEST_SIDE or width * height > MAX_PIXELS:
                raise CalibrationError(
                    f'images of {width}x{height} cannot be rectified; a side has at most '
                    f'{LARGEST_SIDE} pixels and an image {MAX_PIXELS}'
                )

    @classmethod
    def from_matrices(
        cls,
        k: Matrix,
        model: str,
        d: Matrix,
        r: Matrix,
        p: Matrix,
        size: tuple[int, int],
        rectified_size: tuple[int, int] | None = None,
    ) -> RawCamera:
        """Read the matrices of a calibration, all of them row-major.

        Args:
            k: 3x3, the intrinsics of the raw images.
            model: the distortion model.
            d: the distortion coefficients.
            r: 3x3, the rotation to the rectified camera.
            p: 3x4, the projection of the rectified images.
            size: (width, height) of the raw images.
            rectified_size: that of the rectified ones; None if it is the same.

        Raises:
            CalibrationError: something is missing or impossible; the message names it.
        """
        check_lens(model, d)  # whatever else is missing, this is told first
        rectified = PinholeCamera.from_projection(p, *(rectified_size or size))
        return cls(
            intrinsics_of(k, size),
            model,
            tuple(float(value) for value in d),
            tuple(float(value) for value in r),
            rectified,
        )

    def cropped(self, x: int, y: int, width: int, height: int) -> RawCamera:
        """The camera of the same window cut from raw and rectified images."""
        window = x, y, width, height
        return replace(
            self,
            intrinsics=self.intrinsics.cropped(*window),
            rectified=self.rectified.cropped(*window),
        )

    def binned(self, binning_x: int, binning_y: int) -> RawCamera:
        """The camera after the sensor joins pixels; see `PinholeCamera.binned`."""
        return replace(
            self,
            intrinsics=self.intrinsics.binned(binning_x, binning_y),
            rectified=self.rectified.binned(binning_x, binning_y),
        )


def check_rotation(r: Matrix) -> None:
    """Check that R, 3x3 row-major, is a rotation.

    Raises:
        CalibrationError: it is none.
    """
    rotation = np.array(r, np.float64)
    if rotation.size != 9 or not np.isfinite(rotation).all():
        raise CalibrationError(f'R is {list(r)}; it is nine finite numbers')
    if not rotation.any():
        raise CalibrationError(
            'R is all zeros, and rectification needs it; calibrate the camera, or give the '
            'identity if it is not to be turned'
        )
    rotation = rotation.reshape(3, 3)
    with np.errstate(all='ignore'):
        off = np.abs(rotation @ rotation.T - np.eye(3)).max()
    if not off <= _NO_ROTATION or np.linalg.det(rotation) < 0:  # also if it is NaN
        raise CalibrationError(
            f'R = {[round(float(value), 6) for value in r]} is no rotation; calibrate the camera '
            'again'
        )


def check_lens(model: str, d: Matrix) -> None:
    """Check that a distortion model is known and has its coefficients.

    Raises:
        CalibrationError: it is unknown, or D does not fit it.
    """
    if not len(d):
        raise CalibrationError(
            'the distortion D is missing, and rectification needs it; give a calibration that has '
            'it, zeros if the lens has none, or leave rectify out if the images are rectified'
        )
    if model not in COEFFICIENTS:
        raise CalibrationError(
            f'the distortion model is {model!r}; known are {", ".join(COEFFICIENTS)}: calibrate '
            'with one of these, or rectify the images before'
        )
    counts = COEFFICIENTS[model]
    if len(d) not in counts:
        fits = [name for name, allowed in COEFFICIENTS.items() if len(d) in allowed]
        meant = f'; is {" or ".join(fits)} meant?' if fits else ''
        raise CalibrationError(
            f'D has {len(d)} entries, and {model} has {" or ".join(map(str, counts))}{meant}'
        )
    if not np.isfinite(np.array(d, np.float64)).all():
        raise CalibrationError(f'D is {list(d)}; every entry must be a finite number')


def intrinsics_of(k: Matrix, size: tuple[int, int]) -> PinholeCamera:
    """Read the row-major 3x3 matrix K of raw images of (width, height).

    Raises:
        CalibrationError: it is no matrix of a camera.
    """
    if len(k) != 9:
        raise CalibrationError(f'K has {len(k)} entries; a 3x3 matrix has 9')
    fx, cx, fy, cy = (float(k[index]) for index in (0, 2, 4, 5))
    if not (0 < fx < np.inf and 0 < fy < np.inf and np.isfinite((cx, cy)).all()):
        raise CalibrationError(
            f'K has fx={fx}, fy={fy}, cx={cx}, cy={cy}; rectification needs positive focal '
            'lengths and a finite centre (is the camera calibrated?)'
        )
    return PinholeCamera(*size, fx, fy, cx, cy)
