"""Depth of single images: sizes, edges, cameras, and models of the other task."""

import numpy as np
import pytest

from nndepth_core import MonoEstimator, PinholeCamera, StereoEstimator, load_estimator
from nndepth_core.engines import EngineError
from nndepth_core.engines.sgbm import SgbmEngine
from nndepth_core.spec import ModelSpec, Preferred


class BrightnessEngine:
    """The red value over 100 is the output; records what it was given."""

    name, device, iterations = 'fake', 'cpu', 0

    def __init__(self, **facts) -> None:
        defaults = {'inputs': ('image',), 'output': 'depth', 'value_range': (0.0, 10.0)}
        self.spec = ModelSpec('bright', **{**defaults, **facts})

    def run(self, inputs):
        self.seen = inputs
        maps = {self.spec.output: inputs['image'][..., 0].astype(np.float32) / 100}
        if self.spec.confidence:
            maps['confidence'] = np.where(maps[self.spec.output] > 1, 0.9, 0.1).astype(np.float32)
        return maps

    def self_test(self) -> None:
        pass


def steps(height: int, width: int) -> np.ndarray:
    """Black on the left, 250 on the right of the middle."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, width // 2 :] = 250
    return image


def test_images_are_padded_and_the_margins_come_off():
    image = np.random.default_rng(0).integers(0, 255, (45, 70, 3), dtype=np.uint8)
    engine = BrightnessEngine(multiple=32)
    result = MonoEstimator(engine)(image)
    assert engine.seen['image'].shape == (1, 64, 96, 3)
    np.testing.assert_array_equal(result.depth, image[..., 0].astype(np.float32) / 100)
    assert (result.output, result.confidence, result.processing_size) == ('depth', None, (70, 45))
    assert list(result.milliseconds) == ['preprocess', 'inference', 'postprocess']


def test_the_size_a_model_prefers_is_taken_unless_another_is_asked_for():
    engine = BrightnessEngine(multiple=32, preferred=Preferred(256, 'inside'))
    result = MonoEstimator(engine)(steps(480, 640))
    assert result.processing_size == (256, 192)
    assert result.depth.shape == (480, 640)
    assert MonoEstimator(engine, (320, 0))(steps(480, 640)).processing_size == (320, 240)
    small = MonoEstimator(engine, output='processing')(steps(480, 640))
    assert small.depth.shape == (192, 256)


@pytest.mark.parametrize(('output', 'shape'), [('camera', (60, 100)), ('processing', (96, 160))])
def test_a_mirrored_border_comes_off_the_map(output, shape):
    """Ramps of brightness stay where they are in the image, whatever surrounds it."""
    columns = np.linspace(50, 200, 100).astype(np.uint8)
    image = np.repeat(np.repeat(columns[None, :, None], 60, axis=0), 3, axis=2)
    engine = BrightnessEngine(multiple=32, mirrored=3.0)
    result = MonoEstimator(engine, (160, 96), output)(image)
    assert engine.seen['image'].shape == (1, 96, 160, 3)
    assert result.depth.shape == shape
    at = (np.arange(shape[1]) + 0.5) * 100 / shape[1] - 0.5
    expected = np.interp(at, np.arange(100), columns / 100)
    np.testing.assert_allclose(result.depth[shape[0] // 2, 5:-5], expected[5:-5], atol=0.03)


def test_metres_of_a_canonical_camera_become_those_of_this_one():
    engine = BrightnessEngine(canonical_focal=500.0)
    camera = PinholeCamera(64, 48, 250.0, 250.0, 32.0, 24.0)
    estimate = MonoEstimator(engine, (32, 24), output='processing')
    result = estimate(np.full((48, 64, 3), 200, np.uint8), camera)
    # At half the size the focal length is 125 px, a quarter of the canonical one.
    np.testing.assert_allclose(result.depth, 0.5, rtol=1e-6)
    with pytest.raises(ValueError, match='bright needs the camera to tell metres'):
        estimate(np.zeros((48, 64, 3), np.uint8))


def test_intrinsics_are_those_of_the_padded_image():
    engine = BrightnessEngine(
        inputs=('image', 'intrinsics'), multiple=32, placement='centre', minimum=(8, 8)
    )
    camera = PinholeCamera(60, 40, 50.0, 52.0, 29.5, 19.5)
    MonoEstimator(engine)(np.zeros((40, 60, 3), np.uint8), camera)
    expected = [[[50, 0, 31.5], [0, 52, 31.5], [0, 0, 1]]]
    np.testing.assert_array_equal(engine.seen['intrinsics'], np.float32(expected))


def test_a_model_that_needs_the_camera_is_warmed_up_with_one():
    engine = BrightnessEngine(inputs=('image', 'intrinsics'), multiple=32)
    MonoEstimator(engine).warm_up(60, 40)
    assert engine.seen['image'].shape == (1, 64, 64, 3)
    assert engine.seen['intrinsics'].tolist() == [[[60, 0, 30], [0, 60, 20], [0, 0, 1]]]


def test_estimates_below_the_threshold_are_unknown():
    estimate = MonoEstimator(BrightnessEngine(confidence='head'), confidence_threshold=0.5)
    result = estimate(steps(20, 30), confidence=True)
    assert np.isnan(result.depth[:, :15]).all()
    assert (result.depth[:, 15:] == 2.5).all()
    assert set(np.unique(result.confidence)) == {np.float32(0.1), np.float32(0.9)}
    with pytest.raises(ValueError, match=r'0\.5 and bright has no confidence; set confidence_thr'):
        MonoEstimator(BrightnessEngine(), confidence_threshold=0.5)


@pytest.mark.parametrize('size', [(0, 0), (15, 10), (60, 40)])
@pytest.mark.parametrize('output', ['depth', 'relative_depth'])
def test_the_sky_is_infinitely_far(size, output):
    """What a model calls sky is +inf, what the user wants to be surer of is NaN."""
    engine = BrightnessEngine(output=output, confidence='head', least_confidence=0.5)
    result = MonoEstimator(engine, size)(steps(20, 30))
    np.testing.assert_array_equal(result.depth[:, :14], np.inf)
    np.testing.assert_allclose(result.depth[:, 17:], 2.5, rtol=1e-6)
    assert result.confidence is None
    strict = MonoEstimator(engine, size, confidence_threshold=0.95)(steps(20, 30))
    np.testing.assert_array_equal(strict.depth[:, :14], np.inf)
    assert np.isnan(strict.depth[:, 17:]).all()


@pytest.mark.parametrize('output', ['camera', 'processing'])
@pytest.mark.parametrize('size', [(0, 0), (13, 10), (61, 40)])
@pytest.mark.parametrize('mirrored', [0.0, 3.0])
def test_finite_depths_are_as_confident_as_asked_for_beside_the_sky(size, output, mirrored):
    engine = BrightnessEngine(confidence='head', least_confidence=0.5, mirrored=mirrored)
    for threshold in (0.3, 0.6, 0.95):
        result = MonoEstimator(engine, size, output, threshold)(steps(20, 30), confidence=True)
        known = ~np.isnan(result.depth)
        sky = np.isinf(result.depth) & (result.confidence < 0.5)
        assert sky.any()
        assert (result.confidence >= threshold)[known & ~sky].all()


def test_the_end_of_the_range_means_infinity():
    ends = BrightnessEngine(value_range=(0.0, 2.5), saturates=True)
    depth = MonoEstimator(ends)(steps(20, 30)).depth
    assert (depth[:, :15] == 0).all()
    assert np.isposinf(depth[:, 15:]).all()
    goes_on = BrightnessEngine(value_range=(0.0, 2.5))
    assert (MonoEstimator(goes_on)(steps(20, 30)).depth[:, 15:] == 2.5).all()


@pytest.mark.parametrize(('focal', 'far'), [(500.0, 2.5), (599.0, 2.995), (600.0, np.inf)])
def test_metres_are_cut_off_after_they_are_those_of_the_camera(focal, far):
    engine = BrightnessEngine(canonical_focal=500.0, max_depth=3.0)
    camera = PinholeCamera(30, 20, focal, focal, 14.5, 9.5)
    depth = MonoEstimator(engine)(steps(20, 30), camera).depth
    np.testing.assert_allclose(depth[:, 15:], far, rtol=1e-6)


def test_widened_images_bring_their_intrinsics_along_and_lose_their_margins():
    engine = BrightnessEngine(
        inputs=('image', 'intrinsics'),
        multiple=4,
        placement='centre',
        border='mean',
        aspect=(0.5, 2.5),
    )
    image = np.random.default_rng(0).integers(0, 255, (20, 100, 3), dtype=np.uint8)
    camera = PinholeCamera(100, 20, 50.0, 52.0, 49.5, 9.5)
    result = MonoEstimator(engine)(image, camera)
    assert engine.seen['image'].shape == (1, 40, 100, 3)
    assert engine.seen['image'][0, 0, 0].tolist() == [124, 116, 104]
    expected = [[[50, 0, 49.5], [0, 52, 19.5], [0, 0, 1]]]
    np.testing.assert_array_equal(engine.seen['intrinsics'], np.float32(expected))
    np.testing.assert_array_equal(result.depth, image[..., 0].astype(np.float32) / 100)


@pytest.mark.parametrize(
    'image', [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)], ids=['grey', 'float']
)
def test_other_images_are_refused(image):
    with pytest.raises(ValueError, match=r'image is .*; give uint8 RGB'):
        MonoEstimator(BrightnessEngine())(image)


@pytest.mark.parametrize(
    ('image', 'said'),
    [
        ([[0]], 'image is a list; give an array'),
        (np.zeros((0, 4, 3), np.uint8), r'image is uint8 \(0, 4, 3\)'),
        (
            np.zeros((20, 5, 3), np.uint8),
            'processed at 5x20; bright needs at least 16x16 .*larger',
        ),
    ],
)
def test_images_without_enough_pixels_are_refused(image, said):
    with pytest.raises(ValueError, match=said):
        MonoEstimator(BrightnessEngine(minimum=(16, 16)))(image)


def test_a_camera_of_another_size_is_refused_by_any_model():
    camera = PinholeCamera(60, 40, 50.0, 50.0, 29.5, 19.5)
    with pytest.raises(ValueError, match='for images of 60x40 and the image is 30x20'):
        MonoEstimator(BrightnessEngine())(np.zeros((20, 30, 3), np.uint8), camera)


def test_views_and_mirrored_images_are_taken():
    image = np.random.default_rng(0).integers(0, 255, (20, 60, 3), dtype=np.uint8)[:, ::-2]
    result = MonoEstimator(BrightnessEngine(), (60, 40))(image)
    assert result.depth.shape == (20, 30)


class UnknownEngine(BrightnessEngine):
    """Gives NaN alone."""

    def run(self, inputs):
        return {name: values * np.float32(np.nan) for name, values in super().run(inputs).items()}


@pytest.mark.parametrize('size', [(0, 0), (15, 10), (60, 40)])
@pytest.mark.parametrize('output', ['depth', 'inverse_depth'])
def test_what_a_model_does_not_know_stays_unknown(size, output):
    engine = UnknownEngine(output=output, confidence='head')
    result = MonoEstimator(engine, size)(np.zeros((20, 30, 3), np.uint8), confidence=True)
    assert np.isnan(result.depth).all()
    assert result.depth.shape == result.confidence.shape == (20, 30)


def test_models_of_the_other_task_are_refused():
    with pytest.raises(EngineError, match='sgbm takes a left and a right image'):
        MonoEstimator(SgbmEngine())
    with pytest.raises(EngineError, match=r'bright takes one image .*choose a stereo model'):
        StereoEstimator(BrightnessEngine())
    assert isinstance(load_estimator('sgbm'), StereoEstimator)
