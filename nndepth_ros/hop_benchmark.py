"""Measures what it costs to bring images from the process of a camera to that of a node."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import rclpy
from ament_index_python.packages import get_package_share_directory
from ament_index_python.resources import get_resources
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from nndepth_core.cli.table import table
from nndepth_ros.conversions import image_message, ros_message_types, stamp_ns
from nndepth_ros.demo.session import PACKAGE, PROFILE_VARIABLES, with_stamp

NAMESPACE, TOPICS = 'hop', ('left/image_rect', 'right/image_rect')
TIMEOUT = 20.0
"""Seconds until both processes have found each other."""
WARM_UP = 5
RELIABILITIES = {
    'best effort': QoSReliabilityPolicy.BEST_EFFORT,
    'reliable': QoSReliabilityPolicy.RELIABLE,
}
_STRAGGLERS = 1.0  # seconds that the last images may take


class Way(NamedTuple):
    """What carries messages: its name, the package of ROS, and the environment that it needs."""

    title: str
    package: str
    environment: Mapping[str, str] = {}


class HopError(RuntimeError):
    """A hop cannot be measured."""


@dataclass(frozen=True)
class Hop:
    """What pairs of images cost on one way.

    Attributes:
        way: the name of the way.
        reliability: of publishers and subscriptions.
        sent: the number of pairs that were published.
        received: the number of them of which both images came.
        p50: milliseconds from the call to publish the first image until the callback with the
            second one, the median of the pairs; NaN if none came.
        p95: the same, which one in twenty exceeds.
        camera_cpu: milliseconds of processor time that a pair takes the camera's process.
        node_cpu: the same of the process that receives.
    """

    way: str
    reliability: str
    sent: int
    received: int
    p50: float
    p95: float
    camera_cpu: float
    node_cpu: float

    @classmethod
    def of(cls, way: str, reliability: str, camera: Any, node: Any) -> Hop:
        """Compare what `camera` and `receiver` found."""
        sent, arrived = camera['sent'], node['arrived']
        both = [number for number in sent if all(number in times for times in arrived)]
        pairs = [max(times[number] for times in arrived) - sent[number] for number in both]
        p50, p95 = np.percentile(pairs, (50, 95)) / 1e6 if pairs else (np.nan, np.nan)
        count = len(sent)
        return cls(
            way,
            reliability,
            count,
            len(pairs),
            float(p50),
            float(p95),
            1000 * camera['cpu'] / max(1, count),
            1000 * node['cpu'] / max(1, len(pairs)),
        )


def ways() -> list[Way]:
    """The ways that are known."""
    profile = str(Path(get_package_share_directory(PACKAGE)) / 'config' / 'fastdds.xml')
    return [
        Way('Fast DDS, its defaults', 'rmw_fastrtps_cpp'),
        Way(
            'Fast DDS, config/fastdds.xml',
            'rmw_fastrtps_cpp',
            dict.fromkeys(PROFILE_VARIABLES, profile),
        ),
        Way('Cyclone DDS', 'rmw_cyclonedds_cpp'),
        Way(
            'Zenoh',
            'rmw_zenoh_cpp',
            {  # without a router
                'ZENOH_CONFIG_OVERRIDE': 'scouting/multicast/enabled=true',
                'ZENOH_ROUTER_CHECK_ATTEMPTS': '-1',
            },
        ),
    ]


def measure_hops(size: tuple[int, int], frames: int, rate: float) -> tuple[list[Hop], list[str]]:
    """Send pairs of images of (width, height) from one process to another on each way.

    Returns:
        The hops, and a line for each way that could not be measured.
    """
    installed = get_resources('rmw_typesupport')
    hops, missing = [], []
    for way in ways():
        if way.package not in installed:
            missing.append(f'{way.title}: {way.package} is not installed')
            continue
        for reliability in RELIABILITIES:
            try:
                hops.append(_measure(way, reliability, size, frames, rate))
            except HopError as error:
                missing.append(f'{way.title}, {reliability}: {error}')
    return hops, missing


def report(hops: Sequence[Hop], missing: Sequence[str]) -> str:
    """Show hops as a table, and under it what is missing."""
    header = ['', 'reliability', 'pairs', 'p50 ms', 'p95 ms', 'camera CPU ms', 'node CPU ms']
    rows = [
        [
            hop.way,
            hop.reliability,
            f'{hop.received} of {hop.sent}',
            *(f'{value:.1f}' for value in (hop.p50, hop.p95, hop.camera_cpu, hop.node_cpu)),
        ]
        for hop in hops
    ]
    return '\n'.join([table([header, *rows], right=range(2, len(header))), *missing])


def as_json(hops: Sequence[Hop], missing: Sequence[str]) -> dict[str, Any]:
    """The same for programs."""
    return {'hops': [asdict(hop) for hop in hops], 'missing': list(missing)}


def _measure(way: Way, reliability: str, size: tuple[int, int], frames: int, rate: float) -> Hop:
    with TemporaryDirectory() as folder:
        environment = {
            name: value for name, value in os.environ.items() if name not in PROFILE_VARIABLES
        }
        environment |= {'RMW_IMPLEMENTATION': way.package, **way.environment}
        environment |= {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST', 'ROS_LOG_DIR': folder}
        environment |= {'ROS_DOMAIN_ID': str(1 + os.getpid() % 100)}

        def start(role: str, *arguments: Any) -> subprocess.Popen:
            command = [sys.executable, '-m', __name__, role, json.dumps([reliability, *arguments])]
            return subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )

        with start('receiver') as node, start('camera', size, frames, rate) as camera:
            sent, _ = camera.communicate()
            arrived, _ = node.communicate()  # closes its input, at which it ends
    if camera.returncode or node.returncode:
        raise HopError('one of both processes failed; see what it printed')
    return Hop.of(way.title, reliability, json.loads(sent), json.loads(arrived))


# --- the two processes ---------------------------------------------------------------------------


def camera(
    node: Node, qos: QoSProfile, size: tuple[int, int], frames: int, rate: float
) -> dict[str, Any]:
    """Publish pairs whose stamp is their number; tell when, and the seconds of CPU."""
    width, height = size
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    image = image_message(ros_message_types(), Header(frame_id='camera'), pixels, 'rgb8')
    data = serialize_message(image)
    publishers = [node.create_publisher(Image, topic, qos) for topic in TOPICS]
    deadline = time.monotonic() + TIMEOUT
    while not all(publisher.get_subscription_count() for publisher in publishers):
        if time.monotonic() > deadline:
            raise HopError(f'camera and receiver did not find each other in {TIMEOUT:.0f} s')
        rclpy.spin_once(node, timeout_sec=0.05)
    sent, stamping, spent = {}, 0.0, 0.0
    begin = time.monotonic()
    for number in range(WARM_UP + frames):
        if number == WARM_UP:
            stamping, spent = 0.0, time.process_time()
        started = time.thread_time()
        stamped = with_stamp(data, number)
        stamping += time.thread_time() - started
        time.sleep(max(0.0, begin + number / rate - time.monotonic()))
        sent[number] = time.monotonic_ns()
        for publisher in publishers:
            publisher.publish(stamped)
    cpu = time.process_time() - spent - stamping
    time.sleep(_STRAGGLERS)
    return {'sent': {number: at for number, at in sent.items() if number >= WARM_UP}, 'cpu': cpu}


def receiver(node: Node, qos: QoSProfile) -> dict[str, Any]:
    """Take images until the input of this process ends; tell when each of them was there."""
    arrived: list[dict[int, int]] = [{} for _ in TOPICS]
    cpu: list[float] = []

    def take(times: dict[int, int], message: Image) -> None:
        number = stamp_ns(message.header.stamp)
        if number >= WARM_UP:
            times[number] = time.monotonic_ns()
            cpu.append(time.process_time())

    for topic, times in zip(TOPICS, arrived, strict=True):
        node.create_subscription(Image, topic, partial(take, times), qos)
    ended = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while not ended.is_set():
        executor.spin_once(timeout_sec=0.1)
    executor.shutdown()
    return {'arrived': arrived, 'cpu': cpu[-1] - cpu[0] if cpu else 0.0}


def main() -> int:
    """Be one of both processes; print what it found as JSON."""
    role, (reliability, *arguments) = sys.argv[1], json.loads(sys.argv[2])
    qos = QoSProfile(depth=5, reliability=RELIABILITIES[reliability])
    rclpy.init(args=[])
    try:
        node = rclpy.create_node(role, namespace=NAMESPACE)
        found = (camera if role == 'camera' else receiver)(node, qos, *arguments)
        node.destroy_node()
    except HopError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        rclpy.try_shutdown()
    print(json.dumps(found))
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
