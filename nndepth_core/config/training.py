"""Training runs, described by YAML files and the command line."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from inspect import signature
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

from nndepth_core.config.dot_list import as_options
from nndepth_core.config.recipes import add_recipe, as_yaml, describe_network, network_name
from nndepth_core.config.settings import (
    class_at,
    dataset_classes,
    explain,
    setting,
    unknown_setting,
)
from nndepth_core.data.augment import MonoAugmentation, StereoAugmentation
from nndepth_core.data.loader import TrainingData
from nndepth_core.files.yaml_mapping import read_mapping
from nndepth_core.models import model_names, network_class
from nndepth_core.models.base import Network
from nndepth_core.models.masked_stereo import MaskedStereo
from nndepth_core.third_party import third_party
from nndepth_core.training import TrainingError
from nndepth_core.training.image_losses import ReconstructionLoss
from nndepth_core.training.losses import MultiScaleLoss, SequenceLoss
from nndepth_core.training.masked import MaskedTrainer
from nndepth_core.training.mono import MonoData, MonoTrainer
from nndepth_core.training.mono_losses import ScaleInvariantLogLoss, ScaleShiftInvariantLoss
from nndepth_core.training.nano_loss import NanoLoss
from nndepth_core.training.stereo import StereoData, StereoTrainer
from nndepth_core.training.trainer import BaseTrainer

_PARTS = {
    'model': 'The network.',
    'data': 'What it learns from.',
    'trainer': 'How it learns.',
}
_DESCRIPTION = """Train a network. --model takes its name, as in raft_stereo-rvc, and its published
training is taken where there is no --trainer. --model, --data and --trainer take YAML files too,
and --config one of all three. Single settings are set as in --trainer.max_steps 1000 or
trainer.max_steps=1000, and win over files. `nndepth config CLASS` writes the settings of a
class."""
_LOSSES: dict[type, tuple[type, ...]] = {
    StereoTrainer: (SequenceLoss, MultiScaleLoss, NanoLoss),
    MonoTrainer: (ScaleShiftInvariantLoss, ScaleInvariantLogLoss),
    MaskedTrainer: (ReconstructionLoss,),
}
_DATA: dict[type, tuple[type, type]] = {
    StereoTrainer: (StereoData, StereoAugmentation),
    MonoTrainer: (MonoData, MonoAugmentation),
    MaskedTrainer: (StereoData, StereoAugmentation),
}
"""What trainers learn from, and what changes it at random."""
_RENAMED = {'training/default_model.yaml': 'training/nano_stereo.yaml'}
set_parsing_settings(subclasses_enabled=[BaseTrainer])


@dataclass(frozen=True)
class Run:
    """What a configuration describes.

    Attributes:
        model: The network; its random weights are made from the trainer's seed.
        data: The data it learns from.
        trainer: How it learns.
        text: The configuration with every default, as YAML.
    """

    model: Network
    data: TrainingData
    trainer: BaseTrainer
    text: str

    def train(self) -> Path:
        """Train and return the file of the weights to use; see `BaseTrainer.train`."""
        return self.trainer.train(self.model, self.data, self.text)


def read_run(arguments: Sequence[str], program: str = 'train') -> Run:
    """Read a run from command line arguments and the files they name.

    Raises:
        TrainingError: A key or value is wrong; the message names it and what is allowed.
        ValueError: What is described cannot be made, e.g. a data set lacks files.
        SystemExit: Help or the configuration was asked for, and is printed.
    """
    arguments = as_options(arguments, [field.name for field in fields(StereoData)])
    content, overrides = _read_files(arguments)
    _check_network(content.get('model'), overrides)
    trainer = _trainer(content)
    kinds = {'model': Network, 'data': _DATA[trainer][0], 'trainer': BaseTrainer}
    parser = ArgumentParser(prog=program, description=_DESCRIPTION, exit_on_error=False)
    parser.add_argument('--config', action='config', help='A YAML file of the whole run.')
    for name, text in _PARTS.items():
        parser.add_argument(f'--{name}', type=kinds[name], required=True, help=text)
    if (name := network_name(content.get('model'))) and 'trainer' not in content:
        raise TrainingError(
            f'no published training of {name} is known here; describe one by --trainer FILE.yaml'
        )
    printing = [x for x in overrides if x.startswith('--print_config')]
    overrides = [x for x in overrides if x not in printing]
    try:
        config = parser.parse_args(['--config', yaml.safe_dump(content), *overrides])
    except (argparse.ArgumentError, TypeError) as error:
        raise TrainingError(_explain(str(error), trainer)) from error
    parser.description = None  # which would head the YAML
    text = parser.dump(config, skip_unset=False, with_comments=True)
    if printing:
        print(text, end='')
        raise SystemExit(0)
    torch.manual_seed(config.trainer.init_args.seed)
    made = parser.instantiate(config)
    made.model.specify(variant=_variant(made.model, config.model))
    return Run(made.model, made.data, made.trainer, text)


def known_classes() -> dict[str, type]:
    """The classes that a configuration may name without their module."""
    classes: list[type] = [*(network_class(name) for name in model_names()), MaskedStereo]
    for trainer, losses in _LOSSES.items():
        classes += [*_DATA[trainer], trainer, *losses]
    return {cls.__name__: cls for cls in classes} | dataset_classes()


def class_yaml(name: str) -> str:
    """Write the settings of a class at their defaults, as YAML with comments.

    Args:
        name: One of `known_classes`, or a dotted path.

    Raises:
        TrainingError: There is no such class.
    """
    cls = known_classes().get(name) or _import(name)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls)
    if issubclass(cls, Network):
        parser.set_defaults(dict(next(iter(cls.variants.values()))))
    defaults = parser.get_defaults(skip_validation=True)
    text = parser.dump(defaults, skip_unset=False, skip_validation=True, with_comments=True)
    if any(cls in placed for placed in _DATA.values()):  # always the class of their place
        return text
    return f'class_path: {name}\ninit_args:\n{textwrap.indent(text, "  ")}'


def _read_files(arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Read the parts of a run from the files, networks and classes that arguments name.

    Returns:
        The content of the parts, and the other arguments.
    """
    files = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ('config', *_PARTS):
        files.add_argument(f'--{name}')
    named, rest = files.parse_known_args(list(arguments))
    content = read_mapping(Path(named.config)) if named.config else {}
    if unknown := [str(name) for name in content if name not in _PARTS]:
        raise TrainingError(
            f'{named.config} describes {unknown[0]}; a run has {", ".join(_PARTS)}, and each of '
            'them has its own option'
        )
    model = named.model or content.get('model')
    for part in _PARTS:
        if value := getattr(named, part):
            content[part] = _read_part(part, value, Path())
        elif isinstance(content.get(part), str):
            content[part] = _read_part(part, content[part], Path(named.config).parent)
    for part in ('model', 'trainer'):
        settings = content.get(part)
        if isinstance(settings, dict) and 'class_path' not in settings:
            raise TrainingError(
                f'{part} has no class_path; name a class there, and its settings in init_args'
            )
    add_recipe(content, network_name(model) or network_name(content.get('model')))
    return content, rest


