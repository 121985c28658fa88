"""A model slower than its camera is told once, by figures of the same seconds."""

from __future__ import annotations

import re

import pytest

from nndepth_core.pacing import CameraRate, Shortfall
from nndepth_core.pacing.camera_rate import WINDOW
from nndepth_core.pacing.shortfall import FRAMES, SPAN


class Stream:
    """A camera and a model that takes `seconds` for a frame and then the newest image."""

    def __init__(self) -> None:
        self.camera, self.shortfall = CameraRate(), Shortfall()
        self.now = self.free = 0.0

    def run(self, rate: float, seconds: float, lasting: float, model='net-a', setting=0) -> list:
        """Let time pass; return what is said, with the seconds after which it is."""
        said, begin = [], self.now
        while self.now < begin + lasting:
            self.now += 1 / rate
            self.camera.add(round(self.now * 1e9))
            if self.now >= self.free:
                self.free = self.now + seconds
                text = self.shortfall.add(model, 'cpu', setting, seconds, self.camera)
                said += [(self.now - begin, text)] if text else []
        return said


def test_what_is_said_is_true_and_said_once():
    stream = Stream()
    ((after, text),) = stream.run(rate=30, seconds=0.052, lasting=60)
    assert text.startswith(
        'net-a takes 52 ms for a frame on cpu and the camera gives one each 33 ms, so that at '
        'most 19.2 of 30 frames a second are answered; target_rate auto '
    )
    assert SPAN < after < SPAN + 1


@pytest.mark.parametrize('slow', [1, 3, 8, 12, 19])
@pytest.mark.parametrize('before', [0.5, 4, 11, 20])
def test_a_camera_that_becomes_faster_is_told_by_its_new_rate(slow, before):
    stream = Stream()
    assert not stream.run(slow, 0.05, before)
    ((after, text),) = stream.run(40, 0.05, 20)
    assert 'takes 50 ms for a frame on cpu and the camera gives one each 25 ms, ' in text
    assert 'at most 20 of 40 frames' in text
    assert after > SPAN


def test_a_camera_that_becomes_slow_enough_in_time_is_not_told():
    stream = Stream()
    assert not stream.run(30, 0.052, SPAN - 0.5)
    assert not stream.run(3, 0.052, 60)


@pytest.mark.parametrize(('rate', 'seconds'), [(30, 1 / 30), (30, 0.02), (1, 1.05), (0.5, 1.9)])
def test_a_model_that_is_as_fast_is_not_told(rate, seconds):
    assert not Stream().run(rate, seconds, 300)


def test_other_settings_begin_anew_and_other_models_have_their_turn():
    stream = Stream()
    assert not stream.run(20, 0.1, 2)
    assert not stream.run(20, 0.2, 2, setting=1)
    ((after, text),) = stream.run(20, 0.4, 20, setting=2)
    assert 'net-a takes 400 ms ' in text
    assert after > SPAN
    ((_, text),) = stream.run(20, 0.15, 20, model='net-b')
    assert 'net-b takes 150 ms ' in text
    assert not stream.run(20, 0.4, 20)
    stream.shortfall.interrupt()
    assert not stream.run(20, 0.4, 20, model='net-b', setting=3)


def test_a_window_ends_with_an_interruption():
    stream = Stream()
    for _ in range(5):
        assert not stream.run(20, 0.1, SPAN - 0.5)
        stream.shortfall.interrupt()


def test_few_frames_are_no_ground_to_judge():
    stream = Stream()
    ((after, _),) = stream.run(2, 3.0, 100)
    assert after > max(3.0 * FRAMES, WINDOW / 2)


@pytest.mark.parametrize(('rate', 'seconds'), [(240, 0.0047), (7, 0.16), (0.4, 12.0)])
def test_the_figures_fit_each_other(rate, seconds):
    ((_, text),) = Stream().run(rate, seconds, 400)
    taken, period, answered, given = map(
        float, re.findall(r'([\d.]+) (?:ms|of|frames a second)', text)
    )
    assert answered == pytest.approx(1000 / taken, rel=0.02)
    assert given == pytest.approx(1000 / period, rel=0.02)
    assert answered < given
