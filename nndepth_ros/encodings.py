"""Converts the pixels of a sensor_msgs/Image to RGB, for every encoding that drivers publish.

The names are those of sensor_msgs/image_encodings.hpp and other names that drivers use, in upper
or lower case. YUV is converted as OpenCV does, by ITU-R BT.601 with limited range (16..235): an
Image names neither its matrix nor its range, and cv_bridge and rviz convert it in this way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from nndepth_core.plausibility import UsedBits, eight_bits


class ConversionError(ValueError):
    """A message cannot be understood; the text names the field that is wrong."""


@dataclass(frozen=True)
class Packed:
    """An encoding that stores whole pixels one after the other.

    Attributes:
        channels: the number of values per pixel.
        code: OpenCV's conversion to RGB; None if it is RGB already.
        bits: the bits of a value, 8 or 16; 16 bits are scaled to 8.
        shared: the number of neighbouring pixels in a row that share their colour.
    """

    channels: int
    code: int | None
    bits: int = 8
    shared: int = 1

    def decode(self, message: Any, used_bits: UsedBits | None = None) -> np.ndarray:
        """Return uint8 RGB (H, W, 3); rgb8 without row padding is a view of the message."""
        height, width = int(message.height), int(message.width)
        if width % self.shared:
            raise ConversionError(
                f'{message.encoding} image is {width} pixels wide; two pixels share their colour, '
                'so the width must be even'
            )
        pixels = pixel_rows(message, self.channels * self.bits // 8)
        if self.bits == 16:
            order = '>u2' if message.is_bigendian else '<u2'
            pixels = eight_bits(np.ascontiguousarray(pixels).view(order), used_bits)
        if self.channels > 1:
            pixels = pixels.reshape(height, width, self.channels)
        return (
            np.ascontiguousarray(pixels) if self.code is None else cv2.cvtColor(pixels, self.code)
        )


@dataclass(frozen=True)
class Planar:
    """An encoding that stores all luma first, then the colours of 2x2 pixels or of every pixel.

    Attributes:
        planes: 1 if U and V alternate (in `order`), 2 if one follows the other.
        order: which of both comes first.
        shared: the side of the square of pixels that share their colour: 2 or 1.
    """

    planes: int
    order: str
    shared: int = 2

    def decode(self, message: Any, used_bits: UsedBits | None = None) -> np.ndarray:
        """Return uint8 RGB (H, W, 3)."""
        height, width = int(message.height), int(message.width)
        if height % self.shared or width % self.shared:
            raise ConversionError(
                f'{message.encoding} image is {width}x{height}; 2x2 pixels share their colour, so '
                'both sides must be even'
            )
        data = np.frombuffer(message.data, np.uint8)
        pitch = self._pitch(message, data.size)
        rows, row = height // self.shared, 2 * width // self.shared // self.planes
        step = 2 * pitch // self.shared // self.planes
        if data.size < pitch * height + step * (self.planes * rows - 1) + row:
            due = pitch * height + step * self.planes * rows
            raise _truncated(data.size, height, int(message.step), due)
        luma = _rows(data, height, width, pitch)
        planes = [
            _rows(data[pitch * height + step * rows * plane :], rows, row, step)
            for plane in range(self.planes)
        ]
        colours = np.stack(planes, axis=2) if self.planes == 2 else planes[0]
        colours = colours.reshape(rows, -1, 2)[..., :: 1 if self.order == 'uv' else -1]
        return _rgb_of_planes(luma, np.ascontiguousarray(colours), self.shared)

    def _pitch(self, message: Any, size: int) -> int:
        """The number of bytes from one row of luma to the next.

        By the definition in sensor_msgs, this is the step. Some drivers include the colours in the
        step, which can be seen if the data have exactly step times height bytes.
        """
        height, width, step = int(message.height), int(message.width), int(message.step)
        if step == width + 2 * width // self.shared**2 and size == step * height:
            return width
        if step < width:
            raise ConversionError(
                f'step is {step} but a row of {width} {message.encoding} pixels has {width} bytes '
                'of luma'
            )
        if step % self.planes:
            raise ConversionError(
                f'step is {step}; rows of colour have half of it in {message.encoding} images, so '
                'it must be even'
            )
        return step


_UYVY = Packed(2, cv2.COLOR_YUV2RGB_UYVY, shared=2)
_YUYV = Packed(2, cv2.COLOR_YUV2RGB_YUYV, shared=2)
# OpenCV names a Bayer pattern by its second row.
BAYER = {
    'rggb': cv2.COLOR_BayerBG2RGB,
    'bggr': cv2.COLOR_BayerRG2RGB,
    'gbrg': cv2.COLOR_BayerGR2RGB,
    'grbg': cv2.COLOR_BayerGB2RGB,
}

ENCODINGS: dict[str, Packed | Planar] = {
    'rgb8': Packed(3, None),
    'bgr8': Packed(3, cv2.COLOR_BGR2RGB),
    'rgba8': Packed(4, cv2.COLOR_RGBA2RGB),
    'bgra8': Packed(4, cv2.COLOR_BGRA2RGB),
    'rgb16': Packed(3, None, bits=16),
    'bgr16': Packed(3, cv2.COLOR_BGR2RGB, bits=16),
    'rgba16': Packed(4, cv2.COLOR_RGBA2RGB, bits=16),
    'bgra16': Packed(4, cv2.COLOR_BGRA2RGB, bits=16),
    'mono8': Packed(1, cv2.COLOR_GRAY2RGB),
    'mono16': Packed(1, cv2.COLOR_GRAY2RGB, bits=16),
    # OpenCV's types, with the channels in OpenCV's order
    '8uc1': Packed(1, cv2.COLOR_GRAY2RGB),
    '8uc3': Packed(3, cv2.COLOR_BGR2RGB),
    '8uc4': Packed(4, cv2.COLOR_BGRA2RGB),
    '16uc1': Packed(1, cv2.COLOR_GRAY2RGB, bits=16),
    '16uc3': Packed(3, cv2.COLOR_BGR2RGB, bits=16),
    '16uc4': Packed(4, cv2.COLOR_BGRA2RGB, bits=16),
    # two neighbouring pixels share their colour
    'uyvy': _UYVY,
    'yuv422': _UYVY,
    'yuyv': _YUYV,
    'yuv422_yuy2': _YUYV,
    'yuy2': _YUYV,
    # 2x2 pixels share their colour
    'nv12': Planar(1, 'uv'),
    'nv21': Planar(1, 'vu'),
    'i420': Planar(2, 'uv'),
    'yuv420': Planar(2, 'uv'),
    'yuv420p': Planar(2, 'uv'),
    'yv12': Planar(2, 'vu'),
    # every pixel has its own colour
    'nv24': Planar(1, 'uv', shared=1),
    'nv42': Planar(1, 'vu', shared=1),
    **{
        f'bayer_{pattern}{bits}': Packed(1, code, bits)
        for pattern, code in BAYER.items()
        for bits in (8, 16)
    },
}


def decode_image(message: Any, used_bits: UsedBits | None = None) -> np.ndarray:
    """Return uint8 RGB (H, W, 3) of a sensor_msgs/Image; see `to_rgb` for the arguments.

    Raises:
        ConversionError: the encoding is unknown, a side is 0, the step does not fit, or data are
            missing.
    """
    if message.height < 1 or message.width < 1:
        raise ConversionError(
            f'image is {message.width}x{message.height}; both sides must be at least 1'
        )
    encoding = ENCODINGS.get(message.encoding.lower())
    if encoding is None:
        raise ConversionError(
            f'encoding {message.encoding[:40]!r} is unknown; publish one of {", ".join(ENCODINGS)}'
        )
    return encoding.decode(message, used_bits)


def pixel_rows(message: Any, size: int) -> np.ndarray:
    """View an Image whose pixels have `size` bytes as rows of bytes, uint8 (H, W * size).

    Raises:
        ConversionError: the step does not fit, or data are missing.
    """
    height, width, step = int(message.height), int(message.width), int(message.step)
    row = width * size
    if step < row:
        raise ConversionError(
            f'step is {step} but a row of {width} {message.encoding} pixels has {row} bytes'
        )
    data = np.frombuffer(message.data, np.uint8)
    if data.size < step * (height - 1) + row:
        raise _truncated(data.size, height, step, step * height)
    return _rows(data, height, row, step)


def _rows(data: np.ndarray, height: int, row: int, step: int) -> np.ndarray:
    """View data as `height` rows of `row` bytes that begin every `step` bytes."""
    return np.lib.stride_tricks.as_strided(data, (height, row), (step, 1), writeable=False)


def _rgb_of_planes(luma: np.ndarray, colours: np.ndarray, shared: int) -> np.ndarray:
    if shared == 2:
        return cv2.cvtColorTwoPlane(luma, colours, cv2.COLOR_YUV2RGB_NV12)
    # OpenCV has no such layout, so each pixel becomes two pixels that share their colour.
    pairs = np.stack([colours[..., 0], luma, colours[..., 1], luma], axis=2)
    pairs = pairs.reshape(luma.shape[0], 2 * luma.shape[1], 2)
    return np.ascontiguousarray(cv2.cvtColor(pairs, cv2.COLOR_YUV2RGB_UYVY)[:, ::2])


def _truncated(size: int, height: int, step: int, due: int) -> ConversionError:
    return ConversionError(
        f'data has {size} bytes but {height} rows of {step} need {due}; the message is truncated'
    )
