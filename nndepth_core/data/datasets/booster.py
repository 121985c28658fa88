"""Booster: glass, mirrors and other surfaces that are hard for stereo."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from nndepth_core import io
from nndepth_core.camera import PinholeCamera, StereoCamera
from nndepth_core.data.datasets.base import Entry, StereoDataset


class Booster(StereoDataset):
    """The balanced training pairs: 4112x3008, indoors, under several lights.

    Args:
        root: the folder that holds train/balanced, into which the archive unpacks.
        crossed_lights: whether to pair every left image of a scene with every right one, instead
            of only those under the same light.
    """

    name = 'Booster'
    source = 'https://cvlab-unibo.github.io/booster-web/'

    def __init__(self, root: Path, crossed_lights: bool = False) -> None:
        super().__init__(root)
        scene = 'train/balanced/{scene}'
        self.entries = self.find(
            {
                'left': f'{scene}/camera_00/{{image}}.png',
                'right': f'{scene}/camera_02/{{image}}.png',
                'disparity': f'{scene}/disp_00.npy',
                'visible': f'{scene}/mask_00.png',
                'calibration': f'{scene}/calib_00-02.xml',
            },
            optional=('visible', 'calibration'),
        )
        if crossed_lights:
            self.entries = [
                replace(
                    left,
                    name=f'{left.name}_{right.fields["image"]}',
                    files={**left.files, 'right': right['right']},
                )
                for left in self.entries
                for right in self.entries
                if left.fields['scene'] == right.fields['scene']
            ]

    def read_disparity(self, entry: Entry) -> np.ndarray:
        """Disparity, float32 (H, W) pixels, NaN where unknown."""
        disparity = io.read_disparity(entry['disparity'])
        return np.where(disparity > 0, disparity, np.float32(np.nan))

    def read_occluded(self, entry: Entry, disparity: np.ndarray) -> np.ndarray | None:
        """True where the published mask of consistent pixels is 0."""
        return io.read_image(entry['visible'])[..., 0] == 0 if 'visible' in entry.files else None

    def read_camera(self, entry: Entry, width: int, height: int) -> StereoCamera | None:
        """The rig, from OpenCV's XML: proj_matL, proj_matR and baselineLR in millimetres."""
        if 'calibration' not in entry.files:
            return None
        try:
            storage = cv2.FileStorage(str(entry['calibration']), cv2.FILE_STORAGE_READ)
            left, right = (storage.getNode(f'proj_mat{side}').mat() for side in 'LR')
            baseline = storage.getNode('baselineLR').real() / 1000
            camera = PinholeCamera.from_projection(left.ravel().tolist(), width, height)
            return StereoCamera(camera, baseline, float(right[0, 2]))
        except (cv2.error, AttributeError) as error:
            raise ValueError(f'{entry["calibration"]} is no calibration of Booster') from error
