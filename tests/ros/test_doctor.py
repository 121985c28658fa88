"""The calibration doctor names what is wrong and the cure."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('nndepth.msg', reason='the workspace is not built and sourced')
from rig import BASELINE, FOCAL, camera_info, shifted_pair
from sensor_msgs.msg import Image, RegionOfInterest

from nndepth_core.plausibility import BaselineLimits
from nndepth_core.rectification.alignment import examine_pair, measure_alignment
from nndepth_ros import doctor
from nndepth_ros.doctor import InputState
from nndepth_ros.findings import (
    CURED_AFTER,
    FORGOTTEN_AFTER,
    Doctor,
    Failures,
    Finding,
    Level,
)
from nndepth_ros.synchronizer import SyncCounts


def codes(findings):
    return [finding.code for finding in findings]


def projection(**entries):
    """P of the right camera with some entries changed, by index as p0, p3, ..."""
    p = np.array(camera_info('right').p)
    for name, value in entries.items():
        p[int(name[1:])] = value
    return p


def examine(**right_changes):
    return doctor.examine_calibration(camera_info('left'), camera_info('right', **right_changes))


def test_windows_of_other_rows_are_told():
    windows = [RegionOfInterest(y_offset=row, width=80, height=40) for row in (0, 5)]
    found = doctor.examine_calibration(
        camera_info('left', roi=windows[0]), camera_info('right', roi=windows[1])
    )
    [finding] = [finding for finding in found if finding.code == 'roi_rows']
    assert 'at row 0 and that of the right one at row 5' in finding.text


def test_a_good_rig_has_no_findings():
    assert examine() == []


@pytest.mark.parametrize(
    ('changes', 'code', 'says'),
    [
        ({'p': projection(p3=0)}, 'calibration', 'baseline is 0 because P[3]'),
        ({'p': projection(p3=FOCAL * BASELINE)}, 'calibration', 'wrong sign'),
        ({'p': projection(p3=np.nan)}, 'calibration', 'finite'),
        ({'p': projection(p0=-FOCAL)}, 'calibration', 'must be positive'),
        ({'p': np.zeros(12)}, 'calibration', 'P is all zeros while K is given'),
        ({'p': np.zeros(12), 'k': np.zeros(9)}, 'calibration', 'not calibrated'),
        ({'p': projection(p0=FOCAL * 1.01)}, 'fx_mismatch', 'one focal length'),
        ({'p': projection(p6=10)}, 'cy_mismatch', 'share cy'),
        ({'p': projection(p2=500)}, 'principal_point', 'outside of its image of 160x96'),
        ({'d': [0.1, 0.0, 0.0, 0.0, 0.0]}, 'distortion_right', 'is raw, set rectify'),
        ({'width': 320}, 'info_size', 'left 160x96, right 320x96'),
    ],
)
def test_each_fault_is_named_with_its_cure(changes, code, says):
    found = {finding.code: finding.text for finding in examine(**changes)}
    assert code in found
    assert says in found[code]


def test_swapped_topics_are_told_from_a_missing_baseline():
    found = doctor.examine_calibration(camera_info('right'), camera_info('left'))
    assert codes(found) == ['swapped']
    assert 'exchange the topics' in found[0].text


def test_frames_of_left_and_right_must_agree():
    right = camera_info('right')
    right.header.frame_id = 'right_optical'
    found = doctor.examine_calibration(camera_info('left'), right)
    assert codes(found) == ['frames']
    assert "'right_optical'" in found[0].text


def test_image_headers_are_compared_with_their_camera_info():
    left, right = Image(), Image()
    left.header.frame_id = 'elsewhere'
    left.header.stamp.sec = 1
    right.header.frame_id = camera_info('right').header.frame_id
    found = doctor.examine_headers(
        ('left', 'right'), (left, right), (camera_info('left'), camera_info('right'))
    )
    assert codes(found) == ['frame_left', 'stamp_zero_right']


@pytest.mark.parametrize('rows', [-3, 0, 2])
def test_vertical_disparity_is_measured_from_the_images(rows):
    left, right = shifted_pair(width=320, height=240)
    right = np.roll(right, rows, axis=0)
    alignment = measure_alignment(left, right)
    assert alignment.matches > 50
    assert alignment.vertical == pytest.approx(rows, abs=0.2)
    found = codes(examine_pair(left, right))
    assert found == (['vertical'] if rows else [])


def test_swapped_images_are_seen_in_the_pictures():
    left, right = shifted_pair(width=320, height=240)
    assert codes(examine_pair(right, left)) == ['images_swapped']


def test_pictures_without_texture_say_nothing_but_that():
    grey = np.full((240, 320, 3), 128, np.uint8)
    assert codes(examine_pair(grey, grey)) == ['levels_left', 'levels_right']


def test_points_before_a_shifted_infinity_are_not_taken_for_swapped_images():
    left, right = shifted_pair(shift=8, width=320, height=240)
    moved = np.roll(right, 30, axis=1)  # a right camera with cx 30 px larger
    assert codes(examine_pair(left, moved, cx_offset=-30)) == []
    assert codes(examine_pair(left, moved)) == ['images_swapped']


@pytest.mark.parametrize(
    ('p3', 'says'),
    [
        (-FOCAL * BASELINE * 1000, ['is 200 m', 'times millimetres would mean 0.2 m']),
        (-BASELINE, ['is 0.002 m', 'without fx would mean 0.2 m']),
        (-FOCAL * 9, ['is 9 m', 'times millimetres would mean 0.009 m']),
        (-FOCAL * 90_000, ['is 9e+04 m']),
    ],
)
def test_implausible_baselines_are_told_with_the_readings_that_fit(p3, says):
    (finding,) = examine(p=projection(p3=p3))
    assert finding.code == 'baseline'
    assert all(words in finding.text for words in says)
    assert finding.text.count('would mean') == len(says) - 1
    wide = BaselineLimits(1e-4, 1e6)
    right = camera_info('right', p=projection(p3=p3))
    assert doctor.examine_calibration(camera_info('left'), right, baseline=wide) == []


def test_a_vertical_rig_is_called_one():
    (finding,) = examine(p=projection(p3=0, p7=-FOCAL * BASELINE))
    assert finding.code == 'calibration'
    assert 'vertical pair' in finding.text
    assert 'turn both images by 90 degrees counterclockwise' in finding.text


def test_stamps_that_never_match_are_reported_with_their_offset():
    counts = SyncCounts(received_left=30, received_right=30)
    (near,) = doctor.examine_stamps(counts, 7_000_000)
    assert '+7.000 ms' in near.text
    assert 'sync_tolerance to 0.0084' in near.text
    (far,) = doctor.examine_stamps(counts, -3_000_000_000)
    assert 'different clocks' in far.text
    assert doctor.examine_stamps(SyncCounts(30, 30, paired=1), None) == []
    assert doctor.examine_stamps(SyncCounts(3, 3), None) == []


def state(topic='/a', **values):
    return InputState(topic, since=100.0, **values)


@pytest.mark.parametrize(
    ('input_state', 'now', 'code', 'says'),
    [
        (state(heard=101.0, publishers=0), 104.0, 'silent /a', 'nobody publishes'),
        (state(heard=101.0, publishers=1), 104.0, 'silent /a', 'fastdds.xml'),
        (state(publishers=1, offered_since=101.0), 104.0, 'silent /a', '1 publisher(s)'),
        (state(), 111.0, 'waiting /a', 'nobody publishes it yet'),
    ],
)
def test_silence_is_told_with_its_reason(input_state, now, code, says):
    (finding,) = doctor.examine_silence([input_state], timeout=2.0, now=now)
    assert finding.code == code
    assert says in finding.text


@pytest.mark.parametrize(
    ('input_state', 'now'),
    [
        (state(heard=101.0, publishers=1), 102.5),
        (state(heard=101.0, publishers=1, latched=True), 500.0),
        (state(publishers=1, offered_since=120.0), 121.5),
        (state(), 109.0),
    ],
)
def test_silence_that_is_no_error(input_state, now):
    assert doctor.examine_silence([input_state], timeout=2.0, now=now) == []


def test_others_that_publish_the_same_outputs_are_named():
    publishers = {
        '/disparity': ['/node', '/other'],
        '/points2': ['/node', '/other', '/node'],
        '/stats': ['/node'],
    }
    found = doctor.examine_twins('/node', publishers)
    assert codes(found) == ['twin /other', 'twin /node']
    assert '/other publishes /disparity, /points2 too' in found[0].text
    assert 'another node of the same name publishes /points2 too' in found[1].text


def test_a_pair_in_work_for_too_long_is_told():
    assert doctor.examine_work(None) == doctor.examine_work(doctor.LONG_WORK - 1) == []
    assert 'processing_width' in doctor.examine_work(doctor.LONG_WORK + 1)[0].text


def test_failures_last_until_their_kind_passes_again():
    now = [0.0]
    failures = Failures(lambda: now[0])
    assert not failures
    failures.failed('pair', 'another cause')
    failures.failed('pair', 'second of 7 px')
    failures.failed('pair', 'second of -2.5e3 px')
    failures.failed('timer', 'odd')
    assert [finding.text for finding in failures.findings()] == [
        'second of -2.5e3 px (2 times)',
        'odd',
    ]
    failures.passed('pair')
    now[0] = CURED_AFTER
    assert codes(failures.findings()) == ['pair', 'timer']
    now[0] = CURED_AFTER + 0.1
    assert codes(failures.findings()) == ['timer']
    now[0] = FORGOTTEN_AFTER + 0.1
    assert failures.findings() == []


def test_findings_are_announced_once_and_cured_once():
    physician = Doctor()
    fault = Finding('x', Level.WARN, 'broken')
    assert physician.record('exam', [fault]) == ([fault], [])
    assert physician.record('exam', [fault]) == ([], [])
    assert physician.findings == [fault]
    assert physician.record('exam', []) == ([], [fault])
    assert physician.findings == []
