"""What rviz shows of several rigs: the displays of one, for each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

GROUP = 'rviz_common/Group'


def rviz_view(template: Path, rigs: Sequence[str], remapped: Mapping[str, str]) -> str:
    """Write the configuration of rviz for these rigs.

    Args:
        template: a configuration with one group of displays, whose topics begin with its name.
        rigs: the namespaces of the rigs.
        remapped: other names of topics, relative to the namespace of each rig or absolute.
    """
    view = yaml.safe_load(template.read_text('utf-8'))
    displays = view['Visualization Manager']['Displays']
    (group,) = (display for display in displays if display['Class'] == GROUP)
    place = displays.index(group)
    displays[place : place + 1] = [_of_rig(group, rig, remapped) for rig in rigs]
    return yaml.safe_dump(view, sort_keys=False)


def topics(display: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the topics of a display and of those within it."""
    if 'Topic' in display:
        yield display['Topic']
    for inner in display.get('Displays', ()):
        yield from topics(inner)


def _of_rig(group: Mapping[str, Any], rig: str, remapped: Mapping[str, str]) -> dict[str, Any]:
    made = deepcopy(dict(group))
    made['Name'] = rig
    for topic in topics(made):
        name = topic['Value'].removeprefix(f'{group["Name"]}/')
        name = remapped.get(name, name)
        topic['Value'] = name if name.startswith('/') else f'{rig}/{name}'
    return made
