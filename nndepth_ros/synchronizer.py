"""Pairs left and right messages by their stamps, and counts those that find no partner.

Stamps are nanoseconds; messages may be anything. Waiting messages are removed in the order of
their arrival, not of their stamps, so that after a bag loops or a clock jumps back, the first two
messages that belong together are paired again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from nndepth_ros.conversions import stamp_ns

SIDES = ('left', 'right')


class Stamped(NamedTuple):
    """A message and its stamp in nanoseconds."""

    stamp: int
    message: Any


@dataclass
class SyncCounts:
    """What happened to the messages since the last reset."""

    received_left: int = 0
    received_right: int = 0
    paired: int = 0
    unpaired_left: int = 0
    unpaired_right: int = 0

    def add(self, kind: str, side: str, count: int = 1) -> None:
        """Increase the counter of `kind` ('received' or 'unpaired') of one side."""
        name = f'{kind}_{side}'
        setattr(self, name, getattr(self, name) + count)

    def since(self, earlier: SyncCounts) -> SyncCounts:
        """The counts since an earlier time."""
        now, then = asdict(self), asdict(earlier)
        return SyncCounts(**{name: now[name] - then[name] for name in now})


class StereoSynchronizer:
    """Pairs two streams by equal stamps, or within a tolerance.

    With a tolerance of more than half a frame period, a frame whose partner is lost could be
    paired with the next one. The tolerance is therefore limited to half the shortest recent
    period.

    Args:
        tolerance_ns: the largest difference between the stamps of a pair; 0 needs equal stamps.
        queue_size: the most messages of one side that wait for their partners.
    """

    def __init__(self, tolerance_ns: int = 0, queue_size: int = 10) -> None:
        if tolerance_ns < 0 or queue_size < 1:
            raise ValueError(
                f'tolerance is {tolerance_ns} ns and queue size {queue_size}; they must be at '
                'least 0 and 1'
            )
        self.tolerance_ns = tolerance_ns
        self.counts = SyncCounts()
        self.queue_size = queue_size
        self._waiting: dict[str, deque[Stamped]] = {side: deque() for side in SIDES}
        self._last_stamp: dict[str, int | None] = dict.fromkeys(SIDES)
        self._periods: dict[str, deque[int]] = {side: deque(maxlen=8) for side in SIDES}

    def add(self, side: str, stamp: int, message: Any) -> tuple[Stamped, Stamped] | None:
        """Take a message of 'left' or 'right'; return (left, right) if it completes a pair."""
        self.counts.add('received', side)
        self._note_period(side, stamp)
        other = SIDES[side == 'left']
        incoming = Stamped(stamp, message)
        partner = self._closest(other, stamp)
        if partner is None:
            self._enqueue(side, incoming)
            return None
        self._drop_until(other, partner)
        self._drop_all(side)
        self.counts.paired += 1
        return (incoming, partner) if side == 'left' else (partner, incoming)

    def offset_ns(self) -> int | None:
        """Right minus left stamp of the closest waiting messages, None if one side has none.

        It shows whether clocks disagree or the streams never overlap.
        """
        left, right = (self._waiting[side] for side in SIDES)
        return min((r.stamp - lt.stamp for lt in left for r in right), key=abs, default=None)

    def _note_period(self, side: str, stamp: int) -> None:
        last, self._last_stamp[side] = self._last_stamp[side], stamp
        if last is not None and stamp > last:
            self._periods[side].append(stamp - last)

    def _closest(self, side: str, stamp: int) -> Stamped | None:
        periods = [period for known in self._periods.values() for period in known]
        tolerance = min([self.tolerance_ns, *(period // 2 for period in periods)])
        near = [item for item in self._waiting[side] if abs(item.stamp - stamp) <= tolerance]
        return min(near, key=lambda item: abs(item.stamp - stamp), default=None)

    def _enqueue(self, side: str, item: Stamped) -> None:
        queue = self._waiting[side]
        queue.append(item)
        if len(queue) > self.queue_size:
            queue.popleft()
            self.counts.add('unpaired', side)

    def _drop_until(self, side: str, partner: Stamped) -> None:
        """Remove the partner and all messages that came before it, since pairs never go back."""
        queue = self._waiting[side]
        while queue.popleft() is not partner:
            self.counts.add('unpaired', side)

    def _drop_all(self, side: str) -> None:
        self.counts.add('unpaired', side, len(self._waiting[side]))
        self._waiting[side].clear()


class MessageFiltersSynchronizer:
    """Does the same with the package message_filters, if it is installed.

    It does not tell which messages it dropped: those received and not paired count as unpaired.
    """

    def __init__(self, tolerance_ns: int = 0, queue_size: int = 10) -> None:
        try:
            import message_filters
        except ImportError:
            raise ValueError(
                'synchronizer is message_filters but that package is not installed; install '
                'ros-$ROS_DISTRO-message-filters or set synchronizer to native'
            ) from None
        self.tolerance_ns = tolerance_ns
        self.counts = SyncCounts()
        self._inputs = {side: message_filters.SimpleFilter() for side in SIDES}
        filters = list(self._inputs.values())
        # The approximate policy compares with <, so that a tolerance of 0 would never match.
        self._matcher = (
            message_filters.ApproximateTimeSynchronizer(filters, queue_size, tolerance_ns / 1e9)
            if tolerance_ns
            else message_filters.TimeSynchronizer(filters, queue_size)
        )
        self._matcher.registerCallback(self._on_match)
        self._pair: tuple[Any, Any] | None = None

    def add(self, side: str, stamp: int, message: Any) -> tuple[Stamped, Stamped] | None:
        """Take a message of 'left' or 'right'; return (left, right) if it completes a pair."""
        self.counts.add('received', side)
        self._pair = None
        self._inputs[side].signalMessage(message)
        counts = self.counts
        counts.paired += self._pair is not None
        counts.unpaired_left = counts.received_left - counts.paired
        counts.unpaired_right = counts.received_right - counts.paired
        if self._pair is None:
            return None
        left, right = (Stamped(stamp_ns(item.header.stamp), item) for item in self._pair)
        return left, right

    def offset_ns(self) -> int | None:
        """Unknown, since message_filters does not show its queues."""
        return None

    def _on_match(self, left: Any, right: Any) -> None:
        self._pair = left, right


class SingleStream:
    """Does the same for one camera, whose images need no partner."""

    tolerance_ns = 0

    def __init__(self) -> None:
        self.counts = SyncCounts()

    def add(self, side: str, stamp: int, message: Any) -> tuple[Stamped]:
        """Take a message and return it."""
        self.counts.received_left += 1
        return (Stamped(stamp, message),)

    def offset_ns(self) -> None:
        """Nothing, since no message waits for another."""


class CameraInfoCache:
    """Finds the camera_info of an image: the one with its stamp, or else the newest."""

    def __init__(self, sides: Iterable[str] = SIDES, size: int = 10) -> None:
        self._known: dict[str, deque[Stamped]] = {side: deque(maxlen=size) for side in sides}

    def add(self, side: str, stamp: int, info: Any) -> None:
        """Add a camera_info of one side."""
        self._known[side].append(Stamped(stamp, info))

    def get(self, side: str, stamp: int) -> Any | None:
        """Return the camera_info for an image of this stamp, None before the first one."""
        known = reversed(self._known[side])
        matched = next((item.message for item in known if item.stamp == stamp), None)
        return matched or self.newest(side)

    def newest(self, side: str) -> Any | None:
        """Return the camera_info that arrived last, None before the first one."""
        known = self._known[side]
        return known[-1].message if known else None
