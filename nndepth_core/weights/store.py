"""The user's store of weights, one safetensors file each, and those of the package.

Needs no torch.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from nndepth_core.weights.checkpoint import CheckpointError
from nndepth_core.weights.description import Description, read_description
from nndepth_core.weights.licenses import commercial_use

_log = logging.getLogger(__name__)

_BUNDLED = Path(__file__).with_name('bundled')
_NAME = r'\w[\w.-]*'


@dataclass(frozen=True)
class StoredWeights:
    """A file in the store; `id` is its network and name, e.g. 'raft_stereo/middlebury'."""

    id: str
    path: Path
    description: Description

    def record(self) -> dict[str, Any]:
        """What is known of it, as values of JSON."""
        use = commercial_use(self.description.license)
        return {**asdict(self), 'path': str(self.path), 'commercial_use': use}


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
            entry = StoredWeights(f'{path.parent.name}/{path.stem}', path, read_description(path))
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


def new_path(model: str, name: str) -> Path:
    """Where weights of a network are stored under a name.

    Raises:
        ValueError: they cannot have this name.
    """
    if not re.fullmatch(_NAME, name):
        raise ValueError(f'name is {name!r}; use letters, digits, and . _ - inside')
    if _bundled(model, name).exists():
        raise ValueError(
            f'{model}/{name} are the weights that come with the package; choose another name '
            '(--name)'
        )
    return _file(cache_folder(), model, name)


def remove_weights(identifier: str) -> Path:
    """Remove weights from the user's store, also a file there that cannot be used.

    Args:
        identifier: network and name, e.g. 'raft_stereo/mine'.

    Returns:
        The file that was there.

    Raises:
        ValueError: there are none of this name, or they come with the package.
        OSError: the system does not let the file be removed.
    """
    model, _, name = identifier.partition('/')
    if all(re.fullmatch(_NAME, part) for part in (model, name)):
        path = _file(cache_folder(), model, name)
        if path.exists() or path.is_symlink():
            path.unlink()
            return path
        if _bundled(model, name).exists():
            raise ValueError(f'{identifier} comes with the package and cannot be removed')
    raise ValueError(f'{identifier} is not in the store; see `nndepth weights list`')


@cache
def _warn_once(text: str) -> None:
    _log.warning('%s', text)


def _bundled(model: str, name: str) -> Path:
    return _file(_BUNDLED, model, name)


def _file(folder: Path, model: str, name: str) -> Path:
    return folder / 'weights' / model / f'{name}.safetensors'
