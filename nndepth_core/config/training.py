"""Runs described by YAML files and the command line."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

from nndepth_core.config.commented_yaml import commented_yaml
from nndepth_core.config.settings import (
    class_at,
    dataset_classes,
    explain,
    unknown_setting,
    with_paths,
)
from nndepth_core.data.augment import StereoAugmentation
from nndepth_core.files.yaml_mapping import read_mapping
from nndepth_core.models import model_names, network_class
from nndepth_core.models.base import StereoNetwork
from nndepth_core.training import TrainingError
from nndepth_core.training.losses import MultiScaleLoss, SequenceLoss
from nndepth_core.training.nano_loss import NanoLoss
from nndepth_core.training.stereo import StereoData, StereoTrainer
from nndepth_core.training.trainer import BaseTrainer

_PARTS = {
    'model': (StereoNetwork, 'the network'),
    'data': (StereoData, 'what it learns from'),
    'trainer': (BaseTrainer, 'how it learns'),
}
_DESCRIPTION = """Train a network. --model, --data and --trainer each take a YAML file, --config
takes one with all three; single settings are set as in --trainer.max_steps 1000 and win over
files. `nndepth config CLASS` writes the settings of a class."""
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
    made.model.specify(variant=_variant(made.model, config.model))
    return Run(made.model, made.data, made.trainer, text)


def known_classes() -> dict[str, type]:
    """Classes that a configuration may name without their module."""
    classes: list[type] = [network_class(name) for name in model_names()]
    classes += [StereoData, StereoAugmentation, StereoTrainer]
    classes += [SequenceLoss, MultiScaleLoss, NanoLoss]
    return {cls.__name__: cls for cls in classes} | dataset_classes()


def class_yaml(name: str) -> str:
    """Commented YAML of a class's settings, at their defaults.

    Args:
        name: one of `known_classes`, or a dotted path.

    Raises:
        TrainingError: there is no such class.
    """
    cls = known_classes().get(name) or _import(name)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls)
    defaults = yaml.safe_load(parser.dump(parser.get_defaults(), skip_validation=True)) or {}
    if issubclass(cls, StereoNetwork):
        defaults |= {key: _plain(x) for key, x in next(iter(cls.variants.values())).items()}
    settings = {key: defaults.get(key) for key in signature(cls).parameters}
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
        content = read_mapping(Path(named.config))
        for name, value in content.items():
            if isinstance(value, str) and value.endswith(('.yaml', '.yml')):
                content[name] = read_mapping(Path(named.config).parent / value)
    for name in _PARTS:
        value = getattr(named, name)
        if value:
            is_file = value.endswith(('.yaml', '.yml'))
            content[name] = read_mapping(Path(value)) if is_file else {'class_path': value}
    content = with_paths(content, known_classes())
    for name in ('model', 'trainer'):
        part = content.get(name)
        if isinstance(part, dict) and 'class_path' not in part:
            raise TrainingError(
                f'{name} has no class_path; name a class there, settings in init_args'
            )
    return content, rest


def _import(path: str) -> type:
    try:
        cls = class_at(path)
        signature(cls)
        reason = '' if isinstance(cls, type) else f'; {path!r} is no class'
    except (ValueError, TypeError) as error:
        reason = f'; {error}'
    if reason:
        raise TrainingError(
            f'class {path!r} is unknown; give its dotted path, or one of '
            f'{", ".join(known_classes())}{reason}'
        )
    return cls


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
    """One sentence of what jsonargparse says of a wrong run, with what is allowed."""
    if match := re.search(r"Group '(\w+)' does not accept option '(\w+)", message):
        return unknown_setting(f'{match[1]}.{match[2]}', _PARTS[match[1]][0])
    if match := re.search(r'unrecognized arguments: --(data)\.(\w+)', message):
        return unknown_setting(f'data.{match[2]}', StereoData)
    if match := re.search(r'unrecognized arguments: (\S+)', message):
        allowed = ', '.join(f'--{name}' for name in ('config', *_PARTS))
        return f'{match[1]} is no argument; there are {allowed} and settings below them'
    if match := re.search(r'(?:dot import path string|import path format): (\S+)', message):
        key = '.'.join(dict.fromkeys(re.findall(r'Parser key "([^"]+)"', message)))
        return (
            f'{key}: {match[1]} is no class and no YAML file; give a dotted path, or one of '
            f'{", ".join(known_classes())}'
        )
    return explain(message)
