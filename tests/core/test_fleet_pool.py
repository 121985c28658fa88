"""Pools of workers: results, errors, lost workers, the end."""

import os
import signal
from concurrent.futures import Future
from pathlib import Path

import pytest

from nndepth_core.engines.base import physical_cores
from nndepth_core.fleet import LocalPool, Task, WorkerLostError, run_all


def die_until(path: str, times: int) -> int:
    """Kill this process the first times it is called; a file counts the calls."""
    file = Path(path)
    count = len(file.read_text()) + 1 if file.exists() else 1
    file.write_text('x' * count)
    if count <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return count


def cores() -> set[int]:
    return os.sched_getaffinity(0)


@pytest.fixture
def pool():
    made = LocalPool(2)
    yield made
    made.close()


def test_results_and_errors_come_back(pool):
    assert pool.submit(divmod, 7, 2).result() == (3, 1)
    with pytest.raises(ZeroDivisionError):
        pool.submit(divmod, 7, 0).result()
    assert pool.submit(abs, -1).result() == 1


def test_what_a_lost_worker_did_is_done_again(pool, tmp_path):
    assert pool.submit(die_until, str(tmp_path / 'twice'), 2).result() == 3
    assert pool.lost == 2
    lost = pool.submit(die_until, str(tmp_path / 'always'), 99)
    with pytest.raises(WorkerLostError, match='killed 3 times; if memory ran out, take fewer'):
        lost.result()
    assert pool.submit(abs, -1).result() == 1


def test_workers_share_the_cores(pool):
    here = os.sched_getaffinity(0)
    shares = [pool.submit(cores).result() for _ in range(4)]
    assert {*map(len, shares)} <= {max(1, len(here) // 2), -(-len(here) // 2)}
    assert set.union(*shares) <= here
    assert pool.submit(physical_cores).result() <= max(1, -(-len(here) // 2))


def test_the_end_interrupts_what_runs():
    pool = LocalPool(1)
    assert pool.submit(abs, -1).result() == 1
    endless = pool.submit(signal.pause)
    last = pool.submit(abs, -1)
    while not endless.running():
        pass
    pool.close()
    assert isinstance(endless.exception(), (SystemExit, WorkerLostError))
    assert last.cancelled()


class Here:
    """A pool that works in this process, at once."""

    size, threads, lost = 2, 1, 0

    def submit(self, function, *arguments) -> Future:
        future: Future = Future()
        future.set_result(function(*arguments))
        return future


def test_what_follows_goes_first_and_the_rest_waits():
    order = []

    def react(task: Task, future: Future) -> list[Task]:
        order.append((task.about, future.result()))
        return [Task(task.about + 100, abs, (-2,))] if task.about < 100 else []

    run_all(Here(), [Task(at, abs, (-1,)) for at in range(8)], react)
    assert sorted(order) == [(at, 1) for at in range(8)] + [(at + 100, 2) for at in range(8)]
    assert {about for about, _ in order[:8]} == {0, 1, 2, 3, 100, 101, 102, 103}


def test_it_stops_when_it_is_told():
    answers = iter([False, False, True])
    done = []
    run_all(
        Here(),
        (Task(at, abs, (-1,)) for at in range(1000)),
        lambda task, future: done.append(task) or [],
        lambda: next(answers),
    )
    assert sorted(task.about for task in done) == [*range(8)]
