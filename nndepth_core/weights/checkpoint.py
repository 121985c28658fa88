"""Checkpoints: files read without running anything in them, official entries loaded strictly."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from nndepth_core.models import model_names, network_class

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from nndepth_core.models.base import Source, StereoNetwork

_WRAPPERS = ('state_dict', 'model_state', 'model_state_dict', 'model', 'network')
_PREFIXES = ('module.', '_orig_mod.')


class CheckpointError(ValueError):
    """A file that is no checkpoint, or one that does not fit; the message says what differs."""


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from a .safetensors file or from one that torch.save wrote.

    Nothing in the file is executed: pickles that hold more than tensors and plain containers are
    refused. Wrappers around the state dict and the prefixes of DataParallel and torch.compile
    are removed.

    Args:
        path: the file.

    Returns:
        Tensors on the CPU by entry name.

    Raises:
        CheckpointError: the file is missing, damaged, of another kind, or holds other objects.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f'{path} does not exist; give the path of a checkpoint file')
    return unwrap(_read_safetensors(path) if path.suffix == '.safetensors' else _read_torch(path))


def unwrap(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Take the state dict out of what a checkpoint file holds.

    Raises:
        CheckpointError: there is no state dict in it.
    """
    import torch

    if not isinstance(content, Mapping):
        raise CheckpointError(f'the checkpoint holds a {type(content).__name__}, not a state dict')
    for wrapper in _WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            return unwrap(content[wrapper])
    strangers = [
        str(name)
        for name, value in content.items()
        if not (isinstance(name, str) and isinstance(value, torch.Tensor))
    ]
    if strangers or not content:
        raise CheckpointError(
            f'the checkpoint holds no state dict (found {_some(strangers) or "nothing"}; expected '
            f'tensors, or one of {", ".join(_WRAPPERS)} around them)'
        )
    names = list(content)
    while all(name.startswith(_PREFIXES) for name in names):
        names = [name.split('.', 1)[1] for name in names]
    return dict(zip(names, content.values(), strict=True))


def load_official(model: StereoNetwork, state_dict: Mapping[str, Any]) -> None:
    """Load the entries of an official checkpoint into our network, strictly.

    Args:
        model: the network that receives the weights.
        state_dict: official entries, wrapped or not.

    Raises:
        CheckpointError: an entry is missing, unexpected or of another shape; says which, and
            which model and variant the checkpoint fits.
    """
    fit = _Fit(model, unwrap(state_dict))
    if not fit.is_exact:
        fitting = [f'{name} {variant}' for name, variant in matching_models(state_dict)]
        cure = f'it fits {" or ".join(fitting)}' if fitting else 'it fits no model known here'
        raise CheckpointError(
            f'the checkpoint is not one of {model.name} {model.variant}: {fit.report()}; {cure}'
        )
    model.load_state_dict(fit.entries, strict=False)


def matching_models(state_dict: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return every (network, variant) that an official checkpoint fits exactly."""
    import torch

    state = unwrap(state_dict)
    matches = []
    with torch.device('meta'):
        for name in model_names():
            cls = network_class(name)
            matches += [
                (name, variant)
                for variant, settings in cls.variants.items()
                if _Fit(cls(**settings), state).is_exact
            ]
    return matches


class _Fit:
    """How official entries fit a model: ours assembled from them, and what differs."""

    def __init__(self, model: StereoNetwork, state: Mapping[str, Tensor]) -> None:
        official = _without_aliases(state, model.official_aliases)
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
        return ', '.join(f'{len(n)} {kind} ({_some(n)})' for kind, n in kinds.items() if n)


def _without_aliases(
    state: Mapping[str, Tensor], rules: Sequence[tuple[str, str]]
) -> dict[str, Tensor]:
    """Drop second names of one tensor; one that stands alone takes the first name."""
    from nndepth_core.models.base import substitute

    first_names = {name: substitute(name, rules) for name in state}
    return {
        first: state[name]
        for name, first in first_names.items()
        if name == first or first not in state
    }


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointError(
            f'{path} is not a whole safetensors file ({error}); fetch it again'
        ) from error


def _read_torch(path: Path) -> Any:
    import torch

    try:
        return torch.load(path, map_location='cpu', weights_only=True)
    except UnpicklingError as error:
        raise CheckpointError(
            f'{path} is damaged, no checkpoint, or holds Python objects that are not loaded '
            'because they could run code; give a plain state dict or a .safetensors file'
        ) from error
    except (RuntimeError, EOFError, KeyError, OSError) as error:
        raise CheckpointError(f'{path} is not a whole checkpoint file; fetch it again') from error


def _size(shape: Iterable[int]) -> str:
    return 'x'.join(map(str, shape)) or 'a scalar'


def _some(names: Sequence[str], count: int = 3) -> str:
    rest = ['...'] if len(names) > count else []
    return ', '.join([*names[:count], *rest])
