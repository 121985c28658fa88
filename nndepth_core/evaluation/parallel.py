"""Measuring models by many processes, with the result of one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

from tqdm import tqdm

from nndepth_core.evaluation.evaluate import (
    EXAMINED_SAMPLES,
    Collected,
    Evaluation,
    Measured,
    ModelScore,
    about_model,
    indices_of,
    measure_sample,
)
from nndepth_core.evaluation.measures import Measures
from nndepth_core.evaluation.report import Gallery
from nndepth_core.fleet import Pool, Task, run_all

_CHUNKS = 8
"""Tasks for each worker, so that all of them end at about the same time."""
_LARGEST = 32


class Subjects(NamedTuple):
    """What is evaluated: the arguments of `evaluate`."""

    models: Mapping[str, Any]
    dataset: Any
    measures: Measures


Make = Callable[[Any], Subjects]
"""A function of a module, which a worker calls before each task: it should remember its result."""


class _About(NamedTuple):
    dataset: str
    size: int
    measures: Measures
    models: list[ModelScore]


def evaluate_by(
    pool: Pool,
    make: Make,
    job: Any,
    *,
    limit: int = 0,
    strict: bool = False,
    pictures: int = 0,
) -> tuple[Evaluation, Gallery | None]:
    """Do what `evaluate` does, by the workers of a pool.

    The first samples are measured by one worker, since all that are examined closely must be
    known one after the other; the others in any order.

    Args:
        pool: the workers.
        make: makes what is evaluated of the job, in a worker.
        job: what `make` takes; it is pickled.
        limit: see `evaluate`.
        strict: see `evaluate`.
        pictures: how many samples the gallery holds; 0 for no gallery.

    Returns:
        The evaluation, and the pictures of the samples with the largest errors.

    Raises:
        Exception: what `evaluate` and `make` raise; WorkerLostError.
    """
    about: _About = pool.submit(_describe, make, job).result()
    indices = indices_of(about.dataset, about.size, limit)
    evaluation = Evaluation(about.dataset, about.measures, about.models, workers=pool.size)
    collected = Collected(evaluation, strict)
    gallery = Gallery([it.model for it in about.models], about.measures, pictures)
    ranks: list[tuple[float, int, str]] = []
    for measured in _measured(pool, make, job, indices):
        if scores := collected.add(measured):
            ranks.append((-gallery.rank(scores), measured.index, scores[0].name))
    if not pictures:
        return collected.result(), None
    worst = sorted(ranks, key=lambda it: it[0])[:pictures]
    drawn = [pool.submit(_draw, make, job, index, name) for _, index, name in worst]
    gallery.take([future.result() for future in drawn])
    return collected.result(), gallery


def _measured(pool: Pool, make: Make, job: Any, indices: Sequence[int]) -> list[Measured]:
    """Measure all samples; return them in order."""
    with tqdm(total=len(indices), unit='sample', disable=None) as bar:
        first: list[Measured] = pool.submit(_measure_first, make, job, indices).result()
        bar.update(len(first))
        rest = indices[len(first) :]
        step = min(_LARGEST, -(-len(rest) // (_CHUNKS * pool.size)) or 1)
        chunks = [rest[at : at + step] for at in range(0, len(rest), step)]
        found: dict[int, list[Measured]] = {}

        def react(task: Task, future: Future[Any]) -> Iterable[Task]:
            found[task.about] = future.result()
            bar.update(len(found[task.about]))
            return ()

        tasks = (Task(at, _measure, (make, job, chunk)) for at, chunk in enumerate(chunks))
        run_all(pool, tasks, react)
    return first + [it for at in range(len(chunks)) for it in found[at]]


# --- what workers do -----------------------------------------------------------------------------


def _describe(make: Make, job: Any) -> _About:
    models, dataset, measures = make(job)
    about = [about_model(name, model, measures) for name, model in models.items()]
    return _About(dataset.name, len(dataset), measures, about)


def _measure_first(make: Make, job: Any, indices: Sequence[int]) -> list[Measured]:
    """Measure samples until so many were examined as are examined closely."""
    found: list[Measured] = []
    for index in indices:
        found.append(_measure_warm(make, job, index, closely=True))
        if sum(it.examined for it in found) == EXAMINED_SAMPLES:
            break
    return found


def _measure(make: Make, job: Any, indices: Sequence[int]) -> list[Measured]:
    return [_measure_warm(make, job, index, closely=False) for index in indices]


def _measure_warm(make: Make, job: Any, index: int, closely: bool) -> Measured:
    """Measure a sample, again if it is the first of its size here, since that one takes longer."""
    subjects, known = make(job), _known_sizes(make, job)
    measured = measure_sample(*subjects, index, closely)
    if new := {score.size for score in measured.scores} - known:
        known |= new
        measured = measure_sample(*subjects, index, closely)
    return replace(measured, view=None)


@lru_cache(maxsize=1)
def _known_sizes(make: Make, job: Any) -> set[tuple[int, int]]:
    """The sizes of samples that this process has measured for a job."""
    return set()


def _draw(make: Make, job: Any, index: int, name: str) -> str:
    models, dataset, measures = make(job)
    measured = measure_sample(models, dataset, measures, index, closely=False)
    assert measured.view is not None
    scores = [replace(score, name=name) for score in measured.scores]
    return Gallery([*models], measures).section(measured.view, scores)
