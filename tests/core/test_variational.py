"""Variational refinement: on scenes whose disparity is known, in the estimator and in commands."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nndepth_core import io
from nndepth_core.cli import main
from nndepth_core.data.synthetic.procedural import ProceduralStereo
from nndepth_core.estimator import StereoEstimator
from nndepth_core.estimator.depth_edges import with_edges_of_image
from nndepth_core.estimator.variational import refined

SIZE = HEIGHT, WIDTH = 96, 160
INSIDE = np.s_[8:-8, 48:-8]
"""Pixels that both images show, away from the borders."""


def slanted(near: float = 14.0, slope: float = 0.05) -> np.ndarray:
    """The disparity of a slanted wall, whose right image a shift of columns gives exactly."""
    columns = np.arange(WIDTH, dtype=np.float32)
    return np.tile(near + slope * columns, (HEIGHT, 1))


def pair(disparity: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images of a wall that has colours at its points as the right camera sees them."""
    noise = np.random.default_rng(seed).uniform(-1, 1, (HEIGHT, 2 * WIDTH, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.0).astype(np.float32)
    right = 128 + 40 * smooth / smooth.std()
    columns, rows = np.meshgrid(
        np.arange(WIDTH, dtype=np.float32), np.arange(HEIGHT, dtype=np.float32)
    )
    left = cv2.remap(right, columns - disparity + WIDTH / 2, rows, cv2.INTER_CUBIC)
    return seen(left), seen(right[:, WIDTH // 2 : WIDTH // 2 + WIDTH])


def seen(image: np.ndarray) -> np.ndarray:
    """What a camera makes of colours."""
    return np.ascontiguousarray(image.clip(0, 255).round().astype(np.uint8))


def wavy(largest: float = 0.5) -> np.ndarray:
    """Errors as networks make them: smooth, of both signs."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return (largest * np.sin(columns / 9) * np.cos(rows / 7)).astype(np.float32)


def error(disparity: np.ndarray, truth: np.ndarray) -> float:
    return float(np.abs(disparity - truth)[INSIDE].mean())


@given(near=st.floats(14, 30), slope=st.floats(-0.05, 0.08), seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_errors_of_parts_of_a_pixel_shrink(near: float, slope: float, seed: int):
    truth = slanted(near, slope)
    rough = truth + wavy()
    assert error(refined(*pair(truth, seed), rough), truth) < 0.55 * error(rough, truth)


@pytest.mark.parametrize(('gain', 'offset'), [(0.6, 0), (1.2, 15)])
def test_another_exposure_of_one_camera_does_not_matter(gain: float, offset: float):
    truth = slanted()
    left, right = pair(truth)
    other = seen(gain * right.astype(np.float32) + offset)
    rough = truth + wavy()
    assert error(refined(left, other, rough), truth) < 0.7 * error(rough, truth)


def test_what_is_right_stays_and_plain_areas_follow_what_is_around():
    truth = slanted()
    left, right = pair(truth)
    assert error(refined(left, right, truth), truth) < 0.05
    plain = [np.full_like(image, 120) for image in (left, right)]
    np.testing.assert_allclose(refined(plain[0], plain[1], truth)[INSIDE], truth[INSIDE], atol=0.1)


def test_no_disparity_moves_far_or_leaves_the_range():
    left, right = pair(slanted())
    inside = refined(left, right, slanted() + wavy(), (16.0, 18.0))
    rough = slanted() + wavy()
    assert np.all((inside >= 16) | (inside >= rough))
    assert np.all((inside <= 18) | (inside <= rough))
    rng = np.random.default_rng(1)
    wrong = rng.uniform(0, 60, SIZE).astype(np.float32)
    result = refined(left, right, wrong)
    assert np.abs(result - wrong).max() <= 1 + 1e-4


def test_what_is_at_infinity_stays_there():
    left, right = pair(slanted())
    far = np.where(wavy() > 0, wavy(), 0).astype(np.float32)
    far[:8] = -2
    result = refined(left, right, far)
    np.testing.assert_array_equal(result[far <= 0], far[far <= 0])
    assert result.min() >= -2


def test_what_the_right_image_does_not_show_stays():
    truth = slanted()
    rough = truth + wavy()
    result = refined(*pair(truth), rough)
    hidden = np.arange(WIDTH) < rough
    assert np.array_equal(result[hidden], rough[hidden])


def test_depth_edges_stay():
    truth = slanted()
    rough = truth + wavy()
    rough[30:60, 80:120] += 20
    result = refined(*pair(truth), rough)
    edge = cv2.morphologyEx(rough, cv2.MORPH_GRADIENT, np.ones((3, 3))) > 4
    assert edge.sum() > 200
    np.testing.assert_array_equal(result[edge], rough[edge])


def test_unknown_disparities_stay_unknown_and_harm_no_others():
    truth = slanted()
    rough = truth + wavy()
    holes = np.random.default_rng(2).uniform(size=SIZE) < 0.2
    rough[holes] = np.nan
    given = rough.copy()
    result = refined(*pair(truth), rough)
    np.testing.assert_array_equal(rough, given)
    np.testing.assert_array_equal(np.isnan(result), holes)
    errors = [np.nanmean(np.abs(values - truth)[INSIDE]) for values in (result, rough)]
    assert errors[0] < 0.5 * errors[1]
    nothing = np.full(SIZE, np.nan, np.float32)
    assert np.isnan(refined(*pair(truth), nothing)).all()
    beyond = np.full(SIZE, np.inf, np.float32)
    assert np.isinf(refined(*pair(truth), beyond)).all()


@pytest.mark.parametrize(('height', 'width'), [(1, 1), (2, 3), (17, 5)])
def test_small_images(height: int, width: int):
    image = np.zeros((height, width, 3), np.uint8)
    disparity = np.ones((height, width), np.float32)
    assert refined(image, image, disparity).shape == (height, width)


def test_images_that_opencv_cannot_resample_are_refused():
    image = np.zeros((8, 32767, 3), np.uint8)
    with pytest.raises(ValueError, match=r'32767x8 cannot be refined.*refine to never'):
        refined(image, image, np.ones(image.shape[:2], np.float32))


@pytest.mark.parametrize('value', ['always', 'never', 1, 0])
def test_python_takes_no_words(value):
    with pytest.raises(ValueError, match=f'refine is {value!r}; give True, False, or None'):
        StereoEstimator.load('sgbm', refine=value)


def test_the_number_of_threads_changes_no_bit():
    truth = slanted()
    images, rough = pair(truth), truth + wavy()
    before = cv2.getNumThreads()
    results = []
    for threads in (1, 2, 3):
        cv2.setNumThreads(threads)
        results.append(refined(*images, rough))
    cv2.setNumThreads(before)
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


@pytest.fixture(scope='module')
def sample():
    return ProceduralStereo(size=(192, 320), seed=5, misaligned=0.0)[3]


def test_the_default_model_is_refined_and_sgbm_when_it_is_told(sample):
    for model, itself in (('auto', True), ('sgbm', False)):
        engine = StereoEstimator.load(model).engine
        results = {
            refine: StereoEstimator(engine, refine=refine)(sample.left, sample.right).disparity
            for refine in (None, False, True)
        }
        np.testing.assert_array_equal(results[None], results[itself])
        errors = {
            refine: np.nanmean(np.abs(values - sample.disparity) > 1)
            for refine, values in results.items()
        }
        assert errors[True] < errors[False]


def test_disparities_are_refined_at_the_size_of_processing(sample):
    plain, better = (
        StereoEstimator.load(processing_size=(160, 96), output='processing', refine=refine)
        for refine in (False, True)
    )
    left, right = (
        cv2.resize(image, (160, 96), interpolation=cv2.INTER_AREA)
        for image in (sample.left, sample.right)
    )
    rough = plain(sample.left, sample.right, confidence=True)
    moved = with_edges_of_image(left, rough.disparity, rough.confidence)
    assert not np.array_equal(moved, rough.disparity)
    np.testing.assert_array_equal(
        better(sample.left, sample.right).disparity, refined(left, right, moved)
    )


@pytest.fixture
def files(sample, tmp_path: Path) -> list[str]:
    io.write_image(tmp_path / 'l.png', sample.left)
    io.write_image(tmp_path / 'r.png', sample.right)
    io.write_disparity(tmp_path / 'truth.pfm', sample.disparity)
    return [str(tmp_path / name) for name in ('l.png', 'r.png')]


def test_infer_refines_as_it_is_told_and_says_so(files: list[str], tmp_path: Path):
    found = {}
    for choice in ('auto', 'always', 'never'):
        out = tmp_path / choice
        assert main(['infer', *files, '--output', str(out), '--refine', choice]) == 0
        assert json.loads((out / 'results.json').read_text())['refined'] is (choice != 'never')
        found[choice] = io.read_disparity(next(out.rglob('*.pfm')))
    assert np.array_equal(found['auto'], found['always'])
    assert not np.array_equal(found['auto'], found['never'])


@pytest.mark.parametrize('models', [('sgbm', 'sgbm:refine=always'), ('auto:refine=never', 'auto')])
def test_compare_refines_one_of_the_models(
    models: tuple[str, str], files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    places = ['--truth', str(tmp_path / 'truth.pfm'), '--output', str(tmp_path / 'o')]
    assert main(['compare', *models, *files, *places, '--json', '-']) == 0
    rough, better = json.loads(capsys.readouterr().out)['models']
    assert better['mean']['all']['bad_1_filled'] < rough['mean']['all']['bad_1_filled']


def test_single_images_have_no_disparity_to_refine(
    files: list[str], capsys: pytest.CaptureFixture[str]
):
    for value in ('always', 'never'):
        arguments = ['--model', 'nano_mono', '--weights', 'random', '--refine', value]
        assert main(['infer', files[0], *arguments]) == 2
        assert '--refine is for pairs' in capsys.readouterr().err
