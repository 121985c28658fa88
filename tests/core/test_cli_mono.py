"""`nndepth infer`, `evaluate` and `compare` with models of single images, and every wrong call."""

import json
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from mono_onnx import write_mono_onnx

from nndepth_core import io
from nndepth_core.testing.commands import run_command

HEIGHT, WIDTH = 60, 120


def reds(index: int = 0) -> np.ndarray:
    """Steps of brightness, float (H, W)."""
    steps = np.linspace(40, 240, 6) - 10 * index
    return np.repeat(steps, WIDTH // 6)[None].repeat(HEIGHT, axis=0).round().astype(np.float32)


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run a command in a folder with two images and models of each output."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'images').mkdir()
    for index in range(2):
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        image[..., 0] = reds(index)
        io.write_image(tmp_path / 'images' / f'{index}.png', image)
    for output in ('depth', 'inverse_depth', 'relative_depth'):
        write_mono_onnx(f'{output}.onnx', output)

    return partial(run_command, capsys)


def outputs(folder: str) -> set[str]:
    return {path.name for path in Path(folder).iterdir()}


# --- infer ---------------------------------------------------------------------------------------


def test_metres_are_filtered_and_limited(command):
    code, _, err = command(
        'infer', 'images/0.png', '--model', 'depth.onnx', '--formats', 'npy', '--output', 'out',
        '--filter-border', 7, '--max-depth', 1.9,
    )  # fmt: skip
    assert (code, err) == (0, '')
    depth, expected = np.load('out/0_depth.npy'), reds() / 100
    inside = np.s_[7:-7, 7:-7]
    expected[expected > 1.9] = np.inf
    np.testing.assert_allclose(depth[inside], expected[inside], rtol=1e-6)
    assert np.isnan(depth).sum() == HEIGHT * WIDTH - (HEIGHT - 14) * (WIDTH - 14)


@pytest.mark.parametrize(
    ('model', 'arguments', 'words'),
    [
        ('inverse_depth', ['--filter-flying', 3], 'filters and limits of depth need metres'),
        ('relative_depth', ['--max-depth', 3], 'gives relative depth without a scale; leave'),
        ('depth', ['--formats', 'sigma'], 'sigma is of disparities'),
        ('depth', ['--disparity-sigma', 1], 'sigma is of disparities'),
        ('depth', ['--formats', 'cloud', '--cloud-voxel-sigmas', 2], 'sigma is of disparities'),
        ('depth', ['--formats', 'cloud'], 'cloud cannot be written without --calibration'),
        ('depth', ['--confidence-threshold', 0.5], 'set --confidence-threshold to 0'),
        ('depth', ['--calibration', '0,0,0,0'], '0,0,0,0: the focal lengths are fx = 0 and fy'),
    ],
)
def test_what_single_images_do_not_have_is_refused(command, model, arguments, words):
    code, _, err = command('infer', 'images/0.png', '--model', f'{model}.onnx', *arguments)
    assert code == 2
    assert words in err


def test_metric_depth_in_every_format(command):
    code, out, err = command(
        'infer', 'images/0.png', '--model', 'depth.onnx', '--calibration', '100,100,60,30',
        '--formats', 'pfm,npy,depth,color,ply', '--output', 'out',
    )  # fmt: skip
    assert (code, err) == (0, '')
    files = {f'0_{x}' for x in ('depth.pfm', 'depth.npy', 'depth.png', 'depth_color.png')}
    assert outputs('out') == files | {'0_points.ply', '0_panel.png', 'results.json'}
    expected = reds() / 100
    np.testing.assert_allclose(io.read_depth('out/0_depth.pfm'), expected, rtol=1e-6)
    np.testing.assert_allclose(np.load('out/0_depth.npy'), expected, rtol=1e-6)
    np.testing.assert_allclose(io.read_depth('out/0_depth.png'), expected, atol=1e-3)
    header, _, body = Path('out/0_points.ply').read_bytes().partition(b'end_header\n')
    assert f'element vertex {HEIGHT * WIDTH}\n'.encode() in header
    first = np.frombuffer(body, '<f4', 3)
    np.testing.assert_allclose(first, expected[0, 0] * np.array([-0.6, -0.3, 1]), rtol=1e-5)
    colors = io.read_image('out/0_depth_color.png').astype(int)
    assert colors[0, 0, 0] > colors[0, 0, 2]  # near is red
    assert colors[0, -1, 2] > colors[0, -1, 0]
    results = json.loads(Path('out/results.json').read_text())
    (record,) = results['images']
    assert (results['model'], record['output'], record['density']) == ('reddish', 'depth', 100)
    assert record['image'] == 'images/0.png'
    assert out.splitlines()[0].split() == ['image', 'size', 'ms', 'finite', '%']
    assert out.splitlines()[1].split()[:2] == ['0', '120x60']


@pytest.mark.parametrize('output', ['inverse_depth', 'relative_depth'])
def test_outputs_without_a_scale_are_named_so(command, output):
    code, _, err = command('infer', 'images', '--model', f'{output}.onnx', '--output', 'out')
    assert (code, err) == (0, '')
    endings = (f'{output}.pfm', f'{output}_color.png', 'panel.png')
    assert outputs('out') == {f'{i}_{x}' for i in '01' for x in endings} | {'results.json'}
    np.testing.assert_allclose(io.read_pfm(f'out/1_{output}.pfm'), reds(1) / 100, rtol=1e-6)
    colors = io.read_image(f'out/0_{output}_color.png').astype(int)
    dark, bright = colors[0, 0], colors[0, -1]
    near, far = (bright, dark) if output == 'inverse_depth' else (dark, bright)
    assert near[0] > near[2]
    assert far[2] > far[0]


def test_default_formats_of_metric_depth_and_truth(command):
    Path('truth').mkdir()
    for index in range(2):
        np.save(f'truth/{index}.npy', reds(index) / 50)
    code, out, _ = command(
        'infer', 'images/*.png', '--model', 'depth.onnx', '--truth', 'truth', '--output', 'out'
    )
    assert code == 0
    endings = ('depth.pfm', 'depth.npy', 'depth.png', 'depth_color.png', 'panel.png')
    assert outputs('out') == {f'{i}_{x}' for i in '01' for x in endings} | {'results.json'}
    head, *rows = (line.split() for line in out.splitlines())
    assert head[-4:] == ['AbsRel', 'RMSE', 'm', 'δ1']
    assert [float(row[4]) for row in rows[:2]] == [0.5, 0.5]


def test_maps_without_a_scale_are_fitted_to_the_truth_and_it_is_said(command):
    Path('truth').mkdir()
    for index in range(2):
        np.save(f'truth/{index}.npy', 1 / (reds(index) / 200 + 0.1))
    call = ('--truth', 'truth', '--output', 'out')
    code, out, err = command('infer', 'images', '--model', 'inverse_depth.onnx', *call)
    assert (code, err) == (0, '')
    *_, mean, said = out.splitlines()
    assert float(mean.split()[1]) < 1e-3
    assert said == (
        'scale and shift of each inverse depth are fitted to the truth before it is measured'
    )
    records = json.loads(Path('out/results.json').read_text())['images']
    assert [record['alignment'] for record in records] == ['scale_shift'] * 2
    code, out, _ = command('infer', 'images', '--model', 'depth.onnx', *call)
    assert 'fitted' not in out
    assert io.read_image('out/0_panel.png').shape[1] == 3 * WIDTH  # image, depth, error


def test_images_and_estimates_that_cannot_be_true_are_told(command):
    io.write_image('images/0.png', np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    code, _, err = command('infer', 'images', '--model', 'depth.onnx', '--output', 'out')
    assert code == 0
    assert 'warning: image 0: the image shows grey levels 90 to 90' in err
    assert 'warning: image 0: the estimate is 0.9 everywhere' in err


def test_a_camera_info_of_one_camera_is_a_calibration(command):
    Path('camera.yaml').write_text(
        f'image_width: {WIDTH}\nimage_height: {HEIGHT}\nprojection_matrix: {{rows: 3, cols: 4, '
        'data: [100, 0, 60, 0, 0, 100, 30, 0, 0, 0, 1, 0]}\n'
    )
    call = ('infer', 'images', '--model', 'depth.onnx', '--formats', 'ply', '--calibration')
    assert command(*call, 'camera.yaml', '--output', 'yaml')[0] == 0
    assert command(*call, '100,100,60,30', '--output', 'numbers')[0] == 0
    assert command(*call, '100,100,60,30,0.2', '--output', 'pair')[0] == 0
    clouds = [Path(x, '0_points.ply').read_bytes() for x in ('yaml', 'numbers', 'pair')]
    assert clouds[0] == clouds[1] == clouds[2]
    code, _, err = command(*call, '100,100,60,x')
    assert code == 2
    assert 'four numbers' in err


MONO = ('--model', 'depth.onnx')


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['images', '--model', 'sgbm'], 'sgbm takes pairs and one image is given; give LEFT and'),
        (['images', 'images', *MONO], 'reddish takes single images and a pair is given; give one'),
        (['images', *MONO, '--formats', 'kitti'], 'kitti is a format of disparities'),
        (['images', *MONO, '--formats', 'ply'], 'ply cannot be written without --calibration'),
        (['images', *MONO, '--confidence'], 'reddish has no confidence'),
        (['images', *MONO, '--truth', 'images/0.png'], '2 and 1 files cannot be matched'),
        (['images', *MONO, '--max-baseline', '3'], '--max-baseline are for pairs; leave them out'),
        (['nowhere.png', *MONO], 'nowhere.png: no file there'),
        (
            ['images', '--model', 'inverse_depth.onnx', '--formats', 'depth,ply'],
            'depth and ply cannot be written, for reddish gives inverse depth without a scale',
        ),
    ],
)
def test_infer_refuses(command, arguments, words):
    code, out, err = command('infer', *arguments)
    assert (code, out) == (2, '')
    assert words in err
    assert len(err.splitlines()) == 1


