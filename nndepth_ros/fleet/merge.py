"""Processes the pieces of a bag, and joins them to what one process would have written.

A piece is kept as a bag whose messages are numbered in place of their time, and a JSON file with
all that its report needs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

from nndepth_core.plausibility import Finding, Level
from nndepth_ros.bag import BagError, BagReader, Record
from nndepth_ros.bag_writer import REPORT_NAME, BagWriter
from nndepth_ros.fleet.memory import recall, remembered
from nndepth_ros.fleet.plan import Plan
from nndepth_ros.pipeline import Estimate
from nndepth_ros.replay.processor import Processor, RecordedMoment
from nndepth_ros.replay.report import describe, describe_bags

BAG = 'bag'

Messages = list[tuple[str, Record]]
"""Message types and messages that belong to one moment."""


def process_piece(processor: Processor, plan: Plan, folder: Path) -> dict[str, Any]:
    """Process the moments of a piece, and write their messages into a folder.

    Args:
        processor: it has processed nothing so far.
        plan: of the piece alone, see `Plan.only`.
        folder: exists already.

    Returns:
        What else there is to know of the piece, ready for JSON.
    """
    (piece,) = plan.pieces
    if piece.memory is not None:
        recall(processor, piece.memory)
    processor.take_part(plan.survey)
    numbers, written = count(), []

    with BagWriter(folder / BAG) as writer:

        def write(moment: RecordedMoment, estimate: Estimate) -> None:
            for name, message in estimate.messages.items():
                writer.write(processor.prefix + name, next(numbers), message)
            written.append((moment.frames[0].number, len(estimate.messages)))

        records = processor.records(processor.topics.images)
        moments = processor.moments(records)
        processor.process_all(moments, plan.survey.moments, lambda: False, write)
    outcome = processor.outcome
    return {
        'memory': remembered(processor),
        'written': written,
        'densities': outcome.densities,
        'milliseconds': outcome.milliseconds,
        'failures': outcome.failures,
        'findings': [it.described() for it in outcome.findings.values()],
        'processing_size': outcome.processing_size,
    }


def merge(
    processor: Processor, plan: Plan, folders: Sequence[Path], writer: BagWriter
) -> dict[str, Any]:
    """Write what one process would have written; return its report.

    Args:
        processor: it has processed nothing so far.
        plan: of the bag.
        folders: those of its pieces, in order.
        writer: takes messages and report.
    """
    processor.take(plan.survey)
    outcomes = [json.loads((folder / REPORT_NAME).read_text()) for folder in folders]
    for outcome in outcomes:
        _join(processor, outcome)
    messages = _messages(folders, outcomes)
    following = next(messages, None)
    for moment in _moments(processor, writer):
        if following and following[0] == moment.frames[0].number:
            for kind, record in following[1]:
                writer.copy(kind, record._replace(time=moment.time))
            following = next(messages, None)
    if following is not None:
        raise BagError(
            f'{processor.bag.path} does not hold all that its pieces do; it has changed'
        )
    if not processor.outcome.densities:
        writer.discard()
    spent = sum(sum(map(sum, of['milliseconds'].values())) for of in outcomes)
    report = {
        **describe_bags(processor.bag.path, writer.path, writer.counts, False),
        **describe(processor, {'survey': plan.survey_ms, 'processing': spent or 1.0}),
        **plan.read,
        'written': writer.counts,
    }
    writer.report(json.dumps(report, indent=2) + '\n')
    return report


def _join(processor: Processor, outcome: dict[str, Any]) -> None:
    """Add the outcome of a piece to that of the pieces before it."""
    whole = processor.outcome
    whole.densities += outcome['densities']
    whole.failures += outcome['failures']
    for stage, values in outcome['milliseconds'].items():
        whole.milliseconds.setdefault(stage, []).extend(values)
    for it in outcome['findings']:
        finding = Finding(it['code'], Level[it['level']], it['text'])
        whole.findings.setdefault(finding.code, finding)
    whole.processing_size = outcome['processing_size'] or whole.processing_size


def _moments(processor: Processor, writer: BagWriter) -> Iterator[RecordedMoment]:
    """Yield all moments; inputs that are to be copied are written between them."""
    if processor.settings.copy_inputs:
        yield from processor.moments(processor.read_for(writer))
    else:
        for frames in processor.survey.moments:
            yield RecordedMoment(frames, ())


def _messages(
    folders: Sequence[Path], outcomes: Sequence[dict[str, Any]]
) -> Iterator[tuple[int, Messages]]:
    """Yield the number of the main image of each moment that succeeded, and its messages."""
    for folder, outcome in zip(folders, outcomes, strict=True):
        if not outcome['written']:
            continue
        with BagReader(folder / BAG) as bag:
            records = bag.messages(bag.topics)
            for number, messages in outcome['written']:
                found = islice(records, messages)
                yield number, [(bag.topics[record.topic], record) for record in found]
