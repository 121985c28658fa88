"""The steps from the best to the cheapest way to run a model, each warmed up and timed."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nndepth_core.engines.base import Engine, EngineError
from nndepth_core.estimator.base import Estimator
from nndepth_core.spec import ModelSpec

_log = logging.getLogger(__name__)

ITERATIONS = (1.0, 0.5, 0.25)
"""Shares of the iterations of an iterative network, which are reduced first."""
SIZES = (1.0, 0.85, 0.7, 0.55, 0.45, 0.35, 0.25)
"""Shares of the width at which a model works."""
_FEWEST = 2
"""Fewer iterations than this leave a network without use of them."""
_RUNS = 3
"""How often a step runs; its shortest time counts."""
_LONG = 1.0
"""Seconds from which one run tells enough."""
_PAUSE = 0.002
"""Seconds between two steps, in which a waiting thread takes its turn."""


def plan(
    spec: ModelSpec, size: tuple[int, int], iterations: int = 0
) -> list[tuple[tuple[int, int], int]]:
    """List the (width, height) and iterations of the steps, the best first.

    Sizes keep the aspect ratio and suit the model; each step is cheaper than the one before.

    Args:
        spec: what the model takes.
        size: (width, height) at which it works at its best.
        iterations: the steps of an iterative network, 0 where they cannot be changed.
    """
    counts = [iterations]
    for share in ITERATIONS[1:]:
        count = max(_FEWEST, round(share * iterations))
        if count < counts[-1]:
            counts.append(count)
    return [
        *((size, count) for count in counts),
        *((smaller, counts[-1]) for smaller in _smaller_sizes(spec, size)),
    ]


def _smaller_sizes(spec: ModelSpec, size: tuple[int, int]) -> list[tuple[int, int]]:
    if spec.fixed_size is not None:
        return []
    width, height = size
    fewest = spec.pixels[0] if spec.pixels else 1
    sizes, area = [], math.prod(spec.padded_size(height, width))
    for share in SIZES[1:]:
        wide = spec.multiple * round(share * width / spec.multiple)
        high = round(wide * height / width)
        if high < spec.minimum[0] or wide < spec.minimum[1] or wide * high < fewest:
            break
        if (padded := math.prod(spec.padded_size(high, wide))) < area:
            sizes.append((wide, high))
            area = padded
    return sizes


class StepEngine:
    """An engine with iterations of its own, which takes turns with others that share the engine.

    Args:
        engine: the engine that executes the model.
        turn: is held while it runs.
        iterations: the steps of an iterative network; 0 takes those of the engine.

    Attributes:
        seconds: how long the last run took, without waiting for its turn; infinite before it.
    """

    def __init__(self, engine: Engine, turn: threading.RLock, iterations: int = 0) -> None:
        self.shared = engine
        self.iterations = iterations or engine.iterations
        self.seconds = math.inf
        self._turn = turn

    def __getattr__(self, name: str) -> Any:
        return getattr(self.shared, name)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Compute one batch; see `Engine`."""
        with self._turn:
            usual, begun = self.shared.iterations, time.perf_counter()
            waited = getattr(self.shared, 'waited', 0.0)
            try:
                if self.iterations != usual:
                    self.shared.iterations = self.iterations
                maps = self.shared.run(inputs)
            finally:
                if self.iterations != usual:
                    self.shared.iterations = usual
            waited = getattr(self.shared, 'waited', 0.0) - waited
            self.seconds = time.perf_counter() - begun - waited
            return maps


@dataclass
class Step:
    """One way to run a model.

    Attributes:
        size: (width, height) at which it works.
        estimator: an estimator that works so.
        seconds: how long the engine needs, at least; infinite until it is measured.
    """

    size: tuple[int, int]
    estimator: Any
    seconds: float = math.inf


class Ladder:
    """The steps of an estimator for images of one size.

    Args:
        estimator: works as the best step does.
        image_size: (width, height) of the images.
        turn: is held while the engine runs, so that it may be used elsewhere by the same lock.

    Attributes:
        steps: the best first.
        ready: whether all steps are warmed up and measured.
    """

    def __init__(
        self, estimator: Estimator, image_size: tuple[int, int], turn: threading.RLock
    ) -> None:
        self.estimator = estimator
        self.image_size = image_size
        self.ready = False
        self._stopped = False
        self._turn = turn
        size, engine = estimator.processed_size(*image_size), estimator.engine
        iterations = engine.iterations if _can_iterate_less(engine, turn) else 0
        best, *others = plan(engine.spec, size, iterations)
        ways = [(best, estimator.processing_size), *((way, way[0]) for way in others)]
        self.steps = [
            Step(
                size,
                type(estimator)(
                    StepEngine(engine, turn, count),
                    processing_size,
                    estimator.output,
                    estimator.confidence_threshold,
                ),
            )
            for (size, count), processing_size in ways
        ]

    def serves(self, estimator: Any, image_size: tuple[int, int]) -> bool:
        """Whether these are the steps of an estimator for images of a size."""
        return self.estimator is estimator and self.image_size == image_size

    def stop(self) -> None:
        """End the measurement after the present run."""
        self._stopped = True

    def measure(self) -> None:
        """Warm up and measure all steps, the cheapest first; those that fail are left out.

        Another thread may use the best step meanwhile, which is not measured then. Its turn comes
        after each of the other steps.
        """
        kept: list[Step] = []
        for step in reversed(self.steps):
            try:
                with self._turn:
                    self._measure(step)
            except Exception as error:  # a backend may raise anything
                width, height = step.size
                _log.warning('%dx%d is no step to keep a rate: %s', width, height, error)
                continue
            if self._stopped:
                return
            if kept:  # noise does not make the better one the cheaper one
                step.seconds = max(step.seconds, kept[-1].seconds)
            kept.append(step)
            time.sleep(_PAUSE)
        self.steps = kept[::-1] or self.steps[:1]
        self.ready = bool(kept)

    def _measure(self, step: Step) -> None:
        step.seconds = step.estimator.engine.seconds
        runs = _RUNS if math.isinf(step.seconds) else 0
        for _ in range(runs):
            if self._stopped:
                return
            step.estimator.warm_up(*self.image_size)
            step.seconds = min(step.seconds, step.estimator.engine.seconds)
            if step.seconds > _LONG:
                return


def _can_iterate_less(engine: Engine, turn: threading.RLock) -> bool:
    """Whether an engine takes another number of iterations than it has."""
    usual = engine.iterations
    if usual <= _FEWEST:
        return False
    with turn:
        try:
            engine.iterations = _FEWEST
        except EngineError:
            return False
        engine.iterations = usual
    return True
