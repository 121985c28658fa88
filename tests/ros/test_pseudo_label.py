"""`nndepth pseudo-label`: a bag's pairs become images with depth, and training takes them."""

import json
from pathlib import Path

import bags
import numpy as np
import pytest
from bags import DEPTH, START, shifted_pair

from nndepth_core.camera import PinholeCamera
from nndepth_core.cli import main
from nndepth_core.data.datasets import FolderDepth

INSIDE = slice(16, -16), slice(24, -24)


@pytest.fixture
def bag(tmp_path) -> Path:
    return bags.write_bag(tmp_path / 'in', bags.frames(5))


def label(source, target, *options) -> int:
    return main(['pseudo-label', '--model', bags.MODEL, str(source), str(target), *options])


def test_depth_stands_beside_its_image(bag, tmp_path, capsys):
    assert label(bag, tmp_path / 'out') == 0
    assert '5 of 5 pairs processed' in capsys.readouterr().out
    data = FolderDepth(tmp_path / 'out')
    assert len(data) == 5
    height, width = shifted_pair()[0].shape[:2]
    camera = PinholeCamera.from_projection(bags.camera_info('left', START).p, width, height)
    for number, sample in enumerate(data):
        assert sample.name == str(START + number * bags.PERIOD)
        np.testing.assert_array_equal(sample.image, shifted_pair(number)[0])
        assert sample.meaning == 'metric'
        assert sample.camera == camera
        inside = sample.depth[INSIDE]
        assert np.nanmedian(inside) == pytest.approx(DEPTH, abs=0.01)
        # 16-bit millimetres
        np.testing.assert_allclose(inside * 1000, np.rint(inside * 1000), atol=1e-3)
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    assert report['model']['confidence_threshold'] == 0.5
    assert report['pairs']['processed'] == 5


def test_filters_and_limits_leave_what_is_to_be_learned(bag, tmp_path):
    assert label(bag, tmp_path / 'cut', '--filter-border', '20') == 0
    depth = FolderDepth(tmp_path / 'cut')[0].depth
    assert np.isfinite(depth[24:-24, 60:-24]).mean() > 0.9
    for strip in (depth[:20], depth[-20:], depth[:, :20], depth[:, -20:]):
        assert np.isnan(strip).all()
    assert label(bag, tmp_path / 'far', '--max-depth', str(DEPTH / 2)) == 0
    assert np.isnan(FolderDepth(tmp_path / 'far')[0].depth).all()


def test_every_nth_pair_and_json(bag, tmp_path, capsys):
    assert label(bag, tmp_path / 'out', '--every', '2', '--json') == 0
    report = json.loads(capsys.readouterr().out)
    assert (report['every'], report['pairs']['processed']) == (2, 3)
    names = sorted(path.stem for path in (tmp_path / 'out' / 'depth').iterdir())
    assert names == [str(START + number * bags.PERIOD) for number in (0, 2, 4)]


def test_a_camera_that_changes_is_in_no_file(tmp_path, capsys):
    entries = bags.frames(1)
    for topic, time, message in bags.frame(1):
        if topic.endswith('left/camera_info'):
            message = bags.camera_info('left', START + bags.PERIOD, **_shifted_centre(message))
        elif topic.endswith('right/camera_info'):
            message = bags.camera_info('right', START + bags.PERIOD, **_shifted_centre(message))
        entries.append((topic, time, message))
    assert label(bags.write_bag(tmp_path / 'in', entries), tmp_path / 'out') == 0
    assert json.loads((tmp_path / 'out' / 'report.json').read_text())['cameras'] == 2
    assert 'the calibration changes in the bag (2 different ones)' in capsys.readouterr().err
    assert FolderDepth(tmp_path / 'out')[0].camera is None


def _shifted_centre(message):
    p = np.array(message.p)
    p[6] += 1.0
    return {'p': p}


def test_what_is_not_confident_is_unknown(tmp_path):
    left, _ = shifted_pair()
    plain = np.full_like(left, 127)  # nothing can be matched
    entries = []
    for topic, time, message in bags.frame(0):
        if topic.endswith('image_rect'):
            message = bags.image(START, plain)
        entries.append((topic, time, message))
    source = bags.write_bag(tmp_path / 'plain', entries)
    assert label(source, tmp_path / 'out') == 0
    assert not np.isfinite(FolderDepth(tmp_path / 'out')[0].depth).any()


def test_a_bag_without_pairs_makes_nothing(tmp_path, capsys):
    source = bags.write_bag(tmp_path / 'in', bags.frames(2, sides=('left',)))
    assert label(source, tmp_path / 'out') in (1, 2)
    assert 'right' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('options', 'words'),
    [(['--every', '0'], 'every is 0; give at least 1'), (['--start', '-1'], 'start is -1')],
)
def test_bad_options_are_named(bag, tmp_path, capsys, options, words):
    assert label(bag, tmp_path / 'out', *options) == 2
    assert words in capsys.readouterr().err


def test_files_of_others_stay(bag, tmp_path, capsys):
    (tmp_path / 'out').mkdir()
    mine = tmp_path / 'out' / 'mine.txt'
    mine.write_text('mine')
    assert label(bag, tmp_path / 'out') == 2
    assert 'out exists already; choose another folder' in capsys.readouterr().err
    assert mine.read_text() == 'mine'
    assert list((tmp_path / 'out').iterdir()) == [mine]


def test_a_bad_pair_is_told_and_the_others_are_written(tmp_path, capsys):
    entries = bags.frames(3)
    for index, (topic, time, message) in enumerate(entries):
        if topic.endswith('left/image_rect') and message.header.stamp.nanosec == 100_000_000:
            message.encoding = 'nonsense'
            entries[index] = topic, time, message
    source = bags.write_bag(tmp_path / 'in', entries)
    assert label(source, tmp_path / 'out') == 1
    assert 'nonsense' in capsys.readouterr().err
    assert len(FolderDepth(tmp_path / 'out')) == 2
