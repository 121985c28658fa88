"""Augmented samples keep their meaning: closed forms of geometry, formulas of colours."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nndepth_core.camera import PinholeCamera, StereoCamera
from nndepth_core.data.augment import (
    PRESETS,
    ColorJitter,
    MonoAugmentation,
    StereoAugmentation,
    swap_views,
)
from nndepth_core.data.sample import MonoSample, StereoSample

NAN = np.nan
HEIGHT, WIDTH = 90, 160
RIG = StereoCamera(PinholeCamera(WIDTH, HEIGHT, 120.0, 110.0, 77.0, 41.0), 0.2, 74.5)
GEOMETRY = StereoAugmentation((64, 96), color=None, eraser=0.0, y_jitter=0)
seeds = st.integers(0, 2**32 - 1)


def texture(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A smooth RGB picture, defined between pixels too."""
    waves = [np.sin(x / 7 + y / 19), np.sin(x / 11 - y / 13), np.cos(x / 17 + y / 9)]
    return np.rint(127 + 120 * np.stack(waves, axis=-1)).astype(np.uint8)


def plane_pair(a: float = 9.0, b: float = 0.0, c: float = 0.0) -> StereoSample:
    """A textured plane of the disparity a + b x + c y, and its rig."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    disparity = (a + b * x + c * y).astype(np.float32)
    right = texture((x + a + c * y) / (1 - b), y)
    occluded = disparity > x + 0.5
    return StereoSample(texture(x, y), right, disparity, occluded, RIG, 'plane', 7)


def noise_pair(known: float = 1.0) -> StereoSample:
    """Random pictures and disparities, some of them unknown."""
    rng = np.random.default_rng(1)
    left, right = rng.integers(0, 256, (2, HEIGHT, WIDTH, 3), np.uint8)
    disparity = rng.uniform(1, 30, (HEIGHT, WIDTH)).astype(np.float32)
    disparity[rng.random((HEIGHT, WIDTH)) >= known] = NAN
    return StereoSample(left, right, disparity, name='noise')


def warp_errors(sample: StereoSample) -> np.ndarray:
    """|left - right warped to it by the truth| where both views are known to show the surface."""
    height, width = sample.disparity.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    column = x - sample.disparity
    warped = cv2.remap(sample.right, column, y, cv2.INTER_LINEAR)
    seen = (column >= 0) & (column <= width - 1)
    if sample.occluded is not None:
        seen &= ~sample.occluded
    assert seen.any()
    return np.abs(warped[seen].astype(int) - sample.left[seen])


def assert_equal(one: StereoSample, other: StereoSample) -> None:
    for name in ('left', 'right', 'disparity'):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


class Highest:
    """Draws the upper end of every range."""

    def uniform(self, low: float, high: float) -> float:
        return high


@settings(max_examples=40, deadline=None)
@given(
    seeds,
    st.floats(4, 14),
    st.floats(-0.08, 0.08),
    st.floats(-0.05, 0.05),
    st.booleans(),
    st.sampled_from([0.0, 1.0]),
    st.sampled_from([0.0, 1.0]),
)
def test_right_warped_by_the_truth_is_left(seed, a, b, c, sparse, swap, vertical_flip):
    augment = replace(GEOMETRY, sparse=sparse, swap=swap, vertical_flip=vertical_flip)
    errors = warp_errors(augment(plane_pair(a, b, c), np.random.default_rng(seed)))
    assert np.median(errors) <= 2
    assert np.quantile(errors, 0.99) <= 12


@settings(max_examples=30, deadline=None)
@given(seeds, st.floats(1, 20), st.booleans(), st.sampled_from([0.0, 1.0]))
def test_depth_is_unchanged(seed, depth, sparse, swap):
    disparity = RIG.depth_to_disparity(np.full((HEIGHT, WIDTH), depth))
    sample = replace(plane_pair(), disparity=disparity)
    augmented = replace(GEOMETRY, sparse=sparse, swap=swap)(sample, np.random.default_rng(seed))
    camera = augmented.camera
    assert (camera.left.height, camera.left.width) == augmented.disparity.shape == (64, 96)
    seen = camera.disparity_to_depth(augmented.disparity)
    seen = seen[np.isfinite(seen)]
    assert seen.size > 500
    np.testing.assert_allclose(seen, depth, rtol=1e-4)


@pytest.mark.parametrize('sparse', [False, True])
@pytest.mark.parametrize('power', [-0.2, 0.0, 0.4])
def test_disparity_scales_with_the_width(power, sparse):
    augment = replace(GEOMETRY, scale=(power, power), stretch=0.0, sparse=sparse)
    disparity = augment(plane_pair(8.0), np.random.default_rng(0)).disparity
    factor = np.float32(round(WIDTH * 2**power) / WIDTH)
    assert set(np.unique(disparity[np.isfinite(disparity)])) == {np.float32(8) * factor}


@pytest.mark.parametrize('upside_down', [False, True])
@pytest.mark.parametrize('sparse', [False, True])
def test_camera_follows_pixels(sparse, upside_down):
    """Pixels that carry the coordinates of their rays find them again in the new camera."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    along_x, along_y = (
        replace(plane_pair(), disparity=rays)
        for rays in ((x - RIG.left.cx) / RIG.left.fx, (y - RIG.left.cy) / RIG.left.fy)
    )
    augment = replace(GEOMETRY, sparse=sparse, vertical_flip=float(upside_down))
    off = 0.5 if sparse else 0.03  # pixels; values that are moved land on the nearest one
    for seed in range(5):
        new, other = (augment(truth, np.random.default_rng(seed)) for truth in (along_x, along_y))
        camera = new.camera.left
        scale = np.float32(camera.fx / RIG.left.fx)
        across, down = camera.rays()
        known = np.isfinite(new.disparity)
        assert known.mean() > 0.5
        errors = np.abs(new.disparity / scale - across)[known]
        assert errors.max() * camera.fx < off + 1e-3
        down = -down if upside_down else down
        errors = np.abs(other.disparity / scale - down[:, None])[known]
        assert errors.max() * camera.fy < off + 1e-3


