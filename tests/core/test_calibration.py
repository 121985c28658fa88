"""Calibration readers against files in each publisher's layout."""

import math
from pathlib import Path

import pytest

from nndepth_core import CalibrationError, calibration

F, CX, CY = 700.5, 320.25, 240.75


def matrix(tx: float = 0.0, cx: float = CX) -> str:
    values = (F, 0, cx, tx, 0, F, CY, 0, 0, 0, 1, 0)
    return ' '.join(f'{value:.6e}' for value in values)


def camera_info(tx: float = 0.0, width: int = 640, flow: bool = True) -> str:
    values = [F, 0.0, CX, tx, 0.0, F, CY, 0.0, 0.0, 0.0, 1.0, 0.0]
    data = str(values) if flow else ''.join(f'\n  - {value}' for value in values)
    return (
        f'image_width: {width}\nimage_height: 480\ncamera_name: narrow_stereo\n'
        'camera_matrix:\n  rows: 3\n  cols: 3\n  data: [1, 0, 0, 0, 1, 0, 0, 0, 1]\n'
        'distortion_model: plumb_bob\n'
        'distortion_coefficients:\n  rows: 1\n  cols: 5\n  data: [0.1, 0, 0, 0, 0]\n'
        f'projection_matrix:\n  rows: 3\n  cols: 4\n  data: {data}\n'
    )


def middlebury(**changes: str) -> str:
    rows = {
        'cam0': '[999.421 0 294.182; 0 999.421 252.932; 0 0 1]',
        'cam1': '[999.421 0 326.96; 0 999.421 252.932; 0 0 1]',
        'doffs': '32.778',
        'baseline': '193.001',
        'width': '741',
        'height': '497',
        'ndisp': '70',
        'isint': '0',
        'dyavg': '0.23',
        **changes,
    }
    return ''.join(f'{key}={value}\n' for key, value in rows.items() if value)


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def assert_camera(camera, baseline: float, cx_offset: float = 0.0) -> None:
    left = camera.left
    assert (left.fx, left.fy, left.cx, left.cy) == (F, F, CX, CY)
    assert (left.width, left.height) == (640, 480)
    assert camera.baseline == pytest.approx(baseline)
    assert camera.cx_offset == pytest.approx(cx_offset)


def test_kitti_raw_takes_the_colour_pair_relative_to_each_other(tmp_path):
    text = (
        'calib_time: 09-Jan-2012 13:57:47\ncorner_dist: 9.950000e-02\n'
        'S_rect_02: 6.400000e+02 4.800000e+02\n'
        f'R_rect_02: 1 0 0 0 1 0 0 0 1\nP_rect_00: {matrix()}\nP_rect_01: {matrix(-F * 0.54)}\n'
        f'P_rect_02: {matrix(F * 0.06)}\nP_rect_03: {matrix(-F * 0.47)}\n'
    )
    path = written(tmp_path / 'calib_cam_to_cam.txt', text)
    assert_camera(calibration.read(path), 0.53)
    assert_camera(calibration.read(path, (640, 480)), 0.53)
    with pytest.raises(CalibrationError, match='is for images of 640x480 and these are 320x240'):
        calibration.read(path, (320, 240))


@pytest.mark.parametrize(
    ('rows', 'baseline'),
    [
        (f'P0: {matrix()}\nP1: {matrix(-F * 0.54)}\n', 0.54),
        (
            f'P0: {matrix()}\nP1: {matrix(-F * 0.54)}\nP2: {matrix(F * 0.06)}\n'
            f'P3: {matrix(-F * 0.47)}\nTr: {matrix()}\n',
            0.53,
        ),
        (f'{matrix()}\n{matrix(-F * 0.54)}\n', 0.54),
    ],
)
def test_kitti_odometry_does_not_tell_the_size(tmp_path, rows, baseline):
    path = written(tmp_path / 'calib.txt', rows)
    assert_camera(calibration.read(path, (640, 480)), baseline)
    with pytest.raises(CalibrationError, match='does not tell the image size'):
        calibration.read(path)


def test_middlebury(tmp_path):
    """Depth is baseline * f / (d + doffs), by the publisher."""
    camera = calibration.read(written(tmp_path / 'calib.txt', middlebury()))
    assert (camera.left.width, camera.left.height) == (741, 497)
    assert (camera.left.fx, camera.left.cx, camera.left.cy) == (999.421, 294.182, 252.932)
    assert camera.cx_right == pytest.approx(326.96)
    for disparity in (0.0, 40.0):
        expected = 0.193001 * 999.421 / (disparity + 32.778)
        depth = camera.focal_baseline / (disparity - camera.cx_offset)
        assert depth == pytest.approx(expected)


