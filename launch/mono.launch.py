"""Starts the mono node, and on request a bag and rviz.

Arguments left empty keep what stands in params_file; name at least a model. A network that gives
no metres gets them by scale_source: sparse_depth needs scale_depth or scale_points, stereo
scale_disparity or scale_depth, and camera_height the argument of this name.
"""

from pathlib import Path

from launch.launch_description import LaunchDescription

from nndepth_ros.launching import NodeLaunch
from nndepth_ros.parameters.scale import SCALE_PARAMETERS

CONFIG = Path(__file__).resolve().parents[1] / 'config'
TOPICS = {
    'scale/depth': 'a depth image that tells the scale, for scale_source sparse_depth or stereo',
    'scale/points': 'a cloud that tells the scale, for scale_source sparse_depth',
    'scale/disparity': 'a disparity that tells the scale, for scale_source stereo',
}


def generate_launch_description() -> LaunchDescription:
    """Return the description `ros2 launch` runs."""
    launch = NodeLaunch('mono', CONFIG, ('',), 'camera_optical', TOPICS, SCALE_PARAMETERS)
    return launch.description()
