"""`nndepth infer` end to end on generated pairs, and every wrong input."""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from nndepth_core import cli, io
from nndepth_core.cli.wording import as_flags
from nndepth_core.engines.sgbm import SgbmEngine
from nndepth_core.plausibility.findings import RANGE_SETTINGS
from nndepth_core.testing.commands import run_command

SHIFT, HEIGHT, WIDTH = 9, 60, 120
CAMERA = '100,100,60,30,0.18'  # F * B = 18 px m: a disparity of 9 is 2 m away


def make_pair(folder: Path, left: str, right: str, seed: int = 0, size=(HEIGHT, WIDTH)) -> None:
    """Write a pair of constant disparity SHIFT."""
    noise = np.random.default_rng(seed).integers(0, 256, (size[0], size[1] + SHIFT, 3), np.uint8)
    texture = cv2.GaussianBlur(noise, (0, 0), 1.0)
    for name, image in ((left, texture[:, :-SHIFT]), (right, texture[:, SHIFT:])):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        io.write_image(folder / name, np.ascontiguousarray(image))


def test_messages_name_the_options_of_the_command():
    args = argparse.Namespace(min_depth=0.0, camera_height=0.0, scale_source='none', model='')
    said = as_flags('camera_height is 0: below min_depth, or another scale_source', args)
    assert said == '--camera-height is 0: below --min-depth, or another --scale-source'
    kept = '/min_depth/a.min_depth is camera_height; --min-depth, my_min_depth'
    assert as_flags(kept, args) == kept
    assert as_flags('or filter.* to 0', args) == 'or --filter-* to 0'
    kept = 'run `nndepth export moge2 --set min_depth=2`'
    assert as_flags(kept, args) == kept
    args = argparse.Namespace(cloud_far_depth=5.0, filter_speckle_size=1)
    said = as_flags('cloud.far_depth is 5.0, filter.speckle_size 1; left_cloud.far_depth', args)
    assert said == '--cloud-far-depth is 5.0, --filter-speckle-size 1; left_cloud.far_depth'
    args = argparse.Namespace(
        processing_size=(0, 0), max_disparity=None, rectify=False, weights=''
    )
    said = as_flags(f'lower processing_size, or search farther ({RANGE_SETTINGS})', args)
    assert said == 'lower --processing-size, or search farther (--max-disparity)'
    said = as_flags('set rectify to true, or set weights; weights that rectify', args)
    assert said == 'set --rectify to true, or set --weights; weights that rectify'
    assert (
        as_flags('for raw images set rectify', argparse.Namespace())
        == 'for raw images set rectify'
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_pair(tmp_path, 'left.png', 'right.png')
    io.write_pfm('truth.pfm', np.full((HEIGHT, WIDTH), SHIFT + 0.75, np.float32))
    return tmp_path


@pytest.fixture
def infer(folder, capsys):
    """Run the command in the folder; returns (exit code, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        return run_command(capsys, 'infer', '--model', 'sgbm', *arguments, '--max-disparity', 30)

    return run


def test_one_pair_in_every_format(infer, folder):
    code, out, err = infer(
        'left.png', 'right.png', '--calibration', CAMERA, '--output', 'out', '--confidence',
        '--formats', 'pfm,kitti,npy,depth,color,ply', '--truth', 'truth.pfm',
    )  # fmt: skip
    assert (code, err) == (0, '')
    disparity = io.read_disparity('out/left_disparity.pfm')
    assert disparity.shape == (HEIGHT, WIDTH)
    assert np.nanmedian(disparity) == SHIFT
    np.testing.assert_array_equal(np.load('out/left_disparity.npy'), disparity)
    np.testing.assert_allclose(
        io.read_disparity('out/left_disparity.png'), disparity, atol=1 / 512
    )
    depth = np.load('out/left_depth.npy')
    np.testing.assert_allclose(depth, 18 / disparity, rtol=1e-5)
    assert np.median(cv2.imread('out/left_depth.png', cv2.IMREAD_UNCHANGED)) == 2000
    points = Path('out/left_points.ply').read_bytes()
    assert f'element vertex {np.isfinite(disparity).sum()}\n'.encode() in points
    confidence = cv2.imread('out/left_confidence.png', cv2.IMREAD_UNCHANGED)
    assert (confidence.dtype, confidence.shape) == (np.uint8, disparity.shape)
    assert np.median(confidence) == 255
    assert io.read_image('out/left_disparity_color.png').shape == (HEIGHT, WIDTH, 3)
    assert io.read_image('out/left_panel.png').shape[1] == 2 * WIDTH  # four pictures, two rows

    results = json.loads(Path('out/results.json').read_text())
    (record,) = results['pairs']
    assert (results['model'], results['engine'], results['device']) == ('sgbm', 'opencv', 'cpu')
    assert sorted(record['files']) == sorted(
        path.name for path in Path('out').iterdir() if path.name != 'results.json'
    )
    metrics = record['metrics']
    assert metrics['epe'] == pytest.approx(0.75, abs=0.05)
    assert metrics['bad_0.5'] > 99 > 1 > metrics['d1_all_filled']
    header, row = out.strip().splitlines()
    assert header.split() == [
        'pair', 'size', 'ms', 'finite', '%', 'EPE', 'bad-1', 'bad-2', 'bad-3', 'D1-all',
    ]  # fmt: skip
    assert row.split()[:2] == ['left', '120x60']
    assert row.split()[4] == f'{metrics["epe"]:.3f}'


def test_near_is_red_in_every_picture(infer, folder):
    """The lower half of the scene stands nearer: disparity 18 before 9, depth 1 m before 2 m."""
    near = io.read_image('right.png')[HEIGHT // 2 :, SHIFT:]
    image = io.read_image('right.png')
    image[HEIGHT // 2 :, :-SHIFT] = near
    io.write_image('right.png', image)
    assert infer('left.png', 'right.png', '--calibration', CAMERA)[0] == 0
    panel = io.read_image('nndepth_output/left_panel.png').astype(int)
    strip = panel.shape[0] - HEIGHT
    for tile in (1, 2):
        middle = slice(tile * WIDTH + 40, tile * WIDTH + 90)
        upper, lower = panel[strip + 5 : strip + 22, middle], panel[strip + 38 : -5, middle]
        assert np.median(upper[..., 2] - upper[..., 0]) > 0
        assert np.median(lower[..., 0] - lower[..., 2]) > 0


def test_default_formats(infer):
    assert infer('left.png', 'right.png')[0] == 0
    names = {path.name for path in Path('nndepth_output').iterdir()}
    plain = {'left_disparity.pfm', 'left_disparity_color.png', 'left_panel.png', 'results.json'}
    assert names == plain
    assert infer('left.png', 'right.png', '--calibration', CAMERA, '--output', 'metric')[0] == 0
    names = {path.name for path in Path('metric').iterdir()}
    assert names == plain | {'left_depth.npy', 'left_depth.png'}


def test_processing_size_and_threshold(infer):
    _, out, _ = infer(
        'left.png', 'right.png', '--processing-size', '60x30', '--confidence-threshold', '0.6',
        '--formats', 'npy', '--json',
    )  # fmt: skip
    disparity = np.load('nndepth_output/left_disparity.npy')
    assert disparity.shape == (HEIGHT, WIDTH)
    assert abs(np.nanmedian(disparity) - SHIFT) < 0.5
    assert np.isnan(disparity[:, :6]).all()  # the right camera does not see this strip
    assert 'confidence' not in ' '.join(json.loads(out)['pairs'][0]['files'])


def test_filters_limits_and_sigma(infer):
    code, _, err = infer(
        'left.png', 'right.png', '--calibration', CAMERA, '--output', 'out', '--formats',
        'npy,depth,sigma', '--disparity-sigma', 0.5, '--filter-border', 12, '--max-depth', 1.5,
    )  # fmt: skip
    assert code == 0
    assert '(median 2 m) are farther than --max-depth (1.5 m)' in err
    disparity, depth, sigma = (
        np.load(f'out/left_{name}.npy') for name in ('disparity', 'depth', 'sigma')
    )
    kept = np.zeros((HEIGHT, WIDTH), bool)
    kept[12:-12, 12 + SHIFT : -12] = True
    np.testing.assert_array_equal(np.isfinite(disparity), kept)
    assert (depth[kept] == np.inf).all()
    assert np.isnan(depth[~kept]).all()
    assert np.isnan(sigma).all()
    infer(
        'left.png', 'right.png', '--calibration', CAMERA, '--output', 'out', '--formats',
        'npy,depth,sigma', '--disparity-sigma', 0.5,
    )  # fmt: skip
    depth, sigma = (np.load(f'out/left_{name}.npy') for name in ('depth', 'sigma'))
    np.testing.assert_allclose(sigma, 0.5 * depth**2 / 18, rtol=1e-5)


def test_clouds_keep_the_points_that_options_say(infer, folder):
    common = ('left.png', 'right.png', '--calibration', CAMERA, '--output', 'out', '--formats')
    code, _, err = infer(
        *common, 'npy,cloud', '--cloud-stride', 4, '--cloud-voxel-size', 0, '--max-depth', 2.1
    )
    assert (code, err) == (0, '')
    header, _, body = Path('out/left_cloud.ply').read_bytes().partition(b'end_header\n')
    points = np.frombuffer(body, [('xyz', '<f4', 3), ('rgb', 'u1', 3)])
    disparity = np.load('out/left_disparity.npy')[::4, ::4]
    seen = disparity > 18 / 2.1
    assert f'element vertex {seen.sum()}\n'.encode() in header
    np.testing.assert_allclose(points['xyz'][:, 2], 18 / disparity[seen], rtol=1e-5)
    np.testing.assert_array_equal(points['rgb'], io.read_image('left.png')[::4, ::4][seen])
    growing = ('--cloud-voxel-size', 0.01, '--cloud-voxel-sigmas', 3, '--disparity-sigma')
    sizes = []
    for sigma in (1e-3, 1):
        assert infer(*common, 'cloud', *growing, sigma)[0] == 0
        sizes.append(Path('out/left_cloud.ply').stat().st_size)
    assert sizes[0] > 2 * sizes[1]
    for options, message in (
        (('npy', '--cloud-stride', 2), '--cloud-... say which points cloud keeps; add it'),
        (('cloud', '--cloud-stride', 0), '--cloud-stride is 0'),
        (('cloud', '--cloud-voxel-sigmas', 2), 'sigma is not known, for sgbm has no confidence'),
    ):
        code, _, err = infer(*common, *options)
        assert code == 2
        assert message in err


def test_folders_match_by_name_and_a_bad_pair_does_not_stop_the_rest(infer, folder):
    for seed, name in enumerate(('a.png', 'b.png', 'c.png', 'd.png')):
        make_pair(folder, f'l/{name}', f'r/{name}', seed)
    make_pair(folder, 'other.png', 'r/c.png', size=(HEIGHT, WIDTH + 2))
    Path('l/b.png').write_bytes(b'no picture')
    (folder / 't').mkdir()
    for name, coded in (('a', 72), ('b', 72), ('c', 72), ('d', 80)):
        cv2.imwrite(f't/{name}.png', np.full((HEIGHT, WIDTH), coded, np.uint8))
    code, out, err = infer('l', 'r', '--truth', 't', '--truth-scale', 8, '--json')
    assert code == 1
    assert 'nndepth: error: pair b: l/b.png cannot be read as an image' in err
    assert 'nndepth: error: pair c: left is 120x60 and right 122x60' in err
    assert 'Traceback' not in err
    results = json.loads(out)
    assert results == json.loads(Path('nndepth_output/results.json').read_text())
    assert [('error' in record) for record in results['pairs']] == [False, True, True, False]
    epe = [record['metrics']['epe'] for record in results['pairs'] if 'metrics' in record]
    np.testing.assert_allclose(epe, [0, 1], atol=0.05)
    assert results['mean']['epe'] == pytest.approx(np.mean(epe))

    _, out, _ = infer('l', 'r', '--truth', 't', '--truth-scale', 8)
    rows = [line.split()[:2] for line in out.strip().splitlines()]
    assert rows[1:4] == [['a', '120x60'], ['b', 'failed'], ['c', 'failed']]
    assert rows[5][0] == 'mean'


def test_globs_match_by_order_and_names_stay_apart(infer, folder):
    for seed, scene in enumerate(('one', 'two')):
        make_pair(folder / scene, 'im2.png', 'im6.png', seed)
    assert infer('*/im2.png', '*/im6.png', '--formats', 'pfm')[0] == 0
    names = {path.name for path in Path('nndepth_output').glob('*.pfm')}
    assert names == {'one_im2_disparity.pfm', 'two_im2_disparity.pfm'}


def test_pairs_that_differ_only_in_their_suffix_have_files_of_their_own(infer, folder):
    for suffix in ('png', 'bmp'):
        make_pair(folder, f'x/a.{suffix}', f'y/a.{suffix}')
    assert infer('x', 'y', '--output', 'out')[0] == 0
    assert sorted(path.name for path in Path('out').glob('*.pfm')) == [
        'a_bmp_disparity.pfm',
        'a_png_disparity.pfm',
    ]


def test_nothing_estimated_is_null_in_json(infer, monkeypatch):
    nothing = np.full((HEIGHT, WIDTH), np.nan, np.float32)
    monkeypatch.setattr(SgbmEngine, '_match', lambda *_: nothing)
    monkeypatch.setattr(SgbmEngine, 'self_test', lambda _: None)
    code, out, _ = infer(
        'left.png', 'right.png', '--truth', 'truth.pfm', '--json',
        '--calibration', CAMERA, '--formats', 'pfm,kitti,npy,depth,color,ply',
    )  # fmt: skip
    results = json.loads(out, parse_constant=pytest.fail)
    assert code == 0
    assert results['pairs'][0]['density'] == 0
    assert results['pairs'][0]['metrics']['epe'] is None


WRONG_CALLS = {
    'no file there': ['nowhere.png', 'right.png'],
    'no file of the kinds': ['empty', 'right.png'],
    'files cannot be matched': ['pair', 'right.png'],
    'depth and ply cannot be written without --calibration': ['--formats', 'pfm,depth,ply'],
    "'obj' is none of pfm": ['--formats', 'obj'],
    "'640' is no size": ['--processing-size', '640'],
    "model 'raft' is unknown": ['--model', 'raft'],
    'hit.onnx has its own range of disparities; leave --max-disparity out': [
        '--model',
        'hit.onnx',
    ],
    '--max-disparity is 30; give a multiple of 64 in 64..1024': ['--model', 'nano_stereo'],
    'sgbm takes no --inputs, --input-range': ['--inputs', 'a,b', '--input-range', '0,1'],
    "engine 'magic' is unknown": ['--engine', 'magic'],
    "device 'tpu' is unknown": ['--device', 'tpu'],
    '--confidence-threshold is 2.0': ['--confidence-threshold', '2'],
    'sgbm takes no --weights, --threads; leave that out': ['--weights', 'x', '--threads', '-7'],
    'inf is not allowed; give a number larger than 0': ['--truth-scale', 'inf'],
    'nowhere.txt: No such file': ['--calibration', 'nowhere.txt'],
    'is no calibration of a pair': ['--calibration', 'truth.pfm'],
    '0,0,1,1,1: the focal lengths are fx = 0 and': ['--calibration', '0,0,1,1,1'],
    'five or six numbers': ['--calibration', '1,2,3'],
    'truth.png: no file there': ['--truth', 'truth.png'],
    'left.png: is a file; name a folder': ['--output', 'left.png'],
    '3 images are given; give LEFT and RIGHT': [
        'left.png',
        'right.png',
        'third.png',
    ],
}


WRONG_CALLS |= {
    '--filter-flying is -2; give a whole number in 0..100': ['--filter-flying', '-2'],
    '--filter-speckle-size is -1; give': ['--filter-speckle-size', '-1'],
    '--filter-smoothing is nan; give': ['--filter-smoothing', 'nan'],
    '--filter-smoothing is 0.5, but files have no time': ['--filter-smoothing', '0.5'],
    '--max-depth must be larger': ['--min-depth', '3', '--max-depth', '2'],
    '--disparity-sigma is -1.0; give': ['--disparity-sigma', '-1'],
    'sgbm has no confidence that is calibrated': [
        '--formats', 'sigma', '--calibration', CAMERA,
    ],
}  # fmt: skip


@pytest.mark.parametrize(('words', 'arguments'), WRONG_CALLS.items())
def test_wrong_calls_end_with_one_line(infer, folder, words, arguments):
    (folder / 'empty').mkdir()
    make_pair(folder, 'pair/a.png', 'pair/b.png')
    named = ['left.png', 'right.png'] if arguments[0].startswith('-') else []
    code, _, err = infer(*named, *arguments)
    assert code == 2
    assert ': error: ' in err.strip().splitlines()[-1]
    assert words in err.strip().splitlines()[-1]
    assert 'Traceback' not in err


@pytest.mark.parametrize(
    ('words', 'arguments'),
    [
        ('truth is 3x2 and the disparity 120x60', ['--truth', 'small.npy']),
        ('8 bits, which do not tell its scale', ['--truth', 'coded.png']),
        ('no known pixel', ['--truth', 'unknown.npy']),
        ('is for images of 640x480', ['--calibration', 'calib.txt']),
        ('sgbm needs at least 8x8 (set a larger --processing-size)', ['--processing-size', '4x4']),
        (
            'memory: set a smaller --processing-size (0: that of the',
            ['--processing-size', '20000x20000'],
        ),
    ],
)
def test_wrong_data_fails_the_pair(infer, folder, words, arguments):
    np.save('small.npy', np.ones((2, 3), np.float32))
    np.save('unknown.npy', np.full((HEIGHT, WIDTH), np.nan, np.float32))
    cv2.imwrite('coded.png', np.full((HEIGHT, WIDTH), 9, np.uint8))
    Path('calib.txt').write_text(
        'cam0=[9 0 3; 0 9 2; 0 0 1]\ndoffs=0\nbaseline=100\nwidth=640\nheight=480\n'
    )
    code, out, err = infer('left.png', 'right.png', *arguments)
    assert code == 1
    assert err.startswith('nndepth: error: pair left: ')
    assert words in err
    assert 'failed' in out


def test_one_cause_of_many_failures_is_told_once(infer, folder):
    for index in range(3):
        make_pair(folder, f'l/{index}.png', f'r/{index}.png')
    Path('calib.txt').write_text(
        'cam0=[9 0 3; 0 9 2; 0 0 1]\ndoffs=0\nbaseline=100\nwidth=640\nheight=480\n'
    )
    code, out, err = infer('l', 'r', '--calibration', 'calib.txt')
    assert code == 1
    assert err.count('is for images of 640x480') == 1
    assert out.count('failed') == 3


def test_settings_of_sgbm_reach_it_where_it_is_the_default(infer):
    code, _, err = infer('left.png', 'right.png', '--model', 'auto', '--engine', 'opencv')
    assert (code, err) == (0, '')
    assert json.loads(Path('nndepth_output/results.json').read_text())['model'] == 'sgbm'


def test_command_line_of_its_own(folder):
    """Through a fresh interpreter: help, version and errors, without importing ROS."""

    def run(*arguments: str) -> subprocess.CompletedProcess:
        code = (
            'import sys; from nndepth_core.cli import main\n'
            'try: code = main()\n'
            'finally: print(sorted({"rclpy", "nndepth_ros"} & set(sys.modules)))\n'
            'sys.exit(code)'
        )
        environment = {'PYTHONPATH': str(Path(cli.__file__).parents[2])}
        return subprocess.run(
            [sys.executable, '-c', code, *arguments],
            capture_output=True,
            text=True,
            env=environment,
        )

    top = run('--help')
    assert (top.returncode, top.stdout.splitlines()[-1]) == (0, '[]')
    for name, (_, summary) in cli.COMMANDS.items():
        assert name in top.stdout
        assert summary in top.stdout
    assert run('infer', '--help').stdout.splitlines()[-1] == '[]'
    failed = run('infer', 'left.png', 'nowhere.png')
    assert failed.returncode == 2
    assert failed.stderr.startswith('nndepth: error: nowhere.png: no file there')


@pytest.mark.parametrize('arguments', [[], ['nonsense'], ['infer']])
def test_incomplete_calls_show_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert 'usage: nndepth' in capsys.readouterr().err


def test_interruption_and_missing_packages(monkeypatch, capsys, folder):
    def interrupt(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr('nndepth_core.cli.infer.main', interrupt)
    assert cli.main(['infer', 'left.png', 'right.png']) == 130
    monkeypatch.setitem(cli.COMMANDS, 'replay', ('no_such_package', 'nothing'))
    assert cli.main(['replay']) == 2
    assert 'package no_such_package is not installed' in capsys.readouterr().err


def test_output_that_cannot_hold_the_disparity_is_named(infer, folder, monkeypatch):
    monkeypatch.setattr(io, 'KITTI_SCALE', 65536)
    code, _, err = infer('left.png', 'right.png', '--formats', 'kitti')
    assert code == 1
    assert 'write pfm or npy' in err


def test_what_cannot_be_true_is_told_once(infer, folder, monkeypatch):
    """A model of the other sign, a baseline in millimetres and truth of the wrong scale."""
    match = SgbmEngine._match
    monkeypatch.setattr(SgbmEngine, '_match', lambda *arguments: -match(*arguments))
    monkeypatch.setattr(SgbmEngine, 'self_test', lambda _: None)
    for number in range(3):
        make_pair(folder, f'l/{number}.png', f'r/{number}.png', number)
        (folder / 't').mkdir(exist_ok=True)
        io.write_pfm(folder / f't/{number}.pfm', np.full((HEIGHT, WIDTH), SHIFT * 4, np.float32))
    calibration = CAMERA.replace('0.18', '180')
    arguments = ['l', 'r', '--calibration', calibration, '--truth', 't', '--output', 'out']
    code, _, err = infer(*arguments)
    results = json.loads((folder / 'out/results.json').read_text())
    codes = ['baseline', 'truth_scale', 'negative_disparity']
    assert (code, [finding['code'] for finding in results['findings']]) == (0, codes)
    assert [pair['density'] for pair in results['pairs']] == [0, 0, 0]
    lines = err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith('nndepth: warning: pair 0: ') for line in lines)
    assert 'times millimetres would mean 0.18 m' in lines[0]
    assert 'multiplied by 0.25' in lines[1]
    assert 'the images fit the opposite sign' in lines[2]
    assert 'baseline' not in infer(*arguments, '--max-baseline', 200)[2]


@pytest.mark.parametrize(
    ('numbers', 'code', 'words'),
    [
        ('1,1,0.5,0.5,0.1', 'field_of_view', 'share of the .* size it would mean 120 px'),
        ('1e-300,100,60,30,0.1', 'field_of_view', 'fx .* is 1e-300 px .* of 180 degrees'),
        ('100,9000,60,30,0.1', 'field_of_view', 'fy of the left camera .* 60 px high'),
        ('100,100,1600,30,0.1', 'principal_point', 'cx = 1600 .* outside of its image of 120x60'),
    ],
)
def test_implausible_intrinsics_are_told(infer, folder, numbers, code, words):
    returned, _, err = infer('left.png', 'right.png', '--calibration', numbers, '--output', 'o')
    results = json.loads((folder / 'o/results.json').read_text())
    assert returned == 0
    assert code in [finding['code'] for finding in results['findings']]
    assert re.search(words, err)
    assert err.count('field of view') <= 1


def test_rows_that_are_not_rectified_are_told(infer, folder):
    left, right = ('100 0 60 0 0 100 30 0 0 0 1 0', '100 0 60 -18 0 100 33 0 0 0 1 0')
    (folder / 'calib.txt').write_text(f'P0: {left}\nP1: {right}\n')
    _, _, err = infer('left.png', 'right.png', '--calibration', 'calib.txt')
    assert 'cy differs: left P[6] = 30, right 33; rows of a rectified pair share cy' in err
