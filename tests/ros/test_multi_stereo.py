"""Several rigs that share engines: as if each were alone, and none disturbs another."""

from __future__ import annotations

import gc
import signal
import threading
import weakref

import numpy as np
import pytest

pytest.importorskip('nndepth.msg', reason='the workspace is not built and sourced')
pytest.importorskip('onnxruntime')

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.qos import QoSProfile
from rig import TIMEOUT, camera_info, shifted_pair
from test_lifecycle import Process

from nndepth_core.engines import create_engine
from nndepth_core.engines.shared import EnginePool, SharedEngine
from nndepth_ros.multi_stereo_node import MultiStereoNode
from nndepth_ros.rigs_node import namespaces

STAMP = 1_700_000_000_000_000_000
MODEL = 'nano_stereo'
SUCCESS = TransitionCallbackReturn.SUCCESS


class Pool(EnginePool):
    """Keeps weak references to the engines that it makes."""

    def __init__(self, **settings) -> None:
        super().__init__(create=self._made, **settings)
        self.engines: list[weakref.ref] = []

    def _made(self, *names, **options):
        engine = create_engine(*names, **options)
        self.engines.append(weakref.ref(engine))
        return engine

    @property
    def alive(self) -> list[str]:
        gc.collect()
        engines = [reference() for reference in self.engines]
        return [engine.spec.name for engine in engines if engine is not None]


@pytest.fixture
def make_rigs(make_rig):
    """Return a function that makes rigs on one pool, which it returns too."""

    def make(count: int, outputs=('disparity', 'stats'), **settings):
        pool = Pool(**settings)
        options = {'outputs': outputs, 'model': MODEL, 'make_engine': pool.take}
        return pool, [make_rig(**options) for _ in range(count)]

    return make


def pixels(message) -> np.ndarray:
    return np.frombuffer(message.image.data, np.float32).reshape(message.image.height, -1)


def answered(rig, count: int, shift: int = 8) -> np.ndarray:
    """Send the pair number `count` of a rig; return its disparity."""
    rig.send_pair(STAMP + count, shifted_pair(shift))
    return pixels(rig.wait_for('disparity', count)[count - 1])


@pytest.mark.parametrize('settings', [{}, {'batch': 3, 'window': 50.0}], ids=['single', 'batches'])
def test_rigs_that_share_an_engine_give_what_single_nodes_give(make_rig, make_rigs, settings):
    alone = make_rig(model=MODEL)
    shifts = (3, 7, 12)
    expected = [answered(alone, at, shift) for at, shift in enumerate(shifts, 1)]
    pool, rigs = make_rigs(3, **settings)
    for round_ in range(3):
        for rig, shift in zip(rigs, shifts, strict=True):
            rig.send_pair(STAMP + round_, shifted_pair(shift))
        for rig, disparity in zip(rigs, expected, strict=True):
            message = rig.wait_for('disparity', round_ + 1)[round_]
            np.testing.assert_allclose(pixels(message), disparity, atol=1e-3)
            assert rig.wait_for('stats', round_ + 1)[round_].model == f'{MODEL}-base'
    assert pool.alive == [MODEL]
    for disparity, shift in zip(expected, shifts, strict=True):
        assert abs(np.median(disparity) - shift) < 0.5


def test_one_rig_pauses_while_the_others_work(make_rigs):
    pool, (first, second) = make_rigs(2)
    assert first.in_executor(first.node.trigger_deactivate) is SUCCESS
    answered(second, 1)
    assert first.in_executor(first.node.trigger_cleanup) is SUCCESS
    answered(second, 2)
    for transition in ('configure', 'activate'):
        assert first.in_executor(getattr(first.node, f'trigger_{transition}')) is SUCCESS
    first.wait_connected()
    np.testing.assert_array_equal(answered(first, 1), answered(second, 3))
    assert len(pool.engines) == 1, 'the weights were still there'
    assert second.received['stats'][-1].failed == 0


def test_a_rig_changes_its_model_alone(make_rigs):
    pool, (first, second) = make_rigs(2)
    engine, before = second.node.estimator.engine, answered(second, 1)
    for count, (threads, models) in enumerate([(1, [MODEL, MODEL]), (0, [MODEL])], 1):
        old = first.node.estimator
        assert first.set_parameters(threads=threads) == ''
        first.wait_until(lambda old=old: first.node.estimator is not old, 'the new model')
        del old
        answered(first, count)
        assert pool.alive == models, f'threads {threads}'
    assert second.node.estimator.engine is engine
    np.testing.assert_array_equal(answered(second, 2), before)
    assert first.set_parameters(model='sgbm') == ''
    first.wait_until(lambda: first.node.describe().startswith('sgbm'), 'sgbm')
    assert not isinstance(first.node.estimator.engine, SharedEngine)
    answered(second, 3)


