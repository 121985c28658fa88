"""target_rate of both nodes: the step follows the rate, the load, the model and the camera.

The engine takes simulated time, so that seconds of it pass at once and noise of the machine does
not count. Images come one after the other; their stamps tell the rate of the camera.
"""

from __future__ import annotations

import re
import time

import numpy as np
import pytest

pytest.importorskip('nndepth.msg', reason='the workspace is not built and sourced')
from rig import HEIGHT, SHIFT, WIDTH, Log, camera_info, shifted_pair

from nndepth_core.pacing import plan
from nndepth_core.pacing.controller import ROOM, WINDOW
from nndepth_core.spec import ModelSpec
from nndepth_ros import model_node
from nndepth_ros.parameters.rate import HIGHEST, LOWEST, read_rate

STAMP = 1_700_000_000_000_000_000
PIXELS = WIDTH * HEIGHT
SPECS = {
    'stereo': ModelSpec('slow', minimum=(8, 8)),
    'mono': ModelSpec(
        'slow', inputs=('image',), output='depth', value_range=(0.0, 10.0), minimum=(8, 8)
    ),
}


class SimulatedTime:
    """Seconds that engines take without waiting for them."""

    def __init__(self, monkeypatch) -> None:
        self.spent = 0.0
        clock = time.perf_counter
        monkeypatch.setattr(time, 'perf_counter', lambda: clock() + self.spent)


class SlowEngine:
    """Takes `seconds` for images of the rig's size, in proportion to pixels and iterations."""

    name, device = 'slow', 'cpu'

    def __init__(self, task: str, clock: SimulatedTime, seconds: float, iterations: int = 0):
        self.spec = SPECS[task]
        self.seconds, self.iterations, self._usual = seconds, iterations, iterations
        self._clock = clock

    def duration(self, size: tuple[int, int], iterations: int = 0) -> float:
        share = iterations / self._usual if self._usual else 1
        return self.seconds * share * size[0] * size[1] / PIXELS

    def run(self, inputs):
        height, width = next(iter(inputs.values())).shape[1:3]
        self._clock.spent += self.duration((width, height), self.iterations)
        value = SHIFT * width / WIDTH if self.spec.output == 'disparity' else 2.5
        return {self.spec.output: np.full((1, height, width), value, np.float32)}

    def self_test(self) -> None:
        pass

    def fitting(self, period: float) -> tuple[int, int]:
        """The size and the iterations of the best step within the room of a period."""
        steps = plan(self.spec, (WIDTH, HEIGHT), self._usual)
        fits = (step for step in steps if self.duration(*step) <= ROOM * period)
        (width, _), iterations = next(fits, steps[-1])
        return width, iterations


class Camera:
    """Sends pairs or images one by one, each when the one before is answered."""

    def __init__(self, rig, period: float) -> None:
        self.rig, self.period, self.stamp, self.sent = rig, period, STAMP, 0

    def send(self, count: int = 1, size: tuple[int, int] = (WIDTH, HEIGHT)):
        """Return the statistics of the last answer."""
        pair = shifted_pair(width=size[0], height=size[1])
        sides = self.rig.node.sides
        infos = [camera_info(side, *size) for side in sides]
        for _ in range(count):
            self.stamp += round(self.period * 1e9)
            self.sent += 1
            self.rig.send_infos(*infos, stamp_ns=self.stamp)
            self.rig.send_pair(self.stamp, pair[: len(sides)], infos=False)
            self.rig.wait_for('stats', self.sent)
        return self.rig.received['stats'][-1]

    def send_until_measured(self):
        """Send until the steps are measured, and the first one is chosen."""
        self.rig.wait_until(
            lambda: self.send().rate_reason.startswith('step'), 'the steps', timeout=20
        )
        return self.rig.received['stats'][-1]