@settings(max_examples=10, deadline=None)
@given(seeds, st.sampled_from(sorted(PRESETS)))
def test_the_generator_decides(seed, name):
    augment = replace(PRESETS[name], crop=(64, 96), swap=0.5, vertical_flip=0.5)
    sample = noise_pair(0.5)
    before = (sample.left.copy(), sample.right.copy(), sample.disparity.copy())
    one, other = (augment(sample, np.random.default_rng([seed, 3])) for _ in range(2))
    assert_equal(one, other)
    assert one.left.dtype == one.right.dtype == np.uint8
    assert one.disparity.dtype == np.float32
    assert one.left.shape == one.right.shape == (64, 96, 3)
    assert one.disparity.shape == (64, 96)
    assert one.name == 'noise'
    for array, now in zip(before, (sample.left, sample.right, sample.disparity), strict=True):
        np.testing.assert_array_equal(array, now)


def test_seeds_differ():
    augment = PRESETS['raft-stereo']
    one, other = (augment(noise_pair(), np.random.default_rng(seed)) for seed in (0, 1))
    assert (one.left != other.left).any()


@settings(max_examples=20, deadline=None)
@given(seeds, st.floats(0.01, 0.6))
def test_sparse_truth_is_moved_not_mixed(seed, known):
    sample = noise_pair(known)
    augment = replace(GEOMETRY, sparse=True, stretch=0.0)
    disparity = augment(sample, np.random.default_rng(seed)).disparity
    here = np.isfinite(disparity)
    assert here.sum() <= np.isfinite(sample.disparity).sum()
    factors = [np.float32(n / WIDTH) for n in range(96, 2 * WIDTH)]
    values = sample.disparity[np.isfinite(sample.disparity)]
    assert any(np.isin(disparity[here], values * factor).all() for factor in factors)


def test_sparse_truth_lands_on_the_pixel_of_its_surface():
    sample = replace(plane_pair(), disparity=np.full((HEIGHT, WIDTH), NAN, np.float32))
    sample.disparity[50, 80] = 5
    sample.left[:] = 0
    sample.left[50, 80] = 255
    for seed in range(20):
        new = replace(GEOMETRY, sparse=True)(sample, np.random.default_rng(seed))
        brightest = np.unravel_index(new.left[..., 0].argmax(), (64, 96))
        if new.left[..., 0].max() > 0 and np.isfinite(new.disparity).any():
            [where] = np.argwhere(np.isfinite(new.disparity))
            assert np.abs(where - brightest).max() <= 1


