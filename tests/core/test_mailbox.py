"""Latest-only: bounded age under overload, all losses counted."""

from __future__ import annotations

import threading

from nndepth_core.pacing.mailbox import Mailbox


class Clock:
    """A clock that moves by hand and tells when it is read."""

    def __init__(self) -> None:
        self.now = 0.0
        self.read = threading.Event()

    def __call__(self) -> float:
        self.read.set()
        return self.now


def test_the_newest_replaces_what_waits():
    box = Mailbox(clock=Clock())
    for item in 'abc':
        box.put(item)
    assert box.get() == (0.0, 'c')
    assert box.dropped == 2


def test_too_old_a_deposit_is_skipped_and_counted():
    clock = Clock()
    box = Mailbox(max_age=0.5, clock=clock)
    box.put('old')
    clock.now = 1.0
    clock.read.clear()
    got = []
    reader = threading.Thread(target=lambda: got.append(box.get()))
    reader.start()
    assert clock.read.wait(timeout=10)
    box.put('fresh')
    reader.join()
    assert got == [(1.0, 'fresh')]
    assert (box.late, box.dropped) == (1, 0)


def test_age_does_not_grow_at_twice_the_rate_the_consumer_bears():
    """Frames every 1, consumer takes 2: what is handed out never waited longer than 2."""
    clock = Clock()
    box = Mailbox(clock=clock)
    waits = []
    for tick in range(1, 101):
        clock.now = float(tick)
        box.put(tick)
        if tick % 2 == 0:
            deposited, item = box.get()
            assert item == tick
            waits.append(clock.now - deposited)
    assert max(waits) == 0
    assert box.dropped == 50


def test_close_ends_a_waiting_reader():
    box = Mailbox()
    got = []
    reader = threading.Thread(target=lambda: got.append(box.get()))
    reader.start()
    box.close()
    reader.join(timeout=10)
    assert got == [None]


def test_nothing_is_handed_out_after_close():
    box = Mailbox()
    box.close()
    box.put('late')
    assert box.get() is None
