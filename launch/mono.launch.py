"""Starts the mono node, and on request a bag and rviz.

Arguments left empty keep what stands in params_file; name at least a model.
"""

from pathlib import Path

from launch.launch_description import LaunchDescription

from nndepth_ros.launching import NodeLaunch

CONFIG = Path(__file__).resolve().parents[1] / 'config'
TOPICS = {
    'scale/depth': 'a depth image that tells the scale, for scale_source sparse_depth or stereo',
    'scale/points': 'a cloud that tells the scale, for scale_source sparse_depth',
    'scale/disparity': 'a disparity that tells the scale, for scale_source stereo',
}


def generate_launch_description() -> LaunchDescription:
    """Return the description `ros2 launch` runs."""
    return NodeLaunch('mono', CONFIG, ('',), 'camera_optical', TOPICS).description()
