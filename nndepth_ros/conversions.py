"""Conversions from messages to numpy and back, without cv_bridge.

This module imports no ROS when it is loaded and uses messages only by the names of their fields,
so that the same functions work with messages of rclpy and of the `rosbags` library.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from nndepth_core.camera import CalibrationError, PinholeCamera, StereoCamera
from nndepth_core.files.picture import MAX_PIXELS, PictureError, check_size
from nndepth_core.plausibility import UsedBits
from nndepth_core.rectification.raw_camera import RawCamera
from nndepth_core.visualization import colorize
from nndepth_ros.compressed import coded_size, decode_compressed
from nndepth_ros.encodings import ConversionError, decode_image

CameraT = TypeVar('CameraT', PinholeCamera, RawCamera)


@dataclass(frozen=True)
class MessageTypes:
    """The constructors of the messages in use, and how a message gets its data.

    `with_room(message, size)` takes a message without data, or a DisparityImage whose image has
    none. It returns what is to be published or written, and room for `size` bytes of data in it,
    uint8 (size,), which must be written before.
    """

    image: Callable[..., Any]
    compressed_image: Callable[..., Any]
    camera_info: Callable[..., Any]
    region_of_interest: Callable[..., Any]
    disparity_image: Callable[..., Any]
    point_cloud: Callable[..., Any]
    point_field: Callable[..., Any]
    with_room: Callable[[Any, int], tuple[Any, np.ndarray]]


def ros_message_types() -> MessageTypes:
    """The message classes of the sourced ROS installation."""
    from sensor_msgs.msg import (
        CameraInfo,
        CompressedImage,
        Image,
        PointCloud2,
        PointField,
        RegionOfInterest,
    )
    from stereo_msgs.msg import DisparityImage

    return MessageTypes(
        Image,
        CompressedImage,
        CameraInfo,
        RegionOfInterest,
        DisparityImage,
        PointCloud2,
        PointField,
        _with_room,
    )


def stamp_ns(stamp: Any) -> int:
    """Return the nanoseconds of a builtin_interfaces/Time."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


# --- images in -----------------------------------------------------------------------------------


def image_size(message: Any) -> tuple[int, int]:
    """Read (width, height) of a sensor_msgs Image or CompressedImage without decoding it.

    Raises:
        ConversionError: the first bytes are not those of a picture.
    """
    if hasattr(message, 'format'):
        return coded_size(message)
    return int(message.width), int(message.height)


def to_rgb(
    message: Any, max_pixels: int = MAX_PIXELS, used_bits: UsedBits | None = None
) -> np.ndarray:
    """Return uint8 RGB (H, W, 3) of a sensor_msgs Image or CompressedImage.

    An rgb8 image without row padding becomes a view of the message.

    Args:
        message: an Image or CompressedImage.
        max_pixels: larger images are refused before they are decoded.
        used_bits: the bits that the stream uses; it is updated with 16-bit values, which it
            scales to 8 bits. None means that all 16 bits are used.

    Raises:
        ConversionError: the encoding or format is unknown, data are missing, or it is too large.
    """
    if hasattr(message, 'format'):
        return decode_compressed(message, max_pixels, used_bits)
    try:
        check_size(int(message.width), int(message.height), max_pixels)
    except PictureError as error:
        raise ConversionError(f'it {error}') from error
    return decode_image(message, used_bits)


# --- calibration in ------------------------------------------------------------------------------


def effective_camera(info: Any, width: int, height: int) -> PinholeCamera:
    """Intrinsics of the image as delivered: P of a CameraInfo with its ROI and binning applied.

    Args:
        info: the sensor_msgs/CameraInfo of a rectified image.
        width: the width of the image that came with it, in pixels.
        height: the height of this image, in pixels.

    Raises:
        CalibrationError: P is missing or cannot be used, or is not for images of this size.
    """
    if not any(info.p) and any(info.k):
        raise CalibrationError(
            'P is all zeros while K is given; rectified images need P (calibrate the camera, '
            'or let the rectifying node publish its camera_info)'
        )
    if not any(info.p):
        raise CalibrationError('P is all zeros; the camera is not calibrated')
    full = PinholeCamera.from_projection(info.p, int(info.width), int(info.height))
    camera = _delivered(full, info)
    if (camera.width, camera.height) != (width, height):
        raise CalibrationError(
            f'camera_info describes images of {camera.width}x{camera.height} but they are '
            f'{width}x{height}; scale the camera_info with the images (image_proc ResizeNode does)'
        )
    return camera


