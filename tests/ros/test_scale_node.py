"""The mono node over DDS with what tells the scale of a network without metres."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip('nndepth.msg', reason='the workspace is not built and sourced')
pytest.importorskip('onnxruntime')
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from rig import BASELINE, FOCAL, FRAME, HEIGHT, WIDTH, camera_info, header
from sensor_msgs.msg import Image, PointCloud2
from stereo_msgs.msg import DisparityImage
from tiny_networks import NAME, brightness, write_network

from nndepth_core import PinholeCamera, StereoCamera
from nndepth_ros import doctor
from nndepth_ros.conversions import cloud_message, disparity_message, image_message
from nndepth_ros.doctor import InputState

STAMP = 1_700_000_000_000_000_000
FACTOR, SHIFT = 0.25, -0.1
IMAGE = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
DEPTH = 1 / (FACTOR * brightness(IMAGE) + SHIFT)
CAMERA = PinholeCamera.from_projection(camera_info('').p, WIDTH, HEIGHT)
PAIR = StereoCamera(CAMERA, BASELINE, CAMERA.cx)
CLASSES = {'scale/depth': Image, 'scale/points': PointCloud2, 'scale/disparity': DisparityImage}
OUTPUTS = ('depth/image', 'points2', 'inverse_depth/image', 'stats')


@pytest.fixture(scope='module')
def relative(tmp_path_factory):
    path = tmp_path_factory.mktemp('scale') / 'relative.onnx'
    return str(write_network(path, output='inverse_depth', value_range=None))


class Sensor:
    """A publisher of known depths beside a rig."""

    def __init__(self, rig, topic: str) -> None:
        self._rig, self._topic = rig, topic
        self._publisher = rig.in_executor(
            rig.tester.create_publisher, CLASSES[topic], topic, qos_profile_sensor_data
        )

    def wait_subscribed(self, count: int = 1) -> None:
        found = self._publisher.get_subscription_count
        self._rig.wait_until(lambda: found() == count, f'{count} subscriptions to {self._topic}')

    def message(self, stamp: int, depth: np.ndarray = DEPTH, frame: str = FRAME):
        types, head, depth = self._rig.types, header(stamp, frame), depth.astype(np.float32)
        if self._topic == 'scale/points':
            return cloud_message(types, head, CAMERA.colored_points(depth, IMAGE))
        if self._topic == 'scale/disparity':
            disparity = PAIR.depth_to_disparity(depth)
            return disparity_message(types, head, disparity, PAIR, (0.0, 64.0), 0.0)
        return image_message(types, head, depth, '32FC1')

    def send(self, message) -> None:
        """Publish, and wait until the node has it."""
        topic, node = f'{self._rig.namespace}/{self._topic}', self._rig.node
        self.wait_subscribed()
        before = node.inputs._inputs[topic].state.heard
        self._publisher.publish(message)
        self._rig.wait_until(lambda: node.inputs._inputs[topic].state.heard != before, topic)


def map_of(message) -> np.ndarray:
    return np.frombuffer(message.data, np.float32).reshape(message.height, message.width)


@pytest.mark.parametrize(
    ('source', 'topic'),
    [
        ('sparse_depth', 'scale/depth'),
        ('sparse_depth', 'scale/points'),
        ('stereo', 'scale/disparity'),
        ('stereo', 'scale/depth'),
    ],
)
def test_known_depths_bring_metres(make_mono_rig, relative, source, topic):
    rig = make_mono_rig(outputs=OUTPUTS, model=relative, parameters={'scale_source': source})
    sensor = Sensor(rig, topic)
    sensor.send(sensor.message(STAMP))
    rig.send(STAMP, IMAGE)
    depth, cloud, inverse, stats = (rig.wait_for(name)[0] for name in OUTPUTS)
    assert depth.header == cloud.header == header(STAMP)
    np.testing.assert_allclose(map_of(depth), DEPTH, rtol=1e-4)
    points = np.frombuffer(cloud.data, np.float32).reshape(HEIGHT, WIDTH, 4)
    np.testing.assert_allclose(points[..., 2], DEPTH, rtol=1e-4)
    np.testing.assert_allclose(map_of(inverse), brightness(IMAGE), rtol=1e-6)
    assert (stats.scale_source, stats.density) == (source, 1.0)
    assert stats.scale == pytest.approx(FACTOR, rel=1e-4)
    assert stats.scale_shift == pytest.approx(SHIFT, abs=1e-4)
    assert stats.scale_residual < 1e-5
    assert stats.scale_inliers == stats.scale_points == WIDTH * HEIGHT
    rig.wait_diagnostic(f'scale_source={source} | scale=0.25 | scale_shift=-0.1 | scale_residual=')
    rig.wait_diagnostic('scale_inliers=15360 | scale_points=15360')


def test_the_stereo_node_brings_metres(make_rig, make_mono_rig, relative):
    """A step from 2.5 m to 1.25 m, seen by both nodes, with sgbm exact to a quarter of a pixel.

    The stereo node stands in scale/, so that its topics are those of the mono node.
    """
    rig = make_mono_rig(
        outputs=('depth/image', 'stats'), model=relative, parameters={'scale_source': 'stereo'}
    )
    pair = make_rig(outputs=('disparity',), namespace=f'{rig.namespace}/scale')
    heard = rig.node.inputs._inputs[f'{rig.namespace}/scale/disparity']
    rig.wait_until(lambda: heard.state.publishers, 'the stereo node')
    left, right = np.random.default_rng(1).integers(0, 256, (2, HEIGHT, WIDTH, 3), np.uint8)
    right[:, :72] = left[:, 8:80]
    right[:, 64:144] = left[:, 80:]
    pair.send_pair(STAMP, (left, right))
    rig.wait_until(lambda: heard.state.heard, 'a disparity')
    step = np.full((HEIGHT, WIDTH, 3), 50, np.uint8)
    step[:, 80:] = 150
    near = FOCAL * BASELINE / 16
    rig.send(STAMP, step)
    depth = map_of(rig.wait_for('depth/image')[0])
    np.testing.assert_allclose(depth, np.where(step[..., 0] > 100, near, 2 * near), rtol=0.03)


def test_depths_that_come_late_serve_the_images_that_follow(make_mono_rig, relative):
    parameters = {'scale_source': 'sparse_depth', 'scale_max_age': 2.0}
    rig = make_mono_rig(outputs=OUTPUTS, model=relative, parameters=parameters)
    sensor = Sensor(rig, 'scale/depth')
    sensor.wait_subscribed()
    rig.send(STAMP, IMAGE)
    first = rig.wait_for('stats')[0]
    assert (first.scale_source, first.scale) == ('sparse_depth', 0)
    rig.wait_diagnostic(
        'scale_source is sparse_depth (scale/depth or scale/points), but there is no scale: no '
        'known depth has come so far; until there is, depth/image, depth/camera_info and points2 '
        'are left out'
    )
    sensor.send(sensor.message(STAMP))
    second = IMAGE[::-1]
    rig.send(STAMP + 10**9, second)
    (depth,) = rig.wait_for('depth/image')
    assert depth.header == header(STAMP + 10**9)
    np.testing.assert_allclose(map_of(depth), DEPTH[::-1], rtol=1e-4)
    rig.send(STAMP + 3 * 10**9, IMAGE)
    rig.wait_for('stats', 3)
    rig.wait_diagnostic('the last scale is 3.0 s old; no known depth has come since')
    assert len(rig.received['depth/image']) == 1
    assert len(rig.received['inverse_depth/image']) == 3


def test_the_height_of_the_camera_brings_metres(make_mono_rig, relative):
    rig = make_mono_rig(outputs=('depth/image', 'stats'), model=relative)
    rig.wait_diagnostic('nothing comes on depth/image')
    assert 'camera_height is 0; set it' in rig.set_parameters(scale_source='camera_height')
    assert rig.set_parameters(camera_height=1.5, scale_source='camera_height') == ''
    image = np.repeat(np.arange(HEIGHT, dtype=np.uint8)[:, None, None] * 2, WIDTH, axis=1)
    rig.send(STAMP, np.repeat(image, 3, axis=2))
    depth = map_of(rig.wait_for('depth/image')[0])[HEIGHT // 2 :]
    expected = 1.5 * FOCAL / (np.arange(HEIGHT // 2, HEIGHT) - (HEIGHT - 1) / 2)
    np.testing.assert_allclose(depth, np.repeat(expected[:, None], WIDTH, 1), rtol=1e-3)
    assert rig.wait_for('stats')[0].scale_source == 'camera_height'


def test_the_order_of_the_parameters_in_a_request_does_not_matter(make_mono_rig, relative):
    rig = make_mono_rig(outputs=(), model=relative)
    (service,) = (it for it in rig.node.services if it.srv_type is SetParameters)

    def answered(**values) -> list[str]:
        messages = [Parameter(name, value=it).to_parameter_msg() for name, it in values.items()]
        request = SetParameters.Request(parameters=messages)
        response = rig.in_executor(service.callback, request, SetParameters.Response())
        return [result.reason for result in response.results]

    (refused,) = answered(scale_source='camera_height')
    assert 'camera_height is 0' in refused
    reasons = answered(
        color_min_depth=5.0,
        scale_source='camera_height',
        rectify=True,
        camera_height=1.5,
        color_max_depth=20.0,
        camera_pitch=-1e9,
    )
    assert [bool(reason) for reason in reasons] == [False, False, True, False, False, True]
    assert rig.node.config.scale.camera_height == 1.5
    assert rig.node.get_parameter('color_min_depth').value == 5.0


def test_the_source_can_change_while_the_node_runs(make_mono_rig, relative):
    rig = make_mono_rig(outputs=OUTPUTS, model=relative)
    sensors = {topic: Sensor(rig, topic) for topic in CLASSES}
    assert "scale_source is 'lidar'; choose one of" in rig.set_parameters(scale_source='lidar')
    listened = {
        'sparse_depth': {'scale/depth', 'scale/points'},
        'stereo': {'scale/depth', 'scale/disparity'},
        'none': set(),
    }
    for number, (source, topics) in enumerate(listened.items()):
        assert rig.set_parameters(scale_source=source) == ''
        for topic, sensor in sensors.items():
            sensor.wait_subscribed(topic in topics)
        if topics:
            sensor = sensors['scale/depth']
            sensor.send(sensor.message(STAMP + number))
        rig.send(STAMP + number, IMAGE)
        stats = rig.wait_for('stats', number + 1)[number]
        assert (stats.scale_source, stats.scale > 0) == (
            source if topics else '',
            source != 'none',
        )
    assert len(rig.received['depth/image']) == 2
    rig.wait_diagnostic('nothing comes on depth/image, points2')


@pytest.mark.parametrize(
    ('bad', 'says'),
    [
        ({'frame': 'lidar'}, f"scale/depth: it is in frame 'lidar' and the images in '{FRAME}'"),
        ({'depth': DEPTH[:, :40]}, 'scale/depth: it is 40x96 and the images are 160x96'),
        ({'depth': np.full_like(DEPTH, np.nan)}, 'none of the 15360 places has both'),
        ({'depth': brightness(IMAGE)}, 'scale/depth: the scale would be negative'),
        ({'stamp': STAMP - 10**10}, 'the last one is -10.000 s from the closest; stamp both'),
    ],
    ids=['frame', 'size', 'overlap', 'negative', 'stamps'],
)
def test_bad_depths_are_told_and_good_ones_cure_it(make_mono_rig, relative, bad, says):
    rig = make_mono_rig(
        outputs=OUTPUTS, model=relative, parameters={'scale_source': 'sparse_depth'}
    )
    sensor = Sensor(rig, 'scale/depth')
    sensor.send(sensor.message(**{'stamp': STAMP, **bad}))
    rig.send(STAMP, IMAGE)
    rig.wait_for('inverse_depth/image')
    rig.wait_diagnostic(says)
    assert not rig.received['depth/image']
    sensor.send(sensor.message(STAMP + 1))
    rig.send(STAMP + 1, IMAGE)
    np.testing.assert_allclose(map_of(rig.wait_for('depth/image')[0]), DEPTH, rtol=1e-4)
    rig.received['/diagnostics'].clear()
    rig.wait_diagnostic('nothing wrong')


def test_a_network_that_gives_metres_needs_no_scale(make_mono_rig, tmp_path):
    rig = make_mono_rig(
        outputs=('depth/image', 'stats'),
        model=str(write_network(tmp_path / 'metric.onnx')),
        parameters={'scale_source': 'stereo'},
    )
    sensors = [Sensor(rig, topic) for topic in CLASSES]
    rig.send(STAMP, IMAGE)
    np.testing.assert_allclose(
        map_of(rig.wait_for('depth/image')[0]), brightness(IMAGE), rtol=1e-6
    )
    rig.wait_diagnostic(
        f'scale_source is stereo, but {NAME} gives metres, which are published as they are; set '
        'scale_source to none, or model to a network without a scale'
    )
    for sensor in sensors:
        sensor.wait_subscribed(0)


def test_of_two_topics_one_is_enough_and_its_silence_is_told(make_mono_rig, relative, monkeypatch):
    monkeypatch.setattr(doctor, 'PATIENCE', 0.1)
    rig = make_mono_rig(
        outputs=OUTPUTS,
        model=relative,
        parameters={'scale_source': 'sparse_depth', 'input_timeout': 0.5},
    )
    sensor = Sensor(rig, 'scale/points')
    sensor.send(sensor.message(STAMP))
    rig.wait_diagnostic('scale/points is silent for 0.5 s or more')
    assert not any(
        'scale/depth: nobody publishes' in said for said in rig.received['/diagnostics']
    )
    now = time.monotonic()
    silent = InputState(
        f'{rig.namespace}/scale/depth', now - 9, publishers=1, offered_since=now - 9
    )
    told = InputState(f'{rig.namespace}/scale/points', now - 9, publishers=1, heard=now)
    assert rig.node.needed([silent]) == [silent]
    assert rig.node.needed([silent, replace(told, heard=now - 9)])[0] == silent
    rig.node.config = replace(
        rig.node.config, inputs=replace(rig.node.config.inputs, input_timeout=60.0)
    )
    assert rig.node.needed([silent, told]) == []


def test_images_tell_no_scale_of_their_own(make_mono_rig, relative):
    rig = make_mono_rig(
        outputs=OUTPUTS,
        model=relative,
        parameters={'scale_source': 'sparse_depth'},
        remappings=['scale/depth:=image_rect'],
    )
    rig.wait_diagnostic(
        f'scale/depth is remapped to {rig.namespace}/image_rect, the images themselves'
    )
    assert rig.set_parameters(scale_source='none') == ''
    rig.send(STAMP, IMAGE)
    rig.wait_for('inverse_depth/image')
