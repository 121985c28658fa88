"""The log of a node: no kind of message can fill it, however often it comes."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nndepth_core.plausibility import Level
from nndepth_core.plausibility.findings import RANGE_SETTINGS
from nndepth_core.third_party import fault_of_others

BURST = 3
"""The number of messages of a kind that are logged at once."""
PERIOD = 10.0
"""Seconds after which one more message of a kind is logged."""


@dataclass
class _Kind:
    budget: float
    asked: float
    text: str = ''
    said: float = 0.0
    suppressed: int = 0


class LogLimiter:
    """Decides which messages are logged: of each kind a few at once, later one from time to time.

    Args:
        clock: gives seconds of a steady clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: dict[str, _Kind] = {}
        self._lock = threading.Lock()

    def admit(self, kind: str, text: str) -> int | None:
        """Decide whether a message is logged.

        Args:
            kind: messages of one kind share one limit, whatever their texts are.
            text: the text; the same text is logged again only after a while.

        Returns:
            How many of this kind were suppressed since the last one; None to suppress this one.
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
    """The logger of a node, with a limit on the number of messages.

    Args:
        logger: the logger of rclpy.
        alive: tells whether the node still runs; while it ends, nothing can be logged.
    """

    def __init__(self, logger: Any, alive: Callable[[], bool] = lambda: True) -> None:
        self._logger = logger
        self._alive = alive
        self._limiter = LogLimiter()

    def say(self, level: Level, kind: str, text: str) -> None:
        """Log a message, unless many of its kind have been logged lately."""
        suppressed = self._limiter.admit(kind, text)
        if suppressed is None or not self._alive():
            return
        if suppressed:
            text = f'{text} ({suppressed} more of this kind since the last message)'
        text = printable(text)
        # rclpy does not allow a second severity in the same line of code.
        if level is Level.ERROR:
            self._logger.error(text)
        elif level is Level.WARN:
            self._logger.warning(text)
        else:
            self._logger.info(text)


class CoreLogHandler(logging.Handler):
    """Passes on what the library logs.

    Args:
        log: the log of the node.
    """

    def __init__(self, log: NodeLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record; records from one line of code are of one kind."""
        level = Level.INFO
        if record.levelno >= logging.WARNING:
            level = Level.ERROR if record.levelno >= logging.ERROR else Level.WARN
        self._log.say(level, f'{record.name}:{record.lineno}', as_parameters(record.getMessage()))


def printable(text: str) -> str:
    """Make a text fit for messages and logs: file names may hold what UTF-8 cannot."""
    return text.encode('utf-8', 'backslashreplace').decode()


def as_parameters(text: str) -> str:
    """Name the parameters of a node in place of the arguments of the library."""
    text = text.replace(RANGE_SETTINGS, 'max_disparity in network_settings, sgbm.num_disparities')
    return re.sub(r'\bprocessing_size\b', 'processing_width and processing_height', text)


def describe(error: BaseException) -> str:
    """Say what an exception says, with its type if the message alone would not be clear."""
    if isinstance(error, (ValueError, RuntimeError, OSError)) and str(error):
        return as_parameters(str(error))
    return fault_of_others(error) or f'{type(error).__name__}: {error}'
