"""Runs described by YAML files and the command line."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

from nndepth_core.data import datasets
from nndepth_core.data.augment import StereoAugmentation
from nndepth_core.data.loader import StereoData
from nndepth_core.data.synthetic.procedural import ProceduralStereo
from nndepth_core.models import model_names, network_class
from nndepth_core.models.base import StereoNetwork
from nndepth_core.training import TrainingError
from nndepth_core.training.commented import commented_yaml
from nndepth_core.training.losses import MultiScaleLoss, SequenceLoss
from nndepth_core.training.nano import NanoLoss
from nndepth_core.training.stereo import StereoTrainer
from nndepth_core.training.trainer import BaseTrainer

_PARTS = {
    'model': (StereoNetwork, 'the network'),
    'data': (StereoData, 'what it learns from'),
    'trainer': (BaseTrainer, 'how it learns'),
}
_DESCRIPTION = """Train a network. --model, --data and --trainer each take a YAML file, --config
takes one with all three; single settings are set as in --trainer.max_steps 1000 and win over
files. `nndepth config CLASS` writes the settings of a class."""
_NOISE = re.compile(
    r'Does not validate|Subtypes:|Errors:|Given value|Expected a <class .NoneType.>|'
    r'Problem with given class_path|Parser key'
)

set_parsing_settings(subclasses_enabled=[BaseTrainer])


@dataclass(frozen=True)
class Run:
    """What a configuration describes.

    Attributes:
        model: the network, its random weights made from the trainer's seed.
        data: what it learns from.
        trainer: how.
        text: the configuration with every default, as YAML.
    """

    model: StereoNetwork
    data: StereoData
    trainer: BaseTrainer
    text: str

    def train(self) -> Path:
        """Train and return the file of the weights to use; see `BaseTrainer.train`."""
        return self.trainer.train(self.model, self.data, self.text)


def read_run(arguments: Sequence[str], program: str = 'train') -> Run:
    """Read a run from command line arguments and the files they name.

    Raises:
        TrainingError: a key or value is wrong; names it and those allowed.
        ValueError: what is described cannot be made, e.g. a data set lacks files.
        SystemExit: help or the configuration was asked for, and is printed.
    """
    parser = ArgumentParser(prog=program, description=_DESCRIPTION, exit_on_error=False)
    parser.add_argument('--config', action='config', help='YAML file of the whole run')
    for name, (kind, text) in _PARTS.items():
        parser.add_argument(f'--{name}', type=kind, required=True, help=text)
    content, overrides = _read_files(arguments)
    printing = [x for x in overrides if x.startswith('--print_config')]
    if content:
        overrides = ['--config', yaml.safe_dump(content), *overrides]
    try:
        config = parser.parse_args([x for x in overrides if x not in printing])
    except (argparse.ArgumentError, TypeError) as error:
        raise TrainingError(_explain(str(error))) from error
    settings = yaml.safe_load(parser.dump(config, skip_unset=False))
    settings.pop('config', None)
    text = commented_yaml(settings, types={'data': StereoData}, known=known_classes())
    if printing:
        print(text, end='')
        raise SystemExit(0)
    torch.manual_seed(config.trainer.init_args.seed)
    made = parser.instantiate(config)
    made.model.variant = _variant(made.model, config.model)
    return Run(made.model, made.data, made.trainer, text)


def known_classes() -> dict[str, type]:
    """Classes that a configuration may name without their module."""
    classes: list[type] = [network_class(name) for name in model_names()]
    classes += [getattr(datasets, name) for name in datasets.__all__]
    classes += [ProceduralStereo, StereoData, StereoAugmentation]
    classes += [StereoTrainer, SequenceLoss, MultiScaleLoss, NanoLoss]
    return {cls.__name__: cls for cls in classes if cls.__module__ != datasets.base.__name__}


def class_yaml(name: str) -> str:
    """Commented YAML of a class's settings, at their defaults.

    Args:
        name: one of `known_classes`, or a dotted path.

    Raises:
        TrainingError: there is no such class.
    """
    cls = known_classes().get(name) or _import(name)
    parser = _parser_of(cls)
    defaults = yaml.safe_load(parser.dump(parser.get_defaults(), skip_validation=True)) or {}
    if issubclass(cls, StereoNetwork):
        defaults |= {key: _plain(x) for key, x in next(iter(cls.variants.values())).items()}
    settings = {key: defaults.get(key) for key in _settings(parser)}
    if cls in (StereoData, StereoAugmentation):  # always the class of their place
        return commented_yaml(settings, cls)
    return commented_yaml({'class_path': name, 'init_args': settings}, known=known_classes())


def _read_files(arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Content of the YAML files that are named, and the arguments that name none."""
    files = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ('config', *_PARTS):
        files.add_argument(f'--{name}')
    named, rest = files.parse_known_args(list(arguments))
    content: dict[str, Any] = {}
    if named.config:
        content = _read_yaml(Path(named.config))
        for name, value in content.items():
            if isinstance(value, str) and value.endswith(('.yaml', '.yml')):
                content[name] = _read_yaml(Path(named.config).parent / value)
    for name in _PARTS:
        value = getattr(named, name)
        if value:
            is_file = value.endswith(('.yaml', '.yml'))
            content[name] = _read_yaml(Path(value)) if is_file else {'class_path': value}
    return _with_paths(content, '', known_classes()), rest


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise TrainingError(f'there is no file {path}; give the path of a YAML file')
    try:
        content = yaml.safe_load(path.read_text('utf-8'))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TrainingError(f'{path} is no YAML: {error}') from error
    if not isinstance(content, dict):
        raise TrainingError(f'{path} holds no settings; give "name: value" lines')
    return content


