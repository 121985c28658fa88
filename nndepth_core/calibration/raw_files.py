"""Cameras before rectification, from names and values: ROS, OpenCV, ORB-SLAM and Kalibr."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nndepth_core.calibration.raw import Matrix, RawCalibration, RawView
from nndepth_core.calibration.yaml_files import matrix_of, size_in
from nndepth_core.camera import CalibrationError

Names = tuple[str, ...]
"""The names of K, D, R and P of one camera."""


def _numbered(*names: str) -> tuple[Names, Names]:
    left, right = (tuple(f'{name}{number}' for name in names) for number in (1, 2))
    return left, right


_ROS = 'camera_matrix', 'distortion_coefficients', 'rectification_matrix', 'projection_matrix'
_PAIRS = (
    _numbered('M', 'D', 'R', 'P'),
    _numbered('K', 'D', 'R', 'P'),
    _numbered('cameraMatrix', 'distCoeffs', 'R', 'P'),
    (('LEFT.K', 'LEFT.D', 'LEFT.R', 'LEFT.P'), ('RIGHT.K', 'RIGHT.D', 'RIGHT.R', 'RIGHT.P')),
)
"""The names in files of pairs by OpenCV, and by others who write like it."""
_KALIBR_MODELS = {'radtan': 'plumb_bob', 'equidistant': 'equidistant', 'none': 'plumb_bob'}


def read_camera_info(name: str, content: Mapping[str, Any]) -> RawView:
    """Read the file of one camera that camera_calibration of ROS wrote, or OpenCV's sample.

    Raises:
        CalibrationError: a name is missing or has no such value.
    """
    return _view(name, content, _ROS)


def read_opencv(name: str, content: Mapping[str, Any]) -> RawCalibration | None:
    """Read a pair as cv2.FileStorage holds it; None if the names of no layout are there.

    Raises:
        CalibrationError: a name is missing or has no such value.
    """
    for left, right in _PAIRS:
        if left[0] not in content and right[0] not in content:
            continue
        views = _view(name, content, left), _view(name, content, right)
        if all(view.r and view.p for view in views):
            return RawCalibration(name, views)
        pose = _matrix(name, content, 'R', 9), _matrix(name, content, 'T', 3)
        return RawCalibration(name, views, pose)
    return None


def _view(name: str, content: Mapping[str, Any], names: Names) -> RawView:
    """Read a camera whose K, D, R and P have these names; R and P may be missing."""
    d = _matrix(name, content, names[1])
    return RawView(
        k=_matrix(name, content, names[0], 9),
        model=_model(content, d),
        d=d,
        r=_matrix(name, content, names[2], 9) if names[2] in content else None,
        p=_matrix(name, content, names[3], 12) if names[3] in content else None,
        size=size_in(name, content),
    )


def _model(content: Mapping[str, Any], d: Matrix) -> str:
    """The distortion model; OpenCV tells fisheye cameras by a flag and others by nothing."""
    if 'distortion_model' in content:
        return str(content['distortion_model'])
    if str(content.get('fisheye_model', 0)) != '0':
        return 'equidistant'
    return 'plumb_bob' if len(d) <= 5 else 'rational_polynomial'


def read_kalibr(name: str, content: Mapping[str, Any]) -> RawCalibration | None:
    """Read cam0 and cam1 of a camchain; only cam0 if there is no other; None without cam0.

    Raises:
        CalibrationError: a name is missing or has no such value.
    """
    cameras = {key: content[key] for key in ('cam0', 'cam1') if isinstance(content.get(key), dict)}
    if 'cam0' not in cameras:
        return None
    views = tuple(_kalibr_view(f'{name}: {key}', camera) for key, camera in cameras.items())
    if len(views) == 1:
        return RawCalibration(name, views)
    motion = _matrix(f'{name}: cam1', cameras['cam1'], 'T_cn_cnm1', 16)
    rows = [motion[start : start + 4] for start in (0, 4, 8)]
    rotation = tuple(value for row in rows for value in row[:3])
    return RawCalibration(name, views, (rotation, tuple(row[3] for row in rows)))


def _kalibr_view(name: str, camera: Mapping[str, Any]) -> RawView:
    kind, model = camera.get('camera_model'), camera.get('distortion_model')
    if kind != 'pinhole' or model not in _KALIBR_MODELS:
        raise CalibrationError(
            f'{name} is {kind}-{model}; pinhole-radtan and pinhole-equi can be rectified: '
            'calibrate with one of these'
        )
    fx, fy, cx, cy = _matrix(name, camera, 'intrinsics', 4)
    width, height = _matrix(name, camera, 'resolution', 2)
    size = {'image_width': width, 'image_height': height}
    return RawView(
        k=(fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0),
        model=_KALIBR_MODELS[model],
        d=(0.0,) * 5 if model == 'none' else _matrix(name, camera, 'distortion_coeffs', 4),
        size=size_in(name, size),
    )


def _matrix(name: str, content: Mapping[str, Any], key: str, count: int | None = None) -> Matrix:
    if key not in content:
        raise CalibrationError(f'{name}: {key} is missing, and rectification needs it')
    return tuple(matrix_of(name, content, key, count))
