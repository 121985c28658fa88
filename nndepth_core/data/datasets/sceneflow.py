"""SceneFlow: FlyingThings3D, Monkaa and Driving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from nndepth_core.camera import StereoCamera
from nndepth_core.data.datasets.base import Entry, StereoDataset, ideal_camera

Subset = Literal['FlyingThings3D', 'Monkaa', 'Driving']

_SCENES = {
    'FlyingThings3D': '{split}/{letter}/{scene}',
    'Monkaa': '{scene}',
    'Driving': '{lens}/{direction}/{speed}',
}
_WIDTH = 960
_FOCAL, _FOCAL_15MM = 1050.0, 450.0  # pixels of images of 960x540
_HELD_OUT = 400


class SceneFlow(StereoDataset):
    """Rendered pairs of 960x540 with dense disparity; their unit of length is not the metre.

    Args:
        root: the folder that holds FlyingThings3D, Monkaa and Driving; into each of these, its
            archives of images and disparities are unpacked: frames_cleanpass, disparity ...
        split: 'train' is the TRAIN part of FlyingThings3D with Monkaa and Driving, 'test' is the
            TEST part, and 'validation' the 400 pairs of TEST that validate RAFT-Stereo.
        passes: 'clean' images, or 'final' ones with defocus, motion blur and haze.
        subsets: which data sets to train on.
        occlusions: whether to compute the occlusion from the disparity of the right image.
    """

    name = 'SceneFlow'
    source = 'https://lmb.informatik.uni-freiburg.de/resources/datasets/SceneFlowDatasets.en.html'

    def __init__(
        self,
        root: Path,
        split: Literal['train', 'test', 'validation'] = 'train',
        passes: Sequence[Literal['clean', 'final']] = ('clean', 'final'),
        subsets: Sequence[Subset] = ('FlyingThings3D', 'Monkaa', 'Driving'),
        occlusions: bool = False,
    ) -> None:
        super().__init__(root)
        part = 'TRAIN' if split == 'train' else 'TEST'
        for subset in subsets if split == 'train' else ('FlyingThings3D',):
            layout = _layout(subset, occlusions)
            for render in passes:
                found = self.find(layout, render=[render], split=part)
                self.entries += _held_out(found) if split == 'validation' else found

    def read_camera(self, entry: Entry, width: int, height: int) -> StereoCamera:
        """The published camera; its baseline is 1 in the unit of the scenes."""
        focal = _FOCAL_15MM if entry.fields.get('lens') == '15mm_focallength' else _FOCAL
        return ideal_camera(width, height, focal * width / _WIDTH, 1.0)


def _layout(subset: str, occlusions: bool) -> Mapping[str, str]:
    scene = _SCENES[subset]
    layout = {
        'left': f'{subset}/frames_{{render}}pass/{scene}/left/{{frame}}.png',
        'right': f'{subset}/frames_{{render}}pass/{scene}/right/{{frame}}.png',
        'disparity': f'{subset}/disparity/{scene}/left/{{frame}}.pfm',
    }
    if occlusions:
        layout['right_disparity'] = f'{subset}/disparity/{scene}/right/{{frame}}.pfm'
    return layout


def _held_out(entries: Sequence[Entry]) -> list[Entry]:
    """The choice of RAFT-Stereo: the first 400 of a permutation with the seed 1000."""
    order = np.random.RandomState(1000).permutation(len(entries))
    return [entries[index] for index in sorted(order[:_HELD_OUT])]
