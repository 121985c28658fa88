"""What workers do: look at a bag, process it or one of its pieces, merge the pieces.

Results are kept in the output folder, so that all machines and the next run find them. Each tells
what it was made from; one that was made from the same is not made again.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import io
import json
import os
import pickle
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import nndepth_core
from nndepth_core.cli import explain, wording, workers
from nndepth_core.cli.errors import EXPECTED_ERRORS
from nndepth_core.estimator import StageClock
from nndepth_core.files.writing import replaced_at_once, sha256_of, write_at_once
from nndepth_ros.allocator import keep_freed_memory
from nndepth_ros.bag import METADATA_NAME, BagError, BagReader
from nndepth_ros.bag_writer import ORIGIN_NAME, REPORT_NAME, BagWriter, check_target, leftovers
from nndepth_ros.fleet.memory import Memory, carries_maps
from nndepth_ros.fleet.merge import BAG, merge, process_piece
from nndepth_ros.fleet.origin import Found, Origin, made_with
from nndepth_ros.fleet.plan import Plan, cut
from nndepth_ros.fleet.sources import Source, content_of, fetched, fingerprint
from nndepth_ros.replay import ReplaySettings, replay
from nndepth_ros.replay.command import add_options, equipment
from nndepth_ros.replay.report import describe_input
from nndepth_ros.replay.run import PROCESSORS

WORK = '.fleet'
"""The folder in the output folder that holds what is not finished."""
INPUT = 'input'
NOT_OF_THE_RESULT = (
    *('bags', 'output', 'overwrite', 'json', 'threads', 'segment'),
    *('workers', 'worker_threads', 'ray', 'ray_cpus', 'ray_gpus'),
)
"""Arguments on which no result depends, but for the last bits by the number of threads."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Job:
    """What is done to all bags.

    Attributes:
        arguments: those of the command, pickled.
        folder: the working folder, from which paths in the arguments start.
        output: the absolute path of the folder for all results.
    """

    arguments: bytes
    folder: str
    output: Path

    @classmethod
    def of(cls, args: argparse.Namespace) -> Job:
        """Take arguments; those that name bags are left out."""
        kept = argparse.Namespace(**{**vars(args), 'bags': []})
        return cls(pickle.dumps(kept), os.getcwd(), args.output.resolve())

    def target(self, source: Source) -> Path:
        """The folder of the result of a bag."""
        return self.output / source.name

    def work(self, source: Source) -> Path:
        """Where what belongs to an unfinished bag is kept."""
        return self.output / WORK / source.name


class Finished(NamedTuple):
    """A bag that is done, as far as it can be.

    Attributes:
        report: that of its replay.
        reused: whether an earlier run has made it.
        uncut: where long bags like this one are not cut, '' if it is short.
    """

    report: dict[str, Any]
    reused: bool = False
    uncut: str = ''


class Failed(NamedTuple):
    """Work that could not be done; `fatal` says that no other will be done either."""

    reason: str
    fatal: bool


class Equipment(NamedTuple):
    """What a process needs for all bags; `means` is what results depend on, see `Origin`."""

    args: argparse.Namespace
    estimator: Any
    settings: ReplaySettings
    means: dict[str, Any]

    @property
    def threads(self) -> int:
        """How many threads the model uses, which are the same for all pieces of a bag."""
        return self.args.threads or self.args.worker_threads


