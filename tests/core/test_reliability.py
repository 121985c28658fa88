"""Reliability tables against confidences whose calibration is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nndepth_core.evaluation.reliability import reliability


@given(seed=st.integers(0, 100), scale=st.floats(0.5, 5))
@settings(max_examples=20, deadline=None)
def test_a_confidence_that_says_the_error_is_calibrated(seed, scale):
    error = np.random.default_rng(seed).exponential(2, (30, 40))
    table = reliability(error, np.exp(-error / scale), scale)
    assert table.count.sum() == error.size
    np.testing.assert_allclose(table.achieved, table.confidence, equal_nan=True)
    assert table.gap == pytest.approx(0, abs=1e-12)


def test_table_by_hand():
    error = 1.5 * -np.log([0.5, 0.9, 0.2, 0.4, 0.3])
    confidence = np.array([0.75, 0.85, 0.1, 1.0, np.nan])
    table = reliability(error, confidence, bins=2)
    np.testing.assert_array_equal(table.count, [1, 3])
    np.testing.assert_allclose(table.confidence, [0.1, 2.6 / 3])
    np.testing.assert_allclose(table.achieved, [0.2, 1.8 / 3])
    assert table.gap == pytest.approx((0.1 + 0.8) / 4)


def test_an_empty_bin_has_no_mean():
    table = reliability(np.zeros(4), np.ones(4), bins=4)
    assert np.isnan(table.confidence[:3]).all()
    assert table.achieved[3] == 1


@pytest.mark.parametrize(
    ('error', 'confidence', 'message'),
    [
        (np.zeros(3), np.zeros(2), r'the errors are \(3,\) and the confidence \(2,\)'),
        (np.full(2, np.nan), np.zeros(2), 'no pixel has both'),
        (np.zeros(2), np.array([0.5, 1.5]), r'from 0\.5 to 1\.5; they must be in 0\.\.1'),
    ],
)
def test_wrong_input(error, confidence, message):
    with pytest.raises(ValueError, match=message):
        reliability(error, confidence)
