"""Measures every network on this machine, each case within limits of time and memory.

A case is measured by a program of its own, which is ended when it reaches a limit. What is known
is written after each case, and a survey that was ended goes on where it was.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nndepth_core.benchmark.measure import (
    BenchmarkError,
    Case,
    describe_machine,
    engines_of,
    measure,
)
from nndepth_core.engines import DEFAULT_NETWORK
from nndepth_core.engines.base import physical_cores
from nndepth_core.files.writing import write_at_once
from nndepth_core.spec import Task, title_of
from nndepth_core.weights.catalogue import catalogue
from nndepth_core.weights.measured import Measured, today

_MIB = 2**20
_LOOK = 0.1
"""The seconds between two looks at the memory of a program."""
_YARDSTICK = f'{DEFAULT_NETWORK}-base'


@dataclass(frozen=True)
class Limits:
    """What a case may take.

    Attributes:
        runs: the largest number of runs.
        run_seconds: no run begins later than this after the first one.
        seconds: the time for everything: loading, export, runs.
        memory_mib: the memory of all its processes together.
    """

    runs: int
    run_seconds: float
    seconds: float
    memory_mib: float


class LimitError(RuntimeError):
    """A program was ended or has failed; the message says why."""


def all_models(task: Task | None = None) -> list[str]:
    """Every network and variant, and what needs no weights; of one task, or of all."""
    return [
        title_of(name, variant)
        for name, network in catalogue().items()
        if task in (None, network.task)
        for variant in network.variants or ('',)
    ]


def cases_of(
    models: Sequence[str], sizes: Sequence[tuple[int, int]], engines: Sequence[str], threads: int
) -> list[Case]:
    """List what to measure, small sizes first.

    Args:
        models: networks with their variants.
        sizes: (width, height) of the images.
        engines: those to measure; none stands for all that are installed.
        threads: on the CPU; 0 takes one for each physical core.
    """
    return [
        Case(model, engine, size, threads=threads or physical_cores())
        for size in sorted(sizes)
        for model in models
        for engine in engines_of(model)
        if not engines or engine in engines
    ]


def survey(
    cases: Sequence[Case],
    path: Path,
    limits: Limits,
    retry: bool,
    progress: Callable[[Case, str], None],
) -> dict[str, Any]:
    """Measure cases and keep the results in a JSON file, which is continued if it exists.

    Args:
        cases: what to measure.
        path: the file.
        limits: for each case.
        retry: whether to try again what could not be measured before.
        progress: is called after each case, with the reason why it could not be measured or ''.

    Returns:
        What the file holds: the machine, the measurements, and what was skipped and why.
    """
    report: dict[str, Any] = {'machine': describe_machine(), 'measurements': [], 'skipped': []}
    if path.exists():
        report |= json.loads(path.read_text('utf-8'))
        if retry:
            report['skipped'] = []
    known = [_key(row) for row in (*report['measurements'], *report['skipped'])]
    for case in cases:
        reason = ''
        if _key(_labels(case)) not in known:
            try:
                report['measurements'].append(_measure_apart(case, limits))
            except LimitError as error:
                reason = str(error)
                report['skipped'].append({**_labels(case), 'reason': reason})
            write_at_once(path, json.dumps(report, indent=1))
        progress(case, reason)
    return report


def run_limited(command: Sequence[str], text: str, seconds: float, memory_mib: float) -> str:
    """Run a program and return what it prints.

    Args:
        command: the program and its arguments.
        text: what it reads.
        seconds: the time after which it is ended.
        memory_mib: the memory of it and its children together at which they are ended.

    Raises:
        LimitError: it was ended, or failed.
    """
    end = time.monotonic() + seconds
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as program:
        try:
            while True:
                try:
                    out, errors = program.communicate(text, _LOOK)
                    break
                except subprocess.TimeoutExpired:
                    text = ''
                if time.monotonic() > end:
                    raise LimitError(f'took more than {seconds:g} s')
                if (used := _session_memory(program.pid) / _MIB) > memory_mib:
                    raise LimitError(f'took {used:.0f} MiB, more than {memory_mib:.0f}')
        finally:
            if program.poll() is None:
                os.killpg(program.pid, signal.SIGKILL)
    if program.returncode:
        lines = errors.strip().splitlines() or ['it says nothing']
        raise LimitError(f'ended with {program.returncode}: {lines[-1][:300]}')
    return out


def _session_memory(session: int) -> int:
    """Bytes that the processes of a session hold."""
    pages = 0
    for file in Path('/proc').glob('[0-9]*/stat'):
        try:
            fields = file.read_text().rpartition(')')[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[3]) == session:
            pages += int(fields[21])
    return pages * os.sysconf('SC_PAGE_SIZE')


def _labels(case: Case) -> dict[str, Any]:
    size = '{}x{}'.format(*case.size)
    return {'model': case.model, 'engine': case.engine, 'size': size, 'threads': case.threads}


def _key(row: dict[str, Any]) -> tuple[object, ...]:
    return tuple(row[name] for name in ('model', 'engine', 'size', 'threads'))


def _measure_apart(case: Case, limits: Limits) -> dict[str, Any]:
    command = [sys.executable, '-m', 'nndepth_core.benchmark.survey']
    order = json.dumps({'case': asdict(case), 'limits': asdict(limits)})
    return json.loads(run_limited(command, order, limits.seconds, limits.memory_mib))


def _measure(case: Case, limits: Limits) -> Measured:
    """Measure a case; the default model takes turns with it."""
    yardstick = replace(case, model=_YARDSTICK, engine='torch')
    cases = [case] if case == yardstick else [case, yardstick]
    results = [
        result.figures() for result in measure(cases, limits.runs, seconds=limits.run_seconds)
    ]
    machine = describe_machine()
    runtime = 'opencv' if case.engine == 'opencv' else f'{case.engine} {machine[case.engine]}'
    memory = results[0]['memory_mib']
    return Measured(
        **_labels(case),
        device='cpu',
        precision=case.precision,
        mode='eager',
        latency_ms=round(results[0]['p50_ms'], 2),
        memory_mib=None if memory is None else round(memory, 1),
        machine=f'{machine["processor"]}, {physical_cores()} cores',
        runtime=runtime,
        date=today(),
        nano_ms=round(results[-1]['p50_ms'], 2),
        parameters_m=results[0].get('parameters_m'),
        nodes=results[0].get('nodes'),
        export_difference=results[0].get('export_difference'),
    )


def main() -> int:
    """Measure the case that the standard input names; see `_measure_apart`."""
    order = json.load(sys.stdin)
    case = Case(**{**order['case'], 'size': tuple(order['case']['size'])})
    try:
        result = _measure(case, Limits(**order['limits']))
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(asdict(result)))
    return 0


if __name__ == '__main__':
    sys.exit(main())