@pytest.fixture
def engines(monkeypatch):
    """The engines that nodes get, by the model; others may be put there."""
    clock = SimulatedTime(monkeypatch)
    made = {
        'sgbm': SlowEngine('stereo', clock, 3.0),
        'raft_stereo': SlowEngine('stereo', clock, 30.0),
        'igev_stereo': SlowEngine('stereo', clock, 6.0, iterations=32),
        'midas_small': SlowEngine('mono', clock, 3.0),
    }
    monkeypatch.setattr(model_node, 'create_engine', lambda model, *_, **__: made[model])
    return made


def started(make, target, period=1.0, model='sgbm', **parameters) -> Camera:
    rig = make(outputs=('stats',), model=model, parameters={'target_rate': target, **parameters})
    return Camera(rig, period)


@pytest.fixture(params=['stereo', 'mono'])
def make_either(request):
    """Make a rig of either node and return its camera; the model has the same speed in both."""
    make = request.getfixturevalue({'stereo': 'make_rig', 'mono': 'make_mono_rig'}[request.param])
    model = {'stereo': 'sgbm', 'mono': 'midas_small'}[request.param]
    return lambda *arguments, **options: started(make, *arguments, model=model, **options)


@pytest.mark.parametrize('target', [1, 1.0, '1', 'auto'], ids=repr)
def test_the_best_step_that_keeps_the_rate_is_taken(make_either, engines, target):
    camera = make_either(target)
    assert camera.send().processing_width == WIDTH  # as long as nothing is measured
    camera.send_until_measured()
    stats = camera.send(2 * WINDOW)
    width, _ = engines['sgbm'].fitting(1.0)
    assert stats.processing_width == width < WIDTH
    assert (stats.output_width, stats.iterations) == (WIDTH, 0)
    assert stats.target_rate == pytest.approx(1.0)
    assert stats.achieved_rate > 0
    assert stats.rate_reason.startswith('step 5 of 7: ')
    camera.rig.wait_diagnostic(f'processing_size={width}x{stats.processing_height}')
    camera.rig.wait_diagnostic('rate_reason=step 5 of 7: ')
    camera.rig.wait_diagnostic('target_rate=1')


def test_a_model_slower_than_the_camera_is_told_once(make_either, engines, monkeypatch):
    camera = make_either(0.0)
    told = Log(camera.rig, monkeypatch, ['info']).said
    camera.send(WINDOW)
    assert not told  # too few to judge by
    camera.send(2 * WINDOW)
    (text,) = told
    found = re.match(
        r'slow takes (\d+) ms for a frame on cpu and the camera gives one each 1000 ms, ', text
    )
    assert found
    assert 3000 <= int(found[1]) < 4000
    assert 'target_rate auto' in text
    told.clear()
    for target in (1.0, 0.0):
        assert camera.rig.set_parameters(target_rate=target) == ''
    assert camera.rig.set_parameters(precision='fp32') == ''
    for transition in ('deactivate', 'cleanup', 'configure', 'activate'):
        camera.rig.in_executor(getattr(camera.rig.node, f'trigger_{transition}'))
    camera.rig.wait_connected()
    camera.send(3 * WINDOW)
    assert not [text for text in told if 'camera gives' in text]


@pytest.mark.parametrize(('target', 'period'), [('auto', 1.0), (0.0, 4.0)])
def test_a_model_as_fast_as_the_camera_is_not_told(make_rig, engines, monkeypatch, target, period):
    camera = started(make_rig, target, period)
    told = Log(camera.rig, monkeypatch, ['info']).said
    camera.send(4 * WINDOW)
    assert not told


def test_without_a_target_nothing_changes(make_rig, engines):
    camera = started(make_rig, 0.0)
    stats = camera.send(10)
    assert (stats.processing_width, stats.target_rate, stats.rate_reason) == (WIDTH, 0.0, '')
    assert camera.rig.node.estimator.engine is engines['sgbm']


def test_fewer_iterations_come_first(make_rig, engines):
    camera = started(make_rig, 1.0, model='igev_stereo', period=4.0)
    assert camera.send().iterations == 32
    camera.send_until_measured()
    for period in (8.0, 4.0, 2.0, 0.5):
        assert camera.rig.set_parameters(target_rate=1 / period) == ''
        camera.period = period
        stats = camera.send(2 * WINDOW)
        assert (stats.processing_width, stats.iterations) == engines['igev_stereo'].fitting(period)
    assert engines['igev_stereo'].iterations == 32


