"""Filtered clouds: what is kept, what voxels hold, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nndepth_core.camera import PinholeCamera
from nndepth_core.clouds import CloudSettings, Heights, filtered_points, strided, voxel_means

CAMERA = PinholeCamera(7, 5, 4.0, 5.0, 3.2, 1.9, position=(0.1, -0.2, 0.3))
DEPTHS = st.one_of(
    st.floats(0.125, 1000, width=32), st.sampled_from([np.nan, np.inf, -np.inf, 1.0, 1.0])
)
LEAVES = st.sampled_from([0.01, 0.05, 0.3, 2.0, 1e-6])


def colors(shape=(5, 7)) -> np.ndarray:
    values = np.arange(np.prod(shape) * 3) * 37 % 256
    return values.astype(np.uint8).reshape(*shape, 3)


def bits(points: np.ndarray) -> np.ndarray:
    """The values as whole numbers, since colours may be no numbers."""
    return np.ascontiguousarray(points).view(np.uint32)


def bgr(points: np.ndarray) -> np.ndarray:
    return points[:, 3].copy().view(np.uint8).reshape(-1, 4)[:, :3]


@given(arrays(np.float32, (5, 7), elements=DEPTHS))
def test_nothing_finite_is_lost_without_a_filter(depth):
    points = filtered_points(depth, colors(), CAMERA, CloudSettings(voxel_size=0))
    organised = CAMERA.colored_points(depth, colors())
    np.testing.assert_array_equal(bits(points), bits(organised[np.isfinite(depth)]))


@given(arrays(np.float32, (5, 7), elements=DEPTHS), LEAVES)
def test_each_voxel_holds_one_point_amid_its_points(depth, size):
    every = filtered_points(depth, colors(), CAMERA, CloudSettings(voxel_size=0))
    points = voxel_means(every, size)
    cells = np.floor(every[:, :3] / np.float64(size))
    voxels, owner = np.unique(cells, axis=0, return_inverse=True)
    assert len(points) == len(voxels)
    inside = [every[owner.reshape(-1) == index][:, :3] for index in range(len(voxels))]
    for point, others in zip(points[:, :3], inside, strict=True):  # both in the order of voxels
        np.testing.assert_allclose(point, others.mean(axis=0, dtype=np.float64), rtol=1e-6)
        nearest = np.linalg.norm(point - others.astype(np.float64), axis=1).min()
        assert nearest <= size * np.sqrt(3) / 2 + 1e-6 * np.abs(point).max()


def test_places_colours_and_sigma_are_means():
    depth = np.float32([[1.0, 1.02, 3.0]])
    rgb = np.uint8([[[10, 20, 200], [13, 24, 255], [1, 2, 3]]])
    sigma = np.float32([[0.1, 0.3, 0.5]])
    camera = PinholeCamera(3, 1, 100.0, 100.0, 0.0, 0.0)
    points = filtered_points(depth, rgb, camera, CloudSettings(voxel_size=0.5), sigma, True)
    assert points.dtype == np.float32
    np.testing.assert_allclose(
        points[:, [0, 1, 2, 4]], [[0.0051, 0, 1.01, 0.2], [0.06, 0, 3, 0.5]], rtol=1e-6
    )
    np.testing.assert_array_equal(bgr(points), [[228, 22, 12], [3, 2, 1]])


@given(
    arrays(np.float32, (5, 7), elements=DEPTHS),
    arrays(np.float32, (5, 7), elements=st.sampled_from([0, 0.01, 0.04, 0.3, np.inf, np.nan])),
)
def test_voxels_are_as_wide_as_sigma_asks(depth, sigma):
    settings = CloudSettings(voxel_size=0.05, voxel_sigmas=2.0)
    points = filtered_points(depth, colors(), CAMERA, settings, sigma)
    assert points.shape[1] == 4
    every = filtered_points(depth, colors(), CAMERA, CloudSettings(voxel_size=0))
    doubled = {0.04: 1, 0.3: 4}  # 0.08 m needs 0.1, 0.6 m needs 0.8
    levels = np.array([doubled.get(round(float(s), 2), 0) for s in sigma[np.isfinite(depth)]])
    cells = np.floor(every[:, :3] / (0.05 * 2.0 ** levels[:, None]))
    voxels = {(level, *cell) for level, cell in zip(levels.tolist(), cells.tolist(), strict=True)}
    assert len(points) == len(voxels)


def test_the_grid_begins_at_the_origin_on_both_sides():
    points = np.zeros((4, 4), np.float32)
    points[:, 0] = [-0.01, 0.01, 0.04, -0.06]
    np.testing.assert_allclose(voxel_means(points, 0.05)[:, 0], [-0.06, -0.01, 0.025])


@pytest.mark.parametrize('step', [1, 2, 3, 9])
def test_a_stride_keeps_rows_and_columns_where_they_are(step):
    depth = np.linspace(1, 2, 35, dtype=np.float32).reshape(5, 7)
    settings = CloudSettings(stride=step, voxel_size=0)
    points = filtered_points(depth, colors(), CAMERA, settings)
    expected = CAMERA.colored_points(depth, colors())[::step, ::step].reshape(-1, 4)
    np.testing.assert_allclose(points[:, :3], expected[:, :3], rtol=1e-6)
    np.testing.assert_array_equal(bits(points[:, 3]), bits(expected[:, 3]))
    assert strided(CAMERA, 1) == CAMERA


def test_ranges_count_from_the_origin_of_the_frame():
    depth = np.float32([[1, 2, 4, 4]])
    camera = PinholeCamera(4, 1, 1.0, 1.0, 0.0, 0.0)
    for limits, expected in (
        ({'min_range': 1.1}, [2, 4, 4]),
        ({'max_range': 8.95}, [1, 2, 4]),  # at x = 2 z
        ({'min_range': 1.0, 'max_range': 2.9}, [1, 2]),
        ({'min_range': 50}, []),
    ):
        settings = CloudSettings(voxel_size=0.0001, **limits)
        points = filtered_points(depth, colors((1, 4)), camera, settings)
        np.testing.assert_allclose(sorted(points[:, 2]), expected, rtol=1e-6)


def test_what_is_too_far_clears_the_space_before_it():
    depth = np.float32([[1, np.inf, -np.inf, np.nan]])
    camera = PinholeCamera(4, 1, 2.0, 1.0, 0.0, 0.0)
    settings = CloudSettings(voxel_size=0, far_depth=50.0)
    points = filtered_points(depth, colors((1, 4)), camera, settings)
    np.testing.assert_array_equal(points[:, :3], [[0, 0, 1], [25, 0, 50]])
    assert depth[0, 1] == np.inf


@given(
    arrays(np.float32, (5, 7), elements=DEPTHS),
    st.tuples(*4 * [st.floats(-1, 1)]),
    st.floats(-3, 0),
    st.floats(0, 3),
)
def test_heights_are_those_above_the_plane_and_far_points_stay(depth, plane, low, high):
    settings = CloudSettings(voxel_size=0, far_depth=2000.0)
    every = filtered_points(depth, colors(), CAMERA, settings)
    heights = Heights(plane, low, high)
    kept = filtered_points(depth, colors(), CAMERA, settings, heights=heights)
    values = (every[:, :3].astype(np.float64) * plane[:3]).sum(1) + plane[3]
    far = every[:, 2] > 1900
    np.testing.assert_array_equal(
        bits(kept), bits(every[far | ((values >= low) & (values <= high))])
    )


def test_points_without_a_finite_sigma_are_left_out():
    depth, sigma = np.float32([[1, 2, 3]]), np.float32([[np.inf, np.nan, 0.5]])
    camera = PinholeCamera(3, 1, 1.0, 1.0, 0.0, 0.0)
    points = filtered_points(depth, colors((1, 3)), camera, CloudSettings(), sigma, True)
    np.testing.assert_allclose(points[:, [2, 4]], [[3, 0.5]])


@pytest.mark.parametrize(
    ('values', 'says'),
    [
        ({'stride': 0}, r'stride is 0; give a whole number in 1\.\.1000'),
        ({'voxel_size': -0.1}, r'voxel_size is -0\.1; give a number in 0\.\.1000'),
        ({'voxel_size': float('nan')}, 'voxel_size is nan'),
        ({'min_range': -1.0}, 'min_range is -1'),
        ({'voxel_sigmas': -1.0}, 'voxel_sigmas is -1'),
        ({'voxel_size': 1e-9}, 'voxel_size is 1e-09; give at least 1e-06 metres, or 0'),
        ({'voxel_size': 0, 'voxel_sigmas': 2.0}, 'there are no voxels; voxel_size must be larger'),
        ({'min_range': 3.0, 'max_range': 2.0}, r'max_range is 2\.0 and min_range 3\.0; max_range'),
        (
            {'max_range': 2.0, 'far_depth': 3.0},
            r'far_depth is 3\.0 and max_range 2\.0, so that no',
        ),
    ],
)
def test_wrong_settings_are_refused(values, says):
    with pytest.raises(ValueError, match=says):
        CloudSettings(**values)


@pytest.mark.parametrize(('far', 'max_depth'), [(5.0, 20.0), (5.0, 5.1)])
def test_no_wall_stands_before_what_is_seen(far, max_depth):
    with pytest.raises(ValueError, match=f'far_depth is {far} and max_depth {max_depth}, so that'):
        CloudSettings(far_depth=far).check_limits(max_depth)
    for allowed in (0.0, far, np.inf):
        CloudSettings(far_depth=far).check_limits(allowed)
    CloudSettings().check_limits(max_depth)
