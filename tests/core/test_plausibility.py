"""What cannot be true is found, and what is merely unusual is not."""

import math

import cv2
import numpy as np
import pytest
import scenes
from hypothesis import given, settings
from hypothesis import strategies as st

from nndepth_core import PinholeCamera, StereoCamera
from nndepth_core.plausibility import (
    BaselineLimits,
    Finding,
    Level,
    Once,
    UsedBits,
    density,
    examine_baseline,
    examine_depth,
    examine_estimate,
    examine_image_levels,
    examine_levels,
    examine_truth,
    share_inside,
)

HEIGHT, WIDTH = 96, 200


def codes(findings):
    return [finding.code for finding in findings]


@pytest.fixture(scope='module')
def scene():
    """Left, right under less light, and the truth."""
    left, right, truth = scenes.slope(WIDTH, HEIGHT)
    return left, (right * 0.8).astype(np.uint8), truth


def camera(cx_right: float = 99.5, baseline: float = 0.12) -> StereoCamera:
    return StereoCamera(PinholeCamera(WIDTH, HEIGHT, 700, 700, 99.5, 47.5), baseline, cx_right)


# --- rigs ----------------------------------------------------------------------------------------


@given(st.floats(0.005, 5.0), st.floats(100, 4000))
def test_usual_baselines_are_not_remarked(baseline, fx):
    assert examine_baseline(baseline, fx, BaselineLimits()) == []


@given(st.floats(0.01, 4), st.floats(900, 4000))
def test_slips_of_p3_are_named_where_the_numbers_fit(baseline, fx):
    (millimetres,) = examine_baseline(1000 * baseline, fx, BaselineLimits())
    assert f'times millimetres would mean {baseline:.4g} m' in millimetres.text
    (without,) = examine_baseline(baseline / fx, fx, BaselineLimits())
    assert f'without fx would mean {baseline:.4g} m' in without.text
    assert examine_baseline(baseline / fx, fx, BaselineLimits(1e-6, 1)) == []


@pytest.mark.parametrize(('low', 'high'), [(0, 1), (2, 1), (math.nan, 1), (-1, 1)])
def test_limits_that_cannot_be(low, high):
    with pytest.raises(ValueError, match=r'min_baseline is .* max_baseline'):
        BaselineLimits(low, high)


# --- images --------------------------------------------------------------------------------------


def test_pictures_of_a_scene_are_not_remarked(scene):
    assert examine_levels(*scene[:2]) == []


@pytest.mark.parametrize('levels', [0, 3, 15])
def test_pictures_of_few_levels(scene, levels):
    left = (scene[0].astype(int) * levels // 255).astype(np.uint8)
    (finding,) = examine_levels(left, scene[1])
    assert finding.code == 'levels_left'
    assert finding.text.endswith(
        'the lens is covered, the exposure is wrong or the scene has no contrast'
    )


def test_one_picture_for_both_sides(scene):
    assert codes(examine_levels(scene[0], scene[0].copy())) == ['same_picture']


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=20))
def test_used_bits_never_shrink_and_hold_every_value(values):
    used = UsedBits()
    before = used.bits
    for value in values:
        used.see(value)
        assert before <= used.bits
        assert max(values[: values.index(value) + 1]) < 2**used.bits
        before = used.bits
    assert used.bits in (8, 10, 12, 14, 16)
    assert len(used.findings()) == (used.bits < 16 and max(values) > 0)


def test_each_kind_passes_once():
    once = Once()
    first, same, other = (Finding(code, Level.WARN, text) for code, text in ('ab', 'ac', 'bd'))
    assert once([first]) == [first]
    assert once([same, other]) == [other]
    assert Once()([first, same, other]) == [first, other]


# --- estimates -----------------------------------------------------------------------------------


def test_good_estimates_are_not_remarked(scene):
    left, right, truth = scene
    assert examine_estimate(left, right, truth) == []
    assert examine_estimate(left, right, truth, camera(), 192.0) == []
    half = cv2.resize(truth, None, fx=0.5, fy=0.5) / 2
    assert examine_estimate(left, right, half, camera()) == []


noise = np.random.default_rng(1).normal(0, 30, (HEIGHT, WIDTH)).astype(np.float32)


@pytest.mark.parametrize(
    ('change', 'code', 'says'),
    [
        (lambda d: -d, 'negative_disparity', 'images fit the opposite sign'),
        (lambda d: np.where(noise > -10, -d, d), 'negative_disparity', '% of the disparities'),
        (lambda d: d / WIDTH, 'disparity_scale', f'multiplied by {WIDTH}'),
        (lambda d: d / 4, 'disparity_scale', 'multiplied by 4'),
        (lambda d: 0 * d + 5250 + noise, 'out_of_sight', '100 % of the disparities (median 52'),
        (lambda d: 0 * d + 37.3, 'constant', '37.3 px everywhere'),
        (lambda d: d + 3, 'misfit', 'do not explain the images'),
        (lambda d: np.where(noise > 0, 31.5, d), 'range_end', 'end of the model'),
        (lambda d: d * np.nan, 'few_estimates', 'only 0 % of the pixels'),
        (lambda d: np.where(noise > -25, 0, d), 'infinite_depth', '0.0 px or less'),
    ],
)
def test_estimates_that_cannot_be(scene, change, code, says):
    left, right, truth = scene
    wrong = change(truth).astype(np.float32)
    found = examine_estimate(left, right, wrong, camera(), largest=32.0)
    assert code in codes(found)
    assert says in next(finding.text for finding in found if finding.code == code)


