"""The classical engine against textures of known disparity."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from pairs import stereo

from nndepth_core.engines import EngineError, create_engine
from nndepth_core.engines.sgbm import MODES, SgbmEngine, SgbmSettings
from nndepth_core.estimator import StereoEstimator


def slanted_pair(
    width: int = 240, height: int = 120, base: float = 12.25, slope: float = 0.03, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Left and right uint8 RGB of a plane of disparity base + slope * row, and the disparity."""
    margin = 40
    noise = np.random.default_rng(seed).uniform(0, 255, (height, width + 2 * margin))
    texture = cv2.GaussianBlur(noise, (0, 0), 1.2).astype(np.float32)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    columns, rows = np.meshgrid(
        np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    )
    disparity = (base + slope * rows).astype(np.float32)
    left, right = (
        cv2.remap(texture, columns + margin + shift, rows, cv2.INTER_CUBIC)
        for shift in (np.zeros_like(disparity), disparity)
    )
    images = [
        np.repeat(np.clip(x, 0, 255).astype(np.uint8)[..., None], 3, 2) for x in (left, right)
    ]
    return images[0], images[1], disparity


@pytest.mark.parametrize('mode', sorted(MODES))
def test_recovers_the_plane_below_a_pixel(mode):
    left, right, truth = slanted_pair()
    engine = SgbmEngine(SgbmSettings(num_disparities=32, mode=mode))
    disparity = engine.run(stereo(left[None], right[None]))['disparity'][0]
    assert disparity.dtype == np.float32
    error = np.abs(disparity - truth)[:, 20:]
    assert np.isfinite(error).mean() > 0.97
    assert np.nanmedian(error) < 0.1
    assert np.nanpercentile(error, 95) < 0.3


def test_left_strip_is_matched_too():
    """Columns left of the disparity have no partner, those right of it do: OpenCV leaves both."""
    left, right, truth = slanted_pair(slope=0.0, base=8.0)
    engine = SgbmEngine(SgbmSettings(num_disparities=64))
    strip = engine.run(stereo(left[None], right[None]))['disparity'][0][:, 12:64]
    assert (np.abs(strip - truth[:, 12:64]) < 0.5).mean() > 0.95


def test_unknown_is_nan_and_known_lies_in_the_range():
    left = np.random.default_rng(1).integers(0, 256, (64, 96, 3), np.uint8)
    right = np.random.default_rng(2).integers(0, 256, (64, 96, 3), np.uint8)
    engine = SgbmEngine(SgbmSettings(num_disparities=32))
    disparity = engine.run(stereo(left[None], right[None]))['disparity'][0]
    low, high = engine.spec.value_range
    known = disparity[np.isfinite(disparity)]
    assert (low, high) == (0.0, 31.0)
    assert np.isnan(disparity).any()
    assert ((known >= low) & (known <= high + 1)).all()


def test_batches_are_matched_one_by_one():
    first, second = slanted_pair(seed=3), slanted_pair(seed=4)
    engine = SgbmEngine(SgbmSettings(num_disparities=32))
    lefts, rights = (np.stack([first[i], second[i]]) for i in (0, 1))
    both = engine.run(stereo(lefts, rights))['disparity']
    alone = engine.run(stereo(second[0][None], second[1][None]))['disparity'][0]
    assert both.shape == (2, 120, 240)
    np.testing.assert_array_equal(both[1], alone)


def test_smallest_size_runs():
    height, width = SgbmEngine().spec.minimum
    image = np.zeros((1, height, width, 3), np.uint8)
    assert SgbmEngine().run(stereo(image, image))['disparity'].shape == (1, height, width)


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'num_disparities': 20}, 'num_disparities is 20'),
        ({'num_disparities': 0}, 'num_disparities is 0'),
        ({'num_disparities': 99999999999999999999}, 'give a whole number in 16..4096'),
        ({'min_disparity': 2**31}, 'min_disparity is 2147483648; give'),
        ({'block_size': 4}, 'block_size is 4; give an odd number'),
        ({'block_size': 53}, 'block_size is 53'),
        ({'pre_filter_cap': 0}, 'pre_filter_cap is 0'),
        ({'speckle_range': 1.5}, 'speckle_range is 1.5'),
        ({'threads': 100000}, 'threads is 100000; give 1..1024'),
        ({'iterations': 1001}, 'iterations is 1001; give 1..1000'),
        ({'mode': 'fast'}, "mode is 'fast'"),
        ({'no_such': 1}, 'no_such'),
    ],
)
def test_wrong_options_are_named(options, words):
    with pytest.raises(EngineError, match=words):
        create_engine('sgbm', **options)


@pytest.mark.parametrize(
    'names', [('nonsense', 'auto', 'auto'), ('sgbm', 'nonsense', 'auto'), ('sgbm', 'auto', 'tpu')]
)
def test_unknown_names_are_named(names):
    with pytest.raises(EngineError, match='is unknown; choose one of'):
        create_engine(*names)


def test_too_few_columns_for_negative_disparities_are_refused():
    estimator = StereoEstimator.load('sgbm', options={'min_disparity': -32})
    image = np.zeros((40, 33, 3), np.uint8)
    estimator(image, image)
    with pytest.raises(ValueError, match='processed at 32x40; sgbm needs at least 33x8'):
        estimator(image[:, :32], image[:, :32])


@pytest.mark.parametrize('model', ['sgbm', 'nano_stereo'])
def test_one_engine_serves_several_threads(model):
    estimator = StereoEstimator.load(model)
    rng = np.random.default_rng(0)
    pairs = [rng.integers(0, 255, (2, 64, 96, 3), np.uint8) for _ in range(4)]
    alone = [estimator(*pair).disparity for pair in pairs]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda pair: estimator(*pair).disparity, pairs * 10))
    for number, disparity in enumerate(together):
        np.testing.assert_array_equal(disparity, alone[number % 4])
