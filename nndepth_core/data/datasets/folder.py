"""Your own samples: pictures and disparity or depth maps in folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nndepth_core import calibration, io
from nndepth_core.camera import PinholeCamera, StereoCamera
from nndepth_core.data.datasets.base import (
    Dataset,
    DatasetError,
    Entry,
    MonoDataset,
    StereoDataset,
)

CAMERA_FILE = 'camera.yaml'
"""The camera of images with depth, as `nndepth pseudo-label` writes it."""


class FolderPairs(StereoDataset):
    """Your own rectified pairs with disparity.

    The files of a sample have the same name (left/0001.png, right/0001.png, disparity/0001.pfm).
    If they have not, the files belong together in the order of their names.

    Args:
        root: the folder that holds them.
        left: the left images, a pattern of paths below root.
        right: the right images.
        disparity: disparity maps of the left images: .pfm, .npy or .png; '' if there are none,
            which does for a pre-training.
        scale: the stored value that stands for a disparity of one pixel; None takes 1 for .pfm and
            .npy, and 256 for 16-bit pictures as KITTI does.
        occluded: pictures that are not 0 where the right image does not show the surface; '' if
            there are none.
        camera: the calibration of all pairs: a file below root in the layout of Middlebury or
            KITTI, or fx,fy,cx,cy,baseline[,doffs]; '' if there is none.
    """

    source = 'where you keep it'

    def __init__(
        self,
        root: Path,
        left: str = 'left/*',
        right: str = 'right/*',
        disparity: str = 'disparity/*',
        scale: float | None = None,
        occluded: str = '',
        camera: str = '',
    ) -> None:
        self.name = Path(root).name or str(root)
        self.scale = scale
        super().__init__(root)
        patterns = {'left': left, 'right': right, 'disparity': disparity, 'occluded': occluded}
        self.entries = list_entries(self, {kind: p for kind, p in patterns.items() if p})
        numbers = camera.count(',') > 1
        self.calibration = (
            calibration.parse(camera if numbers else self.root / camera) if camera else None
        )

    def read_disparity(self, entry: Entry) -> np.ndarray:
        """Disparity, float32 (H, W) pixels, NaN where unknown."""
        if 'disparity' not in entry.files:
            return np.full(io.read_image(entry['left']).shape[:2], np.nan, np.float32)
        return io.read_disparity(entry['disparity'], self.scale)

    def read_occluded(self, entry: Entry, disparity: np.ndarray) -> np.ndarray | None:
        """True where the picture is not 0."""
        return io.read_image(entry['occluded'])[..., 0] > 0 if 'occluded' in entry.files else None

    def read_camera(self, entry: Entry, width: int, height: int) -> StereoCamera | None:
        """The rig of all pairs."""
        return self.calibration.camera((width, height)) if self.calibration else None


class FolderDepth(MonoDataset):
    """Your own images with depth, such as `nndepth pseudo-label` writes.

    The files of a sample have the same name (image/0001.png, depth/0001.png). If they have not,
    they belong together in the order of their names.

    Args:
        root: the folder that holds them.
        image: the images, a pattern of paths below root.
        depth: their depth maps: .pfm or .npy in metres, or pictures of 16 bits.
        scale: the stored value of one metre in pictures of 16 bits.
        camera: the camera of all images: a YAML of ROS camera_info below root, or fx,fy,cx,cy; ''
            takes camera.yaml where there is one.
    """

    source = 'where you keep it'

    def __init__(
        self,
        root: Path,
        image: str = 'image/*',
        depth: str = 'depth/*',
        scale: float = 1000.0,
        camera: str = '',
    ) -> None:
        self.name = Path(root).name or str(root)
        self.scale = scale
        super().__init__(root)
        self.entries = list_entries(self, {'image': image, 'depth': depth})
        if not camera and (self.root / CAMERA_FILE).is_file():
            camera = CAMERA_FILE
        given = camera if ',' in camera else self.root / camera
        self.calibration = calibration.parse_single(given) if camera else None

    def read_depth(self, entry: Entry) -> np.ndarray:
        """Depth, float32 (H, W) metres, NaN where unknown."""
        return io.read_depth(entry['depth'], self.scale)

    def read_camera(self, entry: Entry, width: int, height: int) -> PinholeCamera | None:
        """The camera of all images."""
        return self.calibration.left_camera((width, height)) if self.calibration else None


def list_entries(dataset: Dataset, patterns: Mapping[str, str]) -> list[Entry]:
    """Find the files of each kind below the root and match them.

    Args:
        dataset: the data set, which needs its name and root.
        patterns: kind of files -> pattern of their paths.

    Raises:
        DatasetError: there are no files of a kind, or they do not match.
    """
    lists = [_list(dataset, kind, pattern) for kind, pattern in patterns.items()]
    try:
        rows = io.match_files(*lists)
    except ValueError as error:
        raise DatasetError(f'{dataset.name}: {error}') from error
    return [
        Entry(name, dict(zip(patterns, row, strict=True)), {})
        for name, row in zip(io.distinct_names([row[0] for row in rows]), rows, strict=True)
    ]


def _list(dataset: Dataset, kind: str, pattern: str) -> list[Path]:
    maps = {'disparity': io.DISPARITY_SUFFIXES, 'depth': io.DEPTH_SUFFIXES}
    suffixes = maps.get(kind, io.IMAGE_SUFFIXES)
    found = [path for path in dataset.root.glob(pattern) if io.is_one_of(path, suffixes)]
    if not found:
        raise DatasetError(
            f'{dataset.name}: no {kind} of {", ".join(suffixes)} is at {dataset.root / pattern}; '
            f'put them there, or set {kind} to the pattern of their paths below {dataset.root}'
        )
    return sorted(found)
