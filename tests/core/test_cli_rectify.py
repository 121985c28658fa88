"""`nndepth infer --rectify`: raw pairs and raw single images, and what is missing for it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from mono_onnx import write_mono_onnx

from nndepth_core import cli, io
from nndepth_core.rectification.rectifier import rectifier_of
from nndepth_core.testing.raw_rig import RawRig

LEFT, RIGHT = PAIR = 'left.png', 'right.png'
WIDTH, HEIGHT = 160, 120
INNER = np.s_[16:-16, 40:-16]


def write_rig(rig: RawRig, **more: int) -> None:
    """Write the images, and raw.yml as OpenCV holds K, D, R and P."""
    for name, image in zip(PAIR, rig.raw_images(), strict=True):
        io.write_image(name, image)
    storage = cv2.FileStorage('raw.yml', cv2.FILE_STORAGE_WRITE)
    for name, value in more.items():
        storage.write(name, value)
    for number, camera in enumerate(rig.cameras, 1):
        raw = camera.intrinsics
        k = np.array([[raw.fx, 0, raw.cx], [0, raw.fy, raw.cy], [0, 0, 1]])
        storage.write(f'K{number}', k)
        storage.write(f'D{number}', np.array(camera.d))
        storage.write(f'R{number}', np.reshape(camera.r, (3, 3)))
        storage.write(f'P{number}', np.reshape(camera.rectified.projection(), (3, 4)))
    storage.release()


@pytest.fixture
def rig(tmp_path, monkeypatch):
    """A rig whose images and calibration are in the present folder."""
    monkeypatch.chdir(tmp_path)
    rig = RawRig.of('plumb_bob', WIDTH, HEIGHT)
    write_rig(rig)
    return rig


@pytest.fixture
def infer(rig, capsys):
    """Run the command; returns (exit code, stderr)."""

    def run(*arguments: str, model: str = 'sgbm') -> tuple[int, str]:
        code = cli.main(['infer', *arguments, '--rectify', '--model', model, '--output', 'out'])
        return code, capsys.readouterr().err

    return run


def test_pairs(infer, rig):
    assert infer(*PAIR, '--calibration', 'raw.yml') == (0, '')
    disparity = io.read_disparity('out/left_disparity.pfm')
    assert abs(np.nanmedian((disparity - rig.disparity())[INNER])) < 0.05
    depth = np.load('out/left_depth.npy')
    assert np.nanmedian((depth / rig.depth())[INNER]) == pytest.approx(1, abs=0.005)
    covered = rectifier_of(rig.left).covered
    assert not covered.all()
    assert np.isnan(disparity[~covered]).all()


def test_single_images(infer, rig):
    write_mono_onnx('depth.onnx', 'depth')
    plain = io.read_image(LEFT)
    assert infer(LEFT, '--calibration', 'raw.yml', model='depth.onnx') == (0, '')
    rectifier = rectifier_of(rig.left)
    expected = rectifier(plain)[..., 0] / np.float32(100)
    expected[~rectifier.covered] = np.nan
    np.testing.assert_allclose(np.load('out/left_depth.npy'), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((), '--rectify needs the calibration of the raw cameras; give --calibration'),
        (('--calibration', '100,100,60,30,0.1'), 'names no file with the distortion of cameras'),
        (('--calibration', 'nowhere.yml'), 'nowhere.yml'),
    ],
)
def test_without_a_calibration_of_raw_cameras_nothing_is_done(infer, arguments, message):
    code, err = infer(*PAIR, *arguments)
    assert (code, err.count('\n')) == (2, 1)
    assert message in err
    assert not Path('out').exists()


def test_images_of_another_size_are_refused(infer, rig):
    write_rig(rig, image_width=80, image_height=60)
    code, err = infer(*PAIR, '--calibration', 'raw.yml')
    assert code == 1
    assert 'raw.yml is for images of 80x60 and these are 160x120; give the calibration' in err


def test_a_pair_of_two_sizes_is_refused(infer):
    io.write_image(RIGHT, np.zeros((60, 80, 3), np.uint8))
    code, err = infer(*PAIR, '--calibration', 'raw.yml')
    assert code == 1
    assert '80x60' in err
