"""Synthetic stereo messages and bags of them, made without ROS."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer

from nndepth_ros.bag import TYPES, BagReader, bag_message_types
from nndepth_ros.conversions import image_message

WIDTH, HEIGHT, FOCAL, BASELINE, SHIFT = 96, 64, 100.0, 0.2, 8
DEPTH = FOCAL * BASELINE / SHIFT
FRAME = 'left_optical'
START = 1_700_000_000_000_000_000
PERIOD = 100_000_000
DELAY = 3_000_000  # from a stamp to its recording
MODEL = 'sgbm'  # of tests about other things: loads at once, exact on shifted pairs
BAG_TYPES = bag_message_types()

# topic, time of recording in nanoseconds, message
Entry = tuple[str, int, Any]


def shifted_pair(
    seed: int = 0, shift: int = SHIFT, width: int = WIDTH, height: int = HEIGHT
) -> tuple[np.ndarray, np.ndarray]:
    """Left and right, uint8 RGB (height, width, 3), whose disparity is `shift` everywhere."""
    blocks = np.random.default_rng(seed).integers(
        0, 256, ((height + 1) // 2, (width + shift) // 2 + 1, 3), np.uint8
    )
    wide = blocks.repeat(2, 0).repeat(2, 1)[:height]
    left, right = (np.ascontiguousarray(wide[:, at : at + width]) for at in (0, shift))
    return left, right


def header(stamp: int, frame: str = FRAME) -> Any:
    time = TYPES.types['builtin_interfaces/msg/Time'](*divmod(stamp, 1_000_000_000))
    return TYPES.types['std_msgs/msg/Header'](stamp=time, frame_id=frame)


def image(stamp: int, pixels: np.ndarray, encoding: str = 'rgb8') -> Any:
    return image_message(BAG_TYPES, header(stamp), pixels, encoding)


def compressed(stamp: int, pixels: np.ndarray, suffix: str = '.png') -> Any:
    data = cv2.imencode(suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1]
    return TYPES.types['sensor_msgs/msg/CompressedImage'](
        header=header(stamp), format=suffix[1:], data=data.reshape(-1)
    )


def camera_info(side: str, stamp: int, **changes: Any) -> Any:
    cx, cy = (WIDTH - 1) / 2, (HEIGHT - 1) / 2
    shift = -FOCAL * BASELINE if side == 'right' else 0.0
    fields = {
        'height': HEIGHT,
        'width': WIDTH,
        'distortion_model': 'plumb_bob',
        'd': np.zeros(5),
        'k': np.array([FOCAL, 0, cx, 0, FOCAL, cy, 0, 0, 1]),
        'r': np.eye(3).reshape(-1),
        'p': np.array([FOCAL, 0, cx, shift, 0, FOCAL, cy, 0, 0, 0, 1, 0]),
        'binning_x': 0,
        'binning_y': 0,
        'roi': BAG_TYPES.region_of_interest(0, 0, 0, 0, False),
    }
    return BAG_TYPES.camera_info(header=header(stamp), **{**fields, **changes})


def frame(
    number: int,
    namespace: str = '/stereo',
    sides: Iterable[str] = ('left', 'right'),
    name: str = 'image_rect',
    time: int | None = None,
) -> Iterator[Entry]:
    """Images of one moment and their camera_info, which come just after them."""
    stamp = START + number * PERIOD
    time = stamp + DELAY if time is None else time
    pair = dict(zip(('left', 'right'), shifted_pair(number), strict=True))
    make = compressed if name.endswith('compressed') else image
    for side in sides:
        yield f'{namespace}/{side}/{name}', time, make(stamp, pair[side])
    for side in sides:
        yield f'{namespace}/{side}/camera_info', time + 1, camera_info(side, stamp)


def frames(count: int, **options: Any) -> list[Entry]:
    return [entry for number in range(count) for entry in frame(number, **options)]


def write_bag(
    path: Path,
    entries: Iterable[Entry],
    storage: StoragePlugin = StoragePlugin.MCAP,
    version: int = 9,
    compression: tuple[Any, Any] | None = None,
) -> Path:
    with_compression = Writer(path, version=version, storage_plugin=storage)
    if compression:
        with_compression.set_compression(*compression)
    with with_compression as writer:
        connections: dict[str, Any] = {}
        for topic, time, message in entries:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=TYPES)
            writer.write(connections[topic], time, TYPES.serialize_cdr(message, kind))
    return path


def read_bag(path: Path) -> Mapping[str, list[tuple[int, Any]]]:
    """Time of recording and message of all that is in a bag, by topic."""
    with BagReader(path) as bag:
        found: dict[str, list[tuple[int, Any]]] = {topic: [] for topic in bag.topics}
        for record in bag.messages(bag.topics):
            found[record.topic].append((record.time, bag.decode(record)))
    return found


def float_pixels(message: Any) -> np.ndarray:
    """Pixels of a 32FC1 image."""
    return np.frombuffer(message.data, '<f4').reshape(message.height, message.width)