def test_a_given_processing_size_is_the_best_step(make_rig, engines):
    camera = started(make_rig, 0.25, processing_width=80)
    camera.send_until_measured()
    assert camera.send(2 * WINDOW).processing_width == 80
    assert camera.rig.set_parameters(processing_width=120) == ''
    camera.send_until_measured()
    assert camera.send(2 * WINDOW).processing_width == 120


def test_the_target_changes_live_and_ends(make_rig, engines):
    camera = started(make_rig, 0.0)
    camera.send(3)
    for target, period in ((1, 1.0), (0.25, 4.0), ('auto', 2.0), (4.0, 0.25)):
        camera.period = period
        assert camera.rig.set_parameters(target_rate=target) == ''
        camera.send_until_measured()
        stats = camera.send(2 * WINDOW)
        assert stats.processing_width == engines['sgbm'].fitting(period)[0]
        assert stats.target_rate == pytest.approx(1 / period, rel=0.01)
    assert camera.rig.set_parameters(target_rate=0) == ''
    stats = camera.send()
    assert (stats.processing_width, stats.rate_reason) == (WIDTH, '')


def test_auto_follows_a_camera_that_changes_its_rate(make_rig, engines):
    camera = started(make_rig, 'auto', period=2.0)
    camera.send_until_measured()
    for period in (2.0, 0.5, 5.0):
        camera.period = period
        stats = camera.send(3 * WINDOW)
        assert stats.target_rate == pytest.approx(1 / period, rel=0.01)
        assert stats.processing_width == engines['sgbm'].fitting(period)[0]


def test_a_camera_that_is_slower_than_the_target_leaves_time_for_quality(make_rig, engines):
    camera = started(make_rig, 10.0, period=2.0)
    camera.send_until_measured()
    stats = camera.send(2 * WINDOW)
    assert stats.processing_width == engines['sgbm'].fitting(2.0)[0]
    assert stats.target_rate == 10
    assert stats.rate_reason.endswith('the camera gives 0.5 Hz')


def test_a_load_that_rises_and_falls_lowers_and_raises_the_step(make_rig, engines):
    camera, engine = started(make_rig, 'auto'), engines['sgbm']
    camera.send_until_measured()
    before = camera.send(WINDOW).processing_width
    engine.seconds = 6.0
    assert camera.send(WINDOW).processing_width == engine.fitting(1.0)[0] < before
    engine.seconds = 3.0
    assert camera.send(3 * WINDOW).processing_width == before


def test_another_model_has_its_own_steps_at_once(make_rig, engines):
    """They are measured by the thread that loads it, while the old model goes on."""
    camera = started(make_rig, 'auto')
    camera.send_until_measured()
    camera.send(WINDOW)
    assert camera.rig.set_parameters(model='igev_stereo') == ''
    camera.rig.wait_until(
        lambda: camera.rig.node.estimator.engine is engines['igev_stereo'], 'the new model'
    )
    stats = camera.send()
    assert (stats.processing_width, stats.iterations) == engines['igev_stereo'].fitting(1.0)


def test_the_target_may_change_while_a_model_loads(make_rig, engines, hold):
    camera = started(make_rig, 'auto')
    camera.send_until_measured()
    loading, go_on = hold(camera.rig.node, 'make_estimator')
    assert camera.rig.set_parameters(model='igev_stereo') == ''
    assert loading.wait(20)
    assert camera.rig.set_parameters(target_rate=0.25) == ''
    camera.period = 4.0
    assert camera.send(2 * WINDOW).processing_width == engines['sgbm'].fitting(4.0)[0]
    go_on.set()
    camera.rig.wait_until(
        lambda: camera.rig.node.estimator.engine is engines['igev_stereo'], 'the new model'
    )
    stats = camera.send(2 * WINDOW)
    assert (stats.processing_width, stats.iterations) == engines['igev_stereo'].fitting(4.0)


