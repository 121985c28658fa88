"""Several models as positional arguments, each with settings of its own if need be."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from nndepth_core.cli import model_options
from nndepth_core.cli.model_options import MODEL_HELP, add_estimator_arguments
from nndepth_core.estimator import MonoEstimator, StereoEstimator, load_estimator
from nndepth_core.spec import Task

HELP = (
    f'{MODEL_HELP}; settings of this model alone are written behind it, as in '
    'light_stereo:weights=mine.safetensors or sgbm:max-disparity=192, while the options below '
    'hold for all models'
)


Models = dict[str, StereoEstimator | MonoEstimator]


def load_estimators(models: Sequence[str], args: argparse.Namespace) -> Models:
    """Make the estimators; their keys are what was typed.

    Args:
        models: each is 'NAME' or 'NAME:KEY=VALUE:KEY=VALUE', where the keys are those of options.
        args: the parsed options, which hold wherever a model has no setting of its own.

    Raises:
        ValueError, EngineError: a model or setting is not allowed, or one is named twice.
    """
    estimators: Models = {}
    for text in models:
        if text in estimators:
            raise ValueError(f'{text} is named twice; name each model once')
        estimators[text] = load_model(text, args)
    return estimators


def load_model(text: str, args: argparse.Namespace) -> StereoEstimator | MonoEstimator:
    """Make one estimator; see `load_estimators`."""
    name, *settings = text.split(':')
    parser = _Parser(text)
    add_estimator_arguments(parser)
    given = argparse.Namespace(**{**vars(args), 'network_settings': [], 'max_disparity': None})
    own = parser.parse_args([*map(_as_option, settings)], given)
    own.model = name
    _add_settings_of_all(own, args)
    return model_options.load_estimator(own, load_estimator, align_rows=False)


def _add_settings_of_all(own: argparse.Namespace, args: argparse.Namespace) -> None:
    """Add the settings for all models that this one has none of its own for."""
    named = {text.partition('=')[0] for text in own.network_settings}
    if own.max_disparity is not None:
        named.add('max_disparity')
    others = [x for x in args.network_settings if x.partition('=')[0] not in named]
    own.network_settings = [*others, *own.network_settings]
    if 'max_disparity' not in named:
        own.max_disparity = args.max_disparity


def _as_option(setting: str) -> str:
    """Write 'KEY=VALUE' as an option; keys may have underscores, as parameters of nodes do."""
    name, equals, value = setting.partition('=')
    return f'--{name.replace("_", "-")}{equals}{value}'


def task_of(models: Models) -> Task:
    """Return the task that all models share.

    Raises:
        ValueError: they have different ones.
    """
    tasks = {name: model.task for name, model in models.items()}
    first, task = next(iter(tasks.items()))
    for name, other in tasks.items():
        if other != task:
            raise ValueError(
                f'{first} is a {task} model and {name} a {other} model; give models of one task'
            )
    return task


class _Parser(argparse.ArgumentParser):
    """Reads the settings of one model; it raises ValueError instead of ending the program."""

    def __init__(self, model: str) -> None:
        super().__init__(add_help=False, allow_abbrev=False)
        self._model = model

    def error(self, message: str) -> NoReturn:
        raise ValueError(f'{self._model}: {message.replace("argument --", "")}')