def test_a_damaged_image_does_not_stop_the_rest(command):
    Path('images/0.png').write_bytes(b'no picture')
    code, out, err = command('infer', 'images', *MONO)
    assert code == 1
    assert err.startswith('nndepth: error: image 0: images/0.png cannot be read')
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [
        ['0', 'failed'],
        ['1', '120x60'],
    ]


# --- evaluate ------------------------------------------------------------------------------------


@pytest.fixture
def nyu(command):
    """Two frames in the layout of NYUv2, and arguments that name them: depths are red / 50."""
    pytest.importorskip('jsonargparse')
    folder = Path('nyu/official_splits/test/kitchen')
    folder.mkdir(parents=True)
    for index in range(2):
        image = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
        image[..., 0] = reds(index)
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        quality = [cv2.IMWRITE_JPEG_QUALITY, 100, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111]
        cv2.imwrite(str(folder / f'rgb_0000{index}.jpg'), bgr, quality)
        depth = np.rint(1000 * reds(index) / 50).astype(np.uint16)
        cv2.imwrite(str(folder / f'sync_depth_0000{index}.png'), depth)
    return ('--data', 'NYUv2', '--data.root', 'nyu')


def test_metric_models_are_measured_as_they_are(command, nyu):
    code, out, err = command(
        'evaluate', 'depth.onnx', *nyu, '--depth-range', '0.001,10',
        '--json', 'all.json', '--csv', 'all.csv', '--report', 'all.html',
    )  # fmt: skip
    assert (code, err) == (0, '')
    head, row = (line.split() for line in out.splitlines())
    assert ' '.join(head) == ('MODEL REGION AbsRel RMSE m log10 δ1 δ2 δ3 density % p50 ms p95 ms')
    assert row[:2] == ['depth.onnx', 'all']
    assert float(row[2]) == pytest.approx(0.5, abs=0.01)
    (model,) = json.loads(Path('all.json').read_text())['models']
    assert (model['output'], model['alignment']) == ('depth', 'none')
    assert model['depth_range'] == [0.001, 10]
    assert model['mean']['all']['density'] == 100
    assert (
        Path('all.csv')
        .read_text()
        .splitlines()[0]
        .endswith('abs_rel,sq_rel,rmse,rmse_log,log10,delta_1,delta_2,delta_3,density')
    )
    html = Path('all.html').read_text()
    assert html.count('<img') == 2 * 4
    assert 'AbsRel 0.50' in html


