"""The user's store of weights: checked, converted to our entries, one safetensors file each.

Listing it needs no torch; storing and loading do.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from nndepth_core.models import create_model, model_names, network_class
from nndepth_core.weights.catalogue import identify
from nndepth_core.weights.checkpoint import (
    CheckpointError,
    load_official,
    matching_models,
    read_checkpoint,
)

if TYPE_CHECKING:
    from torch import Tensor

    from nndepth_core.models.base import StereoNetwork

# One key only: safetensors writes several in random order, and files shall be reproducible.
_KEY = 'nndepth'
_BUNDLED = Path(__file__).with_name('bundled')
_MAXIMUM_HEADER = 100_000_000
"""Bytes; larger headers are no valid safetensors."""


@dataclass(frozen=True)
class Description:
    """What a stored file says of itself.

    Attributes:
        model: network.
        variant: the one it was stored for.
        variants: all that its entries fit.
        source: name of the file it was made from.
        source_sha256: hash of that file.
        checkpoint: name in the catalogue, None for a file that is not in it.
        license: of the weights, None where unknown.
    """

    model: str
    variant: str
    variants: tuple[str, ...]
    source: str
    source_sha256: str
    checkpoint: str | None
    license: str | None


@dataclass(frozen=True)
class StoredWeights:
    """A file in the store; `id` is its network and name, e.g. 'raft_stereo/middlebury'."""

    id: str
    path: Path
    description: Description


def cache_folder() -> Path:
    """$NNDEPTH_CACHE, else nndepth in $XDG_CACHE_HOME, else ~/.cache/nndepth."""
    own = os.environ.get('NNDEPTH_CACHE')
    folder = Path(own) if own else Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache', 'nndepth')
    return folder.expanduser()


def folders() -> tuple[Path, Path]:
    """Where weights and exports lie: the user's store, then what comes with the package."""
    return cache_folder(), _BUNDLED


def list_stored() -> list[StoredWeights]:
    """All weights at hand, by network and name; files that are not ours are passed over."""
    found = [path for folder in folders() for path in folder.glob('weights/*/*.safetensors')]
    files = sorted(found, key=lambda path: (path.parent.name, path.name))
    described = ((path, describe(path)) for path in files)
    return [
        StoredWeights(f'{path.parent.name}/{path.stem}', path, description)
        for path, description in described
        if description
    ]


def stored_weights(model: str, variant: str | None = None, name: str | None = None) -> Path | None:
    """Find weights of a network in the store.

    Args:
        model: network.
        variant: one that they must fit; None takes any.
        name: theirs; None takes the file stored last.

    Returns:
        The file, or None where there is none; one of the package only where the user has none.
    """
    paths = [
        stored.path
        for stored in list_stored()
        if stored.description.model == model
        and variant in (None, *stored.description.variants)
        and name in (None, stored.path.stem)
    ]

    def rank(path: Path) -> tuple[bool, int]:
        return _BUNDLED not in path.parents, path.stat().st_mtime_ns

    return max(paths, key=rank, default=None)


def describe(path: str | Path) -> Description | None:
    """Read what a file of ours says of itself; None for any other file."""
    try:
        with Path(path).open('rb') as file:
            length = int.from_bytes(file.read(8), 'little')
            header = json.loads(file.read(min(length, _MAXIMUM_HEADER)))
        fields = json.loads(header['__metadata__'][_KEY])
        return Description(**{**fields, 'variants': tuple(fields['variants'])})
    except (ValueError, KeyError, TypeError):
        return None


def store_weights(
    source: str | Path, model: str, variant: str | None = None, name: str | None = None
) -> Path:
    """Check a checkpoint file, convert it to our entries and put it into the store.

    Args:
        source: .safetensors file or one that torch.save wrote, with official entries or ours.
        model: the network it is for.
        variant: its variant; None finds out which one fits.
        name: how to call it; None takes the catalogue's name, else that of the file. A file of
            the same name is replaced.

    Returns:
        The stored file.

    Raises:
        CheckpointError: the file cannot be read, fits something else, or torch is missing.
        ValueError: network, variant or name are impossible.
    """
    require_torch()
    network_class(model)
    source = Path(source)
    state = read_checkpoint(source)
    matches = _own_models(state, [model]) or matching_models(state)
    fitting = tuple(fits for owner, fits in matches if owner == model)
    network = create_model(model, variant or next(iter(fitting), None))
    _load(network, state, source)
    file, sha256 = _origin(source)
    known = identify(model, file, sha256)
    name = name or (known.name if known else source.stem)
    if not re.fullmatch(r'\w[\w.-]*', name):
        raise ValueError(f'name is {name!r}; use letters, digits, and . _ - inside')
    description = Description(
        model,
        network.variant,
        fitting,
        file,
        sha256,
        known.name if known else None,
        known.license if known else None,
    )
    return _write(cache_folder() / 'weights' / model / f'{name}.safetensors', network, description)


def load_weights(network: StereoNetwork, path: str | Path) -> None:
    """Load a checkpoint file into a network, strictly.

    Args:
        network: receives the weights.
        path: a stored file, another one with our entry names, or an official checkpoint.

    Raises:
        CheckpointError: the file cannot be read or fits something else; says what.
    """
    _load(network, read_checkpoint(path), path)


def require_torch() -> None:
    """Refuse to go on without torch and safetensors.

    Raises:
        CheckpointError: one of them is not installed.
    """
    missing = [package for package in ('torch', 'safetensors') if find_spec(package) is None]
    if missing:
        raise CheckpointError(
            f'weights cannot be read without {" and ".join(missing)}; pip install "nndepth[torch]"'
        )


@contextmanager
def replaced_at_once(path: Path) -> Iterator[Path]:
    """Give a file to write to, which takes the place of `path` when all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _origin(source: Path) -> tuple[str, str]:
    """Name and hash of the file that weights come from; a file of ours remembers both."""
    if own := describe(source):
        return own.source, own.source_sha256
    return source.name, hashlib.sha256(source.read_bytes()).hexdigest()


def _load(network: StereoNetwork, state: Mapping[str, Tensor], path: str | Path) -> None:
    if _is_own(network, state):
        network.load_state_dict(state)
        return
    try:
        load_official(network, state)
    except CheckpointError as error:
        fitting = ' or '.join(
            f'{name} {variant}' for name, variant in _own_models(state, model_names())
        )
        reason = f'it is not {network.name} {network.variant}, but {fitting}' if fitting else error
        raise CheckpointError(f'{path}: {reason}') from None


def _own_models(state: Mapping[str, Tensor], names: Iterable[str]) -> list[tuple[str, str]]:
    """Return which (network, variant) of the named networks the entries are."""
    import torch

    with torch.device('meta'):
        return [
            (name, variant)
            for name in names
            for variant, settings in network_class(name).variants.items()
            if _is_own(network_class(name)(**settings), state)
        ]


def _is_own(network: StereoNetwork, state: Mapping[str, Tensor]) -> bool:
    """Whether the entries are the network's own, by name and shape."""
    own = network.state_dict()
    return own.keys() == state.keys() and all(own[n].shape == state[n].shape for n in own)


def _write(path: Path, network: StereoNetwork, description: Description) -> Path:
    from safetensors.torch import save_file

    with replaced_at_once(path) as temporary:
        save_file(network.state_dict(), temporary, {_KEY: json.dumps(asdict(description))})
    return path
