"""What the launch files of the nodes have in common: arguments, node, rviz, and a bag player.

It needs the packages launch and launch_ros, which come with ROS but not as wheels.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

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

from nndepth_ros.parameters.rate import TARGET_RATE
from nndepth_ros.parameters.table import Parameter

FAST_DDS_VARIABLES = {'FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'}
BOOLEANS = ['true', 'false']
SWITCHES = ('autostart', 'rectify')
"""Parameters of the node that are true or false."""
AS_IN_FILE = 'empty: as in params_file.'
ARGUMENTS: list[tuple[str, str, str, list[str] | None]] = [
    ('model', '', f'Model; {AS_IN_FILE}', None),
    ('engine', '', f'Engine that executes it; {AS_IN_FILE}', None),
    ('device', '', f'Device on which it runs; {AS_IN_FILE}', None),
    ('target_rate', '', f'{TARGET_RATE.description} Empty: as in params_file.', None),
    (
        'image_transport',
        '',
        f'How images are sent: raw or compressed; {AS_IN_FILE}',
        ['', 'raw', 'compressed'],
    ),
    (
        'rectify',
        '',
        f'Take raw images and rectify them; {AS_IN_FILE}',
        ['', *BOOLEANS],
    ),
    ('calibration', '', f'Calibration file in place of camera_info; {AS_IN_FILE}', None),
    ('autostart', '', f'Configure and activate at start; {AS_IN_FILE}', ['', *BOOLEANS]),
    (
        'use_sim_time',
        'false',
        'Take the time from /clock; always so with a bag.',
        BOOLEANS,
    ),
    ('bag', '', 'Bag to play with its clock once the node is active; empty: none.', None),
    ('bag_options', '', 'Further options of `ros2 bag play`, e.g. "--rate 0.5 --loop".', None),
    ('rviz', 'false', 'Open rviz on the outputs.', BOOLEANS),
    ('respawn', 'false', 'Start the node again when it ends.', BOOLEANS),
    ('log_level', 'info', 'Log level: debug, info, warn, error or fatal.', None),
]
"""Name, default, description and choices of the arguments that all nodes have."""


@dataclass(frozen=True)
class NodeLaunch:
    """How one of the nodes is launched.

    Attributes:
        task: 'stereo' or 'mono'; it is part of the names of executable, parameters and rviz file.
        config: the folder of these files.
        sides: the sides of its cameras; a single camera has the side ''.
        frame: the fixed frame of rviz if none is given.
        topics: its further input topics, each with what it brings; the argument that remaps
            scale/depth is scale_depth.
        parameters: the parameters of its own that are arguments too, by their rows in the table.
    """

    task: str
    config: Path
    sides: tuple[str, ...]
    frame: str
    topics: Mapping[str, str] = field(default_factory=dict)
    parameters: tuple[Parameter, ...] = ()

    @property
    def node(self) -> str:
        """The name of the executable and of the node."""
        return f'{self.task}_node'

    def description(self) -> LaunchDescription:
        """Make what `ros2 launch` runs."""
        start = OpaqueFunction(function=self._start)
        return LaunchDescription([*self._arguments(), start])

    def _arguments(self) -> list[DeclareLaunchArgument]:
        rows: list[tuple[str, str, str, list[str] | None]] = [
            ('namespace', '', 'Namespace of the node and its relative topics.', None)
        ]
        for side in self.sides:
            name, whose = argument(side, 'image'), f'{side} ' if side else ''
            text = (
                f'Topic of the {whose}images; empty: {topic(side, "image_rect")}, or with rectify '
                f'{topic(side, "image_raw")}.'
            )
            rows.append((name, '', text, None))
            text = f'Topic of the {whose}calibration; empty: camera_info beside {name}.'
            rows.append((argument(side, 'camera_info'), '', text, None))
        for name, what in self.topics.items():
            rows.append((name.replace('/', '_'), name, f'Topic of {what}.', None))
        for row in self.parameters:
            choices = ['', *row.choices] if row.choices else None
            rows.append((row.name, '', f'{row.description} Empty: as in params_file.', choices))
        text = 'YAML file of the node parameters.'
        rows.append(('params_file', str(self.config / f'{self.task}.yaml'), text, None))
        rows += ARGUMENTS
        text = f"Fixed frame of rviz: the camera's optical frame; empty: {self.frame}."
        rows.append(('fixed_frame', '', text, None))
        return [
            DeclareLaunchArgument(name, default_value=value, description=text, choices=choices)
            for name, value, text, choices in rows
        ]

    def _remappings(self, arguments: dict[str, str], rviz: bool = False) -> list[tuple[str, str]]:
        """Map inputs to the named topics, and calibrations beside images unless they are named.

        The node has other names for raw images, which rviz shows under those of rectified ones.
        """
        rules = []
        name = 'image_raw' if switched(arguments, 'rectify', False) else 'image_rect'
        for side in self.sides:
            image = arguments[argument(side, 'image')] or topic(side, name)
            beside = image[: image.rfind('/') + 1] + 'camera_info'
            info = arguments[argument(side, 'camera_info')] or beside
            taken = topic(side, 'image_rect' if rviz else name)
            rules += [(taken, image), (topic(side, 'camera_info'), info)]
        return rules + [(name, arguments[name.replace('/', '_')]) for name in self.topics]

    # --- actions ---------------------------------------------------------------------------------

    def _start(self, context: LaunchContext) -> list[Action]:
        """Make the actions for the values of the arguments."""
        arguments = self._given(context)
        sim_time = arguments['use_sim_time'] == 'true' or bool(arguments['bag'])
        clock = {'use_sim_time': True} if sim_time else {}
        values = {**overrides(arguments, self.parameters), **clock}
        if arguments['bag']:
            values['autostart'] = False
        node = (LifecycleNode if arguments['bag'] else Node)(
            name=self.node, **self._process(arguments, self.node, values)
        )
        actions = self._profile(context)
        if arguments['bag']:
            actions += self._bag_player(node, arguments)
        rviz = Node(
            condition=IfCondition(arguments['rviz']),
            package='rviz2',
            executable='rviz2',
            name='rviz',
            arguments=[
                *('-d', str(self.config / 'rviz' / f'{self.task}.rviz')),
                *('-f', arguments['fixed_frame']),
            ],
            parameters=[clock],
            namespace=arguments['namespace'],
            remappings=self._remappings(arguments, rviz=True),
        )
        return [*actions, node, rviz]

    def _given(self, context: LaunchContext) -> dict[str, str]:
        """The values of the arguments."""
        arguments = {
            declared.name: LaunchConfiguration(declared.name).perform(context)
            for declared in self._arguments()
        }
        if not Path(arguments['params_file']).is_file():
            raise FileNotFoundError(
                f'params_file is {arguments["params_file"]}; there is no such file'
            )
        return arguments

    def _profile(self, context: LaunchContext) -> list[Action]:
        """Give Fast DDS large buffers, unless the user has chosen a profile."""
        if FAST_DDS_VARIABLES & context.environment.keys():
            return []
        profile = str(self.config / 'fastdds.xml')
        return [SetEnvironmentVariable('FASTRTPS_DEFAULT_PROFILES_FILE', profile)]

    def _process(
        self, arguments: dict[str, str], executable: str, values: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What a node action takes to run an executable with these values of parameters."""
        return {
            'package': 'nndepth',
            'executable': executable,
            'parameters': [arguments['params_file'], values],
            'ros_arguments': ['--log-level', arguments['log_level']],
            'respawn': arguments['respawn'] == 'true',
            'respawn_delay': 2.0,
            'output': 'screen',
            'namespace': arguments['namespace'],
            'remappings': self._remappings(arguments),
        }

    def _bag_player(self, node: LifecycleNode, arguments: dict[str, str]) -> list[Action]:
        """Run `ros2 bag play` with the bag's clock when the node becomes active the first time.

        If the node would start by itself, it is configured and activated from here instead,
        because this process cannot see a transition before the node has discovered it.
        """
        command = ['ros2', 'bag', 'play', arguments['bag'], '--clock', '100']
        command += ['--disable-keyboard-controls', *shlex.split(arguments['bag_options'])]
        play = ExecuteProcess(cmd=command, output='screen')
        autostart = switched(arguments, 'autostart', True)
        meeting = OpaqueFunction(function=meet, args=[node, autostart])
        on_state = partial(OnStateTransition, target_lifecycle_node=node)
        handlers = [
            OnProcessStart(target_action=node, on_start=[meeting]),
            on_state(goal_state='active', entities=[play], handle_once=True),
        ]
        if arguments['respawn'] != 'true':
            handlers.append(OnProcessExit(target_action=node, on_exit=self._end_with_node))
        if autostart:
            activate = EmitEvent(event=change(node, Transition.TRANSITION_ACTIVATE))
            failure = OpaqueFunction(
                function=self._fail, args=['it cannot become active, see its log']
            )
            handlers += [
                on_state(start_state='configuring', goal_state='inactive', entities=[activate]),
                on_state(start_state='configuring', goal_state='unconfigured', entities=[failure]),
                on_state(start_state='activating', goal_state='inactive', entities=[failure]),
                on_state(goal_state='errorprocessing', entities=[failure]),
            ]
        return [RegisterEventHandler(handler) for handler in handlers]

    def _end_with_node(self, event: ProcessExited, context: LaunchContext) -> Action | None:
        """End when the node ends, since nobody needs the bag then; with an error if it failed."""
        if context.is_shutdown:
            return None
        if event.returncode:
            self._fail(context, f'it ended with exit code {event.returncode}')
        return Shutdown(reason=f'{self.node} ended')

    def _fail(self, context: LaunchContext, reason: str) -> None:
        """End the launch with an error and a non-zero exit code."""
        raise RuntimeError(f'{self.node} failed: {reason}')


