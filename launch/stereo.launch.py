"""Starts the stereo node, and on request a bag and rviz.

Arguments left empty keep what stands in params_file.
"""

import shlex
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue

import yaml
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessExit, OnProcessStart
from launch.events import matches_action
from launch.events.process import ProcessExited
from launch.launch_context import LaunchContext
from launch.launch_description import LaunchDescription
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState, StateTransition
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.ros_adapters import get_ros_node
from lifecycle_msgs.msg import State, Transition, TransitionEvent
from lifecycle_msgs.srv import GetState

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
        'bag',
        default_value='',
        description='Bag to play with its clock once the node is active; empty: none.',
    ),
    DeclareLaunchArgument(
        'bag_options',
        default_value='',
        description='Further options of `ros2 bag play`, e.g. "--rate 0.5 --loop".',
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


def starts_itself(arguments: dict[str, str]) -> bool:
    """Whether autostart is true: by the argument, else by the file, else by default."""
    if arguments['autostart']:
        return arguments['autostart'] == 'true'
    sections = yaml.safe_load(Path(arguments['params_file']).read_text()) or {}
    parameters = [section.get('ros__parameters') or {} for section in sections.values()]
    return all(values.get('autostart', True) for values in parameters)


def bag_player(node: LifecycleNode, arguments: dict[str, str]) -> list[Action]:
    """`ros2 bag play` with the bag's clock as soon as the node is active for the first time.

    Where the node would start itself, it is configured and activated from here: a transition that
    it makes before it has discovered this process is not heard.
    """
    command = ['ros2', 'bag', 'play', arguments['bag'], '--clock', '100']
    command += ['--disable-keyboard-controls', *shlex.split(arguments['bag_options'])]
    play = ExecuteProcess(cmd=command, output='screen')
    autostart = starts_itself(arguments)
    meeting = OpaqueFunction(function=meet, args=[node, autostart])
    on_state = partial(OnStateTransition, target_lifecycle_node=node)
    handlers = [
        OnProcessStart(target_action=node, on_start=[meeting]),
        on_state(goal_state='active', entities=[play], handle_once=True),
    ]
    if arguments['respawn'] != 'true':
        handlers.append(OnProcessExit(target_action=node, on_exit=end_with_node))
    if autostart:
        activate = EmitEvent(event=change(node, Transition.TRANSITION_ACTIVATE))
        failure = OpaqueFunction(function=fail, args=['it cannot become active, see its log'])
        handlers += [
            on_state(start_state='configuring', goal_state='inactive', entities=[activate]),
            on_state(start_state='configuring', goal_state='unconfigured', entities=[failure]),
            on_state(start_state='activating', goal_state='inactive', entities=[failure]),
            on_state(goal_state='errorprocessing', entities=[failure]),
        ]
    return [RegisterEventHandler(handler) for handler in handlers]


def change(node: LifecycleNode, number: int) -> ChangeState:
    """The request of a transition."""
    return ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=number)


def meet(context: LaunchContext, node: LifecycleNode, autostart: bool) -> None:
    """Ask the node for its state, then configure it if it is to start itself.

    Its transitions are subscribed to before; once it answers, it knows of that.
    """
    client = get_ros_node(context).create_client(GetState, f'{node.node_name}/get_state')

    answers: SimpleQueue[GetState.Response] = SimpleQueue()

    def ask() -> None:
        while answers.empty():
            if context.is_shutdown:
                return
            if client.wait_for_service(timeout_sec=1.0):
                future = client.call_async(GetState.Request())
                future.add_done_callback(lambda done: answers.put(done.result()))
                with suppress(Empty):
                    answers.put(answers.get(timeout=1.0))
        state = answers.get().current_state
        if state.id == State.PRIMARY_STATE_ACTIVE:
            tell(StateTransition(action=node, msg=TransitionEvent(goal_state=state)))
        elif autostart:
            tell(change(node, Transition.TRANSITION_CONFIGURE))

    def tell(event: ChangeState | StateTransition) -> None:
        context.asyncio_loop.call_soon_threadsafe(lambda: context.emit_event_sync(event))

    context.asyncio_loop.run_in_executor(None, ask)


def end_with_node(event: ProcessExited, context: LaunchContext) -> Action | None:
    """End when the node ends, for nobody hears the bag then; with an error if it failed."""
    if context.is_shutdown:
        return None
    if event.returncode:
        fail(context, f'it ended with exit code {event.returncode}')
    return Shutdown(reason='stereo_node ended')


def fail(context: LaunchContext, reason: str) -> None:
    """End the launch with an error and a non-zero exit code."""
    raise RuntimeError(f'stereo_node failed: {reason}')


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
    values = {**overrides(arguments), **clock}
    if arguments['bag']:
        values['autostart'] = False
    topics = {'namespace': arguments['namespace'], 'remappings': remappings(arguments)}
    node = (LifecycleNode if arguments['bag'] else Node)(
        package='nndepth',
        executable='stereo_node',
        name='stereo_node',
        parameters=[arguments['params_file'], values],
        ros_arguments=['--log-level', arguments['log_level']],
        respawn=arguments['respawn'] == 'true',
        respawn_delay=2.0,
        output='screen',
        **topics,
    )
    if arguments['bag']:
        actions += bag_player(node, arguments)
    actions += [
        node,
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
    return actions


def generate_launch_description() -> LaunchDescription:
    """Return the description `ros2 launch` runs."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=start)])
