"""Calibrations in the text files of data sets: KITTI, Middlebury and those in their layouts."""

from __future__ import annotations

import re

from nndepth_core.calibration.raw import IDENTITY, RawCalibration, RawView
from nndepth_core.calibration.rectified import Calibration
from nndepth_core.calibration.yaml_files import whole
from nndepth_core.camera import CalibrationError

# The colour cameras come first; the grey ones are used if there are no others.
_KITTI_PAIRS = (('P_rect_02', 'P_rect_03'), ('P2', 'P3'), ('P_rect_00', 'P_rect_01'), ('P0', 'P1'))
_KITTI_RAW_PAIRS = (('02', '03'), ('00', '01'))
_NUMBER = re.compile(r'-?\d+\.?\d*(?:[eE][-+]?\d+)?')
_NO_LENS = 'plumb_bob', (0.0,) * 5


class _KittiRows:
    """Rows like `P2: 12 numbers`; rows of numbers without a name count as P0, P1."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self._rows: dict[str, list[float]] = {}
        self._labels: list[str] = []
        for line in text.splitlines():
            label, _, values = line.rpartition(':')
            try:
                numbers = [float(value) for value in values.split()]
            except ValueError:
                continue
            if label or len(numbers) == 12:
                self._labels.append(label.strip())
                self._rows[label.strip() or f'P{len(self._rows)}'] = numbers

    def __contains__(self, label: str) -> bool:
        return bool(self._rows.get(label))

    def matrix(self, label: str, count: int, what: str) -> list[float]:
        """Return the numbers of a row; CalibrationError if it has another number of them."""
        numbers = self._rows.get(label)
        if numbers is None:
            raise CalibrationError(
                f'{self.name}: {label} is missing; rectification needs {what} there'
            )
        if len(numbers) != count:
            raise CalibrationError(
                f'{self.name}: {label} has {len(numbers)} numbers; {what} has {count}'
            )
        if self._labels.count(label) > 1:
            raise CalibrationError(f'{self.name}: {label} is given twice; keep the right one')
        return numbers

    def size(self, label: str) -> tuple[int, int] | None:
        """Return the width and height of a row, None if it does not tell them."""
        told = [whole(self.name, label, value) for value in self._rows.get(label, ())]
        return (told[0], told[1]) if len(told) == 2 else None


def read_kitti(name: str, text: str) -> Calibration | None:
    """Read rows `P2: 12 numbers` or `P_rect_02: ...`; None if there is no such pair."""
    rows = _KittiRows(name, text)
    for left, right in _KITTI_PAIRS:
        if left in rows and right in rows:
            p_left, p_right = (rows.matrix(label, 12, 'a 3x4 matrix') for label in (left, right))
            return Calibration(name, p_left, p_right, rows.size(left.replace('P', 'S')))
    return None


def read_raw_kitti(name: str, text: str) -> RawCalibration | None:
    """Read rows K_02, D_02, S_02 and R_rect_02, P_rect_02, S_rect_02; None if there are none."""
    rows = _KittiRows(name, text)
    for numbers in _KITTI_RAW_PAIRS:
        if all(f'K_{number}' in rows for number in numbers):
            return RawCalibration(name, tuple(_kitti_view(rows, number) for number in numbers))
    return None


def _kitti_view(rows: _KittiRows, number: str) -> RawView:
    return RawView(
        k=tuple(rows.matrix(f'K_{number}', 9, 'a 3x3 matrix')),
        model='plumb_bob',
        d=tuple(rows.matrix(f'D_{number}', 5, 'the distortion')),
        r=tuple(rows.matrix(f'R_rect_{number}', 9, 'a 3x3 matrix')),
        p=tuple(rows.matrix(f'P_rect_{number}', 12, 'a 3x4 matrix')),
        size=rows.size(f'S_{number}'),
        rectified_size=rows.size(f'S_rect_{number}'),
    )


def read_middlebury(name: str, text: str) -> Calibration | None:
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
    intrinsics, size = (fx, fy, cx, cy), (width, height)
    return Calibration.of_one_focal_length(name, intrinsics, baseline / 1000, doffs, size)


def read_raw_middlebury(name: str, text: str) -> RawCalibration | None:
    """Read the same; by the publisher its cameras have no distortion and are not turned."""
    if (calibration := read_middlebury(name, text)) is None:
        return None
    views = (
        RawView((*p[:3], *p[4:7], *p[8:11]), *_NO_LENS, IDENTITY, tuple(p), calibration.size)
        for p in calibration.projections()
    )
    return RawCalibration(name, tuple(views))
