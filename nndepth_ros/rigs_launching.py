"""How several stereo rigs are launched in one process; needs launch and launch_ros."""

from __future__ import annotations

from dataclasses import dataclass

import yaml
from launch.action import Action
from launch.actions import DeclareLaunchArgument
from launch.launch_context import LaunchContext
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from nndepth_ros.launching import NodeLaunch, overrides

OF_ONE_NODE = ('bag', 'bag_options', 'rviz', 'fixed_frame')
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
        return [rigs, *shared]

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
        return [*self._profile(context), node]


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
