"""The filters: what they must take away, and what they must leave."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nndepth_core.camera import PinholeCamera, StereoCamera
from nndepth_core.estimator import DepthResult, StereoResult
from nndepth_core.filters import DepthFilters, FilterSettings, View

HEIGHT, WIDTH = 48, 64
CAMERA = StereoCamera(PinholeCamera(WIDTH, HEIGHT, 60.0, 60.0, 31.5, 23.5), 0.1, 31.5)
GREY = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
EVERY = FilterSettings(flying=3, speckle_size=50, smoothing=0.5, fill_holes=10)
SECOND = 1_000_000_000
SLOPES = st.floats(-3, 3)
rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)


def result(disparity: np.ndarray, confidence: np.ndarray | None = None) -> StereoResult:
    return StereoResult(disparity.astype(np.float32), confidence, (disparity.shape[1], HEIGHT))


def filtered(disparity: np.ndarray, given: FilterSettings, view: View | None = None) -> np.ndarray:
    view = view or View(GREY, CAMERA)
    return DepthFilters().disparity(result(disparity), given, view).disparity


def quadratic(x: float, y: float, xx: float, yy: float, noise: int = -1) -> np.ndarray:
    """A surface without steps, of disparities from 5 px on; with noise, below that of matching."""
    surface = x * columns + y * rows + 0.02 * xx * columns * columns + 0.02 * yy * rows * rows
    surface += 5 - surface.min()
    if noise >= 0:
        surface += np.random.default_rng(noise).uniform(-0.1, 0.1, surface.shape)
    return surface.astype(np.float32)


def holed(disparity: np.ndarray, seed: int, share: float) -> np.ndarray:
    unknown = np.random.default_rng(seed).random(disparity.shape) < share
    return np.where(unknown, np.nan, disparity).astype(np.float32)


# --- what must stay --------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(SLOPES, SLOPES, st.floats(-1, 1), st.floats(-1, 1), st.integers(-1, 99))
def test_a_smooth_surface_loses_no_pixel_however_steep_it_is(x, y, xx, yy, noise):
    surface = quadratic(x, y, xx, yy, noise)
    np.testing.assert_array_equal(filtered(surface, FilterSettings(flying=3)), surface)


@settings(max_examples=30, deadline=None)
@given(SLOPES, SLOPES, st.integers(0, 99), st.floats(0, 0.5))
def test_a_plane_with_holes_loses_no_pixel(x, y, seed, share):
    plane = holed(quadratic(x, y, 0, 0), seed, share)
    np.testing.assert_array_equal(filtered(plane, FilterSettings(flying=2)), plane)


@settings(max_examples=30, deadline=None)
@given(st.floats(-0.9, 0.9), st.floats(-0.9, 0.9), st.integers(0, 99))
def test_all_filters_together_leave_a_gentle_plane_as_it_is(x, y, seed):
    plane = quadratic(x, y, 0, 0, seed)
    np.testing.assert_array_equal(filtered(plane, EVERY, View(GREY, CAMERA, 0)), plane)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.floats(0, 0.8), st.integers(0, 3), st.integers(0, 3))
def test_filters_invent_nothing(seed, share, flying, fill):
    """What is not removed keeps its value; what is filled has that of a pixel of its row."""
    rng = np.random.default_rng(seed)
    disparity = holed(rng.choice([3.0, 9, 27, 60], (HEIGHT, WIDTH)), seed, share)
    chosen = FilterSettings(
        border=int(rng.integers(4)), flying=flying, speckle_size=20, fill_holes=4 * fill
    )
    before = disparity.copy()
    out = filtered(disparity, chosen)
    np.testing.assert_array_equal(disparity, before)  # the given map is not changed
    new = ~np.isnan(out) & (out != disparity)
    assert fill or not new.any()
    for row, column in zip(*np.nonzero(new), strict=True):
        assert out[row, column] in disparity[row]


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf, 0.0, -3.0])
def test_maps_of_one_odd_value_pass(value):
    given = FilterSettings(border=2, flying=3, speckle_size=9, smoothing=0.5, fill_holes=5)
    odd = np.full((HEIGHT, WIDTH), value, np.float32)
    out = filtered(odd, given, View(GREY, CAMERA, 0))
    inside = np.s_[2:-2, 2:-2] if value != np.inf else np.s_[:0]
    np.testing.assert_array_equal(out[inside], odd[inside])
    depth = DepthResult(odd, None, 'depth', (WIDTH, HEIGHT))
    out = DepthFilters().depth(depth, given, View(GREY, None, 0)).depth
    np.testing.assert_array_equal(out[2:-2, 2:-2], odd[2:-2, 2:-2])


def test_nothing_is_done_by_default():
    given = result(quadratic(1, 1, 0, 0))
    assert DepthFilters().disparity(given, FilterSettings(), View(GREY)) is given


# --- what must go ----------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 5), st.floats(3, 40), st.floats(3, 40), st.booleans(), st.booleans(),
    st.floats(-0.05, 0.05), st.floats(-0.05, 0.05),
)  # fmt: skip
def test_a_veil_between_two_surfaces_goes_and_nothing_else(
    width, far, jump, mirrored, upright, x, y
):
    start, end = 30, 30 + width
    jump = 0.1 * far + (width + 1) * (2 + 0.1 * far) + jump  # more than a step from each pixel
    scene = (
        far + jump * np.clip((columns - start + 1) / (width + 1), 0, 1) + x * columns + y * rows
    )
    veil = (columns >= start) & (columns < end)
    if mirrored:
        scene, veil = scene[:, ::-1], veil[:, ::-1]
    if upright:
        scene, veil = scene[:, :48].T, veil[:, :48].T
    scene = scene.astype(np.float32)
    out = filtered(scene, FilterSettings(flying=3))
    np.testing.assert_array_equal(np.isnan(out), veil)
    np.testing.assert_array_equal(out[~veil], scene[~veil])


def test_the_veil_on_both_sides_of_a_thin_pole_goes():
    row = np.array([5.0] * 28 + [15, 25, 25, 25, 15] + [5] * 31, np.float32)
    out = filtered(np.tile(row, (HEIGHT, 1)), FilterSettings(flying=2))
    assert np.flatnonzero(np.isnan(out[20])).tolist() == [28, 32]


def test_speckles_go_by_their_size_and_their_step():
    scene = np.full((HEIGHT, WIDTH), 10, np.float32)
    scene[5:9, 5:10] = 20  # 20 pixels
    scene[5:8, 25:32] = 20  # 21 pixels
    scene[20:24, 5:10] = 10.9  # no step away
    scene[20:24, 25:30] = np.nan
    scene[21:23, 26:29] = 10  # an island of 6 pixels
    far = scene.copy()
    out = filtered(scene, FilterSettings(speckle_size=20))
    gone = np.zeros((HEIGHT, WIDTH), bool)
    gone[5:9, 5:10] = gone[20:24, 25:30] = True
    np.testing.assert_array_equal(np.isnan(out), gone)
    np.testing.assert_array_equal(out[~gone], far[~gone])


def test_a_step_is_a_share_of_the_depth_and_not_less_than_a_pixel():
    scene = np.full((HEIGHT, WIDTH), 100, np.float32)
    scene[5:9, 5:10] = 104.5
    given = FilterSettings(speckle_size=20)
    assert not np.isnan(filtered(scene, given)).any()
    scene[5:9, 5:10] = 106
    assert np.isnan(filtered(scene, given)).sum() == 20
    assert not np.isnan(filtered(scene, FilterSettings(speckle_size=20, step=0.1))).any()
    scene[:], scene[5:9, 5:10] = 1, 1.9
    assert not np.isnan(filtered(scene, given)).any()
    half = StereoResult(scene, None, (WIDTH // 2, HEIGHT // 2))  # a pixel is two of the map
    scene[5:9, 5:10] = 2.9
    assert not np.isnan(DepthFilters().disparity(half, given, View(GREY)).disparity).any()


@pytest.mark.parametrize('step', [0.02, 0.03, 0.05])
@pytest.mark.parametrize('width', [32, 33, 45, WIDTH])
def test_of_matching_in_sixteenths_a_pixel_is_no_step_and_more_is_one(width, step):
    """So that ties, which are common there, go the same way everywhere and in all filters."""

    def loses(chosen: FilterSettings, pixels: np.ndarray) -> bool:
        scene = np.float32(WIDTH / width) * pixels.astype(np.float32)
        given = StereoResult(scene, None, (width, HEIGHT))
        return bool(np.isnan(DepthFilters().disparity(given, chosen, View(GREY)).disparity).any())

    region, veil = np.zeros((2, HEIGHT, WIDTH))
    region[5:9, 5:10] = 1
    veil[:, 30], veil[:, 31:] = 1, 2
    speckle, flying = (
        FilterSettings(speckle_size=20, step=step),
        FilterSettings(flying=1, step=step),
    )
    for value in np.arange(0, 17.8, 1 / 16):
        assert not loses(speckle, value + region)
        assert loses(speckle, value + 17 / 16 * region)
        assert not loses(flying, value + veil)
        assert loses(flying, value + 17 / 16 * veil)


def test_the_border_of_both_images_goes():
    out = filtered(np.full((HEIGHT, WIDTH), 7.5, np.float32), FilterSettings(border=3))
    kept = np.zeros((HEIGHT, WIDTH), bool)
    kept[3:-3, 11:-3] = True  # the right image shows column 11 at 3.5, and 10 at 2.5
    np.testing.assert_array_equal(~np.isnan(out), kept)
    assert np.isnan(filtered(np.ones((HEIGHT, WIDTH)), FilterSettings(border=999))).all()


def test_holes_are_filled_from_the_background():
    row = np.full(WIDTH, 9, np.float32)
    row[20:30] = np.nan
    row[30:40] = 30
    row[40:51] = np.nan
    row[:5] = row[-5:] = np.nan
    confidence = np.full((HEIGHT, WIDTH), 0.5, np.float32)
    given = result(np.tile(row, (HEIGHT, 1)), confidence)
    out = DepthFilters().disparity(given, FilterSettings(fill_holes=10), View(GREY))
    assert (out.disparity[:, 20:30] == 9).all()
    assert np.isnan(out.disparity[:, 40:51]).all()  # wider
    assert np.isnan(out.disparity[:, :5]).all()  # with one end only
    assert np.isnan(out.disparity[:, -5:]).all()
    assert (out.confidence[:, 20:30] == 0).all()
    assert (np.delete(out.confidence, np.s_[20:30], axis=1) == 0.5).all()
    assert (confidence == 0.5).all()
    assert set(out.filled % WIDTH) == set(range(20, 30))
    assert out.filled.size == 10 * HEIGHT


def test_an_offset_of_cx_is_no_depth():
    """What is at infinity has the disparity of the offset; steps are shares of the rest."""
    camera = StereoCamera(CAMERA.left, 0.1, 31.5 - 200)
    scene = np.full((HEIGHT, WIDTH), 210, np.float32)
    scene[5:9, 5:10] = 212
    out = filtered(scene, FilterSettings(speckle_size=20), View(GREY, camera))
    assert np.isnan(out[5:9, 5:10]).all()
    np.testing.assert_allclose(out[20:], 210, rtol=1e-6)


def test_depths_are_filtered_like_disparities():
    disparity = np.full((HEIGHT, WIDTH), 10, np.float32)
    disparity[:, 30], disparity[:, 31:] = 20, 40
    disparity[5:9, 5:10] = 20
    depth = CAMERA.disparity_to_depth(disparity)
    given = FilterSettings(flying=2, speckle_size=20)
    for unit in ('depth', 'inverse_depth', 'relative_depth'):
        before = DepthResult(depth, None, unit, (WIDTH, HEIGHT))
        out = DepthFilters().depth(before, given, View(GREY)).depth
        gone = np.isnan(filtered(disparity, given)) & (unit == 'depth')
        np.testing.assert_array_equal(np.isnan(out), gone)
        np.testing.assert_array_equal(out[~gone], depth[~gone])


# --- over time -------------------------------------------------------------------------------


class Stream:
    """Feeds one map after the other."""

    def __init__(self, smoothing: float = 1.0) -> None:
        self.filters, self.given, self.stamp = (
            DepthFilters(),
            FilterSettings(smoothing=smoothing),
            0,
        )

    def __call__(self, disparity, image=GREY, camera=CAMERA, passed=SECOND // 10) -> np.ndarray:
        self.stamp += passed
        view = View(image, camera, self.stamp)
        return self.filters.disparity(result(disparity), self.given, view).disparity


def noisy(count: int, value: float = 20.0) -> np.ndarray:
    rng = np.random.default_rng(3)
    return (value + rng.normal(0, 0.1, (count, HEIGHT, WIDTH))).astype(np.float32)


def test_the_first_maps_of_a_static_scene_have_their_plain_mean():
    stream, maps = Stream(), noisy(9)
    for number, disparity in enumerate(maps, 1):
        np.testing.assert_allclose(stream(disparity), maps[:number].mean(axis=0), rtol=1e-5)


def test_noise_falls_as_that_of_an_exponential_mean():
    stream = Stream()
    outs = np.array([stream(disparity) for disparity in noisy(120)])
    weight = 1 - np.exp(-0.1)
    expected = 0.1 * np.sqrt(weight / (2 - weight))
    assert outs[-1].std() == pytest.approx(expected, rel=0.05)
    assert outs[-1].mean() == pytest.approx(20, abs=0.002)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.floats(0, 0.6))
def test_a_mean_lies_between_its_values_and_is_known_where_they_are(seed, share):
    stream, maps = Stream(), [holed(m, seed + n, share) for n, m in enumerate(noisy(6))]
    for disparity in maps:
        out = stream(disparity)
        np.testing.assert_array_equal(np.isnan(out), np.isnan(disparity))
    known = ~np.isnan(out)
    of_known = np.array(maps)[:, known]
    assert (out[known] >= np.nanmin(of_known, axis=0) - 1e-5).all()
    assert (out[known] <= np.nanmax(of_known, axis=0) + 1e-5).all()


@pytest.mark.parametrize(
    'jump',
    [
        {'passed': -SECOND},
        {'passed': 0},
        {'passed': 6 * SECOND},
        {'camera': StereoCamera(CAMERA.left, 0.2, 31.5)},
        {'image': np.full_like(GREY, 140)},
    ],
    ids=['back', 'twice', 'gap', 'calibration', 'image'],
)
def test_a_jump_begins_anew(jump):
    stream, maps = Stream(), noisy(3)
    stream(maps[0])
    assert (stream(maps[1]) != maps[1]).any()
    np.testing.assert_array_equal(stream(maps[2], **jump), maps[2])


def test_another_size_begins_anew():
    stream, maps = Stream(), noisy(2)
    stream(maps[0])
    smaller = np.ascontiguousarray(maps[1][:, :40])
    np.testing.assert_array_equal(stream(smaller), smaller)


def test_what_moves_is_not_mixed():
    """In a part by its value, in another by its image, in a third all values drift together."""
    stream, maps = Stream(), noisy(2)
    image = GREY.copy()
    stream(maps[0])
    maps[1, :16, :30] += 5
    image[30:, :30] = 160
    maps[1, :, 40:] += 0.5
    out = stream(maps[1], image)
    moved = out == maps[1]
    assert moved[:16, :30].all()
    assert moved[32:, :28].all()
    assert moved[:, 50:].all()
    assert not moved[18:26, :20].any()


def test_a_slow_drift_is_followed():
    """The ground before a driving robot: nothing shows in the image, values change slowly."""
    stream = Stream()
    for number in range(50):
        scene = np.full((HEIGHT, WIDTH), 20 + 0.05 * number, np.float32)
        out = stream(scene)
    assert np.abs(out - scene).max() < 0.1


def blotches(count: int, size: float) -> np.ndarray:
    """Errors of `size` in which neighbours are wrong together, as those of matching are."""
    rng = np.random.default_rng(8)
    white = rng.normal(0, 1, (count, HEIGHT, WIDTH))
    smooth = np.array([cv2.GaussianBlur(one, (0, 0), 5) for one in white])
    return (size * smooth / smooth.std()).astype(np.float32)


def speckled(count: int, size: float) -> np.ndarray:
    """Grey images with noise of so many levels."""
    noise = np.random.default_rng(9).normal(0, size, (count, HEIGHT, WIDTH, 1))
    return np.clip(np.rint(noise + 128), 0, 255).astype(np.uint8).repeat(3, axis=3)


@pytest.mark.parametrize('levels', [0, 3, 6])
@pytest.mark.parametrize('size', [0.02, 0.05, 0.1])
def test_noise_that_neighbours_share_is_averaged_too(size, levels):
    stream, count = Stream(), 80
    maps = 15 + blotches(count, size)
    outs = [stream(*pair) for pair in zip(maps, speckled(count, levels), strict=True)]
    weight = 1 - np.exp(-0.1)
    exponential = np.sqrt(weight / (2 - weight))
    left = np.std(outs[20:], axis=0).mean() / np.std(maps[20:], axis=0).mean()
    assert left < 1.6 * exponential


@pytest.mark.parametrize('speed', [0.02, 0.05, 0.1, 0.3])
@pytest.mark.parametrize('size', [0.0, 0.05, 0.2, 0.5])
def test_a_plain_surface_that_moves_leaves_no_long_trail(speed, size):
    """An approaching wall without texture, where nothing but its values tells of motion."""
    stream, count = Stream(), 60
    maps = 10 + speed * np.arange(count, dtype=np.float32)[:, None, None] + blotches(count, size)
    outs = [stream(*pair) for pair in zip(maps, speckled(count, 3), strict=True)]
    behind = (maps - outs).mean(axis=(1, 2))
    assert abs(behind[5:].mean()) < 0.06


@pytest.mark.parametrize('moves', [True, False])
def test_a_drift_is_noise_only_where_the_image_is_still(moves):
    """Before texture of so little contrast that no pixel of it changes by much."""
    stream, count = Stream(), 60
    texture = cv2.GaussianBlur(np.random.default_rng(1).normal(0, 1, (HEIGHT, 200)), (0, 0), 2)
    texture = np.clip(np.rint(128 + 4 * texture / texture.std()), 0, 255).astype(np.uint8)
    maps = 10 + blotches(count, 0.1)
    outs = []
    for number, disparity in enumerate(maps):
        image = texture[:, 2 * number * moves :][:, :WIDTH, None].repeat(3, axis=2)
        outs.append(stream(disparity, image))
    left = np.std(outs[20:], axis=0).mean() / np.std(maps[20:], axis=0).mean()
    assert left > 0.6 if moves else left < 0.4


def test_an_image_that_changes_slowly_has_moved_too():
    """Two levels a frame: no frame changes much, but what the mean is of does."""
    stream, maps = Stream(), noisy(8)
    for number, disparity in enumerate(maps):
        image = GREY.copy()
        image[:, 40:] += np.uint8(2 * number)
        out = stream(disparity, image)
    assert (out[:, :36] != disparity[:, :36]).all()
    outs = np.array([out[:, 44:]])
    assert np.abs(outs - maps[:, :, 44:].mean(axis=0)).mean() > 0.02


def test_a_value_at_infinity_does_not_switch_the_mean_off():
    maps = 1 / noisy(4)
    maps[2, 20, 30] = 0
    filters, given = DepthFilters(), FilterSettings(smoothing=1.0)
    for number, depth in enumerate(maps):
        before = DepthResult(depth, None, 'depth', (WIDTH, HEIGHT))
        out = filters.depth(before, given, View(GREY, None, number * SECOND // 10)).depth
        assert out[20, 30] == pytest.approx(depth[20, 30], rel=0.05)
        if number:
            assert (out != depth).mean() > 0.9


def test_switched_off_it_forgets():
    stream, maps = Stream(), noisy(3)
    stream(maps[0])
    stream.given = FilterSettings()
    stream(maps[1])
    stream.given = FilterSettings(smoothing=1.0)
    np.testing.assert_array_equal(stream(maps[2]), maps[2])


def test_images_of_another_size_serve():
    stream, maps = Stream(), noisy(2)
    large = np.full((2 * HEIGHT, 2 * WIDTH, 3), 128, np.uint8)
    stream(maps[0], large)
    np.testing.assert_allclose(stream(maps[1], large), maps.mean(axis=0), rtol=1e-5)


# --- settings --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('changes', 'says'),
    [
        ({'border': -1}, 'border is -1; give a whole number in 0..16384'),
        ({'flying': 2.5}, 'flying is 2.5; give a whole number in 0..100'),
        ({'speckle_size': -5}, 'speckle_size is -5; give a whole number'),
        ({'smoothing': float('nan')}, 'smoothing is nan; give a number in 0..60'),
        ({'fill_holes': True}, 'fill_holes is True; give a whole number'),
        ({'step': 0.0}, r'step is 0.0; give a number in 0.005..1'),
    ],
)
def test_settings_without_meaning_are_refused(changes, says):
    with pytest.raises(ValueError, match=says):
        FilterSettings(**changes)
