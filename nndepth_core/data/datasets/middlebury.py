"""Middlebury: the sets of 2005, 2006 and 2014, and the third evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from nndepth_core import io
from nndepth_core.data.datasets.base import Entry, StereoDataset

_SCALES = {'full': 1, 'half': 2, 'third': 3}
_OCCLUDED = 128  # value in mask0nocc.png; 255 is visible in both images and 0 is unknown


class Middlebury2006(StereoDataset):
    """The sets of 2005 and 2006: indoor scenes under several lights; views 1 and 5 are the pair.

    The archives do not hold the calibration.

    Args:
        root: the folder that holds the folders of the scenes (Art, Books ...) of one size.
        year: 2005 or 2006.
        size: the size of the images; stored disparities are in pixels of the full size.
        images: which images of a scene to take: '' for those in the same folder as the truth,
            'Illum1/Exp0' for those under the first light at the first exposure, and so on.
    """

    def __init__(
        self,
        root: Path,
        year: Literal[2005, 2006] = 2006,
        size: Literal['full', 'half', 'third'] = 'third',
        images: Sequence[str] = ('',),
    ) -> None:
        self.name = f'Middlebury {year}'
        self.source = f'https://vision.middlebury.edu/stereo/data/scenes{year}/'
        self.scale = _SCALES[size]
        super().__init__(root)
        for folder in images:
            layout = {
                'left': f'{{scene}}/{folder}/view1.png'.replace('//', '/'),
                'right': f'{{scene}}/{folder}/view5.png'.replace('//', '/'),
                'disparity': '{scene}/disp1.png',
            }
            self.entries += _renamed(self.find(layout), folder.replace('/', '_'))

    def read_disparity(self, entry: Entry) -> np.ndarray:
        """Disparity, float32 (H, W) pixels, NaN where unknown."""
        return io.read_disparity(entry['disparity'], self.scale)


class Middlebury2014(StereoDataset):
    """Indoor scenes of about 6 megapixels with dense disparity.

    Args:
        root: the folder that holds the scenes: Adirondack-perfect, Adirondack-imperfect ...
        rectifications: 'perfect', or 'imperfect' with the small vertical errors of a usual
            calibration.
        lights: which right images to take: '' for those like the left one, 'E' for another
            exposure, 'L' for another light.
        occlusions: whether to compute the occlusion from the disparity of the right image.
    """

    name = 'Middlebury 2014'
    source = 'https://vision.middlebury.edu/stereo/data/scenes2014/'

    def __init__(
        self,
        root: Path,
        rectifications: Sequence[Literal['perfect', 'imperfect']] = ('perfect',),
        lights: Sequence[Literal['', 'E', 'L']] = ('', 'E', 'L'),
        occlusions: bool = False,
    ) -> None:
        super().__init__(root)
        scene = '{scene}-{rectification}'
        for light in lights:
            layout = {
                'left': f'{scene}/im0.png',
                'right': f'{scene}/im1{light}.png',
                'disparity': f'{scene}/disp0.pfm',
                'calibration': f'{scene}/calib.txt',
            }
            if occlusions:
                layout['right_disparity'] = f'{scene}/disp1.pfm'
            found = self.find(layout, rectification=rectifications)
            self.entries += _renamed(found, light)


class MiddleburyV3(StereoDataset):
    """The 15 training pairs of the third evaluation.

    Args:
        root: the folder that holds MiddEval3, into which the archives of images and truth unpack.
        resolution: 'F' is full, 'H' half, 'Q' a quarter.
    """

    name = 'Middlebury v3'
    source = 'https://vision.middlebury.edu/stereo/submit3/'

    def __init__(self, root: Path, resolution: Literal['F', 'H', 'Q'] = 'H') -> None:
        super().__init__(root)
        scene = f'MiddEval3/training{resolution}/{{scene}}'
        self.entries = self.find(
            {
                'left': f'{scene}/im0.png',
                'right': f'{scene}/im1.png',
                'disparity': f'{scene}/disp0GT.pfm',
                'visible': f'{scene}/mask0nocc.png',
                'calibration': f'{scene}/calib.txt',
            }
        )

    def read_occluded(self, entry: Entry, disparity: np.ndarray) -> np.ndarray:
        """True where the published mask says so."""
        return read_mask0nocc(entry['visible'])


def read_mask0nocc(path: Path) -> np.ndarray:
    """Read the occlusion from the mask that Middlebury and ETH3D publish, bool (H, W)."""
    return io.read_image(path)[..., 0] == _OCCLUDED


def _renamed(entries: Sequence[Entry], variant: str) -> list[Entry]:
    """Add the variant of their images to the names of entries, unless it is the plain one."""
    return [
        replace(entry, name=f'{entry.name}_{variant}') if variant else entry for entry in entries
    ]
