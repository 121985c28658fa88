"""Decoding of coded pictures, whose headers are checked before anything is decoded.

A few hundred bytes can claim gigabytes of pixels, so the size is compared with a limit first.
Pixels are returned as they are stored: the EXIF orientation is not applied, because a calibration
describes the stored pixels.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

MAX_PIXELS = 64_000_000
"""The largest width times height that is decoded by default."""

# The most segments of a JPEG and chunks of a PNG that are read. Real files have a few segments,
# and one chunk every few kilobytes.
_MOST_SEGMENTS = 1000
_MOST_CHUNKS = 100_000

_PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_PNM = re.compile(rb'P[1-6](?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})(?=[\s#])')
_PNM_HEAD = 4096
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_HUFFMAN_MARKERS = (0xC0, 0xC1, 0xC2)
# A block of 64 pixels takes at least one bit; the factor 2 allows for unusual sampling.
_JPEG_DENSITY = 1024
_DEFLATE_RATIO = 1032
_PNG_CHANNELS = {2: 3, 4: 2, 6: 4}
_APP1, _SCAN_MARKER, _END_MARKER = 0xE1, 0xDA, b'\xff\xd9'
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_ORIENTATION = 256, 257, 274
_TIFF_TILE_WIDTH, _TIFF_TILE_HEIGHT = 322, 323
_TIFF_INTEGERS = {3: 'H', 4: 'I'}


class PictureError(ValueError):
    """A coded picture cannot be decoded; the text continues 'the picture ...'."""


@dataclass(frozen=True)
class PictureHeader:
    """The header of a coded picture.

    Attributes:
        kind: JPEG, PNG, TIFF, BMP or PNM.
        width: in pixels.
        height: in pixels.
        orientation: the EXIF orientation, 1 to 8; 1 is upright.
        scan: the byte at which the coded pixels of a JPEG begin.
        least: the fewest bytes that so many pixels can take, 0 if this is not known.
    """

    kind: str
    width: int
    height: int
    orientation: int = 1
    scan: int = 0
    least: int = 0


def read_header(data: bytes) -> PictureHeader:
    """Read kind and size of a coded picture; takes microseconds, whatever size it claims.

    Raises:
        PictureError: the kind is unknown, the header is damaged, or a side is 0.
    """
    read = next((read for first, read in _READERS.items() if data.startswith(first)), None)
    if read is None:
        raise PictureError(f'is none of {", ".join(KINDS)} by its first bytes')
    try:
        header = read(data)
    except (struct.error, IndexError):
        raise PictureError('ends inside its header; it is cut off or damaged') from None
    if header.width < 1 or header.height < 1:
        raise PictureError(f'claims {header.width}x{header.height} pixels; it is damaged')
    return header


def decode(
    data: bytes,
    flags: int,
    max_pixels: int = MAX_PIXELS,
    kinds: Collection[str] | None = None,
) -> tuple[np.ndarray, PictureHeader]:
    """Decode a picture with OpenCV after its header has been checked.

    Args:
        data: the coded picture.
        flags: OpenCV's IMREAD_*.
        max_pixels: the largest width times height that is allowed.
        kinds: the kinds that are allowed; None allows all of KINDS.

    Returns:
        uint8 or uint16 (H, W) or (H, W, C) with the colours in OpenCV's order, and the header.

    Raises:
        PictureError: the picture has the wrong kind, is too large, cut off, or damaged.
    """
    header = read_header(data)
    if kinds is not None and header.kind not in kinds:
        raise PictureError(f'is a {header.kind}; give one of {", ".join(kinds)}')
    check_size(header.width, header.height, max_pixels)
    _check_complete(data, header)
    if header.kind == 'TIFF' and header.orientation != 1:
        data = _unturned(data)
    if flags != cv2.IMREAD_UNCHANGED:
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        if flags != cv2.IMREAD_UNCHANGED:
            kind = decode(data, cv2.IMREAD_UNCHANGED, max_pixels)[0].dtype
            if kind not in (np.uint8, np.uint16):
                raise PictureError(f'is a {header.kind} of {kind} values; give 8 or 16 bits')
        raise PictureError(f'is a damaged {header.kind}; its pixels do not decode')
    if image.shape[:2] != (header.height, header.width):
        raise PictureError(
            f'is a damaged {header.kind}: its header says {header.width}x{header.height} and it '
            f'decodes to {image.shape[1]}x{image.shape[0]}'
        )
    return image, header


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise PictureError if width x height is more than `max_pixels`."""
    if width * height > max_pixels:
        raise PictureError(
            f'has {width}x{height} pixels, more than max_pixels = {max_pixels}; scale it down, or '
            'raise max_pixels if that size is right'
        )


def _check_complete(data: bytes, header: PictureHeader) -> None:
    """Refuse a picture that was cut off; OpenCV's libraries would write to stderr about it."""
    if len(data) < header.least:
        raise PictureError(
            f'is a {header.kind} of {len(data)} bytes, too few for the '
            f'{header.width}x{header.height} pixels that it claims; it is cut off or damaged'
        )
    if header.kind == 'JPEG' and data.find(_END_MARKER, header.scan) < 0:
        raise PictureError(f'is a JPEG of {len(data)} bytes without end marker; it is cut off')
    if header.kind == 'PNG':
        _check_chunks(data)


