"""Scale and shift of maps without metres, against closed forms and drawn scenes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nndepth_core import PinholeCamera, StereoCamera
from nndepth_core.data.synthetic.scene import drive_through
from nndepth_core.data.synthetic.sequence import render_sequence
from nndepth_core.evaluation.mono_metrics import align_depth, mono_metrics
from nndepth_core.scale import Scale, ScaleError, fit_ground, fit_scale, project_points
from nndepth_core.scale.fit import ENOUGH, MOST

HEIGHT, WIDTH = 60, 80
CAMERA = PinholeCamera(WIDTH, HEIGHT, 70.0, 72.0, 40.5, 28.0)
FACTORS = st.floats(1e-4, 1e3)
SHIFTS = st.floats(-10, 10)
SEEDS = st.integers(0, 2**32 - 1)


def scene(seed: int = 0, shape: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """Depths between 1 and 20 m, evenly distributed in inverse depth."""
    return 1 / np.random.default_rng(seed).uniform(1 / 20, 1, shape)


def relative_of(depth: np.ndarray, factor: float, shift: float) -> np.ndarray:
    """The inverse depth that a network would give, so that factor and shift lead back."""
    return (1 / depth - shift) / factor


def sparse(depth: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Only `count` of the depths; the others are NaN."""
    taken = np.random.default_rng(seed).permutation(depth.size)[:count]
    some = np.full(depth.shape, np.nan)
    some.flat[taken] = depth.flat[taken]
    return some


# --- sparse true depths --------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(FACTORS, SHIFTS, SEEDS, st.integers(ENOUGH, 500))
def test_exact_depths_give_the_exact_scale(factor, shift, seed, count):
    depth = scene(seed)
    values = relative_of(depth, factor, shift)
    found = fit_scale(values, sparse(depth, count, seed))
    np.testing.assert_allclose([found.factor, found.shift], [factor, shift], rtol=1e-6, atol=1e-6)
    assert (found.inliers, found.points) == (count, count)
    np.testing.assert_allclose(found.depth(values.astype(np.float64)), depth, rtol=1e-4)


@settings(deadline=None, max_examples=40)
@given(FACTORS, SHIFTS, SEEDS, st.floats(0, 0.4))
def test_wrong_depths_change_nothing_as_long_as_most_are_right(factor, shift, seed, wrong):
    depth, random = scene(seed), np.random.default_rng(seed)
    truth = sparse(depth, 300, seed)
    lies = np.isfinite(truth) & (random.random(truth.shape) < wrong)
    truth[lies] = random.uniform(0.2, 100, lies.sum())
    found = fit_scale(relative_of(depth, factor, shift), truth)
    np.testing.assert_allclose([found.factor, found.shift], [factor, shift], rtol=1e-4, atol=1e-4)
    assert found.inliers >= 300 - lies.sum()


def test_noise_is_averaged_and_told():
    depth, random = scene(), np.random.default_rng(1)
    noisy = 1 / (1 / depth + random.normal(0, 0.01, depth.shape))
    found = fit_scale(relative_of(depth, 2.0, 0.1), noisy)
    assert found.factor == pytest.approx(2.0, rel=0.01)
    assert found.shift == pytest.approx(0.1, abs=0.005)
    assert found.residual == pytest.approx(0.01, rel=0.1)
    assert found.inliers == pytest.approx(found.points, rel=0.03)


def test_without_outliers_it_is_the_alignment_of_evaluate():
    depth, random = scene(), np.random.default_rng(2)
    values = relative_of(depth, 3.0, -0.2) + random.uniform(-0.01, 0.01, depth.shape)
    np.testing.assert_allclose(
        fit_scale(values, depth).depth(values),
        align_depth(values, depth, 'inverse_depth', 'scale_shift'),
        rtol=1e-4,
    )


def test_relative_depth_is_fitted_to_depth():
    depth = scene()
    found = fit_scale((depth - 0.5) / 4, depth, 'relative_depth')
    assert (found.factor, found.shift) == (pytest.approx(4), pytest.approx(0.5))
    np.testing.assert_allclose(found.depth((depth - 0.5) / 4), depth, rtol=1e-5)


@pytest.mark.parametrize('times', [2, 3])
def test_the_truth_may_have_another_size(times):
    """Each true depth belongs to the pixel of the map in which its centre lies."""
    small = scene(shape=(HEIGHT, WIDTH))
    large = np.repeat(np.repeat(small, times, axis=0), times, axis=1)
    for values, truth in ((small, large), (large, small)):
        found = fit_scale(relative_of(values, 2.0, 0.1), truth)
        assert (found.factor, found.shift) == (pytest.approx(2), pytest.approx(0.1))


def test_of_many_points_some_are_enough():
    depth = scene(shape=(200, 300))
    found = fit_scale(relative_of(depth, 2.0, 0.1), depth)
    assert (found.points, found.inliers) == (MOST, MOST)
    assert found.factor == pytest.approx(2)


