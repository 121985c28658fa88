"""Fleets of small bags in this process, compared with what one replay writes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from pathlib import Path
from typing import Any

import bags
import cv2

from nndepth_core.fleet import Pool
from nndepth_ros.bag_writer import BagWriter
from nndepth_ros.fleet import command
from nndepth_ros.fleet.run import Fleet
from nndepth_ros.fleet.sources import find_sources
from nndepth_ros.fleet.worker import Job
from nndepth_ros.replay import replay
from nndepth_ros.replay.command import equipment

TIMES = {'seconds', 'milliseconds', 'pairs_per_second', 'frames_per_second', 'input', 'output'}


class Here:
    """A pool that works in this process, at once."""

    size, threads, lost = 1, 1, 0

    def __init__(self) -> None:
        self.calls: list[str] = []

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        self.calls.append(arguments[0].__name__)
        future: Future[Any] = Future()
        future.set_result(function(*arguments))
        return future

    def close(self) -> None:
        pass


class Deadly:
    """A pool whose workers are killed while they write for the bag of a name.

    Args:
        pool: what works.
        name: of the bag.
        flags: a folder; each call of a function for the bag is killed once. None: every time.
    """

    def __init__(self, pool: Pool, name: str, flags: Path | None) -> None:
        self.pool, self.name, self.flags = pool, name, flags
        self.size, self.threads = pool.size, pool.threads

    @property
    def lost(self) -> int:
        return self.pool.lost

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        return self.pool.submit(killed, self.name, self.flags, function, *arguments)

    def close(self) -> None:
        self.pool.close()


def killed(name: str, flags: Path | None, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a process that is killed when it writes its fifth message."""
    of = arguments[2]
    source = getattr(of, 'source', of)
    flag = flags and flags / f'{arguments[0].__name__}{getattr(of, "pieces", "")!s:.40}'
    if source.name == name and not (flag and flag.exists()):
        if flag:
            flag.touch()
        numbers, copy = count(1), BagWriter.copy

        def deadly(*what: Any) -> None:
            if next(numbers) == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            copy(*what)

        BagWriter.copy = deadly  # type: ignore[method-assign]
    return function(*arguments)


def pause() -> None:
    """Wait for a signal."""
    signal.pause()


def run_fleet(output: Path, *arguments: str, pool: Pool | None = None) -> tuple[Fleet, list[str]]:
    """Run what the command would run, in this process unless there is a pool.

    Returns:
        The bags, and the names of the tasks that ran in this process.
    """
    args = command.parser().parse_intermixed_args(['--output', str(output), *_model(arguments)])
    args.worker_threads = 1
    sources, problems = find_sources(args.bags, args.output)
    assert not problems
    fleet, here = Fleet(Job.of(args), sources), Here()
    threads = cv2.getNumThreads()
    fleet.run(pool or here, lambda: False)
    cv2.setNumThreads(threads)
    return fleet, here.calls


def _model(arguments: tuple[str, ...]) -> list[str]:
    """Options with a model, whose results do not depend on those before."""
    if '--model' in arguments:
        return [*arguments]
    return ['--model', bags.MODEL, '--align-rows', 'off', *arguments]


def check_equal(source: Path, folder: Path, *arguments: str, size: int = 8) -> list[str]:
    """Check that pieces give what one replay gives; return the names of the tasks.

    Args:
        source: a bag.
        folder: where to write.
        arguments: options of replay.
        size: moments of a piece.
    """
    fleet, calls = run_fleet(folder / 'fleet', str(source), '--segment', str(size), *arguments)
    (bag,) = fleet.bags
    assert bag.finished is not None, bag.reason
    args = command.parser().parse_intermixed_args(['--output', '-', 'x', *_model(arguments)])
    made = equipment(args, command.parser().get_default)
    alone = replay(source, folder / 'alone' / source.name, *made)
    assert _timeless(bag.finished.report) == _timeless(alone)
    written = folder / 'fleet' / source.name
    if alone['written']:
        ours, theirs = (
            it / f'{source.name}.mcap' for it in (written, folder / 'alone' / source.name)
        )
        assert ours.read_bytes() == theirs.read_bytes()
        report = json.loads((written / 'report.json').read_text())
        assert _timeless(report) == _timeless(alone)
    else:
        assert not written.exists()
    return calls


def _timeless(report: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in report.items() if key not in TIMES}
