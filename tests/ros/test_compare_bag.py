"""`nndepth compare` of two models on a bag."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import bags
import numpy as np
import pytest

from nndepth_core import io
from nndepth_core.cli.compare import is_bag
from nndepth_core.engines.sgbm import SgbmEngine
from nndepth_core.estimator import StereoEstimator
from nndepth_core.testing.commands import run_command
from nndepth_ros.compare_bag import compare_bag
from nndepth_ros.replay import ReplaySettings
from nndepth_ros.replay.processor import Processor

SGBM = 'sgbm:max-disparity=16'
NARROW = 'sgbm:max-disparity=16:processing-size=48x0'


@pytest.fixture
def compare(tmp_path, monkeypatch, capsys):
    """Run the command in an empty folder; returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    return partial(run_command, capsys, 'compare')


@pytest.fixture
def bag(tmp_path) -> Path:
    """Three pairs, and one left image alone."""
    entries = [*bags.frames(3), *bags.frame(4, sides=('left',))]
    return bags.write_bag(tmp_path / 'in', entries)


def test_table_json_and_pictures(compare, bag):
    code, out, err = compare(bag, SGBM, NARROW, '--json', 'out.json', '--pictures', '2')
    assert code == 0
    assert err == ''
    a, b, head, *rows, counts, alone, pictures = out.splitlines()
    assert (a, b) == (f'A: {SGBM}', f'B: {NARROW}')
    assert head.split() == ['all', '3', 'frames']
    assert [row.split('  ')[0] for row in rows] == [
        'within 1 px',
        'within 3 px',
        'within 5 % of depth',
        'mean |A - B|',
        'density A / B',
        'inference A / B',
        'total A / B',
    ]
    assert counts == '3 of 3 pairs compared, 0 failed, A alone answered 0, B 0'
    assert alone.startswith('1 of 4 left images without partner')
    assert pictures == 'pictures in nndepth_comparison'
    stamps = [bags.START, bags.START + 2 * bags.PERIOD]
    drawn = {path.name: io.read_image(path) for path in Path('nndepth_comparison').iterdir()}
    assert set(drawn) == {f'{stamp}.png' for stamp in stamps}
    image = drawn[f'{stamps[0]}.png'][16 : 16 + 213, :320]
    left = bags.shifted_pair(0)[0]
    assert np.abs(image.mean((0, 1)) - left.mean((0, 1))).max() < 3
    report = json.loads(Path('out.json').read_text())
    each, whole = report['each'], report['comparison']
    assert [frame['stamp_ns'] for frame in each] == [
        bags.START + n * bags.PERIOD for n in range(3)
    ]
    assert whole['density_a'] == pytest.approx(np.mean([frame['density_a'] for frame in each]))
    assert whole['total_ms_b'] > whole['inference_ms_b'] > 0
    assert whole['within_1px'] > 0.9  # both are near the true shift


