"""Raw images of every encoding to RGB, against closed forms."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nndepth_ros.conversions import ConversionError, to_rgb
from nndepth_ros.encodings import ENCODINGS

# How the channels of a pixel lie in each encoding; x is anything.
CHANNELS = {
    'rgb8': 'rgb',
    'bgr8': 'bgr',
    '8UC3': 'bgr',
    'rgba8': 'rgbx',
    'bgra8': 'bgrx',
    '8UC4': 'bgrx',
    'mono8': 'g',
    '8UC1': 'g',
    'RGB8': 'rgb',
    'Bgra8': 'bgrx',
}


@given(data=st.data(), encoding=st.sampled_from(sorted(CHANNELS)))
@settings(max_examples=60, deadline=None)
def test_packed_encodings_come_back_whatever_the_row_step(library, data, encoding):
    height, width, padding = (
        data.draw(st.integers(low, high)) for low, high in ((1, 9), (1, 9), (0, 13))
    )
    layout = CHANNELS[encoding]
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    rgb = rng.integers(0, 256, (height, width, 3), np.uint8)
    if layout == 'g':
        rgb = rgb[..., 1:2].repeat(3, axis=2)
    planes = {'r': rgb[..., 0], 'g': rgb[..., 1], 'b': rgb[..., 2]}
    anything = rng.integers(0, 256, (height, width), np.uint8)
    pixels = np.stack([planes.get(name, anything) for name in layout], axis=2)
    row = pixels.reshape(height, -1)
    padded = np.hstack([row, np.full((height, padding), 77, np.uint8)])
    content = padded.tobytes()
    if data.draw(st.booleans()):  # the last row may end without its padding
        content = content[: len(content) - padding]
    decoded = to_rgb(library.image(encoding, (height, width), padded.shape[1], content))
    assert decoded.dtype == np.uint8
    assert decoded.flags.c_contiguous
    np.testing.assert_array_equal(decoded, rgb)


@pytest.mark.parametrize('encoding', ['mono16', '16UC1'])
@pytest.mark.parametrize(('big', 'order'), [(0, '<u2'), (1, '>u2')])
@pytest.mark.parametrize('padding', [0, 1, 6])
def test_sixteen_bits_are_scaled_to_eight(library, encoding, big, order, padding):
    values = np.array([[0, 128, 129], [257, 65000, 65535]])
    rows = values.astype(order).view(np.uint8)
    rows = np.hstack([rows, np.zeros((2, padding), np.uint8)])
    decoded = to_rgb(library.image(encoding, (2, 3), rows.shape[1], rows.tobytes(), big))
    expected = np.rint(values * 255 / 65535)
    np.testing.assert_array_equal(decoded, np.repeat(expected[..., None], 3, axis=2))


# Channel at row, column (0, 0), (0, 1), (1, 0), (1, 1).
BAYER = {'rggb': (0, 1, 1, 2), 'bggr': (2, 1, 1, 0), 'gbrg': (1, 2, 0, 1), 'grbg': (1, 0, 2, 1)}


@pytest.mark.parametrize('pattern', BAYER)
@pytest.mark.parametrize(('bits', 'big'), [(8, 0), (16, 0), (16, 1)])
def test_bayer_patterns(library, pattern, bits, big):
    rows, columns = np.mgrid[:16, :20]
    rgb = np.stack([40 + 2 * columns, 120 + 3 * rows, 230 - 4 * columns], axis=2)
    mosaic = np.empty(rows.shape, int)
    for at, channel in enumerate(BAYER[pattern]):
        place = slice(at // 2, None, 2), slice(at % 2, None, 2)
        mosaic[place] = rgb[place][..., channel]
    content = mosaic.astype(np.uint8)
    if bits == 16:
        content = (mosaic * 257).astype('>u2' if big else '<u2')
    message = library.image(
        f'bayer_{pattern}{bits}', rows.shape, 20 * bits // 8, content.tobytes(), big
    )
    inside = slice(2, -2), slice(2, -2)
    np.testing.assert_allclose(to_rgb(message)[inside].astype(int), rgb[inside], atol=1)


@pytest.mark.parametrize(
    ('encoding', 'order'),
    [('yuv422', 'uyvy'), ('uyvy', 'uyvy'), ('yuv422_yuy2', 'yuyv'), ('YUYV', 'yuyv')],
)
@pytest.mark.parametrize('padding', [0, 5])
def test_yuv_by_bt601(library, encoding, order, padding):
    # Two grey pixels, two of one red and two of one blue, 8 bits, limited range.
    pairs = [(16, 235, 128, 128), (81, 145, 90, 240), (41, 41, 240, 110)]
    content = bytearray()
    for first, second, u, v in pairs:
        places = {'u': [u], 'v': [v], 'y': [first, second]}
        content += bytes(places[name].pop(0) for name in order)
    content += bytes(padding)
    decoded = to_rgb(library.image(encoding, (1, 6), len(content), bytes(content)))[0]
    expected = []
    for first, second, u, v in pairs:
        for y in (first, second):
            luma, cb, cr = 1.164 * (y - 16), u - 128, v - 128
            expected.append((luma + 1.596 * cr, luma - 0.392 * cb - 0.813 * cr, luma + 2.017 * cb))
    np.testing.assert_allclose(decoded, np.clip(expected, 0, 255), atol=2)


def test_rgb8_without_padding_is_not_copied(library):
    message = library.image('rgb8', (4, 5), 15, bytes(range(60)))
    assert np.shares_memory(to_rgb(message), np.frombuffer(message.data, np.uint8))


@pytest.mark.parametrize(
    ('encoding', 'size', 'step', 'count', 'says'),
    [
        ('rgb8', (4, 5), 15, 59, r'data has 59 bytes but 4 rows of 15 need 60; .* truncated'),
        ('mono8', (4, 5), 5, 0, r'data has 0 bytes'),
        ('rgb8', (4, 5), 14, 60, r'step is 14 but a row of 5 rgb8 pixels has 15 bytes'),
        ('mono16', (4, 5), 5, 60, r'step is 5 but a row of 5 mono16 pixels has 10 bytes'),
        ('rgb8', (0, 5), 15, 60, r'image is 5x0'),
        ('bayer_rggb8', (5, 0), 15, 60, r'image is 0x5'),
        ('yuyv', (2, 5), 10, 60, r'yuyv image is 5 pixels wide; .* must be even'),
    ],
)
def test_images_that_cannot_be_are_refused(library, encoding, size, step, count, says):
    with pytest.raises(ConversionError, match=says):
        to_rgb(library.image(encoding, size, step, bytes(count)))


def test_an_unknown_encoding_is_named_with_the_known_ones(library):
    with pytest.raises(ConversionError, match=r"'rgb9' is unknown; publish one of rgb8, .*nv12"):
        to_rgb(library.image('rgb9', (2, 2), 6, bytes(12)))


@pytest.mark.parametrize(
    ('encoding', 'layout'),
    [
        ('rgb16', 'rgb'),
        ('bgr16', 'bgr'),
        ('16UC3', 'bgr'),
        ('rgba16', 'rgbx'),
        ('bgra16', 'bgrx'),
        ('16UC4', 'bgrx'),
    ],
)
@pytest.mark.parametrize(('big', 'order'), [(0, '<u2'), (1, '>u2')])
def test_sixteen_bits_of_colour(library, encoding, layout, big, order):
    rgb = np.random.default_rng(0).integers(0, 65536, (3, 4, 3))
    planes = dict(zip('rgbx', [*np.moveaxis(rgb, 2, 0), np.full((3, 4), 9)], strict=True))
    pixels = np.stack([planes[name] for name in layout], axis=2).astype(order)
    rows = np.hstack([pixels.reshape(3, -1).view(np.uint8), np.zeros((3, 5), np.uint8)])
    decoded = to_rgb(library.image(encoding, (3, 4), rows.shape[1], rows.tobytes(), big))
    np.testing.assert_allclose(decoded, rgb * 255 / 65535, atol=0.51)


def _yuv(rgb: np.ndarray) -> np.ndarray:
    """Y, U, V (H, W, 3) by ITU-R BT.601, limited range, from its definition."""
    r, g, b = np.moveaxis(rgb / 255, 2, 0)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    u, v = (b - y) / (2 * (1 - 0.114)), (r - y) / (2 * (1 - 0.299))
    return np.rint(np.stack([16 + 219 * y, 128 + 224 * u, 128 + 224 * v], axis=2)).astype(np.uint8)


def _padded(plane: np.ndarray, pitch: int) -> bytes:
    padding = np.full((plane.shape[0], pitch - plane.shape[1]), 77, np.uint8)
    return np.hstack([plane, padding]).tobytes()


def _planar(encoding: str, yuv: np.ndarray, pitch: int) -> bytes:
    """The bytes that V4L2 describes for a format, rows `pitch` bytes apart in the luma."""
    y, colours = yuv[..., 0], yuv[..., 1:]
    step = 1 if encoding in ('nv24', 'nv42') else 2
    colours = colours[::step, ::step]
    if encoding in ('nv21', 'nv42', 'yv12'):
        colours = colours[..., ::-1]
    if encoding.startswith('nv'):
        plane = colours.reshape(colours.shape[0], -1)
        return _padded(y, pitch) + _padded(plane, pitch * 2 // step)
    planes = (_padded(colours[..., at], pitch // 2) for at in (0, 1))
    return _padded(y, pitch) + b''.join(planes)


PLANAR = ('nv12', 'nv21', 'i420', 'yuv420', 'yuv420p', 'yv12', 'nv24', 'nv42')
# Colours in blocks of 2x2, so that nothing is lost where they are shared.
BLOCKS = np.random.default_rng(1).integers(0, 256, (4, 6, 3), np.uint8).repeat(2, 0).repeat(2, 1)


@pytest.mark.parametrize('encoding', PLANAR)
@pytest.mark.parametrize('padding', [0, 4])
def test_planes_of_luma_and_colours(library, encoding, padding):
    height, width = BLOCKS.shape[:2]
    content = _planar(encoding, _yuv(BLOCKS), width + padding)
    message = library.image(encoding.upper(), (height, width), width + padding, content)
    np.testing.assert_allclose(to_rgb(message).astype(int), BLOCKS, atol=4)


@pytest.mark.parametrize(('encoding', 'parts'), [('nv12', 1.5), ('YUV420', 1.5), ('nv24', 3)])
def test_a_step_that_counts_the_colours(library, encoding, parts):
    """As depthai's driver fills it: length of the data over the height."""
    height, width = BLOCKS.shape[:2]
    content = _planar(encoding.lower(), _yuv(BLOCKS), width)
    message = library.image(encoding, (height, width), int(parts * width), content)
    np.testing.assert_allclose(to_rgb(message).astype(int), BLOCKS, atol=4)


