"""What a node logs: no kind of message fills the log, whatever rate it is met at."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nndepth_core.plausibility import Level

BURST = 3
"""So many messages of a kind are logged at once."""
PERIOD = 10.0
"""Seconds after which one more of a kind may be logged."""


@dataclass
class _Kind:
    budget: float
    asked: float
    text: str = ''
    said: float = 0.0
    suppressed: int = 0


class LogLimiter:
    """Decides which messages are logged: for each kind a few at once, later one in a while.

    Args:
        clock: seconds, steady.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: dict[str, _Kind] = {}
        self._lock = threading.Lock()

    def admit(self, kind: str, text: str) -> int | None:
        """Ask whether a message may be logged.

        Args:
            kind: messages of one kind share a budget, whatever they say.
            text: of the message; the same again counts as news only after a while.

        Returns:
            How many of this kind were left out since the last one, or None to leave it out.
        """
        now = self._clock()
        with self._lock:
            known = self._kinds.setdefault(kind, _Kind(BURST, now))
            known.budget = min(BURST, known.budget + (now - known.asked) / PERIOD)
            known.asked = now
            repeated = text == known.text and now - known.said < PERIOD
            if repeated or known.budget < 1:
                known.suppressed += 1
                return None
            suppressed, known.suppressed = known.suppressed, 0
            known.budget, known.text, known.said = known.budget - 1, text, now
            return suppressed


class NodeLog:
    """A node's logger behind the limiter.

    Args:
        logger: of rclpy.
        alive: whether the node still lives; on its way out there is nobody to tell.
    """

    def __init__(self, logger: Any, alive: Callable[[], bool] = lambda: True) -> None:
        self._logger = logger
        self._alive = alive
        self._limiter = LogLimiter()

    def say(self, level: Level, kind: str, text: str) -> None:
        """Log a message unless many of its kind have been logged lately."""
        suppressed = self._limiter.admit(kind, text)
        if suppressed is None or not self._alive():
            return
        if suppressed:
            text = f'{text} ({suppressed} more of this kind since the last message)'
        text = printable(text)
        # rclpy refuses a second severity from the same line of code.
        if level is Level.ERROR:
            self._logger.error(text)
        elif level is Level.WARN:
            self._logger.warning(text)
        else:
            self._logger.info(text)


class CoreLogHandler(logging.Handler):
    """Hands on what the library logs.

    Args:
        log: of the node.
    """

    def __init__(self, log: NodeLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record; those of one line of code are of one kind."""
        level = Level.INFO
        if record.levelno >= logging.WARNING:
            level = Level.ERROR if record.levelno >= logging.ERROR else Level.WARN
        self._log.say(level, f'{record.name}:{record.lineno}', record.getMessage())


def printable(text: str) -> str:
    """A text that fits into messages and logs: file names may hold what UTF-8 cannot."""
    return text.encode('utf-8', 'backslashreplace').decode()


def describe(error: BaseException) -> str:
    """What an exception says; with its type where the message alone would be a riddle."""
    if isinstance(error, (ValueError, RuntimeError, OSError)) and str(error):
        return str(error)
    return f'{type(error).__name__}: {error}'
