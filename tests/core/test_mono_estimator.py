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


def test_estimates_below_the_threshold_are_unknown():
    estimate = MonoEstimator(BrightnessEngine(confidence='head'), confidence_threshold=0.5)
    result = estimate(steps(20, 30), confidence=True)
    assert np.isnan(result.depth[:, :15]).all()
    assert (result.depth[:, 15:] == 2.5).all()
    assert set(np.unique(result.confidence)) == {np.float32(0.1), np.float32(0.9)}
    with pytest.raises(ValueError, match=r'0\.5 and bright has no confidence; set it to 0'):
        MonoEstimator(BrightnessEngine(), confidence_threshold=0.5)


@pytest.mark.parametrize(
    'image', [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)], ids=['grey', 'float']
)
def test_other_images_are_refused(image):
    with pytest.raises(ValueError, match=r'image is .*; give uint8 RGB'):
        MonoEstimator(BrightnessEngine())(image)


def test_models_of_the_other_task_are_refused():
    with pytest.raises(EngineError, match='sgbm takes a left and a right image'):
        MonoEstimator(SgbmEngine())
    with pytest.raises(EngineError, match=r'bright takes one image .*choose a stereo model'):
        StereoEstimator(BrightnessEngine())
    assert isinstance(load_estimator('sgbm'), StereoEstimator)
