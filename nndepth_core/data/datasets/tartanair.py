"""TartanAir and TartanAir 2."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from nndepth_core import io
from nndepth_core.camera import StereoCamera
from nndepth_core.data.datasets.base import Entry, StereoDepthDataset, ideal_camera

BASELINE = 0.25  # metres

_FRAMES = {
    1: {
        'left': 'image_left/{frame}_left.png',
        'right': 'image_right/{frame}_right.png',
        'depth': 'depth_left/{frame}_left_depth.npy',
    },
    2: {
        'left': 'image_lcam_front/{frame}_lcam_front.png',
        'right': 'image_rcam_front/{frame}_rcam_front.png',
        'depth': 'depth_lcam_front/{frame}_lcam_front_depth.png',
    },
}


class TartanAir(StereoDepthDataset):
    """Rendered flights through indoor and outdoor environments, with dense depth.

    Args:
        root: the folder with a folder per environment, which holds Easy/P000 or, in version 2,
            Data_easy/P000.
        version: 1 has images of 640x480, 2 of 640x640.
        levels: the difficulty of the motion.
        environments: which environments to take; an empty list takes all.
    """

    source = 'https://theairlab.org/tartanair-dataset'

    def __init__(
        self,
        root: Path,
        version: Literal[1, 2] = 1,
        levels: Sequence[Literal['easy', 'hard']] = ('easy', 'hard'),
        environments: Sequence[str] = (),
    ) -> None:
        self.name = 'TartanAir' if version == 1 else 'TartanAir 2'
        super().__init__(root)
        folder = '{level}' if version == 1 else 'Data_{level}'
        flight = f'{{environment}}/{folder}/{{flight}}'
        layout = {kind: f'{flight}/{path}' for kind, path in _FRAMES[version].items()}
        # Archives of version 1 hold the environment's folder too, so that it may be there twice.
        nested = {kind: f'{{environment}}/{path}' for kind, path in layout.items()}
        self.entries = self.find(
            self.fitting(nested, layout),
            level=[level.capitalize() if version == 1 else level for level in levels],
            environment=environments,
        )

    def read_depth(self, entry: Entry) -> np.ndarray:
        """Depth along Z, float32 (H, W) metres."""
        return io.read_depth(entry['depth'])

    def read_camera(self, entry: Entry, width: int, height: int) -> StereoCamera:
        """The published camera: a horizontal field of view of 90 degrees."""
        return ideal_camera(width, height, width / 2, BASELINE, (width / 2, height / 2))
