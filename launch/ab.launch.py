"""Starts two models on one input, and the node that compares them.

The models are in the namespaces a and b, each with the arguments that end in its letter; the
others hold for both. For a recording, `nndepth compare BAG MODEL_A MODEL_B` compares every frame.
"""

from pathlib import Path

from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    SetEnvironmentVariable,
)
from launch.launch_context import LaunchContext
from launch.launch_description import LaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from nndepth_core.engines import common_task
from nndepth_ros.launching import (
    ARGUMENTS,
    BOOLEANS,
    FAST_DDS_VARIABLES,
    argument,
    switched,
    topic,
)

LAUNCH = Path(__file__).resolve().parent
CONFIG = LAUNCH.parent / 'config'
SIDES = {'stereo': ('left', 'right'), 'mono': ('',)}
OF_ONE_MODEL = {
    'model': 'Model',
    'engine': 'Engine that executes it',
    'device': 'Device on which it runs',
    'params_file': 'YAML file of the node parameters',
}
SHARED = ('image_transport', 'rectify', 'calibration', 'autostart', 'use_sim_time', 'log_level')


def declared() -> list[DeclareLaunchArgument]:
    """The arguments, those of both cameras and of one among them."""
    rows: list[tuple[str, str, str, list[str] | None]] = [
        ('namespace', '', 'Namespace of a/, b/ and the comparison.', None),
        ('task', '', 'stereo or mono; empty: that of the models.', ['', *SIDES]),
    ]
    for model in 'ab':
        for name, what in OF_ONE_MODEL.items():
            default = 'config of the package' if name == 'params_file' else 'as in its params_file'
            text = f'{what}, of {model.upper()}; empty: {default}.'
            rows.append((f'{name}_{model}', '', text, None))
    for side in ('left', 'right', ''):
        for name, empty in (('image', 'as of the nodes'), ('camera_info', 'beside the image')):
            which = f'the {side} camera' if side else 'the camera of task mono'
            text = f'Topic of {name} of {which}; empty: {empty}.'
            rows.append((argument(side, name), '', text, None))
    default = str(CONFIG / 'compare.yaml')
    rows.append(('params_file', default, 'YAML file of the comparison.', None))
    rows += [row for row in ARGUMENTS if row[0] in SHARED]
    return [
        DeclareLaunchArgument(name, default_value=value, description=text, choices=choices)
        for name, value, text, choices in rows
    ]


def start(context: LaunchContext) -> list[Action]:
    """Make the actions for the values of the arguments."""
    if context.launch_configurations.get('bag'):
        raise ValueError(
            'ab.launch.py plays no bag; run `nndepth compare BAG MODEL_A MODEL_B`, or `ros2 bag '
            'play BAG --clock` once both models are active, with use_sim_time:=true here'
        )
    given = {row.name: LaunchConfiguration(row.name).perform(context) for row in declared()}
    for name in ('params_file', 'params_file_a', 'params_file_b'):
        if given[name] and not Path(given[name]).is_file():
            raise FileNotFoundError(f'{name} is {given[name]}; there is no such file')
    named = {name: given[name] for name in ('model_a', 'model_b')}
    task = common_task(named, given['task'] or None) or 'stereo'
    actions: list[Action] = []
    if not FAST_DDS_VARIABLES & context.environment.keys():
        profile = str(CONFIG / 'fastdds.xml')
        actions.append(SetEnvironmentVariable('FASTRTPS_DEFAULT_PROFILES_FILE', profile))
    of_models = {model: arguments_of(model, task, given) for model in 'ab'}
    a, b = ({name: values[name] for name in OF_ONE_MODEL} for values in of_models.values())
    if a == b:
        text = 'A and B are the same model with the same settings: they will agree by 100 %'
        actions.append(LogInfo(msg=text))
    for values in of_models.values():
        source = PythonLaunchDescriptionSource(str(LAUNCH / f'{task}.launch.py'))
        include = IncludeLaunchDescription(source, launch_arguments=values.items())
        actions.append(GroupAction([include]))
    return [*actions, compare_node(task, given, of_models['a'])]


def arguments_of(model: str, task: str, given: dict[str, str]) -> dict[str, str]:
    """The arguments of the launch file of one model; topics are absolute, outside of a/ and b/."""
    values = {name: given[f'{name}_{model}'] for name in OF_ONE_MODEL}
    values['params_file'] = values['params_file'] or str(CONFIG / f'{task}.yaml')
    values['namespace'] = absolute(given, model)
    raw = switched({**given, **values}, 'rectify', False)
    for side in SIDES[task]:
        name = argument(side, 'image')
        image = given[name] or topic(side, 'image_raw' if raw else 'image_rect')
        values[name] = absolute(given, image)
        name = argument(side, 'camera_info')
        values[name] = absolute(given, given[name]) if given[name] else ''
    return {**values, 'rviz': BOOLEANS[1]}


def compare_node(task: str, given: dict[str, str], of_a: dict[str, str]) -> Node:
    """The comparison, which shows the images that A takes."""
    raw = switched({**given, **of_a}, 'rectify', False)
    side = SIDES[task][0]
    values: dict[str, str | bool] = {'task': task, 'rectify': raw}
    if given['image_transport']:
        values['image_transport'] = given['image_transport']
    if given['autostart']:
        values['autostart'] = given['autostart'] == 'true'
    if given['use_sim_time'] == 'true':
        values['use_sim_time'] = True
    return Node(
        package='nndepth',
        executable='compare_node',
        name='compare_node',
        parameters=[given['params_file'], values],
        ros_arguments=['--log-level', given['log_level']],
        output='screen',
        namespace=given['namespace'],
        remappings=[
            (topic(side, 'image_raw' if raw else 'image_rect'), of_a[argument(side, 'image')])
        ],
    )


def absolute(given: dict[str, str], name: str) -> str:
    """A name that is relative to the namespace, in full."""
    return name if name.startswith('/') else f'{full(given["namespace"])}/{name}'


def full(namespace: str) -> str:
    """A namespace with the slash before and without the one behind it."""
    return f'/{namespace.strip("/")}' if namespace.strip('/') else ''


def generate_launch_description() -> LaunchDescription:
    """Return the description `ros2 launch` runs."""
    return LaunchDescription([*declared(), OpaqueFunction(function=start)])
