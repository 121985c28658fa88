"""The calibration of images that are not rectified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from nndepth_core.calibration.rectified import common_size
from nndepth_core.camera import CalibrationError, PinholeCamera, StereoCamera
from nndepth_core.rectification.extrinsics import Lens, rectify_pair
from nndepth_core.rectification.raw_camera import RawCamera
from nndepth_core.rectification.rectifier import Rectifier, rectifier_of

Matrix = tuple[float, ...]
IDENTITY: Matrix = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class RawView:
    """One camera as a file describes it, by the conventions of sensor_msgs/CameraInfo.

    Attributes:
        k: 3x3, the intrinsics of raw images; this and the others are row-major.
        model: the distortion model.
        d: its coefficients.
        r: 3x3, the rotation to the rectified camera; None if the file has none.
        p: 3x4, the projection of rectified images; None if the file has none.
        size: (width, height) of the raw images, None if the file does not say.
        rectified_size: that of the rectified images, None if it is the same.
    """

    k: Matrix
    model: str
    d: Matrix
    r: Matrix | None = None
    p: Matrix | None = None
    size: tuple[int, int] | None = None
    rectified_size: tuple[int, int] | None = None

    @property
    def lens(self) -> Lens:
        """What makes its raw images."""
        return Lens(self.k, self.model, self.d)


@dataclass(frozen=True)
class RawCalibration:
    """A calibration as published; its methods take the size of raw images.

    Attributes:
        source: where it was read from, for messages.
        views: the left and the right camera, or a single one.
        pose: R (3x3) and T (metres) of x_right = R x_left + T, from which R and P of the views
            are computed; None where the views have them.
    """

    source: str
    views: tuple[RawView, ...]
    pose: tuple[Matrix, Matrix] | None = None

    def __post_init__(self) -> None:
        left, right = self.views[0], self.views[-1]
        if left.size != right.size:
            sizes = [f'{view.size[0]}x{view.size[1]}' if view.size else '?' for view in self.views]
            raise CalibrationError(
                f'{self.source}: left is for images of {sizes[0]} and right of {sizes[1]}; both '
                'cameras of a pair must have one size'
            )
        if len(self.views) > 1 and not self.pose and not all(v.r and v.p for v in self.views):
            raise CalibrationError(
                f'{self.source} tells neither R and P of both cameras nor how they stand to each '
                'other; calibrate them as a stereo pair'
            )

    def cameras(self, size: tuple[int, int] | None = None) -> tuple[RawCamera, ...]:
        """Make the cameras for images of (width, height).

        Raises:
            CalibrationError: the sizes contradict each other, none is known, or a camera is
                impossible.
        """
        return _cameras(self, common_size(self.source, self.views[0].size, size))

    def rectifiers(self, size: tuple[int, int] | None = None) -> tuple[Rectifier, ...]:
        """What rectifies the images of each camera; see `cameras`."""
        return tuple(rectifier_of(camera) for camera in self.cameras(size))

    def camera(self, size: tuple[int, int] | None = None) -> StereoCamera:
        """Make the stereo camera of the rectified images; see `cameras`."""
        left, right = self.cameras(size)
        return StereoCamera.from_cameras(left.rectified, right.rectified)

    def left_camera(self, size: tuple[int, int] | None = None) -> PinholeCamera:
        """Make only the left or single camera of the rectified images; see `cameras`."""
        return self.cameras(size)[0].rectified

    def projections(self, size: tuple[int, int] | None = None) -> tuple[Sequence[float], ...]:
        """The projection matrices of the rectified images, row-major 3x4; see `cameras`."""
        return tuple(camera.rectified.projection() for camera in self.cameras(size))


@lru_cache(8)
def _cameras(calibration: RawCalibration, size: tuple[int, int]) -> tuple[RawCamera, ...]:
    views = calibration.views
    try:
        if calibration.pose:
            rectified = rectify_pair(views[0].lens, views[1].lens, size, *calibration.pose)
        else:
            rectified = [(view.r or IDENTITY, view.p or _own(view.k)) for view in views]
        return tuple(
            RawCamera.from_matrices(view.k, view.model, view.d, r, p, size, view.rectified_size)
            for view, (r, p) in zip(views, rectified, strict=True)
        )
    except CalibrationError as error:
        raise CalibrationError(f'{calibration.source}: {error}') from error


def _own(k: Matrix) -> Matrix:
    """The projection of a single camera that keeps its intrinsics."""
    return *k[:3], 0.0, *k[3:6], 0.0, *k[6:9], 0.0