@settings(max_examples=15, deadline=None)
@given(seeds, st.booleans())
def test_unknown_truth_stays_unknown(seed, sparse):
    sample = noise_pair()
    sample.disparity[:] = NAN
    sample.disparity[:, 80:] = 3
    sample.left[:, :80], sample.left[:, 80:] = 0, 255
    new = replace(GEOMETRY, sparse=sparse, scale=(0.4, 0.4))(sample, np.random.default_rng(seed))
    bright = new.left[..., 0]
    assert np.isnan(new.disparity[bright == 0]).all()
    if not sparse:
        assert np.isfinite(new.disparity[bright == 255]).all()
    assert np.unique(new.disparity[np.isfinite(new.disparity)]).size <= 1


def test_small_images_are_padded():
    sample = noise_pair()
    augment = replace(GEOMETRY, crop=(100, 200), scale_probability=0.0)
    places = set()
    for seed in range(4):
        new = augment(sample, np.random.default_rng(seed))
        known = np.isfinite(new.disparity)
        assert known.sum() == HEIGHT * WIDTH
        np.testing.assert_array_equal(new.disparity[known], sample.disparity.ravel())
        np.testing.assert_array_equal(new.left[known], sample.left.reshape(-1, 3))
        y, x = np.argwhere(known)[0]
        assert (new.left[0, 0] == new.left[y, x]).all()
        places.add((y, x))
    assert len(places) > 1


def test_small_images_are_enlarged_within_the_range():
    sample = noise_pair()
    sample.disparity[:] = 1
    augment = replace(GEOMETRY, crop=(96, 192), stretch=0.0)
    for seed in range(5):
        new = augment(sample, np.random.default_rng(seed))
        scale = np.nanmax(new.disparity)
        assert 192 / WIDTH - 0.01 <= scale <= 2**0.4
        assert np.isfinite(new.disparity[1:-1, 1:-1]).all()
    huge = replace(GEOMETRY, crop=(400, 700))(sample, np.random.default_rng(0))
    assert np.nanmax(huge.disparity) == np.float32(round(WIDTH * 2**0.4) / WIDTH)
    assert np.isnan(huge.disparity).any()


def test_surfaces_beyond_the_crop_are_occluded():
    sample = plane_pair(20.0)
    augment = replace(GEOMETRY, scale_probability=0.0)
    new = augment(sample, np.random.default_rng(2))
    np.testing.assert_array_equal(new.occluded, np.arange(96)[None].repeat(64, 0) < 20)


def test_swapping_two_planes():
    """A square at 6 px before a wall at 2 px: the right view's truth can be written down."""
    y, x = np.mgrid[:8, :32]
    square = (x >= 14) & (x < 20) & (y >= 2) & (y < 6)
    disparity = np.where(square, 6, 2).astype(np.float32)
    image = np.repeat((8 * x)[..., None], 3, axis=2).astype(np.uint8)
    swapped = swap_views(StereoSample(image, image + 1, disparity))
    right_square = (x >= 8) & (x < 14) & (y >= 2) & (y < 6)
    unseen = (x >= 30) | ((x >= 14) & (x < 18) & (y >= 2) & (y < 6))
    expected = np.where(unseen, NAN, np.where(right_square, 6, 2))
    np.testing.assert_array_equal(swapped.disparity, expected[:, ::-1])
    np.testing.assert_array_equal(swapped.left, (image + 1)[:, ::-1])
    np.testing.assert_array_equal(swapped.right, image[:, ::-1])
    twice = swap_views(swapped)
    both = np.isfinite(twice.disparity)
    np.testing.assert_array_equal(twice.disparity[both], disparity[both])
    assert both.mean() > 0.7


