"""Measures against values counted by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nndepth_core.evaluation.metrics import stereo_metrics
from nndepth_core.filters.holes import filled_from_background

NAN = np.nan


def row(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


def test_counts_by_hand():
    truth = row(10, 10, 10, 10, 100, 10, 10, NAN)
    disparity = row(10, 10.75, 11.5, 12.5, 103.5, 15, NAN, 50)  # errors 0 .75 1.5 2.5 3.5 5 -
    metrics = stereo_metrics(disparity, truth)
    assert metrics['density'] == pytest.approx(600 / 7)
    assert metrics['epe_estimated'] == pytest.approx(13.25 / 6)
    expected = {'0.5': 6, '1': 5, '2': 4, '3': 3, '4': 2}
    for limit, count in expected.items():
        assert metrics[f'bad_{limit}'] == pytest.approx(100 * count / 7)
    assert metrics['d1_all'] == pytest.approx(100 * 2 / 7)  # 3.5 of 100 is below 5 percent

    # the hole becomes min(15, 50) = 15: another error of 5
    assert metrics['epe'] == pytest.approx(18.25 / 7)
    assert metrics['rmse'] == pytest.approx(np.sqrt((0.5625 + 2.25 + 6.25 + 12.25 + 50) / 7))
    assert metrics['bad_4_filled'] == pytest.approx(100 * 2 / 7)
    assert metrics['d1_all_filled'] == pytest.approx(100 * 2 / 7)


def test_limits_themselves_are_good():
    metrics = stereo_metrics(row(13, 12), row(10, 10))
    assert (metrics['bad_3'], metrics['bad_2'], metrics['bad_1']) == (0, 50, 100)
    assert metrics['d1_all'] == 0


def test_mask_narrows_what_counts():
    truth, disparity = row(1, 2, 3, NAN), row(1, 9, 3, 4)
    masked = stereo_metrics(disparity, truth, np.array([[True, False, True, True]]))
    assert (masked['epe'], masked['bad_1'], masked['density']) == (0, 0, 100)


def test_nothing_estimated():
    metrics = stereo_metrics(np.full((2, 3), NAN, np.float32), np.ones((2, 3), np.float32))
    assert (metrics['density'], metrics['bad_4'], metrics['bad_4_filled']) == (0, 100, 100)
    assert np.isnan(metrics['epe'])
    assert np.isnan(metrics['epe_estimated'])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 0.9))
def test_orders_and_bounds(seed, holes):
    random = np.random.default_rng(seed)
    truth = random.uniform(1, 60, (12, 17)).astype(np.float32)
    disparity = (truth + random.normal(0, 3, truth.shape)).astype(np.float32)
    disparity[random.random(truth.shape) < holes] = NAN
    metrics = stereo_metrics(disparity, truth)
    for suffix in ('', '_filled'):
        bad = [metrics[f'bad_{limit}{suffix}'] for limit in ('0.5', '1', '2', '3', '4')]
        assert bad == sorted(bad, reverse=True)
        assert metrics[f'd1_all{suffix}'] <= metrics[f'bad_3{suffix}']
    assert metrics['bad_1_filled'] <= metrics['bad_1'] <= 100
    assert metrics['bad_1'] >= 100 - metrics['density']


def test_holes_take_the_farther_neighbour():
    holes = np.array(
        [
            [NAN, 5, NAN, NAN, 3, NAN],
            [7, NAN, 2, NAN, 9, 9],
            [NAN] * 6,
            [NAN] * 6,
            [1, 2, 3, 4, 5, 6],
        ],
        np.float32,
    )
    filled = filled_from_background(holes)
    assert filled.dtype == np.float32
    assert filled.tolist() == [
        [5, 5, 3, 3, 3, 3],
        [7, 2, 2, 2, 9, 9],
        [7, 2, 2, 2, 9, 9],
        [1, 2, 3, 4, 5, 6],
        [1, 2, 3, 4, 5, 6],
    ]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_filling_agrees_with_its_definition(seed, holes):
    random = np.random.default_rng(seed)
    disparity = random.uniform(1, 60, (6, 9)).astype(np.float32)
    disparity[random.random(disparity.shape) < holes] = NAN
    filled = filled_from_background(disparity)
    for y, x in np.argwhere(np.isfinite(disparity).any(axis=1)[:, None] & np.isnan(disparity)):
        left, right = disparity[y, :x], disparity[y, x + 1 :]
        sides = [left[np.isfinite(left)][-1:], right[np.isfinite(right)][:1]]
        assert filled[y, x] == np.concatenate(sides).min()
    known = np.isfinite(disparity)
    np.testing.assert_array_equal(filled[known], disparity[known])
    assert np.isnan(filled).all() == (not known.any())


@pytest.mark.parametrize(
    ('disparity', 'truth', 'words'),
    [
        (np.ones((4, 5)), np.ones((4, 6)), 'truth is 6x4 and the disparity 5x4'),
        (np.ones((4, 5)), np.full((4, 5), NAN), 'no known pixel'),
    ],
)
def test_refusals(disparity, truth, words):
    with pytest.raises(ValueError, match=words):
        stereo_metrics(disparity, truth)
