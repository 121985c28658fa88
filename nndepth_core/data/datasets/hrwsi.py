"""HR-WSI: pictures from the web with relative depth."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from nndepth_core import io
from nndepth_core.data.datasets.base import Entry, MonoDataset


class HRWSI(MonoDataset):
    """Stereo pictures from the web, with inverse depth up to scale and shift.

    Args:
        root: the folder that holds train and val, such as HR-WSI.
        split: 'train' has 20378 pictures, 'val' has 400.
    """

    source = 'https://kexianhust.github.io/Structure-Guided-Ranking-Loss/'
    meaning = 'relative_inverse'

    def __init__(self, root: Path, split: Literal['train', 'val'] = 'train') -> None:
        self.name = f'HR-WSI {split}'
        super().__init__(root)
        self.entries = self.find(
            {
                'image': f'{split}/imgs/{{frame}}.jpg',
                'depth': f'{split}/gts/{{frame}}.png',
                'valid': f'{split}/valid_masks/{{frame}}.png',
            }
        )

    def read_depth(self, entry: Entry) -> np.ndarray:
        """Inverse depth in 0..1 up to scale and shift, float32 (H, W), larger is nearer."""
        inverse = io.read_image(entry['depth'])[..., 0] / np.float32(255)
        valid = io.read_image(entry['valid'])[..., 0] > 0
        if valid.shape != inverse.shape:
            raise ValueError(
                f'{entry["valid"]} has {valid.shape[1]}x{valid.shape[0]} pixels and '
                f'{entry["depth"]} {inverse.shape[1]}x{inverse.shape[0]}; download them again'
            )
        return np.where(valid, inverse, np.float32(np.nan))
