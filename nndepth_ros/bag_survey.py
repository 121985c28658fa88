"""Surveys a bag: the images that belong together, their camera_info, and known depths.

The survey reads the whole bag once, so that damage is found before anything is computed. It keeps
stamps and calibrations but no images.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from statistics import median
from typing import Any, NamedTuple

from nndepth_ros.bag import BagReader, Record
from nndepth_ros.bag_topics import Topics
from nndepth_ros.conversions import ConversionError, stamp_ns
from nndepth_ros.synchronizer import SingleStream, StereoSynchronizer, SyncCounts

QUEUE_SIZE = 300
"""A replay can wait long for the partner of an image, since only its stamp is kept meanwhile."""


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

    def part(self, frames: Sequence[Frame]) -> CameraInfos:
        """Keep what `get` needs for some images."""
        if self._times != sorted(self._times):  # of files that overlap: nothing is known of order
            return self
        times = [frame.time for frame in frames]
        first = max(bisect_right(self._times, min(times)) - 1, 0)
        kept = slice(first, max(bisect_right(self._times, max(times)), first + 1))
        part = CameraInfos()
        part._times, part._infos = self._times[kept], self._infos[kept]
        stamps = {frame.stamp for frame in frames} & self._by_stamp.keys()
        part._by_stamp = {stamp: self._by_stamp[stamp] for stamp in stamps}
        return part


@dataclass
class Survey:
    """What a bag holds for a node.

    Attributes:
        sides: the sides of the cameras.
        tolerance_ns: the largest difference between the stamps of a moment.
        moments: images of all sides that belong together, in the order in which they are complete.
        frames: all readable images of each side.
        infos: the camera_info of each side.
        depths: stamp and time of recording of all messages with known depths, in nanoseconds.
        damaged: the number of messages that cannot be read, by reason.
        recorded: side and time of recording of all images, in the order in which they are read,
            also of those that are not readable.
        numbers: those of the images in the time of a part of a survey; empty for a whole one.
        counts: the counts of the synchroniser.
        offset_ns: right minus left stamp of the closest images without partner, None if unknown.
    """

    sides: tuple[str, ...]
    tolerance_ns: int = 0
    moments: list[tuple[Frame, ...]] = field(default_factory=list)
    frames: dict[str, list[Frame]] = field(init=False)
    infos: dict[str, CameraInfos] = field(init=False)
    depths: list[tuple[int, int]] = field(default_factory=list)
    damaged: Counter[str] = field(default_factory=Counter)
    recorded: list[tuple[str, int]] = field(default_factory=list)
    numbers: dict[str, list[int]] = field(default_factory=dict)
    counts: SyncCounts = field(default_factory=SyncCounts)
    offset_ns: int | None = None

    def __post_init__(self) -> None:
        self.frames = {side: [] for side in self.sides}
        self.infos = {side: CameraInfos() for side in self.sides}

    @property
    def span(self) -> tuple[int, int]:
        """When the first image of a moment was recorded, and just after the last one."""
        times = [frame.time for moment in self.moments for frame in moment]
        return min(times), max(times) + 1

    def part(self, first: int, last: int) -> Survey:
        """Make a survey of the moments first..last - 1, for the time of their images."""
        part = Survey(self.sides, self.tolerance_ns, self.moments[first:last])
        begin, end = part.span
        for at, side in enumerate(self.sides):
            part.infos[side] = self.infos[side].part([moment[at] for moment in part.moments])
            times = [time for of, time in self.recorded if of == side]
            part.numbers[side] = [it for it, time in enumerate(times) if begin <= time < end]
        return part

    def rate(self, side: str) -> float | None:
        """Images per second, by the times of recording."""
        times = [frame.time for frame in self.frames[side]]
        seconds = (times[-1] - times[0]) / 1e9 if times else 0.0
        return (len(times) - 1) / seconds if seconds > 0 else None

    def unpaired(self, side: str) -> dict[str, int]:
        """How many images of a side have no partner, by reason."""
        if len(self.sides) == 1:
            return {}
        at = self.sides.index(side)
        other = self.sides[1 - at]
        paired = {moment[at].number for moment in self.moments}
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
    bag: BagReader,
    topics: Topics,
    records: Iterable[Record],
    start: int,
    synchronizer: StereoSynchronizer | SingleStream,
) -> Survey:
    """Read a bag for the first time.

    Args:
        bag: the bag.
        topics: all topics.
        records: the messages of these topics in order of time; of images only stamps are kept.
        start: images and depths recorded before this time are left out, but camera_info is not.
        synchronizer: joins images to moments.

    Raises:
        BagError: the bag is damaged.
    """
    survey = Survey(tuple(topics.images.values()), synchronizer.tolerance_ns)
    numbers = {side: count() for side in survey.sides}
    for record in records:
        side, known = topics.images.get(record.topic), record.topic in topics.depths
        if (side is not None or known) and record.time < start:
            continue
        number = 0
        if side is not None:
            number = next(numbers[side])
            survey.recorded.append((side, record.time))
        try:
            message = bag.decode(record)
        except ConversionError as error:
            survey.damaged[str(error)] += 1
            continue
        stamp = stamp_ns(message.header.stamp)
        if side is not None:
            frame = Frame(number, record.time, stamp)
            survey.frames[side].append(frame)
            if moment := synchronizer.add(side, stamp, frame):
                survey.moments.append(tuple(item.message for item in moment))
        if known:
            survey.depths.append((stamp, record.time))
        for side, topic in topics.infos.items():
            if topic == record.topic:
                survey.infos[side].add(record, message)
    survey.counts, survey.offset_ns = synchronizer.counts, synchronizer.offset_ns()
    return survey
