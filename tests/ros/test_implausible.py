"""What cannot be true is told once by the running node and by replay, and its cure is noticed."""

from __future__ import annotations

import bags
import numpy as np
import pytest

pytest.importorskip('nndepth.msg', reason='the workspace is not built and sourced')
import rig as live
from bags import PERIOD
from rosbags.rosbag2 import StoragePlugin

from nndepth_core.engines.sgbm import SgbmEngine
from nndepth_core.estimator import StereoEstimator
from nndepth_core.plausibility import BaselineLimits
from nndepth_ros import pipeline
from nndepth_ros.conversions import stamp_ns
from nndepth_ros.outputs import DEPTH, DISPARITY, POINTS, OutputSettings
from nndepth_ros.replay import ReplaySettings, replay

STAMP = 1_700_000_000_000_000_000
MIDDLE = np.s_[16:-16, 24:-24]


def map_of(message) -> np.ndarray:
    return np.frombuffer(message.data, np.float32).reshape(message.height, message.width, -1)


def last_diagnostic(rig) -> str:
    return rig.received['/diagnostics'][-1]


# --- the node ------------------------------------------------------------------------------------


def test_the_origin_of_p_may_lie_between_the_cameras(make_rig):
    """Depth is that of the whole baseline; P projects the points to their pixels."""
    half = live.FOCAL * live.BASELINE / 2
    rig = make_rig(outputs=('depth/image', 'depth/camera_info', 'points2'))
    left, right = live.camera_info('left'), live.camera_info('right')
    left.p[3], right.p[3] = half, -half
    rig.send_infos(left, right, stamp_ns=STAMP)
    rig.send_pair(STAMP, infos=False)
    (depth,), (info,), (cloud,) = (rig.wait_for(topic) for topic in rig.subscriptions)
    z = live.FOCAL * live.BASELINE / live.SHIFT
    np.testing.assert_allclose(np.median(map_of(depth)[MIDDLE]), z, rtol=1e-6)
    row, column = 40, 90
    point = map_of(cloud)[row, column, :3]
    u, v, w = np.reshape(info.p, (3, 4)) @ (*point, 1)
    np.testing.assert_allclose((u / w, v / w, w), (column, row, z), rtol=1e-5)


def test_cameras_swapped_in_the_stream_are_noticed_and_so_is_the_cure(make_rig, monkeypatch):
    monkeypatch.setattr(pipeline, 'EXAMINE_EVERY', 0)
    rig = make_rig(parameters={'input_timeout': 60.0})
    left, right = live.shifted_pair()
    for number in range(5):
        rig.send_pair(STAMP + number)
        rig.wait_for('disparity', number + 1)
    assert 'swapped' not in ' '.join(rig.received['/diagnostics'])
    rig.send_pair(STAMP + 10, (right, left))
    rig.wait_diagnostic('left and right images are swapped')
    rig.send_pair(STAMP + 11)
    rig.wait_until(lambda: 'nothing wrong' in last_diagnostic(rig), 'the cure')


def test_twelve_bits_are_stretched_and_it_is_said(make_rig):
    rig = make_rig(outputs=('points2',))
    pair = [image[..., 0].astype(np.uint16) * 16 for image in live.shifted_pair()]
    rig.send_infos(stamp_ns=STAMP)
    for side, image in zip(('left', 'right'), pair, strict=True):
        rig.send_image(side, STAMP, image, 'mono16')
    (cloud,) = rig.wait_for('points2')
    grey = np.frombuffer(cloud.data, np.uint8).reshape(live.HEIGHT, live.WIDTH, 16)[..., 12]
    np.testing.assert_allclose(grey, pair[0] / 16, atol=1)
    rig.wait_diagnostic('16-bit images use 12 bits')


def test_the_limits_of_the_baseline_are_parameters(make_rig):
    rig = make_rig(outputs=(), parameters={'input_timeout': 60.0})
    right = live.camera_info('right')
    right.p[3] *= 1000
    rig.send_infos(right=right)
    rig.wait_diagnostic('times millimetres would mean 0.2 m')
    assert 'max_baseline the larger' in rig.set_parameters(max_baseline=0.001)
    assert rig.set_parameters(max_baseline=300.0) == ''
    rig.wait_until(lambda: 'nothing wrong' in last_diagnostic(rig), 'the cure')


def test_a_model_of_the_other_sign_is_told(make_rig, monkeypatch):
    match = SgbmEngine._match
    rig = make_rig(outputs=('stats',))
    monkeypatch.setattr(SgbmEngine, '_match', lambda *arguments: -match(*arguments))
    rig.send_pair(STAMP)
    assert rig.wait_for('stats')[0].density < 0.01
    rig.wait_diagnostic('the images fit the opposite sign')


