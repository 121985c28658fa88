"""Apple's Hypersim."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from nndepth_core.data.datasets.base import DatasetError, Entry, MonoDataset
from nndepth_core.data.datasets.hdf5 import open_array

_SPLITS = 'metadata_images_split_scene_v1.csv'
_CAMERAS = 'metadata_camera_parameters.csv'
_FIELD_OF_VIEW = math.pi / 3  # of most scenes, along the rows


class Hypersim(MonoDataset):
    """Rendered rooms of 1024x768 with dense depth.

    The files hold distances along the rays; the depth of a sample is along Z. Reading them needs
    h5py.

    Args:
        root: the folder that holds a folder per scene, such as ai_001_001. A split also needs the
            file metadata_images_split_scene_v1.csv there, which is in the folder
            evermotion_dataset/analysis of the repository. If the file
            metadata_camera_parameters.csv of its folder contrib/mikeroberts3000 is there too, it
            gives the cameras of scenes whose lens does not have 60 degrees.
        split: the images to take; 'all' takes every image that is there.
        scenes: the scenes to take; an empty list takes all.
    """

    source = 'https://github.com/apple/ml-hypersim'

    def __init__(
        self,
        root: Path,
        split: Literal['train', 'val', 'test', 'all'] = 'all',
        scenes: Sequence[str] = (),
    ) -> None:
        self.name = f'Hypersim {split}'
        super().__init__(root)
        images = '{scene}/images/scene_{camera}'
        self.entries = self.find(
            {
                'depth': f'{images}_geometry_hdf5/frame.{{frame}}.depth_meters.hdf5',
                'image': f'{images}_final_preview/frame.{{frame}}.tonemap.jpg',
            },
            scene=scenes,
        )
        if split != 'all':
            wanted = self._split(split)
            self.entries = [
                entry
                for entry in self.entries
                if tuple(entry.fields[key] for key in ('scene', 'camera', 'frame')) in wanted
            ]
            if not self.entries:
                raise DatasetError(
                    f'{self.name}: none of the images in {self.root} is of this split; get '
                    f'others from {self.source}'
                )
        self.views = self._views()

    def read_depth(self, entry: Entry) -> np.ndarray:
        """Depth along Z, float32 (H, W) metres."""
        with open_array(entry['depth'], 'dataset') as stored:
            distance = stored[...].astype(np.float32)
        height, width = distance.shape
        view = self.views.get(entry.fields['scene'])
        depth = distance * _along_z(width, height, view)
        return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(np.nan))

    def _split(self, split: str) -> set[tuple[str, str, str]]:
        """List scene, camera and frame of the images that belong to the split."""
        path = self.root / _SPLITS
        if not path.is_file():
            raise DatasetError(
                f'{self.name}: {path} is missing; get it from {self.source}, folder '
                "evermotion_dataset/analysis, or take the split 'all'"
            )
        with path.open(newline='') as file:
            return {
                (row['scene_name'], row['camera_name'], f'{int(row["frame_id"]):04d}')
                for row in csv.DictReader(file)
                if row['split_partition_name'] == split
                and row['included_in_public_release'].lower() == 'true'
            }

    def _views(self) -> dict[str, np.ndarray]:
        """Read, for every scene, the matrix from (u, v, 1), -1..1 across the image, to a ray."""
        path = self.root / _CAMERAS
        if not path.is_file():
            return {}
        with path.open(newline='') as file:
            return {
                row['scene_name']: np.array(
                    [[float(row[f'M_cam_from_uv_{i}{j}']) for j in range(3)] for i in range(3)]
                )
                for row in csv.DictReader(file)
            }


def _along_z(width: int, height: int, view: np.ndarray | None) -> np.ndarray:
    """Divide depth along Z by distance, (H, W) float32; the camera looks along -Z, Y is up."""
    if view is None:
        x = math.tan(_FIELD_OF_VIEW / 2)
        view = np.diag([x, x * height / width, -1])
    u = (2 * np.arange(width) + 1) / width - 1
    v = 1 - (2 * np.arange(height) + 1) / height
    x, y, z = (row[0] * u + row[1] * v[:, None] + row[2] for row in view)
    return (-z / np.sqrt(x * x + y * y + z * z)).astype(np.float32)
