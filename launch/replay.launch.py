"""Plays a bag into the stereo node; takes the arguments of stereo.launch.py too."""

from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    OpaqueFunction,
    SetLaunchConfiguration,
)
from launch.launch_context import LaunchContext
from launch.launch_description import LaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

STEREO = Path(__file__).resolve().with_name('stereo.launch.py')


def set_bag_options(context: LaunchContext) -> list[SetLaunchConfiguration]:
    """Turn the arguments into options of `ros2 bag play`."""
    value = {
        name: LaunchConfiguration(name).perform(context)
        for name in ('rate', 'start_offset', 'loop')
    }
    options = f'--rate {value["rate"]} --start-offset {value["start_offset"]}'
    if value['loop'] == 'true':
        options += ' --loop'
    return [SetLaunchConfiguration('bag_options', options)]


def generate_launch_description() -> LaunchDescription:
    """Return the description `ros2 launch` runs."""
    return LaunchDescription(
        [
            DeclareLaunchArgument('bag', description='Bag to play.'),
            DeclareLaunchArgument(
                'rate', default_value='1.0', description='Speed; 0.5 is half the recorded one.'
            ),
            DeclareLaunchArgument(
                'loop',
                default_value='false',
                choices=['true', 'false'],
                description='Begin again at the end.',
            ),
            DeclareLaunchArgument(
                'start_offset',
                default_value='0.0',
                description='Seconds of the bag to leave out at its start.',
            ),
            OpaqueFunction(function=set_bag_options),
            IncludeLaunchDescription(PythonLaunchDescriptionSource(str(STEREO))),
        ]
    )
