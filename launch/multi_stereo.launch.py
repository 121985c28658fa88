"""Starts a stereo node for each of several rigs, in one process, and on request rviz.

Arguments left empty keep what stands in params_file. Relative topics are in the namespace of each
rig: left_image:=infra1/image is /front/infra1/image for the rig front.
"""

from pathlib import Path

from launch.launch_description import LaunchDescription

from nndepth_ros.rigs_launching import RigsLaunch

CONFIG = Path(__file__).resolve().parents[1] / 'config'


def generate_launch_description() -> LaunchDescription:
    """Return the description `ros2 launch` runs."""
    return RigsLaunch('multi_stereo', CONFIG, ('left', 'right'), 'base_link').description()
