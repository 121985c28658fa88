"""States, and the process: it starts by itself, fails cleanly and ends in time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import bags
import pytest

pytest.importorskip('nndepth.msg', reason='the workspace is not built and sourced')
from rclpy.lifecycle import TransitionCallbackReturn
from rig import Rig
from tiny_networks import write_network

from nndepth_ros.process import run_node

STAMP = 1_700_000_000_000_000_000
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


def test_a_model_that_cannot_be_loaded_fails_configure_and_can_be_tried_again(make_rig):
    rig = make_rig(model='/nowhere/model.onnx', start='unconfigured')
    assert rig.in_executor(rig.node.trigger_configure) is FAILURE
    assert rig.set_parameters(model=bags.MODEL) == ''
    assert rig.in_executor(rig.node.trigger_configure) is SUCCESS
    assert rig.in_executor(rig.node.trigger_activate) is SUCCESS
    rig.wait_connected()
    rig.send_pair(STAMP)
    rig.wait_for('disparity')


def test_deactivate_stops_listening_and_activate_starts_afresh(make_rig):
    rig = make_rig(outputs=('disparity', 'stats'))
    rig.send_pair(STAMP)
    assert rig.wait_for('stats')[0].paired == 1
    assert rig.in_executor(rig.node.trigger_deactivate) is SUCCESS
    rig.wait_until(lambda: not rig.images['left'].get_subscription_count(), 'unsubscription')
    rig.wait_diagnostic('not active')
    assert rig.in_executor(rig.node.trigger_activate) is SUCCESS
    rig.wait_connected()
    rig.send_pair(STAMP + 1)
    assert rig.wait_for('stats', 2)[1].paired == 1


def test_cleanup_and_configure_again(make_rig):
    rig = make_rig()
    for transition in ('deactivate', 'cleanup', 'configure', 'activate'):
        assert rig.in_executor(getattr(rig.node, f'trigger_{transition}')) is SUCCESS, transition
    rig.wait_connected()
    rig.send_pair(STAMP)
    rig.wait_for('disparity')


def test_a_node_may_end_while_a_model_loads(ros, monkeypatch):
    rig, ended, said = Rig(), threading.Event(), []
    make_estimator = rig.node.make_estimator

    def load_late(config):
        assert ended.wait(20)
        return make_estimator(config)

    monkeypatch.setattr(rig.node, 'make_estimator', load_late)
    monkeypatch.setattr(threading, 'excepthook', said.append)
    assert rig.set_parameters(sgbm__num_disparities=64) == ''
    rig.wait_until(lambda: rig.node.loading, 'the load')
    (loader,) = (thread for thread in threading.enumerate() if thread.name == 'loader')
    rig.close()
    ended.set()
    loader.join()
    assert said == []


class Process:
    """The executable of a node, its output read line by line."""

    def __init__(self, *parameters: str, node: str = 'stereo_node', code: str = '') -> None:
        if node == 'stereo_node':
            parameters = (f'model:={bags.MODEL}', *parameters)
        arguments = [part for parameter in parameters for part in ('-p', parameter)]
        program = ['-m', f'nndepth_ros.{node}', '--ros-args', *arguments]
        self.process = subprocess.Popen(
            [sys.executable, *(['-c', code] if code else program)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, 'PYTHONUNBUFFERED': '1'},
        )

    def wait_line(self, text: str) -> str:
        # A process that hangs without a word must not hang the tests.
        watchdog = threading.Timer(20, self.process.kill)
        watchdog.start()
        try:
            return next(line for line in self.process.stdout if text in line)
        except StopIteration:
            raise AssertionError(f'ended without saying {text!r}') from None
        finally:
            watchdog.cancel()

    def end(self, number: int) -> tuple[int, float, str]:
        """Send a signal; return exit code, seconds until the end, and what was said meanwhile."""
        start = time.monotonic()
        self.process.send_signal(number)
        said, _ = self.process.communicate(timeout=20)
        return self.process.returncode, time.monotonic() - start, said


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signals_end_the_process_cleanly(number):
    process = Process()
    process.wait_line(f'active: {bags.MODEL}')
    code, seconds, said = process.end(number)
    assert code == 0
    assert 'Traceback' not in said
    assert 'terminate called' not in said
    assert seconds < 2


_SLOW_LOADS = """
import sys, time
from rclpy.parameter import Parameter
from nndepth_ros.stereo_node import StereoNode, main
quick, loads = StereoNode.make_estimator, []
def slow(node, config):
    loads.append(config)
    if len(loads) > {quick}:
        print('it loads', flush=True)
        time.sleep(30)
    return quick(node, config)
