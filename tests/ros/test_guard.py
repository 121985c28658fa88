"""No exception ends the node, and each one is told in the log and in /diagnostics."""

from __future__ import annotations

import itertools
import threading
from types import SimpleNamespace

import bags
import numpy as np
import pytest

pytest.importorskip('nndepth.msg', reason='the workspace is not built and sourced')
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from rig import HEIGHT, WIDTH, camera_info, header, shifted_pair
from sensor_msgs.msg import CameraInfo
from test_lifecycle import Process

from nndepth_core.plausibility import Finding, Level
from nndepth_ros import doctor
from nndepth_ros.depth_node import age_ms
from nndepth_ros.log import NodeLog

STAMP = 1_700_000_000_000_000_000
LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


def works(rig, stamp=STAMP + 10**9) -> None:
    """A good pair comes out."""
    count = len(rig.received['disparity'])
    rig.send_pair(stamp)
    rig.wait_for('disparity', count + 1)


def capture(rig) -> list[str]:
    """What the node says from now on, past the limiter."""
    said: list[str] = []
    logger = SimpleNamespace(error=said.append, warning=said.append, info=said.append)
    rig.node.log = NodeLog(logger)
    return said


def broken(*_):
    raise ZeroDivisionError('nobody thought of this')


def test_findings_of_every_severity_in_every_order(make_rig):
    """Rclpy refuses a second severity from one line of code, which once ended the process."""
    rig = make_rig()
    for number, order in enumerate(itertools.permutations(Level)):
        for level in order:
            found = [Finding(f'{number} {level.name}', level, f'finding {number} {level.name}')]
            rig.in_executor(rig.node.record, 'order', found)
    works(rig)


def test_a_camera_with_distortion_that_pauses(make_rig):
    """A warning of the calibration, then an error of the silence, in one process."""
    rig = make_rig(parameters={'input_timeout': 0.5})
    infos = [camera_info(side, d=[0.1, 0.0, 0.0, 0.0, 0.0]) for side in ('left', 'right')]
    rig.send_infos(*infos, stamp_ns=STAMP)
    rig.send_pair(STAMP, infos=False)
    rig.wait_for('disparity')
    rig.wait_diagnostic('is silent')
    assert any('has distortion' in said for said in rig.received['/diagnostics'])
    works(rig)


@pytest.mark.parametrize(
    ('name', 'says'),
    [
        ('examine', 'diagnostics: ZeroDivisionError'),
        ('statuses', 'diagnostics: ZeroDivisionError'),
        ('_on_info', 'camera_info: ZeroDivisionError'),
        ('_on_image', 'image_rect: ZeroDivisionError'),
    ],
)
def test_a_callback_that_raises(make_rig, monkeypatch, name, says):
    rig = make_rig(start='inactive')
    with monkeypatch.context() as patch:
        patch.setattr(rig.node, name, broken)
        rig.in_executor(rig.node.trigger_activate)
        rig.wait_connected()
        rig.send_pair(STAMP)
        rig.wait_diagnostic(says)
    rig.in_executor(rig.node.trigger_deactivate)
    rig.in_executor(rig.node.trigger_activate)
    rig.wait_connected()
    works(rig)


def test_an_activation_that_raises_leaves_the_node_inactive(make_rig, monkeypatch):
    rig = make_rig(start='inactive')
    with monkeypatch.context() as patch:
        patch.setattr(rig.node, 'update_inputs', broken)
        assert rig.in_executor(rig.node.trigger_activate) is FAILURE
        rig.wait_diagnostic('cannot activate: ZeroDivisionError')
    assert rig.in_executor(rig.node.trigger_activate) is SUCCESS
    rig.wait_connected()
    works(rig)


def test_the_process_survives_a_broken_timer_and_tells(make_rig, monkeypatch):
    rig = make_rig()
    monkeypatch.setattr(rig.node, 'statuses', broken)
    rig.wait_diagnostic('diagnostics: ZeroDivisionError: nobody thought of this')
    monkeypatch.undo()
    rig.received['/diagnostics'].clear()
    rig.wait_diagnostic('running')
    works(rig)