def test_the_engine_is_released_with_the_last_rig(make_rigs):
    pool, rigs = make_rigs(2, outputs=())
    for rig, left in zip(rigs, ([MODEL], []), strict=True):
        for transition in ('deactivate', 'cleanup'):
            assert rig.in_executor(getattr(rig.node, f'trigger_{transition}')) is SUCCESS
        assert pool.alive == left


def test_a_camera_that_dies_is_told_by_its_rig_only(make_rigs):
    _, (first, second) = make_rigs(2)
    for rig in (first, second):
        assert rig.set_parameters(input_timeout=0.5) == ''
        answered(rig, 1)
    for publisher in [*first.images.values(), *first.infos.values()]:
        first.tester.destroy_publisher(publisher)
    first.wait_diagnostic(f'{first.namespace}/left/image_rect')
    for count in range(2, 12):
        answered(second, count)
    assert second.received['stats'][-1].failed == 0
    said = ''.join(second.received['/diagnostics'])
    assert first.namespace not in said


def test_broken_images_fail_their_rig_only(make_rigs):
    _, (first, second) = make_rigs(2, batch=2, window=20.0)
    right = camera_info('right', width=80)
    first.send_infos(camera_info('left'), right)
    pair = shifted_pair()
    for count in range(1, 4):
        first.send_pair(STAMP + count, (pair[0], pair[1][:, :80].copy()), infos=False)
        answered(second, count)
    first.wait_until(lambda: first.node.failed, 'the failure')
    assert second.node.failed == 0
    assert 'disparity' not in first.received
    answered(first, 1)


# --- the process ---------------------------------------------------------------------------------


def test_names_become_namespaces():
    assert namespaces(['front', '/other/rear']) == ['/front', '/other/rear']
    assert namespaces(['front', 'a/b'], '/robot') == ['/robot/front', '/robot/a/b']


@pytest.mark.parametrize(
    ('names', 'says'),
    [
        ([''], r'rigs is empty; name them like rigs:="\[front, rear\]"'),
        ([], 'rigs is empty'),
        (['front', 'rear', 'front'], 'rigs names /front twice'),
        (['front', '/front'], 'rigs names /front twice'),
        (['front', ''], 'rigs has an empty name'),
        (['fro nt'], "the rig 'fro nt' is no namespace of ROS: .*characters"),
        (['1st'], "the rig '1st' is no namespace of ROS: .*number"),
        (['a//b'], "the rig 'a//b' is no namespace of ROS"),
        (['~/front'], 'is no namespace of ROS'),
    ],
)
def test_names_that_cannot_be_are_refused(names, says):
    with pytest.raises(ValueError, match=says):
        namespaces(names)


def run(*parameters: str, model: str = 'model:=sgbm') -> Process:
    return Process(*filter(None, (model, *parameters)), node='multi_stereo_node')


@pytest.mark.parametrize(
    ('parameters', 'says'),
    [
        ((), 'rigs is empty'),
        (('rigs:=[front, front]',), 'rigs names /front twice'),
        (('rigs:=[front, re-ar]',), "'re-ar' is no namespace of ROS"),
        (('rigs:=front',), 'rigs'),
        (('rigs:=[1, 2]',), 'rigs'),
        (('rigs:=[front]', 'batch:=65'), 'batch'),
        (('rigs:=[front]', 'batch_window:=-1.0'), 'batch_window'),
        (('rigs:=[front, rear]', 'output_size:=huge'), "/rear: output_size is 'huge'"),
    ],
)
def test_a_wrong_start_is_one_clear_message(parameters, says):
    process = run(*parameters)
    said, _ = process.process.communicate(timeout=30)
    assert process.process.returncode == 1
    assert says in said
    assert 'Traceback' not in said


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signals_end_all_rigs_cleanly(number):
    process = run('rigs:=[front, rear, left]', model='')
    said = [process.wait_line('active: nano_stereo') for _ in range(3)]
    assert {rig for rig in ('front', 'rear', 'left') if f'[{rig}.stereo_node]' in ''.join(said)}
    code, seconds, said = process.end(number)
    assert (code, 'Traceback' in said, 'terminate called' in said) == (0, False, False), said
    assert seconds < 3


def test_without_autostart_all_rigs_wait():
    process = run('rigs:=[front, rear]', 'autostart:=false')
    for _ in range(2):
        process.wait_line('waiting to be configured')
    assert process.end(signal.SIGTERM)[0] == 0


PARAMETERS = """
/**:
  ros__parameters:
    rigs: [front, rear, left, right]
    model: nano_stereo
    min_depth: 1.0
/robot/front/stereo_node:
  ros__parameters:
    max_depth: 5.0
/robot/rear/stereo_node:
  ros__parameters:
    output_size: huge
/robot/left/stereo_node:
  ros__parameters:
    model: absent.onnx
    min_depth: 2.0
"""


