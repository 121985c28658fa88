"""What is done when a step of a training fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nndepth_core.data.loader import Batch
from nndepth_core.files.writing import replaced_at_once
from nndepth_core.training import TrainingError


def save_failed(path: Path, passes: Sequence[Batch]) -> None:
    """Save the batches of a step as .npz: the tensors by name and pass, and all sample names."""
    arrays: dict[str, Any] = {
        f'{name}_{index}': value.numpy()
        for index, batch in enumerate(passes)
        for name, value in batch.items()
        if isinstance(value, torch.Tensor)
    }
    names = [name for batch in passes for name in batch['names']]
    with replaced_at_once(path) as temporary, temporary.open('wb') as file:
        np.savez_compressed(file, names=np.array(names), **arrays)


@contextmanager
def out_of_memory_named(passes: Sequence[Batch]) -> Iterator[None]:
    """Turn an error of memory that ran out into one message with the batch size.

    Raises:
        TrainingError: Memory ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        exhausted = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not exhausted and "can't allocate memory" not in str(error):
            raise
        first = next(value for value in passes[0].values() if isinstance(value, torch.Tensor))
        count, _, height, width = first.shape
        raise TrainingError(
            f'out of memory with {count} samples of {width}x{height} a pass; lower '
            'data.batch_size and raise trainer.accumulation by as much, or crop smaller'
        ) from error
