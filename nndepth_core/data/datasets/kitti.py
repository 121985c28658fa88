"""KITTI 2012 and 2015."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from nndepth_core import io
from nndepth_core.data.datasets.base import Entry, StereoDataset

_FOLDERS = {
    2012: ('colored_0', 'colored_1', 'disp_occ', 'disp_noc', 'calib'),
    2015: ('image_2', 'image_3', 'disp_occ_0', 'disp_noc_0', 'calib_cam_to_cam'),
}
# The usual validation frames, as in GwcNet.
_VALIDATION = {
    2012: range(180, 194),
    2015: (
        1,
        6,
        26,
        38,
        43,
        49,
        67,
        81,
        89,
        109,
        122,
        129,
        132,
        141,
        152,
        159,
        171,
        179,
        184,
        187,
    ),
}


class KITTI(StereoDataset):
    """Street scenes with disparity from a lidar.

    Args:
        root: the folder that holds training of the archive data_stereo_flow (2012) or
            data_scene_flow (2015); it may also hold what the archive of calibrations unpacks.
        year: 2012 or 2015; their folders have different names.
        split: 'validation' has the usual 14 or 20 pairs for validation, 'train' all others, and
            'training' has both.
        truth: 'occ' is the whole truth, 'noc' only that of pixels that the right image shows too.
    """

    source = 'https://www.cvlibs.net/datasets/kitti/eval_stereo.php'

    def __init__(
        self,
        root: Path,
        year: Literal[2012, 2015] = 2015,
        split: Literal['training', 'train', 'validation'] = 'training',
        truth: Literal['occ', 'noc'] = 'occ',
    ) -> None:
        self.name = f'KITTI {year}'
        super().__init__(root)
        left, right, occ, noc, calibration = _FOLDERS[year]
        layout = {
            'left': f'training/{left}/{{frame}}_10.png',
            'right': f'training/{right}/{{frame}}_10.png',
            'disparity': f'training/{occ if truth == "occ" else noc}/{{frame}}_10.png',
            'noc': f'training/{noc}/{{frame}}_10.png',
            'calibration': f'training/{calibration}/{{frame}}.txt',
        }
        held_out = [f'{frame:06d}' for frame in _VALIDATION[year]]
        self.entries = self.find(
            layout,
            optional=('noc', 'calibration'),
            frame=held_out if split == 'validation' else (),
        )
        if split == 'train':
            self.entries = [entry for entry in self.entries if entry.name not in held_out]

    def read_occluded(self, entry: Entry, disparity: np.ndarray) -> np.ndarray | None:
        """True for pixels whose truth is missing in 'noc'."""
        if 'noc' not in entry.files:
            return None
        return np.isfinite(disparity) & np.isnan(io.read_disparity(entry['noc']))
