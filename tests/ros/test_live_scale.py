"""Single images with something that tells their scale, in messages of rclpy and of rosbags.

The network gives the brightness of the image; the scene is drawn so that this is its inverse depth
up to a scale and a shift.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import bags
import numpy as np
import pytest
from tiny_networks import NAME, brightness, write_network

from nndepth_core import MonoEstimator, PinholeCamera, StereoCamera
from nndepth_core.estimator import StageClock
from nndepth_core.scale import TrackerSettings
from nndepth_ros.conversions import cloud_message, disparity_message, image_message
from nndepth_ros.live_scale import SCALE_INPUTS, SOURCES, ScaleSettings
from nndepth_ros.mono_pipeline import MonoInput, MonoPipeline
from nndepth_ros.outputs import OutputSettings

WIDTH, HEIGHT, FOCAL = 64, 48, 60.0
FACTOR, SHIFT = 0.25, -0.1
CAMERA = PinholeCamera(WIDTH, HEIGHT, FOCAL, FOCAL, 31.5, 23.5)
IMAGE = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
DEPTH = 1 / (FACTOR * brightness(IMAGE) + SHIFT)
METRES = ('depth/image', 'depth/camera_info', 'points2')
SECOND = 1_000_000_000
SPARSE, STEREO = ScaleSettings('sparse_depth'), ScaleSettings('stereo')


@pytest.fixture(scope='module')
def estimator(tmp_path_factory):
    path = tmp_path_factory.mktemp('scale') / 'relative.onnx'
    facts = {'output': 'inverse_depth', 'value_range': None, 'confidence': 'head'}
    return MonoEstimator.load(str(write_network(path, **facts)))


class Stream:
    """A pipeline with its images, and what it reports."""

    def __init__(self, library: Any, estimator: MonoEstimator, settings: ScaleSettings) -> None:
        self.library, self.estimator, self.types = library, estimator, library.types
        self.reported: dict[str, list] = {}
        self.pipeline = MonoPipeline(self.types, self.reported.__setitem__)
        self.pipeline.scale.configure(settings)

    def know(self, topic: str, message: Any) -> None:
        self.pipeline.scale.offer(topic, message)

    def depth(self, depth: np.ndarray, encoding: str = '32FC1', stamp: int = SECOND) -> Any:
        return image_message(self.types, self.library.header(stamp), depth, encoding)

    def cloud(self, depth: np.ndarray) -> Any:
        points = CAMERA.colored_points(np.float32(depth), IMAGE)
        return cloud_message(self.types, self.library.header(SECOND), points)

    def disparity(self, depth: np.ndarray) -> Any:
        camera = StereoCamera(CAMERA, 0.2, 30.0)
        values, header = camera.depth_to_disparity(depth), self.library.header(SECOND)
        return disparity_message(self.types, header, values, camera, (0.0, 64.0), 0.0)

    def run(self, image: np.ndarray = IMAGE, stamp: int = SECOND, info: bool = True) -> Any:
        described = self.library.info(CAMERA.projection(), (HEIGHT, WIDTH)) if info else None
        frame = MonoInput(image, described, self.library.header(stamp))
        clock = StageClock()
        clock.lap('decode')
        wanted = (*METRES, 'inverse_depth/image', 'confidence', 'depth/image_color')
        return self.pipeline.estimate(self.estimator, frame, wanted, OutputSettings(), clock)

    def refusal(self, **run: Any) -> tuple[str, str]:
        """Code and text of the finding, where no metres come and all else does."""
        messages = self.run(**run).messages
        assert not set(METRES) & set(messages)
        assert {'inverse_depth/image', 'confidence', 'depth/image_color'} <= set(messages)
        (finding,) = self.reported['scale']
        return finding.code, finding.text


def map_of(message: Any) -> np.ndarray:
    return np.frombuffer(message.data, np.float32).reshape(message.height, message.width)


def with_holes(depth: np.ndarray) -> np.ndarray:
    """A third of the depths, and some of these wrong."""
    random = np.random.default_rng(4)
    known = np.where(random.random(depth.shape) < 0.3, depth, np.nan)
    known[:8] *= 3
    return known.astype(np.float32)


@pytest.mark.parametrize('kind', ['metres', 'millimetres', 'cloud', 'disparity', 'smaller'])
def test_depths_of_any_kind_bring_the_outputs_to_metres(library, estimator, kind):
    stream = Stream(library, estimator, STEREO if kind == 'disparity' else SPARSE)
    if kind == 'millimetres':
        millimetres = np.nan_to_num(np.rint(1000 * with_holes(DEPTH))).astype(np.uint16)
        stream.know('scale/depth', stream.depth(millimetres, '16UC1'))
    elif kind == 'cloud':
        stream.know('scale/points', stream.cloud(with_holes(DEPTH)))
    elif kind == 'disparity':
        stream.know('scale/disparity', stream.disparity(with_holes(DEPTH)))
    elif kind == 'smaller':
        stream.know('scale/depth', stream.depth(np.float32(DEPTH[1::2, 1::2])))
    else:
        stream.know('scale/depth', stream.depth(with_holes(DEPTH)))
    estimate = stream.run()
    messages, scale = estimate.messages, estimate.result.scale
    assert stream.reported['scale'] == []
    accuracy = 2e-3 if kind == 'millimetres' else 1e-4
    np.testing.assert_allclose(map_of(messages['depth/image']), DEPTH, rtol=accuracy)
    assert (scale.factor, scale.shift) == (
        pytest.approx(FACTOR, rel=accuracy),
        pytest.approx(SHIFT, abs=accuracy),
    )
    assert 0 < scale.inliers <= scale.points
    assert scale.residual < 1e-3
    points = np.frombuffer(messages['points2'].data, np.float32).reshape(HEIGHT, WIDTH, 4)
    np.testing.assert_allclose(points[..., 2], DEPTH, rtol=accuracy)
    assert messages['depth/camera_info'].p[0] == FOCAL
    unscaled = brightness(IMAGE)
    np.testing.assert_allclose(map_of(messages['inverse_depth/image']), unscaled, rtol=1e-6)
    np.testing.assert_array_equal(map_of(messages['confidence']), unscaled > 2)
    assert estimate.density == 1


def test_the_height_of_the_camera_brings_the_ground_to_metres(library, estimator):
    """The grey level grows with the rows, so that all below the horizon is a level ground."""
    image = np.repeat(np.arange(HEIGHT, dtype=np.uint8)[:, None, None] * 5, WIDTH, axis=1)
    image = np.repeat(image, 3, axis=2)
    settings = ScaleSettings('camera_height', camera_height=1.5)
    stream = Stream(library, estimator, settings)
    depth = map_of(stream.run(image).messages['depth/image'])
    rows = np.arange(HEIGHT)[:, None]
    below = slice(HEIGHT // 2, None)
    expected = np.broadcast_to(1.5 * FOCAL / (rows[below] - 23.5), depth[below].shape)
    np.testing.assert_allclose(depth[below], expected, rtol=1e-3)
    assert np.isinf(depth[: HEIGHT // 2]).all()
    code, text = Stream(library, estimator, settings).refusal()
    assert code == 'scale_no_ground'
    assert text.startswith(
        'scale_source is camera_height, but there is no scale: the lower part of the image shows '
        'no flat ground'
    )
    assert stream.refusal(image=image, stamp=9 * SECOND, info=False)[0] == 'scale_camera'


def refusals() -> dict[str, tuple[str, str]]:
    return {
        'scale_waiting': ('', 'no known depth has come so far'),
        'scale_frame': (
            'scale/depth',
            "scale/depth: it is in frame 'lidar' and the images in 'left_optical'",
        ),
        'scale_size': ('scale/depth', 'it is 24x48 and the images are 64x48'),
        'scale_message': ('scale/depth', "scale/depth: encoding 'rgb8' is none of depth"),
        'scale_camera': ('scale/points', 'scale/points: no camera_info has come'),
        'scale_overlap': ('scale/points', 'none of the 3072 places has both'),
        'scale_negative': ('scale/depth', 'scale/depth: the scale would be negative'),
        'scale_stamps': ('scale/depth', 'the last one is -3600.000 s from the closest'),
    }


@pytest.mark.parametrize('code', refusals())
def test_bad_depths_are_told_and_all_that_needs_no_metres_is_published(library, estimator, code):
    topic, says = refusals()[code]
    stream = Stream(library, estimator, SPARSE)
    depth = np.float32(DEPTH)
    message = {
        'scale_size': stream.depth(depth[:, :24]),
        'scale_message': stream.depth(IMAGE, 'rgb8'),
        'scale_negative': stream.depth(np.float32(brightness(IMAGE))),
        'scale_camera': stream.cloud(depth),
        'scale_overlap': stream.cloud(-depth),
        'scale_stamps': stream.depth(depth, stamp=3601 * SECOND),
    }.get(code) or stream.depth(depth)
    if code == 'scale_frame':
        message.header = SimpleNamespace(frame_id='lidar', stamp=message.header.stamp)
    if topic:
        stream.know(topic, message)
    later = {'stamp': 7201 * SECOND} if code == 'scale_stamps' else {}
    found, text = stream.refusal(info=code != 'scale_camera', **later)
    assert found == code
    assert says in text
    assert text.startswith('scale_source is sparse_depth (scale/depth or scale/points), but there')
    assert text.endswith('depth/image, depth/camera_info and points2 are left out')


def test_a_scale_that_is_too_old_ends_the_metres(library, estimator):
    settings = ScaleSettings('sparse_depth', following=TrackerSettings(max_age=2.0))
    stream = Stream(library, estimator, settings)
    stream.know('scale/depth', stream.depth(with_holes(DEPTH)))
    stream.run()
    assert 'depth/image' in stream.run(stamp=3 * SECOND).messages
    code, text = stream.refusal(stamp=4 * SECOND)
    assert (code, 'the last scale is 3.0 s old' in text) == ('scale_old', True)


def test_another_model_or_source_forgets_the_scale(library, estimator, tmp_path):
    stream = Stream(library, estimator, SPARSE)
    stream.know('scale/depth', stream.depth(with_holes(DEPTH)))
    assert 'depth/image' in stream.run().messages
    path = write_network(tmp_path / 'other.onnx', output='inverse_depth', value_range=None)
    stream.estimator = MonoEstimator.load(str(path))
    assert 'depth/image' not in stream.run(stamp=SECOND + 1).messages
    stream.know('scale/depth', stream.depth(with_holes(DEPTH), stamp=SECOND + 2))
    assert 'depth/image' in stream.run(stamp=SECOND + 2).messages
    stream.pipeline.scale.configure(STEREO)
    assert 'depth/image' not in stream.run(stamp=SECOND + 3).messages


def test_a_network_that_gives_metres_is_left_alone(library, tmp_path):
    estimator = MonoEstimator.load(str(write_network(tmp_path / 'metric.onnx')))
    stream = Stream(library, estimator, SPARSE)
    stream.know('scale/depth', stream.depth(with_holes(DEPTH)))
    depth = map_of(stream.run().messages['depth/image'])
    np.testing.assert_allclose(depth, brightness(IMAGE), rtol=1e-6)
    assert estimator.engine.spec.name == NAME


@pytest.mark.parametrize(
    ('settings', 'says'),
    [
        ({'source': 'lidar'}, "scale_source is 'lidar'; choose one of none, sparse_depth"),
        ({'source': 'camera_height'}, 'camera_height is 0; set it to the metres'),
        ({'camera_height': -1.0}, 'camera_height is -1.0'),
        ({'camera_pitch': 90.0}, 'camera_pitch is 90.0'),
    ],
)
def test_settings_without_meaning_are_refused(settings, says):
    with pytest.raises(ValueError, match='is ') as refusal:
        ScaleSettings(**settings)
    assert says in str(refusal.value)


def test_every_topic_of_a_source_has_a_message_type():
    topics = {topic for named in SOURCES.values() for topic in named}
    assert topics == set(SCALE_INPUTS)
    assert all(hasattr(bags.BAG_TYPES, kind) for kind in SCALE_INPUTS.values())
