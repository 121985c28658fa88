"""The mean over time, of what does not move."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

import cv2
import numpy as np

CHANGED = 6
"""Grey levels, of 255, by which a blurred image changes where something moves."""
GAP = 5.0
"""So many time constants without an image, and what was before counts no more."""
DRIFTED = 0.1
"""The share of the tolerance by which values around a pixel change together where it moves."""
_BLUR = 5
_AROUND = 15
_MOST = np.iinfo(np.uint8).max


@dataclass
class _Memory:
    """The mean so far (H, W), how many values it is of, and the image and time of the last one."""

    stream: Hashable
    mean: np.ndarray
    count: np.ndarray
    grey: np.ndarray
    stamp: int


class TemporalMean:
    """A recursive mean of maps, which forgets with a time constant.

    The first values of a surface have the same weight, so that their plain mean is there at once;
    later ones have that of an exponential mean. Where the image changes, or the value changes by
    more than the tolerance, something has moved: the mean starts anew with the new value. So it
    does everywhere after a jump of time or with another stream.
    """

    def __init__(self) -> None:
        self._memory: _Memory | None = None

    def reset(self) -> None:
        """Forget all values."""
        self._memory = None

    def __call__(
        self,
        values: np.ndarray,
        tolerance: np.ndarray,
        image: np.ndarray,
        stamp: int,
        time_constant: float,
        stream: Hashable,
    ) -> np.ndarray:
        """Return the mean, which is known where the values are.

        Args:
            values: float32 (H, W), NaN where unknown.
            tolerance: float32 (H, W), the largest change of a value that does not move.
            image: uint8 RGB (H, W, 3).
            stamp: the time of the image, nanoseconds.
            time_constant: seconds, larger than 0.
            stream: what must stay the same, such as the camera.
        """
        grey = cv2.blur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (_BLUR, _BLUR))
        memory, stream = self._memory, (stream, values.shape)
        passed = (stamp - memory.stamp) / 1e9 if memory else 0.0
        if memory is None or memory.stream != stream or not 0 < passed < GAP * time_constant:
            count = np.ones(values.shape, np.uint8)
            self._memory = _Memory(stream, values.copy(), count, grey, stamp)
            return values
        change = cv2.subtract(memory.mean, values)
        same = cv2.absdiff(grey, memory.grey) <= CHANGED
        same &= np.abs(change) <= tolerance
        change = cv2.copyTo(change, same.view(np.uint8))
        drift = cv2.blur(change, (_AROUND, _AROUND))
        same &= np.abs(drift) <= np.float32(DRIFTED) * tolerance
        count = memory.count * same
        count += count < _MOST
        kept = cv2.LUT(count, _weights(1 - math.exp(-passed / time_constant)))
        mean = values + cv2.multiply(cv2.copyTo(change, same.view(np.uint8)), kept)
        self._memory = _Memory(stream, mean, count, grey, stamp)
        return mean.copy()


def _weights(least: float) -> np.ndarray:
    """The weight of the mean of n - 1 values beside the n-th one, float32 (256,)."""
    number = np.arange(1, _MOST + 1)
    return np.r_[0, 1 - np.maximum(1 / number, least)].astype(np.float32)
