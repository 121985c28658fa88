"""Measures the rate of a camera by the stamps of its images."""

from __future__ import annotations

import statistics
from collections import deque

WINDOW = 31
"""The number of gaps whose median counts; a new rate is noticed after half of them."""
_ENOUGH = 5
_CHANGED = 0.05
"""The share by which the median must differ from the period so far."""
_LONGEST = 10.0
"""Seconds; longer gaps are pauses."""


class CameraRate:
    """The median time between images, which a few lost or late images do not change.

    Attributes:
        period: seconds between two images; None as long as too few have come.
        gaps: how many times between two images were taken, of which the last WINDOW count.
    """

    def __init__(self) -> None:
        self.period: float | None = None
        self.gaps = 0
        self._last: int | None = None
        self._gaps: deque[float] = deque(maxlen=WINDOW)

    def add(self, stamp: int) -> None:
        """Take the stamp of the next image, nanoseconds; stamps may jump, as when a bag loops."""
        gap = 0.0 if self._last is None else (stamp - self._last) / 1e9
        self._last = stamp
        if not 0 < gap <= _LONGEST:
            return
        self._gaps.append(gap)
        self.gaps += 1
        if len(self._gaps) < _ENOUGH:
            return
        median = statistics.median(self._gaps)
        learning = len(self._gaps) < WINDOW
        if self.period is None or learning or abs(median / self.period - 1) > _CHANGED:
            self.period = median
