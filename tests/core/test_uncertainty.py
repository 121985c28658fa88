"""Sigma of disparities and depths: closed forms, and its calibration."""

from __future__ import annotations

import numpy as np
import pytest

from nndepth_core.benchmark.filters import Frame, estimated, sigma_table
from nndepth_core.camera import PinholeCamera, StereoCamera
from nndepth_core.data.sample import StereoSample
from nndepth_core.data.synthetic import render_sequence
from nndepth_core.estimator import StereoEstimator, StereoResult
from nndepth_core.models import model_names, network_class
from nndepth_core.uncertainty import (
    CONFIDENCE_SCALE,
    confidence_sigma,
    depth_sigma,
    is_calibrated,
)

CAMERA = StereoCamera(PinholeCamera(64, 48, 60.0, 60.0, 31.5, 23.5), 0.1, 31.5)


@pytest.mark.parametrize('mean', [0.1, 0.5, 2.0, 8.0])
def test_sigma_is_the_mean_of_exponential_errors_that_make_the_confidence(mean):
    errors = -mean * np.log(1 - (np.arange(200_000) + 0.5) / 200_000)  # quantiles
    confidence = np.float32(np.exp(-errors / CONFIDENCE_SCALE).mean())
    assert confidence_sigma(confidence) == pytest.approx(mean, rel=1e-3)


def test_the_ends_of_confidence():
    sigma = confidence_sigma(np.array([0, 0.5, 1], np.float32))
    np.testing.assert_allclose(sigma, [np.inf, CONFIDENCE_SCALE, 0])
    assert sigma.dtype == np.float32


def result(disparity: np.ndarray, confidence=None, scale: int = 1, filled=None) -> StereoResult:
    height, width = disparity.shape
    return StereoResult(disparity, confidence, (width // scale, height), filled=filled)


def test_sigma_of_depth_is_the_slope_of_depth_times_that_of_disparity():
    disparity = np.array([[2.0, 6.0, 30.0, 40.0]], np.float32)
    by_difference = np.abs(
        CAMERA.disparity_to_depth(disparity + 0.005) - CAMERA.disparity_to_depth(disparity - 0.005)
    )
    depth = CAMERA.disparity_to_depth(disparity)
    found = depth_sigma(depth, result(disparity), CAMERA, 0.01)
    np.testing.assert_allclose(found, by_difference, rtol=1e-3)
    confidence = np.full((1, 4), CONFIDENCE_SCALE / (CONFIDENCE_SCALE + 0.01), np.float32)
    found = depth_sigma(depth, result(disparity, confidence), CAMERA)
    np.testing.assert_allclose(found, by_difference, rtol=1e-3)
    found = depth_sigma(depth, result(disparity, confidence, scale=2), CAMERA)
    np.testing.assert_allclose(found, 2 * by_difference, rtol=1e-3)


def test_where_the_depth_is_not_known_its_sigma_is_not_either():
    depth = np.array([[np.nan, np.inf, -np.inf, 2, 2, 2]], np.float32)
    confidence = np.array([[1, 1, 1, 0.6, 0, 1]], np.float32)
    known = [[np.nan, np.nan, np.nan, 4 / 6, np.inf, 0]]
    sigma = depth_sigma(depth, result(depth, confidence), CAMERA)
    np.testing.assert_allclose(sigma, known, rtol=1e-6)
    assert sigma.dtype == np.float32
    for given, of_disparities in ((confidence, 0.0), (None, 1.0)):
        filled = result(depth, given, filled=np.array([3]))
        assert depth_sigma(depth, filled, CAMERA, of_disparities)[0, 3] == np.inf
    everywhere = np.arange(6)
    beyond = depth_sigma(depth, result(depth, None, filled=everywhere), CAMERA, 1.0)
    np.testing.assert_array_equal(beyond, [[np.nan] * 3 + [np.inf] * 3])
    turned = result(np.asfortranarray(np.full((2, 3), 2, np.float32)), None, filled=np.array([1]))
    of_turned = depth_sigma(turned.disparity, turned, CAMERA, 1.0)
    assert np.argwhere(np.isinf(of_turned)).tolist() == [[0, 1]]
    with pytest.raises(ValueError, match='the result has no confidence; ask for it'):
        depth_sigma(depth, result(depth), CAMERA)


def test_only_a_learned_confidence_of_disparities_is_calibrated():
    calibrated = {name for name in model_names() if is_calibrated(network_class(name).spec)}
    assert calibrated == {'nano_stereo'}


def test_the_table_tells_what_is_within_sigma():
    """Half of the pixels are promised 1.5 px, half 0.25 px; all are wrong by 0.625 px."""
    truth = np.zeros((4, 4), np.float32)
    confidence = np.full((4, 4), 0.5, np.float32)
    confidence[:2] = 1.5 / 1.75  # 0.25 px
    image = np.zeros((4, 4, 3), np.uint8)
    frame = Frame(
        StereoSample(image, image, truth), StereoResult(truth + 0.625, confidence, (4, 4))
    )
    rows = sigma_table([frame])
    assert set(rows) == {'0.2 to 0.3 px', '1 to 2 px', 'all'}
    sure = {'share': 50, 'sigma': 0.25, 'error': 0.625}
    sure |= {'within_1': 0, 'within_2': 0, 'within_3': 100}
    assert rows['0.2 to 0.3 px'] == pytest.approx(sure, rel=1e-5)
    whole = {'share': 100, 'sigma': 0.875, 'error': 0.625}
    whole |= {'within_1': 50, 'within_2': 50, 'within_3': 100}
    assert rows['all'] == pytest.approx(whole, rel=1e-5)


def test_the_default_model_keeps_its_promise_on_rendered_pairs():
    pytest.importorskip('onnxruntime')
    rig = StereoCamera(PinholeCamera(320, 240, 250.0, 250.0, 159.5, 119.5), 0.12, 159.5)
    pairs = render_sequence(7, 2, rig, 1.0)
    total = sigma_table(estimated(StereoEstimator.default(), pairs))['all']
    assert 60 < total['within_1'] < 85
    assert 85 < total['within_2'] < 98
    assert total['error'] == pytest.approx(total['sigma'], rel=0.4)
