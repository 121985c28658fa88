"""Arguments that name a data set: `--data CLASS --data.root FOLDER`, a folder, or a YAML file."""

from __future__ import annotations

import argparse
import inspect
import json
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from nndepth_core.data import datasets
from nndepth_core.data.datasets import Mixture, StereoDataset, StereoSource

FOLDER_CLASS = 'FolderPairs'
HELP = (
    'a class of nndepth_core.data.datasets or the dotted path of yours, its settings as in '
    f'--data.root FOLDER; a folder, which {FOLDER_CLASS} reads; or a YAML file with class_path '
    'and init_args, or that of a training, whose validation set is taken'
)

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


def split_settings(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Settings of the data set, each as '--data.KEY=VALUE', and all other arguments."""
    settings, others = [], []
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith('--data.'):
            others.append(argument)
        elif '=' in argument:
            settings.append(argument)
        elif (value := next(rest, None)) is not None:
            settings.append(f'{argument}={value}')
        else:
            raise ValueError(f'{argument} has no value; give one behind it')
    return settings, others


def load_dataset(source: str, settings: Sequence[str] = ()) -> StereoSource:
    """Make the data set that was named.

    Args:
        source: what `--data` says, see `HELP`.
        settings: the first result of `split_settings`.

    Raises:
        ValueError: there is no such class, a setting is wrong, or the data set lacks files.
    """
    from jsonargparse import ArgumentParser

    classes = stereo_classes()
    settings = list(settings)
    if Path(source).is_dir():
        settings.insert(0, f'--data.root={source}')
        source = FOLDER_CLASS
    if source.endswith(('.yaml', '.yml')):
        content = json.dumps(_with_paths(_read_yaml(Path(source)), classes))
    elif source in classes:
        content = _path(classes[source])
    elif '.' in source and '/' not in source:
        content = source
    else:
        raise ValueError(
            f'data set {source!r} is unknown; choose one of {", ".join(classes)}, or give a '
            'folder, a YAML file or the dotted path of a class'
        )
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(StereoSource, 'data', required=True)
    try:
        return parser.instantiate(parser.parse_args([f'--data={content}', *settings])).data
    except (argparse.ArgumentError, TypeError, ValueError) as error:
        raise ValueError(f'--data {source}: {_explain(error)}') from error


def stereo_classes() -> dict[str, type]:
    """The data sets of pairs that the library has."""
    exported = {name: getattr(datasets, name) for name in datasets.__all__}
    return {
        name: value
        for name, value in exported.items()
        if issubclass(value, (StereoDataset, Mixture)) and value is not StereoDataset
    }


def _path(value: type) -> str:
    return f'{value.__module__}.{value.__qualname__}'


def _with_paths(values: Any, classes: Mapping[str, type]) -> Any:
    """Settings with the full path of every class that is known by its name."""
    if isinstance(values, list):
        return [_with_paths(value, classes) for value in values]
    if not isinstance(values, dict):
        return values
    paths = {key: _with_paths(value, classes) for key, value in values.items()}
    known = classes.get(values.get('class_path', ''))
    return paths | {'class_path': _path(known)} if known else paths


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text('utf-8'))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f'{path} is no YAML: {error}') from error
    for key in ('data', 'validation'):  # of a run, of what it learns from
        if isinstance(content, dict) and 'class_path' not in content:
            content = content.get(key, content)
    if not isinstance(content, dict) or 'class_path' not in content:
        raise ValueError(
            f'{path} names no data set; give class_path and init_args, or a validation set'
        )
    return content


def _explain(error: Exception) -> str:
    """What is wrong, without the parser's account of all it tried."""
    message = str(error)
    owners = re.findall(r"class_path '([\w.]+)\.(\w+)'", message)
    if owners and (unknown := re.search(r"Option '([^']+)' is not accepted", message)):
        module, name = owners[-1]
        allowed = inspect.signature(getattr(import_module(module), name)).parameters
        return f'{name} has no {unknown[1]!r}; it has {", ".join(allowed)}'
    lines = [line.strip(' -') for line in message.splitlines()]
    text = '; '.join(line for line in lines if line and not _NOISE.match(line))
    for pattern, plain in _PLAIN.items():
        text = re.sub(pattern, plain, text)
    keys = re.findall(r'Parser key "([^"]+)"', message)
    return f'{keys[-1]}: {text}' if keys[1:] else text