def _read_jpeg(data: bytes) -> PictureHeader:
    at, orientation = 2, 1
    size: tuple[int, int] | None = None
    least = 0
    for _ in range(_MOST_SEGMENTS):
        start, marker = data[at], data[at + 1]
        if start != 0xFF:
            break
        if marker == 0xFF:  # a byte that only fills
            at += 1
            continue
        (length,) = struct.unpack_from('>H', data, at + 2)
        if marker == _SCAN_MARKER and size:
            return PictureHeader('JPEG', *size, orientation, at, least)
        if marker in _FRAME_MARKERS and size is None:
            height, width = struct.unpack_from('>HH', data, at + 5)
            size = width, height
            if marker in _HUFFMAN_MARKERS:
                least = width * height // _JPEG_DENSITY
        elif marker == _APP1 and data[at + 4 : at + 10] == b'Exif\0\0':
            orientation = _orientation(data[at + 10 : at + 2 + length])
        at += 2 + length
    raise PictureError('is a damaged JPEG; its header is no row of segments')


def _read_png(data: bytes) -> PictureHeader:
    form = '>I4sIIBB'
    length, name, width, height, bits, colour = struct.unpack_from(form, data, len(_PNG_SIGNATURE))
    if (length, name) != (13, b'IHDR'):
        raise PictureError('is a damaged PNG; it does not begin with its size')
    at, orientation = len(_PNG_SIGNATURE), 1
    for _ in range(_MOST_SEGMENTS):
        length, name = struct.unpack_from('>I4s', data, at)
        if name == b'eXIf':
            orientation = _orientation(data[at + 8 : at + 8 + length])
        if name in (b'eXIf', b'IDAT'):
            break
        at += length + 12
    rows = height * (width * bits * _PNG_CHANNELS.get(colour, 1) // 8)
    return PictureHeader('PNG', width, height, orientation, least=rows // _DEFLATE_RATIO)


def _check_chunks(data: bytes) -> None:
    view, at = memoryview(data), len(_PNG_SIGNATURE)
    for _ in range(_MOST_CHUNKS):
        if at + 12 > len(data):
            raise PictureError(f'is a PNG of {len(data)} bytes without end; it is cut off')
        length, name = struct.unpack_from('>I4s', data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            raise PictureError(f'is a PNG of {len(data)} bytes without end; it is cut off')
        if zlib.crc32(view[at + 4 : end]) != struct.unpack_from('>I', data, end)[0]:
            raise PictureError('is a damaged PNG; a checksum is wrong')
        if name == b'IEND':
            return
        at = end + 4
    raise PictureError(f'is a damaged PNG of more than {_MOST_CHUNKS} chunks')


def _read_tiff(data: bytes) -> PictureHeader:
    tags = _tiff_tags(data)
    width, height = (tags.get(tag, 0) for tag in (_TIFF_WIDTH, _TIFF_HEIGHT))
    # A tile is decoded as a whole, even if the picture uses little of it.
    tile = tags.get(_TIFF_TILE_WIDTH, 0), tags.get(_TIFF_TILE_HEIGHT, 0)
    if tile[0] * tile[1] > 4 * max(width * height, 1 << 20):
        raise PictureError(f'is a damaged TIFF; its tiles are {tile[0]}x{tile[1]}')
    return PictureHeader('TIFF', width, height, tags.get(_TIFF_ORIENTATION, 1))


def _read_bmp(data: bytes) -> PictureHeader:
    (size,) = struct.unpack_from('<I', data, 14)
    width, height = struct.unpack_from('<HH' if size == 12 else '<ii', data, 18)
    return PictureHeader('BMP', width, abs(height))


def _read_pnm(data: bytes) -> PictureHeader:
    header = _PNM.match(data[:_PNM_HEAD])
    if header is None:
        raise PictureError('is a damaged PNM; its size cannot be read')
    width, height = int(header[1]), int(header[2])
    bits = 1 if data[:2] == b'P4' else 24 if data[:2] == b'P6' else 8
    return PictureHeader('PNM', width, height, least=width * height * bits // 8)


def _orientation(exif: bytes) -> int:
    """The orientation in an EXIF block, 1 if there is none or the block is damaged."""
    try:
        value = _tiff_tags(exif).get(_TIFF_ORIENTATION, 1)
    except (struct.error, IndexError, PictureError):
        return 1
    return value if 1 <= value <= 8 else 1


def _tiff_tags(data: bytes) -> dict[int, int]:
    """The tags in the first directory of a TIFF whose value is one integer."""
    return {tag: struct.unpack_from(form, data, at)[0] for tag, form, at in _tiff_entries(data)}


def _tiff_entries(data: bytes) -> Iterator[tuple[int, str, int]]:
    """Yield tag, struct format and position of every value that is one short or long integer."""
    order = {b'II*\0': '<', b'MM\0*': '>'}.get(data[:4])
    if order is None:
        raise PictureError('is no TIFF')
    (at,) = struct.unpack_from(f'{order}I', data, 4)
    (count,) = struct.unpack_from(f'{order}H', data, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, length = struct.unpack_from(f'{order}HHI', data, entry)
        if kind in _TIFF_INTEGERS and length == 1:
            yield tag, order + _TIFF_INTEGERS[kind], entry + 8


def _unturned(data: bytes) -> bytes:
    """Mark a TIFF as upright, since OpenCV applies its orientation even if told not to."""
    changed = bytearray(data)
    for tag, form, at in _tiff_entries(data):
        if tag == _TIFF_ORIENTATION:
            struct.pack_into(form, changed, at, 1)
    return bytes(changed)


_READERS = {
    b'\xff\xd8\xff': _read_jpeg,
    _PNG_SIGNATURE: _read_png,
    b'II*\0': _read_tiff,
    b'MM\0*': _read_tiff,
    b'BM': _read_bmp,
    **{b'P%d' % digit: _read_pnm for digit in range(1, 7)},
}
KINDS = ('JPEG', 'PNG', 'TIFF', 'BMP', 'PNM')
"""The kinds of pictures that can be read."""
