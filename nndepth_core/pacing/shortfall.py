"""Notices a model that is slower than its camera, where no rate is to be kept."""

from __future__ import annotations

import statistics
from collections.abc import Hashable

from nndepth_core.pacing.camera_rate import WINDOW, CameraRate

SPAN = 3.0
"""The seconds of the camera that a judgement needs at least."""
FRAMES = 10
"""The frames of the model that a judgement needs at least."""
_SAME = 0.2
"""The share by which the period of a camera may change in one window."""
_SLOWER = 1.1
"""Periods that a frame takes from which on it is worth telling."""


class Shortfall:
    """Compares the time that frames take with the period of the camera; tells each model once.

    It judges by whole windows, during which the model, what it was set to, and the rate of the
    camera stayed the same, so that both figures are of the same seconds.
    """

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()
        self.interrupt()

    def interrupt(self) -> None:
        """Begin a new window, as after a pause."""
        self._setting: Hashable = None
        self._period = 0.0
        self._first = 0
        self._spent: list[float] = []

    def add(
        self, model: str, device: str, setting: Hashable, seconds: float, camera: CameraRate
    ) -> str:
        """Take a frame.

        Args:
            model: what worked on it, with its variant.
            device: on what.
            setting: what else decides how long it takes.
            seconds: how long it took.
            camera: what is known of the camera.

        Returns:
            What helps, once for each model and device that is slower than the camera; usually ''.
        """
        period = camera.period
        if period is None or (model, device) in self._told:
            return ''
        setting = model, device, setting
        if setting != self._setting or abs(period - self._period) > _SAME * self._period:
            self._begin(setting, camera, period)
            return ''
        self._spent.append(seconds)
        gaps = camera.gaps - self._first
        if len(self._spent) < FRAMES or gaps < max(WINDOW, SPAN / period):
            return ''
        spent = statistics.median(self._spent)
        self._begin(setting, camera, period)
        if spent < _SLOWER * period:
            return ''
        self._told.add((model, device))
        return (
            f'{model} takes {_milliseconds(spent)} for a frame on {device} and the camera gives '
            f'one each {_milliseconds(period)}, so that at most {1 / spent:.3g} of '
            f'{1 / period:.3g} frames a second are answered; target_rate auto answers all by '
            'working on smaller ones, and `nndepth models --for cpu` (or gpu) lists faster models'
        )

    def _begin(self, setting: Hashable, camera: CameraRate, period: float) -> None:
        self._setting, self._period, self._first = setting, period, camera.gaps
        self._spent.clear()


def _milliseconds(seconds: float) -> str:
    return f'{1000 * seconds:.{1 if seconds < 0.01 else 0}f} ms'