def change(node):
    node.set_parameters([Parameter('sgbm.num_disparities', value=64)])
activate = StereoNode.activate
def activate_and_change(node):
    activate(node)
    timer = node.create_timer(0.1, lambda: (timer.cancel(), change(node)))
StereoNode.make_estimator, StereoNode.activate = slow, activate_and_change
sys.exit(main(['--ros-args', '-p', 'model:=sgbm']))
"""


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('quick', [0, 1], ids=['at the start', 'while it runs'])
def test_signals_end_a_process_that_loads_a_model(number, quick):
    process = Process(code=_SLOW_LOADS.replace('{quick}', str(quick)))
    process.wait_line('it loads')
    code, seconds, said = process.end(number)
    assert (code, 'Traceback' in said) == (0, False), said
    assert seconds < 5


def test_two_interrupts_end_the_process_cleanly():
    """`ros2 launch` passes Ctrl-C on to a node that got it already."""
    process = Process()
    process.wait_line(f'active: {bags.MODEL}')
    process.process.send_signal(signal.SIGINT)
    code, _, said = process.end(signal.SIGINT)
    assert (code, 'Traceback' in said) == (0, False)


def test_without_autostart_the_process_waits_unconfigured():
    process = Process('autostart:=false')
    process.wait_line('waiting to be configured')
    assert process.end(signal.SIGTERM)[0] == 0


@pytest.mark.parametrize(
    ('parameter', 'says'),
    [
        ('confidence_threshold:=2.0', 'confidence_threshold'),
        ('output_size:=huge', "output_size is 'huge'"),
        ('max_depth:=20', 'max_depth'),
        ('sgbm.num_disparities:=50', 'num_disparities'),
        ('target_rate:=fast', "target_rate is 'fast'; give 0.1..240 Hz, auto for the rate of"),
        ('target_rate:=-3', 'target_rate is -3; give'),
        ('target_rate:=.nan', 'target_rate is nan; give'),
    ],
)
def test_a_wrong_parameter_at_start_is_one_clear_message(parameter, says):
    process = Process(parameter)
    said, _ = process.process.communicate(timeout=20)
    assert process.process.returncode == 1
    assert says in said
    assert 'Traceback' not in said


@pytest.mark.parametrize('value', ['10', '7.5', 'auto', '0'])
def test_a_rate_at_start_is_a_number_or_a_word(value):
    process = Process(f'target_rate:={value}')
    process.wait_line(f'active: {bags.MODEL}')
    assert process.end(signal.SIGTERM)[0] == 0


def test_a_model_that_cannot_be_loaded_leaves_the_process_waiting():
    process = Process('model:=/nowhere/model.onnx')
    assert '/nowhere/model.onnx' in process.wait_line('cannot configure')
    assert process.end(signal.SIGTERM)[0] == 0


def test_weights_for_commercial_use_only(tmp_path):
    for license, line in (
        (None, 'commercial_only asks for weights whose licence allows commercial use, and none'),
        ('CC-BY-NC-4.0', 'CC-BY-NC-4.0 forbids it; choose what'),
        ('MIT', 'active: tiny'),
    ):
        file = write_network(tmp_path / 'tiny.onnx', license)
        process = Process(f'model:={file}', 'commercial_only:=true', node='mono_node')
        process.wait_line(line)
        assert process.end(signal.SIGTERM)[0] == 0


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_node_is_made_is_no_failure(number):
    code = f"""
import os, signal, sys
from nndepth_ros import process as runner
def make():
    os.kill(os.getpid(), {int(number)})
    while runner.rclpy.ok():
        pass
    from rclpy.node import Node
    Node('late')
sys.exit(runner.run_node(make, []))
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')


@pytest.mark.parametrize('chosen', [None, 'SYNCHRONOUS'])
def test_outputs_are_sent_by_a_thread_unless_the_user_says_otherwise(ros, monkeypatch, chosen):
    name = 'RMW_FASTRTPS_PUBLICATION_MODE'
    monkeypatch.setenv(name, '')
    if chosen is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, chosen)
    assert run_node(None, ['--ros-args', '-r', 'no rule']) == 1  # after the environment is set
    assert os.environ[name] == (chosen or 'ASYNCHRONOUS')


def test_a_mono_node_without_a_model_says_what_to_do_and_waits_for_it():
    process = Process(node='mono_node')
    said = process.wait_line('cannot configure: model is auto')
    assert '`nndepth weights fetch midas_small`' in said
    code, _, said = process.end(signal.SIGINT)
    assert (code, 'Traceback' in said) == (0, False)
