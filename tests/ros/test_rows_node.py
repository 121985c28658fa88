"""The stereo node and the replay with rows that are off."""

from __future__ import annotations

from typing import Any

import bags
import cv2
import numpy as np
import pytest

pytest.importorskip('nndepth.msg', reason='the workspace is not built and sourced')
from rig import HEIGHT, SHIFT, WIDTH, camera_info

from nndepth_core.estimator import StereoEstimator
from nndepth_ros.conversions import stamp_ns
from nndepth_ros.outputs import DISPARITY, STATS
from nndepth_ros.replay import ReplaySettings, replay

STAMP = 1_700_000_000_000_000_000
LOWER = 1
"""Pixels by which the right image is too low."""


def pair(
    lower: int = LOWER, width: int = WIDTH, height: int = HEIGHT
) -> tuple[np.ndarray, np.ndarray]:
    noise = np.random.default_rng(0).uniform(-1, 1, (height, width + SHIFT, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), 1.5)
    scene = (128 + 50 * smooth / smooth.std()).clip(0, 255).astype(np.uint8)
    left, right = scene[:, :width], np.roll(scene[:, SHIFT:], lower, axis=0)
    return np.ascontiguousarray(left), np.ascontiguousarray(right)


def test_rows_are_found_told_and_left_alone_as_the_parameter_says(make_rig):
    rig = make_rig(outputs=('disparity', 'stats'))
    sent = 0

    def offsets(count: int, lower: int = LOWER) -> list[float]:
        nonlocal sent
        before = len(rig.wait_for('stats')) if sent else 0
        for _ in range(count):
            sent += 1
            rig.send_pair(STAMP + sent * 10**8, pair(lower))
            rig.wait_for('stats', sent)
        return [stats.row_offset for stats in rig.wait_for('stats', sent)[before:]]

    assert offsets(3) == pytest.approx([1.0] * 3, abs=0.1)
    rig.wait_diagnostic('row_offset=')
    assert rig.set_parameters(align_rows=False) == ''
    assert offsets(2) == [0.0] * 2
    assert rig.set_parameters(align_rows=True, output_size='processing') == ''
    assert offsets(2) == pytest.approx([1.0] * 2, abs=0.1)
    rig.in_executor(rig.node.trigger_deactivate)
    rig.in_executor(rig.node.trigger_activate)
    rig.wait_connected()
    assert offsets(1) == pytest.approx([1.0], abs=0.1)
    errors = [
        np.abs(bags.float_pixels(message.image)[16:-16, 40:-24] - SHIFT).mean()
        for message in rig.wait_for('disparity', sent)
    ]
    aligned, as_they_came = errors[0], errors[3]
    assert aligned < 0.2
    assert aligned < as_they_came / 2


def test_rows_of_a_rectified_pair_are_not_touched(make_rig):
    rig = make_rig(outputs=('stats',))
    for number in range(3):
        rig.send_pair(STAMP + number * 10**8, pair(0))
        rig.wait_for('stats', number + 1)
    assert [stats.row_offset for stats in rig.wait_for('stats', 3)] == [0.0] * 3


def test_rows_are_forgotten_with_the_calibration_and_while_switched_off(make_rig):
    rig = make_rig(outputs=('stats',))
    sent = 0

    def offset(lower: int, baseline: float = 1.0) -> float:
        nonlocal sent
        sent += 1
        infos = [camera_info(side) for side in ('left', 'right')]
        infos[1].p[3] *= baseline
        rig.send_infos(*infos, stamp_ns=STAMP + sent * 10**8)
        rig.send_pair(STAMP + sent * 10**8, pair(lower), infos=False)
        return rig.wait_for('stats', sent)[-1].row_offset

    assert offset(1) == pytest.approx(1.0, abs=0.1)
    assert offset(1) == pytest.approx(1.0, abs=0.1)
    assert offset(0, 1.5) == 0.0
    assert offset(1, 1.5) == 0.0  # it may be one odd pair
    assert offset(1, 2.0) == pytest.approx(1.0, abs=0.1)
    assert rig.set_parameters(align_rows=False) == ''
    assert offset(1, 2.0) == 0.0
    assert rig.set_parameters(align_rows=True) == ''
    assert offset(0, 2.0) == 0.0


@pytest.mark.parametrize('align', [True, False])
def test_a_replay_reports_the_rows(tmp_path, align):
    sides = dict(zip(('left', 'right'), pair(2, bags.WIDTH, bags.HEIGHT), strict=True))

    def shown(topic: str, message: Any) -> Any:
        if not topic.endswith('image_rect'):
            return message
        return bags.image(stamp_ns(message.header.stamp), sides[topic.split('/')[-2]])

    entries = [(topic, time, shown(topic, message)) for topic, time, message in bags.frames(3)]
    source = bags.write_bag(tmp_path / 'in', entries)
    estimator = StereoEstimator.load('sgbm', options={'num_disparities': 32}, align_rows=align)
    settings = ReplaySettings(outputs=(DISPARITY, STATS))
    report = replay(source, tmp_path / 'out', estimator, settings)
    expected = 2.0 if align else 0.0
    assert report['row_offset']['middle'] == pytest.approx(expected, abs=0.1)
    stats = [message for _, message in bags.read_bag(tmp_path / 'out')['/stereo/stats']]
    assert [message.row_offset for message in stats] == pytest.approx([expected] * 3, abs=0.2)
