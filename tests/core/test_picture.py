"""Headers of pictures, what is refused by them, and that pixels come as they are stored."""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nndepth_core import io
from nndepth_core.files import picture
from nndepth_core.files.picture import PictureError

PIXELS = cv2.GaussianBlur(
    np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8), (0, 0), 2
)


def coded(suffix: str, *options: int) -> bytes:
    return cv2.imencode(suffix, PIXELS, options)[1].tobytes()


def exif(orientation: int, order: str) -> bytes:
    """A TIFF of one directory that holds the orientation alone."""
    mark = {'<': b'II*\0', '>': b'MM\0*'}[order]
    return mark + struct.pack(f'{order}IHHHIHHI', 8, 1, 274, 3, 1, orientation, 0, 0)


def turned_jpeg(orientation: int, order: str = '<') -> bytes:
    block = b'Exif\0\0' + exif(orientation, order)
    jpeg = coded('.jpg')
    return jpeg[:2] + b'\xff\xe1' + struct.pack('>H', len(block) + 2) + block + jpeg[2:]


def chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack('>I', len(content))
        + name
        + content
        + struct.pack('>I', zlib.crc32(name + content))
    )


def turned_png(orientation: int) -> bytes:
    png = coded('.png')
    return png[:33] + chunk(b'eXIf', exif(orientation, '>')) + png[33:]


def turned_tiff(orientation: int) -> bytes:
    height, width = PIXELS.shape[:2]
    content = np.ascontiguousarray(PIXELS[..., ::-1]).tobytes()
    values = {256: width, 257: height, 258: 8, 259: 1, 262: 2, 273: 8, 274: orientation}
    values |= {277: 3, 278: height, 279: len(content)}
    entries = b''.join(struct.pack('<HHII', tag, 4, 1, value) for tag, value in values.items())
    directory = struct.pack('<H', len(values)) + entries + bytes(4)
    return b'II*\0' + struct.pack('<I', 8 + len(content)) + content + directory


@pytest.mark.parametrize(
    ('suffix', 'kind'),
    [('.jpg', 'JPEG'), ('.png', 'PNG'), ('.tiff', 'TIFF'), ('.bmp', 'BMP'), ('.ppm', 'PNM')],
)
def test_kind_and_size_are_read(suffix, kind):
    header = picture.read_header(coded(suffix))
    assert (header.kind, header.width, header.height, header.orientation) == (kind, 40, 24, 1)


