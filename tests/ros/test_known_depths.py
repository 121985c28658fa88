"""Depths of other sensors and nodes as they stand in messages, of rclpy and of rosbags."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from nndepth_core.camera import PinholeCamera, StereoCamera
from nndepth_ros.conversions import cloud_message, disparity_message, image_message
from nndepth_ros.encodings import ConversionError
from nndepth_ros.known_depths import depth_of_disparity, depth_of_image, points_of_cloud

DEPTH = np.float32([[1.5, np.nan, 3.0], [0.25, 20.0, np.inf]])
CAMERA = PinholeCamera(3, 2, 50.0, 50.0, 1.0, 0.5)


def field(name: str, offset: int, datatype: int = 7) -> SimpleNamespace:
    return SimpleNamespace(name=name, offset=offset, datatype=datatype, count=1)


def cloud(**changes) -> SimpleNamespace:
    """Two points of three float32."""
    data = np.float32([[1, 2, 3], [4, 5, 6]]).tobytes()
    fields = [field(name, 4 * index) for index, name in enumerate('xyz')]
    facts = {'height': 1, 'width': 2, 'point_step': 12, 'row_step': 24, 'is_bigendian': False}
    return SimpleNamespace(**{**facts, 'fields': fields, 'data': data, **changes})


def picture(**changes) -> SimpleNamespace:
    facts = {'encoding': '32FC1', 'height': 2, 'width': 3, 'step': 12, 'is_bigendian': 0}
    return SimpleNamespace(**{**facts, 'data': DEPTH.tobytes(), **changes})


def test_depth_in_metres(library):
    message = image_message(library.types, library.header(0), DEPTH, '32FC1')
    np.testing.assert_array_equal(depth_of_image(message), DEPTH)


@pytest.mark.parametrize('encoding', ['16UC1', 'mono16'])
def test_depth_in_millimetres(library, encoding):
    millimetres = np.uint16([[0, 1500], [65535, 1]])
    message = image_message(library.types, library.header(0), millimetres, encoding)
    np.testing.assert_allclose(depth_of_image(message), [[0, 1.5], [65.535, 0.001]], rtol=1e-6)


def test_rows_may_be_padded_and_bytes_exchanged(library):
    rows = np.zeros((2, 5), '>f4')
    rows[:, :3] = DEPTH
    message = library.image('32FC1', (2, 3), 20, rows.tobytes(), big=1)
    np.testing.assert_array_equal(depth_of_image(message), DEPTH)


def test_a_disparity_of_the_stereo_node_gives_its_depth(library):
    """Also where the principal points differ, and where the disparity is unknown."""
    camera = StereoCamera(CAMERA, 0.2, 0.25)
    disparity = camera.depth_to_disparity(DEPTH)
    header = library.header(0)
    message = disparity_message(library.types, header, disparity, camera, (0.0, 64.0), 0.0)
    expected = np.where(np.isfinite(DEPTH), DEPTH, np.nan)
    np.testing.assert_allclose(depth_of_disparity(message), expected, rtol=1e-5)


def test_points_of_our_own_cloud(library):
    points = CAMERA.colored_points(DEPTH, np.zeros((2, 3, 3), np.uint8))
    message = cloud_message(library.types, library.header(0), points)
    np.testing.assert_array_equal(points_of_cloud(message), points[..., :3].reshape(-1, 3))


def test_points_of_any_layout():
    """Doubles of the other byte order, in another order, with something between and after rows."""
    layout = {'names': ['z', 'x', 'y'], 'formats': ['>f8', '>f4', '>f8'], 'offsets': [1, 9, 20]}
    given = np.zeros((2, 2), np.dtype({**layout, 'itemsize': 30}))
    given['x'], given['y'], given['z'] = [[1, 2], [3, 4]], 5, [[6, 7], [8, 9]]
    data = b''.join(row.tobytes() + b'end' for row in given)
    fields = [field('z', 1, 8), field('x', 9), field('y', 20, 8), field('rgb', 13)]
    facts = {'height': 2, 'point_step': 30, 'row_step': 63, 'is_bigendian': True}
    found = points_of_cloud(cloud(fields=fields, data=data, **facts))
    np.testing.assert_array_equal(found, [[1, 5, 6], [2, 5, 7], [3, 5, 8], [4, 5, 9]])


def test_an_empty_cloud_has_no_points():
    assert points_of_cloud(cloud(width=0, row_step=0, data=b'')).shape == (0, 3)


@pytest.mark.parametrize(
    ('read', 'message', 'says'),
    [
        (depth_of_image, picture(encoding='rgb8'), "'rgb8' is none of depth; publish 32FC1, 16U"),
        (depth_of_image, picture(step=11), 'step is 11'),
        (depth_of_image, picture(data=b'1234'), 'truncated'),
        (depth_of_image, picture(width=0), 'both sides must be at least 1'),
        (depth_of_disparity, SimpleNamespace(f=0.0, t=0.1), 'f is 0.0 and T 0.1'),
        (depth_of_disparity, SimpleNamespace(f=9.0, t=float('nan')), 'both must be positive'),
        (
            depth_of_disparity,
            SimpleNamespace(f=9.0, t=0.1, image=picture(encoding='16SC1')),
            "'16SC1' is none of disparity; publish 32FC1",
        ),
        (points_of_cloud, cloud(fields=[field('x', 0)]), 'no field y of float32 or float64'),
        (points_of_cloud, cloud(fields=[field(n, 0, 5) for n in 'xyz']), 'no field x of float32'),
        (points_of_cloud, cloud(point_step=10), 'field z ends beyond point_step, which is 10'),
        (points_of_cloud, cloud(row_step=20), 'too few for 1 rows of 2 points'),
        (points_of_cloud, cloud(height=2), 'data has 24 bytes, which is too few'),
    ],
)
def test_what_cannot_be_understood_is_refused_with_the_reason(read, message, says):
    with pytest.raises(ConversionError) as refusal:
        read(message)
    assert says in str(refusal.value)