def ask_to_configure(rig) -> bool:
    """As `ros2 lifecycle set` does; return whether the node says that it did."""
    name = f'{rig.namespace}/stereo_node/change_state'
    client = rig.tester.create_client(ChangeState, name)
    rig.wait_until(client.service_is_ready, 'the service')
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
    return rig.wait_future(client.call_async(request)).success


def test_a_transition_that_is_not_possible_is_refused(make_rig):
    rig = make_rig()
    log = capture(rig)
    for _ in range(100):
        assert ask_to_configure(rig) is False
    assert len(log) == 1
    assert 'transition 1 is refused' in log[0]
    works(rig)


def test_parameters_whose_check_raises_are_refused(make_rig, monkeypatch):
    rig = make_rig()
    monkeypatch.setattr(rig.node, 'read_config', broken)
    assert 'nobody thought of this' in rig.set_parameters(max_depth=3.0)
    monkeypatch.undo()
    assert rig.set_parameters(max_depth=30.0) == ''
    works(rig)


def test_a_model_that_fails_oddly_at_start_says_why(make_rig, monkeypatch):
    rig = make_rig(start='unconfigured')
    with monkeypatch.context() as patch:
        patch.setattr(rig.node, 'make_estimator', broken)
        assert rig.in_executor(rig.node.trigger_configure) is FAILURE
        rig.wait_diagnostic('cannot configure: ZeroDivisionError: nobody thought of this')
    rig.in_executor(rig.node.autostart)
    rig.wait_connected()
    works(rig)
    rig.received['/diagnostics'].clear()
    rig.wait_diagnostic('nothing wrong')


def test_a_model_that_fails_oddly_while_running_does_not_stop_later_changes(make_rig, monkeypatch):
    rig = make_rig()
    assert rig.set_parameters(max_depth=30.0) == ''
    old = rig.node.estimator
    with monkeypatch.context() as patch:
        patch.setattr(rig.node, 'make_estimator', broken)
        assert rig.set_parameters(sgbm__num_disparities=64) == ''
        rig.wait_diagnostic('ZeroDivisionError: nobody thought of this; sgbm')
        rig.wait_until(lambda: rig.node.config.model.sgbm.num_disparities == 128, 'the old one')
    assert rig.node.get_parameter('max_depth').value == 30.0
    assert rig.set_parameters(sgbm__num_disparities=32) == ''
    rig.wait_until(lambda: rig.node.estimator is not old, 'the next model')
    works(rig)


@pytest.mark.parametrize(
    ('policy', 'value', 'says'),
    [
        ('reliability', 'bogus', "is 'bogus'; choose one of auto, best_effort, reliable"),
        ('durability', 'bogus', "is 'bogus'; choose one of auto, volatile"),
        ('depth', '-3', 'depth is -3; give 1 to'),
    ],
)
def test_an_impossible_qos_override_is_told(policy, value, says):
    name = f'qos_overrides./left/image_rect.subscription.{policy}'
    process = Process(f'{name}:={value}')
    assert says in process.wait_line('cannot activate')
    process.process.terminate()
    assert process.process.wait(20) == 0


def test_a_refused_model_is_forgotten_when_the_old_one_is_asked_for(make_rig):
    rig = make_rig(parameters={'input_timeout': 3600.0})
    log = capture(rig)
    for name in ('/nowhere/a.onnx', '/nowhere/b.onnx', '/nowhere/c.onnx', '/nowhere/d.onnx'):
        assert rig.set_parameters(model=name) == ''
        rig.wait_until(lambda n=name: any(n in said for said in log), [name, log])
        rig.wait_until(lambda: rig.node.config.model.model == bags.MODEL, 'the old one')
    rig.wait_diagnostic('/nowhere/d.onnx')
    assert rig.set_parameters(model=bags.MODEL) == ''
    rig.received['/diagnostics'].clear()
    rig.wait_diagnostic('nothing wrong')