@pytest.mark.parametrize(
    ('data', 'size'),
    [
        (coded('.jpg', cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (40, 24)),
        (b'P5 # made by hand\n# 9 9\n3\t2\n255\n' + bytes(6), (3, 2)),
        (b'BM' + bytes(12) + struct.pack('<IHH', 12, 7, 5), (7, 5)),
        (b'BM' + bytes(12) + struct.pack('<Iii', 40, 7, -5), (7, 5)),
    ],
    ids=['progressive', 'comments', 'old bmp', 'bmp from the top'],
)
def test_rarer_headers(data, size):
    header = picture.read_header(data)
    assert (header.width, header.height) == size


def jpeg_bomb() -> bytes:
    """A grey JPEG of 16x16 pixels that claims 20000x20000."""
    jpeg = bytearray(cv2.imencode('.jpg', np.full((16, 16), 128, np.uint8))[1].tobytes())
    at = jpeg.index(b'\xff\xc0') + 5
    jpeg[at : at + 4] = struct.pack('>HH', 20000, 20000)
    return bytes(jpeg)


def png_bomb() -> bytes:
    head = chunk(b'IHDR', struct.pack('>IIBBBBB', 20000, 20000, 8, 2, 0, 0, 0))
    return b'\x89PNG\r\n\x1a\n' + head + chunk(b'IDAT', zlib.compress(b'')) + chunk(b'IEND', b'')


BOMBS = {
    'jpg': jpeg_bomb(),
    'png': png_bomb(),
    'ppm': b'P6\n20000 20000\n255\n' + bytes(10),
    'bmp': b'BM' + bytes(12) + struct.pack('<IiiHH', 40, 20000, 20000, 1, 24) + bytes(50),
    'tiff': turned_tiff(1).replace(
        struct.pack('<HHII', 256, 4, 1, 40), struct.pack('<HHII', 256, 4, 1, 20000 * 20000)
    ),
}


@pytest.mark.parametrize('kind', BOMBS)
def test_bombs_are_refused_before_memory_is_taken(tmp_path, kind, monkeypatch):
    path = tmp_path / f'a.{kind}'
    path.write_bytes(BOMBS[kind])
    monkeypatch.setattr(cv2, 'imdecode', None)  # nothing may be decoded
    tracemalloc.start()
    with pytest.raises(ValueError, match=r'more than max_pixels = 64000000; scale it down, or'):
        io.read_image(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def smaller_bombs() -> dict[str, bytes]:
    """What claims 4000x4000 pixels with too few bytes for the emptiest picture of that size."""
    jpeg = jpeg_bomb().replace(struct.pack('>HH', 20000, 20000), struct.pack('>HH', 4000, 4000))
    size = struct.pack('>II', 20000, 20000)
    png = png_bomb().replace(size, struct.pack('>II', 4000, 4000))
    return {'jpg': jpeg, 'png': png, 'pgm': b'P5\n4000 4000\n255\n' + bytes(100)}


@pytest.mark.parametrize('kind', ['jpg', 'png', 'pgm'])
def test_fewer_bytes_than_the_pixels_can_take_are_refused(kind, monkeypatch):
    monkeypatch.setattr(cv2, 'imdecode', None)
    with pytest.raises(PictureError, match='bytes, too few for the 4000x4000 pixels'):
        picture.decode(smaller_bombs()[kind], cv2.IMREAD_COLOR)


@pytest.mark.parametrize(
    ('suffix', 'channels', 'options'),
    [
        ('.jpg', 1, (cv2.IMWRITE_JPEG_QUALITY, 0, cv2.IMWRITE_JPEG_OPTIMIZE, 1)),
        ('.jpg', 3, (cv2.IMWRITE_JPEG_QUALITY, 0, cv2.IMWRITE_JPEG_OPTIMIZE, 1)),
        ('.jpg', 1, (cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_OPTIMIZE, 1)),
        ('.jpg', 3, (cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_OPTIMIZE, 1)),
        ('.png', 1, (cv2.IMWRITE_PNG_COMPRESSION, 9)),
        ('.png', 3, (cv2.IMWRITE_PNG_COMPRESSION, 9)),
        ('.png', 1, (cv2.IMWRITE_PNG_BILEVEL, 1, cv2.IMWRITE_PNG_COMPRESSION, 9)),
        ('.ppm', 3, ()),
        ('.pgm', 1, ()),
        ('.pbm', 1, ()),
    ],
)
def test_the_emptiest_pictures_are_read(suffix, channels, options):
    data = cv2.imencode(suffix, np.zeros((2003, 3001, channels), np.uint8), options)[1].tobytes()
    pixels, header = picture.decode(data, cv2.IMREAD_GRAYSCALE)
    assert pixels.shape == (2003, 3001)
    assert len(data) >= header.least > 0


def test_tiles_larger_than_the_picture_are_refused():
    entry = struct.pack('<HHII', 278, 4, 1, 24)
    tiles = struct.pack('<HHIIHHII', 322, 4, 1, 30000, 323, 4, 1, 30000)
    tiff = turned_tiff(1).replace(entry + struct.pack('<HHII', 279, 4, 1, PIXELS.size), tiles)
    with pytest.raises(PictureError, match='tiles are 30000x30000'):
        picture.read_header(tiff)


def test_the_limit_is_the_callers(tmp_path):
    path = tmp_path / 'a.png'
    path.write_bytes(coded('.png'))
    assert io.read_image(path, max_pixels=960).shape == (24, 40, 3)
    for read in (io.read_image, io.read_pixels):
        with pytest.raises(
            ValueError, match=r'a\.png cannot .* 40x24 pixels, .* max_pixels = 959'
        ):
            read(path, max_pixels=959)


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize(
    'make',
    [turned_jpeg, lambda value: turned_jpeg(value, '>'), turned_png, turned_tiff],
    ids=['jpeg', 'jpeg, big-endian', 'png', 'tiff'],
)
def test_pixels_come_as_they_are_stored(tmp_path, orientation, make):
    """OpenCV by itself turns them, which would part them from their calibration."""
    path = tmp_path / 'picture'
    path.write_bytes(make(orientation))
    assert picture.read_header(path.read_bytes()).orientation == orientation
    np.testing.assert_allclose(io.read_image(path)[..., ::-1].astype(int), PIXELS, atol=12)
    np.testing.assert_allclose(io.read_pixels(path).astype(int), PIXELS, atol=12)


def test_a_wish_to_be_turned_is_told_once(tmp_path, caplog):
    io._tell_of_orientation.cache_clear()
    for name, orientation in (('upright', 1), ('turned', 6), ('another', 8)):
        (tmp_path / name).write_bytes(turned_jpeg(orientation))
    io.read_image(tmp_path / 'upright')
    assert not caplog.messages
    for name in ('turned', 'another', 'turned'):
        io.read_image(tmp_path / name)
    assert len(caplog.messages) == 1
    assert 'pixels are taken as they are stored' in caplog.messages[0]


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    ('data', 'says'),
    [
        (b'', 'is none of JPEG, PNG, TIFF, BMP, PNM by its first bytes'),
        (b'RIFF\0\0\0\0WEBPVP8 ', 'is none of'),
        (b'\xff\xd8\xff', 'ends inside its header'),
        (b'\xff\xd8' + b'\xff\xe0\0\4\1\2' * 2000, 'its header is no row of segments'),
        (b'\xff\xd8\xff\xe0\0\4\1\2' + bytes(20), 'its header is no row of segments'),
        (coded('.jpg')[:-20], 'without end marker; it is cut off'),
        (turned_jpeg(6)[:-20], 'without end marker; it is cut off'),
        (coded('.png')[:-20], 'without end; it is cut off'),
        (coded('.png')[:40], 'ends inside its header; it is cut off'),
        (flipped(coded('.png'), 300), 'a checksum is wrong'),
        (b'\x89PNG\r\n\x1a\n' + bytes(40), 'does not begin with its size'),
        (b'P6\nmany pixels\n', 'its size cannot be read'),
        (b'P6 0 4 255\n', 'claims 0x4 pixels'),
        (coded('.tiff')[:50], 'ends inside its header'),
        (b'BM' + bytes(30), 'claims 0x0 pixels'),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_what_is_damaged_is_said_without_a_line_of_the_libraries(data, says, capfd):
    with pytest.raises(PictureError, match=says):
        picture.decode(data, cv2.IMREAD_COLOR)
    assert capfd.readouterr().err == ''


def test_only_the_kinds_asked_for_are_decoded():
    with pytest.raises(PictureError, match='is a BMP; give one of JPEG, PNG'):
        picture.decode(coded('.bmp'), cv2.IMREAD_COLOR, kinds=('JPEG', 'PNG'))


ORIGINALS = [coded('.jpg'), turned_jpeg(6), coded('.png'), turned_png(3), turned_tiff(6)]
ORIGINALS += [coded('.bmp'), coded('.ppm')]


@given(
    data=st.one_of(
        st.binary(max_size=64),
        st.builds(
            lambda original, at, change, length: (
                original[: at % len(original)] + change + original[at % len(original) + length :]
            ),
            st.sampled_from(ORIGINALS),
            st.one_of(st.integers(0, 100), st.integers(0, 5000)),
            st.binary(max_size=8),
            st.integers(0, 60),
        ),
    )
)
@settings(max_examples=150, deadline=None)
def test_no_data_gives_another_error(data):
    try:
        pixels, header = picture.decode(data, cv2.IMREAD_UNCHANGED, 100_000)
    except PictureError:
        return
    assert pixels.shape[:2] == (header.height, header.width)
