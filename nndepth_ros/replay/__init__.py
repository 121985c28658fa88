"""Runs a recorded bag through the pipeline of a node, without DDS and without ROS."""

from nndepth_ros.replay.run import replay
from nndepth_ros.replay.settings import ReplaySettings

__all__ = ['ReplaySettings', 'replay']
