"""Starts the stereo node, and on request a bag and rviz.

Arguments left empty keep what stands in params_file.
"""

from pathlib import Path

from launch.launch_description import LaunchDescription

from nndepth_ros.launching import NodeLaunch

CONFIG = Path(__file__).resolve().parents[1] / 'config'


def generate_launch_description() -> LaunchDescription:
    """Return the description `ros2 launch` runs."""
    return NodeLaunch('stereo', CONFIG, ('left', 'right'), 'left_optical').description()