def test_what_is_unknown_stays_unknown_and_what_is_behind_infinity_is_infinite():
    scale = Scale(2.0, -1.0, 0.0, 1, 1, (0.0, 1.0))
    depth = scale.depth(np.float32([[np.nan, 0.5, 0.2, 1.0]]))
    np.testing.assert_array_equal(depth, np.float32([[np.nan, np.inf, np.inf, 1.0]]))
    assert depth.dtype == np.float32
    of_sky = Scale(2.0, -1.0, 0.0, 1, 1, (0.0, 1.0), 'relative_depth')
    np.testing.assert_array_equal(of_sky.depth(np.float32([[np.inf, 1.0]])), [[np.inf, 1.0]])


def refusals() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    depth = scene()
    values = relative_of(depth, 1.0, 0.0)
    apart = values.copy()
    apart[:, 40:] = np.nan
    wall = values.copy()
    wall[:, 40:] = 0.5
    right = np.where(np.arange(WIDTH) < 40, np.nan, depth)
    infinite = np.where(np.arange(WIDTH) < 40, np.inf, -depth)
    noise = np.random.default_rng(5).random(depth.shape)
    return {
        'scale_overlap': (apart, right),
        'scale_overlap nothing known': (values, infinite),
        'scale_few_points': (values, sparse(depth, ENOUGH - 1)),
        'scale_no_spread': (wall, right),
        'scale_no_spread constant': (np.full_like(values, 3.0), depth),
        'scale_negative': (-values, depth),
        'scale_disagreement': (noise, depth),
        'scale_one_distance': (values, np.full_like(depth, 2.0)),
        'scale_one_distance of 3 m': (values, np.full_like(depth, 3.0)),
        'scale_one_distance up to noise': (values, 2 + 0.01 * (noise - 0.5)),
    }


@pytest.mark.parametrize('case', refusals())
def test_a_scale_that_cannot_be_determined_is_refused_with_the_reason(case):
    with pytest.raises(ScaleError) as refusal:
        fit_scale(*refusals()[case])
    assert refusal.value.code == case.split()[0]


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.integers(ENOUGH, 200), st.floats(0.3, 3))
def test_noise_in_place_of_a_map_is_never_believed(seed, count, power):
    random = np.random.default_rng([seed, 1])
    values = random.random((HEIGHT, WIDTH)) ** power
    truth = sparse(scene(seed), 10 * count, seed)
    with pytest.raises(ScaleError):
        fit_scale(values, truth)


# --- clouds --------------------------------------------------------------------------------------


@given(
    st.integers(0, WIDTH - 1),
    st.integers(0, HEIGHT - 1),
    st.floats(0.1, 100),
    st.tuples(*[st.floats(-0.5, 0.5)] * 3),
)
def test_a_point_comes_back_to_its_pixel(column, row, z, position):
    """P projects each point to the pixel it comes from, wherever P puts the camera."""
    p = PinholeCamera(WIDTH, HEIGHT, 70.0, 72.0, 40.5, 28.0, position=position).projection()
    camera = PinholeCamera.from_projection(p, WIDTH, HEIGHT)
    depth = np.full((HEIGHT, WIDTH), np.nan, np.float32)
    depth[row, column] = z
    points = camera.points(depth).reshape(-1, 3)
    np.testing.assert_allclose(project_points(points, camera), depth, rtol=1e-4, atol=1e-5)


def test_the_nearest_point_hides_the_others():
    ray = np.array([0.1, 0.2, 1.0])
    points = np.stack([5 * ray, 2 * ray, 3 * ray])
    depth = project_points(points, CAMERA)
    assert np.isfinite(depth).sum() == 1
    assert np.nanmin(depth) == 2


def test_points_that_are_not_in_sight_are_left_out():
    points = [(0, 0, -1), (0, 0, 0), (9, 0, 1), (0, -9, 1), (np.nan, 0, 1), (0, 0, np.inf)]
    assert not np.isfinite(project_points(np.array(points, float), CAMERA)).any()
    assert not np.isfinite(project_points(np.empty((0, 3)), CAMERA)).any()


# --- ground --------------------------------------------------------------------------------------


def ground(height: float, pitch: float, roll: float, far: float = 50.0) -> np.ndarray:
    """The depth of a flat ground, and of a sphere of the radius `far` where it is not in sight."""
    pitch, roll = math.radians(pitch), math.radians(roll)
    x, y = CAMERA.rays()
    down = np.array(
        [math.cos(pitch) * math.sin(roll), math.cos(pitch) * math.cos(roll), math.sin(pitch)]
    )
    inverse = (down[0] * x + down[1] * y[:, None] + down[2]) / height
    return 1 / np.maximum(inverse, 1 / far)


