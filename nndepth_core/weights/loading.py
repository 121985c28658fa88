"""Loading the entries of checkpoints into networks, strictly; telling which network they fit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nndepth_core.models import create_model, model_names, network_class
from nndepth_core.weights.catalogue import catalogue
from nndepth_core.weights.checkpoint import CheckpointError, read_checkpoint, some, unwrap
from nndepth_core.weights.description import Origin, recognize
from nndepth_core.weights.settings import check_settings, snapshot_config

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from nndepth_core.models.base import Network, Source


_LEAST = 0.3
"""The smallest part of a checkpoint that a network may read."""


def settings_of(model: str, path: str | Path, origin: Origin | None = None) -> dict[str, Any]:
    """The settings that a network needs with a checkpoint file.

    They are those that a stored file holds, the catalogue has of a published one, or the
    configuration beside a file of the transformers library says.

    Args:
        model: registry name of the network.
        path: the file.
        origin: where it came from; None finds out.

    Raises:
        ValueError: the network is unknown or has no such settings.
        OSError: the file cannot be read.
    """
    cls, path = network_class(model), Path(path)
    if not path.is_file():  # what is wrong with it is told where its entries are read
        return {}
    settings = cls.settings_from_config(snapshot_config(path))
    settings = {**settings, **(origin or recognize(path, model).origin).settings}
    check_settings(cls, settings)
    return settings


def load_weights(network: Network, path: str | Path) -> None:
    """Load a checkpoint file into a network, strictly.

    Args:
        network: receives the weights.
        path: a stored file, another one with our entry names, or an official checkpoint.

    Raises:
        CheckpointError: the file cannot be read or fits something else; says what.
    """
    load_entries(network, read_checkpoint(path), path)


def load_entries(network: Network, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Load what was read from a checkpoint file, as `load_weights` does."""
    if broken := [name for name, value in state.items() if not value.isfinite().all()]:
        raise CheckpointError(
            f'{path}: {len(broken)} entries hold NaN or infinity, first {broken[0]}, so that '
            'nothing can be computed with it; take another checkpoint, and where this file is in '
            'the store, remove it there by `nndepth weights remove`'
        )
    config = snapshot_config(Path(path))
    variant = network.spec.variant
    if variant and not network.is_of_config(variant, config):
        others = ' or '.join('-'.join(names) for names in matching_models(state, config))
        raise CheckpointError(
            f'{path}: the config.json beside it is not that of {network.spec.title}, but of '
            f'{others or "no model known here"}'
        )
    try:
        state = network.refitted(state)
        if _is_own(network, state):
            network.load_state_dict(state)
        else:
            load_official(network, state)
    except ValueError as error:
        raise CheckpointError(f'{path}: {error}') from None


def load_official(network: Network, state_dict: Mapping[str, Any]) -> None:
    """Load the entries of an official checkpoint into our network, strictly.

    Args:
        network: receives the weights.
        state_dict: official entries, wrapped or not.

    Raises:
        CheckpointError: an entry is missing, unexpected or of another shape; says which, or
            which model and variant the checkpoint fits.
    """
    state = network.refitted(unwrap(state_dict))
    fit = _Fit(network, state)
    if not fit.is_exact:
        ours = network.spec.title
        if fitting := ' or '.join(f'{name}-{variant}' for name, variant in matching_models(state)):
            raise CheckpointError(f'it is not {ours}, but {fitting}')
        raise CheckpointError(
            f'it is not one of {ours}: {_own_part(network, state) or fit.report()}; it fits no '
            'model known here'
        )
    network.load_state_dict(fit.entries, strict=False)


