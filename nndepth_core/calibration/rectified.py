"""The calibration of images that are rectified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nndepth_core.camera import CalibrationError, PinholeCamera, StereoCamera
from nndepth_core.rectification.rectifier import Rectifier


def common_size(
    source: str, known: tuple[int, int] | None, size: tuple[int, int] | None
) -> tuple[int, int]:
    """Return the (width, height) that a source tells, or else that of the images.

    Args:
        source: where the calibration was read from, for messages.
        known: the size that the source tells, None if it does not.
        size: the size of the images, None if it is not known.

    Raises:
        CalibrationError: the sizes contradict each other, or none is known.
    """
    if known and size and known != size:
        raise CalibrationError(
            f'{source} is for images of {known[0]}x{known[1]} and these are '
            f'{size[0]}x{size[1]}; give the calibration of these images'
        )
    if (found := known or size) is None:
        raise CalibrationError(f'{source} does not tell the image size; give it')
    return found


@dataclass(frozen=True)
class Calibration:
    """A calibration as published: row-major 3x4 matrices, and the image size if it is given.

    Attributes:
        source: where the calibration was read from, for messages.
        p_left: the projection matrix of the left camera.
        p_right: the projection matrix of the right camera.
        size: (width, height) of the images it is for, None if the source does not say.
    """

    source: str
    p_left: Sequence[float]
    p_right: Sequence[float]
    size: tuple[int, int] | None = None

    def camera(self, size: tuple[int, int] | None = None) -> StereoCamera:
        """Make the stereo camera for images of (width, height).

        Raises:
            CalibrationError: the sizes contradict each other, or none is known.
        """
        return StereoCamera.from_projections(
            self.p_left, self.p_right, *common_size(self.source, self.size, size)
        )

    def left_camera(self, size: tuple[int, int] | None = None) -> PinholeCamera:
        """Make only the left camera; see `camera`."""
        return PinholeCamera.from_projection(
            self.p_left, *common_size(self.source, self.size, size)
        )

    def projections(self, size: tuple[int, int] | None = None) -> tuple[Sequence[float], ...]:
        """Both projection matrices, row-major 3x4; see `camera`."""
        common_size(self.source, self.size, size)
        return self.p_left, self.p_right

    def rectifiers(self, size: tuple[int, int] | None = None) -> tuple[Rectifier, ...]:
        """What rectifies the images: nothing, since they are rectified."""
        return ()

    @classmethod
    def of_one_focal_length(
        cls,
        source: str,
        intrinsics: tuple[float, float, float, float],
        baseline: float,
        doffs: float,
        size: tuple[int, int] | None = None,
    ) -> Calibration:
        """Make it from numbers; see the attributes.

        Args:
            source: where they were read from.
            intrinsics: fx, fy, cx, cy of the left camera, in pixels.
            baseline: in metres.
            doffs: cx_right - cx_left in pixels.
            size: (width, height) of the images.

        Raises:
            CalibrationError: a focal length is not positive.
        """
        fx, fy, cx, cy = intrinsics
        if not (fx > 0 and fy > 0):
            raise CalibrationError(
                f'{source}: the focal lengths are fx = {fx:g} and fy = {fy:g}; they must be '
                'positive, in pixels'
            )
        left = (fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0)
        right = (fx, 0.0, cx + doffs, -fx * baseline, *left[4:])
        return cls(source, left, right, size)
