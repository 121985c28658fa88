"""Workers of a cluster: Ray schedules them, tries again what was lost, and shows it all."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, wait
from contextlib import ExitStack, redirect_stdout, suppress
from typing import Any

from nndepth_core.fleet.pool import RETRIES, WorkerLostError

LOCAL = 'local'
_PATIENCE = 10.0
"""Seconds within which tasks that are interrupted should end."""


class RayPool:
    """Tasks of a Ray cluster; a process keeps what it has loaded for the tasks that follow.

    Args:
        address: of the cluster, see `ray.init`: 'auto', 'HOST:6379' or 'ray://HOST:10001';
            'local' starts one on this machine. A process that is connected already stays so.
        cpus: cores of each task.
        gpus: share of a GPU of each task; Ray hides the GPUs from tasks that ask for none.

    Raises:
        ValueError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, address: str, cpus: float = 1, gpus: float = 0) -> None:
        try:
            import ray
        except ModuleNotFoundError as error:
            raise ValueError(
                "--ray needs Ray, which is not installed; pip install 'nndepth[fleet]'"
            ) from error
        self._ray, self._cpus, self._gpus = ray, cpus, gpus
        self.threads = max(1, int(cpus))
        self.lost = 0
        self._known: dict[Callable[..., Any], Any] = {}
        self._refs: dict[Future[Any], Any] = {}
        self._connection = ExitStack()
        if not ray.is_initialized():
            self._connect(address)

    def _connect(self, address: str) -> None:
        # Ray prints there what its machines tell, also at its end, but it is the place of results.
        self._connection.enter_context(redirect_stdout(sys.stderr))
        try:
            self._ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError) as error:
            self._connection.close()
            raise ValueError(
                f'--ray {address}: there is no cluster; give the address of its head, auto on one '
                f'of its machines, or {LOCAL} to start one here ({" ".join(str(error).split())})'
            ) from error
        self._connection.callback(self._ray.shutdown)

    @property
    def size(self) -> int:
        """How many tasks run at one time on the machines that are there now."""
        there = self._ray.cluster_resources()
        fit = [there.get('CPU', 0) / self._cpus] if self._cpus else []
        fit += [there.get('GPU', 0) / self._gpus] if self._gpus else []
        return max(1, int(min(fit, default=1)))

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Let Ray call a function on one of its machines; see `Pool.submit`."""
        if function not in self._known:
            how: dict[str, Any] = {
                'num_cpus': self._cpus,
                'num_gpus': self._gpus,
                'max_retries': RETRIES,
            }
            self._known[function] = self._ray.remote(**how)(function)
        ref = self._known[function].remote(*arguments)
        told: Future[Any] = Future()
        self._refs[told] = ref

        def tell(found: Future[Any]) -> None:
            self._refs.pop(told, None)
            error = found.exception()
            if error is None:
                told.set_result(found.result())
            else:
                told.set_exception(self._translated(error))

        ref.future().add_done_callback(tell)
        return told

    def close(self) -> None:
        """Interrupt what runs and leave the cluster; one that was started here ends."""
        running = dict(self._refs)
        for ref in running.values():
            with suppress(Exception):  # it may have ended meanwhile
                self._ray.cancel(ref)
        wait(running, _PATIENCE)  # until they have removed what they have half written
        self._connection.close()

    def _translated(self, error: BaseException) -> BaseException:
        """Return what the function raised, or WorkerLostError where Ray lost its worker."""
        if isinstance(error, self._ray.exceptions.RayTaskError):
            return error.cause if isinstance(error.cause, BaseException) else error
        if isinstance(error, self._ray.exceptions.TaskCancelledError):
            return CancelledError()
        self.lost += 1 + RETRIES
        return WorkerLostError(
            f'Ray lost its worker {1 + RETRIES} times: {" ".join(str(error).split())[:200]}'
        )
