"""Findings: what is wrong and how to cure it; every check reports in this form."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

BEHIND = -1.0  # pixels beyond infinity that can be explained by noise
MUCH = 0.3
MOST = 0.9
RANGE_SETTINGS = 'max_disparity of a network, num_disparities of sgbm'
"""What sets how far a model searches; commands and nodes have other names for it."""
MEDIAN_DEPTHS = (0.05, 300.0)
"""The median depths in metres between which scenes lie."""


class Level(enum.IntEnum):
    """Severity, with the numbers of diagnostic_msgs/DiagnosticStatus."""

    INFO = 0
    WARN = 1
    ERROR = 2

    @property
    def word(self) -> str:
        """How commands call it."""
        return {0: 'note', 1: 'warning', 2: 'error'}[self]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: a stable code, a level, and a sentence that names the cure."""

    code: str
    level: Level
    text: str

    def described(self) -> dict[str, str]:
        """Return the finding as it stands in JSON reports."""
        return {'code': self.code, 'level': self.level.name, 'text': self.text}


class Once:
    """Passes each finding on once; findings with the same code count as the same."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def __call__(self, found: Iterable[Finding]) -> list[Finding]:
        """Return the findings that have not been passed on before."""
        new = []
        for finding in found:
            if finding.code not in self._known:
                self._known.add(finding.code)
                new.append(finding)
        return new


def percent(share: float) -> str:
    """Write a share, 0..1, in per cent."""
    return f'{100 * share:.0f} %'
