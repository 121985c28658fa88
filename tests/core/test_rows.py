"""Rows that are off: measured, moved back, and left alone where they are not."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nndepth_core import StereoEstimator, io
from nndepth_core.cli import main
from nndepth_core.data.synthetic.procedural import ProceduralStereo
from nndepth_core.rectification.rows import LEAST, RowAligner, RowOffset, _least, measure_rows

WIDTH, HEIGHT = 320, 240
PRECISE = 0.06  # of a pixel, at the corner where it is most


FINER = 4  # the texture is drawn at so many times the size, for interpolation to be exact


@functools.lru_cache(maxsize=8)
def textured(seed: int, height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = rng.uniform(-1, 1, (height * FINER, width * FINER, 3))
    layers = [cv2.GaussianBlur(noise, (0, 0), s * FINER) for s in (1.2, 5)]
    mixed = sum(45 * layer / layer.std() for layer in layers)
    return (128 + mixed).clip(0, 255).astype(np.float32)


def seen(texture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    maps = ((v * FINER).astype(np.float32) for v in (x, y))
    sampled = cv2.remap(texture, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return sampled.round().astype(np.uint8)


def pair(
    offset: RowOffset, seed: int = 0, height: int = HEIGHT, width: int = WIDTH
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Left, right and disparity of a slope, whose right rows are lower by an offset.

    The right image shows at row y + offset(x, y) what belongs to row y.
    """
    texture = textured(seed, height, width)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    disparity = 5 + y * np.float32(12 / height)
    across, down = x * 2 / (width - 1) - 1, y * 2 / (height - 1) - 1
    lower = offset.middle + offset.across * across + offset.down * down
    lower = lower / (1 + 2 * offset.down / (height - 1))  # that of the row that is seen there
    return seen(texture, x - disparity, y), seen(texture, x, y - lower), disparity


def distance(a: RowOffset | None, b: RowOffset) -> float:
    assert a is not None
    return a.plus(b, -1).largest


small = st.floats(-0.9, 0.9)


@given(st.floats(-2.5, 2.5), small, small, st.integers(0, 50))
@settings(max_examples=25, deadline=None)
def test_measures_shift_turn_and_stretch(middle: float, across: float, down: float, seed: int):
    offset = RowOffset(middle, across, down)
    assert distance(measure_rows(*pair(offset, seed)), offset) < PRECISE


def test_a_lower_right_row_is_a_positive_offset():
    left, right, disparity = pair(RowOffset())
    lower = np.roll(right, 1, axis=0)
    assert distance(measure_rows(left, lower, disparity), RowOffset(1.0)) < PRECISE


@given(st.floats(-2, 2), small, small)
@settings(max_examples=15, deadline=None)
def test_straightening_brings_the_rows_back(middle: float, across: float, down: float):
    offset = RowOffset(middle, across, down)
    _, right, _ = pair(offset)
    _, straight, _ = pair(RowOffset())
    inner = np.s_[8:-8, 8:-8]
    before = np.abs(right[inner].astype(float) - straight[inner]).mean()
    after = np.abs(offset.straightened(right)[inner].astype(float) - straight[inner]).mean()
    assert after < 2 or after < before / 4


def test_gain_and_brightness_of_a_camera_change_nothing():
    offset = RowOffset(0.7, -0.3, 0.2)
    left, right, disparity = pair(offset)
    darker = cv2.convertScaleAbs(right, alpha=0.6, beta=20)
    assert distance(measure_rows(left, darker, disparity), offset) < PRECISE


