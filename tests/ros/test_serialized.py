"""Messages that are made in their serialised form, byte by byte against those of rclpy."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nndepth_core.camera import PinholeCamera, StereoCamera
from nndepth_ros import conversions
from nndepth_ros.bag import TYPES
from nndepth_ros.conversions import ros_message_types
from nndepth_ros.depth_images import compressed_depth_message

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from nndepth_ros.serialized import serialized_message_types, with_room

MESSAGES, BYTES = ros_message_types(), serialized_message_types()

stamps = st.tuples(st.integers(-(2**31), 2**31 - 1), st.integers(0, 10**9 - 1))
frames = st.text(st.characters(exclude_characters='\0', exclude_categories=['Cs']), max_size=9)
sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))
many = settings(max_examples=80, deadline=None)


@st.composite
def headers(draw):
    header = Header(frame_id=draw(frames))
    header.stamp.sec, header.stamp.nanosec = draw(stamps)
    return header


def assert_same(make) -> None:
    """What `make(types)` gives is the serialised form of the message, byte by byte.

    rclpy leaves the bytes between fields as they are, so these are made alike by another library.
    """
    made, message = make(BYTES), make(MESSAGES)
    expected = serialize_message(message)
    assert type(made) is bytes
    assert len(made) == len(expected)
    assert made[:4] == expected[:4]
    assert aligned(made, message) == aligned(expected, message)


def aligned(data: bytes, message) -> bytes:
    """The same serialised message with zeros between its fields."""
    kind = f'{type(message).__module__.split(".")[0]}/msg/{type(message).__name__}'
    return bytes(TYPES.serialize_cdr(TYPES.deserialize_cdr(data, kind), kind))


@many
@given(
    headers(),
    sizes,
    st.sampled_from([('mono8', 'u1'), ('bgr8', 'u1'), ('16UC1', 'u2'), ('32FC1', 'f4')]),
)
def test_images(header, size, layout):
    encoding, kind = layout
    shape = (*size, 3) if encoding == 'bgr8' else size
    pixels = np.random.default_rng(0).integers(0, 255, shape).astype(kind)
    assert_same(lambda types: conversions.image_message(types, header, pixels, encoding))


@many
@given(headers(), sizes, st.integers(4, 5), st.booleans())
@example(Header(), (1, 0), 4, True)  # a filtered cloud may have no points
def test_clouds(header, size, count, dense):
    points = np.random.default_rng(0).normal(size=(*size, count)).astype(np.float32)
    assert_same(lambda types: conversions.cloud_message(types, header, points, dense))


@many
@given(
    headers(),
    sizes,
    st.tuples(st.floats(1, 2000), st.floats(0.01, 1), st.floats(-30, 30)),
    st.floats(0, 1),
)
def test_disparities(header, size, numbers, resolution):
    focal, baseline, offset = numbers
    height, width = size
    camera = StereoCamera(PinholeCamera(width, height, focal, focal, 3, 2), baseline, 3 - offset)
    disparity = np.linspace(-2, 90, width * height, dtype=np.float32).reshape(height, width)
    disparity[0, 0] = np.nan
    assert_same(
        lambda types: conversions.disparity_message(
            types, header, disparity, camera, (0, 64), resolution
        )
    )


@many
@given(headers(), sizes, st.sampled_from(['32FC1', '16UC1']))
def test_compressed_depths(header, size, encoding):
    depth = np.linspace(0.2, 9, size[0] * size[1], dtype=np.float32).reshape(size)
    assert_same(lambda types: compressed_depth_message(types, header, depth, encoding))


@many
@given(headers(), sizes, st.floats(0, 9), st.floats(0.1, 9))
def test_colours(header, size, low, span):
    values = np.linspace(0, 9, size[0] * size[1], dtype=np.float32).reshape(size)
    values[-1, -1] = np.nan
    assert_same(lambda types: conversions.color_message(types, header, values, low, low + span))


def test_messages_do_not_share_their_data():
    def image(value):
        message, room = with_room(Image(height=1, width=1 << 16, step=1 << 16), 1 << 16)
        room[:] = value
        return message

    first, second = image(1), image(2)
    for message, value in ((first, 1), (second, 2)):
        assert set(deserialize_message(message, Image).data) == {value}


def test_data_live_as_long_as_their_view():
    room = with_room(Image(), 1 << 20)[1]
    room[:] = 7
    gc.collect()
    other = with_room(Image(), 1 << 20)[1]
    other[:] = 8
    assert (room == 7).all()
