"""Checkpoint files, read without running anything in them."""

from __future__ import annotations

import io
import mmap
import pickletools
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

from nndepth_core.weights.formats import SAFETENSORS, TORCH_ZIP, kind_of

if TYPE_CHECKING:
    from torch import Tensor

_WRAPPERS = (
    'state_dict',
    'model_state',
    'model_state_dict',
    'model',
    'network',
    'net',
    'module',
    'params',
    'params_ema',
    'state_dict_ema',
    'model_ema',
    'ema',
)
_PREFIXES = ('module.', '_orig_mod.', 'model.', 'net.', 'network.', 'ema_model.', 'ema.')
"""What frameworks put before the names of a network's entries, the network's own first."""
_BESIDE = ('ema.', 'ema_model.', 'model_ema.', 'n_averaged', 'loss.', 'criterion.', 'loss_fn.')
"""How names begin that stand beside those of a network."""
_DEPTH = 8
"""Wrappers around each other."""
_HARMLESS = (
    'accelerate.',
    'addict.',
    'argparse.',
    'collections.defaultdict',
    'datetime.',
    'deepspeed.',
    'easydict.',
    'lightning.',
    'lightning_fabric.',
    'mmcv.',
    'mmengine.',
    'numpy.',
    'omegaconf.',
    'pathlib.',
    'pytorch_lightning.',
    'yacs.',
)
"""Modules whose objects stand beside a state dict; they are passed over, not made."""


class CheckpointError(ValueError):
    """Weights that are missing, cannot be read or do not fit; the message says what is wrong."""


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
    try:
        if not path.exists():
            raise ValueError(
                'does not exist; give the path of a checkpoint file, or OWNER/NAME of a '
                'repository on the Hugging Face hub'
            )
        kind = kind_of(path)
        content = _read_safetensors(path) if kind == SAFETENSORS else _read_torch(path, kind)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f'{path} cannot be read: {error.strerror or error}') from error
    except ValueError as error:
        raise CheckpointError(f'{path} {error}') from error
    try:
        return unwrap(content)
    except CheckpointError as error:
        raise CheckpointError(f'{path}: {error}') from error


def unwrap(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Take the state dict out of what a checkpoint file holds.

    Raises:
        CheckpointError: there is no state dict in it.
    """
    for _ in range(_DEPTH):
        inner = _wrapped(content)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f'the checkpoint holds a {type(content).__name__}, not a state dict; save that of the '
            "network by torch.save(model.state_dict(), 'weights.pth')"
        )
    strangers = [
        _shown(name)
        for name, value in content.items()
        if not (isinstance(name, str) and _is_plain(value))
    ]
    if strangers or not content:
        raise CheckpointError(
            f'the checkpoint holds no state dict (found {some(strangers) or "nothing"}; expected '
            f'tensors, or one of {", ".join(_WRAPPERS)} around them)'
        )
    names = _own_names(list(content))
    return {short: content[name] for name, short in names.items()}


def _wrapped(content: Any) -> Any:
    if not isinstance(content, Mapping):
        return None
    inner = (content.get(wrapper) for wrapper in _WRAPPERS)
    return next((value for value in inner if isinstance(value, Mapping)), None)


def _own_names(names: list[str]) -> dict[str, str]:
    """Full name -> name without what frameworks put before all names of a network.

    What stands beside the network, such as its running average or a loss, is left out.
    """
    short = {name: name for name in names}
    while True:
        for prefix in _PREFIXES:
            own = {full: name for full, name in short.items() if name.startswith(prefix)}
            others = (name for full, name in short.items() if full not in own)
            if own and all(name.startswith(_BESIDE) for name in others):
                short = {full: name.removeprefix(prefix) for full, name in own.items()}
                break
        else:
            return short


def _is_plain(value: Any) -> bool:
    """Whether it is a tensor with its values in memory, one for each place."""
    import torch

    return (
        isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and value.device.type == 'cpu'
        and not value.is_quantized
    )


def _shown(name: Any) -> str:
    return name if isinstance(name, str) else f'a {type(name).__name__}'


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:
        raise _unreadable(path, 'a safetensors file', error) from error


def _read_torch(path: Path, kind: str) -> Any:
    import torch

    if kind == TORCH_ZIP and (damaged := _damaged_part(path)):
        raise CheckpointError(
            f'{path} is damaged: its part {damaged} differs from what was stored; copy or '
            'download the file again'
        )
    names = _pickled_names(path, kind)
    inert: list[Any] = [_inert(name) for name in names if name.startswith(_HARMLESS)]
    try:
        # an open file, since torch takes the suffix of a path for the format
        with (
            path.open('rb') as file,
            torch.serialization.safe_globals(inert),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter('ignore')  # on types and pickles of old versions
            return torch.load(file, map_location='cpu', weights_only=True)
    except UnpicklingError as error:
        known = ('torch.', 'collections.', '_codecs.', *_HARMLESS)
        strangers = [name for name in names if not name.startswith(known)]
        if not strangers:
            raise _unreadable(path, 'a file of torch.save', error) from error
        raise CheckpointError(
            f'{path} holds Python objects ({some(strangers)}), which are not loaded because they '
            "could run code; where you trust the file, load it by its authors' code, save the "
            "state dict alone by torch.save(model.state_dict(), 'weights.pth'), and give that file"
        ) from error
    except Exception as error:
        raise _unreadable(path, 'a file of torch.save', error) from error


def _damaged_part(path: Path) -> str:
    """The first part of a zip archive whose check sum is wrong, which torch does not look at."""
    try:
        with ZipFile(path) as archive:
            return archive.testzip() or ''
    except Exception:  # torch tells what is wrong
        return ''


def _unreadable(path: Path, what: str, error: Exception) -> CheckpointError:
    """Say what a reader that was written by others made of a file; it may raise anything."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return CheckpointError(
        f'{path} is {what}, but cannot be read ({first[:200]}); compare its size and hash with '
        "its authors'"
    )


def _pickled_names(path: Path, kind: str) -> list[str]:
    """The classes and functions that a checkpoint's pickles name; none of them is imported."""
    try:
        if kind == TORCH_ZIP:
            with ZipFile(path) as archive:
                name = next(name for name in archive.namelist() if Path(name).name == 'data.pkl')
                return _names_in(io.BytesIO(archive.read(name)), 1)
        with path.open('rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as all_:
            return _names_in(all_, 4)  # magic number, protocol, system, content
    except Exception:  # these readers may raise anything; torch tells what is wrong
        return []


def _names_in(stream: Any, count: int) -> list[str]:
    operations = (operation for _ in range(count) for operation in pickletools.genops(stream))
    names = (str(name).replace(' ', '.') for code, name, _ in operations if code.name == 'GLOBAL')
    return list(dict.fromkeys(names))


def _inert(name: str) -> type:
    """A class that takes a harmless one's place, so that the tensors beside it can be read."""
    module, _, own = name.rpartition('.')
    return type(own, (_Inert,), {'__module__': module, '__qualname__': own})


class _Inert:
    """Keeps nothing and does nothing."""

    def __new__(cls, *args: Any, **settings: Any) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *args: Any, **settings: Any) -> None:
        """Take anything."""

    def __setstate__(self, state: Any) -> None:
        """Take anything."""


def some(names: Sequence[str], count: int = 3) -> str:
    """The first few of many names, for a message."""
    rest = ['...'] if len(names) > count else []
    return ', '.join([*names[:count], *rest])
