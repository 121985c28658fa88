"""Messages of rclpy's classes and of those of the rosbags library, made alike."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import bags
import numpy as np
import pytest

from nndepth_ros.conversions import MessageTypes, ros_message_types


@dataclass(frozen=True)
class Library:
    """Where messages come from."""

    types: MessageTypes
    header: Callable[[int], Any]
    compressed_image: Callable[..., Any]

    def image(self, encoding: str, size: tuple[int, int], step: int, data: bytes, big=0) -> Any:
        message = self.types.image(
            header=self.header(0),
            height=size[0],
            width=size[1],
            encoding=encoding,
            is_bigendian=big,
            step=step,
            data=array('B'),
        )
        return self._filled(message, data)

    def compressed(self, kind: str, data: bytes) -> Any:
        message = self.compressed_image(header=self.header(0), format=kind, data=array('B'))
        return self._filled(message, data)

    def _filled(self, message: Any, data: bytes) -> Any:
        message, room = self.types.with_room(message, len(data))
        room[...] = np.frombuffer(data, np.uint8)
        return message

    def info(
        self, p: np.ndarray, size=(480, 640), k=None, roi=(0, 0, 0, 0), binning=(0, 0)
    ) -> Any:
        return self.types.camera_info(
            header=self.header(0),
            height=size[0],
            width=size[1],
            distortion_model='plumb_bob',
            d=np.zeros(5),
            k=np.array(p)[[0, 1, 2, 4, 5, 6, 8, 9, 10]] if k is None else np.array(k, np.float64),
            r=np.eye(3).reshape(-1),
            p=np.array(p, np.float64),
            binning_x=binning[0],
            binning_y=binning[1],
            roi=self.types.region_of_interest(
                x_offset=roi[0], y_offset=roi[1], width=roi[2], height=roi[3], do_rectify=False
            ),
        )


def of_rclpy() -> Library:
    sensor_msgs = pytest.importorskip('sensor_msgs.msg', reason='ROS 2 is not installed')
    from std_msgs.msg import Header

    def header(stamp: int) -> Any:
        message = Header(frame_id=bags.FRAME)
        message.stamp.sec, message.stamp.nanosec = divmod(stamp, 1_000_000_000)
        return message

    return Library(ros_message_types(), header, sensor_msgs.CompressedImage)


def of_rosbags() -> Library:
    compressed = bags.TYPES.types['sensor_msgs/msg/CompressedImage']
    return Library(bags.BAG_TYPES, bags.header, compressed)