def test_pairs_that_no_longer_match_are_told(make_rig):
    """A driver that loses its synchronisation after it worked."""
    rig = make_rig(parameters={'input_timeout': 3600.0})
    works(rig)
    rig.wait_diagnostic('running')
    left, right = shifted_pair()
    for frame in range(12):
        stamp = STAMP + 10**10 + frame * 100_000_000
        rig.send_image('left', stamp, left)
        rig.send_image('right', stamp + 40_000_000, right)
        counts = rig.node.synchronizer.counts
        rig.wait_until(lambda n=frame + 2, c=counts: c.received_right >= n, counts)
    rig.wait_diagnostic('right minus left is +40.000 ms')
    rig.received['/diagnostics'].clear()
    works(rig, STAMP + 10**11)
    rig.wait_diagnostic('nothing wrong')


def test_pairs_that_all_fail_are_a_finding_until_they_pass(make_rig):
    rig = make_rig(parameters={'input_timeout': 3600.0})
    rig.send_infos(stamp_ns=STAMP)
    left, _ = shifted_pair()
    for number in range(5):
        rig.send_image('left', STAMP + number, left)
        rig.send_image('right', STAMP + number, left[:-8].copy())
        rig.wait_until(lambda n=number: rig.node.failed > n, 'the failure')
    rig.wait_diagnostic('right 160x88; the images of a pair must have one size (5 times)')
    works(rig)
    rig.received['/diagnostics'].clear()
    rig.wait_diagnostic('nothing wrong')


def test_a_flapping_calibration_does_not_fill_the_log(make_rig, capfd):
    rig = make_rig(outputs=())
    for frame in range(100):
        infos = [camera_info(side, d=[0.1 * (frame % 2)] * 5) for side in ('left', 'right')]
        rig.in_executor(rig.node._on_info, 'left', infos[0])
        rig.in_executor(rig.node._on_info, 'right', infos[1])
        rig.in_executor(rig.node.examine)
    said = [line for line in ''.join(capfd.readouterr()).splitlines() if 'distortion' in line]
    assert 1 <= len(said) <= 12  # a few of each kind, not 190


def latched_infos(rig) -> list:
    """Publish camera_info once, as drivers of static calibrations do."""
    publishers = []
    for side in ('left', 'right'):
        topic = f'{side}/camera_info'
        publishers.append(rig.tester.create_publisher(CameraInfo, topic, LATCHED))
        publishers[-1].publish(camera_info(side))
    return publishers


@pytest.mark.parametrize('start', ['inactive', 'active'])
def test_camera_info_published_once_is_enough(make_rig, start):
    rig = make_rig(start=start, parameters={'input_timeout': 0.5})
    for publisher in rig.infos.values():
        rig.in_executor(rig.tester.destroy_publisher, publisher)
    rig.infos = {}
    rig.wait_until(lambda: not rig.node.count_publishers(rig.node.info_topics['left']), 'removal')
    publishers = rig.in_executor(latched_infos, rig)
    rig.infos = dict(enumerate(publishers))
    if start == 'inactive':
        rig.in_executor(rig.node.trigger_activate)
    rig.wait_connected()
    rig.wait_until(lambda: rig.node.pipeline.calibration is not None, 'camera_info')
    rig.send_pair(STAMP, infos=False)
    rig.wait_for('disparity')
    rig.received['/diagnostics'].clear()
    rig.wait_diagnostic('image_rect is silent')  # the images are, and the calibration is not
    assert not any('camera_info is silent' in said for said in rig.received['/diagnostics'])


def test_a_twin_is_named(make_rig):
    rig = make_rig()
    twin = make_rig(namespace=rig.namespace, outputs=())
    rig.wait_diagnostic('another node of the same name publishes')
    twin.in_executor(twin.node.trigger_deactivate)
    works(rig)


