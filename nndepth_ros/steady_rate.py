"""Lets a node keep a rate: chooses the estimator of each frame, and reports what it chose."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from nndepth.msg import InferenceStats

from nndepth_core.engines import Engine
from nndepth_core.pacing import CameraRate, Controller, Ladder, Shortfall
from nndepth_core.plausibility import Finding, Level
from nndepth_ros.conversions import stamp_ns
from nndepth_ros.parameters.rate import CAMERA, HIGHEST, LOWEST
from nndepth_ros.pipeline import STAGES

_SPAN = 10.0
"""Seconds of the outputs by which their rate is measured."""
_OUTPUTS = 21
_WAITS = 0.2
"""The share of a period from which on waiting for others is worth telling."""
_FASTER = 0.9
"""A camera whose period is below this share of the wanted one gives frames that are not needed."""


class SteadyRate:
    """What a node needs to keep the rate of its parameter `target_rate`.

    `arrived` and `findings` are called by the executor's thread, `prepare` by one that loads a
    model, and the others by the worker.

    Attributes:
        target: the rate in Hz, 0 for none, or CAMERA.
    """

    def __init__(self, target: float | str) -> None:
        self.target = target
        self._turns: WeakKeyDictionary[Engine, threading.RLock] = WeakKeyDictionary()
        self._ladder: Ladder | None = None
        self._shortfall = Shortfall()
        self.begin()

    def begin(self) -> None:
        """Forget the stream and what was measured."""
        self.stop()
        self._shortfall.interrupt()
        self.camera = CameraRate()
        self.rate = 0.0
        self._ladder = None
        self._prepared: Ladder | None = None
        self._controller: Controller | None = None
        self._thread: threading.Thread | None = None
        self._size: tuple[int, int] | None = None
        self._outside = self._waited = self._waiting = 0.0
        self._lost = 0
        self._simulated = False
        self._times: deque[float] = deque(maxlen=_OUTPUTS)

    def stop(self) -> None:
        """End the measurement of steps, after the present run."""
        if self._ladder is not None:
            self._ladder.stop()

    @property
    def measuring(self) -> bool:
        """Whether a step is being measured, which cannot be interrupted."""
        return self._thread is not None and self._thread.is_alive()

    # --- inputs ----------------------------------------------------------------------------------

    def arrived(self, image: Any, simulated: bool) -> None:
        """Note an image of the camera; if time is simulated, stamps do not tell when it came."""
        self._simulated = simulated
        stamp = 0 if simulated else stamp_ns(image.header.stamp)
        self.camera.add(stamp or time.monotonic_ns())

    @property
    def period(self) -> float | None:
        """The seconds in which a frame is wanted; None without a target, or if not known yet."""
        camera = self.camera.period
        if self.target == CAMERA:
            return None if camera is None else min(max(camera, 1 / HIGHEST), 1 / LOWEST)
        return max(1 / float(self.target), camera or 0.0) if self.target else None

    # --- the estimator of a frame ----------------------------------------------------------------

    def prepare(self, estimator: Any) -> None:
        """Measure the steps of an estimator that is not in use yet, if a rate is to be kept."""
        if self.target and self._size is not None:
            with suppress(ValueError):  # a size that the model cannot take fails with its frames
                ladder = self._make_ladder(estimator, self._size)
                ladder.measure()
                self._prepared = ladder

    def estimator(self, estimator: Any, size: tuple[int, int]) -> Any:
        """Return what is to work on a frame: the estimator itself, or one of its cheaper steps.

        Args:
            estimator: works as the parameters say.
            size: (width, height) of the frame.
        """
        self._size = size
        if not self.target and estimator.engine not in self._turns:
            return estimator
        ladder = self._ladder
        if ladder is None or not ladder.serves(estimator, size):
            ladder = self._change_ladder(estimator, size)
        if self.target and not (ladder.ready or self._thread):
            self._thread = threading.Thread(target=ladder.measure, name='loader', daemon=True)
            self._thread.start()
        period = self.period
        if period is None or not ladder.ready:
            self._controller = None
            return ladder.steps[0].estimator
        if self._controller is None:
            sharers = getattr(ladder.estimator.engine, 'sharers', 1)
            seconds = [sharers * step.seconds for step in ladder.steps]
            self._controller = Controller(seconds, period, self._outside)
        self._controller.want(period)
        return ladder.steps[self._controller.step].estimator

    def _change_ladder(self, estimator: Any, size: tuple[int, int]) -> Ladder:
        self.stop()
        prepared, self._prepared = self._prepared, None
        if prepared is None or not prepared.serves(estimator, size):
            prepared = self._make_ladder(estimator, size)
        self._ladder, self._controller, self._thread = prepared, None, None
        return prepared

    def _make_ladder(self, estimator: Any, size: tuple[int, int]) -> Ladder:
        turn = self._turns.setdefault(estimator.engine, threading.RLock())
        return Ladder(estimator, size, turn)

    # --- what became of it -----------------------------------------------------------------------

    def answered(self, stats: InferenceStats) -> None:
        """Judge a frame by its statistics, and add to them what is known of the rate.

        An engine that others use too has to serve all of them within a period: a frame counts as
        long as it would take if theirs took as long, not as long as theirs did.
        """
        spent = _seconds(stats)
        self._outside = spent - stats.inference_ms / 1000
        shared = None if self._ladder is None else self._ladder.estimator.engine
        before, self._waited = self._waited, getattr(shared, 'waited', 0.0)
        self._waiting = max(0.0, self._waited - before)
        own = max(0.0, stats.inference_ms / 1000 - self._waiting)
        engine = own * getattr(shared, 'sharers', 1)
        spent = self._outside + engine
        lost, self._lost = stats.dropped + stats.late - self._lost, stats.dropped + stats.late
        self._count()
        period, camera = self.period, self.camera.period
        if self._controller is not None and period is not None:
            others = self._waiting > own
            if others or (camera is not None and camera < _FASTER * period):
                lost = 0
            age, arrival = stats.age_ms / 1000, (stats.age_ms - stats.total_ms) / 1000
            known = arrival < period and not (others or self._simulated)
            self._controller.feed(spent, engine, lost, age if known else math.nan)
        stats.target_rate = self._wanted()
        stats.achieved_rate = self.rate
        stats.rate_reason = self._reason()

    def advice(self, engine: Engine, stats: InferenceStats) -> str:
        """Tell what helps where a model is slower than the camera and no rate is to be kept.

        Args:
            engine: what worked on the frame.
            stats: its statistics.

        Returns:
            Text for the log, once for each model and device; otherwise ''.
        """
        if self.target:
            self._shortfall.interrupt()
            return ''
        size = stats.processing_width, stats.processing_height
        setting = id(engine), size, stats.iterations
        return self._shortfall.add(
            engine.spec.title, stats.device, setting, _seconds(stats), self.camera
        )

    def _count(self) -> None:
        times = self._times
        times.append(time.monotonic())
        while len(times) > 2 and times[-1] - times[0] > _SPAN:
            times.popleft()
        if len(times) > 1:
            self.rate = (len(times) - 1) / (times[-1] - times[0])

    def _wanted(self) -> float:
        """The target in Hz; 0 if there is none, or if the camera's is not known yet."""
        if self.target != CAMERA:
            return float(self.target)
        return 0.0 if self.period is None else 1 / self.period

    def _reason(self) -> str:
        if not self.target:
            return ''
        if self.period is None:
            return 'the rate of the camera is not known yet'
        if self._controller is None:
            return 'the steps are being measured' if self.measuring else 'no step was measured'
        reason, camera = self._controller.reason, self.camera.period
        if camera is not None and camera * self._wanted() > 1 / _FASTER:
            reason = f'{reason}; the camera gives {1 / camera:.3g} Hz'
        if self._waiting > _WAITS * self.period:
            reason = f'{reason}; waited {1000 * self._waiting:.0f} ms for others at the engine'
        return reason

    def findings(self) -> list[Finding]:
        """Tell that the rate is not reached by any step, or because others use the engine."""
        ladder, controller, period = self._ladder, self._controller, self.period
        if ladder is None or controller is None or period is None:
            return []
        text = (
            f'target_rate is {self.target if self.target == CAMERA else f"{self.target:g} Hz"} '
            f'and {1 / period:.3g} Hz are not kept: '
        )
        if controller.unreachable:
            width, height = ladder.steps[-1].size
            text += (
                f'{self.rate:.3g} Hz are reached at {width}x{height}, the cheapest step; lower '
                'target_rate, or choose a faster model (`nndepth models --for cpu`), engine or '
                'device'
            )
        elif self._waiting > _WAITS * period and 0 < self.rate < _FASTER / period:
            text += (
                f'{self.rate:.3g} Hz are reached, for a frame waits {1000 * self._waiting:.0f} ms '
                'for rigs that share the engine; set target_rate for them too, or give this one '
                'an engine of its own by another number of threads'
            )
        else:
            return []
        return [Finding('target_rate', Level.WARN, text)]


def _seconds(stats: InferenceStats) -> float:
    """How long a frame was worked on."""
    return sum(getattr(stats, f'{stage}_ms') for stage in (*STAGES, 'publish')) / 1000
