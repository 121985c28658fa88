"""Reads `compressedDepth` by the rules of compressed_depth_image_transport."""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np


def read_compressed_depth(message: Any) -> np.ndarray:
    """Decode a CompressedImage to float32 metres, NaN where unknown, or uint16 millimetres."""
    encoding, transport = (part.strip() for part in message.format.split(';'))
    assert transport == 'compressedDepth png'
    data = bytes(message.data)
    kind, scale, offset = struct.unpack('<iff', data[:12])
    assert kind == 0
    pixels = cv2.imdecode(np.frombuffer(data[12:], np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels.dtype == np.uint16
    if encoding == '16UC1':
        assert scale == offset == 0
        return pixels
    with np.errstate(divide='ignore'):
        depth = np.float32(scale) / (pixels.astype(np.float32) - np.float32(offset))
    return np.where(pixels > 0, depth, np.float32(np.nan))