def test_swapping_drops_what_the_right_view_does_not_reach():
    disparity = np.array([[5, NAN, NAN, NAN, 1, NAN]], np.float32)
    image = np.zeros((1, 6, 3), np.uint8)
    swapped = swap_views(StereoSample(image, image, disparity))
    np.testing.assert_array_equal(swapped.disparity, [[NAN, NAN, 1, NAN, NAN, NAN]])


def test_swapping_shows_no_wall_through_a_slanted_square():
    x = np.arange(80)[None].repeat(4, 0)
    slope = (x >= 30) & (x < 60)
    disparity = np.where(slope, 20 - 0.3 * (x - 30), 1).astype(np.float32)
    image = np.zeros((4, 80, 3), np.uint8)
    right = swap_views(StereoSample(image, image, disparity)).disparity[:, ::-1]
    assert np.nanmin(right[:, 11:48]) > 10


def test_vertical_jitter_moves_the_right_crop_only():
    sample = noise_pair()
    rows = np.repeat(np.arange(HEIGHT, dtype=np.uint8)[:, None], WIDTH, axis=1)
    sample = replace(sample, left=np.dstack([rows] * 3), right=np.dstack([rows] * 3))
    augment = replace(GEOMETRY, scale_probability=0.0, y_jitter=2)
    shifts = set()
    for seed in range(40):
        new = augment(sample, np.random.default_rng(seed))
        inside = slice(2, -2)
        shift = new.right[inside].astype(int) - new.left[inside]
        assert shift.min() == shift.max() or new.left.min() == 0 or new.left.max() == HEIGHT - 1
        shifts.add(int(shift[30, 0, 0]))
    assert shifts == {-2, -1, 0, 1, 2}


def test_erasers_fill_the_right_image_with_its_mean():
    sample = noise_pair()
    augment = replace(
        GEOMETRY, crop=(HEIGHT, WIDTH), scale_probability=0.0, eraser=1.0, eraser_size=(20, 30)
    )
    mean = np.rint(sample.right.reshape(-1, 3).mean(axis=0))
    for seed in range(5):
        new = augment(sample, np.random.default_rng(seed))
        np.testing.assert_array_equal(new.left, sample.left)
        erased = (new.right != sample.right).any(axis=-1)
        assert 0 < erased.sum() <= 2 * 30 * 30
        assert (new.right[erased] == mean).all()


PIXELS = np.array([[[10, 20, 30], [200, 100, 50], [0, 255, 0], [90, 90, 90]]], np.uint8)
STILL = ColorJitter(0.0, 0.0, (1.0, 1.0), 0.0)


@pytest.mark.parametrize(
    ('color', 'expected'),
    [
        (STILL, PIXELS),
        (replace(STILL, brightness=0.5), PIXELS * 1.5),
        (replace(STILL, saturation=(0.0, 0.0)), [[[18] * 3, [124] * 3, [150] * 3, [90] * 3]]),
        (replace(STILL, contrast=0.5), 1.5 * PIXELS - 0.5 * 95.53),
        (replace(STILL, brightness=0.2, contrast=0.5), 1.2 * (1.5 * PIXELS - 0.5 * 95.53)),
        (replace(STILL, gamma=(2.0, 2.0)), (PIXELS / 255) ** 2 * 255),
        (replace(STILL, gain=(2.0, 2.0)), 2.0 * PIXELS),
    ],
    ids=['none', 'brightness', 'saturation', 'contrast', 'both', 'gamma', 'gain'],
)
def test_colors_by_formula(color, expected):
    [changed] = color([PIXELS], Highest())
    np.testing.assert_allclose(changed, np.clip(expected, 0, 255), atol=1)


def test_hue_turns():
    [changed] = replace(STILL, hue=1 / 3)(
        [np.array([[[255, 0, 0], [70, 70, 70]]], np.uint8)], Highest()
    )
    np.testing.assert_allclose(changed, [[[0, 255, 0], [70, 70, 70]]], atol=6)


@pytest.mark.parametrize('asymmetric', [0.0, 1.0])
def test_colors_are_the_same_unless_asymmetric(asymmetric):
    sample = noise_pair()
    sample = replace(sample, right=sample.left)
    augment = replace(GEOMETRY, color=ColorJitter(), asymmetric=asymmetric)
    new = augment(sample, np.random.default_rng(0))
    assert (new.left != new.right).any() == bool(asymmetric)


