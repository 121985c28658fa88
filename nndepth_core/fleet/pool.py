"""What the pools of workers share, and the loop that keeps one busy."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, NamedTuple, Protocol

RETRIES = 2
"""How often work is tried again whose worker was lost."""
_AHEAD = 2
"""Tasks that are handed to a pool at one time, for each worker, so that none waits for work."""
_POLL = 0.2
"""Seconds after which it is asked at the latest whether to stop."""


class WorkerLostError(RuntimeError):
    """The process that did the work was killed, or its machine was lost, each time it was tried.

    It has no part in what the work itself raises, which comes back as it is.
    """


class Pool(Protocol):
    """Workers in other processes; functions, arguments and results are pickled."""

    threads: int
    """How many threads each task may use."""
    lost: int
    """How many workers were killed, as far as the pool knows: Ray tells only of work that it has
    given up."""

    @property
    def size(self) -> int:
        """How many tasks run at one time."""
        ...

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Let a worker call a function of a module.

        Returns:
            Its result to come, or what it raises; WorkerLostError if its worker was lost
            1 + RETRIES times.
        """
        ...

    def close(self) -> None:
        """End all workers, also those that work."""
        ...


class Task(NamedTuple):
    """A call of a function in a worker; `about` tells its sender what it is for."""

    about: Any
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


def run_all(
    pool: Pool,
    tasks: Iterable[Task],
    react: Callable[[Task, Future[Any]], Iterable[Task]],
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Run tasks and all that follow from them; what follows goes before what has not begun.

    Args:
        pool: what runs them.
        tasks: the first tasks.
        react: takes each task that ended, and returns the tasks that follow from it.
        stopped: asked from time to time; when it returns True, no result is waited for.
    """
    following: deque[Task] = deque()
    running: dict[Future[Any], Task] = {}
    waiting = _next_of(following, tasks)
    while not stopped():
        while len(running) < _AHEAD * pool.size and (task := next(waiting, None)):
            running[pool.submit(task.function, *task.arguments)] = task
        if not running:
            return
        done, _ = wait(running, _POLL, FIRST_COMPLETED)
        for future in done:
            following.extend(react(running.pop(future), future))


def _next_of(following: deque[Task], tasks: Iterable[Task]) -> Iterator[Task | None]:
    """Yield the next task, None while there is none: others may follow from those that run."""
    rest = iter(tasks)
    while True:
        yield following.popleft() if following else next(rest, None)
