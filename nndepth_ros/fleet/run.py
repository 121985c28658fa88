"""Leads many bags through a pool of workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from nndepth_core.cli import explain
from nndepth_core.cli.saying import say
from nndepth_core.fleet import Pool, Task, WorkerLostError, run_all
from nndepth_ros.fleet import worker
from nndepth_ros.fleet.plan import Piece, Plan
from nndepth_ros.fleet.progress import Progress
from nndepth_ros.fleet.sources import Source, size_of
from nndepth_ros.fleet.worker import Failed, Finished, Job
from nndepth_ros.replay.processor import SHOWN_FAILURES

_AT_ONCE = 16


@dataclass
class BagRun:
    """One bag on its way.

    Attributes:
        source: the bag.
        size: its bytes.
        plan: its pieces, if it was cut.
        memories: what is remembered behind each piece that is done, by the place of the piece.
        finished: the result, once it is there.
        reason: why there is none; '' if nothing went wrong.
    """

    source: Source
    size: int
    plan: Plan | None = None
    memories: dict[int, Any] = field(default_factory=dict)
    finished: Finished | None = None
    reason: str = ''
    _shown: int = 0

    @property
    def done(self) -> bool:
        """Whether nothing is left to do for it."""
        return self.finished is not None or bool(self.reason)

    def advance(self, moments: int = 0) -> int:
        """The bytes by which the bag has advanced; by all that are left if it is done."""
        whole = self.plan.pieces[-1].last if self.plan else 1
        step = self.size * moments // whole
        step = self.size - self._shown if self.done else min(step, self.size - self._shown)
        self._shown += step
        return step


class Fleet:
    """All bags of a run.

    Args:
        job: what is done to each.
        sources: the bags.

    Attributes:
        bags: in the order of the sources.
        fatal: why nothing more can be done; '' while there is no reason.
        lost: how many workers were killed.
    """

    def __init__(self, job: Job, sources: Sequence[Source]) -> None:
        self.job = job
        with ThreadPoolExecutor(_AT_ONCE) as threads:  # remote stores take long to answer
            sizes = list(threads.map(size_of, sources))
        self.bags = [BagRun(*of) for of in zip(sources, sizes, strict=True)]
        self.fatal = ''
        self.lost = 0
        self._failures: Counter[str] = Counter()
        self._uncut: set[str] = set()

    def run(self, pool: Pool, stopped: Callable[[], bool]) -> None:
        """Process the bags; progress and failures go to stderr.

        Args:
            pool: what works.
            stopped: asked from time to time; if it returns True, what is not finished stays so.
        """
        total = sum(bag.size for bag in self.bags)
        with Progress(total) as progress:
            progress.advance(0, self._state())

            def react(task: Task, future: Future[Any]) -> Iterable[Task]:
                bag, piece = task.about
                following = self._after(bag, piece, future)
                moved = bag.advance(piece.last - piece.first if piece else 0)
                progress.advance(moved, self._state())
                return following

            def ended() -> bool:
                progress.tick()
                self._tell_lost(pool)
                return stopped() or bool(self.fatal)

            tasks = (self._task(bag, None, worker.open_bag, bag.source) for bag in self.bags)
            run_all(pool, tasks, react, ended)
            self._tell_lost(pool)

    def _after(self, bag: BagRun, piece: Piece | None, future: Future[Any]) -> list[Task]:
        """Take what a task brought, and return what is to be done next for its bag."""
        result = _result_of(future)
        if bag.done:  # another piece of it has failed
            return []
        if isinstance(result, Failed):
            bag.reason = result.reason
            self.fatal = self.fatal or (result.reason if result.fatal else '')
            self._tell_failed(bag)
            return []
        if isinstance(result, Finished):
            bag.finished = result
            self._tell_uncut(result.uncut)
            return []
        if isinstance(result, Plan):
            bag.plan = result
            return [self._piece_task(bag, at) for at in range(len(result.pieces))]
        assert bag.plan is not None
        bag.memories[bag.plan.pieces.index(piece)] = result
        return list(self._after_pieces(bag, bag.plan))

    def _after_pieces(self, bag: BagRun, plan: Plan) -> Iterator[Task]:
        """Once all pieces are done: merge them, unless one began with what was not true."""
        if len(bag.memories) < len(plan.pieces):
            return
        for at, piece in enumerate(plan.pieces[1:], 1):
            before = bag.memories[at - 1]
            if piece.memory != before:
                bag.plan = plan.corrected(at, before)
                bag.memories = {of: it for of, it in bag.memories.items() if of < at}
                yield self._piece_task(bag, at)
                return
        yield self._task(bag, None, worker.finish_bag, plan)

    def _piece_task(self, bag: BagRun, at: int) -> Task:
        plan = bag.plan
        assert plan is not None
        piece = plan.pieces[at]
        return self._task(bag, piece, worker.run_piece, plan.only(piece))

    def _task(
        self, bag: BagRun, piece: Piece | None, function: Callable[..., Any], *arguments: Any
    ) -> Task:
        return Task((bag, piece), worker.guarded, (function, self.job, *arguments))

    def _tell_uncut(self, where: str) -> None:
        if where and where not in self._uncut:
            self._uncut.add(where)
            say(
                f'bags are not cut {where}, since a result depends on all images before it; one '
                'worker processes each bag'
            )

    def _tell_failed(self, bag: BagRun) -> None:
        """Say why a bag failed, unless many have failed for the same reason before."""
        self._failures[bag.reason] += 1
        where = bag.source.location
        if self._failures[bag.reason] <= SHOWN_FAILURES:
            say(bag.reason if bag.reason.startswith(where) else f'{where}: {bag.reason}')
        elif self._failures[bag.reason] == SHOWN_FAILURES + 1:
            say('more bags fail for this reason; the report names them all')

    def _tell_lost(self, pool: Pool) -> None:
        """Say that workers were killed, whose work is done again."""
        if pool.lost > self.lost:
            count = pool.lost - self.lost
            what = 'a worker was' if count == 1 else f'{count} workers were'
            say(f'{what} killed, perhaps since memory ran out; what was in work is done again')
            self.lost = pool.lost

    def _state(self) -> str:
        done = sum(bag.done for bag in self.bags)
        failed = sum(bool(bag.reason) for bag in self.bags)
        return f'{done} of {len(self.bags)} bags, {failed} failed'


def _result_of(future: Future[Any]) -> Any:
    """What a task returned, or Failed in place of what it raised."""
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, WorkerLostError):
        return Failed(str(error), False)
    return Failed(f'a fault of nndepth: {type(error).__name__}: {explain(error)}', False)
