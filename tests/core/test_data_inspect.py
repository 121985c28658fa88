"""The check of truth by warping, and `nndepth data inspect`."""

import re
from dataclasses import replace

import dataset_trees as trees
import numpy as np
import pytest
import scenes

from nndepth_core import io
from nndepth_core.cli import data
from nndepth_core.data.datasets import FolderPairs
from nndepth_core.data.inspect import TRUTH, check_truth, picture
from nndepth_core.data.inspect_depth import AS_IT_IS, check_depth
from nndepth_core.data.sample import MonoSample, StereoSample


@pytest.fixture
def sample() -> StereoSample:
    """A textured slope and a nearer square, seen under two exposures and with noise."""
    left, right, disparity = scenes.slope(160)
    rng = np.random.default_rng(3)
    left = np.clip(left * 0.7 + 12 + rng.normal(0, 2, left.shape), 0, 255).astype(np.uint8)
    return StereoSample(left, right, disparity, name='slope')


def test_the_truth_fits(sample):
    check = check_truth(sample)
    assert check.problem == ''
    assert check.name == 'slope'
    assert (check.low, check.high, check.density) == (8, 26, 1)
    best = min(check.errors, key=check.errors.__getitem__)
    assert best == TRUTH
    assert check.errors[TRUTH] < 0.5 * sorted(check.errors.values())[1]


@pytest.mark.parametrize(
    ('change', 'problem'),
    [
        (lambda truth: truth + 2, r'better 2 px smaller'),
        (lambda truth: truth - 2, r'better 2 px larger'),
        (lambda truth: truth / 2, r'better twice as large; is it that of smaller images'),
        (lambda truth: truth * 2, r'better half as large; is it that of larger images'),
        (lambda truth: truth[::-1].copy(), r'no better than wrong disparities'),
        (lambda truth: truth * 256, r'hardly any pixel .* is the scale right'),
        (lambda truth: np.full_like(truth, np.nan), r'no pixel has a disparity'),
        (lambda truth: -truth, r'negative, down to -26.0 px; .* better of the other sign'),
    ],
)
def test_wrong_truths_are_told(sample, change, problem):
    check = check_truth(replace(sample, disparity=change(sample.disparity)))
    assert re.search(problem, check.problem), check.problem


def test_swapped_images_are_told(sample):
    check = check_truth(replace(sample, left=sample.right, right=sample.left))
    assert 'better of the other sign; are left and right swapped?' in check.problem


def test_occluded_pixels_do_not_count(sample):
    left = sample.left.copy()
    left[:, :100] = 255 - left[::-1, :100]
    damaged = replace(sample, left=left)
    hidden = np.zeros(sample.disparity.shape, bool)
    hidden[:, :106] = True
    assert check_truth(damaged).errors[TRUTH] > 0.5
    assert check_truth(replace(damaged, occluded=hidden)).errors[TRUTH] < 0.3


def test_small_disparities_have_no_double(sample):
    far = replace(sample, left=sample.right, disparity=np.full_like(sample.disparity, 0.1))
    check = check_truth(far)
    assert set(check.errors) == {TRUTH, '2 px larger', '2 px smaller'}
    assert check.problem == ''


def test_pictures_show_what_there_is(sample):
    plain = picture(sample)
    hidden = picture(replace(sample, occluded=np.zeros(sample.disparity.shape, bool)))
    assert plain.dtype == np.uint8
    assert plain.shape == hidden.shape == (2 * (96 + 16), 3 * 160, 3)
    large = np.zeros((1000, 2000, 3), np.uint8)
    mono = picture(MonoSample(large, np.ones((1000, 2000), np.float32)))
    assert mono.shape[1] == 2 * 640


def test_the_command_writes_pictures_and_names_wrong_files(tmp_path, capsys):
    trees.folder_pairs(tmp_path)
    arguments = ['inspect', '--data', str(tmp_path), '--output', str(tmp_path / 'out')]
    assert data.main(arguments) == 0
    assert '0 of 2 samples look wrong' in capsys.readouterr().out
    pictures = sorted(path.name for path in (tmp_path / 'out').iterdir())
    assert pictures == ['000000_0001.png', '000001_0002.png']
    for wrong, name in ((trees.DISPARITY + 2, '0001'), (b'Pf', '0002')):
        trees.write(tmp_path / 'disparity' / f'{name}.pfm', wrong)
    assert data.main([*arguments, '--data.camera=calib.txt']) == 1
    told = capsys.readouterr().out
    assert '0001: the images fit the truth better 2 px smaller' in told
    assert f'disparity: {tmp_path / "disparity" / "0001.pfm"}' in told
    assert f'sample 0002: {tmp_path / "disparity" / "0002.pfm"} does not begin' in told
    assert '2 of 2 samples look wrong' in told


