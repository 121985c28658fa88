"""Which network is meant: its variant, weights and settings, as far as names and files tell.

Needs no torch.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nndepth_core.engines.base import EngineError
from nndepth_core.export.cache import export_path
from nndepth_core.spec import split_title, title_of
from nndepth_core.third_party import third_party
from nndepth_core.weights.catalogue import catalogue
from nndepth_core.weights.description import RANDOM, Origin, recognize
from nndepth_core.weights.find import find_weights
from nndepth_core.weights.own_settings import fewest_settings, read_given
from nndepth_core.weights.settings import settings_by_name, show_settings, split_settings
from nndepth_core.weights.store import stored_weights


@dataclass(frozen=True)
class Request:
    """A network with its weights.

    Attributes:
        name: of the network.
        variant: of the network.
        weights: the file, or RANDOM.
        origin: where the weights came from.
        settings: those in place of its own, see `create_engine`; what the variant and the weights
            have anyway is left out.
    """

    name: str
    variant: str
    weights: str | Path
    origin: Origin
    settings: str

    @property
    def title(self) -> str:
        """Name and variant."""
        return title_of(self.name, self.variant)

    def export(self, precision: str, iterations: int = 0) -> Path:
        """The path in the cache of its export, see `export_path`."""
        return export_path(
            self.name, self.variant, self.origin, precision, iterations, self.settings
        )

    def export_command(self, precision: str, iterations: int = 0) -> str:
        """The command that writes its export into the cache."""
        parts = ['nndepth', 'export', self.title]
        if self.weights != stored_weights(self.name, self.variant):
            parts += ['--weights', str(self.weights)]
        for setting in split_settings(self.settings):
            parts += ['--set', setting]
        parts += ['--iterations', str(iterations)] if iterations else []
        parts += ['--precision', precision] if precision != 'fp32' else []
        return shlex.join(parts)


def find_request(
    model: str,
    weights: str | Path = '',
    network_settings: str = '',
    origin: Origin | None = None,
) -> Request:
    """Find the network that is meant.

    Where the model names no variant, weights that tell theirs decide. Where the settings make it
    another variant, such as looks=[0.5] the small one of nano_stereo, that one is meant.

    Args:
        model: a network, with or without its variant.
        weights: see `create_engine`.
        network_settings: see `create_engine`.
        origin: where the weights came from; None finds out.

    Raises:
        EngineError: the network or its variant is unknown.
        CheckpointError: there are no such weights.
        ValueError: a setting is not allowed.
    """
    name, named = _split(model)
    variants = variants_of(name)
    variant = named or variants[0]
    values = read_given(name, settings_by_name(split_settings(network_settings)))
    file = find_weights(name, variant, weights, others=named is None)
    if file == RANDOM:
        origin = origin or Origin.of(name, file)
    elif origin is None or not named:
        known = recognize(Path(file), name)
        origin = origin or known.origin
        if not named and known.variants and known.variants[0] in variants:
            variant = known.variants[0]
    if values is None:
        return Request(name, variant, file, origin, network_settings)
    variant, origin, rest = fewest_settings(name, variant, file, origin, values)
    return Request(name, variant, file, origin, show_settings(rest))


def split_model(model: str) -> tuple[str, str]:
    """Split the name of a network into network and variant; without a variant, take the first.

    Raises:
        EngineError: the network or the variant is unknown.
    """
    name, variant = _split(model)
    return name, variant or variants_of(name)[0]


def variants_of(name: str) -> list[str]:
    """The variants of a network, the default first.

    Raises:
        EngineError: the network is unknown.
    """
    networks = {key: [*network.variants] for key, network in catalogue().items()}
    networks = {key: variants for key, variants in networks.items() if variants}
    if (other := network_of_others(name)) is not None:
        networks[name] = [*other.variants]
    if name not in networks:
        raise EngineError(f'network {name!r} is unknown; choose one of {", ".join(networks)}')
    return networks[name]


def network_of_others(name: str) -> Any:
    """See `third_party`.

    Raises:
        EngineError: its module cannot be imported.
    """
    try:
        return third_party(name)
    except ValueError as error:
        raise EngineError(str(error)) from error


def _split(model: str) -> tuple[str, str | None]:
    """Split the name of a network into network and variant, None where it names none."""
    try:
        name, variant = split_title(model)
    except ValueError as error:
        raise EngineError(str(error)) from error
    variants = variants_of(name)
    if variant is not None and variant not in variants:
        raise EngineError(
            f'variant {variant!r} of {name} is unknown; choose one of {", ".join(variants)}'
        )
    return name, variant
