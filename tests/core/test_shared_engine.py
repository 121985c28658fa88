"""Several callers of one engine: turns, batches, whose errors are whose, and what is released."""

from __future__ import annotations

import gc
import itertools
import logging
import threading
import time
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import stereo

from nndepth_core.engines import EngineError, ModelSpec, create_engine
from nndepth_core.engines.reference import textured_inputs
from nndepth_core.engines.shared import LATELY, EnginePool, EngineQueue, SharedEngine

TIMEOUT = 20
BROKEN = 255


def pair(value: int, height: int = 2, count: int = 1) -> dict[str, np.ndarray]:
    """Inputs of which `Fake` makes a disparity of twice the value."""
    image = np.full((count, height, 3, 3), value, np.uint8)
    return stereo(image, image)


class Fake:
    """Gives left plus right in red, and keeps what it was asked for.

    Attributes:
        runs: the values of the pairs of each run.
        gate: what happens before a run, without any lock.
    """

    name, device = 'fake', 'cpu'

    def __init__(self, device: str = 'cpu', iterations: int = 0) -> None:
        self.device = device
        self.spec = ModelSpec('fake', iterations=iterations)
        self.iterations = iterations
        self.runs: list[list[int]] = []
        self.steps: list[int] = []
        self.tests = 0
        self.gate = lambda: None

    def run(self, inputs):
        self.gate()
        left = inputs['left']
        self.runs.append(left[:, 0, 0, 0].tolist())
        self.steps.append(self.iterations)
        if (left == BROKEN).all(axis=(1, 2, 3)).any():
            raise ValueError(f'one of {self.runs[-1]} is broken')
        return {'disparity': left[..., 0].astype(np.float32) + inputs['right'][..., 0]}

    def self_test(self) -> None:
        self.tests += 1


class Caller(threading.Thread):
    """Asks for one pair after the other, and keeps the values or errors that it gets."""

    def __init__(self, engine, pairs) -> None:
        super().__init__(daemon=True)
        self.engine, self.pairs, self.got = engine, pairs, []

    def run(self) -> None:
        for inputs in self.pairs:
            try:
                result = self.engine.run(inputs)['disparity']
                assert result.shape == inputs['left'].shape[:3]
                self.got.append(float(result.flat[0]))
                assert np.ptp(result) == 0
            except BaseException as error:
                self.got.append(error)

    @property
    def open(self) -> int:
        return len(self.pairs) - len(self.got)


def finish(callers) -> None:
    for caller in callers:
        caller.join(TIMEOUT)
        assert not caller.is_alive(), 'a caller waits for ever'


def hold_first(queue: EngineQueue, waiting: int) -> None:
    """Let the first run last until so many requests, its own among them, are in the queue."""
    gates = itertools.count()

    def gate() -> None:
        if next(gates) == 0:
            with queue._changed:
                assert queue._changed.wait_for(lambda: len(queue._waiting) == waiting, TIMEOUT)

    queue.engine.gate = gate


# --- turns ---------------------------------------------------------------------------------------


def test_overload_is_shared_in_turn():
    """While all callers always want more, none gets a second run before all have had one."""
    fake, rounds = Fake(), 6
    queue = EngineQueue(fake)
    callers = [Caller(SharedEngine(queue), [pair(who)] * rounds) for who in (1, 2, 3)]

    def wait_for_all() -> None:
        with queue._changed:
            while sum(not x.answered for x in queue._waiting) < sum(c.open > 0 for c in callers):
                queue._changed.wait(0.01)

    fake.gate = wait_for_all
    for caller in callers:
        caller.start()
    finish(callers)
    order = [value for run in fake.runs for value in run]
    turns = [set(order[at : at + 3]) for at in range(0, 3 * rounds, 3)]
    assert turns == [{1, 2, 3}] * rounds
    assert [caller.got for caller in callers] == [[2.0 * who] * rounds for who in (1, 2, 3)]


def test_waiting_and_sharers_are_counted(monkeypatch):
    queue = EngineQueue(Fake())
    alone = SharedEngine(queue)
    alone.run(pair(1))
    assert alone.waited < 0.5
    assert alone.sharers == 1
    hold_first(queue, 2)
    engines = [SharedEngine(queue) for _ in range(2)]
    callers = [Caller(engine, [pair(2)]) for engine in engines]
    for caller in callers:
        caller.start()
    finish(callers)
    first, second = sorted(engine.waited for engine in engines)
    assert 0 <= first < second
    assert {engine.sharers for engine in (alone, *engines)} == {3}
    later = time.monotonic() + LATELY
    monkeypatch.setattr(time, 'monotonic', lambda: later)
    assert alone.sharers == 1