def _read_part(part: str, value: str, folder: Path) -> dict[str, Any]:
    """Read a part of a run: a YAML file in a folder, a network's name, or a class."""
    if value.endswith(('.yaml', '.yml')):
        path = folder / value
        for old, new in _RENAMED.items():
            if path.match(old) and not path.is_file():
                raise TrainingError(f'{value} has a new name; give {path.parents[1] / new}')
        return read_mapping(path)
    if part == 'model' and value.partition('-')[0] in model_names():
        return describe_network(value)
    return {'class_path': value}


def _check_network(model: Any, overrides: Sequence[str]) -> None:
    """Refuse a network of others that cannot be imported, or is none.

    Raises:
        ValueError: it is; says why.
    """
    single = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    described = model.get('class_path') if isinstance(model, dict) else None
    single.add_argument('--model.class_path', dest='path', default=described)
    path = single.parse_known_args(overrides)[0].path
    if isinstance(path, str) and path not in known_classes():
        third_party(path)


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


def _variant(model: Network, config: Namespace) -> str:
    """The variant that has these settings, whatever its iterations; 'custom' where none has."""
    made = config.init_args.as_dict() if 'init_args' in config else {}
    defaults = {name: p.default for name, p in signature(type(model)).parameters.items()}
    for variant, changes in model.variants.items():
        settings = {**defaults, **changes, 'iterations': made.get('iterations')}
        if all(as_yaml(made[name]) == as_yaml(settings[name]) for name in made):
            return variant
    return 'custom'


def _trainer(content: Mapping[str, Any]) -> type:
    """The trainer of this library that a described trainer is or derives from."""
    described = content.get('trainer')
    path = str(described.get('class_path', '')) if isinstance(described, dict) else ''
    try:
        cls = known_classes().get(path) or class_at(path)
    except ValueError:  # the parser will say so
        cls = StereoTrainer
    known = (trainer for trainer in _DATA if isinstance(cls, type) and issubclass(cls, trainer))
    return next(known, StereoTrainer)


def _explain(message: str, trainer: type) -> str:
    """Make a sentence of what jsonargparse says of a wrong run, with what is allowed."""
    if match := re.search(r"Group 'data' does not accept option '(\w+)", message):
        return unknown_setting(f'data.{match[1]}', _DATA[trainer][0])
    if match := re.search(r'unrecognized arguments: --data\.(\w+)', message):
        return unknown_setting(f'data.{match[1]}', _DATA[trainer][0])
    if match := re.search(r'unrecognized arguments: (\S+)', message):
        allowed = ', '.join(f'--{name}' for name in ('config', *_PARTS))
        return f'{match[1]} is no argument; there are {allowed} and settings below them'
    if match := re.search(r'(?:dot import path string|import path format): (\S+)', message):
        key = setting(message)
        known = {
            'model': model_names(),
            'trainer': [cls.__name__ for cls in _LOSSES],
            'loss': [loss.__name__ for loss in _LOSSES[trainer]],
        }.get(key.rpartition('.')[2], dataset_classes())
        return f'{key}: {match[1]} is unknown; give one of {", ".join(known)}, or a dotted path'
    return explain(message)
