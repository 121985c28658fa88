"""Checkpoints that a crash, a full disk or a kill cannot leave half written.

A checkpoint is a folder `step_00001000`. It has the weights to use, in safetensors, and the rest
of the state of the training, in a torch file of tensors and plain containers. It is written under
another name and renamed when all of it is on the disk.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from nndepth_core.files.writing import remove_at_once, replaced_at_once
from nndepth_core.weights.checkpoint import CheckpointError

WEIGHTS = 'weights.safetensors'
CONFIG = 'config.yaml'
_STATE = 'state.pt'


def save_checkpoint(
    folder: Path, step: int, weights: Mapping[str, Tensor], state: Mapping[str, Any], keep: int
) -> Path:
    """Write a checkpoint, then remove old ones.

    Args:
        folder: The folder of the checkpoints.
        step: The number of steps that are done.
        weights: The weights of the network to use.
        state: What else is needed to resume: tensors, numbers and strings in dicts and lists.
        keep: How many of the latest checkpoints are kept.

    Returns:
        The folder of the checkpoint.

    Raises:
        CheckpointError: The checkpoint cannot be written; earlier ones are whole.
    """
    path = folder / f'step_{step:08d}'
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    with _replacing(path) as temporary:
        temporary.mkdir()
        _write(temporary / WEIGHTS, _serialized(weights))
        _write(temporary / _STATE, buffer.getbuffer())
    for old in _checkpoints(folder)[:-keep]:
        # under its own name a folder that is half gone would pass for a checkpoint
        remove_at_once(old)
    return path


def latest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint with the highest step in a folder; None where there is none."""
    return max(_checkpoints(folder), default=None)


def config_of(weights: Path) -> Path | None:
    """The configuration of the run in whose folder a file of weights lies; None for others."""
    folder = weights.absolute().parent
    if folder.name == 'best':
        folder = folder.parent
    elif folder.parent.name == 'checkpoints':
        folder = folder.parent.parent
    config = folder / CONFIG
    return config if config.is_file() else None


def load_state(checkpoint: Path) -> dict[str, Any]:
    """Read the state of a checkpoint to the CPU; no code in the file is run.

    Raises:
        CheckpointError: The state is missing or damaged.
    """
    path = checkpoint / _STATE
    try:
        return torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # what torch raises depends on where the file is damaged
        raise CheckpointError(
            f'{path} is no whole training state; remove {checkpoint} to go on from an earlier one'
        ) from error


def save_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write weights as safetensors, all or nothing.

    Raises:
        CheckpointError: The weights cannot be written; an earlier file of that name is whole.
    """
    with _replacing(path) as temporary:
        _write(temporary, _serialized(weights))


def save_best(
    folder: Path, metric: str, value: float, step: int, weights: Mapping[str, Tensor], keep: int
) -> bool:
    """Keep weights if they are among the best so far.

    The name of the file has the value in it, from which the order is read after a resume.

    Args:
        folder: The folder of the best weights.
        metric: The name of the figure that is compared; less is better.
        value: The figure of these weights.
        step: The number of steps that are done.
        weights: The weights of the network.
        keep: How many of the best weights are kept.

    Returns:
        Whether these are the best of all.

    Raises:
        CheckpointError: The weights cannot be written.
    """
    path = folder / f'{metric}_{value:.5f}_step_{step:08d}.safetensors'
    others = [other for other in folder.glob(f'{metric}_*_step_*.safetensors') if other != path]
    again = [other for other in others if _rank(other)[1] == _rank(path)[1]]  # after a resume
    ranking = sorted([path, *(other for other in others if other not in again)], key=_rank)
    if path in ranking[:keep]:
        save_weights(path, weights)
    for worse in [*ranking[keep:], *again]:
        worse.unlink(missing_ok=True)
    return ranking[0] == path


def _rank(path: Path) -> tuple[float, str]:
    """The value and the step in the name of a file of best weights."""
    value, _, step = path.stem.split('_')[-3:]
    return float(value), step


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob('step_*') if path.name[5:].isdecimal())


def _serialized(weights: Mapping[str, Tensor]) -> bytes:
    # cloned, since safetensors refuses tensors that share memory
    whole = {name: value.detach().cpu().contiguous().clone() for name, value in weights.items()}
    return safetensors.torch.save(whole)


def _write(path: Path, content: bytes | memoryview) -> None:
    path.write_bytes(content)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to, which is renamed to `path` when all of it is on the disk."""
    try:
        with replaced_at_once(path) as temporary:
            yield temporary
    except OSError as error:
        raise CheckpointError(
            f'{path} cannot be saved ({error.strerror or error}); earlier files are whole: make '
            'room and resume'
        ) from error
