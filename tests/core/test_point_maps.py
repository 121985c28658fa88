"""The shift of points along the view, against the authors' solver and known scenes."""

import math

import numpy as np
import pytest
from fill import GOLDEN

from nndepth_core.point_maps import focal_and_shift, metric_depth

HALF_METRE = np.float32(0.5)


@pytest.fixture(scope='module')
def golden():
    with np.load(GOLDEN / 'moge2_postprocess.npz') as arrays:
        return dict(arrays)


def scene(height: int, width: int, focal: float):
    """Points in metres on a wavy wall that fills the image."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    right, down = columns + (1 - width) / 2, rows + (1 - height) / 2
    depth = 3 + np.sin(columns / 9) + np.cos(rows / 7)
    return right * depth / focal, down * depth / focal, depth


def focal_of(fov: float, width: int) -> float:
    return width / 2 / math.tan(math.radians(fov) / 2)


# The authors' solver stops early; for a wrong focal length the optimum is a little further on.
@pytest.mark.parametrize(
    ('key', 'fov', 'tolerance'),
    [('unknown', None, 1e-6), ('known', 'fov_true', 1e-6), ('known70', 70.0, 1e-3)],
)
def test_equals_the_official_implementation(golden, key, fov, tolerance):
    x, y, z = np.moveaxis(golden['points'][0] * golden['metric_scale'], 2, 0)
    z = np.where(golden['mask'][0] > 0.5, z, np.nan)
    degrees = float(golden[fov][0]) if isinstance(fov, str) else fov
    focal = degrees and focal_of(degrees, z.shape[1])
    found = metric_depth(x, y, z, focal)
    expected = np.where(golden['mask_out'][0], golden[f'{key}_depth'][0, 0], np.nan)
    np.testing.assert_allclose(found, expected, rtol=tolerance)
    used, shift = focal_and_shift(x, y, z, focal)
    scale = golden['metric_scale'][0]
    assert shift / scale == pytest.approx(golden[f'{key}_shift'][0], abs=tolerance)
    if focal is None:
        intrinsics = golden['unknown_intrinsics'][0]
        assert used / z.shape[1] == pytest.approx(intrinsics[0, 0], rel=tolerance)
        assert used / z.shape[0] == pytest.approx(intrinsics[1, 1], rel=tolerance)


def test_without_a_mask_equals_the_official_implementation(golden):
    x, y, z = np.moveaxis(golden['points'][0], 2, 0)
    focal, shift = focal_and_shift(x, y, z)
    assert shift == pytest.approx(golden['unknown_nomask_shift'][0], abs=1e-6)
    known = golden['unknown_nomask_intrinsics'][0, 0, 0]
    assert focal / z.shape[1] == pytest.approx(known, rel=1e-6)


@pytest.mark.parametrize('size', [(48, 64), (120, 200), (31, 17)])
@pytest.mark.parametrize('known', [False, True])
def test_takes_a_shift_back(size, known):
    focal = 1.3 * size[1]
    x, y, depth = scene(*size, focal)
    given = focal if known else None
    found, shift = focal_and_shift(x, y, depth - HALF_METRE, given)
    assert (found, shift) == pytest.approx((focal, 0.5), rel=1e-4)
    shifted = metric_depth(x, y, depth - HALF_METRE, given)
    assert shifted.dtype == np.float32
    np.testing.assert_allclose(shifted, depth, rtol=1e-4)


def test_unknown_pixels_take_no_part_and_stay_unknown():
    x, y, depth = scene(48, 64, 70)
    x[:20], depth[:20] = 99, np.nan
    found = metric_depth(x, y, depth - HALF_METRE)
    np.testing.assert_allclose(found, depth, rtol=1e-4)


@pytest.mark.parametrize('focal', [None, 40.0])
def test_too_few_points_have_no_shift(focal):
    x, y, depth = scene(96, 128, 90)
    seen = np.full_like(depth, np.nan)
    seen[3, 4] = depth[3, 4]
    assert focal_and_shift(x, y, seen, focal) == (focal or 80, 0)


@pytest.mark.parametrize('noise', [0, 1e-4, 1e-2])
def test_a_wall_that_faces_the_camera_needs_a_focal_length(noise):
    """Without one it might as well be far away, seen through a long lens."""
    x, y, depth = scene(96, 128, 90)
    x, y = (2 * side / depth for side in (x, y))
    depth = 1.7 * (1 + noise * np.random.default_rng(0).standard_normal(depth.shape))
    focal, shift = focal_and_shift(x, y, depth)
    assert shift == 0
    assert focal == pytest.approx(90 * 1.7 / 2, rel=0.01)
    assert focal_and_shift(x, y, depth, 90.0) == (90, pytest.approx(0.3, abs=0.01))


def test_points_on_the_axis_have_no_shift():
    zeros = np.zeros((8, 8))
    _, shift = focal_and_shift(zeros, zeros, zeros + 2)
    assert shift == 0


def test_points_behind_the_camera_are_unknown():
    x, y, depth = scene(48, 64, 70)
    lifted = depth + HALF_METRE
    lifted[40:45, 10:15] = 0.3
    for side in (x, y):  # a point on the axis says nothing of the shift
        side[40:45, 10:15] = 0
    found = metric_depth(x, y, lifted, 70)
    assert np.isnan(found[40:45, 10:15]).all()
    assert np.isnan(found).sum() == 25