def fitting_variants(
    model: str,
    state: Mapping[str, Tensor],
    variants: Iterable[str] = (),
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
) -> tuple[str, ...]:
    """Return which variants of a network the entries fit exactly, official names or ours.

    The networks are made without memory for their weights.

    Args:
        model: registry name of the network.
        state: entries by name.
        variants: those to try; none for all of the network.
        settings: of the constructor, in place of the variants' own.
        config: the config.json beside the checkpoint, where there is one.

    Raises:
        ValueError: the network is unknown, or a setting is out of its range.
    """
    import torch

    fitting = []
    cls = network_class(model)
    for variant in variants or cls.variants:
        if not cls.is_of_config(variant, config or {}):
            continue
        with torch.device('meta'):
            network = create_model(model, variant, **(settings or {}))
        try:
            fitted = network.refitted(state)
        except ValueError:
            continue
        if _is_own(network, fitted) or _Fit(network, fitted).is_exact:
            fitting.append(variant)
    return tuple(fitting)


def matching_models(
    state_dict: Mapping[str, Any], config: Mapping[str, Any] | None = None
) -> list[tuple[str, str]]:
    """Return every (network, variant) that the entries of a checkpoint fit exactly.

    Makes the networks with about as many parameters, which takes seconds; those whose packages
    are missing are left out.

    Args:
        state_dict: entries by name, wrapped or not.
        config: the config.json beside the checkpoint, where there is one.
    """
    state = unwrap(state_dict)
    values = sum(value.numel() for value in state.values())
    matches = []
    for name in model_names():
        listed = catalogue().get(name)
        known = listed.variants if listed else {}
        likely = [
            variant
            for variant in network_class(name).variants
            if variant not in known or _LEAST * values <= known[variant].parameters <= values
        ]
        try:
            fitting = fitting_variants(name, state, likely, config=config) if likely else ()
        except ModuleNotFoundError:
            continue
        matches += [(name, variant) for variant in fitting]
    return matches


def _own_part(network: Network, state: Mapping[str, Tensor]) -> str:
    """Say what differs from the network's own entries; empty where most names are others."""
    own = network.state_dict()
    shared = [name for name in state if name in own]
    if 2 * len(shared) <= len(state):
        return ''
    kinds = {
        'missing': [name for name in own if name not in state],
        'unexpected': [name for name in state if name not in own],
        'of another shape': [name for name in shared if state[name].shape != own[name].shape],
    }
    return _listed(kinds)


def _listed(kinds: Mapping[str, Sequence[str]]) -> str:
    return ', '.join(f'{len(n)} {kind} ({some(n)})' for kind, n in kinds.items() if n)


def _is_own(network: Network, state: Mapping[str, Tensor]) -> bool:
    """Whether the entries are the network's own, by name and shape."""
    own = network.state_dict()
    return own.keys() == state.keys() and all(own[n].shape == state[n].shape for n in own)


class _Fit:
    """How official entries fit a model: ours assembled from them, and what differs."""

    def __init__(self, model: Network, state: Mapping[str, Tensor]) -> None:
        official = model.unified(state)
        sources = model.official_sources()
        used = {name: None for source in sources.values() for name in source.names}
        self.unexpected = [
            name
            for name in official
            if name not in used and not any(re.match(p, name) for p in model.official_unused)
        ]
        self.missing = [
            name
            for name in used
            if name not in official and not name.endswith('num_batches_tracked')
        ]
        self.misshapen: list[str] = []
        self.entries: dict[str, Tensor] = {}
        for ours, target in model.state_dict().items():
            source = sources[ours]
            if all(name in official for name in source.names):
                self._assemble(ours, source, official, target.shape)

    def _assemble(
        self, ours: str, source: Source, official: Mapping[str, Tensor], shape: torch.Size
    ) -> None:
        try:
            value = source.take(official)
        except (RuntimeError, IndexError):  # parts whose shapes do not join
            value = None
        if value is not None and value.shape == shape:
            self.entries[ours] = value
        else:
            name = source.names[0]
            self.misshapen.append(f'{name} is {_size(official[name].shape)}')

    @property
    def is_exact(self) -> bool:
        """Whether nothing differs."""
        return not (self.missing or self.unexpected or self.misshapen)

    def report(self) -> str:
        """What differs, with the first few names of each kind."""
        kinds = {
            'missing': self.missing,
            'unexpected': self.unexpected,
            'of another shape': self.misshapen,
        }
        return _listed(kinds)


def _size(shape: Iterable[int]) -> str:
    return 'x'.join(map(str, shape)) or 'a scalar'