@pytest.mark.parametrize(
    ('model', 'options', 'abs_rel'),
    [
        ('depth', ['--alignment', 'median'], 0),
        ('depth', ['--alignment', 'scale_shift'], 0),
        ('relative_depth', [], 0),
        ('relative_depth', ['--alignment', 'none'], 0.5),
    ],
)
def test_alignment_follows_the_output_unless_another_is_asked_for(
    command, nyu, model, options, abs_rel
):
    code, out, _ = command('evaluate', f'{model}.onnx', *nyu, '--json', '-', *options)
    assert code == 0
    (found,) = json.loads(out)['models']
    assert found['mean']['all']['abs_rel'] == pytest.approx(abs_rel, abs=0.02)


def test_the_table_says_what_is_fitted_to_the_truth(command, nyu):
    code, out, _ = command('evaluate', 'depth.onnx', 'inverse_depth.onnx', *nyu)
    assert code == 0
    head, metric, relative = (line.split('  ') for line in out.splitlines())
    assert 'FITTED' in [cell.strip() for cell in head]
    assert '-' in [cell.strip() for cell in metric]
    assert 'scale and shift' in [cell.strip() for cell in relative]


def test_the_camera_is_that_of_the_data_or_is_given(command, nyu):
    """A network that assumes a focal length gives other metres with another camera."""
    write_mono_onnx('focal.onnx', canonical_focal=200.0)
    code, _, err = command('evaluate', 'focal.onnx', *nyu)
    assert code == 2
    assert 'needs the camera' in err
    Path('samples/image').mkdir(parents=True)
    Path('samples/depth').mkdir()
    for index in range(2):
        Path(f'images/{index}.png').rename(f'samples/image/{index}.png')
        np.save(f'samples/depth/{index}.npy', reds(index) / 200)
    call = ('evaluate', 'focal.onnx', '--data', 'samples', '--calibration', '100,100,60,30')
    code, out, _ = command(*call)
    assert code == 0
    assert float(out.splitlines()[1].split()[2]) == 0  # half of what it gives
    compared = ('compare', 'focal.onnx', 'focal.onnx:threads=1', 'samples/image', *call[-2:])
    assert command(*compared, '--output', 'out')[0] == 0


