"""Keeping a rate: the steps, the rate of a camera, and the choice under simulated loads."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nndepth_core import StereoEstimator
from nndepth_core.engines import EngineError
from nndepth_core.pacing import CameraRate, Controller, Ladder, plan
from nndepth_core.pacing import ladder as ladders
from nndepth_core.pacing.controller import FIRST_WAIT, FIT, LONGEST_WAIT, ROOM, SEVERAL, WINDOW
from nndepth_core.spec import ModelSpec

# --- the steps -----------------------------------------------------------------------------------


def spec_of(**facts) -> ModelSpec:
    return ModelSpec('net', **facts)


@given(
    width=st.integers(1, 4000),
    height=st.integers(1, 4000),
    multiple=st.sampled_from([1, 8, 14, 32, 128]),
    least=st.integers(1, 200),
    iterations=st.integers(0, 64),
)
def test_every_step_is_cheaper_fits_the_model_and_keeps_the_aspect(
    width, height, multiple, least, iterations
):
    spec = spec_of(multiple=multiple, minimum=(least, least))
    steps = plan(spec, (width, height), iterations)
    assert steps[0] == ((width, height), iterations)
    costs = [(math.prod(spec.padded_size(high, wide)), count) for (wide, high), count in steps]
    assert costs == sorted(set(costs), reverse=True)
    for (wide, high), count in steps[1:]:
        assert min(iterations, 2) <= count <= iterations
        if (wide, high) != (width, height):
            assert count == steps[-1][1]  # sizes come after iterations
            assert wide % multiple == 0
            assert min(wide, high) >= least
            assert abs(high - wide * height / width) <= 0.5


def test_the_steps_of_the_default_model_at_640x480():
    spec = spec_of(multiple=32, minimum=(32, 32))
    assert [size for size, _ in plan(spec, (640, 480))] == [
        (640, 480), (544, 408), (448, 336), (352, 264), (288, 216), (224, 168), (160, 120),
    ]  # fmt: skip


def test_fewer_iterations_come_before_smaller_sizes():
    steps = plan(spec_of(iterations=32, multiple=32), (640, 480), 32)
    assert [count for _, count in steps[:4]] == [32, 16, 8, 8]
    assert [size for size, _ in steps[:4]] == [(640, 480)] * 3 + [(544, 408)]


def test_a_model_of_one_size_has_one_step():
    assert plan(spec_of(fixed_size=(480, 640)), (640, 480)) == [((640, 480), 0)]


def test_a_model_is_given_no_fewer_pixels_than_it_needs():
    spec = spec_of(inputs=('image',), output='depth', pixels=(150_000, 400_000))
    sizes = [size for size, _ in plan(spec, (640, 480))]
    assert sizes == [(640, 480), (544, 408), (448, 336)]


class StubEngine:
    """Takes a time that the test says, by the pixels and iterations."""

    name, device = 'stub', 'cpu'

    def __init__(self, iterations: int = 0, fixed: bool = False, broken: int = 0) -> None:
        self.spec = spec_of(iterations=iterations, minimum=(8, 8))
        self._iterations, self._fixed, self._broken = iterations, fixed, broken
        self.runs: list[tuple[int, int]] = []
        self.busy = threading.Lock()
        self.overlaps = 0

    @property
    def iterations(self) -> int:
        return self._iterations

    @iterations.setter
    def iterations(self, count: int) -> None:
        if self._fixed:
            raise EngineError('export it again')
        self._iterations = count

    def run(self, inputs):
        self.overlaps += not self.busy.acquire(blocking=False)
        height, width = inputs['left'].shape[1:3]
        self.runs.append((width, self.iterations))
        self.busy.release()
        if width == self._broken:
            raise RuntimeError('out of memory')
        return {'disparity': np.zeros((1, height, width), np.float32)}


SIZE = 160, 96


def ladder_of(engine, **settings) -> Ladder:
    return Ladder(StereoEstimator(engine, **settings), SIZE, threading.RLock())


def test_every_step_is_warmed_up_and_the_engine_is_left_as_it_was(monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr(ladders.time, 'perf_counter', lambda: next(clock) / 100)
    engine = StubEngine(iterations=8)
    ladder = ladder_of(engine)
    ladder.measure()
    assert ladder.ready
    assert engine.iterations == 8
    assert {*engine.runs} == {
        (160, 8), (160, 4), (160, 2), (136, 2), (112, 2), (88, 2), (72, 2), (56, 2), (40, 2),
    }  # fmt: skip
    assert engine.runs[0] == (40, 2)  # the cheapest first
    assert [step.size[0] for step in ladder.steps] == [160, 160, 160, 136, 112, 88, 72, 56, 40]
    assert all(step.seconds == pytest.approx(0.01) for step in ladder.steps)


def test_steps_use_the_engine_by_turns_each_with_its_iterations():
    engine = StubEngine(iterations=8)
    ladder = ladder_of(engine)
    measuring = threading.Thread(target=ladder.measure)
    measuring.start()
    pair = [np.zeros((SIZE[1], SIZE[0], 3), np.uint8)] * 2
    while measuring.is_alive():
        ladder.steps[0].estimator(*pair)
    measuring.join()
    assert engine.overlaps == 0
    assert {count for width, count in engine.runs if width < 160} == {2}
    assert engine.iterations == 8


def test_an_engine_of_fixed_iterations_has_smaller_sizes_only():
    engine = StubEngine(iterations=8, fixed=True)
    ladder = ladder_of(engine)
    ladder.measure()
    assert {count for _, count in engine.runs} == {8}
    assert [step.size[0] for step in ladder.steps] == [160, 136, 112, 88, 72, 56, 40]


@pytest.mark.parametrize(('broken', 'left'), [(40, 6), (160, 6)])
def test_a_step_that_fails_is_left_out(broken, left, caplog):
    ladder = ladder_of(StubEngine(broken=broken))
    ladder.measure()
    assert ladder.ready
    assert broken not in [step.size[0] for step in ladder.steps]
    assert len(ladder.steps) == left
    assert 'out of memory' in caplog.text


def test_a_given_size_is_the_best_step_and_other_settings_stay():
    ladder = ladder_of(StubEngine(), processing_size=(80, 0), output='processing')
    assert ladder.steps[0].size == (80, 48)
    assert {step.estimator.output for step in ladder.steps} == {'processing'}


def test_a_measurement_can_be_stopped():
    engine = StubEngine()
    ladder = ladder_of(engine)
    ladder.stop()
    ladder.measure()
    assert not ladder.ready
    assert engine.runs == []


# --- the rate of a camera ------------------------------------------------------------------------


def stamps(period: float, count: int, start: float = 0.0) -> list[int]:
    return [round((start + number * period) * 1e9) for number in range(count)]


def period_after(*series: list[int]) -> float | None:
    rate = CameraRate()
    for stamp in (stamp for part in series for stamp in part):
        rate.add(stamp)
    return rate.period


@given(period=st.floats(0.005, 5), seed=st.integers(0, 1000))
def test_lost_images_and_jitter_do_not_change_the_rate(period, seed):
    random = np.random.default_rng(seed)
    arrived = [stamp for stamp in stamps(period, 200) if random.random() > 0.15]
    noisy = [stamp + round(random.normal(0, 0.01) * period * 1e9) for stamp in arrived]
    assert period_after(noisy) == pytest.approx(period, rel=0.06)


def test_images_that_come_late_and_then_at_once_do_not_change_the_rate():
    even = stamps(0.1, 60)
    bursts = [stamp + (80_000_000 if number % 4 == 2 else 0) for number, stamp in enumerate(even)]
    assert period_after(bursts) == pytest.approx(0.1)


def test_a_new_rate_is_followed_once_it_is_no_exception():
    before = stamps(0.1, 50)
    assert period_after(before, stamps(0.2, 8, start=5.0)) == pytest.approx(0.1)
    assert period_after(before, stamps(0.2, 40, start=5.0)) == pytest.approx(0.2)


def test_loops_and_pauses_tell_no_rate():
    assert period_after(stamps(0.1, 4)) is None
    assert period_after([0] * 40) is None
    assert period_after(stamps(0.1, 40), stamps(0.1, 40)) == pytest.approx(0.1)
    assert period_after(stamps(0.1, 40), stamps(0.1, 40, start=1e6)) == pytest.approx(0.1)


# --- the choice ----------------------------------------------------------------------------------

PERIOD = 0.1
OUTSIDE = 0.01
SECONDS = (0.200, 0.140, 0.098, 0.063, 0.042, 0.026, 0.014)


@dataclass
class Trace:
    """What came of a simulation: times, steps and lost frames, frame by frame."""

    times: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    missed: int = 0
    ages: list[float] = field(default_factory=list)

    @property
    def changes(self) -> int:
        return int(np.count_nonzero(np.diff(self.steps)))

    @property
    def answered(self) -> float:
        """The share of the frames that were worked on."""
        return len(self.steps) / (len(self.steps) + self.missed)

    def step_at(self, time: float) -> int:
        return self.steps[int(np.searchsorted(self.times, time, side='right')) - 1]


def simulate(
    controller: Controller,
    load: Callable[[float], float],
    until: float,
    *,
    camera: float = PERIOD,
    noise: float = 0.0,
    delay: float = 0.0,
) -> Trace:
    """A camera, a mailbox for the newest image and one worker, in simulated time."""
    random, trace = np.random.default_rng(1), Trace()
    free, last = 0.0, -1
    while free < until:
        last = max(last + 1, math.floor(free / camera + 1e-9))
        start = max(free, last * camera)
        engine = SECONDS[controller.step] * load(start) * math.exp(noise * random.normal())
        free = start + OUTSIDE + engine
        missed = max(0, math.floor(free / camera + 1e-9) - last - 1)
        age = free - last * camera + delay
        trace.times.append(start)
        trace.steps.append(controller.step)
        trace.ages.append(age)
        trace.missed += missed
        controller.feed(
            OUTSIDE + engine, engine, missed if camera >= controller.period else 0, age
        )
    return trace


def controller(period: float = PERIOD) -> Controller:
    return Controller(SECONDS, period, OUTSIDE)


def fitting(load: float, share: float = ROOM, period: float = PERIOD) -> int:
    """The best step within a share of the period."""
    times = [OUTSIDE + load * seconds for seconds in SECONDS]
    return next((step for step, time in enumerate(times) if time <= share * period), 6)


@pytest.mark.parametrize('load', [0.2, 0.4, 1.0, 1.15, 2.0, 3.0])
def test_under_a_constant_load_the_best_fitting_step_is_taken_and_kept(load):
    trace = simulate(controller(), lambda _: load, 300)
    assert fitting(load, FIT) <= trace.steps[-1] <= fitting(load)
    assert trace.changes <= 2
    assert trace.missed <= 3
    assert trace.step_at(10) == trace.steps[-1]
    assert np.percentile(trace.ages, 95) < 2 * PERIOD


@given(
    load=st.floats(0.05, 4),
    period=st.floats(0.05, 0.5),
)
def test_whatever_the_load_the_step_settles(load, period):
    chosen = Controller(SECONDS, period, OUTSIDE)
    trace = simulate(chosen, lambda _: load, 1000 * period, camera=period)
    late = trace.steps[len(trace.steps) // 4 :]
    assert len(set(late)) == 1
    assert fitting(load, 1.0, period) <= late[0] <= fitting(load, ROOM, period)
    unreachable = OUTSIDE + load * SECONDS[-1] > period
    assert chosen.unreachable == unreachable


def test_a_step_of_load_is_answered_within_a_few_frames_and_the_quality_comes_back():
    trace = simulate(controller(), lambda time: 2.4 if 20 <= time < 60 else 1.0, 100)
    assert trace.step_at(19) == fitting(1.0)
    assert trace.step_at(20 + (SEVERAL + 3) * 0.17) == fitting(2.4)
    assert trace.step_at(59) == fitting(2.4)
    assert trace.step_at(60 + FIRST_WAIT + WINDOW * PERIOD) == trace.steps[-1] == fitting(1.0)
    assert trace.changes == 2
    assert trace.missed <= 4


@pytest.mark.parametrize('noise', [0.05, 0.15, 0.3])
@pytest.mark.parametrize('load', [0.9, 1.1, 1.4])
def test_noise_makes_no_hunting(noise, load):
    trace = simulate(controller(), lambda _: load, 1200, noise=noise)
    assert trace.changes <= 2 * 1200 / 60
    assert trace.answered > 0.95
    assert np.percentile(trace.ages, 95) < 2 * PERIOD


@pytest.mark.parametrize('cycle', [4, 8, 16, 40])
def test_a_periodic_load_is_not_followed_for_long(cycle):
    trace = simulate(controller(), lambda time: 2.4 if time % cycle < cycle / 2 else 1.0, 1200)
    attempts = math.log2(LONGEST_WAIT / FIRST_WAIT) + 1200 / LONGEST_WAIT
    assert trace.changes <= 2 * attempts + 3
    assert trace.answered > 0.97
    assert np.percentile(trace.ages, 95) < 2 * PERIOD
    assert trace.steps[-1] == fitting(2.4)


def test_a_single_pause_is_no_overload():
    """Such as a collection of garbage, or another process, every few seconds."""
    trace = simulate(controller(), lambda time: 12.0 if time % 5 < PERIOD else 1.0, 300)
    assert trace.missed > 0
    assert trace.changes == 0


def test_frames_that_are_lost_lower_the_step():
    chosen = controller()
    before = chosen.step
    for number in range(2 * WINDOW):
        chosen.feed(0.06, 0.05, missed=number % 4 == 0)
    assert chosen.step > before


def test_ages_above_two_periods_lower_the_step():
    chosen = controller()
    before = chosen.step
    for _ in range(SEVERAL):
        chosen.feed(0.06, 0.05, age=0.21)
    assert chosen.step > before


def test_without_stamps_ages_do_not_count():
    chosen = controller()
    for _ in range(5 * WINDOW):
        chosen.feed(0.073, 0.063, age=math.nan)
    assert chosen.step == fitting(1.0)


def test_a_camera_that_gives_more_than_is_wanted_leaves_time_for_quality():
    trace = simulate(controller(0.3), lambda _: 1.0, 100, camera=0.1)
    assert trace.steps[-1] == fitting(1.0, period=0.3) == 0
    assert len(trace.steps) / 100 >= 1 / 0.3


def test_an_unreachable_rate_is_told_and_taken_back_when_it_is_kept_again():
    chosen = controller()
    simulate(chosen, lambda _: 8.0, 30)
    assert chosen.unreachable
    assert chosen.step == len(SECONDS) - 1
    assert 'too slow' in chosen.reason
    simulate(chosen, lambda time: 8.0 if time < 1 else 1.0, 30)
    assert not chosen.unreachable
    assert chosen.step == fitting(1.0)


def test_another_rate_is_taken_at_once():
    chosen = controller()
    simulate(chosen, lambda _: 2.4, 30)
    assert chosen.step == fitting(2.4)
    chosen.want(0.05)
    assert chosen.step == fitting(2.4, period=0.05)
    chosen.want(1.0)
    assert chosen.step == 0


def test_a_rate_that_hardly_changes_changes_no_step():
    chosen = controller()
    before = chosen.step
    for number in range(50):
        chosen.want(PERIOD * (1.02 if number % 2 else 0.98))
        chosen.feed(OUTSIDE + SECONDS[before], SECONDS[before])
    assert chosen.step == before


def test_a_rate_that_is_measured_ever_more_precisely_does_not_delay_the_choice():
    chosen = controller()
    for number in range(SEVERAL + 1):
        chosen.want(PERIOD * (1 + 0.001 * number))
        chosen.feed(0.16, 0.15)
    assert chosen.step > fitting(1.0)


def test_the_reason_tells_step_time_and_what_the_better_one_would_take():
    chosen = controller()
    chosen.feed(OUTSIDE + 0.063, 0.063)
    assert chosen.reason == 'step 4 of 7: 73 of 100 ms, 108 ms at the better one'