def _delivered(full: CameraT, info: Any) -> CameraT:
    """The camera of the image after ROI and binning, from that of the full resolution."""
    roi = info.roi
    if roi.width and roi.height:
        full = full.cropped(int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height))
    return full.binned(max(1, int(info.binning_x)), max(1, int(info.binning_y)))


def raw_camera(info: Any, single: bool = False) -> tuple[RawCamera, Sequence[float]]:
    """Read the camera of raw images from their CameraInfo.

    Args:
        info: the sensor_msgs/CameraInfo of a raw image.
        single: whether the camera stands alone: where R or P is all zeros, it is not turned and
            keeps its K.

    Returns:
        The camera with ROI and binning applied, and P, which is for the full resolution.

    Raises:
        CalibrationError: it does not tell how images are to be rectified.
    """
    k, r, p = (list(map(float, matrix)) for matrix in (info.k, info.r, info.p))
    if single and not any(r):
        r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    if single and not any(p):
        p = [*k[:3], 0.0, *k[3:6], 0.0, *k[6:9], 0.0]
    if not any(p) and any(k):
        raise CalibrationError(
            'P is all zeros while K is given; a pair is rectified by R and P (calibrate both '
            'cameras as a stereo pair, or give the file of such a calibration)'
        )
    size = int(info.width), int(info.height)
    full = RawCamera.from_matrices(k, str(info.distortion_model), list(info.d), r, p, size)
    return _delivered(full, info), p


def stereo_camera(left_info: Any, right_info: Any, width: int, height: int) -> StereoCamera:
    """Make the stereo camera of two CameraInfo whose images are width x height.

    Raises:
        CalibrationError: see effective_camera and StereoCamera.from_cameras; also if the baseline
            is missing or negative.
    """
    cameras = []
    for side, info in (('left', left_info), ('right', right_info)):
        try:
            cameras.append(effective_camera(info, width, height))
        except CalibrationError as error:
            raise CalibrationError(f'{side} camera_info: {error}') from error
    return StereoCamera.from_cameras(*cameras)


# --- messages out --------------------------------------------------------------------------------


def image_message(types: MessageTypes, header: Any, pixels: np.ndarray, encoding: str) -> Any:
    """Make a sensor_msgs/Image of an array (H, W) or (H, W, C) whose type fits the encoding."""
    message, room = image_with_room(types, header, pixels.shape, pixels.dtype, encoding)
    room[...] = pixels
    return message


def color_message(
    types: MessageTypes, header: Any, values: np.ndarray, low: float, high: float
) -> Any:
    """Make a sensor_msgs/Image in bgr8 of the colours of values (H, W); see `colorize`."""
    message, picture = image_with_room(types, header, (*values.shape, 3), np.uint8, 'bgr8')
    colorize(values, low, high, 'bgr', out=picture)
    return message


def image_with_room(
    types: MessageTypes, header: Any, shape: tuple[int, ...], dtype: npt.DTypeLike, encoding: str
) -> tuple[Any, np.ndarray]:
    """Make a sensor_msgs/Image, and the array for its pixels, which must be written before."""
    image = _empty_image(types, header, shape, dtype, encoding)
    message, data = types.with_room(image, image.height * image.step)
    return message, data.view(dtype).reshape(shape)


def _empty_image(
    types: MessageTypes, header: Any, shape: tuple[int, ...], dtype: npt.DTypeLike, encoding: str
) -> Any:
    height, width, *channels = shape
    return types.image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=width * math.prod(channels) * np.dtype(dtype).itemsize,
        data=array('B'),
    )


def disparity_message(
    types: MessageTypes,
    header: Any,
    disparity: np.ndarray,
    camera: StereoCamera,
    disparity_range: tuple[float, float],
    resolution: float,
) -> Any:
    """Make a stereo_msgs/DisparityImage by the conventions of stereo_image_proc.

    cx_left - cx_right is subtracted from disparities, so that Z = f T / d is true. Unknown pixels
    are min_disparity - 1, because 0 can be a valid disparity.

    Args:
        types: the message classes.
        header: stamp and frame of the left image.
        disparity: float32 (H, W), in pixels, NaN where unknown.
        camera: the stereo camera at the size of the disparity.
        disparity_range: the smallest and largest disparity that the model can give.
        resolution: the smallest step of the disparity.
    """
    low, high = (value - camera.cx_offset for value in disparity_range)
    largest = float(np.finfo(np.float32).max)  # the fields are float32; serialisers refuse more
    told = np.clip((camera.left.fx, camera.baseline, low, high), -largest, largest)
    focal, baseline, low, high = told.tolist()
    height, width = disparity.shape
    image = _empty_image(types, header, disparity.shape, np.float32, '32FC1')
    empty = types.disparity_image(
        header=header,
        image=image,
        f=focal,
        t=baseline,
        valid_window=types.region_of_interest(
            x_offset=0, y_offset=0, height=height, width=width, do_rectify=False
        ),
        min_disparity=low,
        max_disparity=high,
        delta_d=resolution,
    )
    message, data = types.with_room(empty, height * image.step)
    adjusted = data.view(np.float32).reshape(height, width)
    with np.errstate(over='ignore'):
        np.subtract(disparity, np.float32(camera.cx_offset), out=adjusted, dtype=np.float32)
    cv2.patchNaNs(adjusted, low - 1)
    return message


