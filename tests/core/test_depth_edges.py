"""Depth edges that follow the colours of the left image."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nndepth_core.data.synthetic.procedural import ProceduralStereo
from nndepth_core.estimator import StereoEstimator, depth_edges
from nndepth_core.estimator.depth_edges import with_edges_of_image

SIZE = 48, 64
NEAR = np.s_[16:32, 20:44]
"""Where a box is seen before a wall."""


def scene() -> tuple[np.ndarray, np.ndarray]:
    """The left image of a red box at 20 px before a blue wall at 5 px, and its disparity."""
    image = np.full((*SIZE, 3), (40, 60, 150), np.uint8)
    disparity = np.full(SIZE, 5, np.float32)
    image[NEAR], disparity[NEAR] = (150, 50, 40), 20
    return image, disparity


def blurred_edges(disparity: np.ndarray, pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Let the box be too large by some pixels, of which the confidence knows."""
    wide = cv2.dilate(disparity, np.ones((2 * pixels + 1,) * 2, np.uint8))
    edge = cv2.morphologyEx(disparity, cv2.MORPH_GRADIENT, np.ones((9, 9), np.uint8)) > 0
    return wide, np.where(edge, 0.2, 0.9).astype(np.float32)


def directly(
    left: np.ndarray, disparity: np.ndarray, confidence: np.ndarray, row: int, column: int
) -> float:
    """The weighted median of one pixel, written as its definition."""
    lab = cv2.cvtColor(left, cv2.COLOR_RGB2LAB).astype(int)
    height, width = disparity.shape
    found = []
    for y, x in [
        *((y, x) for y in (-4, 0, 4) for x in (-4, 0, 4) if (y, x) != (0, 0)),
        *((y, x) for y in (-2, 2) for x in (-2, 2)),
    ]:
        place = min(max(row + y, 0), height - 1), min(max(column + x, 0), width - 1)
        unlike = np.abs(lab[place] - lab[row, column]).sum()
        weight = np.exp(-0.5 * (unlike / 20) ** 2) * confidence[place] ** 2
        found.append((float(disparity[place]), float(weight)))
    found.sort()
    half, total = sum(weight for _, weight in found) / 2, 0.0
    for value, weight in found:
        total += weight
        if total >= half * (1 - 1e-6):
            return value
    raise AssertionError


@pytest.mark.parametrize('pixels', [1, 2, 3])
def test_edges_move_to_where_colours_change(pixels: int):
    image, truth = scene()
    wide, confidence = blurred_edges(truth, pixels)
    assert (wide != truth).sum() > 60
    found = with_edges_of_image(image, wide, confidence)
    corners = 4 * pixels**2
    assert (found != truth).sum() <= corners
    away_from_corners = np.s_[20:28]
    np.testing.assert_array_equal(found[away_from_corners], truth[away_from_corners])


