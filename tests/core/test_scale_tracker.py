"""Maps and true depths of a stream: which belong together, and how the scale follows them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nndepth_core.scale import Scale, ScaleError, ScaleTracker, TrackerSettings
from nndepth_core.scale.tracker import MAPS, TRUTHS

SECOND = 1_000_000_000


def tracker(**changes) -> ScaleTracker[float, float]:
    """A tracker whose maps are one value, whose truths are another, and whose scale leads over."""

    def measure(value: float, truth: float) -> Scale:
        if truth < 0:
            raise ScaleError('scale_negative', 'the truth is negative')
        return Scale(truth / value, 0.0, 0.0, 1, 1, (value, value))

    return ScaleTracker(TrackerSettings(**changes), measure)


def code(found: ScaleTracker[float, float], stamp: int) -> str:
    with pytest.raises(ScaleError) as refusal:
        found.current(stamp)
    return refusal.value.code


def test_a_depth_that_came_before_its_image_serves_this_image():
    follow = tracker()
    follow.offer(SECOND, 6.0)
    follow.update(SECOND, 2.0)
    assert follow.current(SECOND).factor == 3


def test_a_late_depth_is_measured_with_the_image_of_its_stamp():
    follow = tracker()
    for number in range(5):
        follow.update(SECOND + number * SECOND // 10, 1.0 + number)
    follow.offer(SECOND + 2 * SECOND // 10, 6.0)
    follow.update(2 * SECOND, 100.0)
    assert follow.current(2 * SECOND).factor == 2


def test_a_depth_waits_for_a_closer_image():
    follow = tracker()
    follow.update(SECOND, 1.0)
    follow.offer(SECOND + SECOND // 25, 6.0)
    follow.update(SECOND + SECOND // 30, 2.0)
    assert code(follow, SECOND) == 'scale_waiting'
    follow.update(SECOND + SECOND // 15, 3.0)
    assert follow.current(SECOND + SECOND // 15).factor == 3


@given(st.integers(-200_000_000, 200_000_000))
def test_only_depths_within_the_tolerance_count(offset):
    follow = tracker(tolerance=0.1)
    follow.update(SECOND, 2.0)
    follow.offer(SECOND + offset, 6.0)
    follow.update(3 * SECOND, 2.0)
    if abs(offset) <= SECOND // 10:
        assert follow.current(SECOND).factor == 3
    else:
        assert code(follow, 3 * SECOND) == 'scale_stamps'


@pytest.mark.parametrize('ahead', [-1000, 1000])
def test_depths_of_another_clock_are_named(ahead):
    follow = tracker()
    for number in range(TRUTHS + 2):
        follow.offer((1100 + number + ahead) * SECOND, 6.0)
        follow.update((1100 + number) * SECOND, 2.0)
    with pytest.raises(ScaleError, match=rf'is \{"+-"[ahead < 0]}\d+\.\d+ s from the closest'):
        follow.current(1200 * SECOND)


def test_a_scale_is_used_until_it_is_too_old():
    follow = tracker(max_age=2.0)
    assert code(follow, 0) == 'scale_waiting'
    follow.offer(SECOND, 6.0)
    follow.update(SECOND, 2.0)
    assert follow.current(3 * SECOND).factor == 3
    assert code(follow, 3 * SECOND + 1) == 'scale_old'


def test_a_refusal_is_told_once_the_last_scale_is_too_old():
    follow = tracker()
    for stamp, truth in ((SECOND, 6.0), (2 * SECOND, -1.0)):
        follow.offer(stamp, truth)
        follow.update(stamp, 2.0)
    assert follow.current(2 * SECOND).factor == 3
    assert code(follow, 4 * SECOND) == 'scale_negative'
    follow.offer(5 * SECOND, 4.0)
    follow.update(5 * SECOND, 2.0)
    assert follow.current(5 * SECOND).factor == 2


@given(st.floats(0.05, 0.9), st.floats(0.1, 5), st.floats(0.9, 1.1))
def test_small_changes_are_smoothed_by_the_time_constant(seconds, smoothing, change):
    follow = tracker(smoothing=smoothing)
    later = SECOND + round(seconds * SECOND)
    for stamp, truth in ((SECOND, 1.0), (later, change)):
        follow.offer(stamp, truth)
        follow.update(stamp, 1.0)
    left = math.exp(-seconds / smoothing)
    assert follow.current(later).factor == pytest.approx(change + left * (1 - change))


@pytest.mark.parametrize('change', [0.5, 2.0])
def test_a_jump_is_followed_at_once(change):
    follow = tracker(smoothing=10.0)
    for stamp, truth in ((SECOND, 1.0), (SECOND + SECOND // 2, change)):
        follow.offer(stamp, truth)
        follow.update(stamp, 1.0)
    assert follow.current(stamp).factor == change


def test_time_that_runs_back_begins_anew():
    follow = tracker()
    follow.offer(9 * SECOND, 6.0)
    follow.update(9 * SECOND, 2.0)
    follow.update(SECOND, 2.0)
    assert code(follow, SECOND) == 'scale_waiting'
    follow.offer(2 * SECOND, 8.0)
    follow.update(2 * SECOND, 2.0)
    assert follow.current(2 * SECOND).factor == 4


def test_little_is_kept():
    follow = tracker()
    for number in range(3 * MAPS):
        follow.offer(10**6 * SECOND + number, 1.0)
        follow.update(number, 1.0)
    assert (len(follow._maps), len(follow._truths)) == (MAPS, TRUTHS)


def test_settings_without_meaning_are_refused():
    with pytest.raises(ValueError, match='max_age is -1'):
        TrackerSettings(max_age=-1)
