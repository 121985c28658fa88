"""`nndepth evaluate` on folders of pairs, and every wrong call."""

import importlib
import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from nndepth_core import cli, io
from nndepth_core.engines.sgbm import SgbmEngine
from nndepth_core.evaluation import stereo
from nndepth_core.plausibility.findings import RANGE_SETTINGS, Finding, Level
from nndepth_core.testing.commands import run_command

SHIFT = 8


def write_pairs(root: Path, count: int = 3) -> None:
    """Pairs of constant disparity SHIFT, the truth half a pixel more."""
    for index in range(count):
        noise = np.random.default_rng(index).integers(0, 256, (60, 120 + SHIFT, 3), np.uint8)
        texture = cv2.GaussianBlur(noise, (0, 0), 1.0)
        truth = np.full((60, 120), SHIFT + 0.5, np.float32)
        for kind, image in (('left', texture[:, :-SHIFT]), ('right', texture[:, SHIFT:])):
            (root / kind).mkdir(parents=True, exist_ok=True)
            io.write_image(root / kind / f'{index}.png', np.ascontiguousarray(image))
        (root / 'disparity').mkdir(exist_ok=True)
        io.write_pfm(root / 'disparity' / f'{index}.pfm', truth)


@pytest.fixture
def evaluate(tmp_path, monkeypatch, capsys):
    """Run the command beside a folder of pairs; returns (exit code, stdout, stderr)."""
    pytest.importorskip('jsonargparse')
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path / 'pairs')

    return partial(run_command, capsys, 'evaluate')


def test_command_with_every_output(evaluate):
    code, out, err = evaluate(
        'sgbm:max-disparity=32', '--max-disparity', 16, '--data', 'pairs',
        'sgbm:processing-size=60x0', '--metrics', 'epe,kitti-d1,density', '--regions', 'all',
        '--json', 'all.json', '--csv', 'all.csv', '--report', 'all.html', '--pictures', 1,
    )  # fmt: skip
    assert (code, err) == (0, '')
    head, first, second = (line.split() for line in out.splitlines())
    assert ' '.join(head) == 'MODEL REGION EPE px D1-all % density % p50 ms p95 ms'
    assert first[:2] == ['sgbm:max-disparity=32', 'all']
    assert float(first[2]) == pytest.approx(0.5, abs=0.02)
    assert second[0] == 'sgbm:processing-size=60x0'
    content = json.loads(Path('all.json').read_text())
    assert content['dataset'] == 'pairs'
    assert [x['name'] for x in content['models'][0]['samples']] == ['0', '1', '2']
    assert len(Path('all.csv').read_text().splitlines()) == 1 + 2 * 3 * 2  # all, textureless
    assert Path('all.html').read_text().count('<img') == 2 + 2 * 2


def test_command_measures_along_depth_edges(evaluate):
    truth = np.full((60, 120), SHIFT, np.float32)
    truth[30:] += 5  # which the images do not show
    io.write_pfm(Path('pairs/disparity/0.pfm'), truth)
    code, out, _ = evaluate(
        'sgbm:max-disparity=32', '--data', 'pairs', '--metrics', 'bad-3',
        '--regions', 'rows_0,rows_8,columns_0',
    )  # fmt: skip
    assert code == 0
    _, *rows = (line.split() for line in out.splitlines())
    assert [row[1] for row in rows] == ['rows_0', 'rows_8']
    assert [float(row[2]) for row in rows] == pytest.approx([50, 50], abs=8)


def test_what_is_no_picture_is_passed_over(evaluate):
    for folder in ('left', 'disparity'):
        (Path('pairs') / folder / '._0.png').touch()
        (Path('pairs') / folder / 'Thumbs.png').mkdir()
        (Path('pairs') / folder / 'dangling.png').symlink_to('nowhere.png')
    code, _, err = evaluate('sgbm', '--data', 'pairs')
    assert (code, err) == (0, '')


def test_command_prints_json(evaluate):
    code, out, _ = evaluate(
        'sgbm', '--data', 'pairs', '--json', '-', '--limit', 1, '--metrics', 'ause'
    )
    assert code == 0
    assert 'ause' in json.loads(out)['models'][0]['mean']['all']


def test_command_takes_a_class_and_its_settings(evaluate):
    Path('pairs/disparity').rename('pairs/truth')
    code, out, err = evaluate(
        '--data.disparity=truth/*', '--data.root', 'pairs', '--data', 'FolderPairs', 'sgbm',
        '--metrics', 'epe',
    )  # fmt: skip
    assert (code, err) == (0, '')
    assert 'textureless' in out


