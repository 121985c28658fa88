"""DIML/CVL RGB-D."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from nndepth_core import io
from nndepth_core.data.datasets.base import Entry, MonoDataset

_HOME = 'https://dimlrgbd.github.io'


class DIMLIndoor(MonoDataset):
    """Rooms seen by a Kinect v2; the holes in its depth are filled.

    Args:
        root: the folder that holds train and test.
        split: 'train' or 'test'.
        resolution: 'HR' has images of 1344x756, 'LR' of 512x288.
        scenes: folders such as '01. Cafe'; an empty list takes all.
    """

    source = _HOME

    def __init__(
        self,
        root: Path,
        split: Literal['train', 'test'] = 'train',
        resolution: Literal['HR', 'LR'] = 'LR',
        scenes: Sequence[str] = (),
    ) -> None:
        self.name = f'DIML indoor {split}'
        super().__init__(root)
        folder = f'{split}/{resolution}/{{scene}}'
        self.entries = self.find(
            {
                'image': f'{folder}/color/{{frame}}_c.png',
                'depth': f'{folder}/depth_filled/{{frame}}_depth_filled.png',
            },
            scene=scenes,
        )

    def read_depth(self, entry: Entry) -> np.ndarray:
        """Depth along Z, float32 (H, W) metres."""
        return io.read_depth(entry['depth'], scale=1000)


class DIMLOutdoor(MonoDataset):
    """Outdoor scenes seen by a stereo camera; the depth was matched from both images.

    Args:
        root: the folder that holds outleft and depthmap, or a folder per recording with them.
        min_confidence: the smallest grey level in confidencemap at which depth counts as known; 0
            takes all.
    """

    name = 'DIML outdoor'
    source = _HOME

    def __init__(self, root: Path, min_confidence: int = 0) -> None:
        super().__init__(root)
        self.min_confidence = min_confidence
        layout = {
            'image': 'outleft/{frame}.png',
            'depth': 'depthmap/{frame}.png',
            'confidence': 'confidencemap/{frame}.png',
        }
        nested = {kind: f'{{recording}}/{path}' for kind, path in layout.items()}
        optional = () if min_confidence else ('confidence',)
        self.entries = self.find(self.fitting(nested, layout), optional)

    def read_depth(self, entry: Entry) -> np.ndarray:
        """Depth along Z, float32 (H, W) metres."""
        depth = io.read_depth(entry['depth'], scale=1000)
        if self.min_confidence:
            confidence = io.read_image(entry['confidence'])[..., 0]
            depth[confidence < self.min_confidence] = np.nan
        return depth
