"""Calibrations in YAML: ROS's camera_info, OpenCV's FileStorage, the settings of ORB-SLAM."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from nndepth_core.camera import CalibrationError

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
_NESTING = {'[': 1, '{': 1, ']': -1, '}': -1}
Matrix = Sequence[float]


def read_mapping(name: str, text: str) -> dict[str, Any]:
    """Read YAML, that of OpenCV too, whose first line and types are its own.

    Raises:
        CalibrationError: it is no YAML of names and values, or PyYAML is missing.
    """
    try:
        import yaml
    except ImportError as error:
        raise CalibrationError(f'{name} is YAML; reading it needs: pip install PyYAML') from error

    class Loader(yaml.SafeLoader):
        """Takes a matrix of OpenCV for the rows, cols and data that it is; no name comes twice."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            names = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
            if twice := [key for key in names if names[key] > 1]:
                raise yaml.YAMLError(f'{twice[0]} is given twice; keep the right one')
            return super().construct_mapping(node, deep)

    Loader.add_constructor(
        'tag:yaml.org,2002:opencv-matrix',
        lambda loader, node: loader.construct_mapping(node, deep=True),
    )
    # before PyYAML sees it, whose time grows with the square of the depth
    if (
        max(
            itertools.accumulate(map(_NESTING.__getitem__, re.findall(r'[][{}]', text))), default=0
        )
        > 20
    ):
        raise CalibrationError(f'{name} is nested too deeply for a calibration')
    text = re.sub(r'\A%YAML:\s*1\.\d\s*(\r?\n---)?', '', text)
    try:
        content = yaml.load(text, Loader)
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise CalibrationError(f'{name} is no YAML ({_first_line(error)})') from error
    except RecursionError as error:
        raise CalibrationError(f'{name} is nested too deeply for a calibration') from error
    if not isinstance(content, dict):
        raise CalibrationError(f'{name} holds no names and values')
    return content


def pair_of(
    name: str, content: Mapping[str, Any]
) -> tuple[Matrix, Matrix, tuple[int, int] | None] | None:
    """Find the projection matrices of a pair, and the size of its images where that is told.

    Returns:
        None where there are none.

    Raises:
        CalibrationError: a matrix is not 3x4, or the file describes something else that is known.
    """
    size = next((size_of(name, content, keys) for keys in _SIZES if keys[0] in content), None)
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
            f'{name} describes cameras before rectification ({", ".join(found)}) and images here '
            'are rectified; give the file with P1 and P2 that cv2.stereoRectify computed, in '
            'metres, or fx,fy,cx,cy,baseline'
        )
    return None


def matrix_of(name: str, content: Mapping[str, Any], key: str) -> list[float]:
    """The 12 numbers of a 3x4 matrix.

    Raises:
        CalibrationError: there are no 12 numbers.
    """
    matrix = content.get(key)
    data = matrix.get('data') if isinstance(matrix, dict) else matrix
    if not isinstance(data, list) or len(data) != 12:
        raise CalibrationError(f'{name}: {key} has no 12 numbers in its data')
    return [_number(name, key, value) for value in data]


def size_of(name: str, content: Mapping[str, Any], keys: tuple[str, str]) -> tuple[int, int]:
    """Width and height by their keys.

    Raises:
        CalibrationError: one is missing or no number of pixels.
    """
    width, height = (whole(name, key, content.get(key)) for key in keys)
    return width, height


def whole(name: str, key: str, value: Any) -> int:
    """A number of pixels.

    Raises:
        CalibrationError: the value is none.
    """
    number = _number(name, key, value)
    if not 1 <= number <= 1 << 20:  # NaN is not either
        raise CalibrationError(f'{name}: {key} is {number:g}; it is a number of pixels')
    return int(number)


def _number(name: str, key: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise CalibrationError(f'{name}: {key} is {str(value)[:40]!r}, not a number') from error


def _first_line(error: Exception) -> str:
    return ' '.join(str(error).split())[:200]
