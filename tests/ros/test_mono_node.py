"""The mono node over DDS: what networks with and without metres give, and what goes wrong."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

pytest.importorskip('nndepth.msg', reason='the workspace is not built and sourced')
pytest.importorskip('onnxruntime')
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.qos import QoSDurabilityPolicy
from rig import FOCAL, HEIGHT, WIDTH, Log, camera_info, header
from sensor_msgs.msg import Image
from tiny_networks import NAME, brightness, write_network

from nndepth_core.engines import EngineError
from nndepth_core.visualization import colorize, value_range
from nndepth_ros import doctor
from nndepth_ros.mono_node import MonoNode
from nndepth_ros.outputs import MONO_OUTPUTS

STAMP = 1_700_000_000_000_000_000
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
RELATIVE = {'output': 'inverse_depth', 'value_range': None}
IMAGE = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
DEPTH = brightness(IMAGE)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('mono')


@pytest.fixture(scope='module')
def metric(folder):
    return str(write_network(folder / 'metric.onnx', confidence='head'))


@pytest.fixture(scope='module')
def relative(folder):
    return str(write_network(folder / 'relative.onnx', **RELATIVE))


def map_of(message) -> np.ndarray:
    assert message.encoding == '32FC1'
    return np.frombuffer(message.data, np.float32).reshape(message.height, message.width)


def picture_of(message) -> np.ndarray:
    assert message.encoding == 'bgr8'
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)


# --- outputs -------------------------------------------------------------------------------------


def test_every_output_of_a_metric_network_is_right(make_mono_rig, metric):
    topics = ('depth/image', 'depth/image_color', 'depth/camera_info', 'confidence', 'points2')
    rig = make_mono_rig(outputs=(*topics, 'stats'), model=metric)
    rig.send(STAMP, IMAGE)
    depth, color, info, confidence, cloud, stats = (
        rig.wait_for(topic)[0] for topic in (*topics, 'stats')
    )
    assert {m.header.stamp.nanosec for m in (depth, color, info, cloud, stats)} == {0}
    assert depth.header == header(STAMP)
    np.testing.assert_allclose(map_of(depth), DEPTH, rtol=1e-6)
    np.testing.assert_array_equal(map_of(confidence), DEPTH > 2)
    near_is_red = colorize(map_of(depth), 10.0, 0.0, order='bgr')
    np.testing.assert_array_equal(picture_of(color), near_is_red)
    assert list(info.p) == list(camera_info('').p)
    points = np.frombuffer(cloud.data, np.float32).reshape(HEIGHT, WIDTH, 4)
    np.testing.assert_allclose(points[..., 2], DEPTH, rtol=1e-6)
    x = (np.arange(WIDTH) - (WIDTH - 1) / 2) / FOCAL * DEPTH
    np.testing.assert_allclose(points[..., 0], x, rtol=1e-5, atol=1e-6)
    colors = points[..., 3:].copy().view(np.uint8)[..., 2::-1]
    np.testing.assert_array_equal(colors, IMAGE)
    assert (stats.model, stats.engine, stats.density) == (NAME, 'onnxruntime', 1.0)
    assert (stats.input_width, stats.output_height) == (WIDTH, HEIGHT)
    assert (stats.received_left, stats.paired) == (1, 1)
    assert (stats.received_right, stats.unpaired_left, stats.right_stamp.sec) == (0, 0, 0)
    assert stats.total_ms > stats.inference_ms > 0


def test_a_relative_network_never_gives_metres(make_mono_rig, relative):
    topics = ('inverse_depth/image', 'depth/image_color')
    metres = ('depth/image', 'depth/camera_info', 'points2')
    rig = make_mono_rig(outputs=(*topics, *metres), model=relative)
    rig.wait_diagnostic(
        f'nothing comes on depth/camera_info, depth/image, points2: {NAME} gives inverse depth '
        'without a scale, never metres; subscribe to inverse_depth/image, set the parameter '
        'scale_source to what tells the scale, or model to a network that gives metres'
    )
    rig.send(STAMP, IMAGE)
    inverse, color = (rig.wait_for(topic)[0] for topic in topics)
    np.testing.assert_allclose(map_of(inverse), DEPTH, rtol=1e-6)
    low, high = value_range(map_of(inverse), 2.0)
    large_is_red = colorize(map_of(inverse), low, high, order='bgr')
    np.testing.assert_array_equal(picture_of(color), large_is_red)
    assert not any(rig.received[topic] for topic in metres)


def test_a_metric_network_gives_no_inverse_depth_and_says_where_its_depth_is(
    make_mono_rig, metric
):
    rig = make_mono_rig(outputs=('inverse_depth/image',), model=metric)
    rig.wait_diagnostic(
        f'nothing comes on inverse_depth/image: {NAME} gives depth in metres; subscribe to '
        'depth/image'
    )
    rig.unsubscribe('inverse_depth/image')
    rig.received['/diagnostics'].clear()
    rig.wait_diagnostic('nothing wrong')


def test_a_network_without_confidence_says_so(make_mono_rig, relative):
    rig = make_mono_rig(outputs=('confidence',), model=relative)
    rig.wait_diagnostic(f'nothing comes on confidence: {NAME} has none of its own')


def test_limits_of_depth_are_live(make_mono_rig, metric):
    rig = make_mono_rig(outputs=('depth/image', 'stats'), model=metric)
    assert rig.set_parameters(min_depth=2.0, max_depth=4.0) == ''
    rig.send(STAMP, IMAGE)
    depth = map_of(rig.wait_for('depth/image')[0])
    inside = (DEPTH >= 2) & (DEPTH <= 4)
    np.testing.assert_array_equal(depth == np.inf, DEPTH > 4)
    np.testing.assert_array_equal(depth == -np.inf, DEPTH < 2)
    np.testing.assert_allclose(depth[inside], DEPTH[inside], rtol=1e-6)
    assert rig.wait_for('stats')[0].density == pytest.approx(inside.mean())
    assert 'max_depth must be larger' in rig.set_parameters(max_depth=1.0)


def test_unconfident_estimates_become_unknown(make_mono_rig, metric):
    rig = make_mono_rig(
        outputs=('depth/image',), model=metric, parameters={'confidence_threshold': 0.5}
    )
    rig.send(STAMP, IMAGE)
    depth = map_of(rig.wait_for('depth/image')[0])
    np.testing.assert_array_equal(np.isnan(depth), DEPTH <= 2)


def test_the_sky_is_infinite_far_in_the_picture_and_no_point(make_mono_rig, folder):
    model = str(write_network(folder / 'sky.onnx', confidence='head', least_confidence=0.5))
    topics = ('depth/image', 'depth/image_color', 'points2')
    rig = make_mono_rig(outputs=(*topics, 'stats'), model=model)
    rig.send(STAMP, IMAGE)
    depth, picture, cloud = (rig.wait_for(topic)[0] for topic in topics)
    sky = DEPTH <= 2
    assert 0.1 < sky.mean() < 0.9
    np.testing.assert_array_equal(np.isposinf(map_of(depth)), sky)
    farthest = colorize(np.full((1, 1), 10, np.float32), 10, 0, order='bgr')[0, 0]
    assert (picture_of(picture)[sky] == farthest).all()
    z = np.frombuffer(cloud.data, np.float32).reshape(HEIGHT, WIDTH, -1)[..., 2]
    np.testing.assert_array_equal(np.isnan(z), sky)
    assert rig.wait_for('stats')[0].density == pytest.approx(1 - sky.mean())


def test_outputs_of_the_processing_size_tell_the_same_camera(make_mono_rig, metric):
    rig = make_mono_rig(
        outputs=('depth/image', 'depth/camera_info'),
        model=metric,
        parameters={'processing_width': WIDTH // 2, 'output_size': 'processing'},
    )
    rig.send(STAMP, np.full((HEIGHT, WIDTH, 3), 100, np.uint8))
    depth, info = (rig.wait_for(topic)[0] for topic in rig.subscriptions)
    np.testing.assert_allclose(map_of(depth), 2.5, rtol=1e-6)
    assert (depth.width, depth.height) == (info.width, info.height) == (WIDTH // 2, HEIGHT // 2)
    assert info.p[0] == pytest.approx(FOCAL / 2)


# --- inputs --------------------------------------------------------------------------------------


def test_compressed_images(make_mono_rig, metric):
    rig = make_mono_rig(outputs=('depth/image',), model=metric, transport='compressed')
    rig.send_infos(stamp_ns=STAMP)
    data = cv2.imencode('.png', IMAGE[..., ::-1])[1].tobytes()
    rig.send_compressed('', STAMP, data, 'rgb8; png compressed bgr8')
    np.testing.assert_allclose(map_of(rig.wait_for('depth/image')[0]), DEPTH, rtol=1e-6)


def test_the_camera_is_only_waited_for_where_an_output_needs_it(make_mono_rig, metric):
    rig = make_mono_rig(outputs=('depth/image',), model=metric)
    rig.send(STAMP, IMAGE, infos=False)
    rig.wait_for('depth/image')
    rig.subscribe('points2')
    rig.wait_connected()
    rig.send(STAMP + 1, IMAGE, infos=False)
    rig.wait_for('depth/image', 2)
    rig.wait_diagnostic('no camera_info has come; let the camera publish it; without it points2')
    rig.send(STAMP + 2, IMAGE)
    rig.send(STAMP + 3, IMAGE)
    assert rig.wait_for('points2')[-1].header in (header(STAMP + 2), header(STAMP + 3))


def test_a_camera_without_calibration_serves_a_network_without_metres(
    make_mono_rig, relative, monkeypatch
):
    monkeypatch.setattr(doctor, 'PATIENCE', 0.1)
    rig = make_mono_rig(
        outputs=('inverse_depth/image',), model=relative, parameters={'input_timeout': 0.5}
    )
    rig.in_executor(rig.tester.destroy_publisher, rig.infos.pop(''))
    rig.send(STAMP, IMAGE, infos=False)
    rig.wait_for('inverse_depth/image')
    rig.wait_diagnostic('image_rect is silent')  # the image is, and the calibration not missed
    assert not any('camera_info' in said for said in rig.received['/diagnostics'])


def test_a_network_of_another_focal_length_waits_for_the_camera(make_mono_rig, folder):
    model = write_network(folder / 'focal.onnx', canonical_focal=FOCAL / 2)
    rig = make_mono_rig(outputs=('depth/image',), model=str(model))
    rig.send(STAMP, IMAGE, infos=False)
    rig.wait_until(lambda: rig.node.without_info is not None, 'an image without camera_info')
    rig.send_infos(stamp_ns=STAMP)
    np.testing.assert_allclose(map_of(rig.wait_for('depth/image')[0]), 2 * DEPTH, rtol=1e-5)


def test_remapped_images_bring_their_camera_info_along(ros):
    node = MonoNode(
        cli_args=['--ros-args', '-r', 'image_rect:=/rig/cam0/image'], namespace='/elsewhere'
    )
    assert node.image_topics == {'': '/rig/cam0/image'}
    assert node.info_topics == {'': '/rig/cam0/camera_info'}
    node.destroy_node()


def test_images_are_subscribed_to_while_somebody_wants_what_the_network_gives(
    make_mono_rig, relative
):
    rig = make_mono_rig(outputs=(), model=relative)
    rig.send_infos(stamp_ns=STAMP)
    rig.wait_until(lambda: rig.node.pipeline.calibration is not None, 'the calibration')
    for frame in range(3):
        rig.send(STAMP + frame, IMAGE, infos=False)
        rig.wait_until(lambda left=2 - frame: rig.node.pipeline.to_examine <= left, 'the doctor')
    rig.wait_until(lambda: not rig.images[''].get_subscription_count(), 'unsubscription')
    rig.wait_diagnostic('idle: nobody subscribes')
    rig.subscribe('points2')
    rig.wait_diagnostic('nothing comes on points2')
    assert not rig.images[''].get_subscription_count()
    assert rig.node.last_stats is None
    rig.subscribe('inverse_depth/image')
    rig.wait_connected()
    rig.send(STAMP + 9, IMAGE)
    rig.wait_for('inverse_depth/image')


def bad_images() -> list[tuple[Image, str]]:
    small = Image(header=header(STAMP), height=HEIGHT, width=WIDTH, step=3 * WIDTH)
    small.encoding = 'rgb8'
    small.data.frombytes(IMAGE.tobytes()[:100])
    odd = Image(header=header(STAMP), height=HEIGHT, width=WIDTH, step=WIDTH, encoding='odd')
    odd.data.frombytes(IMAGE[..., 0].tobytes())
    return [(small, 'image: '), (odd, "image: encoding 'odd'")]


@pytest.mark.parametrize(('bad', 'says'), bad_images(), ids=['cut off', 'unknown'])
def test_a_bad_image_is_told_once_and_the_stream_goes_on(
    make_mono_rig, metric, monkeypatch, bad, says
):
    rig = make_mono_rig(outputs=('depth/image',), model=metric)
    log = Log(rig, monkeypatch)
    rig.send_infos(stamp_ns=STAMP)
    rig.images[''].publish(bad)
    log.wait(says)
    rig.send(STAMP + 1, IMAGE)
    assert rig.wait_for('depth/image')[0].header == header(STAMP + 1)
    assert (rig.node.failed, len(log.said)) == (1, 1)


def test_a_camera_info_of_another_size_fails_what_needs_it_alone(
    make_mono_rig, metric, monkeypatch
):
    rig = make_mono_rig(outputs=('depth/image',), model=metric)
    log = Log(rig, monkeypatch)
    rig.send_infos(camera_info('', width=WIDTH * 2), stamp_ns=STAMP)
    rig.send(STAMP, IMAGE, infos=False)
    rig.wait_for('depth/image')
    rig.subscribe('points2')
    rig.wait_connected()
    rig.send(STAMP + 1, IMAGE, infos=False)
    log.wait('camera_info describes images of 320x96 but they are 160x96')
    assert rig.wait_for('depth/image', 2)[1].header == header(STAMP + 1)
    rig.send_infos(stamp_ns=STAMP + 2)
    rig.wait_until(lambda: rig.node._infos.newest('').width == WIDTH, 'the right camera_info')
    rig.send(STAMP + 2, IMAGE, infos=False)
    assert rig.wait_for('points2')[0].header == header(STAMP + 2)


def test_under_overload_only_the_newest_image_is_taken(make_mono_rig, metric, hold):
    rig = make_mono_rig(outputs=('stats',), model=metric)
    running, go_on = hold(rig.node.estimator.engine, 'run')
    for frame in range(5):
        rig.send(STAMP + frame, IMAGE)
        counts = rig.node.synchronizer.counts
        rig.wait_until(lambda n=frame: counts.received_left > n, counts)  # noqa: B023
        assert running.wait(20)
    go_on.set()
    first, second = rig.wait_for('stats', 2)
    assert (first.header, second.header) == (header(STAMP), header(STAMP + 4))
    assert second.dropped == 3


# --- models --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('model', 'says'),
    [
        (None, 'model is auto, but no network for single images comes with the package'),
        ('sgbm', "model 'sgbm' is no mono model; choose one of midas_small"),
        ('/nowhere/model.onnx', 'does not exist'),
    ],
)
def test_a_model_that_cannot_serve_fails_configure_with_the_cure(
    make_mono_rig, monkeypatch, metric, model, says
):
    rig = make_mono_rig(outputs=(), model=model, start='unconfigured')
    log = Log(rig, monkeypatch)
    assert rig.in_executor(rig.node.trigger_configure) is FAILURE
    log.wait(says)
    assert len(log.said) == 1
    assert rig.set_parameters(model=metric) == ''
    assert rig.in_executor(rig.node.trigger_configure) is SUCCESS


def test_a_relative_network_gives_place_to_a_metric_one(make_mono_rig, relative, metric):
    topics = ('inverse_depth/image', 'depth/image')
    rig = make_mono_rig(outputs=topics, model=relative)
    for number, (model, topic) in enumerate([(relative, topics[0]), (metric, topics[1])]):
        old = rig.node.estimator
        if number:
            assert rig.set_parameters(model=model) == ''
            rig.wait_until(lambda old=old: rig.node.estimator is not old, 'the new model')
        rig.send(STAMP + number, IMAGE)
        assert rig.wait_for(topic)[0].header == header(STAMP + number)
    assert [len(rig.received[topic]) for topic in topics] == [1, 1]


def test_a_model_that_fails_to_load_leaves_the_old_one(make_mono_rig, metric, monkeypatch):
    rig = make_mono_rig(outputs=('depth/image',), model=metric)

    def fail(config):
        raise EngineError('out of memory')

    monkeypatch.setattr(rig.node, 'make_estimator', fail)
    assert 'model is auto' in rig.set_parameters(model='auto')
    assert rig.set_parameters(threads=2) == ''
    rig.wait_until(lambda: rig.node.get_parameter('threads').value == 0, 'the old value')
    rig.wait_diagnostic(f'out of memory; {NAME} by onnxruntime on cpu goes on')
    rig.send(STAMP, IMAGE)
    rig.wait_for('depth/image')


def test_a_wish_that_is_taken_back_changes_nothing(make_mono_rig, metric, relative, hold):
    rig = make_mono_rig(outputs=('depth/image',), model=metric)
    before = rig.node.estimator
    loading, go_on = hold(rig.node, 'make_estimator')
    assert rig.set_parameters(model=relative) == ''
    assert loading.wait(20)
    assert rig.set_parameters(model=metric) == ''
    go_on.set()
    rig.wait_until(lambda: not rig.node._loads, 'the end of the load')
    assert rig.node.estimator is before
    rig.send(STAMP, IMAGE)
    rig.wait_for('depth/image')


def test_parameters_of_one_request_load_one_model(make_mono_rig, metric, relative, hold):
    rig = make_mono_rig(outputs=('depth/image',), model=metric)
    loading, go_on = hold(rig.node, 'make_estimator')
    assert rig.set_parameters(model=relative, threads=1) == ''
    assert loading.wait(20)
    assert len(rig.node._loads) == 1
    go_on.set()
    rig.wait_until(lambda: rig.node.estimator.engine.spec.output == 'inverse_depth', 'the model')
    assert not rig.node._loads


def test_sizes_change_without_loading_the_model_again(make_mono_rig, metric, monkeypatch):
    rig = make_mono_rig(outputs=('stats',), model=metric)
    engine = rig.node.estimator.engine
    monkeypatch.setattr(rig.node, 'make_estimator', None)
    assert rig.set_parameters(processing_width=80, output_size='processing') == ''
    rig.send(STAMP, IMAGE)
    stats = rig.wait_for('stats')[0]
    assert (stats.processing_width, stats.output_width) == (80, 80)
    assert rig.node.estimator.engine is engine


# --- lifecycle and doctor ------------------------------------------------------------------------


def test_every_state_and_back(make_mono_rig, metric):
    rig = make_mono_rig(outputs=('stats',), model=metric)
    for transition in ('deactivate', 'cleanup', 'configure', 'activate'):
        assert rig.in_executor(getattr(rig.node, f'trigger_{transition}')) is SUCCESS, transition
    rig.wait_connected()
    rig.send(STAMP, IMAGE)
    assert rig.wait_for('stats')[0].paired == 1


@pytest.mark.parametrize(
    ('image', 'changes', 'says'),
    [
        (np.full_like(IMAGE, 9), {}, 'the image shows grey levels 9 to 9 of 0 to 255'),
        (IMAGE, {'d': [0.1] * 5}, 'camera_info has distortion'),
        (IMAGE, {'p': [0.0] * 12, 'k': [0.0] * 9}, 'camera_info: P is all zeros; the camera is'),
    ],
    ids=['covered lens', 'distortion', 'uncalibrated'],
)
def test_what_is_wrong_with_the_camera_is_in_diagnostics(
    make_mono_rig, metric, image, changes, says
):
    rig = make_mono_rig(outputs=('depth/image',), model=metric)
    rig.send_infos(camera_info('', **changes), stamp_ns=STAMP)
    rig.send(STAMP, image, infos=False)
    rig.wait_for('depth/image')
    rig.wait_diagnostic(says)


def test_headers_are_looked_at(make_mono_rig, metric):
    rig = make_mono_rig(outputs=('depth/image',), model=metric)
    info = camera_info('')
    info.header.frame_id = 'elsewhere'
    rig.send_infos(info)
    rig.send(0, IMAGE, infos=False)
    rig.wait_diagnostic('images have the stamp 0; their ages mean nothing')
    rig.wait_diagnostic("image is in frame 'left_optical' and its camera_info in 'elsewhere'")


def test_a_camera_that_dies_is_named(make_mono_rig, metric):
    rig = make_mono_rig(outputs=('depth/image',), model=metric, parameters={'input_timeout': 0.5})
    rig.send(STAMP, IMAGE)
    rig.wait_for('depth/image')
    rig.wait_diagnostic(f'{rig.namespace}/image_rect is silent')


def test_a_twin_is_named(make_mono_rig, metric):
    rig = make_mono_rig(outputs=(), model=metric)
    rig.tester.create_publisher(Image, 'depth/image', 1)
    rig.wait_diagnostic('tester publishes')


def test_qos_can_be_overridden_on_every_output(make_mono_rig, metric):
    names = [f'qos_overrides./one/{topic}.publisher.depth' for topic in MONO_OUTPUTS]
    rig = make_mono_rig(
        outputs=(), model=metric, parameters=dict.fromkeys(names, 7), namespace='/one'
    )
    assert {rig.node.get_parameter(name).value for name in names} == {7}


def test_outputs_can_be_kept_for_late_subscribers(make_mono_rig, metric):
    name = 'qos_overrides./late/depth/image.publisher.durability'
    rig = make_mono_rig(
        outputs=(), model=metric, parameters={name: 'transient_local'}, namespace='/late'
    )
    (publisher,) = rig.node.get_publishers_info_by_topic('/late/depth/image')
    assert publisher.qos_profile.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL
