"""Compressed images to RGB, by the rules of image_transport."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import bags
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nndepth_ros.conversions import ConversionError, image_size, to_rgb
from nndepth_ros.stereo_pipeline import StereoInput

SMOOTH = cv2.GaussianBlur(bags.shifted_pair()[0], (0, 0), 3)


def _encoded(rgb: np.ndarray, suffix: str) -> bytes:
    return cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()


@pytest.mark.parametrize(
    ('kind', 'suffix', 'tolerance'),
    [
        ('png', '.png', 0),
        ('rgb8; png compressed bgr8', '.png', 0),
        ('jpeg', '.jpg', 12),
        ('bgr8; jpeg compressed bgr8', '.jpg', 12),
    ],
)
def test_compressed_images(library, kind, suffix, tolerance):
    decoded = to_rgb(library.compressed(kind, _encoded(SMOOTH, suffix)))
    np.testing.assert_allclose(decoded.astype(int), SMOOTH, atol=tolerance)


def test_compressed_grey_has_three_channels(library):
    grey = SMOOTH[..., 0]
    message = library.compressed(
        'mono8; png compressed mono8', cv2.imencode('.png', grey)[1].tobytes()
    )
    np.testing.assert_array_equal(to_rgb(message), grey[..., None].repeat(3, 2))


def test_compressed_bayer_is_demosaicked(library):
    mosaic = np.full((8, 8), 60, np.uint8)
    mosaic[::2, ::2], mosaic[1::2, 1::2] = 200, 10
    message = library.compressed(
        'bayer_rggb8; png compressed bayer_rggb8', cv2.imencode('.png', mosaic)[1].tobytes()
    )
    np.testing.assert_array_equal(to_rgb(message)[2:-2, 2:-2], np.full((4, 4, 3), (200, 60, 10)))


def test_zeros_behind_a_jpeg_do_no_harm(library):
    data = _encoded(SMOOTH, '.jpg')
    padded = to_rgb(library.compressed('jpeg', data + bytes(500)))
    np.testing.assert_array_equal(padded, to_rgb(library.compressed('jpeg', data)))


@pytest.mark.parametrize(
    ('data', 'says'),
    [
        (b'', 'compressed image of 0 bytes is none of JPEG'),
        (b'no picture at all', 'image of 17 bytes is none of JPEG'),
        (b'\xff\xd8' + bytes(90) + b'\xff\xd9', 'is none of JPEG'),
        (b'\xff\xd8\xff\xe0' + bytes(90) + b'\xff\xd9', 'is a damaged JPEG'),
        (_encoded(SMOOTH, '.jpg')[:-40], 'without end marker; it is cut off'),
        (_encoded(SMOOTH, '.jpg')[:200], 'image of 200 bytes ends inside its header'),
        (_encoded(SMOOTH, '.png')[:-40], 'without end; it is cut off'),
        (_encoded(SMOOTH, '.bmp'), 'is a BMP; give one of JPEG, PNG, TIFF'),
    ],
    ids=['nothing', 'text', 'marker', 'zeros', 'jpeg', 'jpeg header', 'png', 'bmp'],
)
def test_damaged_compressed_images_are_refused(library, data, says, capfd):
    with pytest.raises(ConversionError, match=says):
        to_rgb(library.compressed('jpeg', data))
    assert capfd.readouterr().err == ''


# What a publisher writes, the array it gives to OpenCV's encoder, and what was in the image.
RED_LEFT = np.zeros((16, 32, 3), np.uint8)
RED_LEFT[:, :16] = 200, 30, 20
RED_LEFT[:, 16:] = 10, 60, 220
BGR, GREY = RED_LEFT[..., ::-1].copy(), RED_LEFT[..., 0].copy()


@pytest.mark.parametrize(
    ('text', 'given', 'shows'),
    [
        # compressed_image_transport
        ('rgb8; jpeg compressed bgr8', BGR, RED_LEFT),
        ('bgra8; jpeg compressed bgr8', BGR, RED_LEFT),
        ('yuv422_yuy2; jpeg compressed bgr8', BGR, RED_LEFT),
        ('bayer_rggb8; jpeg compressed bgr8', BGR, RED_LEFT),
        ('rgb8; png compressed bgr8', BGR, RED_LEFT),
        ('; jpeg compressed bgr8', BGR, RED_LEFT),
        ('rgb16; png compressed bgr16', BGR.astype(np.uint16) * 257, RED_LEFT),
        ('mono8; jpeg compressed mono8', GREY, GREY),
        ('mono8; png compressed ', GREY, GREY),
        ('mono16; png compressed ', GREY.astype(np.uint16) * 257, GREY),
        ('16UC1; png compressed 16UC1', GREY.astype(np.uint16) * 257, GREY),
        ('mono16; jpeg compressed mono8', GREY, GREY),
        ('bgr8; tiff compressed bgr8', BGR, RED_LEFT),
        # publishers that encode an array without exchanging its channels, and say so
        ('rgb8; jpeg compressed rgb8', RED_LEFT, RED_LEFT),
        ('rgb8; png compressed rgb8', RED_LEFT, RED_LEFT),
        ('rgb8; png compressed ', RED_LEFT, RED_LEFT),
        ('8UC3; jpeg compressed 8UC3', BGR, RED_LEFT),
        # drivers and cv_bridge
        ('jpeg', BGR, RED_LEFT),
        ('jpg', BGR, RED_LEFT),
        ('JPEG', GREY, GREY),
        ('png', BGR, RED_LEFT),
        ('png', np.dstack([BGR, GREY]), RED_LEFT),
        ('', BGR, RED_LEFT),
    ],
)
def test_the_format_gives_the_order_of_the_channels(library, text, given, shows):
    codec = next((name for name in ('png', 'tiff') if name in text.lower()), 'jpg')
    message = library.compressed(text, cv2.imencode(f'.{codec}', given)[1].tobytes())
    if shows.ndim == 2:
        shows = shows[..., None].repeat(3, axis=2)
    tolerance = 6 if codec == 'jpg' else 0
    inside = to_rgb(message)[:, np.r_[:14, 18:32]].astype(int)  # JPEG blurs the edge of colours
    np.testing.assert_allclose(inside, shows[:, np.r_[:14, 18:32]], atol=tolerance)


@pytest.mark.parametrize('text', ['bayer_rggb8; png compressed ', 'bayer_RGGB8; jpeg compressed '])
def test_a_mosaic_that_was_left_as_it_is_is_demosaicked(library, text):
    mosaic = np.tile(np.array([[200, 60], [60, 10]], np.uint8), (8, 8))
    message = library.compressed(text, cv2.imencode('.png', mosaic)[1].tobytes())
    np.testing.assert_array_equal(to_rgb(message)[2:-2, 2:-2], np.full((12, 12, 3), (200, 60, 10)))


@pytest.mark.parametrize(
    ('text', 'says'),
    [
        ('h264', "format 'h264' is unknown; publish jpeg, png, or"),
        ('rgb8; jpeg', 'is unknown'),
        ('rgb8; jpeg compressed lab8', 'is unknown'),
        ('rgb8; ffmpeg compressed bgr8', 'is unknown'),
        ('bayer_gggg8; png compressed ', 'is unknown'),
        ('16UC1; compressedDepth png', 'which is of depth images; give the compressed camera'),
        ('32FC1; compressedDepth', 'which is of depth images'),
    ],
)
def test_formats_that_say_something_else_are_refused(library, text, says):
    with pytest.raises(ConversionError, match=says):
        to_rgb(library.compressed(text, _encoded(SMOOTH, '.png')))


def test_orientation_is_not_applied(library):
    """Viewers and image_transport leave EXIF alone, and the calibration is of stored pixels."""
    tiff = b'MM\0*' + struct.pack('>IHHHIHHI', 8, 1, 274, 3, 1, 6, 0, 0)
    block = b'\xff\xe1' + struct.pack('>H', len(tiff) + 8) + b'Exif\0\0' + tiff
    data = _encoded(SMOOTH, '.jpg')
    turned = library.compressed('jpeg', data[:2] + block + data[2:])
    np.testing.assert_array_equal(to_rgb(turned), to_rgb(library.compressed('jpeg', data)))


def test_pictures_are_refused_by_what_their_header_claims(library, monkeypatch):
    monkeypatch.setattr(cv2, 'imdecode', None)  # nothing may be decoded
    data = bytearray(cv2.imencode('.jpg', GREY)[1].tobytes())
    at = data.index(b'\xff\xc0') + 5
    data[at : at + 4] = struct.pack('>HH', 20000, 20000)
    bomb = library.compressed('jpeg', bytes(data))
    assert len(data) < 700
    assert image_size(bomb) == (20000, 20000)
    with pytest.raises(ConversionError, match='20000x20000 pixels, more than max_pixels'):
        to_rgb(bomb)
    small = library.compressed('jpeg', _encoded(RED_LEFT, '.jpg'))
    with pytest.raises(ConversionError, match='has 32x16 pixels, more than max_pixels = 511'):
        to_rgb(small, max_pixels=511)


def test_an_image_that_does_not_fit_its_camera_info_is_not_decoded(library, monkeypatch):
    monkeypatch.setattr(cv2, 'imdecode', None)
    image = library.compressed('jpeg', _encoded(SMOOTH, '.jpg'))
    infos = [
        library.info(np.array([50, 0, 20, shift, 0, 50, 10, 0, 0, 0, 1, 0]), (10, 20))
        for shift in (0, -5)
    ]
    height, width = SMOOTH.shape[:2]
    with pytest.raises(ValueError, match=f'images of 20x10 but they are {width}x{height}'):
        StereoInput.from_messages(image, image, *infos)


def _mutated(original: bytes, at: int, change: bytes, length: int) -> bytes:
    at %= len(original)
    return original[:at] + change + original[at + length :]


@given(
    text=st.one_of(
        st.text(max_size=30), st.sampled_from(['', 'jpeg', 'rgb8; png compressed rgb8'])
    ),
    data=st.builds(
        _mutated,
        st.sampled_from([_encoded(RED_LEFT, suffix) for suffix in ('.jpg', '.png', '.tiff')]),
        st.integers(0, 2000),
        st.binary(max_size=8),
        st.integers(0, 60),
    ),
)
@settings(max_examples=100, deadline=None)
def test_no_message_gives_another_error(text, data):
    message = SimpleNamespace(format=text, data=data)
    try:
        decoded = to_rgb(message, max_pixels=100_000)
    except ConversionError:
        return
    assert decoded.dtype == np.uint8
    assert decoded.shape[1::-1] == image_size(message)
