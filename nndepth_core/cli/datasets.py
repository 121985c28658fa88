"""Arguments that name a data set: `--data CLASS --data.root FOLDER`, a folder, or a YAML file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nndepth_core.config.settings import class_at, dataset_classes, explain
from nndepth_core.data.datasets import (
    Mixture,
    MonoDataset,
    MonoSource,
    StereoDataset,
    StereoSource,
)
from nndepth_core.data.synthetic.procedural import ProceduralMono, ProceduralStereo
from nndepth_core.files.yaml_mapping import read_mapping
from nndepth_core.spec import Task

FOLDER_CLASSES: dict[Task, str] = {'stereo': 'FolderPairs', 'mono': 'FolderDepth'}
HELP = (
    'a class of nndepth_core.data.datasets or the dotted path of a class of yours, whose settings '
    f'are given as in --data.root FOLDER; a folder of pairs, which {FOLDER_CLASSES["stereo"]} '
    f'reads, or of single images, which {FOLDER_CLASSES["mono"]} reads; a YAML file with '
    'class_path and init_args; or the YAML file of a training, whose validation set is '
    'taken'
)


def split_settings(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate the settings of the data set, each as '--data.KEY=VALUE', from the arguments."""
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


def load_dataset(source: str, settings: Sequence[str] = (), task: Task = 'stereo') -> Any:
    """Make the data set that was named.

    Args:
        source: what `--data` says, see `HELP`.
        settings: the first result of `split_settings`.
        task: 'stereo' for a `StereoSource`, 'mono' for a `MonoSource`.

    Raises:
        ValueError: there is no such class, a setting is wrong, or the data set lacks files.
    """
    from jsonargparse import ArgumentParser

    classes = _classes(task)
    settings = list(settings)
    if Path(source).is_dir():
        settings.insert(0, f'--data.root={source}')
        source = FOLDER_CLASSES[task]
    if source.endswith(('.yaml', '.yml')):
        source = json.dumps(_source(Path(source)))
    elif source not in classes and ('.' not in source or '/' in source):
        known = 'unknown' if source not in dataset_classes() else f'not for {task} models'
        raise ValueError(
            f'data set {source!r} is {known}; choose one of {", ".join(classes)}, or give '
            'a folder, a YAML file or the dotted path of a class'
        )
    parser = ArgumentParser(exit_on_error=False)
    base = StereoSource if task == 'stereo' else MonoSource
    parser.add_argument('--data', type=base, required=True)
    try:
        return parser.instantiate(parser.parse_args([f'--data={source}', *settings])).data
    except (argparse.ArgumentError, TypeError, ValueError) as error:
        raise ValueError(explain(str(error))) from error


def task_of(source: str) -> Task:
    """Tell the task of a data set that was named; 'stereo' where nothing says otherwise.

    A folder is of single images if it holds image/ and no left/.

    Raises:
        ValueError: a folder holds nothing, so that nothing tells.
    """
    path = Path(source)
    if path.is_dir():
        if not any(path.iterdir()):
            raise ValueError(
                f'the folder {source} is empty; a data set of pairs holds left/, right/ and '
                'disparity/, one of single images holds image/ and depth/'
            )
        single = (path / 'image').is_dir() and not (path / 'left').is_dir()
        return 'mono' if single else 'stereo'
    named: Any = source
    if source.endswith(('.yaml', '.yml')):
        named = _source(path)
        while 'datasets' in named.get('init_args', {}):  # of a mixture
            named = named['init_args']['datasets'][0]
        named = named['class_path']
    known = dataset_classes().get(named.rpartition('.')[2])
    cls = known or (class_at(named) if '.' in named else None)
    mono = isinstance(cls, type) and issubclass(cls, (MonoDataset, ProceduralMono))
    return 'mono' if mono else 'stereo'


def _classes(task: Task) -> dict[str, type]:
    """Return the data sets of the library that fit models of a task."""
    bases = {
        'stereo': (StereoDataset, Mixture, ProceduralStereo),
        'mono': (MonoDataset, ProceduralMono),
    }[task]
    return {name: cls for name, cls in dataset_classes().items() if issubclass(cls, bases)}


def _source(path: Path) -> dict[str, Any]:
    """Read the part of a YAML file that names a data set."""
    content: Any = read_mapping(path)
    for key in ('data', 'validation'):  # of a run, of what it learns from
        if isinstance(content, dict) and 'class_path' not in content:
            content = content.get(key, content)
    if not isinstance(content, dict) or 'class_path' not in content:
        raise ValueError(
            f'{path} names no data set; give class_path and init_args, or a validation set'
        )
    return content
