"""Reads depths that other sensors and nodes measure: depth images, disparities and clouds.

Messages are used only by the names of their fields, so that those of rclpy and of the `rosbags`
library do alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from nndepth_core.spec import Output
from nndepth_ros.encodings import ConversionError, pixel_rows
from nndepth_ros.outputs import DEPTH, DISPARITY

_METRES = {'32FC1': ('f4', 1.0), '16UC1': ('u2', 1e-3), 'mono16': ('u2', 1e-3)}
"""Encoding -> the type of its values, and metres in one (REP-118)."""
_FLOATS = {7: 'f4', 8: 'f8'}
"""The datatypes of a PointField that a coordinate may have."""


def depth_of_image(message: Any) -> np.ndarray:
    """Return the depth of a sensor_msgs/Image in metres, float32 (H, W).

    Unknown depths are NaN, infinite, or not positive.

    Raises:
        ConversionError: the encoding is not that of depth, or data are missing.
    """
    if message.encoding not in _METRES:
        raise ConversionError(
            f'encoding {message.encoding[:40]!r} is none of depth; publish {", ".join(_METRES)}'
        )
    kind, unit = _METRES[message.encoding]
    with np.errstate(invalid='ignore'):  # some of the numbers that are none
        return _values(message, kind) * np.float32(unit)


def known_disparity(message: Any) -> np.ndarray:
    """Return the values of a stereo_msgs/DisparityImage, float32 (H, W), NaN where unknown.

    That is where they are below min_disparity.

    Raises:
        ConversionError: the encoding is not 32FC1, or data are missing.
    """
    if message.image.encoding != '32FC1':
        raise ConversionError(
            f'encoding {message.image.encoding[:40]!r} is none of disparity; publish 32FC1'
        )
    disparity = _values(message.image, 'f4')
    disparity[~(disparity >= np.float32(message.min_disparity))] = np.nan
    return disparity


def known_depth(message: Any) -> np.ndarray:
    """Return the depth of a sensor_msgs/Image in metres, float32 (H, W), NaN where unknown.

    Raises:
        ConversionError: see `depth_of_image`.
    """
    depth = depth_of_image(message)
    depth[~(depth > 0)] = np.nan
    return depth


def depth_of_disparity(message: Any) -> np.ndarray:
    """Return the depth of a stereo_msgs/DisparityImage in metres, float32 (H, W), Z = f T / d.

    It is NaN where the disparity is unknown, that is below min_disparity, or at infinity.

    Raises:
        ConversionError: f or T are missing, the encoding is not 32FC1, or data are missing.
    """
    product = float(message.f) * float(message.t)
    if not 0 < product < math.inf:
        raise ConversionError(f'f is {message.f} and T {message.t}; both must be positive')
    disparity = known_disparity(message)
    with np.errstate(all='ignore'):
        return np.where(disparity > 0, np.float32(product) / disparity, np.float32(np.nan))


def points_of_cloud(message: Any) -> np.ndarray:
    """Return x, y and z of a sensor_msgs/PointCloud2, float64 (N, 3), in metres.

    Raises:
        ConversionError: a coordinate is missing or no float, or data are missing.
    """
    order = '>' if message.is_bigendian else '<'
    layout = {field.name: field for field in message.fields}
    kinds = []
    for name in ('x', 'y', 'z'):
        field = layout.get(name)
        if field is None or field.datatype not in _FLOATS:
            raise ConversionError(f'the cloud has no field {name} of float32 or float64')
        kinds.append(np.dtype(order + _FLOATS[field.datatype]))
        if field.offset + kinds[-1].itemsize > message.point_step:
            raise ConversionError(
                f'field {name} ends beyond point_step, which is {message.point_step}'
            )
    height, width = int(message.height), int(message.width)
    if not height * width:
        return np.empty((0, 3))
    step, row = int(message.row_step), width * int(message.point_step)
    data = np.frombuffer(message.data, np.uint8)
    if step < row or data.size < step * (height - 1) + row:
        raise ConversionError(
            f'data has {data.size} bytes, which is too few for {height} rows of {width} points '
            f'with point_step {message.point_step} and row_step {step}'
        )
    return np.stack(
        [
            np.ndarray(
                (height, width), kind, data, layout[name].offset, (step, message.point_step)
            ).ravel()
            for name, kind in zip(('x', 'y', 'z'), kinds, strict=True)
        ],
        axis=1,
    ).astype(np.float64)


COMPARED: Mapping[str, tuple[Output, str, Callable[[Any], np.ndarray]]] = {
    'stereo': ('disparity', DISPARITY, known_disparity),
    'mono': ('depth', DEPTH, known_depth),
}
"""By task, what results hold by which models are compared, its topic, and what reads it."""


def _values(message: Any, kind: str) -> np.ndarray:
    """Return the values of an Image with one channel, float32 (H, W)."""
    if message.height < 1 or message.width < 1:
        raise ConversionError(
            f'it is {message.width}x{message.height}; both sides must be at least 1'
        )
    order = '>' if message.is_bigendian else '<'
    dtype = np.dtype(order + kind)
    rows = np.ascontiguousarray(pixel_rows(message, dtype.itemsize))
    return rows.view(dtype).astype(np.float32)