@settings(deadline=None, max_examples=40)
@given(st.floats(0.1, 5), st.floats(-8, 40), st.floats(-20, 20), st.floats(0.01, 100), SHIFTS)
def test_the_height_gives_the_scale_of_the_ground(height, pitch, roll, factor, shift):
    depth = ground(height, pitch, roll, far=1000 * height)
    found = fit_ground(relative_of(depth, factor, shift), CAMERA, height, pitch)
    np.testing.assert_allclose(found.factor, factor, rtol=1e-3)
    np.testing.assert_allclose(found.shift, shift, atol=1e-3 * max(1, abs(shift), 1 / height))


def test_things_on_the_ground_do_not_disturb():
    depth = ground(1.2, 10, 0)
    depth[35:, 10:25] = 2.5
    depth[30:50, 60:75] = 1.5
    found = fit_ground(relative_of(depth, 5.0, 0.2), CAMERA, 1.2, 10)
    assert (found.factor, found.shift) == (
        pytest.approx(5, rel=1e-3),
        pytest.approx(0.2, abs=0.01),
    )
    assert 0.5 < found.inliers / found.points < 0.9


def test_an_error_of_the_pitch_is_as_large_as_stated():
    """One degree shifts all inverse depths by about 0.017 / height."""
    values = 1 / ground(2.0, 10, 0)
    shift = fit_ground(values, CAMERA, 2.0, 11).shift - fit_ground(values, CAMERA, 2.0, 10).shift
    assert shift == pytest.approx(0.017 / 2, rel=0.1)


@pytest.mark.parametrize(
    ('values', 'pitch', 'code'),
    [
        (np.full((HEIGHT, WIDTH), 3.0), 0, 'scale_no_ground'),  # a wall
        (1 / ground(1, 0, 0)[::-1], 0, 'scale_no_ground'),  # a ceiling, upside down
        (np.random.default_rng(0).random((HEIGHT, WIDTH)), 0, 'scale_no_ground'),
        (np.full((HEIGHT, WIDTH), np.nan), 0, 'scale_no_ground'),
        (1 / ground(1, 0, 0), -30, 'scale_horizon'),
    ],
    ids=['wall', 'ceiling', 'noise', 'unknown', 'looks up'],
)
def test_what_is_no_ground_is_refused(values, pitch, code):
    with pytest.raises(ScaleError) as refusal:
        fit_ground(values, CAMERA, 1.0, pitch)
    assert refusal.value.code == code


def test_a_ground_needs_inverse_depth_and_a_height():
    with pytest.raises(ScaleError, match='over which a plane is not linear'):
        fit_ground(ground(1, 0, 0), CAMERA, 1.0, output='relative_depth')
    with pytest.raises(ValueError, match='height of the camera is 0'):
        fit_ground(ground(1, 0, 0), CAMERA, 0.0)
    with pytest.raises(ValueError, match='pitch is 90'):
        fit_ground(ground(1, 0, 0), CAMERA, 1.0, 90)


# --- a rendered yard -----------------------------------------------------------------------------


@pytest.fixture(scope='module')
def yard():
    """The camera, true depth, and inverse depth as of a network: scaled, shifted, 3 % noise."""
    camera = PinholeCamera(160, 120, 140.0, 140.0, 79.5, 59.5)
    rig = StereoCamera(camera, 0.1, camera.cx)
    depth = rig.disparity_to_depth(next(render_sequence(1, 1, rig, 10.0)).disparity)
    noise = np.random.default_rng(0).normal(1, 0.03, depth.shape)
    return camera, np.where(np.isfinite(depth), depth, np.nan), (1 / depth - 0.1) / 3 * noise


def test_few_rows_of_a_scanner_scale_a_rendered_yard(yard):
    """It measures to 2 %, and one of seven points is wrong."""
    camera, depth, values = yard
    random = np.random.default_rng(2)
    points = camera.points(depth)[4::8].reshape(-1, 3)
    points *= random.normal(1, 0.02, (len(points), 1))
    points[::7] *= random.uniform(0.5, 3, (len(points[::7]), 1))
    sparse_depth = project_points(points, camera)
    assert np.isfinite(sparse_depth).mean() < 0.15
    found = fit_scale(values, sparse_depth)
    assert (found.factor, found.shift) == (
        pytest.approx(3, rel=0.02),
        pytest.approx(0.1, abs=0.01),
    )
    assert mono_metrics(found.depth(values), depth)['abs_rel'] < 0.03


def test_the_paving_of_a_rendered_yard_gives_its_scale(yard):
    camera, depth, values = yard
    pose = drive_through(0.0)
    height, pitch = float(pose.position[2]), -math.degrees(math.asin(pose.rotation[2, 2]))
    found = fit_ground(values, camera, height, pitch)
    assert (found.factor, found.shift) == (
        pytest.approx(3, rel=0.02),
        pytest.approx(0.1, abs=0.01),
    )
    assert mono_metrics(found.depth(values), depth)['abs_rel'] < 0.03
