"""Virtual KITTI 2."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from nndepth_core import io
from nndepth_core.camera import StereoCamera
from nndepth_core.data.datasets.base import Entry, StereoDepthDataset, ideal_camera

BASELINE = 0.532725  # metres
FOCAL = 725.0087  # pixels
CENTRE = (620.5, 187.0)

_SKY = 655.35  # metres, the most that 16 bits hold in centimetres


class VirtualKITTI2(StereoDepthDataset):
    """Rendered copies of five KITTI drives, 1242x375, in ten variations.

    Args:
        root: the folder that holds Scene01, Scene02 ..., into which the archives of images and of
            depth unpack.
        scenes: of '01', '02', '06', '18', '20'; an empty list takes all.
        variations: variations such as 'clone', 'fog', 'rain', '15-deg-left'; an empty list takes
            all.
        sky: whether to keep the disparity of the sky, which is nearly 0, or leave it unknown.
    """

    name = 'Virtual KITTI 2'
    source = 'https://europe.naverlabs.com/proxy-virtual-worlds-vkitti-2/'

    def __init__(
        self,
        root: Path,
        scenes: Sequence[Literal['01', '02', '06', '18', '20']] = (),
        variations: Sequence[str] = (),
        sky: bool = False,
    ) -> None:
        super().__init__(root)
        self.sky = sky
        frames = 'Scene{scene}/{variation}/frames'
        self.entries = self.find(
            {
                'left': f'{frames}/rgb/Camera_0/rgb_{{frame}}.jpg',
                'right': f'{frames}/rgb/Camera_1/rgb_{{frame}}.jpg',
                'depth': f'{frames}/depth/Camera_0/depth_{{frame}}.png',
            },
            scene=scenes,
            variation=variations,
        )

    def read_depth(self, entry: Entry) -> np.ndarray:
        """Depth along Z, float32 (H, W) metres."""
        depth = io.read_depth(entry['depth'], scale=100)
        return depth if self.sky else np.where(depth < _SKY, depth, np.float32(np.nan))

    def read_camera(self, entry: Entry, width: int, height: int) -> StereoCamera:
        """The published camera, which is the same in all scenes."""
        return ideal_camera(width, height, FOCAL, BASELINE, CENTRE)
