"""The mean over time, of what does not move."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

import cv2
import numpy as np

CHANGED = 6
"""Grey levels, of 255, by which a blurred image differs from its mean where something moves."""
QUIET = 1.5
"""The mean of such differences around a pixel where noise alone makes them."""
GAP = 5.0
"""So many time constants without an image, and what was before counts no more."""
DRIFTED = 0.1
"""The share of the tolerance by which values around a pixel change together where it moves."""
NOISIEST = 0.3
"""The same where the image is quiet and noise changes values as much."""
_TIMES_NOISE = 3
_LASTING = 0.5
_BLUR = 5
_AROUND = 15
_COARSE = 8
_SAMPLE = np.s_[::_COARSE, ::_COARSE]
_AROUND_COARSE = 5
_MOST = np.iinfo(np.uint8).max
_FINITE = np.finfo(np.float32).max


@dataclass
class _Memory:
    """What is known of the maps so far.

    Attributes:
        stream: what must stay the same.
        mean: float32 (H, W), the mean of the values.
        count: uint8 (H, W), how many values it is of.
        grey: float32 (H, W), the mean of the blurred image over the same time.
        stamp: the time of the last image.
        drifts: how values around some pixels differed from the mean in the last three maps, as
            shares of the tolerance.
    """

    stream: Hashable
    mean: np.ndarray
    count: np.ndarray
    grey: np.ndarray
    stamp: int
    drifts: tuple[np.ndarray, ...] = ()


class TemporalMean:
    """A recursive mean of maps, which forgets with a time constant.

    The first values of a surface have the same weight, so that their plain mean is there at once;
    later ones have that of an exponential mean. Something has moved where the image differs from
    its own mean, where a value differs by more than the tolerance, or where all values around it
    drift together: the mean starts anew with the new value. So it does everywhere after a jump of
    time or with another stream.

    Noise drifts too, because neighbours are wrong together. So a drift must be larger than noise
    makes it, which is measured where the image is quiet, and counts only there. Steady motion is
    no noise: it has no part in the second difference over time, by which noise is measured, and
    where three maps drift the same way, noise is no excuse.
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
        grey = grey.astype(np.float32)
        memory, stream = self._memory, (stream, values.shape)
        passed = (stamp - memory.stamp) / 1e9 if memory else 0.0
        if memory is None or memory.stream != stream or not 0 < passed < GAP * time_constant:
            count = np.ones(values.shape, np.uint8)
            self._memory = _Memory(stream, values.copy(), count, grey, stamp)
            return values
        shown = cv2.absdiff(grey, memory.grey)
        change = cv2.subtract(memory.mean, values)
        same = np.abs(change) <= np.minimum(tolerance, _FINITE)
        same &= shown <= CHANGED
        change = cv2.copyTo(change, same.view(np.uint8))
        drift = cv2.blur(change, (_AROUND, _AROUND))
        drifts = (*memory.drifts[-2:], drift[_SAMPLE] / tolerance[_SAMPLE])
        largest = _largest_drift(drifts, same[_SAMPLE], shown)
        same &= np.abs(drift) <= cv2.multiply(largest, tolerance)
        count = memory.count * same
        count += count < _MOST
        kept = cv2.LUT(count, _weights(1 - math.exp(-passed / time_constant)))
        mean = values + cv2.multiply(change, kept)
        grey = grey + cv2.multiply(memory.grey - grey, kept)
        self._memory = _Memory(stream, mean, count, grey, stamp, drifts)
        return mean.copy()


def _largest_drift(
    drifts: tuple[np.ndarray, ...], same: np.ndarray, shown: np.ndarray
) -> np.ndarray:
    """The largest drift of what does not move, as a share of the tolerance, float32 (H, W).

    Args:
        drifts: those of the last three maps at some pixels, or of fewer if there are no more.
        same: bool, where nothing else tells of motion, at the same pixels.
        shown: float32 (H, W), the difference between the image and its mean.
    """
    coarse = cv2.resize(shown, same.shape[::-1], interpolation=cv2.INTER_AREA)
    quiet = cv2.blur(coarse, (_AROUND_COARSE, _AROUND_COARSE)) <= QUIET
    noise = np.float32(0)
    if len(drifts) == 3:
        before, last, now = drifts
        curved = np.abs(now - 2 * last + before)
        known = curved[quiet & same & np.isfinite(curved)]
        noise = np.median(known) if known.size else noise
    limit = np.clip(_TIMES_NOISE * noise * quiet, DRIFTED, NOISIEST, dtype=np.float32)
    limit[np.abs(np.mean(drifts, axis=0)) > _LASTING * limit] = DRIFTED
    return cv2.resize(limit, shown.shape[::-1], interpolation=cv2.INTER_NEAREST)


def _weights(least: float) -> np.ndarray:
    """The weight of the mean of n - 1 values beside the n-th one, float32 (256,)."""
    number = np.arange(1, _MOST + 1)
    return np.r_[0, 1 - np.maximum(1 / number, least)].astype(np.float32)
