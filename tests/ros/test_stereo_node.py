"""The stereo node's outputs, number by number, over DDS."""

from __future__ import annotations

import time
from dataclasses import replace

import cv2
import numpy as np
import pytest

pytest.importorskip('nndepth.msg', reason='the workspace is not built and sourced')
from rclpy.qos import QoSReliabilityPolicy
from rig import (
    BASELINE,
    FOCAL,
    FRAME,
    HEIGHT,
    SHIFT,
    WIDTH,
    Log,
    camera_info,
    header,
    shifted_pair,
)
from rosgraph_msgs.msg import Clock

from nndepth_core.camera import StereoCamera
from nndepth_core.engines import EngineError
from nndepth_ros.stereo_node import StereoNode

ALL = (
    'disparity',
    'disparity/image_color',
    'depth/image',
    'depth/camera_info',
    'confidence',
    'points2',
    'stats',
)
STAMP = 1_700_000_000_123_456_789
INNER = np.s_[16:-16, 24:-24]


def pixels(image, dtype=np.float32):
    return np.frombuffer(image.data, dtype).reshape(image.height, image.width, -1).squeeze()


def test_every_output_is_right(make_rig):
    rig = make_rig(outputs=ALL)
    rig.send_pair(STAMP)
    message = {name: rig.wait_for(name)[0] for name in ALL}
    for name in ALL:
        assert message[name].header == header(STAMP), name

    disparity = message['disparity']
    assert (disparity.f, disparity.t) == (FOCAL, pytest.approx(BASELINE))
    assert (disparity.min_disparity, disparity.max_disparity) == (0, 127)
    assert disparity.delta_d == 1 / 16
    window = disparity.valid_window
    assert (window.x_offset, window.y_offset) == (0, 0)
    assert (window.width, window.height) == (WIDTH, HEIGHT)
    assert np.median(pixels(disparity.image)[INNER]) == SHIFT

    depth = message['depth/image']
    assert depth.encoding == '32FC1'
    z = FOCAL * BASELINE / SHIFT
    np.testing.assert_allclose(np.nanmedian(pixels(depth)[INNER]), z, rtol=1e-6)

    cloud = message['points2']
    assert (cloud.point_step, cloud.row_step, cloud.is_dense) == (16, 16 * WIDTH, False)
    assert [(f.name, f.offset, f.datatype) for f in cloud.fields] == [
        ('x', 0, 7),
        ('y', 4, 7),
        ('z', 8, 7),
        ('rgb', 12, 7),
    ]
    points = np.frombuffer(cloud.data, np.float32).reshape(HEIGHT, WIDTH, 4)
    v, u = HEIGHT // 2, WIDTH // 2
    expected = [(u - (WIDTH - 1) / 2) / FOCAL * z, (v - (HEIGHT - 1) / 2) / FOCAL * z, z]
    np.testing.assert_allclose(points[v, u, :3], expected, rtol=1e-3)

    confidence = pixels(message['confidence'])
    assert confidence[INNER].mean() > 0.9
    assert ((confidence >= 0) & (confidence <= 1)).all()
    assert message['disparity/image_color'].encoding == 'bgr8'
    assert list(message['depth/camera_info'].p)[:3] == [FOCAL, 0.0, (WIDTH - 1) / 2]

    stats = message['stats']
    assert (stats.model, stats.engine, stats.device) == ('sgbm', 'opencv', 'cpu')
    assert (stats.input_width, stats.output_height) == (WIDTH, HEIGHT)
    assert (stats.received_left, stats.received_right, stats.paired) == (1, 1, 1)
    assert (stats.unpaired_left, stats.dropped, stats.late, stats.failed) == (0, 0, 0, 0)
    assert 0 < stats.inference_ms < stats.total_ms
    assert stats.right_stamp == header(STAMP).stamp
    assert stats.header.frame_id == FRAME


def disparity_of(message):
    return float(np.median(pixels(message.image)[INNER]))


