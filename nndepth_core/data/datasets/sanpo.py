"""SANPO-Real: walks with ZED cameras on head and chest."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from nndepth_core.camera import PinholeCamera, StereoCamera
from nndepth_core.data.datasets.base import DatasetError, Entry, StereoDepthDataset


class SANPO(StereoDepthDataset):
    """Real outdoor pairs; their depth is an estimate, not a measurement.

    Args:
        root: the folder that holds sanpo-real, with the layout of its bucket.
        split: the sessions to take, as splits/*_session_ids.txt lists them; 'all' takes all.
        depth: 'crestereo' is dense and was estimated by that network; 'zed' is sparser and was
            computed by the software of the camera.
        cameras: which of the cameras to take; an empty list takes both.
    """

    name = 'SANPO'
    source = 'https://google-research-datasets.github.io/sanpo_dataset/'

    def __init__(
        self,
        root: Path,
        split: Literal['all', 'train', 'test'] = 'all',
        depth: Literal['crestereo', 'zed'] = 'crestereo',
        cameras: Sequence[Literal['camera_head', 'camera_chest']] = (),
    ) -> None:
        super().__init__(root)
        session = 'sanpo-real/{session}'
        maps = 'depth_maps' if depth == 'crestereo' else 'zed_depth_maps'
        self.entries = self.find(
            {
                'depth': f'{session}/{{camera}}/left/{maps}/{{frame}}.float16.gz',
                'left': f'{session}/{{camera}}/left/video_frames/{{frame}}.png',
                'right': f'{session}/{{camera}}/right/video_frames/{{frame}}.png',
                'description': f'{session}/description.json',
            },
            camera=cameras,
        )
        if split != 'all':
            listed = self._sessions(split)
            self.entries = [entry for entry in self.entries if entry.fields['session'] in listed]

    def read_depth(self, entry: Entry) -> np.ndarray:
        """Read the depth along Z, float32 (H, W) in metres, resized to the size of the images."""
        depth = _read_float16(entry['depth'])
        lens = _lenses(entry['description'], entry.fields['camera'])['left_camera_params']
        size = int(lens['image_width']), int(lens['image_height'])
        return cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST)

    def read_camera(self, entry: Entry, width: int, height: int) -> StereoCamera:
        """Read the stereo camera from the description of the session."""
        details = _lenses(entry['description'], entry.fields['camera'])
        left, right = details['left_camera_params'], details['right_camera_params']
        camera = PinholeCamera(
            left['image_width'],
            left['image_height'],
            *(float(left[key]) for key in ('fx', 'fy', 'cx', 'cy')),
        )
        baseline = float(details['stereo_transform']['coeff'][3]) / 1000
        return StereoCamera(camera, baseline, float(right['cx'])).resized(width, height)

    def _sessions(self, split: str) -> set[str]:
        path = self.root / 'sanpo-real' / 'splits' / f'{split}_session_ids.txt'
        if not path.is_file():
            raise DatasetError(f'{self.name}: {path} is missing; get it from {self.source}')
        return set(path.read_text().split())


def _read_float16(path: Path) -> np.ndarray:
    """Read a gzip of little-endian float16: height, width and then the values, row by row."""
    try:
        values = np.frombuffer(gzip.decompress(path.read_bytes()), '<f2').astype(np.float32)
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f'{path} cannot be unpacked; it is damaged or cut short') from error
    height, width = (int(value) for value in values[:2]) if values.size > 2 else (0, 0)
    if values.size != 2 + height * width:
        raise ValueError(f'{path} is no depth map: {values.size} values for {width}x{height}')
    depth = values[2:].reshape(height, width)
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(np.nan))


@cache
def _lenses(description: Path, camera: str) -> dict[str, Any]:
    """Read what a session's description.json says of one of its cameras."""
    try:
        content = json.loads(description.read_text())
        index = content['session_camera_location'].index(camera)
        return content['session_camera_details'][index]
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise ValueError(f'{description} does not describe {camera}; download it again') from error
