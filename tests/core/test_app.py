"""The page of `nndepth app`: its actions, the command, and the page in a real browser."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from mono_onnx import write_mono_onnx
from scenes import slope

from nndepth_core import cli, io
from nndepth_core.app import actions
from nndepth_core.app.actions import MOST_POINTS, Request, answer, model_choices
from nndepth_core.estimator import StereoEstimator, load_estimator
from nndepth_core.plausibility import estimates

ROOT = Path(__file__).parents[2]
FOCAL, BASELINE = 160.0, 0.1
START = 'import sys; from nndepth_core.__main__ import command; sys.exit(command())'


@pytest.fixture
def pair(tmp_path) -> tuple[Path, Path]:
    return write_pair(tmp_path)


def write_pair(folder: Path, width: int = 192, name: str = '') -> tuple[Path, Path]:
    left, right, _ = slope(width, 128)
    paths = folder / f'left{name}.png', folder / f'right{name}.png'
    for path, image in zip(paths, (left, right), strict=True):
        io.write_image(path, image)
    return paths


@pytest.fixture
def ask(tmp_path):
    """Answer a request for sgbm, or for the model that is named."""

    def run(*images: Path, model: str = 'sgbm', **settings):
        folder = tmp_path / 'answer'
        folder.mkdir(exist_ok=True)
        return answer(Request(*images, model=model, **settings), load_estimator, folder)

    return run


def names(files: list[Path]) -> list[str]:
    return [path.name for path in files]


def test_a_pair_without_calibration_gives_its_disparity(ask, pair):
    made = ask(*pair)
    assert names(made.files) == ['disparity.pfm', 'disparity.png']
    true = load_estimator('sgbm')(*io.read_pair(*pair), confidence=True)
    np.testing.assert_array_equal(io.read_pfm(made.files[0]), true.disparity)
    coded = io.read_disparity(made.files[1])
    np.testing.assert_allclose(coded, true.disparity, atol=0.003)
    np.testing.assert_allclose(made.confidence / 255, true.confidence, atol=0.003)
    assert made.cloud is None
    assert made.notes[-1] == (
        'depth in metres and the cloud need the focal length and the baseline'
    )


def test_a_pair_with_focal_length_and_baseline_gives_metres_and_a_cloud(ask, pair):
    made = ask(*pair, focal=FOCAL, baseline=BASELINE, confidence=False)
    assert names(made.files) == ['disparity.pfm', 'disparity.png', 'depth.png', 'cloud.ply']
    disparity = io.read_pfm(made.files[0])
    depth = io.read_depth(made.files[2])
    known = np.isfinite(disparity) & (disparity > 1)
    np.testing.assert_allclose(depth[known], FOCAL * BASELINE / disparity[known], atol=0.001)
    assert points_in(made.files[3]) == np.count_nonzero(np.isfinite(disparity) & (disparity > 0))
    assert 0 < points_in(made.cloud) <= MOST_POINTS
    assert made.confidence is None
    assert len(made.pictures) == 2


def points_in(path: Path) -> int:
    header = path.read_bytes()[:200].decode('ascii', 'ignore')
    return int(header.partition('element vertex ')[2].split()[0])


def test_a_calibration_file_tells_the_same_as_numbers(ask, pair, tmp_path):
    size = cv2.imread(str(pair[0])).shape[1::-1]
    cx, cy = ((length - 1) / 2 for length in size)
    file = tmp_path / 'calib.txt'
    file.write_text(
        f'cam0=[{FOCAL} 0 {cx}; 0 {FOCAL} {cy}; 0 0 1]\n'
        f'cam1=[{FOCAL} 0 {cx}; 0 {FOCAL} {cy}; 0 0 1]\n'
        f'doffs=0\nbaseline={1000 * BASELINE}\nwidth={size[0]}\nheight={size[1]}\nndisp=64\n'
    )
    by_file = ask(*pair, calibration=[file]).files[3].read_bytes()
    assert by_file == ask(*pair, focal=FOCAL, baseline=BASELINE).files[3].read_bytes()


def test_the_cloud_of_the_page_has_fewer_points_than_the_file(ask, tmp_path, monkeypatch):
    monkeypatch.setattr('nndepth_core.app.actions.MOST_POINTS', 1000)
    made = ask(*write_pair(tmp_path), focal=FOCAL, baseline=BASELINE)
    assert 100 < points_in(made.cloud) <= 1000 < points_in(made.files[-1])


def test_a_single_image_gives_metres_and_with_a_focal_length_a_cloud(ask, pair, tmp_path):
    model = str(write_mono_onnx(tmp_path / 'mono.onnx'))
    made = ask(pair[0], model=model)
    assert names(made.files) == ['depth.pfm', 'depth.png']
    assert made.notes == ['reddish has no confidence', 'the cloud needs the focal length']
    assert names(ask(pair[0], model=model, focal=FOCAL).files)[-1] == 'cloud.ply'


def test_depth_without_a_scale_is_shown_as_such(ask, pair, tmp_path):
    model = str(write_mono_onnx(tmp_path / 'mono.onnx', 'inverse_depth'))
    made = ask(pair[0], model=model, focal=FOCAL)
    assert names(made.files) == ['inverse_depth.pfm']
    assert made.notes[-1] == 'reddish gives no metres, so there is no cloud'


@pytest.mark.parametrize(
    ('settings', 'said'),
    [
        ({'focal': 0.0, 'baseline': 0.1}, 'the focal length is 0; give a number larger than 0'),
        ({'focal': 100.0}, 'the baseline is missing; give both numbers, or none for disparity'),
        ({'baseline': 0.1}, 'the focal length is missing; give both'),
        (
            {'baseline': 0.1, 'calibration': [Path('calib.txt')]},
            'the baseline and files of a calibration are given; leave one of both empty',
        ),
        ({'calibration': [Path('nowhere/calib.txt')]}, r'calib\.txt: No such file'),
        ({'max_pixels': 100}, 'right.png .*more than --max-pixels of the command = 100'),
        ({'model': 'raft_stereo-realtime'}, 'weights fetch'),
    ],
)
def test_what_is_wrong_is_told_with_its_cure(ask, pair, settings, said):
    if 'max_pixels' in settings:
        said = said.replace('right', 'left')
    with pytest.raises((ValueError, RuntimeError), match=said) as raised:
        ask(*pair, **settings)
    assert str(pair[0].parent) not in str(raised.value)


def test_wrong_images_are_told_by_the_names_of_their_files(ask, pair, tmp_path):
    left, right = pair
    text = tmp_path / 'text.png'
    text.write_text('no picture')
    small = write_pair(tmp_path, 160, '_small')[1]
    for images, said in (
        ((None, right), 'the left image is missing'),
        ((left,), 'the right image is missing; drop one there, or choose a model of single'),
        ((left, text), 'text.png cannot be read as an image: it is none of'),
        ((left, small), 'left is 192x128 and right 160x128; the images of a pair must have'),
        ((left, left), 'left and right are the same image'),
        ((right, left), 'left and right images are swapped; exchange them'),
    ):
        with pytest.raises(ValueError, match=said) as raised:
            ask(*images)
        assert str(tmp_path) not in str(raised.value)


def test_cures_are_those_of_the_page(ask, tmp_path, monkeypatch):
    for name, value in (('l', 60), ('r', 90)):
        io.write_image(tmp_path / f'{name}.png', np.full((1, 1, 3), value, np.uint8))
    monkeypatch.setattr(actions, 'examine_pair', lambda *_: [])  # which finds a pixel too dull
    with pytest.raises(ValueError, match=r'at least \d+x\d+ \(give larger images\)'):
        ask(tmp_path / 'l.png', tmp_path / 'r.png', model='auto')
    monkeypatch.setattr('nndepth_core.engines.memory.available_memory', lambda: 1)
    with pytest.raises(ValueError, match=r'GB are free.*; give smaller images$') as raised:
        ask(*write_pair(tmp_path), model='auto')
    assert 'processing' not in str(raised.value).partition(';')[2]


@pytest.mark.parametrize(
    ('text', 'here'),
    [
        (
            f'at 32 px ({estimates._WIDEN}), or the pair',
            'at 32 px (give smaller images), or the pair',
        ),
        ('is not rectified (for raw images set rectify), or', 'is not rectified, or'),
        (
            'set rectify if the images are not rectified, or else the file with P1',
            'give rectified images and the file with P1',
        ),
    ],
)
def test_options_of_commands_are_none_of_the_page(text, here):
    assert actions._for_the_page(text) == here


def test_a_model_of_single_images_refuses_a_pair(ask, pair, tmp_path):
    model = str(write_mono_onnx(tmp_path / 'mono.onnx'))
    with pytest.raises(ValueError, match='takes single images and two are given; remove the'):
        ask(*pair, model=model)


def test_models_at_hand_are_offered_first():
    choices = model_choices()
    known = ['weights not at hand' not in label for label, _ in choices]
    assert known == sorted(known, reverse=True)
    assert choices[0] == ('default (pairs)', 'auto')
    assert ('nano_stereo-base (pairs)', 'nano_stereo-base') in choices
    assert dict(choices)['midas_small-base (single images; weights not at hand)']


def run_app(capsys, *arguments: str) -> str:
    assert cli.main(['app', *arguments]) == 2
    return capsys.readouterr().err


def test_without_gradio_the_extra_is_named(in_new_process):
    said = in_new_process(
        "import sys; sys.modules['gradio'] = None; sys.stderr = sys.stdout\n"
        "from nndepth_core import cli; print(cli.main(['app']))"
    )
    assert said == 'nndepth: error: the page needs gradio; pip install "nndepth[app]"\n2\n'


def test_an_address_that_cannot_be_used_is_told(capsys):
    pytest.importorskip('gradio')
    with socket.create_server(('127.0.0.1', 0)) as other:
        port = other.getsockname()[1]
        assert f'port {port} is taken; give another --port' in run_app(capsys, '--port', str(port))
    assert 'another --host or --port' in run_app(capsys, '--host', '192.0.2.1')
    assert '--port is 70000; give 1 to 65535' in run_app(capsys, '--port', '70000')
    assert "model 'nothing' is unknown" in run_app(capsys, '--model', 'nothing')


def test_a_first_model_that_cannot_run_is_told_before_the_page_is_served(capsys):
    pytest.importorskip('gradio')
    assert 'nosuch.onnx does not exist' in run_app(capsys, '--model', 'nosuch.onnx')
    error = run_app(capsys, '--model', 'sgbm', '--device', 'cuda')
    assert 'sgbm runs on the cpu, not on cuda' in error


@contextmanager
def served(folder: Path, *arguments: str):
    """Run the command and give the address of its page; ended by SIGINT, it leaves no file."""
    pytest.importorskip('gradio')
    temporary = folder / 'temporary'
    temporary.mkdir()
    with socket.create_server(('127.0.0.1', 0)) as probe:
        port = str(probe.getsockname()[1])
    process = subprocess.Popen(
        [sys.executable, '-c', START, 'app', '--port', port, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            'TMPDIR': str(temporary),
            'PYTHONPATH': str(ROOT),
            'http_proxy': 'http://127.0.0.1:9',  # through which nothing is reached
        },
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        line = process.stdout.readline()
        assert line.startswith(f'open http://127.0.0.1:{port}/ '), process.stderr.read()
        yield line.split()[1]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (130, 'nndepth: interrupted\n')
        assert list(temporary.iterdir()) == []
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def browser():
    sync_api = pytest.importorskip('playwright.sync_api')
    executable = shutil.which('chromium') or shutil.which('chromium-browser')
    if executable is None:
        pytest.skip('needs a chromium')
    software = ['--use-angle=swiftshader', '--enable-unsafe-swiftshader']
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=executable, args=['--no-sandbox', *software]
        )
        yield started
        started.close()


def opened(browser, address: str, requests: list[str]):
    """Open the page for a visitor of its own; the addresses of all requests are noted."""
    page = browser.new_page()
    page.set_default_timeout(120_000)
    page.on('request', lambda request: requests.append(request.url))
    page.goto(address)
    return page


def drop(page, left: Path, right: Path) -> None:
    for side, path in (('left', left), ('right', right)):
        page.locator(f'#{side} input[type=file]').set_input_files(path)
        page.locator(f'#{side} img').wait_for()


def downloaded(page, name: str, to: Path) -> Path:
    with page.expect_download() as download:
        page.locator(f'#files a[download="{name}"]').click()
    download.value.save_as(to)
    return to


def test_two_visitors_of_the_page_get_the_maps_of_their_own_images(browser, tmp_path):
    pairs = [write_pair(tmp_path, width, str(width)) for width in (192, 256)]
    requests: list[str] = []
    with served(tmp_path) as address:
        pages = [opened(browser, address, requests) for _ in pairs]
        for page, images in zip(pages, pairs, strict=True):
            drop(page, *images)
        for page in pages:
            page.locator('#estimate').click()
        for number, (page, images) in enumerate(zip(pages, pairs, strict=True)):
            page.locator('#files a').first.wait_for(timeout=120_000)
            got = io.read_pfm(downloaded(page, 'disparity.pfm', tmp_path / f'{number}.pfm'))
            true = StereoEstimator.default()(*io.read_pair(*images)).disparity
            np.testing.assert_allclose(got, true, atol=1e-3)
        page.get_by_text('Metres', exact=True).click()
        page.get_by_label('Focal length').fill(str(FOCAL))
        page.get_by_label('Baseline').fill(str(BASELINE))
        with page.expect_response(lambda response: response.url.endswith('.ply')) as cloud:
            page.locator('#estimate').click()
        assert cloud.value.ok
        page.locator('#cloud canvas').wait_for()
    assert requests
    assert [url for url in requests if not url.startswith((address, 'data:', 'blob:'))] == []


def test_the_page_tells_one_error_and_goes_on(browser, pair, tmp_path):
    with served(tmp_path, '--model', 'sgbm') as address:
        page = opened(browser, address, [])
        page.locator('#left input[type=file]').set_input_files(pair[0])
        page.locator('#left img').wait_for()
        page.locator('#estimate').click()
        page.get_by_text('the right image is missing; drop one there').wait_for()
        assert page.locator('.toast-body').count() == 1
        page.locator('#right input[type=file]').set_input_files(pair[1])
        page.locator('#right img').wait_for()
        page.locator('#estimate').click()
        page.locator('#files a').first.wait_for(timeout=120_000)
