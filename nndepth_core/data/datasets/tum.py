"""TUM RGB-D."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nndepth_core import io
from nndepth_core.camera import PinholeCamera
from nndepth_core.data.datasets.base import DatasetError, Entry, MonoDataset

_CAMERAS = {
    'freiburg1': PinholeCamera(640, 480, 517.3, 516.5, 318.6, 255.3),
    'freiburg2': PinholeCamera(640, 480, 520.9, 521.0, 325.1, 249.7),
    'freiburg3': PinholeCamera(640, 480, 535.4, 539.2, 320.1, 247.6),
}
"""The colour cameras, by the publishers' page of file formats; a sequence names its camera."""


class TUM(MonoDataset):
    """Indoor sequences of 640x480 seen by a Kinect or an Xtion.

    Colour and depth are taken at different times. As in the publisher's associate.py, those that
    are closest in time are paired first, and every image is used once.

    Args:
        root: a sequence, such as rgbd_dataset_freiburg1_xyz, or a folder of sequences.
        sequences: which sequences to take; an empty list takes all.
        max_difference: the largest difference between the times of image and depth, in seconds.
    """

    name = 'TUM RGB-D'
    source = 'https://cvg.cit.tum.de/data/datasets/rgbd-dataset/download'

    def __init__(
        self, root: Path, sequences: Sequence[str] = (), max_difference: float = 0.02
    ) -> None:
        super().__init__(root)
        layout = {'images': 'rgb.txt', 'depths': 'depth.txt'}
        nested = {kind: f'{{sequence}}/{path}' for kind, path in layout.items()}
        if sequences or not (self.root / layout['images']).exists():
            found = self.find(nested, sequence=sequences)
        else:
            found = self.find(layout)
        entries = []
        for lists in found:
            images, depths = self._read_list(lists['images']), self._read_list(lists['depths'])
            folder = lists['images'].parent
            for i, j in associate([x[0] for x in images], [x[0] for x in depths], max_difference):
                time, image = images[i]
                files = {'image': folder / image, 'depth': folder / depths[j][1]}
                entries.append(Entry(f'{folder.name}_{time:.6f}', files, lists.fields))
        self.entries = self.complete(entries)

    def read_depth(self, entry: Entry) -> np.ndarray:
        """Depth along Z, float32 (H, W) metres."""
        return io.read_depth(entry['depth'], scale=5000)

    def read_camera(self, entry: Entry, width: int, height: int) -> PinholeCamera | None:
        """The camera that the name of the sequence tells."""
        told = (camera for name, camera in _CAMERAS.items() if name in entry.name)
        camera = next(told, None)
        return camera if camera and (width, height) == (camera.width, camera.height) else None

    def _read_list(self, path: Path) -> list[tuple[float, str]]:
        """Read times in seconds, in ascending order, with their files."""
        lines = [line.split() for line in path.read_text().splitlines()]
        try:
            pairs = (words for words in lines if words and not words[0].startswith('#'))
            return sorted((float(time), file) for time, file in pairs)
        except ValueError as error:
            raise DatasetError(
                f'{self.name}: a line of {path} is not a time and a file; get it again from '
                f'{self.source}'
            ) from error


def associate(
    first: Sequence[float], second: Sequence[float], max_difference: float
) -> list[tuple[int, int]]:
    """Match times one to one, the closest pairs first.

    Args:
        first: times in seconds, ascending.
        second: times in seconds, ascending.
        max_difference: in seconds; pairs must be closer than this.

    Returns:
        Pairs of indices into `first` and `second`, in the order of `first`.
    """
    times = np.asarray(first)
    low = np.searchsorted(second, times - max_difference, 'right')
    high = np.searchsorted(second, times + max_difference, 'left')
    candidates = [
        (abs(second[j] - first[i]), i, j)
        for i in range(len(first))
        for j in range(low[i], high[i])
    ]
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for _, i, j in sorted(candidates):
        if i not in pairs and j not in taken:
            pairs[i] = j
            taken.add(j)
    return sorted(pairs.items())
