"""NVIDIA's Falling Things."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nndepth_core import io
from nndepth_core.camera import PinholeCamera, StereoCamera
from nndepth_core.data.datasets.base import Entry, StereoDepthDataset

BASELINE = 0.06  # metres

_FOLDERS = {'mixed': 'fat/mixed/{scene}', 'single': 'fat/single/{object}/{scene}'}
_FARTHEST = 6.5535  # metres, the most that 16 bits hold at 0.1 mm; farther surfaces have it too


class FallingThings(StereoDepthDataset):
    """Rendered pairs of 960x540 of household objects falling in kitchens and temples.

    Args:
        root: the folder that holds fat, into which the archive unpacks.
        subsets: 'mixed' has several objects in a scene, 'single' has one.
    """

    name = 'Falling Things'
    source = 'https://research.nvidia.com/publication/2018-06_Falling-Things'

    def __init__(
        self, root: Path, subsets: Sequence[Literal['mixed', 'single']] = ('mixed', 'single')
    ) -> None:
        super().__init__(root)
        for subset in subsets:
            folder = _FOLDERS[subset]
            self.entries += self.find(
                {
                    'left': f'{folder}/{{frame}}.left.jpg',
                    'right': f'{folder}/{{frame}}.right.jpg',
                    'depth': f'{folder}/{{frame}}.left.depth.png',
                    'settings': f'{folder}/_camera_settings.json',
                }
            )

    def read_depth(self, entry: Entry) -> np.ndarray:
        """Depth along Z, float32 (H, W) metres."""
        depth = io.read_depth(entry['depth'], scale=10000)
        return np.where(depth < _FARTHEST, depth, np.float32(np.nan))

    def read_camera(self, entry: Entry, width: int, height: int) -> StereoCamera:
        """The rig of the scene's _camera_settings.json."""
        left, right = (_intrinsics(entry['settings'], index) for index in (0, 1))
        camera = PinholeCamera(width, height, *(left[key] for key in ('fx', 'fy', 'cx', 'cy')))
        return StereoCamera(camera, BASELINE, right['cx'])


@cache
def _intrinsics(settings: Path, index: int) -> dict[str, Any]:
    try:
        return json.loads(settings.read_text())['camera_settings'][index]['intrinsic_settings']
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise ValueError(f'{settings} does not describe two cameras; unpack it again') from error
