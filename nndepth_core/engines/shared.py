"""One engine for several callers, each in a thread of its own, such as the cameras of a robot."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet, WeakValueDictionary

import numpy as np

from nndepth_core.engines import Engine, create_engine, resolve_model
from nndepth_core.engines.base import check_inputs
from nndepth_core.engines.reference import small_size, textured_inputs, tolerated
from nndepth_core.files.values import integer, number

_log = logging.getLogger(__name__)

LARGEST_BATCH = 64
LONGEST_WINDOW = 1000.0
LATELY = 5.0
"""Seconds after which a caller that is silent does not share the engine any more."""
_TOLERANCE = 0.05
"""The mean difference in pixels of what is computed in a batch and alone."""


@dataclass(eq=False)
class _Request:
    """What a caller wants to have computed, and what came of it."""

    inputs: Mapping[str, np.ndarray]
    iterations: int
    outputs: dict[str, np.ndarray] | None = None
    error: Exception | None = None
    asked: float = field(default_factory=time.perf_counter)
    begun: float = math.inf

    @property
    def answered(self) -> bool:
        return self.outputs is not None or self.error is not None

    @property
    def kind(self) -> tuple[Any, ...]:
        """Requests of one kind can be computed in one batch."""
        layout = {name: (x.shape[1:], x.dtype.str) for name, x in self.inputs.items()}
        return self.iterations, sorted(layout.items())


class EngineQueue:
    """Lets callers use an engine in turn, in the order in which they come.

    There is no thread of its own: the caller whose turn it is runs the engine, for itself and for
    those that it takes along in its batch. So nothing has to be ended, and a caller that has gone
    holds up nobody.

    Args:
        engine: the engine, which nobody else may use.
        batch: the most requests that are computed together; 0 takes as many as there are callers
            on a GPU, and one on the CPU, where batches hardly gain, and by TensorRT, which would
            build an engine for each size of a batch.
        window: milliseconds that a caller whose turn it is waits until its batch is full; with 0
            it takes along those who wait already.
    """

    def __init__(self, engine: Engine, batch: int = 0, window: float = 0.0) -> None:
        self.engine = engine
        self.callers: WeakSet[SharedEngine] = WeakSet()
        self._batch = batch or (LARGEST_BATCH if engine.device == 'cuda' else 1)
        self._window = window / 1000
        self._waiting: list[_Request] = []
        self._changed = threading.Condition()
        self._busy = self._tested = False

    def run(
        self, inputs: Mapping[str, np.ndarray], iterations: int
    ) -> tuple[dict[str, np.ndarray], float]:
        """Compute when it is this caller's turn; see `Engine.run`.

        Args:
            inputs: what `Engine.run` takes.
            iterations: the steps of an iterative network.

        Returns:
            What `Engine.run` does, and the seconds of waiting.
        """
        check_inputs(self.engine.spec, inputs)
        request = _Request(inputs, iterations)
        with self._changed:
            self._waiting.append(request)
            self._changed.notify_all()
        try:
            self._wait_for_answer(request)
        finally:
            with self._changed:
                self._waiting.remove(request)
                self._changed.notify_all()
        if request.error is not None:
            raise request.error
        assert request.outputs is not None
        return request.outputs, request.begun - request.asked

    @contextmanager
    def turn(self) -> Iterator[Engine]:
        """Use the engine while nobody runs it."""
        with self._changed:
            self._changed.wait_for(lambda: not self._busy)
            self._busy = True
        try:
            yield self.engine
        finally:
            self._end_turn()

    def self_test(self) -> None:
        """Test the engine, and whether it computes batches, unless it has passed before.

        Raises:
            EngineError: it computes something else than the model should.
        """
        with self.turn() as engine:
            if self._tested:
                return
            engine.self_test()
            if self._batch > 1 and not self._computes_batches():
                self._stop_batches()
            self._tested = True

    # --- turns -----------------------------------------------------------------------------------

    def _wait_for_answer(self, request: _Request) -> None:
        """Return when another turn has answered a request, or answer it in a turn of its own."""
        with self._changed:
            self._changed.wait_for(lambda: request.answered or self._is_next(request))
            if request.answered:
                return
            self._busy = True
        try:
            self._compute(self._batch_of(request))
        finally:
            self._end_turn()

    def _is_next(self, request: _Request) -> bool:
        return not self._busy and request is next(x for x in self._waiting if not x.answered)

    def _end_turn(self) -> None:
        with self._changed:
            self._busy = False
            self._changed.notify_all()

    def _batch_of(self, first: _Request) -> list[_Request]:
        """Choose, in the order in which they came, the requests that are computed together."""
        most = max(1, min(self._batch, len(self.callers)))

        def alike() -> list[_Request]:
            return [x for x in self._waiting if not x.answered and x.kind == first.kind][:most]

        with self._changed:
            if self._window:
                self._changed.wait_for(lambda: len(alike()) == most, self._window)
            return alike()

    # --- while the engine is ours ----------------------------------------------------------------

    def _compute(self, batch: list[_Request]) -> None:
        """Answer all requests of a batch; if that fails, one by one, to find whose fault it is."""
        if self.engine.iterations != batch[0].iterations:
            self.engine.iterations = batch[0].iterations
        if len(batch) > 1 and self._compute_together(batch):
            return
        for request in batch:
            request.begun = time.perf_counter()
            try:
                request.outputs = self.engine.run(request.inputs)
            except Exception as error:  # a backend may raise anything; it is the caller's
                request.error = error
        if len(batch) > 1 and all(request.error is None for request in batch):
            self._stop_batches()

    def _compute_together(self, batch: list[_Request]) -> bool:
        """Answer requests in one run; return whether the engine could do so."""
        counts = [len(next(iter(x.inputs.values()))) for x in batch]
        joined = {
            name: np.concatenate([x.inputs[name] for x in batch]) for name in batch[0].inputs
        }
        for request in batch:
            request.begun = time.perf_counter()
        try:
            outputs = self.engine.run(joined)
        except Exception:  # those at fault get their errors from runs of their own
            return False
        if any(len(values) != sum(counts) for values in outputs.values()):
            return False
        parts = {name: np.split(x, np.cumsum(counts)[:-1]) for name, x in outputs.items()}
        for at, request in enumerate(batch):
            request.outputs = {name: values[at] for name, values in parts.items()}
        return True

    def _computes_batches(self) -> bool:
        """Whether a batch of two gives what each of them gives alone."""
        spec, iterations = self.engine.spec, self.engine.iterations
        size = small_size(spec)
        batch = [_Request(textured_inputs(spec, *size, shift), iterations) for shift in (7, 4)]
        if not self._compute_together(batch):
            return False
        for request in batch:
            alone = self.engine.run(request.inputs)[spec.output]
            together = (request.outputs or {})[spec.output]
            known = np.isfinite(alone) & np.isfinite(together)
            difference = np.abs(together - alone)[known].mean() if known.any() else 0.0
            if difference > tolerated(spec, alone[known], _TOLERANCE):
                return False
        return True

    def _stop_batches(self) -> None:
        _log.warning(
            '%s by %s does not compute batches; the cameras that share it are computed one by one',
            self.engine.spec.title,
            self.engine.name,
        )
        self._batch = 1


class SharedEngine:
    """What one caller sees of an engine that it shares with others; see `Engine`.

    Args:
        queue: gives the turns.

    Attributes:
        iterations: the steps of an iterative network for this caller only.
        waited: the seconds of all waiting for others so far.
        last_run: when it ran last, by `time.monotonic`.
    """

    def __init__(self, queue: EngineQueue) -> None:
        self._queue = queue
        self.waited = 0.0
        self.last_run = -math.inf
        self._iterations = queue.engine.iterations
        self.name, self.device = queue.engine.name, queue.engine.device
        self.spec = queue.engine.spec
        queue.callers.add(self)

    @property
    def iterations(self) -> int:
        """The steps of an iterative network for this caller; 0 for other models."""
        return self._iterations

    @iterations.setter
    def iterations(self, count: int) -> None:
        with self._queue.turn() as engine:
            before = engine.iterations
            engine.iterations = count  # refuses what it cannot do
            self._iterations = engine.iterations
            engine.iterations = before

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Compute one batch when it is this caller's turn; see `Engine`."""
        maps, waited = self._queue.run(inputs, self._iterations)
        self.waited += waited
        self.last_run = time.monotonic()
        self.device = self._queue.engine.device  # an engine may have to fall back to another one
        return maps

    @property
    def sharers(self) -> int:
        """How many callers have used the engine lately, this one included."""
        since = time.monotonic() - LATELY
        return max(1, sum(caller.last_run > since for caller in [*self._queue.callers]))

    def self_test(self) -> None:
        """Test the engine, unless it has passed before; see `Engine`."""
        self._queue.self_test()


