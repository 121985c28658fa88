"""NYU Depth V2."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from nndepth_core import io
from nndepth_core.camera import PinholeCamera
from nndepth_core.data.datasets.base import DatasetError, Entry, MonoDataset
from nndepth_core.data.datasets.hdf5 import open_array

_HOME = 'https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html'

_FOLDERS = {
    'train': 'official_splits/train',
    'test': 'official_splits/test',
    'sync': 'sync',
}
_CAMERA = PinholeCamera(640, 480, 518.857901, 519.469611, 325.582449, 253.736166)
"""The colour camera, by camera_params.m of the publishers' toolbox."""
# MATLAB 5 files: the types of elements that hold numbers, and of those that hold other elements.
_NUMBERS = {1: 'i1', 2: 'u1', 3: '<i2', 4: '<u2', 5: '<i4', 6: '<u4', 7: '<f4', 9: '<f8'}
_MATRIX, _COMPRESSED = 14, 15


class NYUv2(MonoDataset):
    """Indoor scenes of 640x480 seen by a Kinect, exported to pictures as BTS does.

    Args:
        root: the folder that holds official_splits or sync.
        split: 'train' and 'test' have the labelled frames of the official splits, 'sync' has the
            frames of the raw recordings, for training.
        scenes: folders such as kitchen; an empty list takes all.
    """

    source = f'{_HOME} and export it with https://github.com/cleinc/bts'

    def __init__(
        self,
        root: Path,
        split: Literal['train', 'test', 'sync'] = 'test',
        scenes: Sequence[str] = (),
    ) -> None:
        self.name = f'NYUv2 {split}'
        super().__init__(root)
        folder = f'{_FOLDERS[split]}/{{scene}}'
        self.entries = self.find(
            {
                'depth': f'{folder}/sync_depth_{{frame}}.png',
                'image': f'{folder}/rgb_{{frame}}.jpg',
            },
            scene=scenes,
        )

    def read_depth(self, entry: Entry) -> np.ndarray:
        """Depth along Z, float32 (H, W) metres."""
        return io.read_depth(entry['depth'], scale=1000)

    def read_camera(self, entry: Entry, width: int, height: int) -> PinholeCamera | None:
        """The colour camera of all frames."""
        return _camera(width, height)


class NYUv2Labeled(MonoDataset):
    """The 1449 labelled frames of NYU Depth V2 as published, in one MATLAB file.

    Args:
        root: the folder that holds nyu_depth_v2_labeled.mat and, for a split, splits.mat.
        split: 'train' has 795 frames, 'test' has 654.
        depth: 'filled' has the holes of the Kinect's depth filled, 'raw' leaves them unknown.
    """

    source = _HOME

    def __init__(
        self,
        root: Path,
        split: Literal['train', 'test', 'all'] = 'test',
        depth: Literal['filled', 'raw'] = 'filled',
    ) -> None:
        self.name = f'NYUv2 labelled {split}'
        super().__init__(root)
        self.array = 'depths' if depth == 'filled' else 'rawDepths'
        files = {'image': self.root / 'nyu_depth_v2_labeled.mat'}
        if split != 'all':
            files['splits'] = self.root / 'splits.mat'
        [whole] = self.complete([Entry('whole', files, {})])
        if split == 'all':
            with open_array(whole['image'], self.array) as depths:
                numbers = np.arange(len(depths)) + 1
        else:
            numbers = _read_numbers(whole['splits'], f'{split}Ndxs')
        self.entries = [Entry(f'{n:04d}', files, {'number': str(n)}) for n in numbers]

    def read_image(self, entry: Entry) -> np.ndarray:
        """The image, uint8 RGB (H, W, 3)."""
        with open_array(entry['image'], 'images') as images:
            return np.ascontiguousarray(images[int(entry.fields['number']) - 1].T)

    def read_depth(self, entry: Entry) -> np.ndarray:
        """Depth along Z, float32 (H, W) metres."""
        with open_array(entry['image'], self.array) as depths:
            stored = depths[int(entry.fields['number']) - 1]
        return np.where(stored > 0, stored, np.nan).T.astype(np.float32, order='C')

    def read_camera(self, entry: Entry, width: int, height: int) -> PinholeCamera | None:
        """The colour camera of all frames."""
        return _camera(width, height)


def _camera(width: int, height: int) -> PinholeCamera | None:
    """Return the camera, unless the images are not whole."""
    return _CAMERA if (width, height) == (_CAMERA.width, _CAMERA.height) else None


def _read_numbers(path: Path, name: str) -> np.ndarray:
    """Read a real array from a MATLAB 5 file, as one row of integers.

    Source: MathWorks, MAT-File Format.
    """
    try:
        for kind, content in _elements(path.read_bytes()[128:]):
            parts = list(_elements(content)) if kind == _MATRIX else []
            if len(parts) > 3 and parts[2][1].decode() == name:
                return np.frombuffer(parts[3][1], _NUMBERS[parts[3][0]]).astype(int)
    except (struct.error, zlib.error, KeyError, ValueError) as error:
        raise DatasetError(f'{path} is no file of MATLAB 5; download it again') from error
    raise DatasetError(f'{path} holds no array {name!r}; it is another file')


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and content of each element; a compressed one is replaced by what it holds."""
    start = 0
    while start < len(data):
        kind, size = struct.unpack_from('<II', data, start)
        if kind >> 16:  # a small element holds up to four bytes inside its tag
            kind, size, first = kind & 0xFFFF, kind >> 16, start + 4
            start += 8
        else:
            first = start + 8
            start = first + size + (0 if kind == _COMPRESSED else -size % 8)
        content = data[first : first + size]
        if kind == _COMPRESSED:
            yield from _elements(zlib.decompress(content))
        else:
            yield kind, content