@settings(max_examples=20, deadline=None)
@given(seeds, st.sampled_from([0.0, 1.0]))
def test_depth_stays_with_its_pixels(seed, flip):
    """Grey levels are depths, in blocks: between edges, both must agree after any change."""
    blocks = np.random.default_rng(5).integers(1, 255, (6, 9), np.uint8)
    grey = np.kron(blocks, np.ones((15, 18), np.uint8))
    depth = grey.astype(np.float32)
    depth[:20] = NAN
    augment = MonoAugmentation((64, 96), flip=flip, color=None)
    sample = MonoSample(np.dstack([grey] * 3), depth, name='blocks')
    new = augment(sample, np.random.default_rng(seed))
    assert new.image.shape == (64, 96, 3)
    values = new.depth[np.isfinite(new.depth)]
    assert np.isin(values, depth).all()
    agree = new.image[..., 0] == new.depth
    assert agree.sum() > 0.75 * values.size
    assert agree.sum() <= values.size


@settings(max_examples=20, deadline=None)
@given(seeds, st.sampled_from([0.0, 1.0]))
def test_a_pixel_keeps_its_ray(seed, flip):
    """Grey levels tell columns, so that they tell the rays of the camera before."""
    camera = PinholeCamera(120, 90, 80.0, 70.0, 55.0, 40.0)
    columns = np.tile(np.arange(120, dtype=np.uint8), (90, 1))
    augment = MonoAugmentation((40, 50), flip=flip, color=None)
    sample = MonoSample(np.dstack([columns] * 3), columns.astype(np.float32), camera=camera)
    new = augment(sample, np.random.default_rng(seed))
    before = (new.image[20, 5:-5, 0] - camera.cx) / camera.fx
    after = new.camera.rays()[0][5:-5] * (-1 if flip else 1)
    np.testing.assert_allclose(after, before, atol=1.01 / camera.fx)
    assert new.camera.fx / new.camera.fy == pytest.approx(80 / 70, rel=0.02)


def test_mono_mirrors():
    image = np.random.default_rng(0).integers(0, 256, (8, 10, 3), np.uint8)
    depth = np.arange(80, dtype=np.float32).reshape(8, 10)
    augment = MonoAugmentation((8, 10), scale=(0.0, 0.0), flip=1.0, color=None)
    new = augment(MonoSample(image, depth, 'relative_inverse', 'a'), np.random.default_rng(0))
    np.testing.assert_array_equal(new.image, image[:, ::-1])
    np.testing.assert_array_equal(new.depth, depth[:, ::-1])
    assert (new.meaning, new.name) == ('relative_inverse', 'a')


def test_published_figures():
    raft, sparse = PRESETS['raft-stereo'], PRESETS['raft-stereo-sparse']
    assert raft.crop == (320, 720)
    assert raft.color.saturation == (0.0, 1.4)
    assert math.isclose(raft.color.hue, 0.5 / 3.14, rel_tol=0.01)
    assert math.isclose(sparse.color.hue, 0.3 / 3.14, rel_tol=0.01)
    light = PRESETS['light-stereo'](noise_pair(), np.random.default_rng(0))
    assert light.left.shape == (320, 736, 3)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'crop': (0, 96)}, r'crop is 0, 96; give height and width, at least 1 each'),
        ({'scale': (0.4, -0.2)}, r'scale is 0\.4, -0\.2; give the lower value first$'),
        ({'eraser_size': (0, 5)}, r'eraser_size is 0, 5; give the lower value first, at least 1'),
        ({'swap': 1.5}, r'swap is 1\.5; give 0 to 1'),
        ({'asymmetric': -1}, r'asymmetric is -1; give 0 to 1'),
    ],
)
def test_bad_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        replace(GEOMETRY, **change)


def test_bad_colors_are_named():
    with pytest.raises(ValueError, match=r'hue is 0\.7; give 0 to 0\.5'):
        ColorJitter(hue=0.7)
    with pytest.raises(ValueError, match=r'gamma is 2\.0, 1\.0; give the lower value first'):
        ColorJitter(gamma=(2.0, 1.0))
