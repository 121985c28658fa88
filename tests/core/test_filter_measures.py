"""What is measured of filters, on maps whose figures are known."""

from __future__ import annotations

import numpy as np
import pytest

from nndepth_core.benchmark.filters import (
    PERIOD,
    SETTLED,
    Frame,
    by_confidence,
    by_filter,
    enlarged,
    filter_costs,
    flying_truth,
    over_time,
    removal,
)
from nndepth_core.data.sample import StereoSample
from nndepth_core.estimator import StereoResult
from nndepth_core.filters import FilterSettings

HEIGHT, WIDTH = 40, 60
TRUTH = np.where(np.arange(WIDTH) < 30, 10, 40) + np.zeros((HEIGHT, 1))
IMAGE = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)


def frame(disparity: np.ndarray, stamp: int = 0) -> Frame:
    confidence = np.linspace(0, 1, WIDTH, dtype=np.float32) + np.zeros((HEIGHT, 1), np.float32)
    sample = StereoSample(IMAGE, IMAGE, TRUTH.astype(np.float32), stamp=stamp)
    return Frame(sample, StereoResult(disparity.astype(np.float32), confidence, (WIDTH, HEIGHT)))


def veiled() -> np.ndarray:
    """One column of flying pixels, and one of wrong ones far from the edge."""
    disparity = TRUTH.copy()
    disparity[:, 30] = 25
    disparity[:, 50] = 25
    return disparity


def test_flying_pixels_are_wrong_near_an_edge_and_between_its_surfaces():
    found = flying_truth(veiled(), TRUTH)
    assert found[:, 30].all()
    assert found.sum() == HEIGHT
    disparity = TRUTH.copy()
    disparity[:, 30] = 10  # wrong, but on the other surface
    disparity[:, 29] = 14  # within a fifth of the gap
    assert not flying_truth(disparity, TRUTH).any()


def test_what_is_removed_is_told_by_kind():
    frames = [frame(veiled())]
    shares = removal(frames, by_filter(FilterSettings(flying=1)))
    assert shares == {'flying': 100, 'wrong': 50, 'true': 0}
    shares = removal(frames, by_confidence(0.6))
    assert shares == {'flying': 100, 'wrong': 50, 'true': pytest.approx(100 * 35 / 58)}


def test_noise_and_error_over_time():
    rng = np.random.default_rng(4)
    maps = TRUTH + rng.normal(0, 0.1, (SETTLED + 30, HEIGHT, WIDTH))
    frames = [frame(disparity, number * PERIOD) for number, disparity in enumerate(maps)]
    before, after = over_time(frames, 0), over_time(frames, 1.0)
    assert before == {
        'noise': pytest.approx(0.1, rel=0.05),
        'error': pytest.approx(0.1 * np.sqrt(2 / np.pi), rel=0.02),
    }
    assert after['noise'] < 0.03
    assert after['error'] < 0.4 * before['error']


def test_costs_are_given_for_each_filter_and_all():
    costs = filter_costs([enlarged(frame(veiled()), (120, 80))], runs=2)
    assert set(costs) == {'border', 'flying', 'speckle_size', 'smoothing', 'fill_holes', 'all'}
    assert all(cost > 0 for cost in costs.values())
