"""Reads HDF5 files, in which some data sets are published."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nndepth_core.data.datasets.base import DatasetError


@contextmanager
def open_array(path: Path, key: str) -> Iterator[Any]:
    """Open an array of an HDF5 file; only what is indexed is read.

    Raises:
        DatasetError: h5py is not installed, or the file is damaged or has no such array.
    """
    try:
        import h5py
    except ImportError as error:
        raise DatasetError(f'{path} takes h5py to read; pip install h5py') from error
    try:
        with h5py.File(path) as file:
            yield file[key]
    except KeyError as error:
        raise DatasetError(f'{path} holds no array {key!r}; it is another file') from error
    except OSError as error:
        raise DatasetError(f'{path} cannot be read as HDF5; download it again') from error
