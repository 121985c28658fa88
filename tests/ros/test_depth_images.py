"""Depth images in metres and millimetres, and `compressedDepth` as its plugin reads it."""

from __future__ import annotations

import numpy as np
import pytest
from depth_plugin import read_compressed_depth
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nndepth_core.camera import depth_in_millimetres
from nndepth_core.clouds import CloudSettings
from nndepth_ros.depth_images import NEAREST, compressed_depth_message, depth_message
from nndepth_ros.outputs import OutputSettings

DEPTH = np.float32(
    [[np.nan, np.inf, -np.inf, 0.0], [-1.0, 0.05, 0.1, 2.0], [65.5354, 65.536, 9, 1]]
)


def test_millimetres_are_0_where_16_bits_hold_none():
    expected = [[0, 0, 0, 0], [0, 50, 100, 2000], [65535, 0, 9000, 1000]]
    np.testing.assert_array_equal(depth_in_millimetres(DEPTH), expected)


@pytest.mark.parametrize(('encoding', 'dtype'), [('32FC1', '<f4'), ('16UC1', '<u2')])
def test_images_have_the_encoding_that_they_name(library, encoding, dtype):
    message = depth_message(library.types, library.header(5), DEPTH, encoding)
    assert (message.encoding, message.height, message.width) == (encoding, *DEPTH.shape)
    assert message.step == DEPTH.shape[1] * np.dtype(dtype).itemsize
    pixels = np.frombuffer(message.data, dtype).reshape(DEPTH.shape)
    expected = DEPTH if encoding == '32FC1' else depth_in_millimetres(DEPTH)
    np.testing.assert_array_equal(pixels, expected)


def test_the_plugin_reads_millimetres_exactly(library):
    message = compressed_depth_message(library.types, library.header(7), DEPTH, '16UC1')
    assert message.header.stamp.nanosec == 7
    assert message.format == '16UC1; compressedDepth png'
    np.testing.assert_array_equal(read_compressed_depth(message), depth_in_millimetres(DEPTH))


def test_the_plugin_reads_metres_and_what_is_too_far(library):
    message = compressed_depth_message(library.types, library.header(7), DEPTH, '32FC1')
    assert message.format == '32FC1; compressedDepth png'
    nan = np.nan
    expected = [[nan, np.inf, nan, nan], [nan, nan, 0.1, 2], [65.5354, 65.536, 9, 1]]
    np.testing.assert_allclose(read_compressed_depth(message), expected, rtol=0, atol=0.33)
    near = compressed_depth_message(library.types, library.header(7), DEPTH, '32FC1', 1.0)
    expected = [[nan, np.inf, nan, nan], [nan, nan, nan, 2], [65.5354, 65.536, 9, 1]]
    np.testing.assert_allclose(read_compressed_depth(near), expected, rtol=0, atol=0.033)


@given(
    depth=arrays(np.float32, (3, 5), elements=st.floats(0.125, 4000, width=32)),
    nearest=st.sampled_from([0.0, 0.125, 1.5]),
)
@example(depth=np.geomspace(0.1, 0.2, 20_000, dtype=np.float32)[None], nearest=0.0)
@example(depth=np.geomspace(1.5, 2000, 20_000, dtype=np.float32)[None], nearest=1.5)
def test_inverse_depths_are_as_exact_as_promised(bag_types, depth, nearest):
    message = compressed_depth_message(bag_types, None, depth, '32FC1', nearest)
    read, limit = read_compressed_depth(message), max(nearest, NEAREST)
    known = depth >= limit
    exact = depth.astype(np.float64)
    bound = exact**2 / (129000 * limit - exact)
    assert (np.abs(read - exact) <= bound)[known].all()
    assert np.isnan(read[depth < 0.999 * limit]).all()


@pytest.fixture(scope='module')
def bag_types():
    from nndepth_ros.bag import bag_message_types

    return bag_message_types()


def test_an_unknown_encoding_is_refused():
    with pytest.raises(ValueError, match="depth_encoding is '8UC1'; choose one of 32FC1, 16UC1"):
        OutputSettings(depth_encoding='8UC1')


def test_points_at_infinity_have_no_sigma():
    cloud = CloudSettings(far_depth=20.0)
    with pytest.raises(ValueError, match=r'cloud\.far_depth is 20\.0 and cloud_sigma is set'):
        OutputSettings(cloud=cloud, cloud_sigma=True)
