"""Pairing by stamps: exact, tolerant, and sane when streams lose, repeat or jump."""

from __future__ import annotations

import importlib.util

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nndepth_ros.synchronizer import (
    CameraInfoCache,
    MessageFiltersSynchronizer,
    StereoSynchronizer,
)

MS = 1_000_000


def feed(sync, arrivals):
    """Feed (side, stamp) arrivals; return the stamps of the pairs made."""
    pairs = [sync.add(side, stamp, None) for side, stamp in arrivals]
    return [(left.stamp, right.stamp) for left, right in filter(None, pairs)]


def test_equal_stamps_pair_whichever_side_is_first():
    sync = StereoSynchronizer()
    arrivals = [('left', 1), ('right', 1), ('right', 2), ('left', 2)]
    assert feed(sync, arrivals) == [(1, 1), (2, 2)]


def test_without_tolerance_a_nanosecond_keeps_apart():
    assert feed(StereoSynchronizer(), [('left', 5), ('right', 6)]) == []


def test_tolerance_includes_its_end():
    assert feed(StereoSynchronizer(10), [('left', 0), ('right', 10)]) == [(0, 10)]


def test_the_closest_partner_wins():
    sync = StereoSynchronizer(100)
    assert feed(sync, [('left', 0), ('left', 90), ('right', 60)]) == [(90, 60)]


def test_a_lost_frame_does_not_shift_all_later_pairs():
    """With a tolerance wider than the period, partners must not slip by one frame."""
    period = 33 * MS
    arrivals = []
    for frame in range(10):
        arrivals.append(('left', frame * period))
        if frame != 4:
            arrivals.append(('right', frame * period + MS))
    sync = StereoSynchronizer(50 * MS)
    pairs = feed(sync, arrivals)
    assert all(right - left == MS for left, right in pairs)
    assert len(pairs) == 9
    assert sync.counts.unpaired_left == 1


def test_every_message_is_accounted_for():
    sync = StereoSynchronizer(queue_size=3)
    feed(sync, [('left', stamp) for stamp in range(10)] + [('right', 8)])
    counts = sync.counts
    assert (counts.received_left, counts.received_right, counts.paired) == (10, 1, 1)
    assert counts.unpaired_left == 8  # 0..7; 9 still waits
    assert counts.unpaired_right == 0


@given(
    st.lists(st.tuples(st.sampled_from(['left', 'right']), st.integers(0, 40)), max_size=60),
    st.integers(0, 5),
)
@settings(max_examples=200, deadline=None)
def test_counts_balance_for_any_stream(arrivals, tolerance):
    sync = StereoSynchronizer(tolerance, queue_size=4)
    pairs = feed(sync, arrivals)
    assert all(abs(left - right) <= tolerance for left, right in pairs)
    counts = sync.counts
    for side in ('left', 'right'):
        received = getattr(counts, f'received_{side}')
        gone = counts.paired + getattr(counts, f'unpaired_{side}')
        assert 0 <= received - gone <= 4


@pytest.mark.parametrize('tolerance', [0, 10 * MS])
def test_a_jump_back_in_time_pairs_with_the_first_two_messages(tolerance):
    period = 33 * MS
    loop = [(side, frame * period) for frame in range(20) for side in ('left', 'right')]
    sync = StereoSynchronizer(tolerance)
    once = feed(sync, loop)
    assert feed(sync, loop) == once
    assert len(once) == 20


def test_offset_tells_clocks_apart():
    sync = StereoSynchronizer()
    for frame in range(5):
        feed(sync, [('left', frame * 33 * MS), ('right', frame * 33 * MS + 7 * MS)])
    assert sync.offset_ns() == 7 * MS


def test_offset_is_unknown_while_one_side_is_silent():
    sync = StereoSynchronizer()
    feed(sync, [('left', 1)])
    assert sync.offset_ns() is None


@pytest.mark.parametrize(('tolerance', 'queue'), [(-1, 5), (0, 0)])
def test_senseless_settings_are_refused(tolerance, queue):
    with pytest.raises(ValueError, match=str(min(tolerance, queue))):
        StereoSynchronizer(tolerance, queue)


def test_camera_info_of_the_same_stamp_is_preferred_to_the_newest():
    cache = CameraInfoCache()
    for stamp in (1, 2, 3):
        cache.add('left', stamp, f'info {stamp}')
    assert cache.get('left', 2) == 'info 2'
    assert cache.get('left', 99) == 'info 3'
    assert cache.get('right', 1) is None


@pytest.mark.parametrize('tolerance', [0, 2 * MS])
def test_message_filters_does_the_same_where_it_is_installed(tolerance):
    pytest.importorskip('message_filters')
    header = pytest.importorskip('std_msgs.msg').Header
    image = pytest.importorskip('sensor_msgs.msg').Image

    def message(stamp):
        made = image(header=header())
        made.header.stamp.sec, made.header.stamp.nanosec = divmod(stamp, 1_000_000_000)
        return made

    sync = MessageFiltersSynchronizer(tolerance)
    period, shift = 33 * MS, tolerance // 2
    pairs = []
    for frame in range(5):
        stamp = frame * period
        assert sync.add('left', stamp, message(stamp)) is None
        pairs.append(sync.add('right', stamp + shift, message(stamp + shift)))
    assert [(left.stamp, right.stamp) for left, right in pairs] == [
        (frame * period, frame * period + shift) for frame in range(5)
    ]
    assert sync.counts.paired == 5


def test_a_missing_message_filters_is_named():
    if importlib.util.find_spec('message_filters'):
        pytest.skip('message_filters is installed')
    with pytest.raises(ValueError, match='set synchronizer to native'):
        MessageFiltersSynchronizer()
