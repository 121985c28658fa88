"""TartanAir and TartanAir 2 as single images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from nndepth_core import io
from nndepth_core.data.datasets.base import Entry, MonoDataset
from nndepth_core.data.datasets.tartanair import TartanAir

_FRAMES = {
    1: {
        'image': '{level}/{flight}/image_{side}/{frame}_{side}.png',
        'depth': '{level}/{flight}/depth_{side}/{frame}_{side}_depth.npy',
    },
    2: {
        'image': 'Data_{level}/{flight}/image_{side}_front/{frame}_{side}_front.png',
        'depth': 'Data_{level}/{flight}/depth_{side}_front/{frame}_{side}_front_depth.png',
    },
}
_SIDES = {1: {'left': 'left', 'right': 'right'}, 2: {'left': 'lcam', 'right': 'rcam'}}


class TartanAirDepth(MonoDataset):
    """Rendered flights through indoor and outdoor environments, with dense depth.

    Args:
        root: the folder with a folder per environment, which holds Easy/P000 or, in version 2,
            Data_easy/P000.
        version: 1 has images of 640x480, 2 of 640x640.
        levels: the difficulty of the motion.
        sides: which sides of the stereo camera to take; one side can be downloaded without the
            other.
        environments: which environments to take; an empty list takes all.
    """

    source = TartanAir.source

    def __init__(
        self,
        root: Path,
        version: Literal[1, 2] = 1,
        levels: Sequence[Literal['easy', 'hard']] = ('easy', 'hard'),
        sides: Sequence[Literal['left', 'right']] = ('left',),
        environments: Sequence[str] = (),
    ) -> None:
        self.name = 'TartanAir depth' if version == 1 else 'TartanAir 2 depth'
        super().__init__(root)
        layout = {kind: f'{{environment}}/{path}' for kind, path in _FRAMES[version].items()}
        # Archives of version 1 hold the environment's folder too, so that it may be there twice.
        nested = {kind: f'{{environment}}/{path}' for kind, path in layout.items()}
        self.entries = self.find(
            self.fitting(nested, layout),
            level=levels if version == 2 else [level.capitalize() for level in levels],
            side=[_SIDES[version][side] for side in sides],
            environment=environments,
        )

    def read_depth(self, entry: Entry) -> np.ndarray:
        """Depth along Z, float32 (H, W) metres."""
        return io.read_depth(entry['depth'])
