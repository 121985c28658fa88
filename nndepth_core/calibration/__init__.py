"""Reads the calibration of a pair or a single camera in the layouts that are in use."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nndepth_core.calibration.files import only_file, read_text
from nndepth_core.calibration.raw import RawCalibration
from nndepth_core.calibration.raw_files import read_camera_info, read_kalibr, read_opencv
from nndepth_core.calibration.rectified import Calibration
from nndepth_core.calibration.text_files import (
    read_kitti,
    read_middlebury,
    read_raw_kitti,
    read_raw_middlebury,
)
from nndepth_core.calibration.yaml_files import matrix_of, pair_of, read_mapping, size_of
from nndepth_core.camera import CalibrationError, StereoCamera

__all__ = [
    'AnyCalibration',
    'Calibration',
    'RawCalibration',
    'parse',
    'parse_for',
    'parse_raw',
    'parse_single',
    'read',
]
AnyCalibration = Calibration | RawCalibration
LAYOUTS = (
    "KITTI's calib_cam_to_cam.txt or calib.txt, Middlebury's or ETH3D's calib.txt, a folder or "
    'left.yaml,right.yaml of ROS camera_info, the YAML or XML with P1 and P2 of '
    'cv2.stereoRectify in metres, or fx,fy,cx,cy,baseline[,doffs] in pixels and metres'
)
SINGLE_LAYOUTS = 'fx,fy,cx,cy in pixels or one YAML of ROS camera_info'
RAW_LAYOUTS = (
    'a folder or left.yaml,right.yaml of ROS camera_info, the YAML or XML of OpenCV with K, D and '
    "R, T of the pair (intrinsics.yml,extrinsics.yml), Kalibr's camchain, KITTI's "
    "calib_cam_to_cam.txt, or Middlebury's calib.txt"
)


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
    name = _local(source)
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
        return _from_camera_infos(name, only_file(path, 'left'), only_file(path, 'right'))
    text = read_text(path, LAYOUTS)
    readers: tuple[Callable[[str, str], Calibration | None], ...] = (
        read_kitti,
        read_middlebury,
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
    name = _local(source)
    parts = name.split(',')
    if len(parts) in (3, 4):
        try:
            fx, fy, cx, cy = (float(part) for part in parts)
        except ValueError as error:
            raise CalibrationError(f'{name!r} is not fx,fy,cx,cy: four numbers') from error
        return Calibration.of_one_focal_length(name, (fx, fy, cx, cy), 0, 0)
    if len(parts) == 1 and Path(name).suffix in ('.yaml', '.yml') and Path(name).is_file():
        content = read_mapping(name, read_text(Path(name), LAYOUTS))
        if 'projection_matrix' in content:
            p, size = _camera_info(name, content)
            return Calibration(name, p, p, size)
    return parse(source)


def parse_raw(source: str | Path, single: bool = False) -> RawCalibration:
    """Read the calibration of cameras whose images are not rectified.

    Args:
        source: one of RAW_LAYOUTS; for a single camera also one file of it.
        single: whether one camera is enough.

    Raises:
        FileNotFoundError: there is no such file.
        CalibrationError: the source has none of the layouts, or something is missing in it.
    """
    name = _local(source)
    parts = name.split(',')
    if len(parts) > 2 or '\0' in name or not all(parts):
        raise CalibrationError(
            f'{name!r} names no file with the distortion of cameras; give {RAW_LAYOUTS}'
        )
    paths = [Path(part) for part in parts]
    if len(paths) == 1 and paths[0].is_dir():
        paths = [only_file(paths[0], side) for side in ('left', 'right')]
    texts = [read_text(path, RAW_LAYOUTS) for path in paths]
    found = _raw_of_text(name, texts[0]) if len(texts) == 1 else None
    if found is None:
        contents = [
            read_mapping(str(path), text)
            for path, text in zip(paths, texts, strict=True)
            if _has_names(text)
        ]
        found = _raw_of_mappings(name, contents, [str(path) for path in paths])
    if not single and len(found.views) < 2:
        raise CalibrationError(f'{name} describes one camera; give both: left.yaml,right.yaml')
    return found


def _raw_of_text(name: str, text: str) -> RawCalibration | None:
    return read_raw_kitti(name, text) or read_raw_middlebury(name, text)


def _raw_of_mappings(
    name: str, contents: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> RawCalibration:
    """Find one layout in the names and values of one file, or of two."""
    infos = ['camera_matrix' in content for content in contents]
    if len(names) > 1 and (len(contents) < len(names) or len({*infos}) > 1):
        raise CalibrationError(
            f'{name} names files of different kinds; give two of one calibration: '
            'left.yaml,right.yaml of ROS, or intrinsics.yml,extrinsics.yml of OpenCV'
        )
    joined = {key: value for content in contents for key, value in content.items()}
    if found := read_opencv(name, joined) or read_kalibr(name, joined):
        return found
    if len(contents) == len(names) and all('camera_matrix' in content for content in contents):
        views = (read_camera_info(*info) for info in zip(names, contents, strict=True))
        return RawCalibration(name, tuple(views))
    raise CalibrationError(
        f'{name} is no calibration of cameras before rectification; give {RAW_LAYOUTS}'
    )


def parse_for(source: str | Path, single: bool = False, rectify: bool = False) -> AnyCalibration:
    """Read a calibration for rectified images, or for raw ones that are to be rectified.

    Args:
        source: the calibration; see `parse`, `parse_single` and `parse_raw`.
        single: whether one camera is enough.
        rectify: whether the images are raw.

    Raises:
        FileNotFoundError: there is no such file.
        CalibrationError: the source cannot be used.
    """
    if rectify:
        return parse_raw(source, single)
    return parse_single(source) if single else parse(source)


def _local(source: str | Path) -> str:
    """Write a source with paths in place of the URLs that camera drivers take."""
    return ','.join(part.removeprefix('file://') for part in str(source).split(','))


def _from_numbers(name: str, parts: Sequence[str]) -> Calibration:
    try:
        fx, fy, cx, cy, baseline, *rest = (float(part) for part in parts)
        (doffs,) = rest or [0.0]
    except ValueError as error:
        raise CalibrationError(
            f'{name!r} is not fx,fy,cx,cy,baseline[,doffs]: five or six numbers'
        ) from error
    return Calibration.of_one_focal_length(name, (fx, fy, cx, cy), baseline, doffs)


def _from_camera_infos(name: str, left: Path, right: Path) -> Calibration:
    infos = [
        (str(path), read_mapping(str(path), read_text(path, LAYOUTS))) for path in (left, right)
    ]
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
    if not _has_names(text):
        return None
    found = pair_of(name, read_mapping(name, text))
    return Calibration(name, *found) if found else None


def _has_names(text: str) -> bool:
    """Whether a text looks like YAML of names and values, or like XML."""
    return text.lstrip().startswith(('%YAML', '<')) or bool(re.search(r'(?m)^[\w.]+\s*:', text))
