"""Surveys a bag: its topics, the images that belong together, and their camera_info.

The survey reads the whole bag once, so that damage is found before anything is computed. It keeps
stamps and calibrations but no images.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from statistics import median
from typing import Any, NamedTuple

from nndepth_ros.bag import BagError, BagReader, Record
from nndepth_ros.conversions import ConversionError, stamp_ns
from nndepth_ros.synchronizer import SIDES, StereoSynchronizer, SyncCounts

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
INFO_TYPE = 'sensor_msgs/msg/CameraInfo'
# The last parts of topic names that are looked for, the best first.
IMAGE_NAMES = (
    'image_rect',
    'image_rect_color',
    'image_rect_mono',
    'image_rect_raw',
    'image_raw',
    'image_color',
    'image_mono',
    'image',
)
_COMPRESSED = '/compressed'
# A replay can wait long for the partner of an image, since only its stamp is kept meanwhile.
_QUEUE_SIZE = 300


@dataclass(frozen=True)
class StereoTopics:
    """The topics of one stereo camera in a bag; empty topics are to be found."""

    left: str = ''
    right: str = ''
    left_info: str = ''
    right_info: str = ''

    @property
    def images(self) -> dict[str, str]:
        """The side of each image topic."""
        return {self.left: 'left', self.right: 'right'}

    @property
    def infos(self) -> dict[str, str]:
        """The topic of the camera_info of each side."""
        return {'left': self.left_info, 'right': self.right_info}

    @property
    def all(self) -> set[str]:
        """The four topics, or only those of the images if no camera_info is read."""
        return {self.left, self.right, self.left_info, self.right_info} - {''}

    @property
    def namespace(self) -> str:
        """The part before left/ in the left image topic, without the last slash."""
        parts = self.left.removesuffix(_COMPRESSED).split('/')[:-1]
        if _other_side(self.left) == self.right:
            while len(parts) > 1 and 'left' not in parts[-1]:
                parts.pop()
        return '/'.join(parts[:-1])

    @property
    def rectified(self) -> bool:
        """Whether the name of the left topic says that the images are rectified."""
        return _says_rectified(self.left)


def _says_rectified(topic: str) -> bool:
    """Judge by the last part that has rect... or raw in it; with both in it, rect counts."""
    for part in reversed(topic.removesuffix(_COMPRESSED).split('/')):
        words = part.lower().split('_')
        if any(word.startswith('rect') and not word.startswith('rectang') for word in words):
            return True
        if 'raw' in words:
            return False
    return False


def find_topics(bag: BagReader, chosen: StereoTopics, calibrated: bool = False) -> StereoTopics:
    """Find the topics that are not chosen yet.

    Args:
        bag: the bag.
        chosen: the topics that are named already.
        calibrated: whether the calibration is known, so that no camera_info is needed.

    Raises:
        BagError: a topic does not exist, or there is no stereo camera, or several are; the
            message lists the topics.
    """
    try:
        return _find_topics(bag, chosen, calibrated)
    except BagError as error:
        raise BagError('; '.join(filter(None, (str(error), bag.remarks)))) from error


def _find_topics(bag: BagReader, chosen: StereoTopics, calibrated: bool) -> StereoTopics:
    images = _of_types(bag, IMAGE_TYPES)
    left, right = chosen.left, chosen.right
    if not left and not right:
        left, right = _best_pair(images)
    left, right = left or _other_side(right), right or _other_side(left)
    if left and left == right:
        raise BagError(f'--left and --right are both {left!r}; give the topics of two cameras')
    for option, topic in (('left', left), ('right', right)):
        _require(topic, images, option, 'image')
    if calibrated:
        return StereoTopics(left, right)
    infos = _of_types(bag, (INFO_TYPE,))
    found = []
    for option, image, topic in (
        ('left-info', left, chosen.left_info),
        ('right-info', right, chosen.right_info),
    ):
        found.append(topic or f'{image.removesuffix(_COMPRESSED).rpartition("/")[0]}/camera_info')
        _require(found[-1], infos, option, 'camera_info', ', or give --calibration')
    return StereoTopics(left, right, *found)


def _of_types(bag: BagReader, types: Sequence[str]) -> dict[str, int]:
    return {topic: bag.counts[topic] for topic, kind in bag.topics.items() if kind in types}


def _best_pair(images: Mapping[str, int]) -> tuple[str, str]:
    ranked: dict[tuple[bool, int, bool], list[str]] = {}
    for topic in images:
        name = topic.removesuffix(_COMPRESSED).rpartition('/')[2]
        if name in IMAGE_NAMES and 'left' in topic and _other_side(topic) in images:
            raw = not _says_rectified(topic)
            rank = raw, IMAGE_NAMES.index(name), topic.endswith(_COMPRESSED)
            ranked.setdefault(rank, []).append(topic)
    best = ranked[min(ranked)] if ranked else []
    if len(best) != 1:
        what = f'{len(best)} stereo cameras ({", ".join(best)})' if best else 'no stereo images'
        raise BagError(f'the bag holds {what}; choose by --left and --right from {_list(images)}')
    return best[0], _other_side(best[0])


def _other_side(topic: str) -> str:
    """Replace the last left of a topic by right, or else right by left; '' if it has neither."""
    for side, other in (('left', 'right'), ('right', 'left')):
        before, found, after = topic.rpartition(side)
        if found:
            return f'{before}{other}{after}'
    return ''


def _require(
    topic: str, known: Mapping[str, int], option: str, kind: str, otherwise: str = ''
) -> None:
    if topic not in known:
        raise BagError(
            f'--{option} {topic!r} is no {kind} topic of this bag; choose from '
            f'{_list(known)}{otherwise}'
        )


def _list(topics: Mapping[str, int]) -> str:
    listed = (f'{topic} ({count} messages)' for topic, count in sorted(topics.items()))
    return ', '.join(listed) or 'nothing, since it holds no such messages'


class Frame(NamedTuple):
    """An image of one side.

    Attributes:
        number: how many images of this side came before it.
        time: when it was recorded, in nanoseconds.
        stamp: the stamp of its header, in nanoseconds.
    """

    number: int
    time: int
    stamp: int


class CameraInfos:
    """All camera_info messages of one side."""

    def __init__(self) -> None:
        self._by_stamp: dict[int, Any] = {}
        self._times: list[int] = []
        self._infos: list[Any] = []
        self._distinct: dict[bytes, Any] = {}

    def add(self, record: Record, info: Any) -> None:
        """Add a camera_info; messages that differ only in their stamps are kept once."""
        encapsulation_and_stamp = 12
        key = bytes(record.data[encapsulation_and_stamp:])
        known = self._distinct.setdefault(key, info)
        self._by_stamp[stamp_ns(info.header.stamp)] = known
        self._times.append(record.time)
        self._infos.append(known)

    def get(self, frame: Frame) -> Any | None:
        """The camera_info with the stamp of an image, else the last one before, else the first."""
        if not self._infos:
            return None
        before = bisect_right(self._times, frame.time) - 1
        return self._by_stamp.get(frame.stamp, self._infos[max(before, 0)])


@dataclass
class Survey:
    """What a bag holds for the stereo node.

    Attributes:
        pairs: (left, right) images that belong together, in the order in which they are complete.
        frames: all readable images of each side.
        infos: the camera_info of each side.
        damaged: the number of messages that cannot be read, by reason.
        counts: the counts of the synchroniser.
        offset_ns: right minus left stamp of the closest images without partner, None if unknown.
        tolerance_ns: the largest difference between the stamps of a pair.
    """

    tolerance_ns: int
    pairs: list[tuple[Frame, Frame]] = field(default_factory=list)
    frames: dict[str, list[Frame]] = field(default_factory=lambda: {side: [] for side in SIDES})
    infos: dict[str, CameraInfos] = field(
        default_factory=lambda: {side: CameraInfos() for side in SIDES}
    )
    damaged: Counter[str] = field(default_factory=Counter)
    counts: SyncCounts = field(default_factory=SyncCounts)
    offset_ns: int | None = None

    def rate(self, side: str) -> float | None:
        """Images per second, by the times of recording."""
        times = [frame.time for frame in self.frames[side]]
        seconds = (times[-1] - times[0]) / 1e9 if times else 0.0
        return (len(times) - 1) / seconds if seconds > 0 else None

    def unpaired(self, side: str) -> dict[str, int]:
        """How many images of a side have no partner, by reason."""
        at = SIDES.index(side)
        other = SIDES[1 - at]
        paired = {pair[at].number for pair in self.pairs}
        alone = [frame.stamp for frame in self.frames[side] if frame.number not in paired]
        stamps = sorted(frame.stamp for frame in self.frames[other])
        if not stamps:
            return {f'there is no {other} image': len(alone)} if alone else {}
        reasons: Counter[str] = Counter()
        offsets = []
        for stamp in alone:
            offset = min((near - stamp for near in _neighbours(stamps, stamp)), key=abs)
            if abs(offset) <= self.tolerance_ns:
                reasons[f'the {other} image came too late or belongs to another pair'] += 1
            elif stamp < stamps[0]:
                reasons[f'before the first {other} image'] += 1
            elif stamp > stamps[-1]:
                reasons[f'after the last {other} image'] += 1
            else:
                offsets.append(offset / 1e6)
        if offsets:
            limit, closest = self.tolerance_ns / 1e6, median(offsets)
            reason = f'no {other} image within {limit:g} ms (closest: {closest:+.3f} ms, median)'
            reasons[reason] = len(offsets)
        return dict(reasons)


def _neighbours(stamps: Sequence[int], stamp: int) -> Sequence[int]:
    at = bisect_left(stamps, stamp)
    return stamps[max(at - 1, 0) : at + 1]


def make_survey(
    bag: BagReader, topics: StereoTopics, records: Iterable[Record], start: int, tolerance_ns: int
) -> Survey:
    """Read a bag for the first time.

    Args:
        bag: the bag.
        topics: all four topics.
        records: the messages of these topics in order of time; of images only stamps are kept.
        start: images recorded before this time are left out, but camera_info messages are not.
        tolerance_ns: the largest difference between the stamps of a pair.

    Raises:
        BagError: the bag is damaged.
    """
    survey = Survey(tolerance_ns)
    synchronizer = StereoSynchronizer(tolerance_ns, _QUEUE_SIZE)
    numbers = {side: count() for side in SIDES}
    for record in records:
        side = topics.images.get(record.topic)
        if side and record.time < start:
            continue
        number = next(numbers[side]) if side else 0
        try:
            message = bag.decode(record)
        except ConversionError as error:
            survey.damaged[str(error)] += 1
            continue
        if side:
            frame = Frame(number, record.time, stamp_ns(message.header.stamp))
            survey.frames[side].append(frame)
            if pair := synchronizer.add(side, frame.stamp, frame):
                survey.pairs.append((pair[0].message, pair[1].message))
        for side, topic in topics.infos.items():
            if topic == record.topic:
                survey.infos[side].add(record, message)
    survey.counts, survey.offset_ns = synchronizer.counts, synchronizer.offset_ns()
    return survey