@pytest.mark.parametrize('doffs', ['0', ''])
def test_eth3d(tmp_path, doffs):
    same = '[542.019 0 541.836; 0 542.019 255.198; 0 0 1]'
    text = middlebury(cam0=same, cam1=same, doffs=doffs, baseline='59.5549')
    camera = calibration.read(written(tmp_path / 'calib.txt', text), (741, 497))
    assert camera.baseline == pytest.approx(0.0595549)
    assert camera.cx_offset == 0


@pytest.mark.parametrize('flow', [True, False])
def test_camera_infos(tmp_path, flow):
    left = written(tmp_path / 'left.yaml', camera_info(flow=flow))
    right = written(tmp_path / 'right.yaml', camera_info(tx=-F * 0.12, flow=flow))
    assert_camera(calibration.read(tmp_path), 0.12)
    assert_camera(calibration.read(f'{left},{right}'), 0.12)
    with pytest.raises(CalibrationError, match='swapped'):
        calibration.read(f'{right},{left}')


def test_camera_infos_that_do_not_fit(tmp_path):
    left = written(tmp_path / 'left.yaml', camera_info())
    right = written(tmp_path / 'right.yaml', camera_info(tx=-F * 0.12, width=320))
    with pytest.raises(CalibrationError, match=r'640x480 and .*320x480; both cameras'):
        calibration.read(tmp_path)
    for text in ('image_width: 640', '- 1', 'a: [', 'projection_matrix: {data: [x]}'):
        written(right, text)
        with pytest.raises(CalibrationError, match=r'right\.yaml'):
            calibration.read(tmp_path)
    written(tmp_path / 'left_old.yaml', '')
    with pytest.raises(CalibrationError, match='2 YAML files with left in their name'):
        calibration.read(tmp_path)
    with pytest.raises(CalibrationError, match='camera_info of one camera; give both'):
        calibration.read(left)


def test_numbers():
    assert_camera(calibration.read(f'{F},{F},{CX},{CY},0.12', (640, 480)), 0.12)
    assert_camera(calibration.read(f'{F}, {F}, {CX}, {CY}, 0.12, 30', (640, 480)), 0.12, -30)


@pytest.mark.parametrize(
    'text', ['700,700,320', '700,700,320,240,0.1,0,0', '700,700,320,240,wide', 'a,b,c']
)
def test_wrong_numbers(text):
    with pytest.raises(CalibrationError, match='five or six numbers'):
        calibration.read(text, (640, 480))


@pytest.mark.parametrize(
    'text', ['', 'nothing of use\n', f'P2: {matrix()}\n', middlebury(cam0=''), '1 2\n3 4']
)
def test_other_files_are_refused(tmp_path, text):
    path = written(tmp_path / 'calib.txt', text)
    with pytest.raises(CalibrationError, match=r'calib\.txt is no calibration of a pair; give'):
        calibration.read(path)


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        (middlebury(baseline=''), 'baseline is missing; one number is needed'),
        (middlebury() + 'baseline=19', 'baseline is given twice; keep the right one'),
        (middlebury(doffs='nan'), "doffs is 'nan'; one number is needed"),
        (middlebury(cam0='[1 0 2; 3]'), r"cam0 is '\[1 0 2; 3\]'; 9 numbers are needed"),
        (middlebury(doffs='30'), 'doffs is 30, but cx of cam1 minus cx of cam0 is 32.778'),
        (f'P0: {matrix()}\nP1: 700 0 320', 'P1 has 3 numbers; a 3x4 matrix has 12'),
        (f'P0: {matrix()}\nP1: {matrix(-9)}\nP1: {matrix(-8)}\n', 'P1 is given twice'),
        ('a: 1\nP1: [1]\nP1: [2]\n', r'is no YAML \(P1 is given twice; keep the right one\)'),
    ],
)
def test_the_row_at_fault_is_named(tmp_path, text, words):
    path = written(tmp_path / 'calib.txt', text)
    with pytest.raises(CalibrationError, match=rf'calib\.txt:? {words}'):
        calibration.read(path, (741, 497))


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16'])
@pytest.mark.parametrize(
    ('text', 'baseline'),
    [(f'P0: {matrix()}\nP1: {matrix(-F * 0.12)}\n', 0.12), (middlebury(), 0.193001)],
)
def test_marks_of_encodings_are_read(tmp_path, encoding, text, baseline):
    path = tmp_path / 'calib.txt'
    path.write_text(text, encoding)
    assert calibration.read(path, (741, 497)).baseline == pytest.approx(baseline)


