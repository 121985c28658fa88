"""Joins what two models answer to one frame, and counts frames that only one of them answers.

Models may take long and leave out frames, so that an answer waits for the other one, but only for
a while: neither memory nor delay grows where one model is slower, or is not there at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

OTHER = {'a': 'b', 'b': 'a'}
MOST_WAITING = 100
"""The most answers of one model that wait at a time."""


@dataclass
class AnswerCounts:
    """Every frame counts once; answers that still wait count nowhere.

    Attributes:
        joined: frames that both models answered.
        only_a, only_b: frames that one of them answered alone.
        repeated: answers that came twice, or after their frame was given up.
    """

    joined: int = 0
    only_a: int = 0
    only_b: int = 0
    repeated: int = 0


class Answers:
    """Joins the answers of the models 'a' and 'b' by equal stamps.

    Args:
        max_wait: seconds for which an answer waits for the other model's.
        clock: gives seconds of a steady clock, since stamps may come from a bag.
    """

    def __init__(self, max_wait: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.max_wait = max_wait
        self.counts = AnswerCounts()
        self._clock = clock
        self._waiting: dict[str, dict[int, tuple[float, Any]]] = {model: {} for model in OTHER}
        self._settled: dict[int, float] = {}

    def add(self, model: str, stamp: int, answer: Any) -> tuple[Any, Any] | None:
        """Take an answer of 'a' or 'b'; return those of (a, b) if both have come."""
        self.expire()
        mine, others = self._waiting[model], self._waiting[OTHER[model]]
        if stamp in mine or stamp in self._settled:
            self.counts.repeated += 1
            return None
        if stamp not in others:
            mine[stamp] = self._clock(), answer
            if len(mine) > MOST_WAITING:
                self._give_up(model, next(iter(mine)))
            return None
        _, partner = others.pop(stamp)
        self._settled[stamp] = self._clock()
        self.counts.joined += 1
        for name, waiting in self._waiting.items():  # models answer frames in their order
            for earlier in [known for known in waiting if known < stamp]:
                self._give_up(name, earlier)
        return (answer, partner) if model == 'a' else (partner, answer)

    def expire(self) -> None:
        """Give up answers that have waited too long."""
        oldest = self._clock() - self.max_wait
        for model, waiting in self._waiting.items():
            for stamp in [stamp for stamp, (since, _) in waiting.items() if since < oldest]:
                self._give_up(model, stamp)
        # After a while the same stamp is another frame: a bag that is played in a loop.
        self._settled = {stamp: at for stamp, at in self._settled.items() if at >= oldest}

    @property
    def waiting(self) -> int:
        """How many answers wait."""
        return sum(map(len, self._waiting.values()))

    def _give_up(self, model: str, stamp: int) -> None:
        del self._waiting[model][stamp]
        self._settled[stamp] = self._clock()
        name = f'only_{model}'
        setattr(self.counts, name, getattr(self.counts, name) + 1)
