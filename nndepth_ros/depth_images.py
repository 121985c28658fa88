"""Messages of depth images: in metres or millimetres, raw or as `compressedDepth`.

The latter is what image_transport's plugin of that name reads: a header of 12 bytes (int32 0 for
inverse depth, float32 A, float32 B), and a 16-bit PNG. In `32FC1` a pixel of the PNG is
A / depth + B rounded, and 0 is unknown; in `16UC1` it holds the millimetres, and A and B are 0.
"""

from __future__ import annotations

import struct
from array import array
from typing import Any

import cv2
import numpy as np

from nndepth_core.camera import depth_in_millimetres
from nndepth_ros.conversions import MessageTypes, image_message

METRES, MILLIMETRES = '32FC1', '16UC1'
ENCODINGS = (METRES, MILLIMETRES)
NEAREST = 0.1
"""Metres; what is nearer is unknown in inverse depths, if no limit of depth is farther away."""
_INVERSE_DEPTH = 0
_OFFSET = 1.0  # B: +inf becomes 1, and (1 - B) becomes +inf again
_STEPS = 65534  # from 1 to the largest value
_FAST = (cv2.IMWRITE_PNG_COMPRESSION, 1)


def depth_message(types: MessageTypes, header: Any, depth: np.ndarray, encoding: str) -> Any:
    """Make an Image of a depth (H, W) in metres, in one of ENCODINGS.

    `32FC1` keeps the values of REP-117; `16UC1` follows `depth_in_millimetres`.
    """
    pixels = depth if encoding == METRES else depth_in_millimetres(depth)
    return image_message(types, header, pixels, encoding)


def compressed_depth_message(
    types: MessageTypes, header: Any, depth: np.ndarray, encoding: str, min_depth: float = 0.0
) -> Any:
    """Make a CompressedImage of a depth (H, W) in metres, in one of ENCODINGS.

    In `32FC1`, NaN and -inf become unknown and +inf stays; the error of a depth Z is at most
    Z² / (129000 N - Z), where N is the larger of `min_depth` and NEAREST, and what is nearer than
    N is unknown. Half a step alone would be Z² / (131068 N - Z); numbers of 32 bits on both ends
    add at most 2^-8 each to 0.5.
    """
    scale = offset = 0.0
    if encoding == METRES:
        scale, offset = _STEPS * max(min_depth, NEAREST), _OFFSET
        pixels = inverse_depth(depth, scale)
    else:
        pixels = depth_in_millimetres(depth)
    _, png = cv2.imencode('.png', pixels, _FAST)
    prefix = struct.pack('<iff', _INVERSE_DEPTH, scale, offset)
    data = prefix + png.tobytes()
    name = f'{encoding}; compressedDepth png'
    image = types.compressed_image(header=header, format=name, data=array('B'))
    message, room = types.with_room(image, len(data))
    room[...] = np.frombuffer(data, np.uint8)
    return message


def inverse_depth(depth: np.ndarray, scale: float) -> np.ndarray:
    """Round scale / depth + 1 to uint16; 0 where it is unknown, not in front or beyond 65535."""
    with np.errstate(all='ignore'):
        values = np.rint(np.float32(scale) / depth + np.float32(_OFFSET))
        fits = (depth > 0) & (values <= _STEPS + 1)
    return np.where(fits, values, 0).astype(np.uint16)
