"""Reads the calibration of a rectified pair in the layouts that are in use."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nndepth_core.calibration.yaml_files import matrix_of, pair_of, read_mapping, size_of, whole
from nndepth_core.camera import CalibrationError, PinholeCamera, StereoCamera

LAYOUTS = (
    "KITTI's calib_cam_to_cam.txt or calib.txt, Middlebury's or ETH3D's calib.txt, a folder or "
    'left.yaml,right.yaml of ROS camera_info, the YAML with P1 and P2 of cv2.stereoRectify in '
    'metres, or fx,fy,cx,cy,baseline[,doffs] in pixels and metres'
)
SINGLE_LAYOUTS = 'fx,fy,cx,cy in pixels or one YAML of ROS camera_info'

# The colour cameras come first; the grey ones are used if there are no others.
_KITTI_PAIRS = (('P_rect_02', 'P_rect_03'), ('P2', 'P3'), ('P_rect_00', 'P_rect_01'), ('P0', 'P1'))

_LARGEST = 1 << 17
"""The most bytes of a calibration file; those of all publishers have a few thousand."""
_NUMBER = re.compile(r'-?\d+\.?\d*(?:[eE][-+]?\d+)?')


@dataclass(frozen=True)
class Calibration:
    """A calibration as published: row-major 3x4 matrices, and the image size if it is given.

    Attributes:
        source: where the calibration was read from, for messages.
        p_left: the projection matrix of the left camera.
        p_right: the projection matrix of the right camera.
        size: (width, height) of the images it is for, None if the source does not say.
    """

    source: str
    p_left: Sequence[float]
    p_right: Sequence[float]
    size: tuple[int, int] | None = None

    def camera(self, size: tuple[int, int] | None = None) -> StereoCamera:
        """Make the stereo camera for images of (width, height).

        Raises:
            CalibrationError: the sizes contradict each other, or none is known.
        """
        return StereoCamera.from_projections(self.p_left, self.p_right, *self._size(size))

    def left_camera(self, size: tuple[int, int] | None = None) -> PinholeCamera:
        """Make only the left camera; see `camera`."""
        return PinholeCamera.from_projection(self.p_left, *self._size(size))

    def _size(self, size: tuple[int, int] | None) -> tuple[int, int]:
        if self.size and size and self.size != size:
            raise CalibrationError(
                f'{self.source} is for images of {self.size[0]}x{self.size[1]} and these are '
                f'{size[0]}x{size[1]}; give the calibration of these images'
            )
        known = self.size or size
        if known is None:
            raise CalibrationError(f'{self.source} does not tell the image size; give it')
        return known


def read(source: str | Path, size: tuple[int, int] | None = None) -> StereoCamera:
    """Read the calibration of a rectified pair.

    Args:
        source: one of LAYOUTS.
        size: (width, height) of the images; it is compared with the size in the source, if any.

    Raises:
        FileNotFoundError: there is no such file.
        CalibrationError: the source has none of the layouts, or contradicts the size.
    """
    return parse(source).camera(size)


def parse(source: str | Path) -> Calibration:
    """Read a calibration for images whose size is not known yet; see `read`."""
    name = str(source)
    parts = name.split(',')
    if len(parts) > 2:
        return _from_numbers(name, parts)
    if len(parts) == 2:
        if not all(parts):
            raise CalibrationError(f'{name!r} names one file; name both: left.yaml,right.yaml')
        return _from_camera_infos(name, Path(parts[0]), Path(parts[1]))
    if '\0' in name:
        raise CalibrationError(f'{name!r} is no name of a file; give {LAYOUTS}')
    path = Path(name)
    if path.is_dir():
        return _from_camera_infos(name, _only(path, 'left'), _only(path, 'right'))
    text = _text(path)
    readers: tuple[Callable[[str, str], Calibration | None], ...] = (
        _from_kitti,
        _from_middlebury,
        _from_yaml,
    )
    for reader in readers:
        if calibration := reader(name, text):
            return calibration
    raise CalibrationError(f'{name} is no calibration of a pair; give {LAYOUTS}')


def parse_single(source: str | Path) -> Calibration:
    """Read the calibration of one camera, or the left camera from that of a pair.

    Args:
        source: one of SINGLE_LAYOUTS or LAYOUTS.

    Raises:
        FileNotFoundError: there is no such file.
        CalibrationError: the source has none of the layouts.
    """
    name = str(source)
    parts = name.split(',')
    if len(parts) in (3, 4):
        try:
            fx, fy, cx, cy = (float(part) for part in parts)
        except ValueError as error:
            raise CalibrationError(f'{name!r} is not fx,fy,cx,cy: four numbers') from error
        return _pair(name, (fx, fy, cx, cy), 0, 0)
    if len(parts) == 1 and Path(name).suffix in ('.yaml', '.yml') and Path(name).is_file():
        content = read_mapping(name, _text(Path(name)))
        if 'projection_matrix' in content:
            p, size = _camera_info(name, content)
            return Calibration(name, p, p, size)
    return parse(source)


def _from_numbers(name: str, parts: Sequence[str]) -> Calibration:
    try:
        fx, fy, cx, cy, baseline, *rest = (float(part) for part in parts)
        (doffs,) = rest or [0.0]
    except ValueError as error:
        raise CalibrationError(
            f'{name!r} is not fx,fy,cx,cy,baseline[,doffs]: five or six numbers'
        ) from error
    return _pair(name, (fx, fy, cx, cy), baseline, doffs)


def _from_kitti(name: str, text: str) -> Calibration | None:
    """Read rows `P2: 12 numbers` or `P_rect_02: ...`; rows without a name count as P0, P1."""
    rows: dict[str, list[float]] = {}
    labels: list[str] = []
    for line in text.splitlines():
        label, _, values = line.rpartition(':')
        try:
            numbers = [float(value) for value in values.split()]
        except ValueError:
            continue
        labels.append(label.strip())
        rows[label.strip() or f'P{len(rows)}'] = numbers
    for left, right in _KITTI_PAIRS:
        for label in (left, right) if rows.get(left) and rows.get(right) else ():
            if label in labels and len(rows[label]) != 12:
                raise CalibrationError(
                    f'{name}: {label} has {len(rows[label])} numbers; a 3x4 matrix has 12'
                )
            if labels.count(label) > 1:
                raise CalibrationError(f'{name}: {label} is given twice; keep the right one')
        if len(rows.get(left, ())) == 12 and len(rows.get(right, ())) == 12:
            key = left.replace('P', 'S')
            told = [whole(name, key, value) for value in rows.get(key, ())]
            size = (told[0], told[1]) if len(told) == 2 else None
            return Calibration(name, rows[left], rows[right], size)
    return None


def _from_middlebury(name: str, text: str) -> Calibration | None:
    """Read rows `cam0=[fx 0 cx; 0 fy cy; 0 0 1]` and doffs, baseline (mm), width, height."""
    lines = [line.partition('=') for line in text.splitlines()]
    keys = [key.strip() for key, equals, _ in lines if equals]
    rows = {key.strip(): values.strip() for key, equals, values in lines if equals}
    if 'cam0' not in rows:
        return None

    def numbers(key: str, count: int = 1) -> list[float]:
        found = [float(number) for number in _NUMBER.findall(rows.get(key, ''))]
        if keys.count(key) > 1:
            raise CalibrationError(f'{name}: {key} is given twice; keep the right one')
        if len(found) != count:
            said = f'is {rows[key][:40]!r}' if key in rows else 'is missing'
            due = 'one number is' if count == 1 else f'{count} numbers are'
            raise CalibrationError(
                f'{name}: {key} {said}; {due} needed there in the layout of Middlebury'
            )
        return found

    fx, _, cx, _, fy, cy, *_ = numbers('cam0', 9)
    width, height = (whole(name, key, *numbers(key)) for key in ('width', 'height'))
    (doffs,) = numbers('doffs') if 'doffs' in rows else (0.0,)
    if 'cam1' in rows and abs((apart := numbers('cam1', 9)[2] - cx) - doffs) > 1:
        raise CalibrationError(
            f'{name}: doffs is {doffs:g}, but cx of cam1 minus cx of cam0 is {apart:g}, and both '
            'should be the same number; correct the wrong one'
        )
    (baseline,) = numbers('baseline')
    return _pair(name, (fx, fy, cx, cy), baseline / 1000, doffs, (width, height))


def _pair(
    name: str,
    intrinsics: tuple[float, float, float, float],
    baseline: float,
    doffs: float,
    size: tuple[int, int] | None = None,
) -> Calibration:
    """Make a pair with one focal length; doffs = cx_right - cx_left in pixels, baseline in m."""
    fx, fy, cx, cy = intrinsics
    left = (fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0)
    right = (fx, 0.0, cx + doffs, -fx * baseline, *left[4:])
    return Calibration(name, left, right, size)


def _from_camera_infos(name: str, left: Path, right: Path) -> Calibration:
    infos = [(str(path), read_mapping(str(path), _text(path))) for path in (left, right)]
    for source, content in infos:  # OpenCV writes both cameras into intrinsics and extrinsics
        if 'P1' in content and (found := pair_of(source, content)):
            return Calibration(source, *found)
    (p_left, left_size), (p_right, right_size) = (_camera_info(*info) for info in infos)
    if left_size != right_size:
        raise CalibrationError(
            f'{left} is for images of {left_size[0]}x{left_size[1]} and {right} for '
            f'{right_size[0]}x{right_size[1]}; both cameras of a pair must have one size'
        )
    return Calibration(name, p_left, p_right, left_size)


def _camera_info(name: str, content: Mapping[str, Any]) -> tuple[list[float], tuple[int, int]]:
    """Read P and the size from a file that camera_calibration wrote."""
    if 'projection_matrix' not in content:
        pair_of(name, content)  # raises an error that says what the file is, if that is known
        raise CalibrationError(
            f'{name} is no camera_info: it needs image_width, image_height and a '
            'projection_matrix with 12 data'
        )
    size = size_of(name, content, ('image_width', 'image_height'))
    return matrix_of(name, content, 'projection_matrix'), size


def _from_yaml(name: str, text: str) -> Calibration | None:
    """Read P1 and P2 as cv2.stereoRectify computes them, or the settings of ORB-SLAM."""
    if not text.startswith('%YAML') and not re.search(r'(?m)^[\w.]+\s*:', text):
        return None
    found = pair_of(name, read_mapping(name, text))
    return Calibration(name, *found) if found else None


def _text(path: Path) -> str:
    size = path.stat().st_size
    if size > _LARGEST:
        raise CalibrationError(
            f'{path} has {size} bytes, far more than a calibration; give {LAYOUTS}'
        )
    with path.open('rb') as file:
        data = file.read(_LARGEST)
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = data.decode('utf-16' if wide else 'utf-8-sig', errors='replace')
    if text.startswith('<'):
        raise CalibrationError(
            f'{path} is XML or a web page; save it as YAML, as cv2.FileStorage does for a name '
            'that ends in .yaml, or give fx,fy,cx,cy,baseline'
        )
    return text


def _only(folder: Path, side: str) -> Path:
    found = sorted(path for path in folder.glob('*.y*ml') if side in path.name)
    if len(found) != 1:
        raise CalibrationError(
            f'{folder} holds {len(found)} YAML files with {side} in their name instead of one; '
            'name both: left.yaml,right.yaml'
        )
    return found[0]
