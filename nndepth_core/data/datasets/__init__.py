"""Data sets in the layouts of their publishers, one file each.

A data set finds its files when it is made and reads one sample at a time; a sample that cannot be
read raises DatasetError.
"""

from nndepth_core.data.datasets.base import (
    Dataset,
    DatasetError,
    MonoDataset,
    MonoSource,
    Source,
    StereoDataset,
    StereoSource,
)
from nndepth_core.data.datasets.booster import Booster
from nndepth_core.data.datasets.crestereo import CREStereoData
from nndepth_core.data.datasets.diml import DIMLIndoor, DIMLOutdoor
from nndepth_core.data.datasets.eth3d import ETH3D
from nndepth_core.data.datasets.falling_things import FallingThings
from nndepth_core.data.datasets.folder import FolderDepth, FolderPairs
from nndepth_core.data.datasets.hrwsi import HRWSI
from nndepth_core.data.datasets.hypersim import Hypersim
from nndepth_core.data.datasets.instereo2k import InStereo2K
from nndepth_core.data.datasets.kitti import KITTI
from nndepth_core.data.datasets.kitti_depth import KITTIDepth, KITTIEigen
from nndepth_core.data.datasets.middlebury import Middlebury2006, Middlebury2014, MiddleburyV3
from nndepth_core.data.datasets.mixture import Mixture
from nndepth_core.data.datasets.nyu import NYUv2, NYUv2Labeled
from nndepth_core.data.datasets.sanpo import SANPO
from nndepth_core.data.datasets.sceneflow import SceneFlow
from nndepth_core.data.datasets.sintel import SintelStereo
from nndepth_core.data.datasets.tartanair import TartanAir
from nndepth_core.data.datasets.tartanair_depth import TartanAirDepth
from nndepth_core.data.datasets.tum import TUM
from nndepth_core.data.datasets.virtual_kitti import VirtualKITTI2

__all__ = [
    'ETH3D',
    'HRWSI',
    'KITTI',
    'SANPO',
    'TUM',
    'Booster',
    'CREStereoData',
    'DIMLIndoor',
    'DIMLOutdoor',
    'Dataset',
    'DatasetError',
    'FallingThings',
    'FolderDepth',
    'FolderPairs',
    'Hypersim',
    'InStereo2K',
    'KITTIDepth',
    'KITTIEigen',
    'Middlebury2006',
    'Middlebury2014',
    'MiddleburyV3',
    'Mixture',
    'MonoDataset',
    'MonoSource',
    'NYUv2',
    'NYUv2Labeled',
    'SceneFlow',
    'SintelStereo',
    'Source',
    'StereoDataset',
    'StereoSource',
    'TartanAir',
    'TartanAirDepth',
    'VirtualKITTI2',
]
