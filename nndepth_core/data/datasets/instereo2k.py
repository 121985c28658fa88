"""InStereo2K."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from nndepth_core import io
from nndepth_core.data.datasets.base import Entry, StereoDataset

_FOLDERS = {'train': 'train/{part}/{scene}', 'test': 'test/{scene}'}


class InStereo2K(StereoDataset):
    """Real indoor pairs of 1080x860, with disparity from structured light.

    Args:
        root: the folder that holds test, and train with the folders part1, part2 ... of the
            archives.
        split: 'train' has 2000 pairs, 'test' has 50.
    """

    name = 'InStereo2K'
    source = 'https://github.com/YuhuaXu/StereoDataset'

    def __init__(self, root: Path, split: Literal['train', 'test'] = 'train') -> None:
        super().__init__(root)
        scene = _FOLDERS[split]
        self.entries = self.find(
            {
                'left': f'{scene}/left.png',
                'right': f'{scene}/right.png',
                'disparity': f'{scene}/left_disp.png',
            }
        )

    def read_disparity(self, entry: Entry) -> np.ndarray:
        """Disparity, float32 (H, W) pixels, NaN where unknown."""
        return io.read_disparity(entry['disparity'], scale=100)