def test_pairs_that_never_come_have_failed(compare, tmp_path, monkeypatch):
    bag = bags.write_bag(tmp_path / 'long', bags.frames(24))
    file, look = bag / 'long.mcap', Processor.look_through

    def look_and_shorten(processor, stopped):
        look(processor, stopped)
        with file.open('r+b') as opened:
            opened.truncate(file.stat().st_size // 2)

    monkeypatch.setattr(Processor, 'look_through', look_and_shorten)
    code, out, _ = compare(bag, SGBM, NARROW, '--json', '-', '--pictures', '0', '--every', '2')
    pairs = json.loads(out)['pairs']
    assert code == 1
    assert 0 < pairs['processed'] < 12
    assert pairs['failed'] == 12 - pairs['processed']


def test_models_may_stand_before_the_bag_and_json_on_standard_output(compare, bag):
    code, out, _ = compare(SGBM, NARROW, bag, '--json', '-', '--pictures', '0', '--every', '2')
    report = json.loads(out)
    assert code == 0
    assert report['models']['a']['name'] == SGBM
    assert (report['comparison']['frames'], report['output']) == (2, None)
    assert not list(Path('nndepth_comparison').iterdir())


def test_the_same_model_twice_agrees_and_says_so(compare, bag):
    code, out, err = compare(bag, SGBM, SGBM)
    assert code == 0
    assert 'within 5 % of depth  100.0 %' in out
    assert 'mean |A - B|         0.000 px' in out
    assert f'A and B are the same model, {SGBM}, and give the same everywhere' in err


class Fixed(SgbmEngine):
    """Gives one disparity everywhere, and fails where the left image is as given."""

    def __init__(self, value: float, fails: np.ndarray | None = None) -> None:
        super().__init__()
        self.value, self.fails = value, fails

    def run(self, inputs):
        left = inputs['left'][0]
        if self.fails is not None and np.array_equal(left[: self.fails.shape[0]], self.fails):
            raise RuntimeError('out of order')
        shape = inputs['left'].shape[:3]
        return {'disparity': np.full(shape, self.value, np.float32)}


def _compared(bag: Path, folder: Path, a: Fixed, b: Fixed, **settings) -> dict:
    models = {'a': StereoEstimator(a), 'b': StereoEstimator(b)}
    names = {'a': 'first', 'b': 'second'}
    return compare_bag(bag, models, names, ReplaySettings(), folder, **settings)


def test_figures_by_closed_form(bag, tmp_path):
    report = _compared(bag, tmp_path, Fixed(40), Fixed(42), pictures=0)
    whole = report['comparison']
    assert (whole['unit'], whole['frames'], whole['mean_difference']) == ('px', 3, 2)
    assert (whole['within_1px'], whole['within_3px'], whole['within_5_percent']) == (0, 1, 1)
    assert whole['density_a'] == whole['density_b'] == 1


def test_a_frame_that_one_model_cannot_answer_is_told_and_the_others_count(bag, tmp_path, capsys):
    second = bags.shifted_pair(1)[0]
    report = _compared(bag, tmp_path, Fixed(40), Fixed(42, second), pictures=0)
    whole = report['comparison']
    assert (whole['frames'], whole['only_a'], whole['only_b']) == (2, 1, 0)
    (failure,) = report['failures']
    assert failure['stamp_ns'] == bags.START + bags.PERIOD
    assert failure['reason'] == 'B, second: out of order'
    assert report['pairs'] == {'found': 3, 'processed': 2, 'failed': 1}
    assert 'B, second: out of order' in capsys.readouterr().err
    both = _compared(bag, tmp_path, Fixed(40, second), Fixed(42, second), pictures=0)
    (failure,) = both['failures']
    assert failure['reason'] == 'A, first: out of order; B, second: out of order'
    assert (both['comparison']['only_a'], both['comparison']['only_b']) == (0, 0)


def test_a_camera_of_another_size_half_way(compare, tmp_path):
    entries = bags.frames(2)
    stamp = bags.START + 5 * bags.PERIOD
    for side, pixels in zip(('left', 'right'), bags.shifted_pair(5, width=64), strict=True):
        entries.append((f'/stereo/{side}/image_rect', stamp, bags.image(stamp, pixels)))
        info = bags.camera_info(side, stamp, width=64)
        entries.append((f'/stereo/{side}/camera_info', stamp + 1, info))
    bags.write_bag(tmp_path / 'in', entries)
    code, out, err = compare(tmp_path / 'in', SGBM, NARROW)
    assert code == 0
    assert '3 of 3 pairs compared' in out
    assert 'the size has changed from 96x64 to 64x64 in the middle' in err


def test_a_bag_without_pairs_is_one_error(compare, tmp_path):
    bags.write_bag(
        tmp_path / 'in', [*bags.frame(0, sides=('left',)), *bags.frame(1, sides=('right',))]
    )
    code, out, err = compare(tmp_path / 'in', SGBM, NARROW)
    assert code == 1
    assert 'error: no pair in 1 left and 1 right images' in err
    assert 'within' not in out


@pytest.mark.parametrize(
    ('arguments', 'says'),
    [
        (
            ['in', 'sgbm', 'midas_small'],
            "B is 'midas_small', a mono model; give models of one task",
        ),
        (['in', 'sgbm', 'absent'], "model 'absent' is unknown"),
        (['in', 'sgbm', 'other.mcap'], 'are both bags; give one bag and two models'),
        (['absent.mcap', 'sgbm', 'sgbm'], 'absent.mcap does not exist'),
        (['absent', 'sgbm', 'sgbm'], 'absent is no bag that is there'),
        (['in', 'sgbm', 'sgbm', '--every', '0'], 'every is 0; give at least 1'),
        (['in', 'sgbm', 'sgbm', '--image', '/x'], '--image is for models of single images'),
    ],
)
def test_what_is_wrong_is_one_error(compare, bag, arguments, says):
    code, out, err = compare(*arguments)
    assert (code, out) == (2, '')
    (line,) = err.splitlines()
    assert says in line


def test_single_images_are_compared_in_metres(compare, tmp_path):
    from tiny_networks import write_network

    network = write_network(tmp_path / 'tiny.onnx')
    relative = write_network(tmp_path / 'relative.onnx', output='inverse_depth')
    bags.write_bag(tmp_path / 'in', bags.frames(2, sides=('left',)))
    code, out, err = compare(tmp_path / 'in', network, network, '--json', 'out.json')
    assert code == 0, err
    assert 'within 1 px' not in out
    assert 'mean |A - B|         0.000 m' in out
    report = json.loads(Path('out.json').read_text())
    assert (report['comparison']['frames'], report['comparison']['within_1px']) == (2, None)
    code, _, err = compare(tmp_path / 'in', network, relative)
    assert code == 2
    assert 'gives inverse_depth and no depth; compare it on single images' in err


def test_bags_are_known_by_name_or_content(tmp_path, bag):
    assert is_bag(str(bag))
    assert is_bag('absent.mcap.zst')
    (tmp_path / 'images').mkdir()
    for name in (tmp_path / 'images', 'sgbm', 'raft.onnx', '--json', tmp_path / 'absent'):
        assert not is_bag(str(name))