def test_a_disparity_of_half_the_size_serves_too():
    offset = RowOffset(0.6, 0.3, -0.2)
    left, right, disparity = pair(offset)
    half = cv2.resize(disparity, (WIDTH // 2, HEIGHT // 2)) / 2
    assert distance(measure_rows(left, right, half), offset) < 2 * PRECISE


def test_large_images_are_measured_smaller_and_in_their_own_pixels():
    offset = RowOffset(3.0, 1.0, -1.0)
    left, right, disparity = pair(RowOffset(1.0, 1 / 3, -1 / 3), height=HEIGHT, width=640)
    large = (1920, 3 * HEIGHT)
    images = [cv2.resize(image, large, interpolation=cv2.INTER_CUBIC) for image in (left, right)]
    assert distance(measure_rows(*images, disparity), offset) < 5 * PRECISE


@pytest.mark.parametrize(
    'what', ['plain', 'unrelated', 'unknown', 'too far off', 'noise', 'infinite']
)
def test_nothing_is_said_where_nothing_tells_it(what: str):
    left, right, disparity = pair(RowOffset())
    rng = np.random.default_rng(0)
    match what:
        case 'plain':
            left = right = np.full_like(left, 90)
        case 'unrelated':
            _, right, _ = pair(RowOffset(), seed=7)
        case 'unknown':
            disparity = np.full_like(disparity, np.nan)
        case 'too far off':
            right = np.roll(right, 25, axis=0)
        case 'noise':
            left, right = (rng.integers(0, 256, left.shape, np.uint8) for _ in range(2))
        case 'infinite':
            disparity = np.full_like(disparity, np.inf)
    assert measure_rows(left, right, disparity) is None


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 70), st.integers(1, 70))
@settings(max_examples=30, deadline=None)
def test_any_size_of_images_and_disparity_is_taken(h: int, w: int, rows: int, columns: int):
    rng = np.random.default_rng(h)
    left, right = (rng.integers(0, 256, (h, w, 3), np.uint8) for _ in range(2))
    disparity = rng.uniform(-5, 100, (rows, columns)).astype(np.float32)
    aligner = RowAligner()
    assert aligner.straightened(right).shape == right.shape
    aligner.learn(left, right, disparity)
    assert np.isfinite(aligner.offset).all()


def test_a_rectified_pair_is_left_as_it_is():
    left, right, disparity = pair(RowOffset(0.03))
    aligner = RowAligner()
    assert aligner.straightened(right) is right
    assert not aligner.learn(left, right, disparity)
    assert aligner.straightened(right) is right
    assert aligner.applied == RowOffset()


def test_the_first_pair_is_to_be_estimated_again_and_later_ones_not():
    offset = RowOffset(0.8)
    aligner, again = RowAligner(), []
    for seed in range(8):
        left, right, disparity = pair(offset, seed)
        aligner.straightened(right)
        again.append(aligner.learn(left, right, disparity))
    assert again == [True] + 7 * [False]
    assert distance(aligner.applied, offset) < PRECISE


def test_slow_changes_are_followed():
    aligner, middle = RowAligner(), 0.5
    for step in range(120):
        middle += 0.005
        left, right, disparity = pair(RowOffset(middle))
        aligner.straightened(right)
        assert aligner.learn(left, right, disparity) == (step == 0)
    assert distance(aligner.applied, RowOffset(middle)) < 0.45


@pytest.mark.parametrize(('before', 'after'), [(0.0, 1.0), (0.3, -1.0), (2.0, 0.0), (2.0, -2.0)])
def test_a_knock_is_made_good_within_two_measurements_or_after_three_that_fail(before, after):
    aligner = RowAligner()
    for number in range(20):
        left, right, disparity = pair(RowOffset(before), number % 3)
        aligner.straightened(right)
        aligner.learn(left, right, disparity)
    again = []
    for number in range(35):
        left, right, disparity = pair(RowOffset(after), number % 3)
        aligner.straightened(right)
        again.append(aligner.learn(left, right, disparity))
        if number == 12 and abs(before - after) < 3:
            assert distance(aligner.offset, RowOffset(after)) < PRECISE
    assert distance(aligner.offset, RowOffset(after)) < PRECISE
    assert sum(again) == (after != 0)


def test_one_odd_pair_changes_nothing():
    aligner = RowAligner()
    for number in range(30):
        left, right, disparity = pair(RowOffset(1.5 if number == 9 else 0.5), number % 3)
        aligner.straightened(right)
        aligner.learn(left, right, disparity)
        assert distance(aligner.offset, RowOffset(0.5)) < PRECISE


def test_small_images_need_larger_offsets():
    assert _least(480, 640) == _least(768, 1024) == LEAST
    assert _least(240, 320) == 2 * LEAST
    assert _least(1536, 2048) == 2 * LEAST


