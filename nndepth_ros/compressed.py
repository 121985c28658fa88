"""Pixels of a sensor_msgs/CompressedImage to RGB, by the rules of image_transport.

Its publishers write `<encoding>; <codec> compressed <target>`: an image with `encoding` was
converted to `target`, or was left as it is if no target is named, and was given to OpenCV's
encoder, which takes any three channels as blue, green, red. So `target` is the order of the
channels that OpenCV decodes: `bgr8` is an ordinary JPEG, while `rgb8` is a JPEG with red and blue
exchanged. Drivers and cv_bridge write only the codec, which means an ordinary picture.
"""

from __future__ import annotations

import re
from typing import Any

import cv2
import numpy as np

from nndepth_core.files import picture
from nndepth_core.files.picture import MAX_PIXELS, PictureError
from nndepth_core.plausibility import UsedBits, eight_bits
from nndepth_ros.encodings import BAYER, ConversionError

# What image_transport sends, by its first bytes; the name of the codec in a format says no more.
KINDS = ('JPEG', 'PNG', 'TIFF')
_CODECS = r'jpe?g|png|tiff?'
_BARE = re.compile(_CODECS)
_FULL = re.compile(rf'(\w*) *; *(?:{_CODECS}) +compressed(?: +(\w+))?')
_ORDERS = re.compile(
    r'(?:(?P<order>rgb|bgr)a?|(?P<mono>mono)|bayer_(?P<bayer>[rgb]{4}))(?:8|16)'
    r'|(?:8|16)uc(?:(?P<cv_mono>1)|[34])'
)


def coded_size(message: Any) -> tuple[int, int]:
    """Read (width, height) of a CompressedImage from its first bytes.

    Raises:
        ConversionError: they are not the first bytes of a picture.
    """
    try:
        header = picture.read_header(bytes(message.data))
    except PictureError as error:
        raise _undecodable(message, error) from error
    return header.width, header.height


def decode_compressed(
    message: Any, max_pixels: int = MAX_PIXELS, used_bits: UsedBits | None = None
) -> np.ndarray:
    """Return uint8 RGB (H, W, 3) of a sensor_msgs/CompressedImage.

    Raises:
        ConversionError: the format is unknown, or the picture is too large, damaged, cut off or of
            a kind that image_transport does not send.
    """
    order = channel_order(message.format)
    try:
        data = bytes(message.data)
        pixels, _ = picture.decode(data, cv2.IMREAD_UNCHANGED, max_pixels, KINDS)
    except PictureError as error:
        raise _undecodable(message, error) from error
    if pixels.dtype == np.uint16:
        pixels = eight_bits(pixels, used_bits)
    if pixels.dtype != np.uint8 or pixels.shape[2:] not in ((), (3,), (4,)):
        raise ConversionError(
            f'compressed image holds {pixels.dtype} of {pixels.shape}; give 8 or 16 bits, grey or '
            'colours'
        )
    if pixels.ndim == 3 and order == 'rgb':
        return np.ascontiguousarray(pixels[..., :3])
    if pixels.ndim == 3 and order == 'bgr':
        return cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2RGB)
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2GRAY)
    return cv2.cvtColor(pixels, BAYER.get(order, cv2.COLOR_GRAY2RGB))


def channel_order(text: str) -> str:
    """Tell the order of the decoded channels from the format of a CompressedImage.

    Returns:
        'bgr', 'rgb', 'mono', or the Bayer pattern, one of BAYER.

    Raises:
        ConversionError: image_transport knows no such format, or uses it for depth images.
    """
    words, text = text.strip().lower(), text[:60]
    if not words or _BARE.fullmatch(words):
        return 'bgr'
    if 'compresseddepth' in words:
        raise ConversionError(
            f'format is {text!r}, which is of depth images; give the compressed camera images, '
            '<image topic>/compressed'
        )
    full = _FULL.fullmatch(words)
    target = _ORDERS.fullmatch(full[2] or full[1]) if full else None
    if target is None or (target['bayer'] and target['bayer'] not in BAYER):
        raise ConversionError(
            f'format {text!r} is unknown; publish jpeg, png, or as image_transport does, '
            "e.g. 'rgb8; jpeg compressed bgr8'"
        )
    if target['mono'] or target['cv_mono']:
        return 'mono'
    return target['order'] or target['bayer'] or 'bgr'


def _undecodable(message: Any, error: PictureError) -> ConversionError:
    return ConversionError(f'compressed image of {len(message.data)} bytes {error}')
