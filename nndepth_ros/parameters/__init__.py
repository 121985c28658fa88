"""The parameters of the nodes: tables that are declared, checked and read into frozen configs."""

from nndepth_ros.parameters.compare import COMPARE_PARAMETERS, CompareConfig
from nndepth_ros.parameters.mono import MONO_PARAMETERS, MonoConfig
from nndepth_ros.parameters.stereo import STEREO_PARAMETERS, StereoConfig
from nndepth_ros.parameters.table import Parameter

__all__ = [
    'COMPARE_PARAMETERS',
    'MONO_PARAMETERS',
    'STEREO_PARAMETERS',
    'CompareConfig',
    'MonoConfig',
    'Parameter',
    'StereoConfig',
]
