"""The demo's input: a procedural stereo sequence with ground truth, cached as a rosbag2 (MCAP)."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from nndepth_core.camera import PinholeCamera, StereoCamera
from nndepth_core.data import synthetic
from nndepth_core.data.sample import StereoSample
from nndepth_ros.bag import TYPES, BagReader, bag_message_types
from nndepth_ros.bag_writer import BagWriter
from nndepth_ros.conversions import MessageTypes, image_message, to_rgb

NAMESPACE = '/stereo'
FRAME_ID = 'stereo_left_optical'
START_NS = 1_700_000_000_000_000_000
INPUTS = tuple(
    f'{NAMESPACE}/{side}/{name}'
    for name in ('camera_info', 'image_rect')
    for side in ('left', 'right')
)
TRUTH = f'{NAMESPACE}/ground_truth/disparity'
OCCLUDED = f'{NAMESPACE}/ground_truth/occluded'
RIG = StereoCamera(PinholeCamera(640, 480, 500.0, 500.0, 319.5, 239.5), 0.12, 319.5)


@dataclass(frozen=True)
class SequenceSettings:
    """What to render; the name of the cached bag depends on it and on the renderer's code."""

    seed: int = 2
    frames: int = 40
    fps: float = 10.0

    def key(self) -> str:
        """The name of the cached bag."""
        digest = hashlib.sha256(repr((self, RIG, Path(__file__).read_bytes())).encode())
        for source in sorted(Path(synthetic.__file__).parent.glob('*.py')):
            digest.update(source.read_bytes())
        return f'sequence-{digest.hexdigest()[:12]}'


@dataclass(frozen=True)
class Truth:
    """The ground truth of one frame.

    Attributes:
        left: uint8 RGB (H, W, 3).
        disparity: float32 (H, W), in pixels.
        visible: bool (H, W), left pixels whose point the right image shows too.
    """

    left: np.ndarray
    disparity: np.ndarray
    visible: np.ndarray


def cached_sequence(folder: Path, settings: SequenceSettings) -> Path:
    """Return the bag for these settings, which is rendered if it does not exist."""
    bag = folder / settings.key()
    if not (bag / 'metadata.yaml').exists():  # the file that is written last
        shutil.rmtree(bag, ignore_errors=True)
        samples = synthetic.render_sequence(settings.seed, settings.frames, RIG, settings.fps)
        write_sequence(bag, tqdm(samples, 'rendering', settings.frames, unit='pair'))
    return bag


def write_sequence(path: Path, samples: Iterable[StereoSample]) -> None:
    """Write samples as camera topics and ground truth, with stamps from START_NS on."""
    with BagWriter(path) as bag:
        for sample in samples:
            stamp = START_NS + sample.stamp
            for topic, message in _messages(sample, stamp).items():
                bag.write(topic, stamp, message)


def read_inputs(path: Path) -> Iterator[tuple[int, dict[str, bytes | memoryview]]]:
    """Yield the stamp in nanoseconds and the serialised camera messages of each frame."""
    with BagReader(path) as bag:
        for stamp, records in groupby(bag.messages(INPUTS), attrgetter('time')):
            yield stamp, {record.topic: record.data for record in records}


def read_truth(path: Path) -> Iterator[Truth]:
    """Yield the ground truth of each frame, in the order of read_inputs."""
    wanted = (f'{NAMESPACE}/left/image_rect', TRUTH, OCCLUDED)
    with BagReader(path) as bag:
        for _, records in groupby(bag.messages(wanted), attrgetter('time')):
            images = {record.topic: bag.decode(record) for record in records}
            left, truth, occluded = (images[topic] for topic in wanted)
            yield Truth(
                to_rgb(left),
                float_image(truth),
                occluded.data.reshape(occluded.height, occluded.width) == 0,
            )


def float_image(message: Any) -> np.ndarray:
    """The pixels of a 32FC1 image, float32 (H, W)."""
    return np.frombuffer(message.data, '<f4').reshape(message.height, message.width)


def _messages(sample: StereoSample, stamp: int) -> dict[str, Any]:
    types = bag_message_types()
    time = TYPES.types['builtin_interfaces/msg/Time'](*divmod(stamp, 1_000_000_000))
    header = TYPES.types['std_msgs/msg/Header'](stamp=time, frame_id=FRAME_ID)
    rig, occluded = sample.camera, sample.occluded
    if rig is None or occluded is None:
        raise ValueError(f'sample {sample.name} has no camera or no occlusion mask; render both')
    hidden = occluded.astype(np.uint8) * 255
    return {
        f'{NAMESPACE}/left/camera_info': _camera_info(types, header, rig, rig.left.cx, 0),
        f'{NAMESPACE}/right/camera_info': _camera_info(
            types, header, rig, rig.cx_right, -rig.focal_baseline
        ),
        f'{NAMESPACE}/left/image_rect': image_message(types, header, sample.left, 'rgb8'),
        f'{NAMESPACE}/right/image_rect': image_message(types, header, sample.right, 'rgb8'),
        TRUTH: image_message(types, header, sample.disparity, '32FC1'),
        OCCLUDED: image_message(types, header, hidden, 'mono8'),
    }


def _camera_info(
    types: MessageTypes, header: Any, rig: StereoCamera, cx: float, shift: float
) -> Any:
    camera = rig.left
    k = np.array([camera.fx, 0, cx, 0, camera.fy, camera.cy, 0, 0, 1])
    p = np.array([camera.fx, 0, cx, shift, 0, camera.fy, camera.cy, 0, 0, 0, 1, 0])
    return types.camera_info(
        header=header,
        height=camera.height,
        width=camera.width,
        distortion_model='plumb_bob',
        d=np.zeros(5),
        k=k,
        r=np.eye(3).reshape(-1),
        p=p,
        binning_x=0,
        binning_y=0,
        roi=types.region_of_interest(0, 0, 0, 0, False),
    )
