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
        root: holds folders FlyingThings3D, Monkaa and Driving, into each of which its archives of
            images and of disparities are unpacked: frames_cleanpass, disparity ...
        split: 'train' is FlyingThings3D's TRAIN with Monkaa and Driving, 'test' FlyingThings3D's
            TEST, 'validation' the 400 pairs of TEST that RAFT-Stereo is validated on.
        passes: of the renderer: 'clean' without, 'final' with defocus, motion blur and haze.
        subsets: which to train on.
        occlusions: derive the occluded pixels from the disparity of the right image.
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
        """The rig as published, its baseline 1 in the unit of the scenes."""
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
    """RAFT-Stereo's choice: the first 400 of a permutation seeded with 1000."""
    order = np.random.RandomState(1000).permutation(len(entries))
    return [entries[index] for index in sorted(order[:_HELD_OUT])]
