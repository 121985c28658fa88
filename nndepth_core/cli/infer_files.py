"""What the outputs of `nndepth infer` for pairs and for single images share."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from nndepth_core import io, visualization
from nndepth_core.camera import PinholeCamera
from nndepth_core.clouds import CloudSettings, filtered_points


class OutputFiles:
    """Writes the files of one sample into a folder.

    Attributes:
        names: of the files that were written.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.names: list[str] = []
        self._folder, self._name = folder, name

    def path(self, ending: str) -> Path:
        """Note a file that is about to be written and return its path."""
        self.names.append(f'{self._name}_{ending}')
        return self._folder / self.names[-1]

    def write_depth(
        self,
        formats: Collection[str],
        depth: np.ndarray,
        image: np.ndarray,
        camera: PinholeCamera | None,
        cloud: CloudSettings,
        sigma: np.ndarray | None = None,
    ) -> None:
        """Write depth (H, W) in metres and clouds of its points, as far as asked for."""
        if 'depth' in formats:
            for suffix in ('npy', 'png'):
                io.write_depth(self.path(f'depth.{suffix}'), depth)
        if 'ply' in formats and camera is not None:
            io.write_ply(self.path('points.ply'), camera.points(depth), image)
        if 'cloud' in formats and camera is not None:
            points = filtered_points(depth, image, camera, cloud, sigma)
            bgr = points[:, 3:].copy().view(np.uint8)
            io.write_ply(self.path('cloud.ply'), points[:, :3], bgr[:, 2::-1])

    def write_pictures(
        self, pictures: dict[str, np.ndarray], confidence: np.ndarray | None
    ) -> None:
        """Write the confidence (H, W) in 0..1, and all pictures (title -> RGB) side by side."""
        if confidence is not None:
            picture = np.rint(255 * confidence).astype(np.uint8)
            io.write_image(self.path('confidence.png'), picture)
        io.write_image(self.path('panel.png'), visualization.panel(pictures))