def argument(side: str, name: str) -> str:
    """The name of a launch argument of one camera."""
    return f'{side}_{name}' if side else name


def topic(side: str, name: str) -> str:
    """The name of a topic of one camera in the node."""
    return f'{side}/{name}' if side else name


def overrides(
    arguments: dict[str, str], more: Iterable[Parameter] = ()
) -> dict[str, ParameterValue | float]:
    """Collect the parameters of the node that the arguments set; `more` are those of its own."""
    values: dict[str, ParameterValue | float] = {
        name: ParameterValue(arguments[name], value_type=str)
        for name in ('model', 'engine', 'device', 'image_transport', 'calibration')
        if arguments[name]
    }
    values |= {row.name: _typed(row, arguments[row.name]) for row in more if arguments[row.name]}
    if arguments[TARGET_RATE.name]:  # a number or a word: YAML tells which
        values[TARGET_RATE.name] = ParameterValue(arguments[TARGET_RATE.name])
    switches = {name: arguments[name] == 'true' for name in SWITCHES if arguments[name]}
    return {**values, **switches}


def _typed(row: Parameter, text: str) -> ParameterValue | float:
    """Turn an argument into a value of the type of its parameter, a string or a number."""
    if isinstance(row.default, str):
        return ParameterValue(text, value_type=str)
    try:
        return type(row.default)(text)
    except ValueError:
        raise ValueError(f'{row.name} is {text!r}; give a number') from None


def switched(arguments: dict[str, str], name: str, default: bool) -> bool:
    """Whether a parameter is true by the argument, or else by the file, or else by default."""
    if arguments[name]:
        return arguments[name] == 'true'
    sections = yaml.safe_load(Path(arguments['params_file']).read_text()) or {}
    parameters = [section.get('ros__parameters') or {} for section in sections.values()]
    given = [values[name] for values in parameters if name in values]
    return all(given) if given else default


def change(node: LifecycleNode, number: int) -> ChangeState:
    """Make the request of a transition."""
    return ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=number)


def meet(context: LaunchContext, node: LifecycleNode, autostart: bool) -> None:
    """Ask the node for its state, and configure it if it is to start by itself.

    Its transitions are subscribed to before; when it answers, it has discovered this process.
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