def test_the_command_takes_part_of_the_samples(tmp_path, capsys):
    trees.folder_pairs(tmp_path)
    assert data.main(['inspect', '--data', str(tmp_path), '--samples', '1']) == 0
    assert '0 of 1 samples look wrong' in capsys.readouterr().out
    assert len(FolderPairs(tmp_path)) == 2


@pytest.fixture
def single() -> MonoSample:
    """Boxes before a wall, each of its own brightness."""
    depth, image = np.full((96, 160), 9.0, np.float32), np.full((96, 160, 3), 80, np.uint8)
    for number, (top, left) in enumerate([(10, 12), (20, 60), (70, 30), (40, 110)]):
        depth[top : top + 22, left : left + 30] = 2 + number
        image[top : top + 22, left : left + 30] = 120 + 30 * number
    return MonoSample(image, depth, name='boxes')


def test_depth_that_fits_its_image(single):
    check = check_depth(single)
    assert (check.name, check.problem) == ('boxes', '')
    assert (check.low, check.high, check.density) == (2, 9, 1)
    assert check.contrasts[AS_IT_IS] > 3 * max(
        value for name, value in check.contrasts.items() if name != AS_IT_IS
    )
    sparse = np.where(np.random.default_rng(0).random(single.depth.shape) < 0.05, 1, np.nan)
    assert check_depth(replace(single, depth=single.depth * sparse)).contrasts == {}


@pytest.mark.parametrize(
    ('change', 'problem'),
    [
        (np.fliplr, 'edges of the image better mirrored'),
        (np.flipud, 'better upside down'),
        (lambda depth: depth[::-1, ::-1], 'better turned by half'),
        (lambda depth: 1000 * depth, r'below 9000 m; is the stored value of one metre right'),
        (lambda depth: depth / 256, r'below 0\.03516 m'),
        (lambda depth: depth - 4, r'not positive, down to -2 m'),
        (np.ones_like, 'the depth is 1 everywhere'),
        (lambda depth: depth * np.nan, 'no pixel has a depth'),
    ],
)
def test_wrong_depths_are_told(single, change, problem):
    check = check_depth(replace(single, depth=np.ascontiguousarray(change(single.depth))))
    assert re.search(problem, check.problem), check.problem


def test_images_without_contrast_are_told(single):
    assert 'grey levels' in check_depth(replace(single, image=single.image // 40)).problem


def test_the_command_looks_at_single_images_too(single, tmp_path, capsys):
    depths = {'right': single.depth, 'wrong': np.fliplr(single.depth)}
    for name, depth in depths.items():
        for folder, write, values in (
            ('image', io.write_image, single.image),
            ('depth', io.write_depth, np.ascontiguousarray(depth)),
        ):
            (tmp_path / folder).mkdir(exist_ok=True)
            write(tmp_path / folder / f'{name}.png', values)
    arguments = ['inspect', '--output', str(tmp_path / 'out'), '--data']
    assert data.main([*arguments, str(tmp_path)]) == 1
    head, *_ = told = capsys.readouterr().out.splitlines()
    assert head.split('  ')[-1].strip() == 'verdict'
    assert 'depth' in head
    assert f'    depth: {tmp_path / "depth" / "wrong.png"}' in told
    assert told[-1].endswith(': 1 of 2 samples look wrong')
    assert len(list((tmp_path / 'out').iterdir())) == 2
    source = tmp_path / 'data.yaml'
    source.write_text(f'class_path: FolderDepth\ninit_args: {{root: {tmp_path}}}\n')
    assert data.main([*arguments, str(source)]) == 1
    assert data.main([*arguments, 'ProceduralMono', '--samples', '1']) == 0


@pytest.mark.parametrize(
    'wrong', [('--shift', 'nan'), ('--shift', 'inf'), ('--shift', '0'), ('--samples', '-1')]
)
def test_numbers_without_meaning_are_refused(wrong, capsys):
    with pytest.raises(SystemExit):
        data.main(['inspect', '--data', '.', *wrong])
    assert f'argument {wrong[0]}: {wrong[1]} is not allowed' in capsys.readouterr().err


def test_an_empty_folder_is_called_so_for_either_task(tmp_path):
    with pytest.raises(ValueError, match=r'is empty; a data set of pairs .* of single images'):
        data.main(['inspect', '--data', str(tmp_path)])
