"""Depth from stereo pairs and single images: geometry, engines, networks, tools. No ROS here."""

from nndepth_core.camera import CalibrationError, PinholeCamera, StereoCamera
from nndepth_core.estimator import StereoEstimator, StereoResult

__version__ = '0.1.0'
__all__ = [
    'CalibrationError',
    'PinholeCamera',
    'StereoCamera',
    'StereoEstimator',
    'StereoResult',
]