class EnginePool:
    """Hands out engines; those with the same settings share one, with one set of weights.

    An engine is released when nobody has it any more.

    Args:
        batch, window: see `EngineQueue`.
        create: makes an engine, like `create_engine`.

    Raises:
        ValueError: batch or window is out of range.
    """

    def __init__(
        self,
        batch: int = 0,
        window: float = 0.0,
        create: Callable[..., Engine] = create_engine,
    ) -> None:
        self._batch = integer('batch', batch, 0, LARGEST_BATCH)
        self._window = number('batch window', window, 0, LONGEST_WINDOW)
        self._create = create
        self._queues: WeakValueDictionary[tuple, EngineQueue] = WeakValueDictionary()
        self._locks: dict[tuple, threading.Lock] = {}

    def take(
        self, model: str, engine: str = 'auto', device: str = 'auto', **options: Any
    ) -> Engine:
        """Return an engine for one caller; see `create_engine` for arguments and errors.

        sgbm has no weights to share: each caller gets its own, so that they run at once.
        """
        if resolve_model(model, engine) == 'sgbm':
            return self._create(model, engine, device, **options)
        key = (model, engine, device, *sorted(options.items()))
        with self._locks.setdefault(key, threading.Lock()):  # others may load others meanwhile
            queue = self._queues.get(key)
            if queue is None:
                made = self._create(model, engine, device, **options)
                self._queues[key] = queue = EngineQueue(made, self._batch, self._window)
            return SharedEngine(queue)
