"""Runs a list of steps within a time limit, so that no step can spoil the others.

The steps run one after the other in a process that keeps its libraries loaded. A step that takes
too long, or brings its process down, is given up with the reason, and a new process goes on.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any, Literal

_START = 30.0
"""The seconds that a new process may take until it is ready, beyond the budget of its step."""
_LEAST = 0.5
"""The part of its budget that must be left for a step to begin."""
_CUDA_ERROR = 'CUDA error'
"""In the message of an error after which a process cannot use its GPU any more."""


class UnavailableError(RuntimeError):
    """A step cannot be done here; the message says what is missing."""


@dataclass(frozen=True)
class Step:
    """One thing to do.

    Attributes:
        labels: what it is about, such as its kind and the model; they are in the report.
        call: a function that a module defines by name; it returns the figures.
        arguments: its keyword arguments.
        budget: the seconds after which the step is given up.
    """

    labels: dict[str, Any]
    call: Callable[..., dict[str, Any]]
    arguments: dict[str, Any] = field(default_factory=dict)
    budget: float = 60.0


@dataclass(frozen=True)
class Outcome:
    """The result of a step.

    Attributes:
        step: the step.
        state: 'done'; 'skipped' if it could not be done here, for want of a package, memory or
            time; 'failed' if it broke.
        seconds: the time it took.
        figures: what the step returned.
        reason: why it is not done, '' if it is.
    """

    step: Step
    state: Literal['done', 'skipped', 'failed']
    seconds: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)
    reason: str = ''

    def record(self) -> dict[str, Any]:
        """The outcome for JSON."""
        record: dict[str, Any] = {**self.step.labels, 'state': self.state}
        if self.reason:
            record['reason'] = self.reason
        return {**record, 'seconds': round(self.seconds, 2), **self.figures}


def run_plan(
    steps: Sequence[Step], seconds: float, report: Callable[[Outcome], None]
) -> list[Outcome]:
    """Run steps in their order.

    Args:
        steps: the most important ones first.
        seconds: the time for all of them. A step begins if half of its budget is left, and may
            use no more than is left; the others are skipped.
        report: is called with every outcome as soon as it is known.
    """
    end = time.monotonic() + seconds
    outcomes = []
    runner = _Runner()
    try:
        for step in steps:
            rest = end - time.monotonic()
            if rest < _LEAST * step.budget:
                outcome = Outcome(
                    step, 'skipped', reason=f'no time was left, {max(rest, 0):.0f} s'
                )
            else:
                outcome = runner.run(step, min(step.budget, rest))
            outcomes.append(outcome)
            report(outcome)
    finally:
        runner.stop()
    return outcomes


class _Runner:
    """A process for the steps, which is replaced when it is lost."""

    def __init__(self) -> None:
        self._process: Any = None
        self._connection: Any = None

    def run(self, step: Step, seconds: float) -> Outcome:
        begun = time.monotonic()
        if self._process is None:
            self._start()
            seconds += _START
        self._connection.send((step.call, step.arguments))
        answered = self._connection.poll(seconds)
        taken = time.monotonic() - begun
        if not answered:
            self.stop()
            return Outcome(step, 'skipped', taken, reason=f'took more than its {seconds:.0f} s')
        try:
            state, figures, reason = self._connection.recv()
        except EOFError:
            self._process.join()
            reason = f'its process ended with exit code {self._process.exitcode}'
            self.stop()
            return Outcome(step, 'failed', taken, reason=reason)
        if _CUDA_ERROR in reason:
            self.stop()
        return Outcome(step, state, taken, figures, reason)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
            self._process = None

    def _start(self) -> None:
        context = get_context('spawn')
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,))
        self._process.start()
        theirs.close()


def _serve(connection: Any) -> None:
    """Run the steps that come in, in the process for them."""
    sys.stdout = sys.stderr  # what the code of others prints must not mix with the results
    while True:
        try:
            call, arguments = connection.recv()
        except EOFError:
            return
        connection.send(_attempt(call, arguments))


def _attempt(
    call: Callable[..., dict[str, Any]], arguments: dict[str, Any]
) -> tuple[str, dict[str, Any], str]:
    """Run a step; return its state, figures and the reason."""
    try:
        return 'done', call(**arguments), ''
    except Exception as error:  # networks and the code of others may raise anything
        missing = UnavailableError, ModuleNotFoundError
        if isinstance(error, missing) or isinstance(error.__cause__, missing):
            return 'skipped', {}, _one_line(error)
        if isinstance(error, MemoryError) or type(error).__name__ == 'OutOfMemoryError':
            return 'skipped', {}, f'memory: {_one_line(error)}'
        return 'failed', {}, f'{type(error).__name__}: {_one_line(error)}'


def _one_line(error: BaseException) -> str:
    return ' '.join(str(error).split())[:300]