def test_inverse_depth_is_aligned_in_inverse_depth(command, nyu):
    folder = Path('nyu/official_splits/test/kitchen')
    for index in range(2):
        depth = np.rint(1000 / (reds(index) / 200 + 0.1)).astype(np.uint16)
        cv2.imwrite(str(folder / f'sync_depth_0000{index}.png'), depth)
    code, out, _ = command('evaluate', 'inverse_depth.onnx', 'depth.onnx', *nyu, '--json', '-')
    assert code == 0
    inverse, metric = json.loads(out)['models']
    assert inverse['mean']['all']['abs_rel'] == pytest.approx(0, abs=0.02)
    assert metric['mean']['all']['abs_rel'] > 0.3


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['sgbm', 'depth.onnx'], 'sgbm is a stereo model and depth.onnx a mono model'),
        (['sgbm'], "data set 'NYUv2' is not for stereo models; choose one of ETH3D"),
        (['depth.onnx', '--metrics', 'epe'], 'these models have no metric epe; choose of abs_rel'),
        (['depth.onnx', '--regions', 'noc'], 'these models have no region noc; choose of all'),
        (
            ['sgbm', '--alignment', 'none'],
            '--alignment, --depth-range and --calibration are for',
        ),
        (['depth.onnx', '--depth-range', '9,3'], '9,3 is empty; give the smaller depth first'),
    ],
)
def test_evaluate_refuses(command, nyu, arguments, words):
    code, out, err = command('evaluate', *arguments, *nyu)
    assert (code, out) == (2, '')
    assert words in err


# --- compare -------------------------------------------------------------------------------------


def test_two_models_without_truth(command):
    write_mono_onnx('other.onnx', scale=0.012)
    code, out, err = command(
        'compare', 'depth.onnx', 'other.onnx', 'images', '--output', 'out', '--json', 'out.json'
    )
    assert (code, err) == (0, '')
    *_, head, first, _, mean = out.splitlines()
    assert head.split('  ')[-1].strip() == '>25 % apart %'
    numbers = [float(cell) for cell in first.split()[4:]]
    assert numbers == pytest.approx([100 * (1 - 1 / 1.2), 100, 0], abs=0.01)
    assert mean.startswith('mean')
    assert outputs('out') == {'0.png', '1.png'}
    differences = json.loads(Path('out.json').read_text())['differences']
    assert differences['0']['differ_5'] == 100


def test_models_without_a_scale_are_compared_by_the_range_that_they_span(command):
    code, out, _ = command('compare', 'inverse_depth.onnx', 'relative_depth.onnx', 'images/0.png')
    assert code == 0
    told = ', in per cent of the range that each of its maps spans'
    assert out.splitlines()[:2] == [
        f'A: inverse_depth.onnx{told}',
        f'B: relative_depth.onnx{told}',
    ]
    assert float(out.splitlines()[-1].split()[4]) > 20  # one is the other turned around


def test_two_models_with_truth(command, nyu):
    code, out, err = command('compare', 'depth.onnx', 'relative_depth.onnx', *nyu)
    assert (code, err) == (0, '')
    named = ['A: depth.onnx', 'B: relative_depth.onnx, scale and shift fitted to the truth']
    assert out.splitlines()[:2] == named
    *_, head, first, _, _ = out.splitlines()
    assert 'AbsRel A  AbsRel B' in head
    assert 'B closer %' in head
    assert float(first.split()[4]) == pytest.approx(0.5, abs=0.01)
    assert float(first.split()[5]) < 0.02


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['depth.onnx', 'depth.onnx:threads=1', 'images', 'images'], 'give one IMAGE'),
        (['sgbm', 'depth.onnx', 'images'], 'give models of one task'),
        (
            ['sgbm', 'sgbm:max-disparity=32', 'images', 'images', '--calibration', '1,1,1,1'],
            '--calibration is for models of single images',
        ),
        (['sgbm', 'sgbm:max-disparity=32', 'images'], 'give LEFT and RIGHT images'),
    ],
)
def test_compare_refuses(command, arguments, words):
    code, out, err = command('compare', *arguments)
    assert (code, out) == (2, '')
    assert words in err