def shifted(texture: np.ndarray, disparity: int, width: int = 300):
    """A pair of constant disparity, cut out of a texture."""
    return texture[:, :width], texture[:, disparity : disparity + width]


def wrong_estimate(pair, largest: float):
    """The one finding for disparities of 20 px everywhere but in a corner."""
    estimate = np.full(pair[0].shape[:2], 20.0, np.float32)
    estimate[:9, :9] = 12.0
    estimate[::3] += 3.0
    (finding,) = examine_estimate(*pair, estimate, largest=largest)
    return finding


def test_a_scene_beyond_the_range_is_told_by_its_corners():
    noise = np.random.default_rng(5).integers(0, 256, (120, 400, 3), np.uint8)
    pair = shifted(cv2.GaussianBlur(noise, (0, 0), 1.5), 60)
    finding = wrong_estimate(pair, largest=32.0)
    assert finding.code == 'range_end'
    assert finding.level is Level.WARN
    assert (
        "matched corners have disparities beyond the model's range of 32 px (median 60 px), and "
        'its estimates do not fit or are few: the scene is too near for it; lower '
        'processing_size, or let the model search farther '
        '(max_disparity of a network, num_disparities of sgbm)'
    ) in finding.text
    holes = np.full(pair[0].shape[:2], np.nan, np.float32)
    holes[::3] = 20.0
    assert codes(examine_estimate(*pair, holes, largest=32.0)) == ['range_end']
    for largest in (60.0, math.inf):
        finding = wrong_estimate(pair, largest)
        assert finding.code == 'misfit'
        assert 'range' not in finding.text


def test_where_corners_cannot_tell_the_range_is_one_of_the_causes():
    noise = np.random.default_rng(5).integers(0, 256, (2, 120, 300, 3), np.uint8)
    pair = [cv2.GaussianBlur(image, (0, 0), 1.5) for image in noise]
    finding = wrong_estimate(pair, largest=32.0)
    assert finding.code == 'misfit'
    assert (
        'or has a range that ends before this scene, at 32 px (lower processing_size, '
        in finding.text
    )


def test_swapped_images_are_told_from_a_model_of_the_other_sign(scene):
    left, right, truth = scene
    right_truth = -cv2.remap(
        truth,
        np.arange(WIDTH, dtype=np.float32) + truth,
        np.repeat(np.arange(HEIGHT, dtype=np.float32)[:, None], WIDTH, axis=1),
        cv2.INTER_NEAREST,
    )
    (finding,) = examine_estimate(right, left, right_truth)
    assert 'left and right are swapped, exchange them' in finding.text


def test_negative_disparities_before_a_shifted_infinity_are_right(scene):
    left, right, truth = scene
    moved = cv2.warpAffine(right, np.float32([[1, 0, 30], [0, 1, 0]]), (WIDTH, HEIGHT))
    assert examine_estimate(left, moved, truth - 30, camera(cx_right=129.5)) == []
    assert codes(examine_estimate(left, moved, truth - 30)) == ['negative_disparity']


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('limits', [(1e99, math.inf), (0, 1e99)])
def test_limits_and_rigs_beyond_float32_are_looked_at_in_silence(scene, limits):
    left, right, truth = scene
    for rig in (camera(), camera(cx_right=1e300), camera(cx_right=-1e300), camera(baseline=1e300)):
        assert 0 <= density(truth, rig, limits) <= 1
        examine_estimate(left, right, truth, rig, depth_limits=limits)


def test_limits_that_take_all_depth_away(scene):
    left, right, truth = scene
    near = examine_estimate(left, right, truth, camera(), depth_limits=(50.0, math.inf))
    far = examine_estimate(left, right, truth, camera(), depth_limits=(0.0, 2.0))
    assert (codes(near), codes(far)) == (['clipped'], ['clipped'])
    assert 'nearer than min_depth (50 m) and become -inf' in near[0].text
    assert 'farther than max_depth (2 m) and become +inf' in far[0].text


