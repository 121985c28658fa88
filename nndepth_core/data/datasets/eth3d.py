"""ETH3D's two-view benchmark."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nndepth_core.data.datasets.base import Entry, StereoDataset
from nndepth_core.data.datasets.middlebury import read_mask0nocc


class ETH3D(StereoDataset):
    """The 27 grey training pairs, indoors and outdoors, with disparity from a laser scanner.

    Args:
        root: the folder that holds two_view_training and two_view_training_gt, into which the
            archives of these names are unpacked.
    """

    name = 'ETH3D'
    source = 'https://www.eth3d.net/datasets#low-res-two-view'

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.entries = self.find(
            {
                'left': 'two_view_training/{scene}/im0.png',
                'right': 'two_view_training/{scene}/im1.png',
                'disparity': 'two_view_training_gt/{scene}/disp0GT.pfm',
                'visible': 'two_view_training_gt/{scene}/mask0nocc.png',
                'calibration': 'two_view_training/{scene}/calib.txt',
            }
        )

    def read_occluded(self, entry: Entry, disparity: np.ndarray) -> np.ndarray:
        """True where the published mask says so."""
        return read_mask0nocc(entry['visible'])
