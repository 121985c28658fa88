"""Comparison of two maps by hand, and `nndepth compare` on generated pairs."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from nndepth_core import StereoEstimator, io
from nndepth_core.data.image_files import ImagePairs
from nndepth_core.engines.sgbm import SgbmEngine
from nndepth_core.evaluation.compare import SideBySide, agreement, closer
from nndepth_core.evaluation.evaluate import evaluate
from nndepth_core.evaluation.stereo import StereoMeasures
from nndepth_core.testing.commands import run_command

NAN = np.nan
SHIFT, HEIGHT, WIDTH = 9, 60, 120


def row(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


def test_agreement_by_hand():
    figures = agreement(row(1, 2, 3, 10, NAN, NAN, 7, 8), row(1, 2.5, 5, 6, 4, NAN, NAN, NAN))
    assert figures == {
        'mean_difference': pytest.approx(6.5 / 4),
        'median_difference': 1.25,
        'differ_1': 50,
        'differ_3': 25,
        'only_a': 25,
        'only_b': 12.5,
    }


def test_nothing_in_common():
    figures = agreement(row(1, NAN), row(NAN, 1))
    assert np.isnan(figures['mean_difference'])
    assert (figures['only_a'], figures['only_b']) == (50, 50)


def test_a_sample_without_anything_in_common_says_so_and_spoils_no_mean():
    side_by_side = SideBySide(['a', 'b'], StereoMeasures(truth=False))
    side_by_side.differences['bare'] = agreement(row(1, NAN, NAN, NAN), row(NAN, np.inf, NAN, NAN))
    side_by_side.differences['good'] = agreement(row(1, 2), row(2, 4))
    assert side_by_side.mean()['mean_difference'] == 1.5
    (why,) = side_by_side.apart().values()
    assert 'of A alone 25 %, of B alone 0 %' in why


def test_closer_counts_missing_estimates_as_farthest():
    truth = row(5, 5, 5, 5, 5, NAN)
    shares = closer(row(5, 6, NAN, 9, NAN, 5), row(6, 5, 50, 1, NAN, 9), truth)
    assert shares == {'a_closer': 20, 'b_closer': 40}
    assert np.isnan(closer(truth, truth, row(*[NAN] * 6))['a_closer'])


@pytest.fixture
def compare(tmp_path, monkeypatch, capsys):
    """Run the command in a folder with two pairs; returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    for index in range(2):
        noise = np.random.default_rng(index).integers(0, 256, (HEIGHT, WIDTH + SHIFT, 3), np.uint8)
        texture = cv2.GaussianBlur(noise, (0, 0), 1.0)
        for kind, image in (('left', texture[:, :-SHIFT]), ('right', texture[:, SHIFT:])):
            (tmp_path / kind).mkdir(exist_ok=True)
            io.write_image(tmp_path / kind / f'{index}.png', np.ascontiguousarray(image))
        (tmp_path / 'disparity').mkdir(exist_ok=True)
        truth = np.full((HEIGHT, WIDTH), SHIFT, np.float32)
        io.write_pfm(tmp_path / 'disparity' / f'{index}.pfm', truth)

    return partial(run_command, capsys, 'compare')


MODELS = ('sgbm:max-disparity=32', 'sgbm:max-disparity=16:processing-size=60x0')


def test_images_without_truth(compare):
    code, out, err = compare(*MODELS, 'left', 'right', '--output', 'out', '--json', 'out.json')
    assert (code, err) == (0, '')
    a, b, _, head, *rows = out.splitlines()
    assert (a, b) == (f'A: {MODELS[0]}', f'B: {MODELS[1]}')
    assert ' '.join(head.split()) == 'PAIR SIZE ms A ms B mean |A-B| px >1 px % >3 px %'
    assert [line.split()[0] for line in rows] == ['0', '1', 'mean,']
    pictures = [io.read_image(path) for path in sorted(Path('out').iterdir())]
    assert [picture.shape for picture in pictures] == [(2 * (HEIGHT + 16), 2 * WIDTH, 3)] * 2
    content = json.loads(Path('out.json').read_text())
    assert content['differences']['0']['mean_difference'] < 1
    assert content['differences']['0']['a_closer'] is None


def test_images_with_truth(compare):
    code, out, err = compare(
        *MODELS, '--truth', 'disparity/0.pfm', '--output', 'out', 'left/0.png', 'right/0.png'
    )
    assert (code, err) == (0, '')
    *_, head, first = out.splitlines()
    assert head.split('  ')[-2:] == ['A closer %', 'B closer %']
    assert float(first.split()[-2]) > 50
    assert float(first.split()[4]) < float(first.split()[5])  # EPE A, EPE B
    assert io.read_image('out/0.png').shape == (2 * (HEIGHT + 16), 4 * WIDTH, 3)


def test_data_set(compare):
    pytest.importorskip('jsonargparse')
    code, out, err = compare(*MODELS, '--data', 'FolderPairs', '--data.root=.', '--json', '-')
    assert (code, err) == (0, '')
    assert json.loads(out)['models'][0]['mean']['all']['epe'] < 0.1
    assert len(list(Path('nndepth_comparison').iterdir())) == 2


def test_every_pair_has_a_picture_of_its_own(compare):
    sample = ImagePairs('left', 'right')[0]
    names = ('a/b', 'a_b', 'a_b')
    models = {name: StereoEstimator(SgbmEngine()) for name in 'AB'}
    measures = StereoMeasures(truth=False)
    side_by_side = SideBySide('AB', measures, Path())
    samples = [replace(sample, name=name) for name in names]
    evaluate(models, Listed(samples), measures, observe=side_by_side)
    assert len(side_by_side.differences) == len(list(Path().glob('a_b*.png'))) == 3


class Listed(list):
    """A data set in memory."""

    name = 'listed'


def test_broken_pairs(compare):
    Path('right/1.png').write_bytes(b'')
    code, _, err = compare(*MODELS, 'left', 'right')
    assert code == 1
    assert 'right/1.png' in err
    assert '1 of 2 samples skipped' in err
    assert compare(*MODELS, 'left', 'right', '--strict')[0] == 2


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['left'], 'give LEFT and RIGHT images behind the models, or --data'),
        (['left', 'right', '--data', 'KITTI'], 'give LEFT and RIGHT images'),
        (['left', 'nowhere'], 'nowhere: no file'),
    ],
)
def test_refusals(compare, arguments, words):
    code, out, err = compare(*MODELS, *arguments)
    assert (code, out) == (2, '')
    assert words in err


def test_pairs_of_files_have_unknown_truth(compare):
    pairs = ImagePairs('left', 'right')
    assert len(pairs) == 2
    assert np.isnan(pairs[0].disparity).all()
    assert (ImagePairs('left', 'right', 'disparity', 3.0)[1].disparity == 3).all()
