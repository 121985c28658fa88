"""The published trainings of networks, which are found by the network's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nndepth_core
from nndepth_core.files.yaml_mapping import read_mapping
from nndepth_core.models import find_variant, model_names, network_class
from nndepth_core.spec import split_title


def find_recipe(network: str, package: Path = Path(nndepth_core.__file__).parent) -> Path | None:
    """Find the published training of a network.

    Args:
        network: The name of the network, which may have a variant as in raft_stereo-rvc.
        package: The folder of this library, in a checkout or installed.

    Returns:
        The file of the variant, or else that of the network; None where there is neither.
    """
    shares = (folder / 'share/nndepth/config' for folder in package.parents)
    for folder in (package.parent / 'config', *shares):
        for name in (network, network.partition('-')[0]):
            if (path := folder / 'training' / f'{name}.yaml').is_file():
                return path
    return None


def describe_network(name: str) -> dict[str, Any]:
    """Describe a network by its class and the settings of its variant.

    Args:
        name: The name of the network, which may have a variant.

    Raises:
        ValueError: The network or its variant is unknown.
    """
    name, variant = split_title(name)
    cls = network_class(name)
    settings = cls.variants[find_variant(name, variant)]
    return {
        'class_path': cls.__name__ if _is_ours(cls) else f'{cls.__module__}.{cls.__qualname__}',
        'init_args': {key: as_yaml(value) for key, value in settings.items()},
    }


def network_name(model: Any) -> str:
    """The name of a network that is given by its name or its class; empty for anything else."""
    if isinstance(model, str):
        return model if model.partition('-')[0] in model_names() else ''
    names = (name for name in model_names() if network_class(name).__name__ == _class(model))
    return next(names, '')


def add_recipe(content: dict[str, Any], network: str) -> None:
    """Take the trainer from the published training of a network.

    A trainer that is described already takes only the loss, and only where it names none.

    Args:
        content: The parts of a run that are described so far; it is changed.
        network: The name of the network, which may have a variant.
    """
    path = find_recipe(network)
    if path is None:
        return
    recipe = read_mapping(path)
    trainer = content.setdefault('trainer', recipe)
    if _class(trainer) == _class(recipe):
        settings = trainer.setdefault('init_args', {})
        settings['loss'] = settings.get('loss') or recipe['init_args']['loss']


def as_yaml(value: Any) -> Any:
    """A setting as it is read from YAML, which knows no tuples."""
    return list(value) if isinstance(value, tuple) else value


def _is_ours(cls: type) -> bool:
    return cls.__module__.startswith(f'{nndepth_core.__name__}.')


def _class(described: Any) -> str:
    """The class of what is described, without its module if it is one of this library."""
    path = str(described.get('class_path', '')) if isinstance(described, dict) else ''
    return path.rpartition('.')[2] if path.startswith(f'{nndepth_core.__name__}.') else path