def test_command_takes_rendered_pairs(evaluate):
    Path('data.yaml').write_text('{class_path: ProceduralStereo, init_args: {size: [64, 96]}}')
    for data in (['ProceduralStereo', '--data.size', '[64, 96]'], ['data.yaml']):
        settings = ['--data.length', 2, '--data.seed', 1]
        code, out, _ = evaluate('sgbm', '--data', *data, *settings, '--json', '-')
        assert code == 0
        names = [x['name'] for x in json.loads(out)['models'][0]['samples']]
        assert names == ['1-0000000', '1-0000001']


@pytest.mark.parametrize(
    'nested', ['{}', 'train: null\nvalidation: {}', 'data: {{validation: {}}}']
)
def test_command_takes_yaml(evaluate, nested):
    one = '{class_path: FolderPairs, init_args: {root: pairs}}'
    mixture = f'{{class_path: Mixture, init_args: {{datasets: [{one}], weights: [2]}}}}'
    Path('data.yaml').write_text(nested.format(mixture))
    code, out, _ = evaluate('sgbm', '--data', 'data.yaml', '--json', '-')
    assert code == 0
    assert json.loads(out)['samples'] == 6


def test_command_skips_or_refuses_broken_samples(evaluate):
    Path('pairs/left/1.png').write_bytes(b'no picture')
    io.write_pfm('pairs/disparity/2.pfm', np.ones((5, 6), np.float32))
    code, out, err = evaluate('sgbm', '--data', 'pairs')
    assert code == 1
    assert 'sgbm' in out
    assert 'skipped 1: pairs, sample 1: pairs/left/1.png' in err
    assert 'skipped 2: pairs, sample 2: ' in err
    assert '2 of 3 samples skipped' in err
    code, out, err = evaluate('sgbm', '--data', 'pairs', '--strict')
    assert (code, out) == (2, '')
    assert 'pairs/left/1.png' in err


FOLDER = ('--data', 'FolderPairs', '--data.root', 'pairs')


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['sgbm'], 'required: --data'),
        (['sgbm', '--data', 'Nothing'], "'Nothing' is unknown; choose one of ETH3D, KITTI"),
        (['sgbm', '--data', './nothing'], "'./nothing' is unknown"),
        (['sgbm', '--data', 'nothing.yaml'], 'there is no file nothing.yaml'),
        (['sgbm', '--data', 'empty.yaml'], 'empty.yaml names no data set'),
        (['sgbm', '--data', 'torn.yaml'], 'torn.yaml is no YAML'),
        (['sgbm', '--data', 'no.such.Class'], "No module named 'no'"),
        (['sgbm', '--data', 'KITTI'], 'arguments are required: root'),
        (['sgbm', '--data', 'KITTI', '--data.root', 'nowhere'], 'no folder nowhere'),
        (
            ['sgbm', *FOLDER, '--data.scal', '3'],
            'data.scal is unknown; FolderPairs has root, left',
        ),
        (['sgbm', *FOLDER, '--data.scale', 'x'], 'data.scale: expected float'),
        (
            ['sgbm', '--data', 'beside.yaml'],
            'data: name a class in class_path, and its settings in init_args',
        ),
        (['sgbm', *FOLDER, '--data.scale'], '--data.scale has no value'),
        (['sgbm', '--data', 'pairs', '--data.left=*/0.*'], 'error: pairs: 2 and 3 and 3 files'),
        (['sgbm', *FOLDER, '--metrics', 'epe,d2'], "metric 'd2' is unknown"),
        (['sgbm', *FOLDER, '--regions', 'some'], "'some' is none of all, noc, edges, textureless"),
        (['sgbm', 'sgbm', *FOLDER], 'sgbm is named twice'),
        (['sgbn', *FOLDER], "model 'sgbn' is unknown"),
        (['sgbm:speed=3', *FOLDER], 'sgbm:speed=3: unrecognized arguments: --speed=3'),
        (['sgbm', *FOLDER, '--max-disparity', '0'], '--max-disparity is 0; give'),
        (['sgbm', *FOLDER, '--max-disparity', '20000'], 'give a whole number in 1..4096'),
        (['sgbm', *FOLDER, '--limit', '-1'], 'argument --limit: -1 is not allowed; give 0 or'),
        (['sgbm:max-disparity', *FOLDER], 'max-disparity: expected one argument'),
    ],
)
def test_command_refuses(evaluate, arguments, words):
    Path('empty.yaml').write_text('train: null\n')
    Path('torn.yaml').write_text('a: [')
    Path('beside.yaml').write_text('data: {class_path: KITTI, root: pairs}')
    code, out, err = evaluate(*arguments)
    assert (code, out) == (2, '')
    assert words in err