def test_other_images_have_other_steps(make_rig, engines):
    camera = started(make_rig, 'auto')
    camera.send_until_measured()
    camera.send(WINDOW)
    stats = camera.send(size=(2 * WIDTH, 2 * HEIGHT))
    assert stats.processing_width == 2 * WIDTH
    camera.rig.wait_until(
        lambda: camera.send(size=(2 * WIDTH, 2 * HEIGHT)).rate_reason.startswith('step'),
        'the steps of the larger images',
    )
    stats = camera.send(2 * WINDOW, (2 * WIDTH, 2 * HEIGHT))
    assert stats.processing_width < WIDTH


def test_a_rate_out_of_reach_is_a_finding_until_it_is_kept(make_rig, engines, monkeypatch):
    camera = started(make_rig, 'auto', model='raft_stereo')
    log = Log(camera.rig, monkeypatch)
    camera.send_until_measured()
    stats = camera.send(2 * WINDOW)
    assert (stats.processing_width, stats.processing_height) == (40, 24)
    assert stats.rate_reason.endswith('too slow')
    log.wait('target_rate is auto and 1 Hz are not kept')
    camera.rig.wait_diagnostic('40x24, the cheapest step; lower target_rate')
    camera.send(2 * WINDOW)
    assert len([said for said in log.said if 'target_rate' in said]) == 1
    assert camera.rig.set_parameters(target_rate=0.25) == ''
    camera.period = 4.0
    camera.send(WINDOW)
    camera.rig.received['/diagnostics'].clear()
    camera.rig.wait_diagnostic('nothing wrong')


@pytest.mark.parametrize(('sharers', 'best'), [(2, True), (4, False)])
def test_waiting_for_others_is_no_reason_to_be_cheaper(
    make_rig, engines, monkeypatch, sharers, best
):
    """A frame of 0.3 s fits twice into a second, but not four times."""
    engine = engines['sgbm']
    engine.seconds, engine.waited, engine.sharers = 0.3, 0.0, sharers
    run = engine.run

    def run_late(inputs):
        engine.waited += 5.0
        engine._clock.spent += 5.0
        return run(inputs)

    engine.run = run_late
    camera = started(make_rig, 1)
    steady = camera.rig.node.steady
    monkeypatch.setattr(steady, '_count', lambda: setattr(steady, 'rate', 0.2))
    camera.send_until_measured()
    stats = camera.send(2 * WINDOW)
    assert (stats.processing_width == WIDTH) == best
    assert 'waited 5000 ms for others at the engine' in stats.rate_reason
    camera.rig.wait_diagnostic('a frame waits 5000 ms for rigs that share the engine')


def test_deactivate_and_activate_measures_again(make_rig, engines):
    camera = started(make_rig, 'auto')
    camera.send_until_measured()
    for transition in ('deactivate', 'activate'):
        camera.rig.in_executor(getattr(camera.rig.node, f'trigger_{transition}'))
    camera.rig.wait_connected()
    assert camera.send().rate_reason == 'the rate of the camera is not known yet'
    camera.send_until_measured()
    assert camera.send(2 * WINDOW).processing_width == engines['sgbm'].fitting(1.0)[0]


BAD = [-1, -0.5, float('nan'), float('inf'), HIGHEST + 1, LOWEST / 2, True, 'fast', '', '10 Hz']


@pytest.mark.parametrize('value', BAD, ids=repr)
def test_what_is_no_rate_is_refused_in_one_sentence(value):
    with pytest.raises(ValueError, match=r'^target_rate is .*; give 0\.1\.\.240 Hz, auto for'):
        read_rate(value)


def test_after_a_bad_rate_the_stream_goes_on(make_rig, engines):
    camera = started(make_rig, 1.0)
    camera.send(2)
    for value in BAD:
        assert camera.rig.set_parameters(target_rate=value).startswith('target_rate is ')
    assert camera.send(2).target_rate == 1.0
    assert camera.rig.node.get_parameter('target_rate').value == 1.0
