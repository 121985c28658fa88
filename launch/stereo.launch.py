"""Starts the stereo node, and on request a bag and rviz.

Arguments left empty keep what stands in params_file.
"""

import shlex
from pathlib import Path

from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    OpaqueFunction,
    SetEnvironmentVariable,
    TimerAction,
)
from launch.conditions import IfCondition
from launch.launch_context import LaunchContext
from launch.launch_description import LaunchDescription
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

CONFIG = Path(__file__).resolve().parents[1] / 'config'
FAST_DDS_VARIABLES = {'FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'}
BOOLEANS = ['true', 'false']

ARGUMENTS = [
    DeclareLaunchArgument(
        'namespace', default_value='', description='Namespace of the node and its relative topics.'
    ),
    DeclareLaunchArgument(
        'left_image',
        default_value='left/image_rect',
        description='Topic of the rectified left images.',
    ),
    DeclareLaunchArgument(
        'right_image',
        default_value='right/image_rect',
        description='Topic of the rectified right images.',
    ),
    DeclareLaunchArgument(
        'left_camera_info',
        default_value='',
        description='Topic of the left calibration; empty: camera_info beside left_image.',
    ),
    DeclareLaunchArgument(
        'right_camera_info',
        default_value='',
        description='Topic of the right calibration; empty: camera_info beside right_image.',
    ),
    DeclareLaunchArgument(
        'params_file',
        default_value=str(CONFIG / 'stereo.yaml'),
        description='YAML file of the node parameters.',
    ),
    DeclareLaunchArgument(
        'model', default_value='', description='Model; empty: as in params_file.'
    ),
    DeclareLaunchArgument(
        'engine', default_value='', description='What executes it; empty: as in params_file.'
    ),
    DeclareLaunchArgument(
        'device', default_value='', description='Where it runs; empty: as in params_file.'
    ),
    DeclareLaunchArgument(
        'image_transport',
        default_value='',
        choices=['', 'raw', 'compressed'],
        description='How images arrive: raw or compressed; empty: as in params_file.',
    ),
    DeclareLaunchArgument(
        'autostart',
        default_value='',
        choices=['', *BOOLEANS],
        description='Configure and activate at start; empty: as in params_file.',
    ),
    DeclareLaunchArgument(
        'use_sim_time',
        default_value='false',
        choices=BOOLEANS,
        description='Take the time from /clock; always so with a bag.',
    ),
    DeclareLaunchArgument(
        'bag', default_value='', description='Bag to play with its clock; empty: none.'
    ),
    DeclareLaunchArgument(
        'bag_options',
        default_value='',
        description='Further options of `ros2 bag play`, e.g. "--rate 0.5 --loop".',
    ),
    DeclareLaunchArgument(
        'bag_delay',
        default_value='3.0',
        description='Seconds the node gets to start before the bag plays.',
    ),
    DeclareLaunchArgument(
        'rviz', default_value='false', choices=BOOLEANS, description='Open rviz on the outputs.'
    ),
    DeclareLaunchArgument(
        'fixed_frame',
        default_value='',
        description="Fixed frame of rviz: the left camera's optical frame; empty: left_optical.",
    ),
    DeclareLaunchArgument(
        'respawn',
        default_value='false',
        choices=BOOLEANS,
        description='Start the node again when it ends.',
    ),
    DeclareLaunchArgument(
        'log_level',
        default_value='info',
        description='Log level: debug, info, warn, error or fatal.',
    ),
]


def remappings(arguments: dict[str, str]) -> list[tuple[str, str]]:
    """Images to the named topics, calibrations beside them unless they are named too."""
    rules = []
    for side in ('left', 'right'):
        image = arguments[f'{side}_image']
        beside = image[: image.rfind('/') + 1] + 'camera_info'
        rules += [
            (f'{side}/image_rect', image),
            (f'{side}/camera_info', arguments[f'{side}_camera_info'] or beside),
        ]
    return rules


def overrides(arguments: dict[str, str]) -> dict[str, ParameterValue | bool]:
    """The parameters of the node that the arguments set."""
    values: dict[str, ParameterValue | bool] = {
        name: ParameterValue(arguments[name], value_type=str)
        for name in ('model', 'engine', 'device', 'image_transport')
        if arguments[name]
    }
    if arguments['autostart']:
        values['autostart'] = arguments['autostart'] == 'true'
    return values


def bag_player(arguments: dict[str, str]) -> TimerAction:
    """`ros2 bag play` with the bag's clock, once the node had time to start."""
    command = ['ros2', 'bag', 'play', arguments['bag'], '--clock', '100']
    command += ['--disable-keyboard-controls', *shlex.split(arguments['bag_options'])]
    play = ExecuteProcess(cmd=command, output='screen')
    return TimerAction(period=float(arguments['bag_delay']), actions=[play])


def start(context: LaunchContext) -> list[Action]:
    """Make the actions from the arguments."""
    arguments = {
        argument.name: LaunchConfiguration(argument.name).perform(context)
        for argument in ARGUMENTS
    }
    if not Path(arguments['params_file']).is_file():
        raise FileNotFoundError(
            f'params_file is {arguments["params_file"]}; there is no such file'
        )
    actions: list[Action] = []
    if not FAST_DDS_VARIABLES & context.environment.keys():
        actions.append(
            SetEnvironmentVariable('FASTRTPS_DEFAULT_PROFILES_FILE', str(CONFIG / 'fastdds.xml'))
        )
    sim_time = arguments['use_sim_time'] == 'true' or bool(arguments['bag'])
    clock = {'use_sim_time': True} if sim_time else {}
    topics = {'namespace': arguments['namespace'], 'remappings': remappings(arguments)}
    actions += [
        Node(
            package='nndepth',
            executable='stereo_node',
            name='stereo_node',
            parameters=[arguments['params_file'], {**overrides(arguments), **clock}],
            ros_arguments=['--log-level', arguments['log_level']],
            respawn=arguments['respawn'] == 'true',
            respawn_delay=2.0,
            output='screen',
            **topics,
        ),
        Node(
            condition=IfCondition(arguments['rviz']),
            package='rviz2',
            executable='rviz2',
            name='rviz',
            arguments=[
                *('-d', str(CONFIG / 'rviz' / 'stereo.rviz')),
                *('-f', arguments['fixed_frame']),
            ],
            parameters=[clock],
            **topics,
        ),
    ]
    if arguments['bag']:
        actions.append(bag_player(arguments))
    return actions


def generate_launch_description() -> LaunchDescription:
    """Return the description `ros2 launch` runs."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=start)])
