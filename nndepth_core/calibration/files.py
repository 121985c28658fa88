"""Reads the text of calibration files, and finds them in a folder."""

from __future__ import annotations

import codecs
from pathlib import Path

from nndepth_core.camera import CalibrationError

LARGEST = 1 << 17
"""The most bytes of a calibration file; those of all publishers have a few thousand."""


def read_text(path: Path, layouts: str) -> str:
    """Read a file.

    Args:
        path: the file.
        layouts: what can be given instead, for the message of an error.

    Raises:
        CalibrationError: it is far too large.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise CalibrationError(
            f'{path} has {size} bytes, far more than a calibration; give {layouts}'
        )
    with path.open('rb') as file:
        data = file.read(LARGEST)
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode('utf-16' if wide else 'utf-8-sig', errors='replace')


def only_file(folder: Path, side: str) -> Path:
    """Find the one YAML file of a folder that has 'left' or 'right' in its name.

    Raises:
        CalibrationError: there is none, or several are.
    """
    found = sorted(path for path in folder.glob('*.y*ml') if side in path.name)
    if len(found) != 1:
        raise CalibrationError(
            f'{folder} holds {len(found)} YAML files with {side} in their name instead of one; '
            'name both: left.yaml,right.yaml'
        )
    return found[0]