def test_processing_size_keeps_f_t_disparity_and_camera_info_consistent(make_rig):
    rig = make_rig(
        outputs=('disparity', 'depth/image', 'depth/camera_info'),
        parameters={'processing_width': WIDTH // 2, 'output_size': 'processing'},
    )
    rig.send_pair(STAMP)
    disparity, depth, info = (rig.wait_for(name)[0] for name in rig.subscriptions)
    assert (disparity.image.width, disparity.image.height) == (WIDTH // 2, HEIGHT // 2)
    assert (disparity.f, disparity.t) == (FOCAL / 2, pytest.approx(BASELINE))
    assert (info.width, info.height) == (WIDTH // 2, HEIGHT // 2)
    assert (info.p[0], info.k[0], info.p[2]) == (FOCAL / 2, FOCAL / 2, (WIDTH / 2 - 1) / 2)
    inner = np.s_[8:-8, 16:-16]
    assert np.median(pixels(disparity.image)[inner]) == pytest.approx(SHIFT / 2, abs=0.1)
    z = FOCAL * BASELINE / SHIFT
    np.testing.assert_allclose(np.nanmedian(pixels(depth)[inner]), z, rtol=0.03)


def test_camera_size_output_of_a_smaller_processing_size(make_rig):
    rig = make_rig(outputs=('disparity',), parameters={'processing_height': HEIGHT // 2})
    rig.send_pair(STAMP)
    (message,) = rig.wait_for('disparity')
    assert (message.image.width, message.image.height) == (WIDTH, HEIGHT)
    assert message.f == FOCAL
    assert disparity_of(message) == pytest.approx(SHIFT, abs=0.2)


def test_roi_and_binning_of_the_camera_info_are_honoured(make_rig):
    """The info describes a larger sensor: this window of it, every second pixel."""
    rig = make_rig(outputs=('disparity', 'depth/camera_info', 'points2'))
    changes = {'width': 400, 'height': 300, 'binning_x': 2, 'binning_y': 2}
    infos = []
    for side in ('left', 'right'):
        info = camera_info(side, **changes)
        info.p = [
            2 * FOCAL, 0.0, 200.0, -2 * FOCAL * BASELINE * (side == 'right'),
            0.0, 2 * FOCAL, 150.0, 0.0, 0.0, 0.0, 1.0, 0.0,
        ]  # fmt: skip
        info.roi.x_offset, info.roi.y_offset = 40, 50
        info.roi.width, info.roi.height = 2 * WIDTH, 2 * HEIGHT
        infos.append(info)
    rig.send_infos(*infos, stamp_ns=STAMP)
    rig.send_pair(STAMP, infos=False)
    disparity, info, cloud = (rig.wait_for(name)[0] for name in rig.subscriptions)
    assert (disparity.f, disparity.t) == (FOCAL, pytest.approx(BASELINE))
    assert (info.roi.x_offset, info.binning_x, info.p[0]) == (40, 2, 2 * FOCAL)
    points = np.frombuffer(cloud.data, np.float32).reshape(HEIGHT, WIDTH, 4)
    v, u, z = 40, 90, FOCAL * BASELINE / SHIFT
    expected = [(u - (200 - 40) / 2) / FOCAL * z, (v - (150 - 50) / 2) / FOCAL * z, z]
    np.testing.assert_allclose(points[v, u, :3], expected, rtol=1e-3)


def test_offset_principal_points_are_taken_out_of_the_disparity(make_rig):
    """The message promises Z = f T / d, so d excludes cx_left - cx_right."""
    rig = make_rig(outputs=('disparity', 'depth/image'))
    right = camera_info('right')
    right.p[2] -= 3
    rig.send_infos(right=right, stamp_ns=STAMP)
    rig.send_pair(STAMP, infos=False)
    (disparity,), (depth,) = rig.wait_for('disparity'), rig.wait_for('depth/image')
    assert disparity_of(disparity) == SHIFT - 3
    z = FOCAL * BASELINE / (SHIFT - 3)
    np.testing.assert_allclose(np.nanmedian(pixels(depth)[INNER]), z, rtol=1e-6)


def test_depth_beyond_the_limits_is_infinite(make_rig):
    z = FOCAL * BASELINE / SHIFT
    rig = make_rig(outputs=('depth/image',), parameters={'max_depth': z * 0.9})
    rig.send_pair(STAMP)
    (far,) = rig.wait_for('depth/image')
    assert np.median(pixels(far)[INNER]) == np.inf
    rig.set_parameters(max_depth=0.0, min_depth=z * 1.1)
    rig.send_pair(STAMP + 1)
    assert np.median(pixels(rig.wait_for('depth/image', 2)[1])[INNER]) == -np.inf


def test_compressed_images(make_rig):
    rig = make_rig(transport='compressed')
    rig.send_infos(stamp_ns=STAMP)
    for side, image in zip(('left', 'right'), shifted_pair(), strict=True):
        data = cv2.imencode('.png', image[..., ::-1])[1].tobytes()
        rig.send_compressed(side, STAMP, data, 'rgb8; png compressed bgr8')
    assert disparity_of(rig.wait_for('disparity')[0]) == SHIFT


def test_camera_info_may_come_after_its_images(make_rig):
    rig = make_rig()
    rig.send_pair(STAMP, infos=False)
    rig.wait_until(lambda: rig.node.without_info is not None, 'a pair without camera_info')
    rig.send_infos(stamp_ns=STAMP)
    assert disparity_of(rig.wait_for('disparity')[0]) == SHIFT


def test_nobody_subscribes_so_nothing_is_inferred(make_rig):
    rig = make_rig(outputs=())
    for frame in range(3):
        rig.send_pair(STAMP + frame)
        rig.wait_until(lambda left=2 - frame: rig.node.pipeline.to_examine <= left, 'the doctor')
    rig.wait_until(lambda: not rig.images['left'].get_subscription_count(), 'unsubscription')
    rig.wait_diagnostic('idle: nobody subscribes')
    assert rig.node.last_stats is None
    rig.subscribe('disparity')
    rig.wait_connected()
    rig.send_pair(STAMP + 10)
    assert disparity_of(rig.wait_for('disparity')[0]) == SHIFT


def test_only_what_is_subscribed_is_computed(make_rig, monkeypatch):
    rig = make_rig(outputs=('disparity',))
    monkeypatch.setattr(StereoCamera, 'disparity_to_depth', None)
    rig.send_pair(STAMP)
    assert disparity_of(rig.wait_for('disparity')[0]) == SHIFT


def test_a_looping_bag_goes_on_at_once(make_rig):
    rig = make_rig()
    stamps = [STAMP + frame for frame in range(3)] * 2
    for count, stamp in enumerate(stamps, 1):
        rig.send_pair(stamp)
        rig.wait_for('disparity', count)
    got = [m.header for m in rig.received['disparity']]
    assert got == [header(stamp) for stamp in stamps]


def test_mono_image_type_and_rgb_give_the_same(make_rig):
    rig = make_rig()
    left, right = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in shifted_pair())
    rig.send_infos(stamp_ns=STAMP)
    rig.send_image('left', STAMP, left, 'mono8')
    rig.send_image('right', STAMP, right, 'mono8')
    assert disparity_of(rig.wait_for('disparity')[0]) == SHIFT


def test_remapped_images_bring_their_camera_info_along(ros):
    node = StereoNode(
        cli_args=['--ros-args', '-r', 'left/image_rect:=/rig/cam0/image'], namespace='/elsewhere'
    )
    assert node.image_topics['left'] == '/rig/cam0/image'
    assert node.info_topics['left'] == '/rig/cam0/camera_info'
    assert node.info_topics['right'] == '/elsewhere/right/camera_info'
    node.destroy_node()


def test_qos_can_be_overridden(make_rig):
    namespace_topic = 'qos_overrides./qos/disparity.publisher.depth'
    rig = make_rig(parameters={namespace_topic: 7}, namespace='/qos')
    (info,) = rig.node.get_publishers_info_by_topic('/qos/disparity')
    assert rig.node.get_parameter(namespace_topic).value == 7
    assert info.qos_profile.reliability == QoSReliabilityPolicy.RELIABLE


def test_under_overload_only_the_newest_pair_is_taken(make_rig, hold):
    rig = make_rig(outputs=('stats',))
    running, go_on = hold(rig.node.estimator.engine, 'run')
    counts = rig.node.synchronizer.counts
    for frame in range(5):
        rig.send_pair(STAMP + frame)
        rig.wait_until(lambda n=frame: counts.paired > n, counts)
        assert running.wait(20)
    go_on.set()
    first, second = rig.wait_for('stats', 2)
    assert (first.header, second.header) == (header(STAMP), header(STAMP + 4))
    assert second.dropped == 3


def test_a_pair_older_than_max_age_is_skipped(make_rig, hold):
    rig = make_rig(outputs=('stats',), parameters={'max_age': 1.0})
    running, go_on = hold(rig.node.estimator.engine, 'run')
    rig.send_pair(STAMP)
    assert running.wait(20)
    rig.send_pair(STAMP + 1)
    rig.wait_until(lambda: rig.node.synchronizer.counts.paired == 2, 'the second pair')
    deadline = time.monotonic() + 1.1
    rig.wait_until(lambda: time.monotonic() > deadline, 'ageing')
    go_on.set()
    rig.wait_for('stats')
    rig.wait_until(lambda: rig.node.mailbox.late == 1, 'the late pair')


def test_sim_time_is_what_age_is_measured_with(make_rig):
    rig = make_rig(outputs=('stats',), parameters={'use_sim_time': True})
    clock = rig.tester.create_publisher(Clock, '/clock', 10)
    rig.wait_until(clock.get_subscription_count, 'the clock')
    now = Clock()
    now.clock.sec = 1000
    clock.publish(now)
    rig.wait_until(lambda: rig.node.get_clock().now().nanoseconds == 1000 * 10**9, 'sim time')
    rig.send_pair(999_900_000_000)
    assert rig.wait_for('stats')[0].age_ms == pytest.approx(100)


def test_the_old_model_works_until_the_new_one_is_ready(make_rig, hold):
    rig = make_rig(outputs=('disparity',))
    loading, go_on = hold(rig.node, 'make_estimator')
    old = rig.node.estimator
    assert rig.set_parameters(sgbm__num_disparities=64) == ''
    assert loading.wait(20)
    rig.send_pair(STAMP)
    assert rig.wait_for('disparity')[0].max_disparity == 127
    go_on.set()
    rig.wait_until(lambda: rig.node.estimator is not old, 'the new model')
    rig.send_pair(STAMP + 1)
    assert rig.wait_for('disparity', 2)[1].max_disparity == 63


@pytest.mark.parametrize('fails', [False, True])
def test_sizes_that_are_set_while_a_model_loads_count_at_once(make_rig, hold, monkeypatch, fails):
    rig = make_rig(outputs=('stats',))
    engine = rig.node.estimator.engine
    if fails:

        def fail(_):
            raise EngineError('out of memory')

        monkeypatch.setattr(rig.node, 'make_estimator', fail)
    loading, go_on = hold(rig.node, 'make_estimator')
    assert rig.set_parameters(sgbm__num_disparities=64, processing_height=48) == ''
    assert loading.wait(20)
    rig.send_pair(STAMP)
    stats = rig.wait_for('stats')[0]
    assert (stats.processing_width, stats.processing_height) == (WIDTH, HEIGHT)
    assert rig.set_parameters(processing_width=80) == ''
    rig.send_pair(STAMP + 1)
    stats = rig.wait_for('stats', 2)[1]
    assert (stats.processing_width, stats.processing_height) == (80, 48)
    assert rig.node.estimator.engine is engine
    go_on.set()
    rig.wait_until(lambda: not rig.node._loads, 'the end of the load')
    rig.send_pair(STAMP + 2)
    stats = rig.wait_for('stats', 3)[2]
    assert (rig.node.estimator.engine is engine) == fails
    assert (stats.processing_width, stats.processing_height) == (80, 48)


def test_a_size_that_the_old_model_cannot_take_waits_for_the_new_one(make_rig, hold, monkeypatch):
    rig = make_rig(outputs=('stats',))
    said = Log(rig, monkeypatch, ['info']).said
    old = rig.node.estimator
    loading, go_on = hold(rig.node, 'make_estimator')
    assert rig.set_parameters(sgbm__num_disparities=64) == ''
    assert loading.wait(20)
    spec = replace(old.engine.spec, minimum=(8, 8), fixed_size=(HEIGHT, WIDTH))
    monkeypatch.setattr(old.engine, 'spec', spec)
    assert rig.set_parameters(processing_width=80) == ''
    assert rig.node.estimator is old
    assert said[-1] == 'sgbm by opencv on cpu cannot take this; it waits for sgbm'
    go_on.set()
    rig.wait_until(lambda: rig.node.estimator is not old, 'the new model')
    rig.send_pair(STAMP)
    assert rig.wait_for('stats')[0].processing_width == 80


def test_a_model_that_fails_to_load_leaves_the_old_one_and_its_parameters(make_rig, monkeypatch):
    rig = make_rig(outputs=('disparity',))

    def fail(config):
        raise EngineError('out of memory')

    monkeypatch.setattr(rig.node, 'make_estimator', fail)
    assert rig.set_parameters(sgbm__num_disparities=64) == ''
    number = 'sgbm.num_disparities'
    rig.wait_until(lambda: rig.node.get_parameter(number).value == 128, 'the old value')
    rig.send_pair(STAMP)
    assert rig.wait_for('disparity')[0].max_disparity == 127


def test_the_last_of_several_changes_is_loaded(make_rig, hold):
    rig = make_rig(outputs=('disparity',))
    loading, go_on = hold(rig.node, 'make_estimator')
    assert rig.set_parameters(sgbm__num_disparities=64) == ''
    assert loading.wait(20)
    assert rig.set_parameters(sgbm__num_disparities=32) == ''
    go_on.set()
    rig.wait_until(
        lambda: rig.node.estimator.engine.settings.num_disparities == 32, 'the last change'
    )
