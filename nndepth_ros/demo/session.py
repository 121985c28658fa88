"""One run of the demo: plays the sequence to a node in its own process and records its outputs."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import struct
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import rclpy
from ament_index_python.packages import get_package_prefix, get_package_share_directory
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions
from rosbags.typesys import get_types_from_msg
from sensor_msgs.msg import CameraInfo, Image
from tqdm import tqdm

from nndepth_ros.bag import TYPES, Record
from nndepth_ros.bag_writer import BagWriter
from nndepth_ros.demo import DemoError
from nndepth_ros.demo.sequence import INPUTS, NAMESPACE, read_inputs
from nndepth_ros.outputs import STATS, STEREO_OUTPUTS, USUAL_OUTPUTS
from nndepth_ros.publishers import message_classes

PACKAGE = 'nndepth'
Frame = dict[str, bytes | memoryview]  # serialised message by topic
OUTPUTS = message_classes({topic: STEREO_OUTPUTS[topic] for topic in USUAL_OUTPUTS})
PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
_STAMP = struct.Struct('<iI')  # every message begins with a header, which begins with its stamp,
_STAMP_OFFSET = 4  # after the four bytes that name the encoding (CDR, little endian)
_ALIKE = 40
"""So many results in a row at one processing size, and the node has found its size."""
_LONGEST_SEARCH = 60.0
_LAST_OUTPUT_TIMEOUT = 10.0
_STOP_TIMEOUT = 15.0


def prepare_environment(log_folder: Path, domain: int | None = None) -> None:
    """Prepare this process and that of the node: a domain of their own and large DDS buffers."""
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    os.environ['ROS_DOMAIN_ID'] = str(1 + os.getpid() % 100 if domain is None else domain)
    os.environ.setdefault('ROS_LOG_DIR', str(log_folder.resolve()))
    if not any(name in os.environ for name in PROFILE_VARIABLES):
        profile = Path(get_package_share_directory(PACKAGE)) / 'config' / 'fastdds.xml'
        os.environ.update(dict.fromkeys(PROFILE_VARIABLES, str(profile)))


@contextmanager
def node_process(
    executable: str, namespace: str, parameters: list[str], log: Path
) -> Iterator[subprocess.Popen]:
    """Run a node; at the end, stop it by SIGTERM and check that it ends cleanly.

    Args:
        executable: its name, such as 'stereo_node'.
        namespace: its namespace.
        parameters: parameters of the node, each as 'name:=value'.
        log: the file for what the node prints.
    """
    program = Path(get_package_prefix(PACKAGE)) / 'lib' / PACKAGE / executable
    command = [str(program), '--ros-args', '-r', f'__ns:={namespace}']
    for parameter in parameters:
        command += ['-p', parameter]
    with log.open('w') as printed:
        process = subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT)
    try:
        yield process
        process.terminate()
        code = process.wait(_STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        raise DemoError(
            f'{executable} did not end within {_STOP_TIMEOUT:.0f} s of SIGTERM; {_last_words(log)}'
        ) from None
    finally:
        process.kill()
        process.wait()
    if code != 0:
        raise DemoError(f'{executable} ended with code {code} on SIGTERM; {_last_words(log)}')


stereo_node = partial(node_process, 'stereo_node', NAMESPACE)
"""Runs the node of the demo: takes its parameters and the file of its log."""


def play(
    sequence: Path,
    output: Path,
    parameters: list[str],
    log: Path,
    timeout: float,
) -> list[int]:
    """Play a sequence to a node in real time and record all that it publishes.

    The frames get new stamps, as from a camera, so that ages and latencies are real.

    Args:
        sequence: the bag of the camera topics.
        output: the bag to write; an old one is replaced.
        parameters: parameters of the node, each as 'name:=value'.
        log: the file for what the node prints.
        timeout: seconds until the first output, in which the model is loaded.

    Returns:
        The new stamps of the frames in nanoseconds.

    Raises:
        DemoError: the node gives nothing, or does not end cleanly.
    """
    shutil.rmtree(output, ignore_errors=True)
    _register_stats()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # the caller has its own
    try:
        with (
            BagWriter(output) as bag,
            stereo_node(parameters, log) as process,
        ):
            player = _Player(bag, process, log)
            try:
                frames = list(read_inputs(sequence))
                player.wait_for_output(frames[0][1], timeout)
                player.settle(frames)
                return player.play(frames)
            finally:
                player.close()
    finally:
        rclpy.try_shutdown()


def _last_words(log: Path) -> str:
    """The last line that the node printed."""
    lines = log.read_text().splitlines() or ['it printed nothing']
    return f'the last line of {log}: {lines[-1]}'


def _refusal(log: Path) -> str:
    """What the node says if it cannot be configured or activated, for which it waits on."""
    found = re.search(r'\bcannot (configure|activate): .*', log.read_text())
    return found[0] if found else ''


def _register_stats() -> None:
    """Register the package's own message with the rosbags library."""
    definition = Path(get_package_share_directory(PACKAGE)) / 'msg' / 'InferenceStats.msg'
    TYPES.register(get_types_from_msg(definition.read_text(), f'{PACKAGE}/msg/InferenceStats'))