@pytest.mark.parametrize(
    ('outputs', 'words'),
    [
        (['--csv', 'pairs'], 'pairs: Is a directory'),
        (['--report', '/proc/x.html'], '/proc/x.html: No such file or directory'),
        (['--json', 'data.yaml/x.json'], 'data.yaml/x.json: '),
        (['--json', 'same', '--csv', './same'], 'same is named twice'),
        (['--json', 'pairs/left/0.png'], 'pairs/left/0.png holds something else than the text'),
    ],
)
def test_outputs_that_cannot_be_written_are_refused_first(evaluate, monkeypatch, outputs, words):
    Path('data.yaml').touch()
    monkeypatch.setattr(SgbmEngine, 'run', lambda *_: pytest.fail('it has begun'))
    code, out, err = evaluate('sgbm', '--data', 'pairs', *outputs)
    assert (code, out) == (2, '')
    assert f'nndepth: error: {words}' in err
    assert '.unfinished' not in err
    assert io.read_image('pairs/left/0.png').shape == (60, 120, 3)


def test_the_table_and_other_files_stay_when_one_cannot_be_written(evaluate, monkeypatch):
    match = SgbmEngine._match

    def remove(*arguments):
        shutil.rmtree('gone', ignore_errors=True)
        Path('gone').touch()
        return match(*arguments)

    monkeypatch.setattr(SgbmEngine, '_match', remove)
    monkeypatch.setattr(SgbmEngine, 'self_test', lambda _: None)
    code, out, err = evaluate(
        'sgbm', '--data', 'pairs', '--json', 'gone/x.json', '--csv', 'all.csv'
    )
    assert code == 2
    assert 'MODEL' in out
    assert 'gone' in err
    assert Path('all.csv').is_file()


def test_missing_packages_are_told():
    assert cli.explain(ModuleNotFoundError('it needs one; pip it')) == 'it needs one; pip it'
    with pytest.raises(ModuleNotFoundError) as error:
        importlib.import_module('no_such_package')
    assert cli.explain(error.value).startswith('the Python package no_such_package is not')
    missing = ModuleNotFoundError(name='rosbags.highlevel')
    expected = 'the Python package rosbags is not installed; pip install "nndepth[bags]"'
    assert cli.explain(missing) == expected


def test_script_is_the_command(tmp_path):
    script = Path(__file__).parents[2] / 'scripts' / 'evaluate.py'
    done = subprocess.run(
        [sys.executable, script, '--help'],
        capture_output=True,
        text=True,
        env={'PYTHONPATH': str(script.parents[1])},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert 'MODEL' in done.stdout


@pytest.mark.parametrize(
    ('factor', 'words'),
    [(-1, 'opposite sign, negate it'), (0, 'is 0 at 100 %'), (256, 'multiplied by 0.00390625')],
)
def test_truth_that_cannot_be_is_told_once(evaluate, factor, words):
    for path in Path('pairs/disparity').iterdir():
        io.write_pfm(path, factor * io.read_pfm(path))
    code, _, err = evaluate('sgbm', *FOLDER, '--json', 'all.json')
    assert code == 0
    (line,) = err.splitlines()
    assert line.startswith('nndepth: warning: 0: the truth ')
    assert words in line
    (finding,) = json.loads(Path('all.json').read_text())['findings']
    assert finding['where'] == '0'


def test_a_model_of_the_other_sign_is_told_with_its_name(evaluate, monkeypatch):
    match = SgbmEngine._match
    monkeypatch.setattr(SgbmEngine, '_match', lambda *arguments: -match(*arguments))
    monkeypatch.setattr(SgbmEngine, 'self_test', lambda _: None)
    _, _, err = evaluate('sgbm:max-disparity=32', 'sgbm', *FOLDER)
    lines = err.splitlines()
    assert [line.split(', ')[0] for line in lines] == [
        'nndepth: warning: sgbm:max-disparity=32',
        'nndepth: warning: sgbm',
    ]
    assert all('the images fit the opposite sign' in line for line in lines)


def test_why_nothing_can_be_evaluated_names_options(evaluate):
    code, _, err = evaluate('sgbm', *FOLDER, '--processing-size', '4x4')
    assert code == 2
    assert err.endswith('sgbm needs at least 8x8 (set a larger --processing-size)\n')


def test_findings_name_options(evaluate, monkeypatch):
    finding = Finding('range_end', Level.WARN, f'lower processing_size ({RANGE_SETTINGS})')
    monkeypatch.setattr(stereo, 'examine_estimate', lambda *_, **__: [finding])
    _, _, err = evaluate('sgbm', *FOLDER, '--json', 'all.json')
    assert err == 'nndepth: warning: sgbm, 0: lower --processing-size (--max-disparity)\n'
    (found,) = json.loads(Path('all.json').read_text())['findings']
    assert found['text'] == 'lower --processing-size (--max-disparity)'
