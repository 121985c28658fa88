"""What commands say on standard error: one form, whoever has something to say."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def say(text: str) -> None:
    """Print a line to stderr, beside a progress bar."""
    from tqdm import tqdm

    tqdm.write(f'nndepth: {text}', file=sys.stderr)


class LogHandler(logging.Handler):
    """Says what libraries log, warnings and errors with their level."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say a record in one line."""
        level = f'{record.levelname.lower()}: ' if record.levelno >= logging.WARNING else ''
        say(level + ' '.join(record.getMessage().split()))


def say_logs() -> None:
    """Say what is logged in this process from now on."""
    root = logging.getLogger()
    if not any(isinstance(handler, LogHandler) for handler in root.handlers):
        root.addHandler(LogHandler())


@contextmanager
def saying_logs() -> Iterator[None]:
    """Say what is logged meanwhile."""
    root, handler = logging.getLogger(), LogHandler()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


@contextmanager
def telling_more() -> Iterator[None]:
    """Let this library log what it does meanwhile, not only what is wrong."""
    library = logging.getLogger('nndepth_core')
    level = library.level
    library.setLevel(logging.INFO)
    try:
        yield
    finally:
        library.setLevel(level)