@given(st.floats(-30, 30), st.floats(0, 5), st.floats(6, 50), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_density_counts_finite_depths_inside_the_limits(doffs, low, high, seed):
    rig = camera(cx_right=99.5 + doffs)
    rng = np.random.default_rng(seed)
    disparity = rng.uniform(-40, 60, (HEIGHT, WIDTH)).astype(np.float32)
    disparity[rng.random(disparity.shape) < 0.2] = np.nan
    expected = np.isfinite(rig.disparity_to_depth(disparity, low, high)).mean()
    assert density(disparity, rig, (low, high)) == pytest.approx(expected, abs=1e-4)
    expected = np.isfinite(rig.disparity_to_depth(disparity)).mean()
    assert density(disparity, rig) == pytest.approx(expected, abs=1e-4)
    assert density(disparity) == pytest.approx(np.isfinite(disparity).mean())


values = st.floats(width=32) | st.sampled_from([0.0, 8.0, np.nan, np.inf, 3e38])


@given(
    st.tuples(st.integers(1, 24), st.integers(1, 24)),
    st.tuples(st.integers(1, 24), st.integers(1, 24)),
    values,
    values,
    st.integers(0, 99),
)
@settings(max_examples=100, deadline=None)
@pytest.mark.filterwarnings('error')
def test_nothing_is_too_odd_to_be_looked_at(size, of_disparity, one, other, seed):
    rng = np.random.default_rng(seed)
    left, right = rng.integers(0, 256, (2, *size, 3), np.uint8)
    disparity = rng.choice(np.float32([one, other]), of_disparity)
    examine_levels(left, right)
    examine_estimate(left, right, disparity, camera(), 9.0, (0.5, 20.0))
    examine_truth(left, right, rng.choice(np.float32([one, other]), size))
    assert 0 <= density(disparity, camera().resized(*of_disparity[::-1])) <= 1


# --- truth ---------------------------------------------------------------------------------------


def test_good_truth_is_not_remarked(scene):
    left, right, truth = scene
    assert examine_truth(left, right, truth) == []
    sparse = np.where(np.random.default_rng(0).random(truth.shape) < 0.1, truth, np.nan)
    assert examine_truth(left, right, sparse.astype(np.float32)) == []
    assert examine_truth(left, right, truth * np.nan) == []


@pytest.mark.parametrize(
    ('change', 'code', 'says'),
    [
        (lambda d: -d, 'truth_sign', 'images fit the opposite sign, negate it'),
        (lambda d: 0 * d, 'truth_zero', '0 at 100 % of its known pixels'),
        (lambda d: 256 * d, 'truth_scale', 'multiplied by 0.00390625'),
        (lambda d: d / 256, 'truth_scale', 'multiplied by 256'),
        (lambda d: d / 2, 'truth_scale', 'multiplied by 2'),
        (lambda d: 100 * d, 'truth_scale', 'has its match inside the right image'),
        (lambda d: d + 3, 'truth_misfit', 'is it of these images'),
    ],
)
def test_truth_that_cannot_be(scene, change, code, says):
    left, right, truth = scene
    (finding,) = examine_truth(left, right, change(truth))
    assert (finding.code, says in finding.text) == (code, True), finding.text


def test_sign_and_zeros_need_no_images(scene):
    left, right, truth = scene
    assert codes(examine_truth(left, right, -truth, warp=False)) == ['truth_sign']
    assert codes(examine_truth(left, right, 0 * truth, warp=False)) == ['truth_zero']
    assert examine_truth(left, right, 256 * truth, warp=False) == []


RAMP = np.linspace(1, 9, 900, dtype=np.float32).reshape(30, 30)


def test_depth_of_a_single_image_that_may_be():
    assert examine_depth(RAMP, (0.0, 5.0)) == []
    assert examine_depth(-RAMP, None) == []
    of_sky = np.where(RAMP < 8.8, np.float32(np.inf), RAMP)
    assert examine_depth(of_sky, (0.0, 50.0)) == []
    (finding,) = examine_depth(np.full_like(RAMP, np.inf), (0.0, 50.0))
    assert finding.code == 'infinite_depth'
    assert 'no pixel has a finite estimate' in finding.text


@pytest.mark.parametrize(
    ('depth', 'code', 'says'),
    [
        (np.where(RAMP < 8.8, np.nan, RAMP), 'few_estimates', 'only 3 % of the pixels'),
        (0 * RAMP + 2, 'constant', 'the estimate is 2 everywhere'),
        (RAMP / 1000, 'depth_unit', 'the median depth is 0.005 m and scenes lie between 0.05 and'),
        (RAMP + 10, 'clipped', '100 % of the depths (median 15 m) are farther than max_depth'),
    ],
)
def test_depth_of_a_single_image_that_cannot_be(depth, code, says):
    (finding,) = examine_depth(depth.astype(np.float32), (0.5, 5.0))
    assert (finding.code, says in finding.text) == (code, True), finding.text


def test_the_share_inside_counts_finite_values_alone():
    values = np.array([[np.nan, np.inf, -np.inf, -1, 0, 2, 3, 4]], np.float32)
    assert share_inside(values, 0, 3) == 3 / 8
    assert share_inside(values, -math.inf, math.inf) == 5 / 8


def test_levels_of_a_single_image_name_no_side():
    (finding,) = examine_image_levels(np.full((30, 30, 3), 7, np.uint8))
    assert finding.code == 'levels'
    assert finding.text.startswith('the image shows grey levels 7 to 7')


def test_torch_is_not_needed(in_new_process):
    code = (
        'import sys; sys.modules["torch"] = None; import nndepth_core.plausibility; '
        'print(sorted(m for m in sys.modules if m.startswith("torch")))'
    )
    assert in_new_process(code) == "['torch']\n"
