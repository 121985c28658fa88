"""Geometry against closed forms: a plane seen through disparity must come back exactly."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nndepth_core import CalibrationError, PinholeCamera, StereoCamera
from nndepth_core.camera import limited_depth

WIDTH, HEIGHT = 64, 48
NORMAL, OFFSET = np.array([0.3, -0.4, 0.6]), 4.0  # the plane NORMAL . X = OFFSET

cameras = st.builds(
    lambda fx, fy, cx, cy, baseline, doffs: StereoCamera(
        PinholeCamera(WIDTH, HEIGHT, fx, fy, cx, cy), baseline, cx + doffs
    ),
    st.floats(80, 200),
    st.floats(80, 200),
    st.floats(20, 44),
    st.floats(15, 33),
    st.floats(0.05, 0.6),
    st.floats(-30, 30),
)
few = settings(max_examples=25, deadline=None)


def project(camera: PinholeCamera, point: np.ndarray) -> np.ndarray:
    """Pixel (x, y) of points (..., 3) by the definition of a pinhole."""
    x, y, z = np.moveaxis(np.asarray(point, np.float64), -1, 0)
    return np.stack([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy], axis=-1)


def plane_depth(camera: PinholeCamera) -> np.ndarray:
    """Depth (H, W) at which the ray of each pixel meets the plane."""
    x = (np.arange(camera.width) - camera.cx) / camera.fx
    y = (np.arange(camera.height) - camera.cy) / camera.fy
    return OFFSET / (NORMAL[0] * x + NORMAL[1] * y[:, None] + NORMAL[2])


def assert_recovers_plane(pair: StereoCamera) -> None:
    """Disparity of the plane, by projecting its points, leads back to points of the plane."""
    depth = plane_depth(pair.left)
    disparity = pair.focal_baseline / depth + pair.left.cx - pair.cx_right
    points = pair.left.points(pair.disparity_to_depth(disparity.astype(np.float32)))
    np.testing.assert_allclose(points @ NORMAL, OFFSET, rtol=2e-4)
    columns, rows = np.meshgrid(np.arange(pair.left.width), np.arange(pair.left.height))
    np.testing.assert_allclose(
        project(pair.left, points), np.stack([columns, rows], axis=-1), atol=1e-2
    )


@few
@given(cameras, st.floats(-1, 1), st.floats(-1, 1), st.floats(0.5, 50))
def test_disparity_is_the_difference_of_both_projections(pair, x, y, z):
    right = PinholeCamera(WIDTH, HEIGHT, pair.left.fx, pair.left.fy, pair.cx_right, pair.left.cy)
    seen_left = project(pair.left, np.array([x, y, z]))
    seen_right = project(right, np.array([x - pair.baseline, y, z]))
    disparity = np.array([[seen_left[0] - seen_right[0]]], np.float32)

    assert seen_left[1] == seen_right[1]
    assert pair.cx_offset == pair.left.cx - pair.cx_right
    assert pair.depth_to_disparity(np.array([[z]]))[0, 0] == pytest.approx(
        disparity[0, 0], abs=1e-4
    )
    expected = pair.focal_baseline / (float(disparity[0, 0]) - pair.cx_offset)
    assert pair.disparity_to_depth(disparity)[0, 0] == pytest.approx(expected, rel=1e-3)


@few
@given(cameras)
def test_plane_comes_back_at_full_size(pair):
    assert_recovers_plane(pair)


@few
@given(cameras, st.integers(16, 150), st.integers(16, 150))
def test_plane_comes_back_after_resizing(pair, width, height):
    resized = pair.resized(width, height)
    assert_recovers_plane(resized)
    # a pixel keeps its ray: centres map by (x + 0.5) * scale - 0.5, disparities by the scale
    scale = np.array([width / WIDTH, height / HEIGHT])
    point = np.array([0.2, -0.1, 3.0])
    expected = (project(pair.left, point) + 0.5) * scale - 0.5
    np.testing.assert_allclose(project(resized.left, point), expected, atol=1e-9)
    assert resized.focal_baseline == pytest.approx(pair.focal_baseline * scale[0])
    assert resized.cx_offset == pytest.approx(pair.cx_offset * scale[0])


@few
@given(cameras, st.integers(0, 30), st.integers(0, 20))
def test_plane_comes_back_inside_a_window(pair, x, y):
    window = pair.cropped(x, y, 20, 16)
    assert (window.left.width, window.left.height) == (20, 16)
    assert window.cx_offset == pytest.approx(pair.cx_offset)
    assert_recovers_plane(window)
    expected = plane_depth(pair.left)[y : y + 16, x : x + 20]
    np.testing.assert_allclose(plane_depth(window.left), expected, rtol=1e-9)


@few
@given(cameras, st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 3]))
def test_plane_comes_back_after_binning(pair, binning_x, binning_y):
    binned = pair.binned(binning_x, binning_y)
    assert (binned.left.width, binned.left.height) == (WIDTH // binning_x, HEIGHT // binning_y)
    point = np.array([0.2, -0.1, 3.0])
    np.testing.assert_allclose(
        project(binned.left, point), project(pair.left, point) / (binning_x, binning_y)
    )
    assert binned.cx_offset == pytest.approx(pair.cx_offset / binning_x)
    assert_recovers_plane(binned)


@few
@given(cameras, st.floats(0.3, 100))
def test_depth_and_disparity_are_inverse(pair, depth):
    there = pair.depth_to_disparity(np.array([[depth]], np.float32))
    assert pair.disparity_to_depth(there)[0, 0] == pytest.approx(depth, rel=1e-2)


@pytest.fixture
def pair():
    """F * B is 10 px m; a point at infinity has the disparity 2."""
    return StereoCamera(PinholeCamera(8, 6, 100.0, 100.0, 4.0, 3.0), 0.1, 2.0)


def test_depth_follows_rep_117(pair):
    disparity = np.array([[np.nan, 2.0, 1.0, -5.0, 2.1, 7.0, 12.0, 102.0]], np.float32)
    np.testing.assert_allclose(
        pair.disparity_to_depth(disparity),
        [[np.nan, np.inf, np.inf, np.inf, 100.0, 2.0, 1.0, 0.1]],
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        pair.disparity_to_depth(disparity, min_depth=0.5, max_depth=50.0),
        [[np.nan, np.inf, np.inf, np.inf, np.inf, 2.0, 1.0, -np.inf]],
        rtol=1e-5,
    )


def test_depth_of_negative_zero_is_beyond_not_before():
    pair = StereoCamera(PinholeCamera(4, 1, 100.0, 100.0, 2.0, 0.0), 0.1, 2.0)
    assert (pair.disparity_to_depth(np.array([[-0.0, 0.0]], np.float32)) == np.inf).all()


def test_disparity_of_depth_values(pair):
    depth = np.array([[np.nan, np.inf, -np.inf, 0.0, -1.0, 5.0]], np.float32)
    expected = [[np.nan, 2.0, np.nan, np.nan, np.nan, 4.0]]
    np.testing.assert_allclose(pair.depth_to_disparity(depth), expected)


@pytest.mark.filterwarnings('error')
def test_points_are_nan_where_depth_is_not_finite(pair):
    depth = np.full((6, 8), 2.0, np.float32)
    depth[0, :3] = np.nan, np.inf, -np.inf
    points = pair.left.points(depth)
    assert points.dtype == np.float32
    assert np.isnan(points[0, :3]).all()
    np.testing.assert_allclose(points[5, 6], [2 * (6 - 4) / 100, 2 * (5 - 3) / 100, 2.0])


def test_colored_points_carry_packed_bgr(pair):
    rgb = np.zeros((6, 8, 3), np.uint8)
    rgb[2, 3] = 10, 20, 30
    cloud = pair.left.colored_points(np.full((6, 8), 1.5, np.float32), rgb)
    assert cloud.shape == (6, 8, 4)
    assert cloud[2, 3, 3:].view(np.uint8)[:3].tolist() == [30, 20, 10]
    np.testing.assert_array_equal(
        cloud[..., :3], pair.left.points(np.full((6, 8), 1.5, np.float32))
    )


def projection(fx: float = 100.0, cx: float = 4.0, tx: float = 0.0) -> list[float]:
    return [fx, 0, cx, tx, 0, 100.0, 3.0, 0, 0, 0, 1, 0]


def test_projections_give_baseline_and_offset():
    pair = StereoCamera.from_projections(projection(), projection(cx=6.0, tx=-12.0), 8, 6)
    assert (pair.baseline, pair.cx_offset, pair.focal_baseline) == (0.12, -2.0, 12.0)


def test_baseline_counts_from_the_left_camera():
    """KITTI's colour pair stands to both sides of the camera the world is tied to."""
    pair = StereoCamera.from_projections(projection(tx=6.0), projection(tx=-12.0), 8, 6)
    assert pair.baseline == pytest.approx(0.18)