@pytest.mark.parametrize('device', ['cpu', 'tensorrt'])
def test_where_batches_do_not_pay_requests_are_computed_one_by_one(device):
    queue = EngineQueue(Fake(device))
    hold_first(queue, 3)
    callers = [Caller(SharedEngine(queue), [pair(who)]) for who in (1, 2, 3)]
    for caller in callers:
        caller.start()
    finish(callers)
    assert sorted(queue.engine.runs) == [[1], [2], [3]]


def test_each_caller_has_its_own_iterations():
    queue = EngineQueue(Fake(iterations=8))
    fast, usual = SharedEngine(queue), SharedEngine(queue)
    fast.iterations = 3
    for engine in (fast, usual, fast):
        engine.run(pair(1))
    assert queue.engine.steps == [3, 8, 3]
    assert (fast.iterations, usual.iterations) == (3, 8)


def test_iterations_that_the_engine_refuses_change_nothing():
    class Fixed(Fake):
        @property
        def iterations(self):
            return 8

        @iterations.setter
        def iterations(self, count):
            if count != 8:
                raise EngineError(f'8 iterations, not {count}')

    queue = EngineQueue(Fixed(iterations=8))
    engine = SharedEngine(queue)
    with pytest.raises(EngineError, match='not 3'):
        engine.iterations = 3
    assert engine.iterations == 8
    assert engine.run(pair(1))['disparity'].mean() == 2


def test_the_engine_is_tested_once_but_again_after_a_failure():
    queue = EngineQueue(Fake())
    for _ in range(3):
        SharedEngine(queue).self_test()
    assert queue.engine.tests == 1

    class Wrong(Fake):
        def self_test(self) -> None:
            super().self_test()
            raise EngineError('something else')

    queue = EngineQueue(Wrong())
    for _ in range(2):
        with pytest.raises(EngineError, match='something else'):
            SharedEngine(queue).self_test()
    assert queue.engine.tests == 2


# --- batches -------------------------------------------------------------------------------------


def three_while_one_runs(queue: EngineQueue, pairs, engines=None) -> list[Caller]:
    """Run a pair of value 9; meanwhile let the others queue, in their order."""
    hold_first(queue, 1 + len(pairs))
    engines = engines or [SharedEngine(queue) for _ in pairs]
    first = Caller(SharedEngine(queue), [pair(9)])
    callers = [Caller(engine, [inputs]) for engine, inputs in zip(engines, pairs, strict=True)]
    for before, caller in enumerate([first, *callers]):
        caller.start()
        with queue._changed:
            while len(queue._waiting) <= before and not caller.got:
                queue._changed.wait(0.01)
    finish([first, *callers])
    assert first.got == [18.0]
    return callers


@pytest.mark.parametrize(
    ('device', 'batch', 'runs'),
    [
        ('cuda', 0, [[9], [1, 2, 3]]),
        ('cpu', 4, [[9], [1, 2, 3]]),
        ('cpu', 2, [[9], [1, 2], [3]]),
        ('cuda', 1, [[9], [1], [2], [3]]),
    ],
)
def test_what_waits_is_computed_together_up_to_the_batch(device, batch, runs):
    queue = EngineQueue(Fake(device), batch)
    callers = three_while_one_runs(queue, [pair(1), pair(2), pair(3)])
    assert queue.engine.runs == runs
    assert [caller.got for caller in callers] == [[2.0], [4.0], [6.0]]


def test_only_what_is_alike_is_computed_together():
    queue = EngineQueue(Fake('cuda', iterations=8))
    engines = [SharedEngine(queue) for _ in range(4)]
    engines[3].iterations = 2
    pairs = [pair(1), pair(2, height=4), pair(3, count=2), pair(4)]
    callers = three_while_one_runs(queue, pairs, engines)
    assert queue.engine.runs == [[9], [1, 3, 3], [2], [4]]
    assert queue.engine.steps == [8, 8, 8, 2]
    assert [caller.got for caller in callers] == [[2.0], [4.0], [6.0], [8.0]]


def test_the_window_fills_a_batch():
    queue = EngineQueue(Fake(), batch=2, window=1000 * TIMEOUT)
    callers = [Caller(SharedEngine(queue), [pair(who)]) for who in (1, 2)]
    for caller in callers:
        caller.start()
    finish(callers)
    assert [sorted(run) for run in queue.engine.runs] == [[1, 2]]


def test_nobody_waits_for_callers_that_are_not_there():
    queue = EngineQueue(Fake(), batch=2, window=1000 * TIMEOUT)
    engine = SharedEngine(queue)
    gone = SharedEngine(queue)
    del gone
    gc.collect()
    caller = Caller(engine, [pair(1)])
    caller.start()
    caller.join(TIMEOUT / 2)
    assert caller.got == [2.0]