def _with_paths(values: Any, key: str, classes: Mapping[str, type]) -> Any:
    """Settings with the full path of every class that is known by its name."""
    if isinstance(values, list):
        return [_with_paths(value, key, classes) for value in values]
    if not isinstance(values, dict):
        return values
    name = str(values.get('class_path', ''))
    if name and (wrong := [x for x in values if x not in ('class_path', 'init_args')]):
        raise TrainingError(f'{key}.{wrong[0]}: settings of {name} go below {key}.init_args')
    if key in ('model', 'trainer') and not name:
        raise TrainingError(f'{key} has no class_path; name a class there, settings in init_args')
    paths = {k: _with_paths(v, f'{key}.{k}'.strip('.'), classes) for k, v in values.items()}
    if name in classes:
        paths['class_path'] = f'{classes[name].__module__}.{classes[name].__qualname__}'
    return paths


def _import(path: str) -> type:
    module, _, name = path.rpartition('.')
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        raise TrainingError(
            f'class {path!r} is unknown; give its dotted path, or one of '
            f'{", ".join(known_classes())}'
        ) from None


def _variant(model: StereoNetwork, config: Namespace) -> str:
    """Name of the variant that has these settings but for iterations; 'custom' where none has."""
    made = config.init_args.as_dict()
    defaults = {name: p.default for name, p in signature(type(model)).parameters.items()}
    for variant, changes in model.variants.items():
        settings = {**defaults, **changes, 'iterations': made.get('iterations')}
        if all(_plain(made[name]) == _plain(settings[name]) for name in made):
            return variant
    return 'custom'


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _explain(message: str) -> str:
    """One sentence of what jsonargparse says of a wrong setting, with what is allowed."""
    keys = re.findall(r'Parser key "([^"]+)"', message)
    key = '.'.join(dict.fromkeys(keys))
    owners = re.findall(r"class_path '([^']+)'", message)
    if match := re.search(r"Option '([^']+)' is not accepted", message):
        return _no_setting(f'{key}.{match[1]}', _import(owners[-1]))
    if match := re.search(r"Group '(\w+)' does not accept option '(\w+)", message):
        return _no_setting(f'{match[1]}.{match[2]}', _PARTS[match[1]][0])
    if match := re.search(r'unrecognized arguments: --(data)\.(\w+)', message):
        return _no_setting(f'data.{match[2]}', StereoData)
    if match := re.search(r'unrecognized arguments: (\S+)', message):
        allowed = ', '.join(f'--{name}' for name in ('config', *_PARTS))
        return f'{match[1]} is no argument; there are {allowed} and settings below them'
    if match := re.search(r'(?:dot import path string|import path format): (\S+)', message):
        return (
            f'{key}: {match[1]} is no class and no YAML file; give a dotted path, or one of '
            f'{", ".join(known_classes())}'
        )
    lines = [line.strip(' -') for line in message.splitlines()]
    text = '; '.join(line for line in lines if line and not _NOISE.match(line))
    text = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r'\1', text)
    text = re.sub(r'typing\.Literal\[(.*?)\]', r'one of \1', text)
    text = re.sub(r'Expected an? (.*?)\. Got value: ', r'expected \1, got ', text)
    return f'{key}: {text}' if key else text


def _no_setting(key: str, owner: type) -> str:
    return f'{key} is unknown; {owner.__name__} has {", ".join(_settings(_parser_of(owner)))}'


def _parser_of(cls: type) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls)
    return parser


def _settings(parser: ArgumentParser) -> list[str]:
    """Names of all settings, also of those without a default."""
    names = (action.dest.partition('.')[0] for action in parser._actions)
    return [name for name in dict.fromkeys(names) if name != 'help']
