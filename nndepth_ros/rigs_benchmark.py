"""Measures several rigs in one process against one process for each, over DDS."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rclpy
from nndepth.msg import InferenceStats
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rclpy.serialization import serialize_message

from nndepth_ros.demo.session import OUTPUTS, node_process, prepare_environment, with_stamp
from nndepth_ros.node_benchmark import pair_messages

TIMEOUT = 120.0
WARM_UP = 3
"""Results that each rig must have given before it counts."""
ARRANGEMENTS = ('one process', 'one each')


@dataclass(frozen=True)
class Load:
    """What the rigs are given.

    Attributes:
        rigs: their number.
        size: (width, height) of the images.
        rate: pairs a second that each camera sends, all at the same moments.
        seconds: how long it is measured.
        outputs: the topics that are subscribed to, besides `stats`.
        parameters: parameters of the nodes, each as 'name:=value'.
    """

    rigs: int
    size: tuple[int, int]
    rate: float
    seconds: float
    outputs: tuple[str, ...]
    parameters: tuple[str, ...] = ()

    @property
    def namespaces(self) -> list[str]:
        """Those of the rigs."""
        return [f'/rig{number}' for number in range(self.rigs)]


def measure_rigs(load: Load, arrangement: str) -> dict[str, float]:
    """Run the rigs once; return figures by name.

    Args:
        load: what they are given.
        arrangement: one of ARRANGEMENTS.

    Returns:
        'pairs/s' of all rigs together; 'slowest' and 'fastest', the same of one rig;
        'age p50' and 'age p95', milliseconds from stamp to output; 'CPU ms', of the processes for
        one pair; 'RSS MiB' and 'PSS MiB', of all processes together, where PSS counts once what
        processes share.

    Raises:
        RuntimeError: a rig gives nothing.
    """
    with TemporaryDirectory() as folder:
        prepare_environment(Path(folder))
        rclpy.init(args=[])
        try:
            with ExitStack() as stack:
                processes = [
                    stack.enter_context(process)
                    for process in _processes(load, arrangement, Path(folder))
                ]
                return _Cameras(load).measure([process.pid for process in processes])
        finally:
            rclpy.try_shutdown()


def _processes(load: Load, arrangement: str, folder: Path) -> list[Any]:
    parameters = list(load.parameters)
    if arrangement == 'one process':
        parameters.append(f'rigs:=[{", ".join(load.namespaces)}]')
        return [node_process('multi_stereo_node', '/', parameters, folder / 'rigs.log')]
    return [
        node_process('stereo_node', name, parameters, folder / f'{name[1:]}.log')
        for name in load.namespaces
    ]


class _Cameras:
    """The cameras of all rigs, and the subscribers to their outputs."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._node = rclpy.create_node('cameras')
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._stats: dict[str, list[InferenceStats]] = defaultdict(list)
        self._senders = []
        messages = {
            topic: (type(message), serialize_message(message))
            for topic, message in pair_messages(*load.size).items()
        }
        subscribe = partial(self._node.create_subscription, qos_profile=QoSProfile(depth=5))
        for name in load.namespaces:
            for topic, (kind, data) in messages.items():
                publisher = self._node.create_publisher(
                    kind, f'{name}/{topic}', qos_profile_sensor_data
                )
                self._senders.append((publisher, data))
            subscribe(InferenceStats, f'{name}/stats', self._stats[name].append)
            for topic in load.outputs:
                subscribe(OUTPUTS[topic], f'{name}/{topic}', lambda _: None, raw=True)

    def measure(self, processes: list[int]) -> dict[str, float]:
        """Send until all rigs have answered, then count; see `measure_rigs`."""
        deadline = time.monotonic() + TIMEOUT
        while min(len(stats) for stats in self._stats.values()) < WARM_UP:
            if time.monotonic() > deadline:
                silent = [name for name, stats in self._stats.items() if len(stats) < WARM_UP]
                raise RuntimeError(f'{", ".join(silent)} gave nothing within {TIMEOUT:.0f} s')
            self._send_once()
        for stats in self._stats.values():
            stats.clear()
        begin, used = time.monotonic(), sum(map(_cpu_seconds, processes))
        while (passed := time.monotonic() - begin) < self._load.seconds:
            self._send_once()
        used = sum(map(_cpu_seconds, processes)) - used
        counts = {name: len(stats) for name, stats in self._stats.items()}
        ages = [one.age_ms for stats in self._stats.values() for one in stats]
        memory = [_memory(process) for process in processes]
        return {
            'pairs/s': sum(counts.values()) / passed,
            'slowest': min(counts.values()) / passed,
            'fastest': max(counts.values()) / passed,
            'age p50': float(np.percentile(ages, 50)),
            'age p95': float(np.percentile(ages, 95)),
            'CPU ms': 1000 * used / sum(counts.values()),
            'RSS MiB': sum(one['Rss'] for one in memory) / 1024,
            'PSS MiB': sum(one['Pss'] for one in memory) / 1024,
        }

    def _send_once(self) -> None:
        """Send one pair of each rig, and receive until it is time for the next."""
        until = time.monotonic() + 1 / self._load.rate
        stamp = self._node.get_clock().now().nanoseconds
        for publisher, data in self._senders:
            publisher.publish(with_stamp(data, stamp))
        while (left := until - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)


def _cpu_seconds(process: int) -> float:
    """The CPU time that a process has used."""
    fields = Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def _memory(process: int) -> dict[str, int]:
    """KiB of memory of a process by the names of the kernel."""
    lines = Path(f'/proc/{process}/smaps_rollup').read_text().splitlines()[1:]
    return {line.split(':')[0]: int(line.split()[1]) for line in lines}
