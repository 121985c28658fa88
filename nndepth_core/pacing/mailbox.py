"""A place for the newest item: a slow consumer skips items instead of falling behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar('T')


class Mailbox(Generic[T]):
    """Passes the newest item from one thread to another.

    Age is counted from the moment of the deposit, on this machine's steady clock, since stamps may
    come from a bag or from another clock.

    Args:
        max_age: seconds after which an item is not handed out any more; 0 sets no limit.
        clock: gives seconds of a steady clock.
    """

    def __init__(self, max_age: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.max_age = max_age
        self.dropped = 0
        self.late = 0
        self._clock = clock
        self._condition = threading.Condition()
        self._slot: tuple[float, T] | None = None
        self._closed = False

    def put(self, item: T) -> None:
        """Deposit an item; it replaces an item that still waits."""
        with self._condition:
            if self._slot is not None:
                self.dropped += 1
            self._slot = self._clock(), item
            self._condition.notify()

    def get(self) -> tuple[float, T] | None:
        """Wait for an item; return the time of its deposit and the item, None if closed."""
        with self._condition:
            while True:
                self._condition.wait_for(lambda: self._slot is not None or self._closed)
                if self._closed or self._slot is None:
                    return None
                (deposited, item), self._slot = self._slot, None
                if self.max_age and self._clock() - deposited > self.max_age:
                    self.late += 1
                    continue
                return deposited, item

    def close(self) -> None:
        """End all present and future waits."""
        with self._condition:
            self._closed = True
            self._slot = None
            self._condition.notify_all()