@pytest.mark.parametrize('engine', ['onnxruntime', 'torch'])
def test_batches_of_a_network_give_what_single_runs_give(engine):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('torch')
    inner = create_engine('nano_stereo', engine, 'cpu', threads=1)
    pairs = [textured_inputs(inner.spec, 96, 160, shift) for shift in (3, 5, 8)]
    alone = [inner.run(inputs)['disparity'] for inputs in pairs]
    queue = EngineQueue(inner, batch=3, window=1000 * TIMEOUT)
    run, counts, got = inner.run, [], {}

    def counting(inputs):
        counts.append(len(inputs['left']))
        return run(inputs)

    inner.run = counting
    shares = [SharedEngine(queue) for _ in pairs]
    threads = [
        threading.Thread(target=lambda at=at: got.update({at: shares[at].run(pairs[at])}))
        for at in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert counts == [3]
    for at, expected in enumerate(alone):
        np.testing.assert_allclose(got[at]['disparity'], expected, atol=1e-3)
        assert set(got[at]) == set(inner.spec.maps)


# --- errors --------------------------------------------------------------------------------------


def test_a_broken_input_fails_its_caller_only():
    queue = EngineQueue(Fake('cuda'))
    callers = three_while_one_runs(queue, [pair(1), pair(BROKEN), pair(3)])
    assert queue.engine.runs == [[9], [1, BROKEN, 3], [1], [BROKEN], [3]]
    assert callers[0].got + callers[2].got == [2.0, 6.0]
    assert str(callers[1].got[0]) == f'one of [{BROKEN}] is broken'
    queue.engine.runs.clear()
    three_while_one_runs(queue, [pair(1), pair(2), pair(3)])
    assert queue.engine.runs == [[9], [1, 2, 3]]


def test_inputs_of_a_wrong_form_fail_before_they_wait():
    engine = SharedEngine(EngineQueue(Fake('cuda')))
    with pytest.raises(ValueError, match='give uint8 RGB'):
        engine.run({name: x.astype(np.float32) for name, x in pair(1).items()})
    assert engine._queue.engine.runs == []


def test_an_engine_that_fails_on_batches_is_asked_for_single_pairs(caplog):
    class Single(Fake):
        def run(self, inputs):
            if len(inputs['left']) > 1:
                self.runs.append([])
                raise EngineError('its batch is fixed to 1')
            return super().run(inputs)

    queue = EngineQueue(Single('cuda'))
    with caplog.at_level(logging.WARNING):
        for runs in ([[9], [], [1], [2]], [[9], [1], [2]]):
            queue.engine.runs.clear()
            callers = three_while_one_runs(queue, [pair(1), pair(2)])
            assert queue.engine.runs == runs
            assert [caller.got for caller in callers] == [[2.0], [4.0]]
    assert len(caplog.messages) == 1
    assert 'fake by fake does not compute batches' in caplog.messages[0]


@pytest.mark.parametrize('wrong', ['values', 'length'])
def test_an_engine_that_mixes_up_batches_is_found_out(wrong, caplog):
    class Mixing(Fake):
        def run(self, inputs):
            found = super().run(inputs)['disparity']
            return {'disparity': found[::-1] if wrong == 'values' else found[:1]}

    queue = EngineQueue(Mixing('cuda'))
    SharedEngine(queue).self_test()
    assert 'does not compute batches' in caplog.text
    queue.engine.runs.clear()
    callers = three_while_one_runs(queue, [pair(1), pair(2)])
    assert queue.engine.runs == [[9], [1], [2]]
    assert [caller.got for caller in callers] == [[2.0], [4.0]]


def test_an_engine_that_computes_batches_passes_the_self_test(caplog):
    queue = EngineQueue(Fake('cuda'))
    SharedEngine(queue).self_test()
    assert caplog.text == ''
    three_while_one_runs(queue, [pair(1), pair(2)])
    assert queue.engine.runs[-1] == [1, 2]


# --- ends ----------------------------------------------------------------------------------------


def test_an_interrupted_caller_leaves_its_turn_to_the_others():
    class Interrupted(Fake):
        def run(self, inputs):
            result = super().run(inputs)
            if self.runs[-1] == [9]:
                raise KeyboardInterrupt
            return result

    queue = EngineQueue(Interrupted())
    hold_first(queue, 3)
    first = Caller(SharedEngine(queue), [pair(9)])
    first.start()
    others = [Caller(SharedEngine(queue), [pair(who)]) for who in (1, 2)]
    for caller in others:
        caller.start()
    finish([first, *others])
    assert isinstance(first.got[0], KeyboardInterrupt)
    assert [caller.got for caller in others] == [[2.0], [4.0]]
    assert queue._waiting == []


PROGRAMME = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([2, 4]), st.booleans()), max_size=4
)


