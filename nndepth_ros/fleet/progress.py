"""How far a fleet of bags is: a bar on a terminal, else a line each minute."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tqdm import tqdm

from nndepth_core.cli.saying import say

EVERY = 60.0
"""Seconds from one line to the next."""


class Progress:
    """Shows progress on stderr, as a context.

    Args:
        total: the bytes of all bags.
        clock: tells the time in seconds.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._total, self._state = clock, total, ''
        self._bar = tqdm(total=total, unit='B', unit_scale=True, disable=None, **_size())
        self._bytes = 0
        self._begin = clock()
        self._told = self._begin

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        if self._told > self._begin:  # a short run needs no lines
            self._say()

    def advance(self, moved: int, state: str) -> None:
        """Show that so many more bytes are done; `state` tells of the bags."""
        self._bytes += moved
        self._state = state
        self._bar.set_postfix_str(state, refresh=False)
        self._bar.update(moved)

    def tick(self) -> None:
        """Show the time that has passed; to be called often."""
        if not self._bar.disable:
            self._bar.refresh()
        elif self._clock() - self._told >= EVERY:
            self._told = self._clock()
            self._say()

    def _say(self) -> None:
        share = self._bytes / self._total if self._total else 1.0
        spent = self._clock() - self._begin
        rest = f'about {duration(spent / share - spent)} to go' if 0 < share < 1 else ''
        parts = [self._state, f'{100 * share:.0f} %', duration(spent), rest]
        say('; '.join(it for it in parts if it))


def duration(seconds: float) -> str:
    """Write a duration for people, as in 2 h 5 min."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f'{hours} h {minutes} min'
    return f'{minutes} min {rest} s' if minutes else f'{seconds:.1f} s'


def _size() -> dict[str, Any]:
    """The size of the bar on terminals that do not know theirs, as some in containers."""
    with suppress(OSError, ValueError):
        if os.get_terminal_size(sys.stderr.fileno()).columns == 0:
            return {'ncols': 80, 'nrows': 24}
    return {}