def test_a_pair_that_takes_long_is_told_while_it_does(make_rig, monkeypatch):
    monkeypatch.setattr(doctor, 'LONG_WORK', 0.3)
    rig, go_on = make_rig(), threading.Event()
    process = rig.node.process

    def slow(deposited, item):
        assert go_on.wait(20)
        process(deposited, item)

    monkeypatch.setattr(rig.node, 'process', slow)
    rig.send_pair(STAMP)
    rig.wait_diagnostic('one pair has been in work for more than 0.3 s')
    go_on.set()
    rig.wait_for('disparity')


def test_deactivation_leaves_a_pair_behind_that_takes_too_long(make_rig, monkeypatch):
    monkeypatch.setattr(doctor, 'LONG_WORK', 0.1)
    rig, begun, go_on = make_rig(), threading.Event(), threading.Event()
    process = rig.node.process

    def slow(deposited, item):
        begun.set()
        assert go_on.wait(20)
        process(deposited, item)

    with monkeypatch.context() as patch:
        patch.setattr(rig.node, 'process', slow)
        rig.send_pair(STAMP)
        assert begun.wait(20)
        worker = rig.node._worker
        assert rig.in_executor(rig.node.trigger_deactivate) is SUCCESS
    assert rig.in_executor(rig.node.trigger_activate) is SUCCESS
    rig.wait_connected()
    go_on.set()
    worker.join(20)
    works(rig)
    assert [message.header for message in rig.received['disparity']] == [header(STAMP + 10**9)]


def test_a_failure_on_the_way_out_is_none(make_rig, monkeypatch, capfd):
    rig, begun, go_on = make_rig(), threading.Event(), threading.Event()

    def late(*_):
        begun.set()
        assert go_on.wait(20)
        raise RuntimeError('cannot use Destroyable because destruction was requested')

    monkeypatch.setattr(rig.node, 'process', late)
    rig.send_pair(STAMP)
    assert begun.wait(20)
    worker = rig.node._worker
    assert rig.in_executor(rig.node.stop, 0.01) is False
    go_on.set()
    worker.join(20)
    assert 'Destroyable' not in ''.join(capfd.readouterr())
    assert rig.node.failed == 0


def test_the_age_is_unknown_before_the_clock_starts():
    assert np.isnan(age_ms(0, STAMP))
    assert np.isnan(age_ms(STAMP, 0))
    assert age_ms(STAMP + 5_000_000, STAMP) == 5.0


def test_everything_at_once_in_one_process(make_rig):
    """Faults of all kinds in turns: the node lives, tells each of them, and works afterwards."""
    rig = make_rig(parameters={'input_timeout': 0.5})
    good, tall = shifted_pair(), shifted_pair(height=HEIGHT + 8)
    strange = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    odd_infos = [
        {'d': [0.1] * 5},
        {'p': [0.0] * 12},
        {'width': 320},
        {'p': [float('nan')] * 12},
        {},
    ]
    for number, changes in enumerate(odd_infos * 3):
        rig.send_infos(camera_info('left', **changes), camera_info('right', **changes))
        rig.send_pair(STAMP + 10 * number, (good[0], strange), infos=False)
        rig.send_pair(STAMP + 10 * number + 1, tall, infos=False)
        rig.send_pair(STAMP + 10 * number + 2, (tall[0], good[1]), infos=False)
        rig.set_parameters(sgbm__num_disparities=16 * (1 + number % 4), max_depth=-1.0)
        rig.set_parameters(model='/nowhere.onnx' if number % 2 else bags.MODEL)
    assert ask_to_configure(rig) is False
    rig.set_parameters(model=bags.MODEL)
    rig.wait_until(lambda: not rig.node._loads, 'the last model')
    rig.wait_diagnostic('camera_info')
    rig.send_infos()
    works(rig)