@given(seed=st.integers(0, 10_000), spread=st.floats(2, 20))
@settings(max_examples=40, deadline=None)
def test_it_is_the_weighted_median_of_unsure_pixels_at_edges(seed: int, spread: float):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (4, 6, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    disparity = rng.uniform(1, 1 + spread, (16, 24)).astype(np.float32)
    confidence = rng.uniform(0.05, 1, (16, 24)).astype(np.float32)
    found = with_edges_of_image(image, disparity, confidence)
    window = np.ones((9, 9), np.uint8)
    near = np.ones((3, 3), np.uint8)
    steps = cv2.dilate(disparity, near) - cv2.erode(disparity, near) > 4
    edge = cv2.dilate(steps.astype(np.uint8), window) > 0
    for row, column in np.argwhere((found != disparity) | (rng.uniform(size=(16, 24)) < 0.1)):
        median = directly(image, disparity, confidence, row, column)
        before = disparity[row, column]
        changes = edge[row, column] and confidence[row, column] < 0.7 and abs(median - before) > 1
        assert found[row, column] == (np.float32(median) if changes else before)


def test_what_the_network_is_sure_of_and_smooth_surfaces_stay():
    image, truth = scene()
    wide, confidence = blurred_edges(truth, 2)
    sure = np.full_like(confidence, 0.7)
    assert with_edges_of_image(image, wide, sure) is wide
    slanted = np.tile(np.arange(SIZE[1], dtype=np.float32) * 1.9, (SIZE[0], 1))
    assert with_edges_of_image(image, slanted, 0.1 * sure) is slanted


def test_what_is_at_infinity_or_unknown_stays_and_harms_no_others():
    image, truth = scene()
    wide, confidence = blurred_edges(truth, 2)
    far = np.where(truth > 5, wide, -1).astype(np.float32)
    found = with_edges_of_image(image, far, confidence)
    np.testing.assert_array_equal(found[far <= 0], far[far <= 0])
    holes = np.random.default_rng(0).uniform(size=SIZE) < 0.2
    given = np.where(holes, np.float32(np.nan), wide)
    found = with_edges_of_image(image, given, np.where(holes, np.float32(np.nan), confidence))
    np.testing.assert_array_equal(np.isnan(found), holes)
    assert (found != truth)[~holes].sum() < 0.25 * (wide != truth)[~holes].sum()
    nothing = np.full(SIZE, np.nan, np.float32)
    assert np.isnan(with_edges_of_image(image, nothing, confidence)).all()


@pytest.mark.parametrize('value', [0, np.nan])
def test_where_nothing_around_is_like_it_or_sure_a_pixel_stays(value: float):
    image, truth = scene()
    wide, confidence = blurred_edges(truth, 2)
    nothing = np.full(SIZE, value, np.float32)
    np.testing.assert_array_equal(with_edges_of_image(image, wide, nothing), wide)
    image[24, 44:46] = 255
    found = with_edges_of_image(image, wide, confidence)
    np.testing.assert_array_equal(found[24, 44:46], wide[24, 44:46])
    assert found[26, 44] == truth[26, 44] != wide[26, 44]


def test_large_images_are_handled_in_parts(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (40, 50, 3), np.uint8)
    disparity = rng.uniform(1, 30, (40, 50)).astype(np.float32)
    confidence = rng.uniform(0, 0.6, (40, 50)).astype(np.float32)
    whole = with_edges_of_image(image, disparity, confidence)
    assert (whole != disparity).sum() > 500
    monkeypatch.setattr(depth_edges, '_AT_ONCE', 7)
    np.testing.assert_array_equal(with_edges_of_image(image, disparity, confidence), whole)


@pytest.mark.parametrize(('height', 'width'), [(1, 1), (1, 9), (3, 2)])
def test_small_images(height: int, width: int):
    disparity = np.linspace(1, 50, height * width, dtype=np.float32).reshape(height, width)
    image = np.zeros((height, width, 3), np.uint8)
    found = with_edges_of_image(image, disparity, np.full_like(disparity, 0.1))
    assert found.shape == disparity.shape
    assert np.isin(found, disparity).all()


def test_the_default_model_has_fewer_errors_at_depth_edges():
    estimator = StereoEstimator.load(refine=False)
    errors = []
    for index in range(3):
        sample = ProceduralStereo(size=(192, 320), seed=8, misaligned=0.0)[index]
        result = estimator(sample.left, sample.right, confidence=True)
        moved = with_edges_of_image(sample.left, result.disparity, result.confidence)
        wrong = [np.abs(x - sample.disparity) > 3 for x in (result.disparity, moved)]
        errors.append([100 * np.mean(x) for x in wrong])
    before, after = np.mean(errors, 0)
    assert after < 0.99 * before


def test_disparities_do_not_depend_on_whether_confidence_is_asked_for():
    sample = ProceduralStereo(size=(96, 160), seed=8)[0]
    estimator = StereoEstimator.load()
    results = [
        estimator(sample.left, sample.right, confidence=asked).disparity for asked in (False, True)
    ]
    np.testing.assert_array_equal(*results)
