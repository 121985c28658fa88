"""`nndepth replay BAG... --output DIR`: many bags at once."""

from __future__ import annotations

import argparse
import fcntl
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from nndepth_core.cli import command_parser, explain, options, tell, workers
from nndepth_core.cli.saying import say
from nndepth_core.engines.base import physical_cores
from nndepth_core.files.writing import check_folder, write_at_once
from nndepth_core.fleet import Pool
from nndepth_ros.fleet import worker
from nndepth_ros.fleet.page import fleet_page
from nndepth_ros.fleet.report import describe_fleet
from nndepth_ros.fleet.run import Fleet
from nndepth_ros.fleet.sources import find_sources
from nndepth_ros.fleet.worker import WORK, Failed, Job
from nndepth_ros.replay.command import KINDS_OF_BAGS, add_options, interruption

DESCRIPTION = """
Runs many bags through the estimator: what `nndepth replay IN OUT` does with one bag is done with
each, with the same options, and written to DIR under the name of the bag. Processes of this
machine, or a Ray cluster, share the work; long bags are cut into pieces and joined again, message
for message as one process writes them. The same command goes on where an earlier one ended: what
is finished is found by the hash of the bag, the options, the weights and the version of nndepth,
and is not made again. DIR/report.html and DIR/report.json tell of all bags.
"""
EPILOG = """
exit code: 0 if all is done; 1 if a bag failed or only a part of one is done; 2 for wrong input or
arguments; 130 or 143 if SIGINT or SIGTERM interrupted it. Bags whose names are equal get their
suffix behind them, or the names of their folders in front.
"""


def main(arguments: Sequence[str]) -> int:
    """Process the bags and report the result."""
    args = parser().parse_intermixed_args(arguments)
    sources, problems = find_sources(args.bags, args.output)
    if not sources:
        argument, reason = problems[0]
        raise ValueError(f'{argument}: {reason}')
    for argument, reason in problems:
        say(f'{argument}: {reason}')
    begin = time.monotonic()
    pool = workers.pool_of(args, physical_cores())
    assert pool is not None
    with _telling_how_to_go_on(), _alone(args.output), closing(pool):
        job = Job.of(args)
        with interruption() as signals:
            _check(pool, job)
            fleet = Fleet(job, sources)
            fleet.run(pool, lambda: bool(signals))
        report = describe_fleet(
            fleet.bags, problems, time.monotonic() - begin, bool(signals), fleet.lost
        )
    code = _told(args, report)
    if signals:
        print(
            f'nndepth: interrupted; {_count(report)} bags are finished, and the same command goes '
            'on with the others',
            file=sys.stderr,
        )
        return 128 + signals[0]
    if fleet.fatal:
        print(
            f'nndepth: error: {fleet.fatal}; {_count(report)} bags are finished, and the same '
            'command goes on with the others',
            file=sys.stderr,
        )
    return code


def parser() -> argparse.ArgumentParser:
    """Make the parser of the arguments."""
    made = command_parser('replay')
    made.description, made.epilog = DESCRIPTION, EPILOG
    made.usage = 'nndepth replay BAG ... --output DIR [options]'
    add = made.add_argument
    add(
        'bags',
        nargs='+',
        type=options.text,
        metavar='BAG',
        help=f'{KINDS_OF_BAGS}; a folder in which bags are, a quoted glob, a URL that fsspec '
        'knows such as s3://BUCKET/FOLDER, or @FILE with one of these in each line',
    )
    add(
        '--output', type=options.path, required=True, metavar='DIR', help='folder for all new bags'
    )
    add('--overwrite', action='store_true', help='replace bags in DIR that are of something else')
    add(
        '--segment',
        type=options.count,
        default=1000,
        metavar='N',
        help='bags are cut into pieces of about N pairs or images, by 0 into none; default: '
        '%(default)s',
    )
    workers.add_pool_arguments(made, 'one for each core')
    add_options(made)
    return made


@contextmanager
def _telling_how_to_go_on() -> Iterator[None]:
    """Say it also where a second signal ends the run at once."""
    try:
        yield
    except KeyboardInterrupt:
        print('nndepth: the same command goes on with what is not finished', file=sys.stderr)
        raise


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    """Refuse to work on a folder that another process works on; leave nothing empty behind."""
    work, new = output / WORK, not output.exists()
    check_folder(output)
    work.mkdir(exist_ok=True)
    with (work / 'lock').open('w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f'another nndepth replay works on {output}; wait for it, or give another --output'
            ) from error
        except OSError:  # the file system knows no locks
            pass
        try:
            yield
        finally:
            with suppress(OSError):
                if [it.name for it in work.iterdir()] == ['lock']:
                    (work / 'lock').unlink()
                    work.rmdir()
                if new:
                    output.rmdir()  # unless something is in it


def _check(pool: Pool, job: Job) -> None:
    """Let a worker load the model, so that wrong arguments are one error and not one a bag."""
    found = pool.submit(worker.guarded, worker.describe_model, job).result()
    if isinstance(found, Failed):
        raise ValueError(found.reason)


def _told(args: argparse.Namespace, report: dict[str, Any]) -> int:
    """Write and print the report; return the exit code."""
    text = json.dumps(report, indent=2)
    problem = False
    for name, make in (
        ('report.json', lambda: text + '\n'),
        ('report.html', lambda: fleet_page(report)),
    ):
        try:
            write_at_once(args.output / name, make())
        except OSError as error:
            print(f'nndepth: error: {explain(error)}', file=sys.stderr)
            problem = True
    bags = report['bags']
    tell(text if args.json else _summary(args, report))
    return int(problem or bags['done'] < bags['found'])


def _count(report: dict[str, Any]) -> str:
    bags = report['bags']
    return f'{bags["done"] + bags["incomplete"]} of {bags["found"]}'


def _summary(args: argparse.Namespace, report: dict[str, Any]) -> str:
    bags, moments = report['bags'], report['moments']
    lines = [
        f'{_count(report)} bags finished, {bags["reused"]} of them by earlier runs; '
        f'{bags["incomplete"]} incomplete, {bags["failed"]} failed',
        f'{moments["processed"]} of {moments["found"]} pairs or images processed, '
        f'{report["moments_per_second"]:.1f} a second in this run',
    ]
    lines += [
        f'{count} {"bag" if count == 1 else "bags"}: {why}'
        for why, count in report['causes'].items()
    ]
    lines.append(f'report.html and report.json are in {args.output}')
    return '\n'.join(lines)
