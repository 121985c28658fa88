"""Calibrations of raw cameras: files in each publisher's layout, and what is missing in them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nndepth_core import CalibrationError, calibration
from nndepth_core.calibration.raw_files import read_camera_info
from nndepth_core.calibration.yaml_files import read_mapping
from nndepth_core.rectification.raw_camera import RawCamera
from nndepth_core.testing.raw_rig import LENSES, RawRig, rotation

WIDTH, HEIGHT = SIZE = 64, 48
Numbers = np.ndarray | tuple[float, ...] | list[float]


def k_of(camera: RawCamera) -> list[float]:
    raw = camera.intrinsics
    return [raw.fx, 0.0, raw.cx, 0.0, raw.fy, raw.cy, 0.0, 0.0, 1.0]


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


# --- writers -------------------------------------------------------------------------------------


def of_ros(camera: RawCamera) -> str:
    def matrix(rows: int, data: Numbers) -> dict:
        data = [float(value) for value in data]
        return {'rows': rows, 'cols': len(data) // rows, 'data': data}

    return yaml.safe_dump(
        {
            'image_width': WIDTH,
            'image_height': HEIGHT,
            'camera_name': 'narrow_stereo',
            'camera_matrix': matrix(3, k_of(camera)),
            'distortion_model': camera.model,
            'distortion_coefficients': matrix(1, camera.d),
            'rectification_matrix': matrix(3, camera.r),
            'projection_matrix': matrix(3, camera.rectified.projection()),
        }
    )


def write_ros(folder: Path, rig: RawRig) -> str:
    for side, camera in zip(('left', 'right'), rig.cameras, strict=True):
        written(folder / f'{side}.yaml', of_ros(camera))
    return str(folder)


def write_opencv(path: Path, **values: object) -> str:
    """Write by OpenCV itself, YAML or XML by the name."""
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    for name, value in values.items():
        storage.write(name, value)
    storage.release()
    return str(path)


def matrices(rig: RawRig, *names: str) -> dict[str, np.ndarray]:
    turn, apart = rig.pose
    found = {'R': turn, 'T': apart.reshape(3, 1)}
    for number, camera in enumerate(rig.cameras, 1):
        found[f'M{number}'] = found[f'K{number}'] = np.reshape(k_of(camera), (3, 3))
        found[f'cameraMatrix{number}'] = found[f'M{number}']
        found[f'D{number}'] = found[f'distCoeffs{number}'] = np.array(camera.d).reshape(1, -1)
        found[f'R{number}'] = np.reshape(camera.r, (3, 3))
        found[f'P{number}'] = np.reshape(camera.rectified.projection(), (3, 4))
    return {name: found[name] for name in names}


def of_kalibr(rig: RawRig, **changes: object) -> str:
    names = {'plumb_bob': 'radtan', 'equidistant': 'equidistant'}
    content = {}
    for number, camera in enumerate(rig.cameras):
        raw = camera.intrinsics
        content[f'cam{number}'] = {
            'cam_overlaps': [1 - number],
            'camera_model': 'pinhole',
            'distortion_coeffs': [float(value) for value in camera.d[:4]],
            'distortion_model': names[camera.model],
            'intrinsics': [raw.fx, raw.fy, raw.cx, raw.cy],
            'resolution': [WIDTH, HEIGHT],
            'rostopic': f'/cam{number}/image_raw',
        }
    motion = np.eye(4)
    motion[:3, :3], motion[:3, 3] = rig.pose
    content['cam1']['T_cn_cnm1'] = motion.tolist()
    content['cam1'].update(changes)
    return yaml.safe_dump(content)


def of_kitti(rig: RawRig, size: tuple[int, int] = SIZE) -> str:
    def row(label: str, numbers: Numbers) -> str:
        return f'{label}: {" ".join(f"{value:.17e}" for value in numbers)}\n'

    text = 'calib_time: 09-Jan-2012 13:57:47\ncorner_dist: 9.950000e-02\n'
    for number, camera in zip(('02', '03'), rig.cameras, strict=True):
        text += row(f'S_{number}', SIZE) + row(f'K_{number}', k_of(camera))
        text += row(f'D_{number}', camera.d) + row(f'S_rect_{number}', size)
        text += row(f'R_rect_{number}', camera.r)
        text += row(f'P_rect_{number}', camera.rectified.projection())
    return text


MIDDLEBURY = (
    'cam0=[100 0 30; 0 100 24; 0 0 1]\ncam1=[100 0 33; 0 100 24; 0 0 1]\ndoffs=3\n'
    'baseline=120\nwidth=64\nheight=48\nndisp=32\n'
)


def assert_same(found: calibration.RawCalibration, rig: RawRig) -> None:
    for camera, expected in zip(found.cameras(SIZE), rig.cameras, strict=True):
        assert camera.model == expected.model
        for name in ('intrinsics', 'rectified'):
            view, other = getattr(camera, name), getattr(expected, name)
            assert (view.width, view.height) == (other.width, other.height)
            np.testing.assert_allclose(view.projection(), other.projection(), atol=1e-9)
        np.testing.assert_allclose(camera.d, expected.d, atol=1e-12)
        np.testing.assert_allclose(camera.r, expected.r, atol=1e-12)
    assert found.camera(SIZE).baseline == pytest.approx(rig.camera.baseline)


def assert_rectifies(found: calibration.RawCalibration, rig: RawRig) -> None:
    """The file holds no R and P: those that were computed fit the pose and the lenses."""
    left, right = found.cameras(SIZE)
    for camera, expected in zip((left, right), rig.cameras, strict=True):
        assert (camera.model, camera.intrinsics) == (expected.model, expected.intrinsics)
    turn, apart = rig.pose
    r_left, r_right = (np.reshape(camera.r, (3, 3)) for camera in (left, right))
    np.testing.assert_allclose(r_right @ turn @ r_left.T, np.eye(3), atol=1e-9)
    camera = found.camera(SIZE)
    np.testing.assert_allclose(r_right @ apart, [-camera.baseline, 0, 0], atol=1e-9)
    assert (camera.cx_offset, left.rectified.cy) == (0, right.rectified.cy)


# --- layouts -------------------------------------------------------------------------------------


@pytest.mark.parametrize('model', LENSES)
def test_camera_infos_of_ros(tmp_path, model):
    rig = RawRig.of(model, *SIZE)
    source = write_ros(tmp_path, rig)
    assert_same(calibration.parse_raw(source), rig)
    assert_same(calibration.parse_raw(f'{source}/left.yaml,{source}/right.yaml'), rig)


@pytest.mark.parametrize('model', LENSES)
@pytest.mark.parametrize('suffix', ['yml', 'xml'])
@pytest.mark.parametrize('names', ['M{} D{}', 'K{} D{}', 'cameraMatrix{} distCoeffs{}'])
def test_one_file_of_opencv(tmp_path, model, suffix, names):
    rig = RawRig.of(model, *SIZE)
    flag = {'fisheye_model': 1} if model == 'equidistant' else {}
    both = ' '.join(f'{names} R{{}} P{{}}'.replace('{}', side) for side in '12').split()
    source = write_opencv(tmp_path / f'all.{suffix}', **matrices(rig, *both), **flag)
    assert_same(calibration.parse_raw(source), rig)
    lenses = [name for name in both if name[0] not in 'RP']
    source = write_opencv(tmp_path / f'pose.{suffix}', **matrices(rig, *lenses, 'R', 'T'), **flag)
    assert_rectifies(calibration.parse_raw(source), rig)


@pytest.mark.parametrize('suffix', ['yml', 'xml'])
def test_the_two_files_of_opencv(tmp_path, suffix):
    rig = RawRig.of('plumb_bob', *SIZE)
    first = write_opencv(
        tmp_path / f'intrinsics.{suffix}', **matrices(rig, 'M1', 'D1', 'M2', 'D2')
    )
    second = tmp_path / f'extrinsics.{suffix}'
    both = f'{first},{second}'
    write_opencv(second, **matrices(rig, 'R', 'T'))
    assert_rectifies(calibration.parse_raw(both), rig)
    write_opencv(second, **matrices(rig, 'R', 'T', 'R1', 'R2', 'P1', 'P2'))
    assert_same(calibration.parse_raw(both), rig)


def test_rectified_pairs_are_read_from_xml_too(tmp_path):
    rig = RawRig.of('plumb_bob', *SIZE)
    source = write_opencv(tmp_path / 'extrinsics.xml', **matrices(rig, 'R', 'T', 'P1', 'P2'))
    camera = calibration.read(source, SIZE)
    assert camera.left == rig.camera.left
    assert camera.baseline == pytest.approx(rig.camera.baseline)


@pytest.mark.parametrize('model', ['plumb_bob', 'equidistant'])
def test_a_camchain_of_kalibr(tmp_path, model):
    rig = RawRig.of(model, *SIZE)
    lenses = [RawCamera(c.intrinsics, model, c.d[:4], c.r, c.rectified) for c in rig.cameras]
    source = written(tmp_path / 'camchain.yaml', of_kalibr(RawRig(*lenses)))
    assert_rectifies(calibration.parse_raw(source), RawRig(*lenses))
    source = written(
        tmp_path / 'none.yaml', of_kalibr(rig, distortion_model='none', distortion_coeffs=[])
    )
    assert calibration.parse_raw(source).views[1].d == (0.0,) * 5


@pytest.mark.parametrize('size', [SIZE, (50, 40)])
def test_kitti(tmp_path, size):
    """Its rectified images are smaller than the raw ones."""
    rig = RawRig.of('plumb_bob', *SIZE)
    source = written(tmp_path / 'calib_cam_to_cam.txt', of_kitti(rig, size))
    found = calibration.parse_raw(source)
    for rectifier in found.rectifiers():
        assert rectifier.size == size
        assert rectifier(np.zeros((HEIGHT, WIDTH), np.uint8)).shape == size[::-1]
    if size == SIZE:
        assert_same(found, rig)
    with pytest.raises(CalibrationError, match='is for images of 64x48 and these are 50x40'):
        found.cameras((50, 40))


def test_middlebury_has_no_distortion(tmp_path):
    source = written(tmp_path / 'calib.txt', MIDDLEBURY)
    found = calibration.parse_raw(source)
    assert found.camera() == calibration.read(source)
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    for rectifier in found.rectifiers():
        np.testing.assert_array_equal(rectifier(image), image)


def test_settings_of_orb_slam(tmp_path):
    rig = RawRig.of('plumb_bob', *SIZE)
    text = '%YAML:1.0\n'
    for side, camera in zip(('LEFT', 'RIGHT'), rig.cameras, strict=True):
        text += f'{side}.width: {WIDTH}\n{side}.height: {HEIGHT}\n'
        for name, data in (
            ('K', k_of(camera)),
            ('D', camera.d),
            ('R', camera.r),
            ('P', camera.rectified.projection()),
        ):
            text += f'{side}.{name}: !!opencv-matrix\n   data: {[float(x) for x in data]}\n'
    assert_same(calibration.parse_raw(written(tmp_path / 'euroc.yaml', text)), rig)


@given(
    model=st.sampled_from(['plumb_bob', 'equidistant', 'rational_polynomial']),
    strength=st.floats(-1, 1),
    angles=st.tuples(*[st.floats(-0.1, 0.1)] * 3),
    focal=st.floats(20, 500),
    baseline=st.floats(0.01, 2),
)
@settings(max_examples=25, deadline=None)
def test_what_is_written_is_read(tmp_path_factory, model, strength, angles, focal, baseline):
    rig = RawRig.of(model, *SIZE, baseline=baseline)
    cameras = []
    for camera in rig.cameras:
        d = tuple(strength * value for value in LENSES[model])
        raw = camera.intrinsics.resized(*SIZE)
        r = tuple((rotation(*angles) @ np.reshape(camera.r, (3, 3))).reshape(-1))
        raw = type(raw)(*SIZE, focal, focal + 1, raw.cx, raw.cy)
        cameras.append(RawCamera(raw, model, d, r, camera.rectified))
    rig = RawRig(*cameras)
    folder = tmp_path_factory.mktemp('calibration')
    assert_same(calibration.parse_raw(write_ros(folder, rig)), rig)
    if model == 'plumb_bob':
        assert_same(calibration.parse_raw(written(folder / 'kitti.txt', of_kitti(rig))), rig)
    names = [f'{name}{side}' for side in '12' for name in 'KDRP']
    for suffix in ('yml', 'xml'):
        flag = {'fisheye_model': int(model == 'equidistant')}
        source = write_opencv(folder / f'opencv.{suffix}', **matrices(rig, *names), **flag)
        assert_same(calibration.parse_raw(source), rig)


# --- single cameras ------------------------------------------------------------------------------


def test_single_cameras(tmp_path):
    rig = RawRig.of('plumb_bob', *SIZE)
    write_ros(tmp_path, rig)
    left = str(tmp_path / 'left.yaml')
    with pytest.raises(CalibrationError, match=r'describes one camera; give both'):
        calibration.parse_raw(left)
    found = calibration.parse_raw(left, single=True)
    assert found.cameras() == rig.cameras[:1]
    assert found.left_camera() == rig.left.rectified
    both = calibration.parse_for(tmp_path, single=True, rectify=True)
    assert both.left_camera() == rig.left.rectified


def test_a_single_camera_needs_neither_r_nor_p(tmp_path):
    camera = RawRig.of('plumb_bob', *SIZE).left
    content = yaml.safe_load(of_ros(camera))
    del content['rectification_matrix'], content['projection_matrix']
    source = written(tmp_path / 'camera.yaml', yaml.safe_dump(content))
    (found,) = calibration.parse_raw(source, single=True).cameras()
    assert found.rectified == found.intrinsics == camera.intrinsics
    assert found.r == (1, 0, 0, 0, 1, 0, 0, 0, 1)


# --- what cannot be used -------------------------------------------------------------------------


def without(text: str, key: str) -> str:
    content = yaml.safe_load(text)
    del content[key]
    return yaml.safe_dump(content)


ROS = of_ros(RawRig.of('plumb_bob', *SIZE).left)
KALIBR = of_kalibr(RawRig.of('equidistant', *SIZE))
KITTI = of_kitti(RawRig.of('plumb_bob', *SIZE))


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', r'is no calibration of cameras before rectification; give a folder or left\.yaml'),
        ('hello: world', 'is no calibration of cameras before rectification'),
        ('<html></html>', 'XML, but <html> instead of the <opencv_storage>'),
        ('P0: 1 2 3\n', 'is no calibration of cameras before rectification'),
        (KITTI.replace('R_rect_03', 'R_03'), 'R_rect_03 is missing; rectification needs a 3x3'),
        (KITTI.replace('D_02: ', 'D_02: 1 '), 'D_02 has 6 numbers; the distortion has 5'),
        (KITTI + 'K_02: ' + '1 ' * 9, 'K_02 is given twice; keep the right one'),
        (KALIBR.replace('T_cn_cnm1', 'T'), 'cam1: T_cn_cnm1 is missing, and rectification'),
        (KALIBR.replace('pinhole', 'omni'), 'cam0 is omni-equidistant; pinhole-radtan and pinhol'),
        (KALIBR.replace('equidistant', 'fov'), 'cam0 is pinhole-fov; pinhole-radtan'),
        (KALIBR.replace('intrinsics', 'inner'), 'cam0: intrinsics is missing'),
        (KALIBR.replace('resolution', 'size'), 'cam0: resolution is missing'),
        ('K1: [1]\nD1: [0]', 'K1 has no 9 numbers'),
        ('M1: [1, 0, 0, 0, 1, 0, 0, 0, 1]\n', 'D1 is missing, and rectification needs it'),
        (MIDDLEBURY.replace('width', 'breadth'), 'width is missing; one number is needed'),
        (ROS, r'describes one camera; give both: left\.yaml,right\.yaml'),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, text, message):
    with pytest.raises(CalibrationError, match=message):
        calibration.parse_raw(written(tmp_path / 'calib.yaml', text))


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (without(ROS, 'camera_matrix'), 'names files of different kinds'),
        (KALIBR, 'names files of different kinds; give two of one calibration'),
        ('no names', 'names files of different kinds'),
        (
            without(ROS, 'distortion_coefficients'),
            r'right\.yaml: distortion_coefficients is missing, and rectification needs it',
        ),
        (without(ROS, 'projection_matrix'), 'neither R and P of both cameras nor how they stand'),
        (ROS.replace('plumb_bob', 'fov'), "the distortion model is 'fov'; known are"),
        (
            ROS.replace('_width: 64', '_width: 65'),
            'left is for images of 64x48 and right of 65x',
        ),
        (ROS.replace('_width: 64', '_width: -1'), 'image_width is -1; it is a number of pixels'),
    ],
)
def test_what_is_wrong_with_one_of_two_files_is_said(tmp_path, text, message):
    written(tmp_path / 'left.yaml', ROS)
    written(tmp_path / 'right.yaml', text)
    with pytest.raises(CalibrationError, match=message):
        calibration.parse_raw(tmp_path).cameras()


POSE = ('K1', 'D1', 'K2', 'D2', 'R', 'T')


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'R': np.zeros((3, 3))}, 'R is all zeros'),
        ({'R': np.diag([1.0, 1.0, -1.0])}, 'is no rotation; calibrate'),
        ({'R': 1.5 * np.eye(3)}, r'R = \[1\.5, .* is no rotation'),
        ({'R': np.full((3, 3), np.nan)}, "R is '.Nan', not a number"),
        ({'T': np.array([0.01, 0.0, 0.5])}, r'T .* is \[0\.01, 0\.0, 0\.5\], along the view'),
    ],
)
def test_how_cameras_stand_to_each_other_must_be_possible(tmp_path, changes, message):
    known = {**matrices(RawRig.of('plumb_bob', *SIZE), *POSE), **changes}
    with pytest.raises(CalibrationError, match=message):
        calibration.parse_raw(write_opencv(tmp_path / 'pose.yml', **known)).cameras(SIZE)


def test_a_file_that_is_cut_off_is_told(tmp_path):
    source = Path(
        write_opencv(tmp_path / 'a.yml', **matrices(RawRig.of('plumb_bob', *SIZE), *POSE))
    )
    text = source.read_text()
    source.write_text(text[: text.rindex('opencv-matrix') + 6])
    with pytest.raises(CalibrationError, match=r'cannot be read at line \d+: .* is cut off'):
        calibration.parse_raw(source)


def test_urls_of_camera_drivers_name_files(tmp_path):
    rig = RawRig.of('plumb_bob', *SIZE)
    folder = write_ros(tmp_path, rig)
    both = f'file://{folder}/left.yaml,file://{folder}/right.yaml'
    assert_same(calibration.parse_raw(both), rig)
    assert calibration.parse(both) == calibration.parse(both.replace('file://', ''))


@pytest.mark.parametrize('source', ['100,100,32,24,0.1', 'left.yaml,', 'a\0b'])
def test_numbers_tell_no_distortion(source):
    with pytest.raises(CalibrationError, match='names no file with the distortion of cameras'):
        calibration.parse_raw(source)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nowhere\.yaml'):
        calibration.parse_raw(tmp_path / 'nowhere.yaml')


def test_a_camera_of_ros_names_its_file():
    content = read_mapping('left.yaml', ROS.replace('data', 'numbers'))
    with pytest.raises(CalibrationError, match=r'left\.yaml: distortion_coefficients has no list'):
        read_camera_info('left.yaml', content)
