"""MPI Sintel's stereo training set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from nndepth_core import io
from nndepth_core.data.datasets.base import Entry, StereoDataset


class SintelStereo(StereoDataset):
    """Pairs of 1024x436 from an animated film, with dense disparity.

    Args:
        root: the folder that holds training, into which the archive unpacks.
        passes: 'clean' images, or 'final' ones with defocus, motion blur and haze.
        scenes: scenes such as alley_1; an empty list takes all.
    """

    name = 'Sintel'
    source = 'http://sintel.is.tue.mpg.de/stereo'

    def __init__(
        self,
        root: Path,
        passes: Sequence[Literal['clean', 'final']] = ('clean', 'final'),
        scenes: Sequence[str] = (),
    ) -> None:
        super().__init__(root)
        frame = '{scene}/{frame}.png'
        self.entries = self.find(
            {
                'left': f'training/{{render}}_left/{frame}',
                'right': f'training/{{render}}_right/{frame}',
                'disparity': f'training/disparities/{frame}',
                'occluded': f'training/occlusions/{frame}',
                'outside': f'training/outofframe/{frame}',
            },
            render=passes,
            scene=scenes,
        )

    def read_disparity(self, entry: Entry) -> np.ndarray:
        """Disparity, float32 (H, W) in pixels: 4 R + G / 64 + B / 16384; unknown where it is 0."""
        stored = io.read_pixels(entry['disparity'])
        if stored.dtype != np.uint8 or stored.shape[2:] != (3,):
            raise ValueError(f'{entry["disparity"]} is no picture of three channels of 8 bits')
        disparity = stored @ np.array([2**-14, 2**-6, 4], np.float32)
        return np.where(disparity > 0, disparity, np.float32(np.nan))

    def read_occluded(self, entry: Entry, disparity: np.ndarray) -> np.ndarray:
        """True where the published masks say that the right image does not show a pixel."""
        masks = (io.read_image(entry[kind])[..., 0] > 0 for kind in ('occluded', 'outside'))
        return np.logical_or(*masks)
