"""Cuts long bags into pieces that can be processed by themselves."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from nndepth_ros.bag_survey import Survey
from nndepth_ros.fleet.memory import Memory, foreseen, remembered
from nndepth_ros.fleet.origin import Origin
from nndepth_ros.fleet.sources import Source
from nndepth_ros.replay.processor import FAULTS, Processor, matched

_DEEP = 'of images with more than 8 bits'
"""Their brightness follows from the largest value so far."""
_TRIED = 5
"""Moments of which one must be readable, so that a bag is cut."""


@dataclass(frozen=True)
class Piece:
    """Moments of a bag.

    Attributes:
        first: the first moment, in the order in which they are read.
        last: the one behind the last.
        memory: what is remembered of the moments before; None at the beginning.
    """

    first: int
    last: int
    memory: Memory | None

    @property
    def name(self) -> str:
        """A name that differs from those of all other pieces of the bag."""
        memory = hashlib.sha256(json.dumps(self.memory, sort_keys=True).encode()).hexdigest()
        return f'{self.first}-{self.last}-{memory[:12]}'


@dataclass(frozen=True)
class Plan:
    """How a bag is processed.

    Attributes:
        origin: what the result is made from.
        survey: its moments in the order in which they are read.
        pieces: all moments, in order.
        read: what of the report tells how the bag was read.
        survey_ms: how long the survey took.
    """

    origin: Origin
    survey: Survey
    pieces: tuple[Piece, ...]
    read: dict[str, Any]
    survey_ms: float

    @property
    def source(self) -> Source:
        """The bag."""
        return self.origin.source

    def folder(self, work: Path, piece: Piece, threads: int) -> Path:
        """Where the result of a piece is kept until all are there.

        The last bits of some results depend on the number of threads, so that pieces of one bag
        are made with the same.
        """
        return work / f'{self.origin.key[:16]}-{piece.name}-{threads}'

    def only(self, piece: Piece) -> Plan:
        """Take what it needs to process one piece."""
        survey = self.survey.part(piece.first, piece.last)
        return replace(self, survey=survey, pieces=(piece,))

    def corrected(self, at: int, memory: Memory) -> Plan:
        """Make one piece of a piece and all behind it, which begins with what is remembered."""
        piece = Piece(self.pieces[at].first, self.pieces[-1].last, memory)
        return replace(self, pieces=(*self.pieces[:at], piece))


def cut(processor: Processor, size: int) -> tuple[tuple[Piece, ...], str]:
    """Cut what a processor has surveyed; the survey's moments are put into the order of reading.

    Args:
        processor: it is of no use afterwards.
        size: moments of each piece, about.

    Returns:
        The pieces, and '' or where bags are not cut: there is a single piece if what is remembered
        between pieces cannot be foreseen.
    """
    survey = processor.survey
    images = ((side, None) for side, _ in survey.recorded)
    survey.moments = [survey.moments[place] for place, _ in matched(images, survey)]
    count = len(survey.moments)
    pieces = max(1, round(count / size))
    memory = _first_memory(processor) if pieces > 1 else None
    if memory is None or memory['largest']:
        return (Piece(0, count, None),), _DEEP if memory else ''
    bounds = [at * count // pieces for at in range(pieces + 1)]
    times = [moment[0].time for moment in survey.moments]
    memories = [None, *(foreseen(memory, times[:bound]) for bound in bounds[1:-1])]
    return tuple(map(Piece, bounds, bounds[1:], memories)), ''


def _first_memory(processor: Processor) -> Memory | None:
    """What is remembered behind the first readable moment, None if the first ones are not."""
    for moment in islice(processor.moments(processor.records(processor.topics.images)), _TRIED):
        try:
            processor.decode(moment)
        except FAULTS:
            continue
        return remembered(processor)
    return None
