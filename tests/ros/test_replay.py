"""Bags in, bags out: formats, values, pairing, calibration, reports."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import bags
import numpy as np
import pytest
import yaml
from bags import DELAY, DEPTH, HEIGHT, PERIOD, SHIFT, START, WIDTH
from depth_plugin import read_compressed_depth
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin

from nndepth_core.clouds import CloudSettings
from nndepth_core.estimator import StereoEstimator
from nndepth_core.filters import FilterSettings
from nndepth_ros.bag import BagReader
from nndepth_ros.conversions import stamp_ns
from nndepth_ros.outputs import DISPARITY, STATS, USUAL_OUTPUTS, OutputSettings
from nndepth_ros.replay import ReplaySettings, replay

SQLITE3, MCAP = StoragePlugin.SQLITE3, StoragePlugin.MCAP
INSIDE = slice(16, -16), slice(24, -24)
ONLY_DISPARITY = ReplaySettings(outputs=(DISPARITY,))


@pytest.fixture(scope='module')
def estimator() -> StereoEstimator:
    return StereoEstimator.load('sgbm', options={'num_disparities': 32})


@pytest.fixture
def run(tmp_path, estimator):
    """Return a function that writes a bag, replays it to 'out' and returns the report."""

    def run(entries, settings=ONLY_DISPARITY, **storage) -> dict[str, Any]:
        source = bags.write_bag(tmp_path / 'in', entries, **storage)
        report = replay(source, tmp_path / 'out', estimator, settings)
        assert json.loads(json.dumps(report)) == report
        return report

    return run


def disparities(path: Path, topic: str = '/stereo/disparity') -> list[tuple[int, float]]:
    """Number of the frame by its stamp, and median disparity, of what a bag holds."""
    found = []
    for time, message in bags.read_bag(path)[topic]:
        stamp = stamp_ns(message.header.stamp)
        assert time == stamp + DELAY
        pixels = bags.float_pixels(message.image)
        found.append(((stamp - START) // PERIOD, float(np.median(pixels[INSIDE]))))
    return found


# --- values and formats --------------------------------------------------------------------------


@pytest.mark.parametrize('storage', [MCAP, SQLITE3], ids=['mcap', 'sqlite3'])
@pytest.mark.parametrize('name', ['image_rect', 'image_rect/compressed'])
def test_every_output_of_every_pair(run, tmp_path, storage, name):
    report = run(bags.frames(3, name=name), ReplaySettings(), storage=storage)
    found = bags.read_bag(tmp_path / 'out')
    assert set(found) == {f'/stereo/{output}' for output in (*USUAL_OUTPUTS, STATS)}
    for messages in found.values():
        stamps = [START + number * PERIOD for number in range(3)]
        assert [stamp_ns(message.header.stamp) for _, message in messages] == stamps
        assert [time for time, _ in messages] == [stamp + DELAY for stamp in stamps]
        assert {message.header.frame_id for _, message in messages} == {bags.FRAME}
    for at in range(3):
        disparity, depth, confidence, cloud, info = (
            found[f'/stereo/{output}'][at][1]
            for output in (
                'disparity',
                'depth/image',
                'confidence',
                'points2',
                'depth/camera_info',
            )
        )
        assert (disparity.f, disparity.t) == (bags.FOCAL, pytest.approx(bags.BASELINE))
        assert np.median(bags.float_pixels(disparity.image)[INSIDE]) == SHIFT
        assert np.median(bags.float_pixels(depth)[INSIDE]) == pytest.approx(DEPTH)
        assert np.median(bags.float_pixels(confidence)[INSIDE]) > 0.9
        points = np.frombuffer(cloud.data, '<f4').reshape(HEIGHT, WIDTH, 4)
        assert points[32, 48, 2] == pytest.approx(DEPTH)
        assert points[32, 48, 0] == pytest.approx(DEPTH * 0.5 / bags.FOCAL, rel=1e-5)
        colors = np.frombuffer(cloud.data, np.uint8).reshape(HEIGHT, WIDTH, 16)[..., 14:11:-1]
        np.testing.assert_array_equal(colors, bags.shifted_pair(at)[0])
        assert (info.width, info.height, info.p[0]) == (WIDTH, HEIGHT, bags.FOCAL)
    assert report['problem'] is None
    assert report['pairs'] == {'found': 3, 'processed': 3, 'failed': 0}
    assert report['coverage'] == 1
    assert report['images']['left'] == {'count': 3, 'rate_hz': pytest.approx(10), 'unpaired': {}}
    assert report['written'] == dict.fromkeys(found, 3)
    assert report['density']['mean'] > 0.6
    stats = [message for _, message in found[f'/stereo/{STATS}']]
    densities = [message.density for message in stats]
    assert np.mean(densities) == pytest.approx(report['density']['mean'], abs=1e-4)
    assert (stats[0].model, stats[0].input_width, stats[0].output_height) == (
        'sgbm',
        WIDTH,
        HEIGHT,
    )
    assert stamp_ns(stats[2].right_stamp) == START + 2 * PERIOD
    assert np.isnan([stats[0].total_ms, stats[0].inference_ms, stats[0].age_ms]).all()
    assert report['model']['name'] == 'sgbm'
    assert report['model']['processing_size'] == [WIDTH, HEIGHT]
    assert json.loads((tmp_path / 'out' / 'report.json').read_text()) == report


def _as_recorded_by_humble(bag: Path) -> None:
    """Take away what later releases added to the metadata and the database."""
    file = bag / 'metadata.yaml'
    metadata = yaml.safe_load(file.read_text())
    information = metadata['rosbag2_bagfile_information']
    information['version'] = 5
    del information['custom_data'], information['ros_distro']
    for topic in information['topics_with_message_count']:
        del topic['topic_metadata']['type_description_hash']
    file.write_text(yaml.safe_dump(metadata))
    with sqlite3.connect(bag / f'{bag.name}.db3') as database:
        database.executescript(
            'DROP TABLE schema; DROP TABLE metadata; DROP TABLE message_definitions;'
            'ALTER TABLE topics DROP COLUMN type_description_hash'
        )


def test_a_bag_of_humble(tmp_path, estimator):
    source = bags.write_bag(tmp_path / 'in', bags.frames(2), SQLITE3, version=8)
    _as_recorded_by_humble(source)
    replay(source, tmp_path / 'out', estimator, ONLY_DISPARITY)
    assert disparities(tmp_path / 'out') == [(0, SHIFT), (1, SHIFT)]


@pytest.mark.parametrize(
    ('storage', 'version', 'compression'),
    [
        (MCAP, 8, None),
        (SQLITE3, 9, CompressionMode.FILE),
        (SQLITE3, 8, CompressionMode.MESSAGE),
        (MCAP, 9, CompressionMode.FILE),
        (MCAP, 9, CompressionMode.MESSAGE),
        (MCAP, 9, CompressionMode.STORAGE),
    ],
)
def test_versions_and_compressions(run, tmp_path, storage, version, compression):
    compression = compression and (compression, CompressionFormat.ZSTD)
    run(bags.frames(2), storage=storage, version=version, compression=compression)
    assert disparities(tmp_path / 'out') == [(0, SHIFT), (1, SHIFT)]


@pytest.mark.parametrize('storage', [MCAP, SQLITE3], ids=['mcap', 'sqlite3'])
@pytest.mark.parametrize('bare', [True, False])
def test_bags_without_metadata(tmp_path, estimator, storage, bare):
    source = bags.write_bag(tmp_path / 'in', bags.frames(2), storage)
    (source / 'metadata.yaml').unlink()
    file = next(source.iterdir())
    replay(file if bare else source, tmp_path / 'out', estimator, ONLY_DISPARITY)
    assert disparities(tmp_path / 'out') == [(0, SHIFT), (1, SHIFT)]


@pytest.mark.parametrize('copy', [False, True])
def test_the_same_bytes_from_the_same_input(tmp_path, estimator, copy):
    source = bags.write_bag(tmp_path / 'in', bags.frames(3))
    runs = []
    for name in ('first', 'second'):
        target = tmp_path / name / 'out'
        replay(source, target, estimator, ReplaySettings(copy_inputs=copy))
        runs.append({file.name: file.read_bytes() for file in target.iterdir()})
        del runs[-1]['report.json']
    assert set(runs[0]) == {'metadata.yaml', 'out.mcap'}
    assert runs[0] == runs[1]


def test_copied_inputs_are_those_of_the_bag(run, tmp_path):
    run(bags.frames(3), ReplaySettings(outputs=(DISPARITY,), copy_inputs=True))
    with BagReader(tmp_path / 'in') as before, BagReader(tmp_path / 'out') as after:
        topics = set(before.topics)
        assert set(after.topics) == topics | {'/stereo/disparity'}
        assert list(after.messages(topics)) == list(before.messages(topics))


def test_output_size_and_depth_limits(tmp_path):
    estimator = StereoEstimator.load(
        'sgbm',
        options={'num_disparities': 16},
        processing_size=(WIDTH // 2, HEIGHT // 2),
        output='processing',
    )
    source = bags.write_bag(tmp_path / 'in', bags.frames(1))
    limits = OutputSettings(max_depth=0.9 * DEPTH)
    outputs = ('disparity', 'depth/image', 'depth/camera_info')
    report = replay(
        source, tmp_path / 'out', estimator, ReplaySettings(outputs=outputs, messages=limits)
    )
    found = bags.read_bag(tmp_path / 'out')
    disparity, depth, info = (found[f'/stereo/{name}'][0][1] for name in outputs)
    assert (disparity.image.width, depth.width, info.width) == (WIDTH // 2,) * 3
    assert np.median(bags.float_pixels(disparity.image)) == SHIFT / 2
    assert np.median(bags.float_pixels(depth)[8:-8, 12:-12]) == np.inf
    assert info.p[0] == bags.FOCAL / 2
    assert report['model']['processing_size'] == [WIDTH // 2, HEIGHT // 2]


def test_filters_and_sigma(run, tmp_path):
    """The mean over time begins with the second pair; sigma is what the user says it is."""
    filters = FilterSettings(border=9, smoothing=1.0)
    given = OutputSettings(filters=filters, disparity_sigma=0.5, cloud_sigma=True)
    outputs = ('depth/image', 'depth/sigma', 'points2')
    run(bags.frames(2), ReplaySettings(outputs=outputs, messages=given))
    found = bags.read_bag(tmp_path / 'out')
    for _, message in found['/stereo/depth/image']:
        depth = bags.float_pixels(message)
        kept = np.zeros_like(depth, bool)
        kept[9:-9, 9 + SHIFT : -9] = True
        assert not np.isfinite(depth[~kept]).any()
        assert np.nanmedian(depth) == pytest.approx(DEPTH)
    sigma = bags.float_pixels(found['/stereo/depth/sigma'][1][1])
    np.testing.assert_allclose(sigma, 0.5 * depth**2 / (DEPTH * SHIFT), rtol=1e-5)
    names = [field.name for field in found['/stereo/points2'][1][1].fields]
    assert names == ['x', 'y', 'z', 'rgb', 'sigma']


def test_other_forms_of_depth_and_cloud(run, tmp_path):
    given = OutputSettings(depth_encoding='16UC1', cloud=CloudSettings(stride=2, voxel_size=0))
    outputs = ('depth/image', 'depth/image/compressedDepth', 'points2', 'points2/filtered')
    run(bags.frames(1), ReplaySettings(outputs=outputs, messages=given))
    found = bags.read_bag(tmp_path / 'out')
    depth, packed, cloud, filtered = (found[f'/stereo/{name}'][0][1] for name in outputs)
    assert depth.encoding == '16UC1'
    millimetres = np.frombuffer(depth.data, '<u2').reshape(HEIGHT, WIDTH)
    assert np.median(millimetres) == round(1000 * DEPTH)
    np.testing.assert_array_equal(read_compressed_depth(packed), millimetres)
    points = np.frombuffer(cloud.data, '<u4').reshape(HEIGHT, WIDTH, 4)[::2, ::2]
    known = np.isfinite(points.view('<f4')[..., 2])
    assert (filtered.height, filtered.width, filtered.is_dense) == (1, known.sum(), True)
    kept = np.frombuffer(filtered.data, '<f4').reshape(-1, 4)
    np.testing.assert_allclose(kept[:, :3], points[known].view('<f4')[:, :3], rtol=1e-6)


# --- pairs ---------------------------------------------------------------------------------------


def test_images_without_partner_are_counted_and_explained(run, tmp_path):
    entries = [
        *bags.frame(0, sides=('left',)),
        *bags.frames(6)[4:8],
        *bags.frame(2, sides=('right',)),
        *bags.frame(3, sides=('left',)),
        *bags.frames(7)[16:],
        *bags.frame(7, sides=('right',)),
    ]
    report = run(entries)
    assert [number for number, _ in disparities(tmp_path / 'out')] == [1, 4, 5, 6]
    left, right = (report['images'][side]['unpaired'] for side in ('left', 'right'))
    assert left == {
        'before the first right image': 1,
        'no right image within 0 ms (closest: -100.000 ms, median)': 1,
    }
    assert right == {
        'after the last left image': 1,
        'no left image within 0 ms (closest: -100.000 ms, median)': 1,
    }
    assert report['coverage'] == pytest.approx(4 / 6)


def test_a_bag_that_jumps_back_in_time(run, tmp_path):
    again = [
        entry
        for number in range(3)
        for entry in bags.frame(number, time=START + (number + 10) * PERIOD)
    ]
    report = run([*bags.frames(3), *again])
    assert report['pairs'] == {'found': 6, 'processed': 6, 'failed': 0}
    found = bags.read_bag(tmp_path / 'out')['/stereo/disparity']
    numbers = [(stamp_ns(message.header.stamp) - START) // PERIOD for _, message in found]
    assert numbers == [0, 1, 2, 0, 1, 2]
    assert [time for time, _ in found] == sorted(time for time, _ in found)


def _late_right(by: int, count: int = 3) -> list[bags.Entry]:
    entries = bags.frames(count)
    for topic, _, message in entries:
        if topic == '/stereo/right/image_rect':
            stamp = stamp_ns(message.header.stamp) + by
            message.header = bags.header(stamp)
    return entries


def test_stamps_within_the_tolerance_pair(run, tmp_path):
    report = run(
        _late_right(4_000_000), ReplaySettings(outputs=(DISPARITY,), sync_tolerance=0.005)
    )
    assert report['pairs']['processed'] == 3
    assert [number for number, _ in disparities(tmp_path / 'out')] == [0, 1, 2]


def test_without_any_pair_nothing_is_written(run, tmp_path, capsys):
    report = run(_late_right(4_000_000, count=12))
    assert report['problem'].startswith('no pair in 12 left and 12 right images; left: ')
    assert 'within 0 ms (closest: +4.000 ms, median)' in report['problem']
    assert report['written'] == {}
    assert not (tmp_path / 'out').exists()
    assert 'right minus left is +4.000 ms' in capsys.readouterr().err


def test_the_right_image_may_come_much_later(run, tmp_path):
    """The recorder wrote one side in bursts: each image finds its partner all the same."""
    entries = []
    for number in range(30):
        late = START + (number + 25) * PERIOD
        entries += [
            (topic, late + at, message) if 'right' in topic else (topic, time, message)
            for at, (topic, time, message) in enumerate(bags.frame(number))
        ]
    report = run(sorted(entries, key=lambda entry: entry[1]))
    assert report['pairs']['processed'] == 30
    assert [number for number, _ in disparities(tmp_path / 'out')] == list(range(30))


def test_the_right_image_may_come_first(run, tmp_path):
    run(bags.frames(2, sides=('right', 'left')))
    assert disparities(tmp_path / 'out') == [(0, SHIFT), (1, SHIFT)]


def test_start_and_duration(run, tmp_path):
    run(bags.frames(6), ReplaySettings(outputs=(DISPARITY,), start=0.15, duration=0.2))
    assert [number for number, _ in disparities(tmp_path / 'out')] == [2, 3]


# --- pairs that fail -----------------------------------------------------------------------------


def _spoil(entries: list[bags.Entry], number: int, **changes: Any) -> list[bags.Entry]:
    """Change the left image of one frame."""
    stamp = START + number * PERIOD
    for topic, _, message in entries:
        if 'left/image' in topic and stamp_ns(message.header.stamp) == stamp:
            for name, value in changes.items():
                setattr(message, name, value)
    return entries


@pytest.mark.parametrize(
    ('name', 'changes', 'reason'),
    [
        ('image_rect', {'encoding': 'rgb9'}, "left image: encoding 'rgb9' is unknown"),
        ('image_rect', {'data': np.zeros(9, np.uint8)}, 'left image: data has 9 bytes'),
        ('image_rect', {'width': WIDTH - 1, 'step': 3 * WIDTH}, 'left is 95x64 and right 96x64'),
        (
            'image_rect/compressed',
            {'data': np.frombuffer(b'\xff\xd8\xff' + bytes(40), np.uint8)},
            'left image: compressed image of 43 bytes is a damaged JPEG',
        ),
    ],
)
def test_a_pair_that_fails_is_counted_and_the_rest_goes_on(
    run, tmp_path, capsys, name, changes, reason
):
    report = run(_spoil(bags.frames(3, name=name), 1, **changes))
    assert report['pairs'] == {'found': 3, 'processed': 2, 'failed': 1}
    (failure,) = report['failures']
    assert failure['stamp_ns'] == START + PERIOD
    assert failure['reason'].startswith(reason)
    assert [number for number, _ in disparities(tmp_path / 'out')] == [0, 2]
    assert report['coverage'] == pytest.approx(2 / 3)
    assert capsys.readouterr().err.count(reason) == 1


def test_a_message_cut_off_in_the_bag_is_counted(tmp_path, estimator):
    source = bags.write_bag(tmp_path / 'in', bags.frames(3), SQLITE3)
    with sqlite3.connect(source / 'in.db3') as database:
        database.execute('UPDATE messages SET data = substr(data, 1, 60) WHERE id = 5')
    report = replay(source, tmp_path / 'out', estimator, ONLY_DISPARITY)
    assert sum(report['damaged_messages'].values()) == 1
    assert next(iter(report['damaged_messages'])).startswith('/stereo/left/image_rect: ')
    assert [number for number, _ in disparities(tmp_path / 'out')] == [0, 2]


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'p': np.zeros(12)}, 'P is all zeros while K is given'),
        ({'p': np.full(12, np.nan)}, 'fx is nan'),
        ({'width': 2 * WIDTH}, 'camera_info describes images of 192x64'),
    ],
)
def test_a_calibration_nothing_can_be_done_with(run, tmp_path, capsys, changes, reason):
    entries = bags.frames(2)
    for topic, _, message in entries:
        if topic == '/stereo/left/camera_info':
            for name, value in changes.items():
                setattr(message, name, value)
    report = run(entries, ReplaySettings(copy_inputs=True))
    assert report['problem'].startswith('none of 2 pairs could be processed; the first: left')
    assert reason in report['problem']
    assert not (tmp_path / 'out').exists()
    assert reason in capsys.readouterr().err


# --- camera_info ---------------------------------------------------------------------------------


def test_one_camera_info_before_all_images_serves_them_all(run, tmp_path):
    entries = [entry for entry in bags.frames(4) if 'image' in entry[0]]
    first = [
        (f'/stereo/{side}/camera_info', START, bags.camera_info(side, START))
        for side in ('left', 'right')
    ]
    run([*first, *entries], ReplaySettings(outputs=(DISPARITY,), start=0.25))
    assert [number for number, _ in disparities(tmp_path / 'out')] == [3]


def test_camera_info_is_matched_by_stamp_then_by_what_came_before(run, tmp_path):
    """Frames 0 and 1 have theirs, just after them; 2 has none; 3 has another calibration."""
    entries = [
        entry
        for entry in bags.frames(4)
        if 'image' in entry[0] or stamp_ns(entry[2].header.stamp) != START + 2 * PERIOD
    ]
    for topic, _, message in entries:
        if 'camera_info' in topic and stamp_ns(message.header.stamp) == START + 3 * PERIOD:
            message.p = message.p * [2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1]
    run(entries)
    found = bags.read_bag(tmp_path / 'out')['/stereo/disparity']
    assert [message.f for _, message in found] == [100, 100, 100, 200]


# --- the doctor ----------------------------------------------------------------------------------


def test_the_doctors_findings_are_reported_once(run, capsys):
    entries = bags.frames(5)
    for topic, _, message in entries:
        if topic == '/stereo/left/camera_info':
            message.d = np.array([0.1, 0, 0, 0, 0])
    report = run(entries)
    assert [finding['code'] for finding in report['findings']] == ['distortion_left']
    assert report['findings'][0]['level'] == 'WARN'
    assert capsys.readouterr().err.count('left camera_info has distortion') == 1


def test_images_beyond_the_limit_fail_by_name(run):
    report = run(bags.frames(1), settings=ReplaySettings(max_pixels=100))
    assert 'more than max_pixels = 100' in report['failures'][0]['reason']


def test_names_that_do_not_say_rectified_are_a_finding(run):
    report = run(bags.frames(1, name='image_raw'))
    assert [finding['code'] for finding in report['findings']] == ['not_rectified']
