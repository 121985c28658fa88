"""How several stereo rigs are launched in one process; needs launch and launch_ros."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml
from launch.action import Action
from launch.actions import DeclareLaunchArgument
from launch.launch_context import LaunchContext
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from nndepth_ros.launching import NodeLaunch, overrides
from nndepth_ros.rigs_view import rviz_view

OF_ONE_NODE = ('bag', 'bag_options', 'fixed_frame')
"""Arguments that have a meaning for one rig only."""


@dataclass(frozen=True)
class RigsLaunch(NodeLaunch):
    """The launch of several nodes of one kind; topics and parameters are those of each rig."""

    def _arguments(self) -> list[DeclareLaunchArgument]:
        rigs = DeclareLaunchArgument(
            'rigs',
            default_value='',
            description='Names of the rigs, the namespaces of their nodes and topics, such as '
            '"[front, rear]"; empty: as in params_file.',
        )
        shared = [one for one in super()._arguments() if one.name not in OF_ONE_NODE]
        frame = DeclareLaunchArgument(
            'fixed_frame',
            default_value='',
            description='Fixed frame of rviz, to which tf leads from the cameras of all rigs; '
            f'empty: {self.frame}.',
        )
        return [rigs, *shared, frame]

    def _start(self, context: LaunchContext) -> list[Action]:
        """Make the actions for the values of the arguments."""
        arguments = self._given(context)
        values = overrides(arguments, self.parameters)
        if arguments['use_sim_time'] == 'true':
            values['use_sim_time'] = True
        if arguments['rigs']:
            values['rigs'] = ParameterValue(rig_names(arguments['rigs']), value_type=list[str])
        # A name would be given to all nodes of the process.
        node = Node(**self._process(arguments, self.node, values))
        rviz = [self._rviz(arguments)] if arguments['rviz'] == 'true' else []
        return [*self._profile(context), node, *rviz]

    def _rviz(self, arguments: dict[str, str]) -> Node:
        """Open rviz on the outputs of all rigs."""
        template = self.config / 'rviz' / f'{self.task}.rviz'
        remapped = dict(self._remappings(arguments, rviz=True))
        text = rviz_view(template, given_rigs(arguments), remapped)
        with tempfile.NamedTemporaryFile('w', suffix='.rviz', delete=False) as view:
            view.write(text)  # it stays, for rviz reads it once it has started
        return Node(
            package='rviz2',
            executable='rviz2',
            name='rviz',
            arguments=['-d', view.name, '-f', arguments['fixed_frame'] or self.frame],
            parameters=[{'use_sim_time': True}] if arguments['use_sim_time'] == 'true' else [],
            namespace=arguments['namespace'],
        )


def given_rigs(arguments: dict[str, str]) -> list[str]:
    """The names of the rigs, of the argument or else of the parameter file.

    Raises:
        ValueError: neither names any.
    """
    if arguments['rigs']:
        return rig_names(arguments['rigs'])
    sections = yaml.safe_load(Path(arguments['params_file']).read_text()) or {}
    for section in sections.values():
        if names := (section.get('ros__parameters') or {}).get('rigs'):
            return list(names)
    raise ValueError('no rigs are named; name them like rigs:="[front, rear]"')


def rig_names(text: str) -> list[str]:
    """Read a list of names, '[front, rear]' or 'front, rear'.

    Raises:
        ValueError: it is no list of names, or an empty one.
    """
    try:
        names = yaml.safe_load(text if text.lstrip().startswith('[') else f'[{text}]')
    except yaml.YAMLError:
        names = None
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f'rigs is {text!r}; name them like rigs:="[front, rear]"')
    return names