def test_kittis_colour_pair():
    """Every entry of the last columns counts; the published baseline is 0.5327 m."""
    rows = [721.5377, 0, 609.5593], [0, 721.5377, 172.854], [0, 0, 1]
    columns = [44.85728, 0.2163791, 0.002745884], [-339.5242, 2.199936, 0.002729905]
    left, right = (
        [value for row, last in zip(rows, column, strict=True) for value in (*row, last)]
        for column in columns
    )
    assert StereoCamera.from_projections(left, right, 1242, 375).baseline == pytest.approx(
        0.5327, abs=1e-4
    )


@pytest.mark.parametrize('share', [0.0, 0.5, 1.0])
def test_the_origin_may_lie_anywhere_between_the_cameras(share):
    p_left, p_right = projection(tx=12.0 * share), projection(tx=12.0 * (share - 1))
    pair = StereoCamera.from_projections(p_left, p_right, 8, 6)
    assert pair.disparity_to_depth(np.full((6, 8), 4.0, np.float32))[0, 0] == pytest.approx(3.0)


@few
@given(
    focal=st.tuples(st.floats(80, 900), st.floats(80, 900)),
    pixel=st.tuples(st.integers(0, 7), st.integers(0, 5)),
    cx_offset=st.floats(-40, 40),
    point=st.tuples(st.floats(-5, 5), st.floats(-5, 5), st.floats(0.5, 20)),
    left_at=st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(-0.1, 0.1)),
    baseline=st.floats(0.05, 2),
)
def test_points_come_back_from_their_two_projections(
    focal, pixel, cx_offset, point, left_at, baseline
):
    """P = K [I | -position] of both cameras, wherever the origin of their frame is."""
    (fx, fy), (column, row) = focal, pixel
    seen = np.subtract(point, left_at)
    cx, cy = column - fx * seen[0] / seen[2], row - fy * seen[1] / seen[2]
    p = []
    for centre, at in ((cx, left_at), (cx - cx_offset, np.add(left_at, (baseline, 0, 0)))):
        k = np.array([[fx, 0, centre], [0, fy, cy], [0, 0, 1]])
        p.append(np.column_stack([k, -k @ at]))
    (u_left, _), (u_right, _) = (
        projected[:2] / projected[2] for projected in (matrix @ (*point, 1) for matrix in p)
    )
    pair = StereoCamera.from_projections(p[0].ravel(), p[1].ravel(), 8, 6)
    assert u_left == pytest.approx(column, abs=1e-6)
    disparity = np.full((6, 8), u_left - u_right, np.float32)
    points = pair.left.points(pair.disparity_to_depth(disparity))
    np.testing.assert_allclose(points[row, column], point, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(np.reshape(pair.left.projection(), (3, 4)), p[0], atol=1e-9)


def test_vertical_pairs_are_named():
    lower = [100.0, 0, 4, 0, 0, 100, 3, -12, 0, 0, 1, 0]
    with pytest.raises(
        CalibrationError, match=r'vertical pair: by P\[7\] the right .* 0.12 m below'
    ):
        StereoCamera.from_projections(projection(), lower, 8, 6)
    with pytest.raises(CalibrationError, match=r'the left camera stands 0\.12 m below'):
        StereoCamera.from_projections(lower, projection(), 8, 6)


@pytest.mark.parametrize(
    ('p_left', 'p_right', 'size', 'words'),
    [
        (projection(), projection(tx=0.0), (8, 6), 'baseline is 0'),
        (projection(), projection(tx=12.0), (8, 6), 'swapped'),
        (projection(), projection(tx=np.nan), (8, 6), 'finite'),
        (projection(), projection(cx=np.inf, tx=-12), (8, 6), 'finite'),
        (projection(cx=np.nan), projection(tx=-12), (8, 6), 'cx is nan'),
        (projection(fx=0.0), projection(tx=-12), (8, 6), 'calibrated'),
        (projection(), projection(fx=110.0, tx=-12), (8, 6), 'one focal length'),
        (projection()[:9], projection(tx=-12), (8, 6), '9 entries'),
        (projection(), projection(tx=-12), (0, 6), '0x6'),
    ],
)
def test_bad_calibrations_are_named(p_left, p_right, size, words):
    with pytest.raises(CalibrationError, match=words):
        StereoCamera.from_projections(p_left, p_right, *size)


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize(
    ('baseline', 'limits', 'expected'),
    [
        (1e300, (0, math.inf), math.inf),
        (1e-300, (0, math.inf), 0),
        (0.1, (1e99, math.inf), -math.inf),
        (0.1, (0, 1e99), 1),
    ],
)
def test_numbers_beyond_float32_are_infinite_or_nought_in_silence(baseline, limits, expected):
    pair = StereoCamera(PinholeCamera(8, 6, 100, 100, 4, 3), baseline, 4)
    depth = pair.disparity_to_depth(np.full((6, 8), 10, np.float32), *limits)
    np.testing.assert_array_equal(depth, np.float32(expected))
    pair.left.points(depth)
    pair.depth_to_disparity(depth)


def test_limits_are_written_into_a_depth_by_rep_117():
    depth = np.array([[np.nan, -np.inf, 0.5, 1, 4, 5, np.inf]], np.float32)
    limited = limited_depth(depth.copy(), 1.0, 4.0)
    expected = [[np.nan, -np.inf, -np.inf, 1, 4, np.inf, np.inf]]
    np.testing.assert_array_equal(limited, np.array(expected, np.float32))
    np.testing.assert_array_equal(limited_depth(depth.copy()), depth)
