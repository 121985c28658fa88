"""Measures how fleets scale on the cores of one machine, and what their steps cost."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from nndepth_core.fleet import LocalPool
from nndepth_ros.demo.sequence import SequenceSettings, cached_sequence
from nndepth_ros.fleet import command, worker
from nndepth_ros.fleet.run import Fleet
from nndepth_ros.fleet.sources import Source, content_of, find_sources, size_of
from nndepth_ros.fleet.worker import Job

_CALLS = 200
_AS_THEY_ARE = ('--align-rows', 'off')
"""Bags whose rows are aligned are not cut."""


def measure_fleet(
    cores: Sequence[int], bags: int, frames: int, options: Sequence[str]
) -> dict[str, Any]:
    """Replay copies of the demo's sequence, and one of them in pieces, on some cores.

    Args:
        cores: numbers of cores, one worker on each; models are loaded before the time counts.
        bags: how many copies there are; the one in pieces has as many.
        frames: pairs of each bag.
        options: of `nndepth replay`.

    Returns:
        `pairs_per_second` by arrangement and number of cores, the cost of single steps on one
        core, and `bytes` of a pair.
    """
    with TemporaryDirectory() as folder:
        sequence = cached_sequence(Path(folder), SequenceSettings(frames=frames))
        copies = [str(shutil.copytree(sequence, Path(folder, f'bag_{at}'))) for at in range(bags)]
        arrangements = {
            'bags': (copies, ['--segment', '0']),
            'pieces': (copies[:1], ['--segment', str(max(1, frames // bags))]),
        }
        rates: dict[str, dict[int, float]] = {name: {} for name in arrangements}
        for count in cores:
            for name, (sources, cut) in arrangements.items():
                output = Path(folder, f'{name}_{count}')
                done = _run(
                    [*sources, '--output', str(output), *cut, *_AS_THEY_ARE, *options], count
                )
                rates[name][count] = frames * len(sources) / done.seconds
                if name == 'bags':
                    survey = done.report['seconds']['survey']
        written = size_of(Source(str(output / Path(copies[0]).name), ''))
        read = size_of(Source(copies[0], ''))
        with _on(1):
            steps = {
                'hash_mb_per_second': read / 1e6 / _time(lambda: content_of(Path(copies[0]))),
                'survey_mb_per_second': read / 1e6 / survey,
                'task_milliseconds': _task_milliseconds(),
            }
    return {
        'pairs_per_second': rates,
        **steps,
        'bytes': {'read': read / frames, 'written': written / frames},
    }


class _Run(NamedTuple):
    seconds: float
    report: dict[str, Any]
    """That of the first bag."""


def _run(arguments: list[str], count: int) -> _Run:
    """Run a fleet on so many cores."""
    args = command.parser().parse_intermixed_args(arguments)
    sources, _ = find_sources(args.bags, args.output)
    with _on(count), closing(LocalPool(count)) as pool:
        args.worker_threads = pool.threads
        job = Job.of(args)
        for loaded in [pool.submit(worker.describe_model, job) for _ in range(2 * count)]:
            loaded.result()
        fleet = Fleet(job, sources)
        seconds = _time(lambda: fleet.run(pool, lambda: False))
    if reasons := [bag.reason for bag in fleet.bags if bag.reason]:
        raise RuntimeError(reasons[0])
    finished = fleet.bags[0].finished
    assert finished is not None
    return _Run(seconds, finished.report)


def _task_milliseconds() -> float:
    """What it costs to send a task to a worker and its result back."""
    with closing(LocalPool(1)) as pool:
        pool.submit(abs, -1).result()
        return 1e3 / _CALLS * _time(lambda: [pool.submit(abs, -1).result() for _ in range(_CALLS)])


def _time(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


@contextmanager
def _on(count: int) -> Iterator[None]:
    """Let this process and its workers have so many cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
