"""The user's store of weights: checked, converted to our entries, one safetensors file each.

Listing it needs no torch; storing and loading do.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from nndepth_core.files.writing import replaced_at_once, sha256_of
from nndepth_core.models import create_model, model_names, network_class
from nndepth_core.weights.catalogue import identify
from nndepth_core.weights.checkpoint import (
    CheckpointError,
    load_official,
    matching_models,
    read_checkpoint,
)
from nndepth_core.weights.formats import read_header

if TYPE_CHECKING:
    from torch import Tensor

    from nndepth_core.models.base import Network

_log = logging.getLogger(__name__)

# One key only: safetensors writes several in random order, and files shall be reproducible.
_KEY = 'nndepth'
_BUNDLED = Path(__file__).with_name('bundled')
_NAME = r'\w[\w.-]*'


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
    """$NNDEPTH_CACHE, else nndepth in $XDG_CACHE_HOME, else ~/.cache/nndepth.

    Raises:
        CheckpointError: no home folder is known to the system.
    """
    own = os.environ.get('NNDEPTH_CACHE')
    folder = Path(own) if own else Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache', 'nndepth')
    try:
        return folder.expanduser()
    except RuntimeError as error:
        raise CheckpointError(
            f'{folder} cannot be found, since the system knows no such home folder; set the '
            'environment variable NNDEPTH_CACHE to a folder of yours'
        ) from error


def folders() -> tuple[Path, ...]:
    """Where weights and exports lie: the user's store if there can be one, then the package's."""
    try:
        return cache_folder(), _BUNDLED
    except CheckpointError as error:
        _warn_once(str(error))
        return (_BUNDLED,)


def list_stored() -> list[StoredWeights]:
    """All weights at hand, by network and name.

    Entries that are not ours or cannot be used are passed over; each is warned of once.
    """
    found = [path for folder in folders() for path in folder.glob('weights/*/*.safetensors')]
    stored = []
    for path in sorted(found, key=lambda path: (path.parent.name, path.name)):
        try:
            if not re.fullmatch(_NAME, path.stem):
                raise ValueError('has a name that weights are not stored under; rename it')
            entry = StoredWeights(f'{path.parent.name}/{path.stem}', path, _described(path))
        except (ValueError, OSError) as error:
            reason = f'cannot be read ({error.strerror})' if isinstance(error, OSError) else error
            _warn_once(f'{str(path)!r} in the store of weights is passed over, since it {reason}')
        else:
            stored.append(entry)
    return stored


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
        return _described(Path(path))
    except (ValueError, OSError):
        return None


def _described(path: Path) -> Description:
    """Read the same.

    Raises:
        ValueError: the file is not ours, or not whole.
        OSError: it cannot be read.
    """
    header = read_header(path)
    try:
        fields = json.loads(header['__metadata__'][_KEY])
        description = Description(**{**fields, 'variants': tuple(fields['variants'])})
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError('was not written by `nndepth weights import`; remove it') from error
    texts = (description.model, description.variant, description.source, description.source_sha256)
    optional = (description.checkpoint, description.license)
    if not all(isinstance(text, str) for text in (*texts, *description.variants)) or not all(
        text is None or isinstance(text, str) for text in optional
    ):
        raise ValueError('says of itself what files of ours do not; remove it')
    return description


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
    if not re.fullmatch(_NAME, name):
        raise ValueError(f'name is {name!r}; use letters, digits, and . _ - inside')
    if _bundled(model, name).exists():
        raise ValueError(
            f'{model}/{name} are the weights that come with the package; choose another name '
            '(--name)'
        )
    description = Description(
        model,
        network.spec.variant,
        fitting,
        file,
        sha256,
        known.name if known else None,
        known.license if known else None,
    )
    return _write(cache_folder() / 'weights' / model / f'{name}.safetensors', network, description)


def load_weights(network: Network, path: str | Path) -> None:
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


@cache
def _warn_once(text: str) -> None:
    _log.warning('%s', text)


def _origin(source: Path) -> tuple[str, str]:
    """Name and hash of the file that weights come from; a file of ours remembers both."""
    if own := describe(source):
        return own.source, own.source_sha256
    return source.name, sha256_of(source)


def _load(network: Network, state: Mapping[str, Tensor], path: str | Path) -> None:
    if broken := [name for name, value in state.items() if not value.isfinite().all()]:
        raise CheckpointError(
            f'{path}: {len(broken)} entries hold NaN or infinity, first {broken[0]}, so that '
            'nothing can be computed with it; take another checkpoint, and where this file is in '
            'the store, import that under the same name or remove this file'
        )
    if _is_own(network, state):
        network.load_state_dict(state)
        return
    try:
        load_official(network, state)
    except CheckpointError as error:
        fitting = ' or '.join(
            f'{name}-{variant}' for name, variant in _own_models(state, model_names())
        )
        reason = f'it is not {network.spec.title}, but {fitting}' if fitting else error
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


def _is_own(network: Network, state: Mapping[str, Tensor]) -> bool:
    """Whether the entries are the network's own, by name and shape."""
    own = network.state_dict()
    return own.keys() == state.keys() and all(own[n].shape == state[n].shape for n in own)


def _bundled(model: str, name: str) -> Path:
    return _BUNDLED / 'weights' / model / f'{name}.safetensors'


def _write(path: Path, network: Network, description: Description) -> Path:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        with replaced_at_once(path) as temporary:
            save_file(network.state_dict(), temporary, {_KEY: json.dumps(asdict(description))})
    except SafetensorError as error:  # also of the system's, such as that the disk is full
        raise CheckpointError(f'{path} cannot be written: {error}') from error
    return path
