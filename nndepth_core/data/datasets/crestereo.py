"""The training set of CREStereo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from nndepth_core import io
from nndepth_core.data.datasets.base import Entry, StereoDataset


class CREStereoData(StereoDataset):
    """Rendered pairs of 1920x1080 with dense disparity.

    Args:
        root: the folder that holds tree, shapenet, reflective and hole, with the ten archives of
            each of them unpacked.
        subsets: which of these to take; an empty list takes all.
    """

    name = 'CREStereo'
    source = 'https://github.com/megvii-research/CREStereo (dataset_download.sh)'

    def __init__(
        self,
        root: Path,
        subsets: Sequence[Literal['tree', 'shapenet', 'reflective', 'hole']] = (),
    ) -> None:
        super().__init__(root)
        flat, nested = (
            {
                'left': f'{folder}/{{frame}}_left.jpg',
                'right': f'{folder}/{{frame}}_right.jpg',
                'disparity': f'{folder}/{{frame}}_left.disp.png',
            }
            for folder in ('{subset}', '{subset}/{part}')
        )
        self.entries = self.find(self.fitting(flat, nested), subset=subsets)

    def read_disparity(self, entry: Entry) -> np.ndarray:
        """Disparity, float32 (H, W) pixels, NaN where unknown."""
        return io.read_disparity(entry['disparity'], scale=32)