def test_clipped_depth_does_not_count_as_density(make_rig):
    z = live.FOCAL * live.BASELINE / live.SHIFT
    rig = make_rig(outputs=('stats',), parameters={'max_depth': z * 0.9})
    rig.send_pair(STAMP)
    assert rig.wait_for('stats')[0].density < 0.2
    rig.wait_diagnostic('farther than max_depth')


# --- replay --------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path):
    """Return a function that writes a bag, replays it and returns the report."""
    estimator = StereoEstimator.load('sgbm', options={'num_disparities': 32})

    def run(entries, **settings):
        source = bags.write_bag(tmp_path / 'in', entries, StoragePlugin.MCAP)
        settings = ReplaySettings(**{'outputs': (DEPTH, POINTS), **settings})
        return replay(source, tmp_path / 'out', estimator, settings)

    return run


def codes(report) -> list[str]:
    return [finding['code'] for finding in report['findings']]


def infos(entries, side: str):
    return [m for topic, _, m in entries if topic == f'/stereo/{side}/camera_info']


def test_replay_uses_the_left_p_too(run, tmp_path):
    entries = bags.frames(2)
    for side, share in (('left', 0.5), ('right', -0.5)):
        for info in infos(entries, side):
            info.p[3] = share * bags.FOCAL * bags.BASELINE
    assert codes(run(entries)) == []
    ((_, depth), *_) = bags.read_bag(tmp_path / 'out')['/stereo/depth/image']
    assert np.median(bags.float_pixels(depth)[MIDDLE]) == pytest.approx(bags.DEPTH)


def test_replay_tells_a_model_of_the_other_sign_once(run, monkeypatch, capsys):
    match = SgbmEngine._match
    monkeypatch.setattr(SgbmEngine, '_match', lambda *arguments: -match(*arguments))
    report = run(bags.frames(3))
    assert codes(report) == ['negative_disparity']
    assert report['density']['mean'] < 0.01
    assert capsys.readouterr().err.count('lie beyond infinity') == 1


def test_replay_does_not_count_what_the_limits_clip(run):
    near = run(bags.frames(1), messages=OutputSettings(max_depth=0.9 * bags.DEPTH))
    assert near['density']['mean'] < 0.2
    assert codes(near) == ['clipped']


def test_replay_tells_an_implausible_baseline(run):
    entries = bags.frames(1)
    infos(entries, 'right')[0].p[3] *= 1000
    assert codes(run(entries)) == ['baseline']


@pytest.mark.filterwarnings('error::RuntimeWarning')
def test_replay_writes_what_float32_cannot_hold_as_its_largest(run, tmp_path):
    entries = bags.frames(1)
    infos(entries, 'right')[0].p[3] *= 1e300
    report = run(entries, outputs=(DISPARITY,))
    assert (codes(report)[0], report['pairs']['processed']) == ('baseline', 1)
    ((_, message), *_) = bags.read_bag(tmp_path / 'out')['/stereo/disparity']
    assert message.t == np.finfo(np.float32).max


def test_replay_allows_a_baseline_it_is_told(run):
    entries = bags.frames(1)
    infos(entries, 'right')[0].p[3] *= 1000
    assert codes(run(entries, baseline=BaselineLimits(0.005, 300.0))) == []


def test_replay_notices_cameras_swapped_in_the_recording(run):
    entries = []
    for number in range(14):
        stamp = bags.START + number * PERIOD
        pair = bags.shifted_pair(number, width=320, height=240)
        sides = ('left', 'right') if number < 5 else ('right', 'left')
        for side, pixels in zip(sides, pair, strict=True):
            info = bags.camera_info(side, stamp, width=320, height=240)
            entries.append((f'/stereo/{side}/image_rect', stamp, bags.image(stamp, pixels)))
            entries.append((f'/stereo/{side}/camera_info', stamp, info))
    assert 'images_swapped' in codes(run(entries))


def test_replay_stretches_used_bits_alike_on_both_sides(run, tmp_path):
    """A dark left image beside a bright right one, both of 12 bits."""
    entries = []
    for topic, time, message in bags.frames(2):
        if topic.endswith('image_rect'):
            grey = np.frombuffer(message.data, np.uint8).reshape(bags.HEIGHT, bags.WIDTH, 3)[
                ..., 0
            ]
            factor = 2 if 'left' in topic else 16
            message = bags.image(
                stamp_ns(message.header.stamp), grey.astype(np.uint16) * factor, 'mono16'
            )
        entries.append((topic, time, message))
    report = run(entries)
    assert codes(report) == ['used_bits']
    ((_, cloud), *_) = bags.read_bag(tmp_path / 'out')['/stereo/points2']
    grey = np.frombuffer(cloud.data, np.uint8).reshape(bags.HEIGHT, bags.WIDTH, 16)[..., 12]
    np.testing.assert_allclose(grey, bags.shifted_pair(0)[0][..., 0] / 8, atol=1)
