"""The estimator's contract: sizes, units, confidence and refusals."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nndepth_core import StereoEstimator
from nndepth_core.engines import EngineError, ModelSpec
from nndepth_core.engines.maps import left_right_confidence
from nndepth_core.engines.sgbm import SgbmEngine

BACKGROUND, FOREGROUND = 6, 22  # pixels


class RampEngine:
    """Returns the column index plus 1 as disparity and records what it was given."""

    name, device = 'fake', 'cpu'

    def __init__(self, multiple: int = 1, minimum: tuple[int, int] = (1, 1), factor: float = 1.0):
        self.spec = ModelSpec(
            'ramp', multiple=multiple, minimum=minimum, value_range=(0.0, 4096.0)
        )
        self.factor = factor
        self.seen: list[np.ndarray] = []

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.seen += [inputs['left'], inputs['right']]
        count, height, width, _ = inputs['left'].shape
        ramp = self.factor * (np.arange(width, dtype=np.float32) + 1)
        return {'disparity': np.broadcast_to(ramp, (count, height, width)).copy()}


def texture(height: int, width: int, smooth: float = 1.5) -> np.ndarray:
    noise = np.random.default_rng(7).uniform(0, 255, (height, width))
    blurred = cv2.GaussianBlur(noise, (0, 0), smooth)
    return cv2.normalize(blurred, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(np.ascontiguousarray(grey)[..., None], 3, axis=2)


def shifted_pair(height: int, width: int, shift: int, smooth: float = 1.5) -> list[np.ndarray]:
    whole = texture(height, width + shift, smooth)
    return [rgb(whole[:, :width]), rgb(whole[:, shift:])]


def occluding_pair() -> tuple[np.ndarray, np.ndarray]:
    """A square before a wall: left[x] = right[x - d]; it hides 16 columns to its left."""
    wall, square = texture(96, 260), 255 - texture(48, 60)
    left, right = wall[:, :200].copy(), wall[:, BACKGROUND : 200 + BACKGROUND].copy()
    left[24:72, 90:150] = square
    right[24:72, 90 - FOREGROUND : 150 - FOREGROUND] = square
    return rgb(left), rgb(right)


@settings(max_examples=25, deadline=None)
@given(st.integers(20, 90), st.integers(20, 90), st.sampled_from([1, 8, 32]))
def test_padding_stays_inside(height, width, multiple):
    engine = RampEngine(multiple)
    result = StereoEstimator(engine)(*shifted_pair(height, width, 3))
    for image in engine.seen:
        assert image.dtype == np.uint8
        assert image.shape[1] % multiple == image.shape[2] % multiple == 0
        assert 0 <= image.shape[1] - height < multiple
        assert 0 <= image.shape[2] - width < multiple
    assert result.disparity.dtype == np.float32
    assert result.processing_size == (width, height)
    assert result.confidence is None
    np.testing.assert_array_equal(result.disparity, np.tile(np.arange(width) + 1, (height, 1)))
    assert set(result.milliseconds) == {'preprocess', 'inference', 'postprocess'}


@pytest.mark.parametrize(
    ('asked', 'processed'),
    [((0, 0), (80, 60)), ((40, 30), (40, 30)), ((40, 0), (40, 30)), ((0, 120), (160, 120))],
)
@pytest.mark.parametrize('output', ['camera', 'processing'])
def test_sizes(asked, processed, output):
    engine = RampEngine()
    result = StereoEstimator(engine, asked, output)(*shifted_pair(60, 80, 3))
    assert engine.seen[0].shape == (1, processed[1], processed[0], 3)
    assert result.processing_size == processed
    width, height = (80, 60) if output == 'camera' else processed
    assert result.disparity.shape == (height, width)


@pytest.mark.parametrize('width', [40, 57, 80, 160])
def test_disparities_are_rescaled_by_the_width(width):
    """The processed ramp u + 1 reads, at column x of the image, ((x + 0.5) s - 0.5 + 1) / s."""
    result = StereoEstimator(RampEngine(), (width, 24))(*shifted_pair(48, 80, 3))
    scale = width / 80
    expected = ((np.arange(80) + 0.5) * scale + 0.5) / scale
    inner = slice(3, -3)  # resampling repeats the border
    np.testing.assert_allclose(result.disparity[7, inner], expected[inner], atol=0.51 / scale)
    np.testing.assert_allclose(np.median(result.disparity[7] - expected), 0, atol=1e-3)


@pytest.mark.parametrize('processing_size', [(160, 60), (160, 120), (480, 120)])
def test_a_shifted_texture_measures_the_same_at_every_processing_size(processing_size):
    images = shifted_pair(120, 320, 14, smooth=4.0)
    estimator = StereoEstimator.load(
        'sgbm', options={'num_disparities': 32}, processing_size=processing_size
    )
    disparity = estimator(*images).disparity
    assert disparity.shape == (120, 320)
    assert abs(np.nanmedian(disparity) - 14) < 0.1
    assert (np.abs(disparity[:, 40:-40] - 14) < 0.5).mean() > 0.95


class StepEngine(RampEngine):
    """Returns 5 left and 50 right of column 14, and one hole at (4, 4)."""

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        step = np.full(inputs['left'].shape[:3], 5, np.float32)
        step[:, :, 14:] = 50
        step[:, 4, 4] = np.nan
        return {'disparity': step}


def test_edges_stay_where_pixel_centres_put_them():
    disparity = StereoEstimator(StepEngine(), (30, 24))(*shifted_pair(60, 80, 3)).disparity
    nearest = (np.arange(80) + 0.5) * 30 / 80
    expected = np.where(nearest < 14, 5, 50) * 80 / 30
    np.testing.assert_allclose(disparity[40], expected, rtol=1e-6)


def test_resampling_keeps_edges_and_holes():
    """Between 5 and 50 nothing is invented, and NaN neither spreads nor is filled."""
    disparity = StereoEstimator(StepEngine(), (40, 30))(*shifted_pair(60, 80, 3)).disparity
    assert set(np.unique(disparity[~np.isnan(disparity)])) == {10.0, 100.0}
    assert np.argwhere(np.isnan(disparity)).tolist() == [[8, 8], [8, 9], [9, 8], [9, 9]]


def test_confidence_of_closed_forms():
    of_left, of_right = np.full((5, 30), 4, np.float32), np.full((5, 30), 4, np.float32)
    of_right[:, 10] = 5
    of_right[2, 15] = np.nan
    of_left[3, 25] = np.nan
    expected = np.ones((5, 30))
    expected[:, :4] = 0  # the match lies outside
    expected[:, 14] = np.exp(-1)
    expected[2, 19] = expected[3, 25] = 0
    confidence = left_right_confidence(of_left, of_right[:, ::-1][:, ::-1])
    assert confidence.dtype == np.float32
    np.testing.assert_allclose(confidence, expected, atol=1e-6)


def test_confidence_interpolates_between_columns():
    of_left = np.full((1, 30), 4.5, np.float32)
    of_right = np.tile(np.arange(30, dtype=np.float32) / 10, (1, 1))
    met = (np.arange(5, 30) - 4.5) / 10
    np.testing.assert_allclose(
        left_right_confidence(of_left, of_right)[0, 5:], np.exp(-np.abs(4.5 - met)), rtol=1e-5
    )


def test_confidence_is_low_where_the_right_camera_cannot_see():
    options = {'num_disparities': 32, 'disp12_max_diff': -1, 'uniqueness_ratio': 0}
    estimator = StereoEstimator.load('sgbm', options={**options, 'speckle_window_size': 0})
    result = estimator(*occluding_pair(), confidence=True)
    hidden = (slice(30, 66), slice(90 - (FOREGROUND - BACKGROUND) + 3, 87))
    square = (slice(30, 66), slice(96, 144))
    wall = (slice(2, 20), slice(40, 190))
    assert result.confidence.shape == result.disparity.shape
    assert np.mean(result.confidence[hidden]) < 0.2
    assert np.mean(result.confidence[square]) > 0.9
    assert np.mean(result.confidence[wall]) > 0.9

    strict = StereoEstimator(estimator.engine, confidence_threshold=0.5)(*occluding_pair())
    assert strict.confidence is None
    np.testing.assert_array_equal(
        np.isnan(strict.disparity),
        ~(result.confidence >= 0.5) | np.isnan(result.disparity),
    )


class DoubtfulEngine(RampEngine):
    """Confidence that changes from pixel to pixel."""

    def run(self, inputs):
        maps = super().run(inputs)
        doubt = np.random.default_rng(1).random(maps['disparity'].shape, np.float32)
        return {**maps, 'confidence': doubt}


@pytest.mark.parametrize('output', ['camera', 'processing'])
@pytest.mark.parametrize('size', [(0, 0), (37, 41), (140, 100), (0, 64)])
def test_the_threshold_is_one_of_the_confidence_that_is_returned(size, output):
    """To ask for a threshold, or to cut by the confidence afterwards, is the same."""
    pair = shifted_pair(50, 70, 3)
    every = StereoEstimator(DoubtfulEngine(multiple=32), size, output)(*pair, confidence=True)
    strict = StereoEstimator(DoubtfulEngine(multiple=32), size, output, 0.4)(*pair, True)
    np.testing.assert_array_equal(strict.confidence, every.confidence)
    expected = np.where(every.confidence >= np.float32(0.4), every.disparity, np.nan)
    np.testing.assert_array_equal(strict.disparity, expected)
    assert 0.1 < np.isnan(expected).mean() < 0.9


def test_confidence_of_the_model_is_used_where_it_has_one():
    class Sure(RampEngine):
        def run(self, inputs):
            maps = super().run(inputs)
            return {**maps, 'confidence': np.full_like(maps['disparity'], 0.75)}

    engine = Sure(multiple=32)
    result = StereoEstimator(engine)(*shifted_pair(50, 70, 3), confidence=True)
    assert len(engine.seen) == 2
    np.testing.assert_array_equal(result.confidence, np.full((50, 70), np.float32(0.75)))


def test_self_test(monkeypatch):
    estimator = StereoEstimator.load('sgbm')
    estimator.self_test()
    right = SgbmEngine.run

    def mirrored(self, *images):
        return {'disparity': right(self, *images)['disparity'][:, :, ::-1] + 2}

    monkeypatch.setattr(SgbmEngine, 'run', mirrored)
    with pytest.raises(EngineError, match=r'sgbm on opencv .cpu. .* computes something else'):
        estimator.self_test()


@pytest.mark.parametrize('low', [-90, -8, 0, 40])
def test_self_test_of_any_searched_range(low):
    options = {'min_disparity': low, 'num_disparities': 32}
    StereoEstimator.load('sgbm', options=options).self_test()


@pytest.mark.parametrize(
    ('placement', 'margins'),
    [('centre', (5, 6, 7, 7)), ('top_right', (11, 0, 0, 14)), ('bottom_right', (0, 11, 0, 14))],
)
def test_padding_goes_where_the_network_wants_it(placement, margins):
    """53x50 to multiples of 32; the border is repeated and comes off again."""
    engine = RampEngine()
    engine.spec = ModelSpec('ramp', multiple=32, placement=placement)
    left, right = shifted_pair(53, 50, 3)
    result = StereoEstimator(engine)(left, right)
    above, below, before, after = margins
    assert engine.spec.margins(53, 50) == margins
    padded = np.pad(left, ((above, below), (before, after), (0, 0)), mode='edge')
    np.testing.assert_array_equal(engine.seen[0][0], padded)
    np.testing.assert_array_equal(result.disparity, np.tile(np.arange(50) + 1 + before, (53, 1)))


@pytest.mark.parametrize(
    ('image', 'processed'), [((60, 90), (90, 60)), ((64, 96), (96, 64)), ((120, 200), (96, 64))]
)
def test_a_model_of_fixed_size_is_fed_that_size(image, processed):
    """Images that padding brings to the size are padded, others resampled."""
    engine = RampEngine()
    engine.spec = ModelSpec('ramp', multiple=32, fixed_size=(64, 96))
    result = StereoEstimator(engine)(*shifted_pair(*image, 3))
    assert engine.seen[0].shape == (1, 64, 96, 3)
    assert result.processing_size == processed
    assert result.disparity.shape == image
    with pytest.raises(ValueError, match=r'processing size is 48x32; this model takes only 96x64'):
        StereoEstimator(engine, (48, 32))(*shifted_pair(*image, 3))


def test_warm_up_runs_the_engine_at_the_size_of_the_images():
    engine = RampEngine(multiple=32)
    StereoEstimator(engine).warm_up(50, 40)
    assert engine.seen[0].shape == (1, 64, 64, 3)


def test_iterations_reach_engines_that_have_them():
    engine = RampEngine()
    estimator = StereoEstimator(engine)
    engine.iterations = 12
    estimator.iterations = 5
    assert (estimator.iterations, engine.iterations) == (5, 5)
    engine.iterations = 0
    estimator.iterations = 7
    assert engine.iterations == 0


IMAGE = np.zeros((40, 50, 3), np.uint8)


@pytest.mark.parametrize(
    ('left', 'right', 'words'),
    [
        (IMAGE, IMAGE[:-1], 'left is 50x40 and right 50x39'),
        (IMAGE.astype(np.float32), IMAGE, 'left image is float32'),
        (IMAGE, IMAGE[..., 0], 'right image is uint8 .40, 50.'),
        (IMAGE, np.zeros((40, 50, 4), np.uint8), 'right image is uint8 .40, 50, 4.'),
        (IMAGE[:8], IMAGE[:8], 'ramp needs at least 16x16 .set a larger processing_size.'),
    ],
)
def test_bad_images_are_named(left, right, words):
    with pytest.raises(ValueError, match=words):
        StereoEstimator(RampEngine(minimum=(16, 16)))(left, right)


@pytest.mark.parametrize(
    'wrong',
    [
        {'processing_size': (-1, 0)},
        {'output': 'native'},
        {'confidence_threshold': 1.5},
        {'confidence_threshold': float('nan')},
    ],
)
def test_bad_settings_are_named(wrong):
    value = next(iter(wrong.values()))
    with pytest.raises(ValueError, match=str(value).replace('(', '.').replace(')', '.')):
        StereoEstimator(RampEngine(), **wrong)
