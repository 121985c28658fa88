"""Calibrations of names and values: camera_info of ROS, FileStorage of OpenCV, ORB-SLAM."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from nndepth_core.calibration.xml_files import read_storage
from nndepth_core.camera import CalibrationError
from nndepth_core.files.yaml_mapping import UniqueNames, parse_mapping

_PAIRS = (('P1', 'P2'), ('LEFT.P', 'RIGHT.P'))
_SIZES = (
    ('image_width', 'image_height'),
    ('LEFT.width', 'LEFT.height'),
    ('Camera.width', 'Camera.height'),
    ('width', 'height'),
)
_ORB_SLAM = ('Camera.fx', 'Camera.fy', 'Camera.cx', 'Camera.cy', 'Camera.bf')
_RAW = (
    'M1',
    'D1',
    'K1',
    'cameraMatrix1',
    'LEFT.K',
    'Camera1.fx',
    'cam0',
    'R',
    'T',
    'camera_matrix',
)
Matrix = Sequence[float]


class _Loader(UniqueNames):
    """A loader that reads a matrix of OpenCV as a mapping with rows, cols and data."""


_Loader.add_constructor(
    'tag:yaml.org,2002:opencv-matrix',
    lambda loader, node: loader.construct_mapping(node, deep=True),
)


def read_mapping(name: str, text: str) -> dict[str, Any]:
    """Read YAML or XML; also that of OpenCV, whose YAML has a first line and types of its own.

    Raises:
        CalibrationError: The text holds no names and values.
    """
    if text.lstrip().startswith('<'):
        return read_storage(name, text)
    try:
        return parse_mapping(name, re.sub(r'\A%YAML:\s*1\.\d\s*(\r?\n---)?', '', text), _Loader)
    except ValueError as error:
        if isinstance(error.__cause__, yaml.constructor.ConstructorError):
            mark = error.__cause__.problem_mark
            raise CalibrationError(
                f'{name} cannot be read at line {mark.line + 1 if mark else 1}: what stands there '
                'is no matrix or is cut off; write the calibration again'
            ) from error
        raise CalibrationError(str(error)) from error


def pair_of(
    name: str, content: Mapping[str, Any]
) -> tuple[Matrix, Matrix, tuple[int, int] | None] | None:
    """Find the projection matrices of a pair, and the size of its images if it is given.

    Returns:
        None if there are no such matrices.

    Raises:
        CalibrationError: a matrix is not 3x4, or the file is known to describe something else.
    """
    size = size_in(name, content)
    for left, right in _PAIRS:
        if left in content and right in content:
            return matrix_of(name, content, left), matrix_of(name, content, right), size
    if all(key in content for key in _ORB_SLAM):
        fx, fy, cx, cy, bf = (_number(name, key, content[key]) for key in _ORB_SLAM)
        p = [fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
        return p, [*p[:3], -bf, *p[4:]], size
    if 'projection_matrix' in content:
        raise CalibrationError(
            f'{name} is the camera_info of one camera; give both: left.yaml,right.yaml'
        )
    if found := [key for key in _RAW if key in content]:
        raise CalibrationError(
            f'{name} describes cameras before rectification ({", ".join(found)}); set rectify '
            'if the images are not rectified, or else the file with P1 and P2 '
            'that cv2.stereoRectify computed, in metres, or fx,fy,cx,cy,baseline'
        )
    return None


def matrix_of(
    name: str, content: Mapping[str, Any], key: str, count: int | None = 12
) -> list[float]:
    """Return the numbers of a matrix, row by row.

    Args:
        name: the name of the file, for messages.
        content: names and values.
        key: the name of the matrix, whose value is a list, maybe of rows, or holds it in `data`.
        count: how many numbers it has; None allows any.

    Raises:
        CalibrationError: it has no such numbers.
    """
    matrix = content.get(key)
    data = matrix.get('data') if isinstance(matrix, dict) else matrix
    if isinstance(data, list) and any(isinstance(row, list) for row in data):
        data = [value for row in data for value in (row if isinstance(row, list) else [row])]
    if not isinstance(data, list) or count not in (None, len(data)):
        raise CalibrationError(f'{name}: {key} has no {count or "list of"} numbers in its data')
    return [_number(name, key, value) for value in data]


def size_in(name: str, content: Mapping[str, Any]) -> tuple[int, int] | None:
    """Find width and height by the keys that are in use; None if there are none.

    Raises:
        CalibrationError: one is missing or is no number of pixels.
    """
    return next((size_of(name, content, keys) for keys in _SIZES if keys[0] in content), None)


def size_of(name: str, content: Mapping[str, Any], keys: tuple[str, str]) -> tuple[int, int]:
    """Return width and height, which are found by their keys.

    Raises:
        CalibrationError: one is missing or is no number of pixels.
    """
    width, height = (whole(name, key, content.get(key)) for key in keys)
    return width, height


def whole(name: str, key: str, value: Any) -> int:
    """Return a number of pixels.

    Raises:
        CalibrationError: the value is no number of pixels.
    """
    number = _number(name, key, value)
    if not 1 <= number <= 1 << 20:  # also true for NaN
        raise CalibrationError(f'{name}: {key} is {number:g}; it is a number of pixels')
    return int(number)


def _number(name: str, key: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise CalibrationError(f'{name}: {key} is {str(value)[:40]!r}, not a number') from error
