"""Maps that are computed strip by strip are those of one pass, wherever they are written."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nndepth_core import PinholeCamera, StereoCamera
from nndepth_core.strips import strips
from nndepth_core.visualization import colorize

SIZES = [(3, 5), (211, 613), (700, 97), (2, 40_000)]  # of less than one, many, wide strips
PAIR = StereoCamera(PinholeCamera(613, 211, 500.0, 510.0, 300.2, 99.7), 0.1, 290.0)


def a_map(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Floats with all that a map can hold."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(-5, 90, shape).astype(np.float32)
    values[rng.random(shape) < 0.2] = np.nan
    values[rng.random(shape) < 0.1] = np.inf
    values[rng.random(shape) < 0.1] = -np.inf
    return values


@settings(deadline=None)
@given(st.lists(st.integers(0, 3000), min_size=1, max_size=2))
def test_strips_hold_every_row_once(shape):
    values = np.zeros(shape, np.uint8)
    for rows in strips(values):
        assert values[rows].size > 0 or 0 in shape
        values[rows] += 1
    assert (values == 1).all()


@pytest.fixture(params=[False, True], ids=['new', 'out'])
def out(request):
    """Return a function that makes the array to write to, inside of a larger one, or None."""

    def make(shape, kind):
        return np.full((shape[0] + 2, *shape[1:]), 9, kind)[1:-1] if request.param else None

    return make


def written(result: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    """Check that the result is where it was asked for, and that nothing else was changed."""
    if out is not None:
        assert result is out
        assert (out.base[[0, -1]] == 9).all()
    return result


@pytest.mark.parametrize('shape', SIZES)
@pytest.mark.parametrize('limits', [(0.0, np.inf), (0.7, 20.0)])
def test_depths(shape, limits, out):
    disparity, target = a_map(shape), out(shape, np.float32)
    with np.errstate(all='ignore'):
        expected = np.float32(PAIR.focal_baseline) / np.maximum(
            disparity - np.float32(PAIR.cx_offset), 0
        )
        expected = np.where(expected > limits[1], np.float32(np.inf), expected)
        expected = np.where(expected < limits[0], np.float32(-np.inf), expected)
    depth = written(PAIR.disparity_to_depth(disparity, *limits, out=target), target)
    np.testing.assert_array_equal(depth, expected)
    assert depth.dtype == np.float32


@pytest.mark.parametrize('shape', SIZES)
@pytest.mark.parametrize('position', [(0.0, 0.0, 0.0), (0.2, -0.1, 0.01)])
@pytest.mark.parametrize('more', [0, 1])
def test_points(shape, position, more, out):
    height, width = shape
    camera = PinholeCamera(width, max(1, height), 500.0, 510.0, 300.2, 99.7, position=position)
    depth, maps = a_map(shape), [a_map(shape, 1)] * more
    rgb = np.random.default_rng(2).integers(0, 256, (*shape, 3), np.uint8)
    z = np.where(np.isfinite(depth), depth, np.float32(np.nan))
    x = ((np.arange(width) - 300.2) / 500).astype(np.float32)
    y = ((np.arange(height) - 99.7) / 510).astype(np.float32)[:, None]
    places = np.stack([z * x, z * y, z], axis=-1) + np.float32(position)
    target = out((*shape, 4 + more), np.float32)
    cloud = written(camera.colored_points(depth, rgb, *maps, out=target), target)
    assert (cloud.shape, cloud.dtype) == ((*shape, 4 + more), np.float32)
    np.testing.assert_array_equal(cloud[..., :3], places)
    colors = cloud.view(np.uint8).reshape(*shape, -1)[..., 12:16]
    np.testing.assert_array_equal(colors[..., 2::-1], rgb)
    assert (colors[..., 3] == 255).all()
    for values, found in zip(maps, np.moveaxis(cloud[..., 4:], -1, 0), strict=True):
        np.testing.assert_array_equal(found, values)
    target = out((*shape, 3), np.float32)
    points = written(camera.points(depth, out=target), target)
    np.testing.assert_array_equal(points, places)


@pytest.mark.parametrize('shape', SIZES)
@pytest.mark.parametrize('order', ['rgb', 'bgr'])
def test_pictures(shape, order, out):
    values, target = a_map(shape), out((*shape, 3), np.uint8)
    known = np.where(np.isnan(values), -3 - 83 / 254, np.clip(values, -3, 80)).astype(np.float32)
    index = cv2.convertScaleAbs(known.reshape(1, -1), alpha=254 / 83, beta=1 + 3 * 254 / 83)
    table = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_TURBO)[:, 0]
    table[0] = 0
    expected = table[index].reshape(*shape, 3)
    if order == 'rgb':
        expected = expected[..., ::-1]
    picture = written(colorize(values, -3.0, 80.0, order, out=target), target)
    np.testing.assert_array_equal(picture, expected)
