"""Chooses the step at which a wanted rate is kept; knows neither clocks nor threads."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

ROOM = 0.85
"""The share of the period within which a better step must fit."""
FIT = 0.95
"""The share within which a cheaper step must fit that is taken because the present does not."""
WINDOW = 20
"""The number of frames by which a step is judged."""
LATE = 0.05
"""The share of frames that may be late or lose others: their age is below two periods at p95."""
RECENT, SEVERAL = 5, 3
"""If most of so many frames, and at least several, are too slow, the step changes at once."""
FIRST_WAIT, LONGEST_WAIT = 2.0, 128.0
"""Seconds before a better step is tried; they double each time that this fails."""
TRIAL = 60.0
"""Seconds that a better step must keep the rate, or the attempt has failed."""
SIMILAR = 0.05
"""Periods that differ by a smaller share are no reason to choose anew."""
RECOVERED = 3 * WINDOW
"""The number of frames in time after which a rate that was not reached is reached again."""


@dataclass(frozen=True)
class Frame:
    """What is known of a frame: seconds in total, of the engine, and whether it was too late."""

    total: float
    engine: float
    late: bool


class Controller:
    """Quality first: the best step that keeps the rate, and no change without clear room.

    Args:
        seconds: the time of the engine at each step without load, the best step first.
        period: the seconds that a frame may take.
        outside: the seconds that a frame takes outside the engine, as far as they are known.

    Attributes:
        step: the step to use, 0 for the best.
        unreachable: whether even the cheapest step does not keep the rate.
    """

    def __init__(self, seconds: Sequence[float], period: float, outside: float = 0.0) -> None:
        self.period = period
        self.unreachable = False
        self._seconds = tuple(seconds)
        self._outside, self._load = outside, 1.0
        self._frames: deque[Frame] = deque(maxlen=WINDOW)
        self._passed = 0.0  # seconds at this step
        self._raised: float | None = None  # seconds since a better step was taken, on trial
        self._wait = FIRST_WAIT
        self._in_time = 0
        self.step = self._best(ROOM)

    def want(self, period: float) -> None:
        """Keep another period from now on; the step is chosen anew if it is quite another one."""
        similar = abs(period / self.period - 1) < SIMILAR
        self.period = period
        if similar:
            return
        self.unreachable, self._wait, self._raised = False, FIRST_WAIT, None
        best = self._best(ROOM)
        fits = self.predicted(self.step) <= period
        self._move(best if best < self.step or not fits else self.step)

    def feed(self, total: float, engine: float, missed: int = 0, age: float = math.nan) -> None:
        """Take the times of a frame at the present step, and choose the step of the next one.

        Args:
            total: seconds that it took.
            engine: those of the engine among them.
            missed: the frames that were lost meanwhile.
            age: seconds from its stamp to its result; NaN if they are not known.
        """
        late = missed > 0 or age > 2 * self.period
        self._frames.append(Frame(total, engine, late))
        passed = max(total, self.period)
        self._passed += passed
        if self._raised is not None:
            self._raised += passed
            if self._raised > TRIAL:
                self._raised, self._wait = None, FIRST_WAIT
        self._in_time = 0 if late or total > self.period else self._in_time + 1
        if self._in_time >= RECOVERED:
            self.unreachable = False
        self._judge()

    def predicted(self, step: int) -> float:
        """The seconds that nine of ten frames would not exceed at a step, by the last ones."""
        seconds = self._seconds[step]
        if not self._frames:
            return self._outside + self._load * seconds
        factor = seconds / self._seconds[self.step] - 1
        times = sorted(frame.total + factor * frame.engine for frame in self._frames)
        return times[9 * (len(times) - 1) // 10]

    @property
    def reason(self) -> str:
        """Why the step is used, in a few words."""
        taken = f'{1000 * self.predicted(self.step):.0f} of {1000 * self.period:.0f} ms'
        text = f'step {self.step + 1} of {len(self._seconds)}: {taken}'
        if self.unreachable:
            return f'{text}, too slow'
        if self.step == 0:
            return text
        better = self.predicted(self.step - 1)
        text = f'{text}, {1000 * better:.0f} ms at the better one'
        if better <= ROOM * self.period and (rest := self._wait - self._passed) > 0:
            text = f'{text}, which is tried in {rest:.0f} s'
        return text

    # --- decisions -------------------------------------------------------------------------------

    def _judge(self) -> None:
        recent = [*self._frames][-RECENT:]
        slow = len(recent) >= SEVERAL and (
            statistics.median(frame.total for frame in recent) > self.period
            or 2 * sum(frame.late for frame in recent) > RECENT
        )
        full = len(self._frames) == WINDOW
        if slow or (full and not self._kept()):
            if self.step == len(self._seconds) - 1:
                self.unreachable |= full and not self._kept()
                return
            if slow:
                self._frames = deque(recent, maxlen=WINDOW)
            self._lower()
        elif full and self.step > 0 and self._passed >= self._wait:
            best = self._best(ROOM)
            if best < self.step:
                self._move(best)
                self._raised, self.unreachable = 0.0, False

    def _kept(self) -> bool:
        """Whether the frames of the window keep rate and age; one long pause is no overload."""
        mean = statistics.fmean(min(frame.total, 2 * self.period) for frame in self._frames)
        late = sum(frame.late for frame in self._frames)
        return mean <= self.period and late <= LATE * len(self._frames)

    def _lower(self) -> None:
        if self._raised is not None:
            self._wait = min(2 * self._wait, LONGEST_WAIT)
            self._raised = None
        self._move(max(self.step + 1, self._best(FIT)))

    def _best(self, share: float) -> int:
        """The best step that is predicted to fit into a share of the period, else the last."""
        limit = share * self.period
        steps = range(len(self._seconds))
        return next((step for step in steps if self.predicted(step) <= limit), steps[-1])

    def _move(self, step: int) -> None:
        """Use a step from now on; what was measured so far tells the load that it begins with."""
        if self._frames:
            own = self._seconds[self.step]
            self._load = statistics.median(frame.engine for frame in self._frames) / own
            self._outside = statistics.median(x.total - x.engine for x in self._frames)
        self._frames.clear()
        self.step, self._passed, self._in_time = step, 0.0, 0
