"""Areas of sparsification curves against closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nndepth_core.evaluation.sparsification import sparsify


def test_a_perfect_order_has_no_area():
    error = np.array([[3.0, 0, 1], [2, 5, 4]])
    found = sparsify(error, -error)
    assert found.ause == found.ause_normalized == 0
    np.testing.assert_allclose(found.error, [2.5, 2, 1.5, 1, 0.5, 0])
    np.testing.assert_allclose(found.removed, np.arange(6) / 6)
    assert found.aurg == pytest.approx(2.5 - 7.5 / 6)


def test_the_worst_order():
    error = np.arange(6.0)
    found = sparsify(error, error)
    np.testing.assert_allclose(found.error, [2.5, 3, 3.5, 4, 4.5, 5])
    assert found.ause == pytest.approx(np.mean([0, 1, 2, 3, 4, 5]))
    assert found.ause_normalized == pytest.approx(1)
    assert found.aurg == pytest.approx(-1.25)


def test_equal_confidences_are_worth_nothing():
    error = np.array([4.0, 0, 2, 6])
    found = sparsify(error, np.ones(4))
    np.testing.assert_allclose(found.error, 3)
    assert found.aurg == pytest.approx(0)
    np.testing.assert_allclose(found.oracle, [3, 2, 1, 0])
    assert found.ause == pytest.approx(1.5)


def test_ties_share_their_error():
    found = sparsify(np.array([9.0, 1, 0]), np.array([0.2, 0.2, 0.7]))
    np.testing.assert_allclose(found.error, [10 / 3, 2.5, 0])


def test_unknown_pixels_do_not_count():
    nan = np.nan
    found = sparsify(np.array([1.0, nan, 3, 8]), np.array([0.9, 0.1, 0.2, nan]))
    np.testing.assert_allclose(found.error, [2, 1])
    assert found.ause == 0


def test_long_curves_are_thinned_and_areas_are_not():
    random = np.random.default_rng(1)
    error, confidence = random.random(5000), random.random(5000)
    thin, full = sparsify(error, confidence, 11), sparsify(error, confidence, 5000)
    assert thin.error.shape == thin.oracle.shape == thin.removed.shape == (11,)
    assert (thin.ause, thin.aurg) == (full.ause, full.aurg)
    assert np.mean(full.error - full.oracle) == pytest.approx(full.ause)


def test_no_error_at_all():
    found = sparsify(np.zeros(3), np.arange(3))
    assert found.ause == 0
    assert np.isnan(found.ause_normalized)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 9))
def test_bounds(seed, count, levels):
    random = np.random.default_rng(seed)
    error, confidence = random.exponential(2, count), random.integers(0, levels, count)
    found = sparsify(error, confidence)
    assert found.ause >= -1e-9
    assert (found.error >= found.oracle - 1e-9).all()
    assert found.error[0] == pytest.approx(error.mean())
    order = random.permutation(count)
    assert sparsify(error[order], confidence[order]).ause == pytest.approx(found.ause)
    assert sparsify(error, np.exp(confidence)).ause == pytest.approx(found.ause)
    assert sparsify(3 * error, confidence).ause_normalized == pytest.approx(found.ause_normalized)


@pytest.mark.parametrize(
    ('error', 'confidence', 'words'),
    [
        (np.ones(3), np.ones(4), r'errors are \(3,\) and the confidence \(4,\)'),
        (np.full(3, np.nan), np.ones(3), 'no pixel has both'),
    ],
)
def test_refusals(error, confidence, words):
    with pytest.raises(ValueError, match=words):
        sparsify(error, confidence)