def test_half_a_pair_of_files_is_refused():
    with pytest.raises(CalibrationError, match=r"'left\.yaml,' names one file; name both"):
        calibration.read('left.yaml,')


def test_unusable_values_are_refused(tmp_path):
    zero = written(tmp_path / 'zero.txt', middlebury(baseline='0'))
    with pytest.raises(CalibrationError, match='baseline is 0'):
        calibration.read(zero)
    with pytest.raises(CalibrationError, match='finite'):
        calibration.read(f'{F},{F},{CX},{CY},{math.nan}', (640, 480))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nowhere\.txt'):
        calibration.read(tmp_path / 'nowhere.txt')


def opencv(key: str, values: list[float], columns: int = 4) -> str:
    """A matrix as OpenCV 2 and 3 write it."""
    return (
        f'{key}: !!opencv-matrix\n   rows: 3\n   cols: {columns}\n   dt: d\n'
        f'   data: [ {", ".join(f"{x:.6g}" for x in values)} ]\n'
    )


P1 = [F, 0.0, CX, 0.0, 0.0, F, CY, 0.0, 0.0, 0.0, 1.0, 0.0]
P2 = [*P1[:3], -F * 0.12, *P1[4:]]
EXTRINSICS = '%YAML:1.0\n---\n' + opencv('R', [1.0] * 9, 3) + opencv('P1', P1) + opencv('P2', P2)
INTRINSICS = '%YAML:1.0\n' + opencv('M1', [1.0] * 9, 3) + opencv('D1', [0.1] * 5, 5)
ORB_SLAM = (
    f'%YAML:1.0\n\nCamera.fx: {F}\nCamera.fy: {F}\nCamera.cx: {CX}\nCamera.cy: {CY}\n'
    f'Camera.width: 640\nCamera.height: 480\nCamera.bf: {F * 0.12}\n'
)
EUROC = '%YAML:1.0\nLEFT.width: 640\nLEFT.height: 480\n' + opencv('LEFT.P', P1)
EUROC += opencv('RIGHT.P', P2)


@pytest.mark.parametrize('text', [EXTRINSICS, ORB_SLAM, EUROC, '\ufeff' + EXTRINSICS])
def test_yaml_of_opencv_is_read(tmp_path, text):
    path = written(tmp_path / 'extrinsics.yml', text)
    assert_camera(calibration.read(path, (640, 480)), 0.12)


def test_the_two_files_of_opencv_are_read(tmp_path):
    names = [
        str(written(tmp_path / name, text))
        for name, text in (('intrinsics.yml', INTRINSICS), ('extrinsics.yml', EXTRINSICS))
    ]
    assert_camera(calibration.read(','.join(names), (640, 480)), 0.12)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (INTRINSICS, r'before rectification \(M1, D1\).*P1 and P2'),
        ('cam0:\n  intrinsics: [1, 2, 3, 4]\n', r'before rectification \(cam0\)'),
        (camera_info(), r'of one camera; give both: left\.yaml,right\.yaml'),
        ('<?xml version="1.0"?>\n<opencv_storage>', 'no whole XML'),
        ('<!DOCTYPE html>\n<html></html>', 'web page'),
        ('<html></html>', 'XML, but <html> instead of the <opencv_storage>'),
        ('<opencv_storage><P1>1</P1><P1>2</P1></opencv_storage>', 'P1 is given twice'),
        (opencv('P1', P1[:11]) + opencv('P2', P2), 'P1 has no 12 numbers'),
        (EXTRINSICS.replace('700.5', 'wide', 1), "P1 is 'wide', not a number"),
        ('a: ' + '[' * 5000, 'nested too deeply'),
        ('a: [1, 2', 'is no YAML'),
        (' ' * (1 << 21), 'far more than a calibration'),
        ('P0: ' + matrix() + '\nP1: ' + matrix(-70) + '\nS0: inf 480\n', 'S0 is inf'),
        (middlebury(width='1e999'), 'width is inf'),
        ('a: &a [*a]\nb: 2021-99-99\n', 'no YAML'),
    ],
)
def test_other_files_are_called_what_they_are(tmp_path, text, message):
    with pytest.raises(CalibrationError, match=message):
        calibration.parse(written(tmp_path / 'calib.yaml', text))


def test_names_that_no_file_has_are_refused():
    with pytest.raises(CalibrationError, match='no name of a file'):
        calibration.parse('a\0b')
