"""What is wrong and how to cure it: the form that every check reports in."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

BEHIND = -1.0  # pixels beyond infinity that noise explains
MUCH = 0.3
MOST = 0.9


class Level(enum.IntEnum):
    """Severity, with the numbers of diagnostic_msgs/DiagnosticStatus."""

    INFO = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: a stable code, how bad, and a sentence with the cure."""

    code: str
    level: Level
    text: str

    def described(self) -> dict[str, str]:
        """For reports in JSON."""
        return {'code': self.code, 'level': self.level.name, 'text': self.text}


class Once:
    """Lets each finding through once, by its code."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def __call__(self, found: Iterable[Finding]) -> list[Finding]:
        """Those that were not there before."""
        new = []
        for finding in found:
            if finding.code not in self._known:
                self._known.add(finding.code)
                new.append(finding)
        return new


def percent(share: float) -> str:
    """A share, 0..1, in per cent."""
    return f'{100 * share:.0f} %'
