"""Whatever arrives: one clear message, no crash, the stream goes on."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

pytest.importorskip('nndepth.msg', reason='the workspace is not built and sourced')
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rig import FOCAL, HEIGHT, SHIFT, WIDTH, Log, camera_info, header, shifted_pair
from sensor_msgs.msg import Image

from nndepth_ros import doctor

STAMP = 1_700_000_000_000_000_000


@pytest.fixture
def rig_and_log(make_rig, monkeypatch):
    rig = make_rig()
    return rig, Log(rig, monkeypatch)


def goes_on(rig) -> None:
    """A good pair after the bad one is processed, and nothing else was."""
    rig.send_pair(STAMP + 1_000_000)
    message = rig.wait_for('disparity')[0]
    assert message.header == header(STAMP + 1_000_000)
    values = np.frombuffer(message.image.data, np.float32).reshape(HEIGHT, WIDTH)
    assert np.median(values[16:-16, 24:-24]) == SHIFT
    assert rig.node.failed == 1


def test_truncated_data(rig_and_log):
    rig, log = rig_and_log
    rig.send_infos()
    left, right = shifted_pair()
    message = Image(header=header(STAMP), height=HEIGHT, width=WIDTH, step=3 * WIDTH)
    message.encoding = 'rgb8'
    message.data.frombytes(left.tobytes()[:100])
    rig.images['left'].publish(message)
    rig.send_image('right', STAMP, right)
    log.wait('left image: data has 100 bytes')
    goes_on(rig)


def test_unknown_encoding(rig_and_log):
    rig, log = rig_and_log
    rig.send_infos()
    left, right = shifted_pair()
    rig.send_image('left', STAMP, left)
    rig.send_image('right', STAMP, right, encoding='rgb9')
    log.wait("right image: encoding 'rgb9' is unknown")
    goes_on(rig)


def test_images_of_different_size(rig_and_log):
    rig, log = rig_and_log
    left, right = shifted_pair()
    rig.send_pair(STAMP, (left, np.ascontiguousarray(right[:-10])))
    log.wait('left is 160x96 and right 160x86')
    goes_on(rig)


def test_images_that_do_not_fit_their_camera_info(rig_and_log):
    rig, log = rig_and_log
    rig.send_pair(STAMP, shifted_pair(width=80))
    log.wait('camera_info describes images of 160x96 but they are 80x96')
    goes_on(rig)


def test_images_smaller_than_the_model_takes(rig_and_log):
    rig, log = rig_and_log
    rig.send_infos(*(camera_info(side, width=4, height=1) for side in ('left', 'right')))
    rig.send_pair(STAMP, shifted_pair(width=4, height=1), infos=False)
    log.wait('images are processed at 4x1; sgbm needs at least 8x8')
    goes_on(rig)


def test_size_and_calibration_change_while_running(make_rig):
    rig = make_rig()
    rig.send_pair(STAMP)
    rig.wait_for('disparity')
    width, height = WIDTH + 32, HEIGHT + 16
    rig.send_infos(*(camera_info(side, width, height) for side in ('left', 'right')))
    rig.send_pair(STAMP + 1, shifted_pair(width=width, height=height), infos=False)
    second = rig.wait_for('disparity', 2)[1]
    assert (second.image.width, second.image.height) == (width, height)


@pytest.mark.parametrize('value', [0.0, -FOCAL, float('nan')])
def test_impossible_focal_lengths(rig_and_log, value):
    rig, log = rig_and_log
    infos = [camera_info(side) for side in ('left', 'right')]
    for info in infos:
        info.p[0] = value
        info.p[5] = value
    rig.send_infos(*infos)
    rig.send_pair(STAMP, infos=False)
    log.wait('left camera_info: ')
    rig.wait_until(lambda: rig.node.failed == 1, 'the failure')
    goes_on(rig)


def test_corrupt_and_cut_off_jpegs(make_rig, monkeypatch):
    rig = make_rig(transport='compressed')
    log = Log(rig, monkeypatch)
    rig.send_infos()
    good = [cv2.imencode('.jpg', image)[1].tobytes() for image in shifted_pair()]
    for number, (bad, says) in enumerate(
        [(b'\x00' * 50, 'none of JPEG'), (good[0][: len(good[0]) // 2], 'cut off')]
    ):
        for side, data in zip(('left', 'right'), (bad, good[1]), strict=True):
            rig.send_compressed(side, STAMP + number, data)
        log.wait(says)
    for side, data in zip(('left', 'right'), good, strict=True):
        rig.send_compressed(side, STAMP + 9, data)
    assert rig.wait_for('disparity')[0].header == header(STAMP + 9)


def test_a_picture_that_claims_more_than_its_camera_is_not_decoded(make_rig, monkeypatch):
    rig = make_rig(transport='compressed')
    log = Log(rig, monkeypatch)
    rig.send_infos()
    bomb = bytearray(cv2.imencode('.jpg', np.zeros((16, 16), np.uint8))[1].tobytes())
    at = bomb.index(b'\xff\xc0') + 5
    bomb[at : at + 4] = struct.pack('>HH', 20000, 20000)
    good = [cv2.imencode('.jpg', image)[1].tobytes() for image in shifted_pair()]

    def send(number: int, pair: list[bytes]) -> None:
        for side, data in zip(('left', 'right'), pair, strict=True):
            rig.send_compressed(side, STAMP + number, data)

    send(0, [bytes(bomb)] * 2)
    log.wait('camera_info describes images of 160x96 but they are 20000x20000')
    assert rig.set_parameters(max_pixels=WIDTH * HEIGHT - 1) == ''
    send(1, good)
    log.wait('left image: compressed image of')
    assert 'more than max_pixels = 15359; scale it down, or raise max_pixels' in log.said[-1]
    assert rig.set_parameters(max_pixels=WIDTH * HEIGHT) == ''
    send(2, good)
    assert rig.wait_for('disparity')[0].header == header(STAMP + 2)


@pytest.mark.parametrize(
    ('side', 'said'),
    [
        (16384, 'and memory: set a smaller processing_width and processing_height (0: that of'),
        (1, 'at least 8x8 (set a larger processing_width and processing_height)'),
    ],
)
def test_a_processing_size_beyond_all_measure_is_refused_and_the_node_goes_on(
    rig_and_log, side, said
):
    rig, log = rig_and_log
    old = rig.node.estimator
    assert rig.set_parameters(processing_width=side, processing_height=side) == ''
    rig.wait_until(lambda: rig.node.estimator is not old, 'the new size')
    rig.send_pair(STAMP)
    log.wait(
        f'processing size is {side}x{side} and' if side > 1 else 'processed at 1x1; sgbm needs'
    )
    assert said in log.said[-1]
    old = rig.node.estimator
    assert rig.set_parameters(processing_width=0, processing_height=0) == ''
    rig.wait_until(lambda: rig.node.estimator is not old, 'the old size')
    goes_on(rig)


def test_stamps_at_zero_still_pair_and_are_reported(make_rig):
    rig = make_rig()
    rig.send_pair(0)
    rig.wait_for('disparity')
    rig.wait_diagnostic('left images have the stamp 0')


def test_stamps_that_never_match_are_measured(make_rig):
    rig = make_rig()
    rig.send_infos()
    left, right = shifted_pair()
    for frame in range(12):
        rig.send_image('left', STAMP + frame * 33_000_000, left)
        rig.send_image('right', STAMP + frame * 33_000_000 + 5_000_000, right)
        counts = rig.node.synchronizer.counts
        rig.wait_until(
            lambda n=frame + 1, c=counts: (c.received_left, c.received_right) == (n, n), counts
        )
    rig.wait_diagnostic('right minus left is +5.000 ms')
    assert rig.set_parameters(sync_tolerance=0.006) == ''
    rig.send_image('left', STAMP + 10**10, left)
    rig.send_image('right', STAMP + 10**10 + 5_000_000, right)
    assert rig.wait_for('disparity')[0].header == header(STAMP + 10**10)


def test_a_camera_that_dies_is_named_and_its_return_noticed(make_rig):
    rig = make_rig(parameters={'input_timeout': 0.5})
    rig.send_pair(STAMP)
    rig.wait_for('disparity')
    rig.wait_diagnostic(f'{rig.namespace}/right/image_rect is silent')
    rig.send_pair(STAMP + 1)
    rig.wait_for('disparity', 2)


def test_an_input_nobody_publishes_is_named(make_rig, monkeypatch):
    monkeypatch.setattr(doctor, 'PATIENCE', 0.5)
    rig = make_rig(parameters={'input_timeout': 0.5})
    rig.in_executor(rig.tester.destroy_publisher, rig.images['left'])
    rig.wait_diagnostic('nobody publishes it')


def test_wrong_calibrations_reach_diagnostics_without_any_image(make_rig):
    rig = make_rig(outputs=())
    rig.send_infos(left=camera_info('right'), right=camera_info('left'))
    rig.wait_diagnostic('left and right are swapped')
    rig.send_infos()
    rig.wait_until(lambda: 'nothing wrong' in rig.received['/diagnostics'][-1], 'the cure')


def test_qos_that_cannot_match_is_reported(make_rig):
    rig = make_rig(parameters={'qos_overrides./strict/left/image_rect.subscription.reliability':
                               'reliable'}, namespace='/strict', start='inactive')  # fmt: skip
    rig.in_executor(rig.node.trigger_activate)
    rig.wait_diagnostic('/strict/left/image_rect: the other side asks for another RELIABILITY')


def test_a_best_effort_subscriber_is_served(make_rig):
    best_effort = QoSProfile(depth=5, reliability=QoSReliabilityPolicy.BEST_EFFORT)
    rig = make_rig(output_qos=best_effort)
    rig.send_pair(STAMP)
    rig.wait_for('disparity')


def test_a_parameter_out_of_range_is_refused_and_the_old_one_kept(make_rig):
    rig = make_rig()
    assert 'range' in rig.set_parameters(confidence_threshold=1.5)
    assert rig.set_parameters(min_depth=5.0) == ''
    assert 'max_depth must be larger' in rig.set_parameters(max_depth=1.0)
    assert 'choose one of' in rig.set_parameters(model='unheard_of')
    assert rig.set_parameters(autostart=False) != ''
    rig.send_pair(STAMP)
    assert rig.wait_for('disparity')[0].max_disparity == 127
    old = rig.node.estimator
    assert rig.set_parameters(sgbm__num_disparities=64) == ''
    rig.wait_until(lambda: rig.node.estimator is not old, 'the new range')
    rig.send_pair(STAMP + 1)
    assert rig.wait_for('disparity', 2)[1].max_disparity == 63