def read_stamp(data: bytes) -> int:
    """Read the stamp in nanoseconds of a serialised message that begins with a header."""
    seconds, nanoseconds = _STAMP.unpack_from(data, _STAMP_OFFSET)
    return seconds * 1_000_000_000 + nanoseconds


def with_stamp(data: bytes | memoryview, stamp: int) -> bytes:
    """Give a serialised message another stamp, in nanoseconds."""
    packed = _STAMP.pack(*divmod(stamp, 1_000_000_000))
    return b''.join((data[:_STAMP_OFFSET], packed, data[_STAMP_OFFSET + len(packed) :]))


class _Player:
    """Camera and recorder in one ROS node, which is spun between the frames."""

    def __init__(self, bag: BagWriter, process: subprocess.Popen, log: Path) -> None:
        self._bag, self._process, self._log = bag, process, log
        self._newest: dict[str, int] = {}
        self._sizes: deque[tuple[int, int]] = deque(maxlen=_ALIKE)
        self._start: int | None = None
        self._node = rclpy.create_node('demo', namespace=NAMESPACE)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._publishers = {
            topic: self._node.create_publisher(
                Image if topic.endswith('image_rect') else CameraInfo,
                topic,
                qos_profile_sensor_data,
            )
            for topic in INPUTS
        }
        for name, kind in OUTPUTS.items():
            self._node.create_subscription(
                kind, name, partial(self._keep, name), QoSProfile(depth=10), raw=True
            )

    def wait_for_output(self, frame: Frame, timeout: float) -> None:
        """Publish one frame until every output has come once: all is found, loaded and warm."""
        deadline = time.monotonic() + timeout
        while len(self._newest) < len(OUTPUTS):
            if time.monotonic() > deadline:
                missing = ', '.join(sorted(set(OUTPUTS) - set(self._newest)))
                raise DemoError(
                    f'nothing came on {missing} within {timeout:.0f} s; {_last_words(self._log)}'
                )
            if all(publisher.get_subscription_count() for publisher in self._publishers.values()):
                self._publish(frame)
            self._spin(time.monotonic() + 0.2, lambda: len(self._newest) == len(OUTPUTS))
            if refusal := _refusal(self._log):
                raise DemoError(f'stereo_node {refusal}')

    def settle(self, frames: list[tuple[int, Frame]]) -> None:
        """Publish the frames at their pace, again and again, until the node keeps to one size."""
        period = (frames[-1][0] - frames[0][0]) // max(1, len(frames) - 1)
        begin, start = time.monotonic(), time.time_ns()
        for number, (_, frame) in enumerate(itertools.cycle(frames)):
            passed = number * period * 1e-9
            if (len(self._sizes) == _ALIKE and len({*self._sizes}) == 1) or (
                passed > _LONGEST_SEARCH
            ):
                break
            self._spin(begin + passed)
            self._publish(frame, start + number * period)

    def play(self, frames: list[tuple[int, Frame]]) -> list[int]:
        """Publish the frames at their pace, then wait for the outputs of the last one."""
        stamps: list[int] = []
        begin, first = time.monotonic(), frames[0][0]
        start = self._start = time.time_ns()
        for recorded, frame in tqdm(frames, 'playing', unit='pair'):
            self._spin(begin + (recorded - first) * 1e-9)
            stamps.append(self._publish(frame, start + recorded - first))
        self._spin(
            time.monotonic() + _LAST_OUTPUT_TIMEOUT,
            lambda: set(self._newest.values()) == {stamps[-1]},
        )
        if self._newest['disparity'] < stamps[0]:
            raise DemoError(
                f'no disparity came for any of the {len(stamps)} pairs; {_last_words(self._log)}'
            )
        return stamps

    def close(self) -> None:
        """Leave the ROS graph."""
        self._executor.shutdown()
        self._node.destroy_node()

    def _publish(self, frame: Frame, stamp: int = 0) -> int:
        """Publish a frame with the time it was due as its stamp, or the present; return it."""
        stamp = stamp or time.time_ns()
        for topic, data in frame.items():
            self._publishers[topic].publish(with_stamp(data, stamp))
        return stamp

    def _keep(self, name: str, data: bytes) -> None:
        """Record an output with the time of its reception."""
        received = time.time_ns()
        stamp = read_stamp(data)
        self._newest[name] = stamp
        if name == STATS:
            stats = deserialize_message(data, OUTPUTS[STATS])
            self._sizes.append((stats.processing_width, stats.processing_height))
        if self._start is not None and stamp >= self._start:
            kind = OUTPUTS[name]
            message_type = f'{kind.__module__.split(".")[0]}/msg/{kind.__name__}'
            self._bag.copy(message_type, Record(f'{NAMESPACE}/{name}', received, data))

    def _spin(self, until: float, done: Callable[[], bool] = lambda: False) -> None:
        """Receive messages until a time of time.monotonic(), or until done."""
        while not done() and (left := until - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=min(left, 0.2))
            code = self._process.poll()
            if code is not None:
                raise DemoError(
                    f'stereo_node ended early with code {code}; {_last_words(self._log)}'
                )
