"""What describes the cameras of a stream, and what rectifies their images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nndepth_core.calibration import AnyCalibration
from nndepth_core.camera import CalibrationError
from nndepth_core.rectification.raw_camera import RawCamera
from nndepth_core.rectification.rectifier import Rectifier, rectifier_of
from nndepth_ros import conversions
from nndepth_ros.conversions import MessageTypes
from nndepth_ros.doctor import calibration_key

Infos = tuple[Any, ...]
"""The CameraInfo of each camera; None if none has come."""


class Cameras:
    """Takes the cameras from their camera_info, or from a calibration that was read from a file.

    Args:
        types: the message classes.
        sides: the names of the cameras; a single camera has the name ''.
        calibration: takes the place of camera_info; it is for images of the size of the first ones
            if it does not tell their size. None takes camera_info.
        rectify: whether images are raw and are to be rectified.

    Attributes:
        size: (width, height) of the images that the calibration is for; None before the first.
    """

    def __init__(
        self,
        types: MessageTypes,
        sides: tuple[str, ...],
        calibration: AnyCalibration | None = None,
        rectify: bool = False,
    ) -> None:
        self._types = types
        self._sides = sides
        self._calibration = calibration
        self._rectify = rectify
        self.size: tuple[int, int] | None = None
        self._read: dict[str, tuple[Any, tuple[RawCamera, Sequence[float]]]] = {}

    def infos(self, images: Sequence[Any]) -> Infos:
        """Make the CameraInfo of rectified images from the calibration.

        Args:
            images: the Image or CompressedImage of each camera, whose headers are taken over.

        Raises:
            ValueError: an image cannot be decoded, or the calibration is for another size.
        """
        assert self._calibration is not None
        if self.size is None:
            height, width = conversions.to_rgb(images[0]).shape[:2]
            if len(images) > 1:
                self._calibration.camera((width, height))
            self._calibration.left_camera((width, height))
            self.size = width, height
        camera = self._calibration.left_camera(self.size)
        size = camera.width, camera.height
        projections = self._calibration.projections(self.size)
        return tuple(
            conversions.rectified_camera_info(self._types, image.header, p, size)
            for image, p in zip(images, projections, strict=False)
        )

    def rectified_infos(self, infos: Infos) -> Infos:
        """Make the CameraInfo of rectified images from those of the images as they come.

        Raises:
            CalibrationError: one of them does not tell how to rectify; the message names the side.
        """
        if not self._rectify or self._calibration is not None:
            return infos
        return tuple(
            self._rectified_info(side, info) for side, info in zip(self._sides, infos, strict=True)
        )

    def rectifiers(self, infos: Infos) -> tuple[Rectifier, ...]:
        """What rectifies the images of each camera; nothing if they are rectified.

        Raises:
            CalibrationError: the cameras are not known, or cannot be rectified.
        """
        if not self._rectify:
            return ()
        if self._calibration is not None:
            return self._calibration.rectifiers(self.size)[: len(self._sides)]
        pairs = zip(self._sides, infos, strict=True)
        return tuple(rectifier_of(self._described(side, info)[0]) for side, info in pairs)

    def _rectified_info(self, side: str, info: Any) -> Any:
        _, p = self._described(side, info)
        size = int(info.width), int(info.height)
        return conversions.rectified_camera_info(self._types, info.header, p, size, info)

    def _described(self, side: str, info: Any) -> tuple[RawCamera, Sequence[float]]:
        """The camera of raw images as delivered, and P of the full resolution."""
        if info is None:
            raise CalibrationError('no camera_info has come, and rectify needs it')
        key = calibration_key(info)
        known = self._read.get(side)
        if known is None or known[0] != key:  # few streams ever change it
            try:
                known = key, conversions.raw_camera(info, single=len(self._sides) == 1)
            except CalibrationError as error:
                raise CalibrationError(f'{side} camera_info: {error}'.lstrip()) from error
            self._read[side] = known
        return known[1]
