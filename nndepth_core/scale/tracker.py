"""The scale in a stream, whose true depths come later than its images and less often."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from nndepth_core.files.values import number
from nndepth_core.scale.fit import Scale, ScaleError

JUMP = 0.25
"""A scale that gives other values by more than this share is taken without smoothing."""
MAPS = 20
"""The most maps that wait for true depths."""
TRUTHS = 30
"""The most true depths that wait for their map: those of a second, by most sensors."""
LONGEST = 60.0
"""The largest time that a setting may have, seconds."""

Map = TypeVar('Map')
Truth = TypeVar('Truth')


@dataclass(frozen=True)
class TrackerSettings:
    """How a scale is followed.

    Attributes:
        tolerance: the largest difference of the stamps of a map and a true depth, seconds.
        smoothing: the time constant of the exponential mean, seconds; 0 takes each as it is.
        max_age: seconds for which a scale is used after it was found.
    """

    tolerance: float = 0.05
    smoothing: float = 0.5
    max_age: float = 1.0

    def __post_init__(self) -> None:
        for name in ('tolerance', 'smoothing', 'max_age'):
            number(name, getattr(self, name), 0, LONGEST)


class ScaleTracker(Generic[Map, Truth]):
    """Joins maps and true depths by their stamps, in nanoseconds, and smooths what they tell.

    A true depth waits until a map of its stamp or a later one is there, so that it is joined with
    the closest. `offer` may be called from another thread than the rest.

    Args:
        settings: tolerance, smoothing and age.
        measure: finds the scale of a map with a true depth; ScaleError if there is none.
        maps: the most maps that wait; 1 is enough where true depths never come late.
    """

    def __init__(
        self, settings: TrackerSettings, measure: Callable[[Map, Truth], Scale], maps: int = MAPS
    ) -> None:
        self._settings = settings
        self._measure = measure
        self._maps: deque[tuple[int, Map]] = deque(maxlen=maps)
        self._truths: deque[tuple[int, Truth]] = deque(maxlen=TRUTHS)
        self._scale: Scale | None = None
        self._found = 0
        self._refusal: ScaleError | None = None
        self._apart: float | None = None

    def offer(self, stamp: int, truth: Truth) -> None:
        """Take a true depth."""
        self._truths.append((stamp, truth))

    def forget(self) -> None:
        """Forget the maps and what they told, as when they come from another model."""
        self._maps.clear()
        self._scale = self._refusal = self._apart = None

    def update(self, stamp: int, newest: Map) -> None:
        """Take a map, and learn from all true depths whose map is there.

        A stamp that is not later than the one before means that time begins anew.
        """
        if self._maps and stamp <= self._maps[-1][0]:
            self.forget()
        self._maps.append((stamp, newest))
        for _ in range(len(self._truths)):
            when, truth = self._truths.popleft()
            at, partner = min(self._maps, key=lambda kept: abs(kept[0] - when))
            apart = (when - at) / 1e9
            if when > stamp:
                self._truths.append((when, truth))
            elif abs(apart) <= self._settings.tolerance:
                self._learn(at, partner, truth)
                continue
            self._apart = apart

    def current(self, stamp: int) -> Scale:
        """Return the scale at the time of a stamp.

        Raises:
            ScaleError: none is known, or it is too old; the message says why.
        """
        age = (stamp - self._found) / 1e9
        if self._scale is not None and age <= self._settings.max_age:
            return self._scale
        if self._refusal is not None:
            raise self._refusal
        if self._apart is not None and abs(self._apart) > self._settings.tolerance:
            raise ScaleError(
                'scale_stamps',
                f'no known depth lies within {self._settings.tolerance:g} s of an image: the last '
                f'one is {self._apart:+.3f} s from the closest; stamp both from one clock, or '
                'raise scale_tolerance',
            )
        if self._scale is not None:
            raise ScaleError(
                'scale_old', f'the last scale is {age:.1f} s old; no known depth has come since'
            )
        raise ScaleError('scale_waiting', 'no known depth has come so far')

    def _learn(self, stamp: int, partner: Map, truth: Truth) -> None:
        self._apart = None
        try:
            newer = self._measure(partner, truth)
        except ScaleError as refusal:
            self._refusal = refusal
            return
        self._refusal = None
        self._scale, self._found = self._smoothed(newer, stamp), stamp

    def _smoothed(self, newer: Scale, stamp: int) -> Scale:
        """The newer scale, drawn towards the last one unless that is too old or too different."""
        last, seconds = self._scale, (stamp - self._found) / 1e9
        if last is None or not 0 <= seconds <= self._settings.max_age:
            return newer
        if not self._settings.smoothing or last.differs(newer, JUMP):
            return newer
        return last.mixed(newer, 1 - math.exp(-seconds / self._settings.smoothing))