def guarded(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function; what it says on stderr stands in reports too, and is not shown.

    Returns:
        Its result, or Failed for an error that commands expect.
    """
    try:
        with redirect_stderr(io.StringIO()):
            return function(*arguments)
    except MemoryError:
        return Failed('memory ran out; take fewer workers', False)
    except EXPECTED_ERRORS as error:
        return Failed(explain(error), _errno(error) in _FULL)


def describe_model(job: Job) -> str:
    """Load what all bags need, which shows whether the arguments are right; name the model."""
    return equip(job).estimator.engine.spec.title


def open_bag(job: Job, source: Source) -> Finished | Plan:
    """Process a bag, unless that is done or it is so long that it is cut.

    Raises:
        ValueError, OSError: it cannot be read, or its result cannot be written.
    """
    made, target, work = equip(job), job.target(source), job.work(source)
    mark, found = fingerprint(source), Found.at(target)
    if found.whole and found.facts.get('mark') == mark and made_with(found, made.means):
        return _reused(job, source)
    path = fetched(source, _input(work, mark))
    try:
        return _opened(made, job, source, path, mark)
    except BaseException:
        shutil.rmtree(work / INPUT, ignore_errors=True)
        raise


def _opened(made: Equipment, job: Job, source: Source, path: Path, mark: str) -> Finished | Plan:
    target, overwrite = job.target(source), made.args.overwrite
    origin, found = Origin(source, mark, content_of(path), made.means), Found.at(target)
    if origin.made(found):
        if found.whole:
            write_at_once(target / ORIGIN_NAME, origin.text(target))
            return _reused(job, source)
        check_target(target, path, overwrite=True)
        shutil.rmtree(target)  # some of its files are gone or cut off
    if target.exists() and not overwrite:
        raise BagError(f'{origin.difference(found)}; give --overwrite, or another --output')
    check_target(target, path, overwrite)
    _sweep(target)
    with origin.explaining():
        plan, uncut = _plan(made, origin, path)
        if plan is not None:
            return plan
        report = replay(path, target, made.estimator, made.settings, overwrite, origin=origin.text)
    if report['problem']:
        origin.check()
    _remove(job.work(source))
    return Finished(report, uncut=uncut)


def run_piece(job: Job, plan: Plan) -> Memory:
    """Process a piece of a bag, see `Plan.only`; return what is remembered behind it.

    It is read from what an earlier run has made, if there is that.
    """
    made, work = equip(job), job.work(plan.source)
    folder = plan.folder(work, plan.pieces[0], made.threads)
    if not (folder / REPORT_NAME).exists():
        with (
            plan.origin.explaining(),
            BagReader(fetched(plan.source, _input(work, plan.origin.mark))) as bag,
            replaced_at_once(folder) as temporary,
        ):
            temporary.mkdir()
            processor = PROCESSORS[made.estimator.task](bag, made.estimator, made.settings)
            try:
                outcome = process_piece(processor, plan, temporary)
            except BagError as error:
                text = str(error).replace(str(temporary / BAG), str(job.target(plan.source)))
                raise BagError(text) from error
            (temporary / REPORT_NAME).write_text(json.dumps(outcome))
            plan.origin.check()
    return json.loads((folder / REPORT_NAME).read_text())['memory']


def finish_bag(job: Job, plan: Plan) -> Finished:
    """Merge the pieces of a bag, all of which are done."""
    made, work, target = equip(job), job.work(plan.source), job.target(plan.source)
    path = fetched(plan.source, _input(work, plan.origin.mark))
    _sweep(target)
    with (
        plan.origin.explaining(),
        BagReader(path) as bag,
        BagWriter(target, made.args.overwrite, plan.origin.text) as writer,
    ):
        processor = PROCESSORS[made.estimator.task](bag, made.estimator, made.settings)
        folders = [plan.folder(work, it, made.threads) for it in plan.pieces]
        report = merge(processor, plan, folders, writer)
    _remove(work)
    return Finished(report)


@lru_cache(maxsize=1)
def equip(job: Job) -> Equipment:
    """Load the model and read the settings, once in each process.

    Raises:
        ValueError, EngineError: an argument is wrong.
    """
    args = pickle.loads(job.arguments)
    workers.in_worker(args, job.folder)
    keep_freed_memory()
    parser = argparse.ArgumentParser()
    add_options(parser)
    with wording.naming_flags(args):
        estimator, settings = equipment(args, parser.get_default)
    engine = estimator.engine
    source = getattr(engine, 'source', None)
    given = {name: value for name, value in vars(args).items() if name not in NOT_OF_THE_RESULT}
    calibration = hashlib.sha256(pickle.dumps(settings.calibration)).hexdigest()
    means = {
        'options': {**given, 'calibration': calibration},
        'model': {
            'name': [engine.spec.name, engine.spec.variant, engine.name, engine.device],
            'weights': sha256_of(source.file) if source else '',
        },
        'nndepth': nndepth_core.__version__,
    }
    plain = json.loads(json.dumps(means, default=str))
    return Equipment(args, estimator, settings, plain)


def _plan(made: Equipment, origin: Origin, path: Path) -> tuple[Plan | None, str]:
    """Cut a long bag; else return None, and where such bags are not cut."""
    size = made.args.segment
    with BagReader(path) as bag:
        processor = PROCESSORS[made.estimator.task](bag, made.estimator, made.settings)
        if not size or round(bag.counts[processor.topics.main] / size) < 2:
            return None, ''
        if uncut := carries_maps(made.settings, made.estimator):
            return None, uncut
        if made.settings.copy_inputs:
            processor.check_names()
        clock = StageClock()
        processor.look_through(lambda: False)
        pieces, uncut = cut(processor, size)
        if len(pieces) < 2:
            return None, uncut
        clock.lap('survey')
        read, took = describe_input(bag), clock.milliseconds['survey']
        return Plan(origin, processor.survey, pieces, read, took), ''


def _input(work: Path, mark: str) -> Path:
    """Where a bag in a remote store is copied to; another one if it changes there."""
    return work / INPUT / hashlib.sha256(mark.encode()).hexdigest()[:16]


def _reused(job: Job, source: Source) -> Finished:
    _remove(job.work(source))
    return Finished(json.loads((job.target(source) / REPORT_NAME).read_text()), reused=True)


def _sweep(target: Path) -> None:
    """Remove what killed workers have left; no other run works on the folder."""
    for folder in leftovers(target):
        if not (folder / METADATA_NAME).exists():  # else it is a bag of such a name
            shutil.rmtree(folder)


def _remove(work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)


def _errno(error: BaseException | None) -> int | None:
    """The number of the system's error that led to an error."""
    while error is not None:
        if isinstance(error, OSError):
            return error.errno
        error = error.__cause__ or error.__context__
    return None
