"""Measures what the stereo node costs besides its engine, on the running node over DDS."""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import rclpy
from nndepth.msg import InferenceStats
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tqdm import trange

from nndepth_ros.conversions import image_message, ros_message_types
from nndepth_ros.demo.sequence import NAMESPACE
from nndepth_ros.demo.session import OUTPUTS, prepare_environment, stereo_node
from nndepth_ros.depth_node import LIVE_STAGES

OUTSIDE = tuple(stage for stage in LIVE_STAGES if stage != 'inference')
WARM_UP = 3
TIMEOUT = 30.0


def measure_node(
    size: tuple[int, int], outputs: list[str], frames: int, parameters: list[str]
) -> dict[str, np.ndarray]:
    """Feed a node one pair after the other; return milliseconds of each stage, (frames,).

    Args:
        size: (width, height) of the images.
        outputs: the topics to subscribe to, besides `stats`.
        frames: the number of pairs to measure.
        parameters: parameters of the node, each as 'name:=value'.

    Returns:
        The stages of InferenceStats; 'outside', the sum of all but that of the engine; and 'copy',
        what it takes to copy the bytes of all outputs once.
    """
    with TemporaryDirectory() as folder:
        prepare_environment(Path(folder))
        rclpy.init(args=[])
        try:
            with stereo_node(parameters, Path(folder) / 'node.log'):
                stats, sizes = _feed(size, outputs, frames)
        finally:
            rclpy.try_shutdown()
    table = {stage: np.array([getattr(s, f'{stage}_ms') for s in stats]) for stage in LIVE_STAGES}
    table['outside'] = sum((table[stage] for stage in OUTSIDE), np.zeros(frames))
    table['copy'] = copying(sizes, frames)
    return table


def copying(sizes: Collection[int], runs: int) -> np.ndarray:
    """Milliseconds of copies of arrays of so many bytes, all of them in each run, (runs,).

    The memory was written before, so that the copies are as fast as they can be.
    """
    pairs = [(np.ones(size, np.uint8), np.ones(size, np.uint8)) for size in sizes]
    times = np.empty(runs)
    for run in range(runs):
        begin = time.perf_counter()
        for target, source in pairs:
            np.copyto(target, source)
        times[run] = 1000 * (time.perf_counter() - begin)
    return times


def _feed(
    size: tuple[int, int], outputs: list[str], frames: int
) -> tuple[list[InferenceStats], list[int]]:
    """Return the statistics of the frames, and the bytes of the outputs of one of them."""
    node = rclpy.create_node('benchmark', namespace=NAMESPACE)
    received: list[InferenceStats] = []
    sizes: dict[str, int] = {}
    node.create_subscription(InferenceStats, 'stats', received.append, QoSProfile(depth=10))
    for name in outputs:

        def measure(data: bytes, name: str = name) -> None:
            sizes[name] = len(data)

        node.create_subscription(OUTPUTS[name], name, measure, QoSProfile(depth=2), raw=True)
    messages = pair_messages(*size)
    publishers = {
        topic: node.create_publisher(type(message), topic, qos_profile_sensor_data)
        for topic, message in messages.items()
    }
    for number in trange(WARM_UP + frames, unit='pair', leave=False):
        deadline = time.monotonic() + TIMEOUT
        while len(received) <= number:
            if time.monotonic() > deadline:
                raise RuntimeError(f'the node gave no statistics within {TIMEOUT:.0f} s')
            if all(publisher.get_subscription_count() for publisher in publishers.values()):
                stamp = node.get_clock().now().to_msg()
                for topic, message in messages.items():
                    message.header.stamp = stamp
                    publishers[topic].publish(message)
            until = time.monotonic() + 2.0
            while len(received) <= number and time.monotonic() < until:
                rclpy.spin_once(node, timeout_sec=0.1)
    node.destroy_node()
    return received[-frames:], list(sizes.values())


def pair_messages(width: int, height: int, shift: int = 12) -> dict[str, Image | CameraInfo]:
    """Make the messages of one rectified pair by topic, noise with one disparity everywhere."""
    blocks = np.random.default_rng(0).integers(0, 256, (height // 2, width, 3), np.uint8)
    wide = blocks.repeat(2, 0).repeat(2, 1)
    messages: dict[str, Image | CameraInfo] = {}
    for side, start, translation in (('left', 0, 0.0), ('right', shift, -100.0)):
        pixels = np.ascontiguousarray(wide[:height, start : start + width])
        header = Header(frame_id='benchmark_optical')
        messages[f'{side}/image_rect'] = image_message(ros_message_types(), header, pixels, 'rgb8')
        focal, cx, cy = float(width), width / 2, height / 2
        messages[f'{side}/camera_info'] = CameraInfo(
            header=Header(frame_id='benchmark_optical'),
            width=width,
            height=height,
            p=[focal, 0.0, cx, translation, 0.0, focal, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
        )
    return messages
