"""KITTI's depth: the benchmark of depth completion and prediction, and the split of Eigen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from nndepth_core import io
from nndepth_core.data.datasets.base import DatasetError, Entry, MonoDataset

_SELECTION = 'depth_selection/val_selection_cropped'


class KITTIDepth(MonoDataset):
    """Street scenes whose depth was collected from eleven sweeps of a lidar.

    Args:
        root: the folder that holds train and val of the archive data_depth_annotated, or
            depth_selection of the archive data_depth_selection.
        split: 'selection' has the 1000 validation frames of the benchmark, cropped to 1216x352.
        raw: the folder that holds the raw recordings, with a folder per day such as 2011_09_26;
            None if root holds them. The selection needs none, since it includes its images.
        cameras: 'image_02' is the left colour camera, 'image_03' the right one; an empty list
            takes both.
    """

    source = 'https://www.cvlibs.net/datasets/kitti/eval_depth_all.php'

    def __init__(
        self,
        root: Path,
        split: Literal['train', 'val', 'selection'] = 'train',
        raw: Path | None = None,
        cameras: Sequence[Literal['image_02', 'image_03']] = (),
    ) -> None:
        self.name = f'KITTI depth {split}'
        super().__init__(root)
        drive = '{date}_drive_{drive}'
        recordings = _recordings(self.root, raw)
        layout = {
            'depth': f'{split}/{drive}/proj_depth/groundtruth/{{camera}}/{{frame}}.png',
            'image': f'{recordings}/{{date}}/{drive}/{{camera}}/data/{{frame}}.png',
        }
        if split == 'selection':
            frame = '{frame}_image_{camera}.png'
            layout = {
                'depth': f'{_SELECTION}/groundtruth_depth/{drive}_groundtruth_depth_{frame}',
                'image': f'{_SELECTION}/image/{drive}_image_{frame}',
            }
            cameras = [camera[-2:] for camera in cameras]  # type: ignore[misc]
        self.entries = self.find(layout, camera=cameras)

    def read_depth(self, entry: Entry) -> np.ndarray:
        """Depth along Z, float32 (H, W) metres."""
        return io.read_depth(entry['depth'], scale=256)


class KITTIEigen(MonoDataset):
    """The frames of KITTI that a list names, such as the split of Eigen, with KITTI's depth.

    Args:
        root: the folder that holds train and val of the archive data_depth_annotated.
        files: the list. A line has an image, below raw, its depth, below train or val, and
            perhaps the focal length. Lines whose depth is 'None' are left out. In BTS, such lists
            are named kitti_eigen_test_files_with_gt.txt and kitti_eigen_train_files_with_gt.txt.
        raw: the folder that holds the raw recordings, with a folder per day such as 2011_09_26;
            None if root holds them.
    """

    name = 'KITTI Eigen'
    source = KITTIDepth.source

    def __init__(self, root: Path, files: Path, raw: Path | None = None) -> None:
        super().__init__(root)
        recordings = _recordings(self.root, raw)
        drives = {
            path.name: path for part in ('train', 'val') for path in (self.root / part).glob('*')
        }
        try:
            lines = [line.split() for line in Path(files).read_text().splitlines() if line.strip()]
        except OSError as error:
            raise DatasetError(f'the list {files} of {self.name} cannot be read') from error
        entries = []
        for number, words in enumerate(lines, start=1):
            if len(words) < 2:
                raise DatasetError(
                    f'{files}, line {number}: {" ".join(words)!r} does not name an image and its '
                    'depth; take a list with ground truth'
                )
            image, depth = Path(words[0]), Path(words[1])
            if depth.name != 'None':
                drive = drives.get(depth.parts[0], self.root / 'train' / depth.parts[0])
                paths = {
                    'image': recordings / image,
                    'depth': drive.joinpath(*depth.parts[1:]),
                }
                entries.append(Entry('_'.join(image.with_suffix('').parts[1:]), paths, {}))
        self.entries = self.complete(entries)

    def read_depth(self, entry: Entry) -> np.ndarray:
        """Depth along Z, float32 (H, W) metres."""
        return io.read_depth(entry['depth'], scale=256)


def _recordings(root: Path, raw: Path | None) -> Path:
    return root.absolute() if raw is None else Path(raw).expanduser().absolute()
