"""Worker processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from tqdm import tqdm

from nndepth_core.engines.base import physical_cores
from nndepth_core.fleet.pool import RETRIES, WorkerLostError


class LocalPool:
    """Processes that share the cores of this machine.

    Each process is an executor of its own, driven by a thread: a process that is killed breaks its
    executor alone, and that one is made again.

    Args:
        workers: how many there are, at least 1.
    """

    def __init__(self, workers: int) -> None:
        cores = _cores()
        self.size = workers
        self.threads = max(1, physical_cores() // workers)
        self.lost = 0
        self._closed = False
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._workers = [_Worker(_share(cores, at, workers)) for at in range(workers)]
        for worker in self._workers:
            self._idle.put(worker)
        # The processes inherit the mask of these threads: Ctrl-C reaches this process alone.
        self._threads = ThreadPoolExecutor(workers, initializer=_block_interrupts)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Let the next idle worker call a function; see `Pool.submit`."""
        return self._threads.submit(self._run, function, arguments)

    def close(self) -> None:
        """End all workers; one that works is interrupted, and removes what it has half written."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.interrupt()
        self._threads.shutdown()
        for worker in self._workers:
            worker.executor.shutdown()

    def _run(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        worker = self._idle.get()
        try:
            for _ in range(1 + RETRIES):
                if self._closed:
                    break
                try:
                    return worker.executor.submit(function, *arguments).result()
                except BrokenProcessPool:
                    self.lost += not self._closed
                    worker.executor.shutdown()
                    worker.begin()
            raise WorkerLostError(
                f'its process was killed {1 + RETRIES} times; if memory ran out, take fewer '
                'workers'
            )
        finally:
            self._idle.put(worker)


class _Worker:
    """One process, made when it gets its first work."""

    def __init__(self, cores: Sequence[int]) -> None:
        self._cores = cores
        self.begin()

    def begin(self) -> None:
        """Take a new process."""
        self.executor = ProcessPoolExecutor(
            1, multiprocessing.get_context('spawn'), _prepare, (self._cores,)
        )

    def interrupt(self) -> None:
        """Send SIGTERM to the process, if there is one."""
        for process in list((getattr(self.executor, '_processes', None) or {}).values()):
            with suppress(OSError):
                process.terminate()


def _prepare(cores: Sequence[int]) -> None:
    """Begin a worker process: with its share of the cores, and no longer than its parent."""
    if cores:
        os.sched_setaffinity(0, cores)
    # Its own lock is a semaphore of the system, of which Python warns if the process is killed.
    tqdm.set_lock(threading.RLock())
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _block_interrupts() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _cores() -> list[int]:
    """The cores that this process may use; empty where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else []


def _share(cores: Sequence[int], at: int, workers: int) -> Sequence[int]:
    """The cores of one of several workers."""
    if workers >= len(cores):
        return cores[at % len(cores) :][:1] if cores else ()
    return cores[at * len(cores) // workers : (at + 1) * len(cores) // workers]