def test_an_offset_about_the_least_is_not_taken_to_and_fro():
    aligner, applied = RowAligner(), []
    least = _least(HEIGHT, WIDTH)
    for middle in (1.4 * least, 0.8 * least, 0.7 * least, 0.8 * least, 1.4 * least):
        left, right, disparity = pair(RowOffset(middle))
        aligner.straightened(right)
        aligner.learn(left, right, disparity)
        applied.append(aligner.applied != RowOffset())
    assert applied == [True] * 5
    fresh = RowAligner()
    left, right, disparity = pair(RowOffset(0.8 * least))
    fresh.straightened(right)
    assert not fresh.learn(left, right, disparity)
    assert fresh.applied == RowOffset()


def test_images_of_another_size_are_those_of_another_rig():
    left, right, disparity = pair(RowOffset(0.8))
    aligner = RowAligner()
    aligner.straightened(right)
    aligner.learn(left, right, disparity)
    other = np.ascontiguousarray(right[:-2])
    assert aligner.straightened(other) is other


def test_a_blind_moment_forgets_nothing():
    left, right, disparity = pair(RowOffset(0.8))
    aligner = RowAligner()
    aligner.straightened(right)
    aligner.learn(left, right, disparity)
    known = aligner.offset
    assert not aligner.learn(0 * left, 0 * right, disparity)
    assert aligner.offset == known


def rendered(offset: RowOffset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sample = ProceduralStereo(size=(192, 320), seed=5, misaligned=0.0)[3]
    return (
        sample.left,
        RowOffset(*(-x for x in offset)).straightened(sample.right),
        sample.disparity,
    )


def error(estimator: StereoEstimator, offset: RowOffset) -> tuple[float, RowOffset]:
    left, right, truth = rendered(offset)
    result = estimator(left, right)
    return float(np.nanmean(np.abs(result.disparity - truth) > 1)), result.row_offset


@pytest.mark.parametrize('model', ['auto', 'sgbm'])
def test_an_estimator_makes_good_what_rows_off_spoil(model: str):
    offset = RowOffset(0.9, 0.3, 0.0)
    aligned = StereoEstimator.load(model, align_rows=True)
    clean, found = error(aligned, RowOffset())
    assert found == RowOffset()
    spoilt, found = error(StereoEstimator(aligned.engine), offset)
    assert found == RowOffset()
    restored, found = error(aligned, offset)
    assert distance(found, offset) < 2 * LEAST
    assert restored - clean < (spoilt - clean) / 2


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    left, right, truth = rendered(RowOffset(0.9, 0.3, 0.0))
    io.write_image(tmp_path / 'l.png', left)
    io.write_image(tmp_path / 'r.png', right)
    io.write_disparity(tmp_path / 'truth.pfm', truth)
    return [str(tmp_path / name) for name in ('l.png', 'r.png')]


def test_infer_aligns_and_tells_it(files: list[str], tmp_path: Path):
    for choice, expected in (((), 0.9), (('--align-rows', 'off'), 0.0)):
        out = tmp_path / f'out{len(choice)}'
        assert main(['infer', *files, '--output', str(out), *choice]) == 0
        (record,) = json.loads((out / 'results.json').read_text())['pairs']
        assert record['row_offset']['middle'] == pytest.approx(expected, abs=0.1)


def test_evaluate_takes_images_as_they_are_unless_a_model_is_told(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    truth = ['--truth', str(tmp_path / 'truth.pfm')]
    models = ['auto', 'auto:align_rows=on']
    assert (
        main(['compare', *models, *files, *truth, '--json', '-', '--output', str(tmp_path / 'o')])
        == 0
    )
    plain, aligned = json.loads(capsys.readouterr().out)['models']
    assert plain != aligned


def test_single_images_have_no_rows_to_align(files: list[str], capsys: pytest.CaptureFixture[str]):
    assert (
        main(
            [
                'infer',
                files[0],
                '--model',
                'nano_mono',
                '--weights',
                'random',
                '--align-rows',
                'on',
            ]
        )
        != 0
    )
    assert '--align-rows is for pairs' in capsys.readouterr().err