class User:
    """A node with four rigs, two of them wrong, in a namespace; and one that looks at it."""

    def __init__(self, ros, file) -> None:
        arguments = ['--ros-args', '-r', '__ns:=/robot', '--params-file', str(file)]
        self.context = ros.Context()
        ros.init(args=arguments, context=self.context)
        self.multi = MultiStereoNode(context=self.context)
        self.node = ros.create_node('user', context=self.context)
        self.said: dict[str, str] = {}
        self.heard = threading.Condition()
        self.node.create_subscription(
            DiagnosticArray, '/diagnostics', self._keep, QoSProfile(depth=50)
        )
        self.executor = SingleThreadedExecutor(context=self.context)
        for node in (self.multi, self.node):
            self.executor.add_node(node)
        self.spinner = threading.Thread(target=self.executor.spin)
        self.spinner.start()
        self.multi.start()

    def _keep(self, message) -> None:
        with self.heard:
            for status in message.status:
                values = ''.join(f'{pair.key}: {pair.value}\n' for pair in status.values)
                self.said[status.name] = f'{status.message}\n{values}'
            self.heard.notify_all()

    def wait(self, name: str, text: str) -> None:
        """Wait until a status says a text."""
        with self.heard:
            heard = self.heard.wait_for(lambda: text in self.said.get(name, ''), TIMEOUT)
            assert heard, self.said

    def change(self, rig: str, number: int) -> bool:
        """Ask a rig for a transition, as `ros2 lifecycle set` does."""
        client = self.node.create_client(ChangeState, f'{rig}/stereo_node/change_state')
        assert client.wait_for_service(TIMEOUT)
        done = threading.Event()
        future = client.call_async(ChangeState.Request(transition=Transition(id=number)))
        future.add_done_callback(lambda _: done.set())
        assert done.wait(TIMEOUT)
        return future.result().success

    def close(self) -> None:
        self.executor.shutdown()
        self.spinner.join()
        assert self.multi.stop(TIMEOUT)
        self.multi.destroy_node()
        self.node.destroy_node()
        self.context.try_shutdown()


@pytest.fixture
def user(ros, tmp_path):
    file = tmp_path / 'rigs.yaml'
    file.write_text(PARAMETERS)
    made = User(ros, file)
    yield made
    made.close()


def test_each_rig_has_parameters_states_and_findings_of_its_own(user):
    rigs = {rig.node.get_namespace(): rig.node for rig in user.multi.rigs}
    assert set(rigs) == {'/robot/front', '/robot/left', '/robot/right'}
    assert {node.get_name() for node in rigs.values()} == {'stereo_node'}
    limits = {
        name: (node.get_parameter('min_depth').value, node.get_parameter('max_depth').value)
        for name, node in rigs.items()
    }
    assert limits == {
        '/robot/front': (1.0, 5.0),
        '/robot/left': (2.0, 0.0),
        '/robot/right': (1.0, 0.0),
    }
    refused = "/robot/rear: output_size is 'huge'"
    user.wait('/robot/multi_stereo_node: doctor', refused)
    user.wait('/robot/left/stereo_node: doctor', 'cannot configure: absent.onnx does not exist')
    for name in ('/robot/front', '/robot/right'):
        user.wait(f'{name}/stereo_node: inference', 'idle: nobody subscribes')
    front, right = (rigs[f'/robot/{name}'].estimator.engine for name in ('front', 'right'))
    assert front is not right
    assert front._queue is right._queue

    assert user.change('/robot/front', Transition.TRANSITION_DEACTIVATE)
    user.wait('/robot/front/stereo_node: inference', 'not active')
    assert rigs['/robot/right'].active
    assert not user.change('/robot/left', Transition.TRANSITION_ACTIVATE)
    assert user.change('/robot/front', Transition.TRANSITION_ACTIVATE)
    user.wait('/robot/front/stereo_node: inference', 'idle')
    refused = {f'{place}/{name}' for name, place in user.node.get_node_names_and_namespaces()}
    assert '/robot/rear/stereo_node' not in refused


def test_a_rig_that_loads_holds_up_no_other(user, hold):
    right = next(rig.node for rig in user.multi.rigs if rig.node.get_namespace().endswith('right'))
    user.wait('/robot/right/stereo_node: inference', 'idle')
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP):
        assert user.change('/robot/right', transition)
    called, go_on = hold(right, 'make_estimator')
    asking = threading.Thread(
        target=user.change, args=('/robot/right', Transition.TRANSITION_CONFIGURE)
    )
    asking.start()
    assert called.wait(TIMEOUT)
    assert user.change('/robot/front', Transition.TRANSITION_DEACTIVATE)
    go_on.set()
    asking.join(TIMEOUT)
    assert not asking.is_alive()
