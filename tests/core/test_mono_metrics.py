"""Measures of depth against values counted by hand, and alignments against what made them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nndepth_core.evaluation.mono_metrics import align_depth, fit_scale_shift, mono_metrics

NAN = np.nan


def row(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


def test_counts_by_hand():
    metrics = mono_metrics(row(1.2, 2.8, 4, 14, NAN, 3), row(1, 4, 4, 7, 5, NAN))
    assert metrics['abs_rel'] == pytest.approx((0.2 + 0.3 + 0 + 1) / 4, rel=1e-6)
    assert metrics['sq_rel'] == pytest.approx((0.04 / 1 + 1.44 / 4 + 0 + 49 / 7) / 4, rel=1e-6)
    assert metrics['rmse'] == pytest.approx(np.sqrt((0.04 + 1.44 + 0 + 49) / 4), rel=1e-6)
    logs = np.log([1.2, 0.7, 1, 2])
    assert metrics['rmse_log'] == pytest.approx(np.sqrt(np.mean(logs**2)), rel=1e-6)
    assert metrics['log10'] == pytest.approx(np.mean(np.abs(logs)) / np.log(10), rel=1e-6)
    assert [metrics[f'delta_{power}'] for power in (1, 2, 3)] == [0.5, 0.75, 0.75]
    assert metrics['density'] == 80


def test_the_limits_of_delta_are_outside():
    limits = [1.25, 1 / 1.25**2, 1.25**3]  # all are below the powers that follow
    metrics = mono_metrics(np.array([limits]), np.ones((1, 3)))
    assert [metrics[f'delta_{power}'] for power in (1, 2, 3)] == pytest.approx([0, 1 / 3, 2 / 3])


def test_depth_range_masks_truth_and_clips_estimates():
    truth, estimate = row(0.5, 2, 8, 20), row(5, 30, 0, 5)
    metrics = mono_metrics(estimate, truth, depth_range=(1, 10))
    assert metrics['abs_rel'] == pytest.approx((8 / 2 + 7 / 8) / 2)
    masked = mono_metrics(estimate, truth, depth_range=(1, 10), valid=row(1, 0, 1, 1) > 0)
    assert masked['abs_rel'] == pytest.approx(7 / 8)


def test_nothing_estimated():
    metrics = mono_metrics(row(NAN, NAN), row(1, 2))
    assert metrics.pop('density') == 0
    assert len(metrics) == 8
    assert np.isnan(list(metrics.values())).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 9), st.floats(-5, 5))
def test_alignment_undoes_scale_and_shift(seed, scale, shift):
    truth = np.random.default_rng(seed).uniform(1, 50, (6, 8))
    truth[0, 0] = NAN
    affine = scale * truth + shift
    np.testing.assert_allclose(align_depth(affine, truth, 'depth', 'scale_shift'), truth)
    inverse = scale / truth + shift
    aligned = align_depth(inverse, truth, 'inverse_depth', 'scale_shift')
    np.testing.assert_allclose(aligned, truth)
    metrics = mono_metrics(inverse, truth, 'inverse_depth', 'scale_shift')
    assert metrics['abs_rel'] == pytest.approx(0, abs=1e-7)
    assert metrics['delta_1'] == 1
    for output, scaled in (('depth', scale * truth), ('inverse_depth', scale / truth)):
        np.testing.assert_allclose(align_depth(scaled, truth, output, 'median'), truth)


def test_inverse_depth_is_aligned_in_inverse_depth():
    """Least squares there differ from those in depth: near pixels weigh more."""
    truth = row(1, 2, 4, 8)
    inverse = row(1.1, 0.45, 0.3, 0.1)
    scale, shift = np.polyfit(inverse[0], 1 / truth[0], 1)
    aligned = align_depth(inverse, truth, 'inverse_depth', 'scale_shift')
    np.testing.assert_allclose(aligned[0], 1 / (scale * inverse[0] + shift), rtol=1e-5)


def test_beyond_infinity_becomes_the_farthest():
    metrics = mono_metrics(row(0.5, -0.1), row(2, 40), 'inverse_depth', depth_range=(1, 80))
    assert metrics['abs_rel'] == pytest.approx(0.5)
    assert metrics['density'] == 100


def test_constants_have_no_scale():
    assert fit_scale_shift(np.full(4, 7.0), np.array([1.0, 2, 3, 6])) == (0, 3)


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ((np.ones((4, 5)), np.ones((4, 6))), 'truth is 6x4 and the estimate 5x4'),
        ((np.ones((4, 5)), np.full((4, 5), 90.0)), 'no known pixel between 0.001 and 80.0 m'),
        ((np.ones((1, 2)), np.ones((1, 2)), 'disparity'), "output is 'disparity'; choose one of"),
        ((np.ones((1, 2)), np.ones((1, 2)), 'depth', 'mean'), "alignment is 'mean'; choose one"),
        ((-np.ones((1, 2)), np.ones((1, 2)), 'depth', 'median'), 'median of the estimate is -1'),
    ],
)
def test_refusals(arguments, words):
    with pytest.raises(ValueError, match=words):
        mono_metrics(*arguments)
