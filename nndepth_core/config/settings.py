"""Classes and their settings as YAML files and command lines name them.

What jsonargparse says of wrong settings is told here in one sentence; the package itself is only
needed by those who parse.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from typing import Any

from nndepth_core.data import datasets
from nndepth_core.data.synthetic.procedural import ProceduralStereo

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
    """Every data set of the library by its name, those of pairs and those of single images."""
    exported = [getattr(datasets, name) for name in datasets.__all__]
    classes = [cls for cls in exported if cls.__module__ != datasets.base.__name__]
    return {cls.__name__: cls for cls in (*classes, ProceduralStereo)}


def path_of(cls: type) -> str:
    """The dotted path of a class."""
    return f'{cls.__module__}.{cls.__qualname__}'


def class_at(path: str) -> Any:
    """Import what has a dotted path.

    Raises:
        ValueError: there is no such thing, or importing it fails; says why.
    """
    module, _, name = path.rpartition('.')
    try:
        return getattr(import_module(module), name)
    except Exception as error:  # whatever the module does
        reason = str(error) or type(error).__name__
        raise ValueError(f'{path!r} cannot be imported ({reason})') from error


def with_paths(values: Any, classes: Mapping[str, type], key: str = '') -> Any:
    """Give every class that is named without its module its full path.

    Args:
        values: content of a YAML file, or a part of it.
        classes: those that may be named so.
        key: where the part stands in the whole.

    Raises:
        ValueError: settings of a class stand beside its class_path instead of in init_args.
    """
    if isinstance(values, list):
        return [with_paths(value, classes, key) for value in values]
    if not isinstance(values, dict):
        return values
    name = str(values.get('class_path', ''))
    if name and (wrong := [x for x in values if x not in ('class_path', 'init_args')]):
        raise ValueError(f'{key}.{wrong[0]}: settings of {name} go below {key}.init_args')
    paths = {k: with_paths(v, classes, f'{key}.{k}'.strip('.')) for k, v in values.items()}
    return paths | {'class_path': path_of(classes[name])} if name in classes else paths


def unknown_setting(key: str, cls: type) -> str:
    """Say that a class lacks a setting, and which ones it has."""
    return f'{key} is unknown; {cls.__name__} has {", ".join(signature(cls).parameters)}'


def explain(message: str) -> str:
    """One sentence of what jsonargparse says of a wrong setting, with what is allowed."""
    key = '.'.join(dict.fromkeys(re.findall(r'Parser key "([^"]+)"', message)))
    if match := re.search(r"Option '([^']+)' is not accepted", message):
        owners = re.findall(r"class_path '([^']+)'", message)
        return unknown_setting(f'{key}.{match[1]}', class_at(owners[-1]))
    lines = [line.strip(' -') for line in message.splitlines()]
    text = '; '.join(line for line in lines if line and not _NOISE.match(line))
    for pattern, plain in _PLAIN.items():
        text = re.sub(pattern, plain, text)
    return f'{key}: {text}' if key else text