@pytest.mark.parametrize(
    ('encoding', 'size', 'step', 'count', 'says'),
    [
        ('nv12', (4, 6), 6, 35, r'data has 35 bytes but 4 rows of 6 need 36; .* truncated'),
        ('nv12', (4, 6), 0, 36, 'step is 0 but a row of 6 nv12 pixels has 6 bytes of luma'),
        ('nv12', (4, 5), 6, 36, 'nv12 image is 5x4; .* both sides must be even'),
        ('yv12', (3, 6), 6, 36, 'both sides must be even'),
        ('i420', (4, 6), 7, 99, 'step is 7; rows of colour have half of it'),
        ('i420', (4, 6), 6, 35, 'truncated'),
        ('nv24', (4, 6), 12, 48, 'data has 48 bytes but 4 rows of 12 need 144'),
        ('nv21', (4, 6), 2**32 - 2, 36, 'truncated'),
        ('rgb16', (2, 2), 6, 24, 'step is 6 but a row of 2 rgb16 pixels has 12 bytes'),
    ],
)
def test_planes_that_cannot_be_are_refused(library, encoding, size, step, count, says):
    with pytest.raises(ConversionError, match=says):
        to_rgb(library.image(encoding, size, step, bytes(count)))


def test_the_last_row_of_planes_may_end_without_its_padding(library):
    height, width = BLOCKS.shape[:2]
    for encoding in PLANAR:
        content = _planar(encoding, _yuv(BLOCKS), width + 4)
        short = library.image(encoding, (height, width), width + 4, content[:-2])
        whole = library.image(encoding, (height, width), width + 4, content)
        np.testing.assert_array_equal(to_rgb(short), to_rgb(whole))


def test_a_size_beyond_the_limit_is_refused(library):
    with pytest.raises(ConversionError, match='4x3 pixels, more than max_pixels = 11; scale it'):
        to_rgb(library.image('mono8', (3, 4), 4, bytes(12)), max_pixels=11)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_no_fields_give_another_error(data):
    """Least of all a read behind the end of the data."""
    extreme = st.sampled_from([0, 1, 2, 3, 2**16, 2**31, 2**32 - 1])
    small = st.integers(0, 12)
    height, width, step = (data.draw(st.one_of(small, extreme)) for _ in range(3))
    row = step * height if step * height < 3000 else 60
    count = data.draw(st.sampled_from([0, row, row * 3 // 2, 3 * row, max(row - 1, 0), row + 5]))
    message = SimpleNamespace(
        encoding=data.draw(st.sampled_from([*ENCODINGS, 'rgb9'])),
        height=height,
        width=width,
        step=step,
        is_bigendian=data.draw(st.integers(0, 1)),
        data=bytes(count),
    )
    try:
        decoded = to_rgb(message)
    except ConversionError:
        return
    assert decoded.shape == (height, width, 3)
    assert decoded.dtype == np.uint8
