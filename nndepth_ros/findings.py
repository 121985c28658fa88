"""What is wrong at present: findings of examinations, and failures by their kind."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from nndepth_core.plausibility import Finding, Level

CURED_AFTER = 3.0
"""Seconds without a failure after which something that succeeds again counts as cured."""
FORGOTTEN_AFTER = 60.0
"""Seconds after which a failure that was not tried again is forgotten."""


class Doctor:
    """Keeps the present findings of each examination."""

    def __init__(self) -> None:
        self._by_exam: dict[str, tuple[Finding, ...]] = {}

    @property
    def findings(self) -> list[Finding]:
        """All present findings; the worst come first."""
        everything = [finding for found in self._by_exam.values() for finding in found]
        return sorted(everything, key=lambda finding: -finding.level)

    def record(self, exam: str, found: Iterable[Finding]) -> tuple[list[Finding], list[Finding]]:
        """Replace the findings of one examination; return the new ones and the cured ones."""
        before, now = self._by_exam.get(exam, ()), tuple(found)
        self._by_exam[exam] = now
        known, current = {f.code for f in before}, {f.code for f in now}
        appeared = [finding for finding in now if finding.code not in known]
        return appeared, [finding for finding in before if finding.code not in current]


@dataclass
class _Failure:
    text: str
    count: int
    when: float
    passed: bool = False


class Failures:
    """What failed lately, by kind; it is reported even if it succeeds from time to time.

    Args:
        clock: gives seconds of a steady clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: dict[str, _Failure] = {}

    def __bool__(self) -> bool:
        return bool(self._kinds)

    def failed(self, kind: str, text: str) -> None:
        """Note a failure; there are few kinds, but there may be many texts.

        Those that differ in their figures only are counted together.
        """
        known = self._kinds.get(kind)
        again = known is not None and _wording(known.text) == _wording(text)
        count = known.count + 1 if known and again else 1
        self._kinds[kind] = _Failure(text, count, self._clock())

    def passed(self, kind: str) -> None:
        """Note that something of this kind succeeded."""
        if kind in self._kinds:
            self._kinds[kind].passed = True

    def findings(self) -> list[Finding]:
        """What still fails: it did not succeed since, or failed in the last seconds."""
        now = self._clock()
        for kind, failure in list(self._kinds.items()):
            if now - failure.when > (CURED_AFTER if failure.passed else FORGOTTEN_AFTER):
                del self._kinds[kind]
        return [
            Finding(
                kind,
                Level.ERROR,
                failure.text if failure.count == 1 else f'{failure.text} ({failure.count} times)',
            )
            for kind, failure in self._kinds.items()
        ]


def _wording(text: str) -> str:
    return re.sub(r'[-+.e\d]+', '', text)