def cloud_message(
    types: MessageTypes, header: Any, points: np.ndarray, dense: bool = False
) -> Any:
    """Make a PointCloud2 of float32 (H, W, 4), x, y, z, rgb, or (H, W, 5), sigma.

    Args:
        types: the message classes.
        header: its header.
        points: organised as the image, or one row of points.
        dense: whether all of them are finite.
    """
    message, room = cloud_with_room(types, header, points.shape, dense)
    room[...] = points
    return message


def cloud_with_room(
    types: MessageTypes, header: Any, shape: tuple[int, ...], dense: bool = False
) -> tuple[Any, np.ndarray]:
    """Make the same of a shape, and the array for its points, which must be written before."""
    height, width, count = shape
    float32 = 7
    cloud = types.point_cloud(
        header=header,
        height=height,
        width=width,
        fields=[
            types.point_field(name=name, offset=4 * i, datatype=float32, count=1)
            for i, name in enumerate(('x', 'y', 'z', 'rgb', 'sigma')[:count])
        ],
        is_bigendian=False,
        point_step=4 * count,
        row_step=4 * count * width,
        data=array('B'),
        is_dense=dense,
    )
    message, data = types.with_room(cloud, height * cloud.row_step)
    return message, data.view(np.float32).reshape(shape)


def depth_camera_info(
    types: MessageTypes, header: Any, info: Any, camera: PinholeCamera, width: int, height: int
) -> Any:
    """Make the CameraInfo for maps of width x height that belong to images of `camera`.

    For maps of the size of the images, this is the left camera_info with the header of the maps.
    At another size, the matrices are scaled and describe the maps directly, without ROI and
    binning.
    """
    fields = {name: getattr(info, name) for name in ('distortion_model', 'd', 'k', 'r', 'p')}
    if (width, height) == (camera.width, camera.height):
        fields |= {name: getattr(info, name) for name in ('width', 'height', 'roi')}
        fields |= {'binning_x': info.binning_x, 'binning_y': info.binning_y}
        return types.camera_info(header=header, **fields)
    k, p = np.array(info.k, np.float64), np.array(camera.resized(width, height).projection())
    if k[0] > 0 and k[4] > 0:
        raw = PinholeCamera(int(info.width), int(info.height), k[0], k[4], k[2], k[5])
        raw = _delivered(raw, info).resized(width, height)
        k[[0, 4, 2, 5]] = raw.fx, raw.fy, raw.cx, raw.cy
    roi = types.region_of_interest(x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    fields |= {'k': k, 'p': p, 'width': width, 'height': height, 'roi': roi}
    return types.camera_info(header=header, **fields, binning_x=0, binning_y=0)


def rectified_camera_info(
    types: MessageTypes,
    header: Any,
    p: Sequence[float],
    size: tuple[int, int],
    window: Any = None,
) -> Any:
    """Make the CameraInfo of a rectified image: K is that of P, and D and R do nothing.

    Args:
        types: the message classes.
        header: its header.
        p: the projection matrix, row-major 3x4.
        size: (width, height) that P is for, in pixels.
        window: a CameraInfo whose ROI and binning are taken over; None for neither.
    """
    roi = types.region_of_interest(x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    fields = {'roi': roi, 'binning_x': 0, 'binning_y': 0}
    if window is not None:
        fields = {name: getattr(window, name) for name in fields}
    matrix = np.array(p, np.float64)
    return types.camera_info(
        header=header,
        width=size[0],
        height=size[1],
        distortion_model='plumb_bob',
        d=np.zeros(5),
        k=matrix.reshape(3, 4)[:, :3].reshape(-1),
        r=np.eye(3).reshape(-1),
        p=matrix,
        **fields,
    )


def data_holder(message: Any) -> Any:
    """The message that has the data: the image in a DisparityImage, any other one itself."""
    return getattr(message, 'image', message)


def _with_room(message: Any, size: int) -> tuple[Any, np.ndarray]:
    """Give room to a message of rclpy, whose setters would copy or check each element."""
    data = data_holder(message).data
    data.frombytes(bytes(size))
    return message, np.frombuffer(data, np.uint8)
