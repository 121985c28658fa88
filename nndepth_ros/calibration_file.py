"""A calibration file that takes the place of camera_info messages."""

from __future__ import annotations

from typing import Any

import numpy as np

from nndepth_core.calibration import Calibration
from nndepth_ros import conversions
from nndepth_ros.bag import bag_message_types


class CalibrationFile:
    """Makes the camera_info of rectified images from a calibration.

    Args:
        calibration: of the pair or the single camera, for images of the size of the first ones.
    """

    def __init__(self, calibration: Calibration) -> None:
        self._calibration = calibration
        self._size: tuple[int, int] | None = None
        self._types = bag_message_types()

    def camera_infos(self, *images: Any) -> list[Any]:
        """Make the CameraInfo for the images of all cameras, with the headers of these.

        Raises:
            ValueError: the images cannot be decoded, or the calibration is for another size.
        """
        if self._size is None:
            height, width = conversions.to_rgb(images[0]).shape[:2]
            of_all = len(images) > 1
            check = self._calibration.camera if of_all else self._calibration.left_camera
            check((width, height))
            self._size = width, height
        matrices = self._calibration.p_left, self._calibration.p_right
        pairs = zip(images, matrices[: len(images)], strict=True)
        return [self._camera_info(image.header, np.array(p, np.float64)) for image, p in pairs]

    def _camera_info(self, header: Any, p: np.ndarray) -> Any:
        assert self._size is not None
        return self._types.camera_info(
            header=header,
            width=self._size[0],
            height=self._size[1],
            distortion_model='plumb_bob',
            d=np.zeros(5),
            k=p.reshape(3, 4)[:, :3].reshape(-1),
            r=np.eye(3).reshape(-1),
            p=p,
            binning_x=0,
            binning_y=0,
            roi=self._types.region_of_interest(
                x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
            ),
        )