@settings(max_examples=60, deadline=None)
@given(st.lists(PROGRAMME, min_size=1, max_size=4), st.integers(1, 4), st.sampled_from([0, 2]))
def test_every_caller_gets_its_answers_and_may_end_at_any_time(programmes, batch, window):
    queue = EngineQueue(Fake(), batch, window)
    callers, expected = [], []
    for who, programme in enumerate(programmes):
        pairs = [pair(BROKEN if bad else 10 * who + v, size) for v, size, bad in programme]
        expected.append([None if bad else 2.0 * (10 * who + v) for v, _, bad in programme])
        callers.append(Caller(SharedEngine(queue), pairs))
    for caller in callers:
        caller.start()
    finish(callers)
    got = [[None if isinstance(x, ValueError) else x for x in caller.got] for caller in callers]
    assert got == expected
    assert (queue._waiting, queue._busy) == ([], False)


# --- the pool ------------------------------------------------------------------------------------


class Factory:
    """Makes fake engines, and keeps weak references to them."""

    def __init__(self) -> None:
        self.made: list[tuple] = []
        self.alive: list[weakref.ref] = []

    def __call__(self, model, engine, device, **options):
        if model == 'absent':
            raise EngineError('model absent is unknown')
        fake = Fake()
        self.made.append((model, *options.values()))
        self.alive.append(weakref.ref(fake))
        return fake


def test_the_same_settings_share_an_engine_and_others_do_not():
    factory = Factory()
    pool = EnginePool(create=factory)
    engines = [pool.take('net', weights='w', threads=2) for _ in range(3)]
    engines.append(pool.take('net', threads=2, weights='w'))
    others = [pool.take('net', weights='w', threads=1), pool.take('other', weights='w')]
    assert factory.made == [('net', 'w', 2), ('net', 'w', 1), ('other', 'w')]
    assert len({id(engine._queue) for engine in engines}) == 1
    assert len({id(engine._queue) for engine in [*engines, *others]}) == 3


def test_many_threads_at_once_get_one_engine():
    factory, taken, start = Factory(), [], threading.Barrier(8)
    pool = EnginePool(create=factory)

    def take() -> None:
        start.wait(TIMEOUT)
        taken.append(pool.take('net'))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert (len(factory.made), len(taken)) == (1, 8)


@pytest.mark.parametrize('order', itertools.permutations(range(3)))
def test_an_engine_is_released_when_the_last_caller_has_gone(order):
    factory = Factory()
    pool = EnginePool(create=factory)
    engines = {at: pool.take('net') for at in range(3)}
    for at in order:
        gc.collect()
        assert factory.alive[0]() is not None
        engines.pop(at).run(pair(1))
    gc.collect()
    assert factory.alive[0]() is None
    pool.take('net')
    assert len(factory.made) == 2


def test_a_model_that_cannot_be_loaded_is_tried_anew_and_holds_up_nobody():
    factory = Factory()
    pool = EnginePool(create=factory)
    for _ in range(2):
        with pytest.raises(EngineError, match='absent'):
            pool.take('absent')
    loading, go_on = threading.Event(), threading.Event()

    def slow(model, *names, **options):
        if model == 'slow':
            loading.set()
            assert go_on.wait(TIMEOUT)
        return factory(model, *names, **options)

    pool = EnginePool(create=slow)
    loader = threading.Thread(target=pool.take, args=('slow',))
    loader.start()
    assert loading.wait(TIMEOUT)
    assert pool.take('net').run(pair(2))['disparity'].mean() == 4
    go_on.set()
    loader.join(TIMEOUT)


def test_sgbm_has_nothing_to_share():
    pool = EnginePool()
    engines = [pool.take('sgbm'), pool.take('auto', 'opencv')]
    assert [engine.spec.name for engine in engines] == ['sgbm', 'sgbm']
    assert len({id(engine) for engine in engines}) == 2
    assert not any(isinstance(engine, SharedEngine) for engine in engines)


@pytest.mark.parametrize(
    ('settings', 'says'),
    [
        ({'batch': -1}, 'batch is -1; give a whole number in 0..64'),
        ({'batch': 65}, 'batch is 65'),
        ({'window': -0.5}, 'batch window is -0.5; give a number in 0..1000'),
        ({'window': float('nan')}, 'batch window is nan'),
    ],
)
def test_settings_of_the_pool_have_ranges(settings, says):
    with pytest.raises(ValueError, match=says):
        EnginePool(**settings)
