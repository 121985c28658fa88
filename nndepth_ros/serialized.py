"""Messages in the form in which they are sent, whose data are computed in their final place.

The way of an array over a message to its serialised form would copy it twice, which takes as long
as the arithmetic on it.
"""

from __future__ import annotations

import ctypes
import struct
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from rclpy.serialization import serialize_message

from nndepth_ros.conversions import MessageTypes, data_holder, ros_message_types

_SIZE = struct.Struct('=I')  # before the data, in the byte order of the machine
_MARK = bytes(range(1, 9))  # as long as the largest alignment
_new_bytes = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_char_p, ctypes.c_ssize_t)(
    ('PyBytes_FromStringAndSize', ctypes.pythonapi)
)
_address = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object)(
    ('PyBytes_AsString', ctypes.pythonapi)
)


def serialized_message_types() -> MessageTypes:
    """The message classes of the sourced ROS installation, of which those with data are bytes."""
    return replace(ros_message_types(), with_room=with_room)


def with_room(message: Any, size: int) -> tuple[bytes, np.ndarray]:
    """Serialise a message of rclpy whose data are written afterwards.

    Args:
        message: an Image, CompressedImage, PointCloud2 or DisparityImage without data.
        size: of the data in bytes; for classes with fields after the data, a multiple of four.

    Returns:
        The serialised message, which publishers take as they take messages, and its data, uint8
        (size,). These are not initialised, and must be written before anything else reads the
        message.
    """
    empty = serialize_message(message)
    kind: Any = type(message)
    end = len(empty) - _bytes_after_data(kind)
    before, after = empty[: end - _SIZE.size] + _SIZE.pack(size), empty[end:]
    # Python's C API allows writing to bytes that it made without contents and nothing has read.
    whole = _new_bytes(None, len(before) + size + len(after))
    view = np.asarray(_Memory(whole))
    view[:end] = np.frombuffer(before, np.uint8)
    view[end + size :] = np.frombuffer(after, np.uint8)
    return whole, view[end : end + size]


class _Memory:
    """The memory of bytes, which live as long as arrays of it; numpy reads the attribute."""

    def __init__(self, owner: bytes) -> None:
        self._owner = owner
        self.__array_interface__ = {
            'version': 3,
            'shape': (len(owner),),
            'typestr': '|u1',
            'data': (_address(owner), False),
        }


@cache
def _bytes_after_data(kind: type) -> int:
    """The number of bytes that follow the data in serialised messages of a class."""
    message = kind()
    data_holder(message).data.frombytes(_MARK)
    serialized = serialize_message(message)
    return len(serialized) - serialized.index(_MARK) - len(_MARK)
