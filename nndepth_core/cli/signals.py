"""What Ctrl-C and SIGTERM do: the command ends with one line and the customary exit code."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
MESSAGE = 'nndepth: interrupted'


@dataclass
class Interruption:
    """What a signal does.

    Attributes:
        number: of the first signal that came, 0 while none has.
        orderly: whether KeyboardInterrupt is raised, so that everything is tidied up; while
            modules are imported the process ends on the spot, since nothing is to be tidied up
            and libraries may swallow the exception.
    """

    number: int = 0
    orderly: bool = False

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that such a signal has ended."""
        return 128 + (self.number or signal.SIGINT)


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Handle the signals that end a command; a second one ends it on the spot."""
    interruption, owner = Interruption(), os.getpid()

    def interrupt(number: int, _frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a process that this one has forked
            os._exit(128 + number)
        first = not interruption.number
        interruption.number = interruption.number or number
        if first and interruption.orderly:
            raise KeyboardInterrupt
        os.write(2, f'{MESSAGE}\n'.encode())
        os._exit(interruption.exit_code)

    # the module that began the process has one of these names
    executables = (sys.modules.get(name) for name in ('nndepth_core.__main__', '__main__'))
    replaced = {
        signal.default_int_handler,
        signal.SIG_DFL,
        *(getattr(executable, 'end_at_once', signal.SIG_DFL) for executable in executables),
    }
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            # one that is ignored, as for a job in the background, or handled, stays so
            if signal.getsignal(number) in replaced:
                before[number] = signal.signal(number, interrupt)
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
