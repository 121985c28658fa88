"""The data sets that settings can name, and one sentence of what is wrong with settings.

jsonargparse reads settings. Its messages have several lines, name types as Python does and do not
say what is allowed, so `explain` makes a sentence of them.
"""

from __future__ import annotations

import re
from importlib import import_module
from inspect import signature
from typing import Any

from nndepth_core.data import datasets
from nndepth_core.data.synthetic.procedural import ProceduralMono, ProceduralStereo

_NOISE = re.compile(
    r'Does not validate|Subtypes:|Errors:|Given value|Expected a <class .NoneType.>|'
    r'Problem with given class_path|Parser key|Expected a path but'
)
_PLAIN = {
    r"<class '(?:\w+\.)*(\w+)'>": r'\1',
    r'typing\.Literal\[(.*?)\]': r'one of \1',
    r'Expected an? ': 'expected ',
    r'\. Got value: ': ', got ',
}


def dataset_classes() -> dict[str, type]:
    """The data sets of this library by name, those of pairs and those of single images."""
    exported = [getattr(datasets, name) for name in datasets.__all__]
    classes = [cls for cls in exported if cls.__module__ != datasets.base.__name__]
    return {cls.__name__: cls for cls in (*classes, ProceduralMono, ProceduralStereo)}


def class_at(path: str) -> Any:
    """Import what has a dotted path.

    Raises:
        ValueError: There is no such thing, or importing it fails; the message says why.
    """
    module, _, name = path.rpartition('.')
    try:
        return getattr(import_module(module), name)
    except Exception as error:  # whatever the module does
        reason = str(error) or type(error).__name__
        raise ValueError(f'{path!r} cannot be imported ({reason})') from error


def unknown_setting(key: str, cls: type) -> str:
    """Say that a class lacks a setting, and which ones it has."""
    return f'{key} is unknown; {cls.__name__} has {", ".join(signature(cls).parameters)}'


def setting(message: str) -> str:
    """The dotted name of the setting that jsonargparse complains of; empty where it names none."""
    return '.'.join(dict.fromkeys(re.findall(r'Parser key "([^"]+)"', message)))


def explain(message: str) -> str:
    """Make a sentence of what jsonargparse says of a wrong setting, with what is allowed."""
    key = setting(message)
    if re.search(r"Option 'class_path'|Subclass types expect|instantiatable class", message):
        return f'{key}: name a class in class_path, and its settings in init_args'
    if match := re.search(r"Option '([^']+)' is not accepted", message):
        owners = re.findall(r"class_path '([^']+)'", message)
        return unknown_setting(f'{key}.{match[1]}', class_at(owners[-1]))
    lines = [line.strip(' -') for line in message.splitlines()]
    text = '; '.join(line for line in lines if line and not _NOISE.match(line))
    for pattern, plain in _PLAIN.items():
        text = re.sub(pattern, plain, text)
    return f'{key}: {text}' if key else text
