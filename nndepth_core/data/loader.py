"""Batches for training. What batch k of a run holds depends on the run's seed and on k alone."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from nndepth_core.data.datasets.base import DatasetError, Source
from nndepth_core.data.sample import Sample

_log = logging.getLogger(__name__)

Batch = dict[str, Any]
"""The arrays of the samples by name: images uint8 (N, 3, H, W), maps float32 (N, 1, H, W) and
numbers float32 (N, 1, 1, 1); `names` lists the names of the samples, and `skipped` says for
each sample that was replaced by another what was wrong with it."""
Augmentation = Callable[[Any, np.random.Generator], Sample]
"""Changes a sample at random."""


@dataclass
class TrainingData:
    """The data that a network is trained and validated on.

    Args:
        train: The data set to train on; a Mixture joins several.
        validation: The data set to validate on; without one there is no validation.
        augmentation: Changes every training sample at random and crops it. Without one, all
            samples must have one size that the network accepts.
        batch_size: The number of training samples per process and pass.
        repeats: How many times in a row each sample is used, each time with a new augmentation.
            This saves reading and, above all, rendering.
        workers: The number of processes that read samples; 0 reads them in the training process.
        strict: Whether to stop at a sample that cannot be read. Otherwise the next one takes its
            place.
    """

    train: Source
    validation: Source | None = None
    augmentation: Augmentation | None = None
    batch_size: int = 8
    repeats: int = 1
    workers: int = 4
    strict: bool = False

    def __post_init__(self) -> None:
        for name in ('batch_size', 'repeats'):
            if getattr(self, name) < 1:
                raise ValueError(f'{name} is {getattr(self, name)}; give at least 1')
        if not len(self.train):
            raise DatasetError(f'{self.train.name} has no samples to train on')

    def batches(
        self, seed: int = 0, start: int = 0, rank: int = 0, ranks: int = 1
    ) -> Generator[Batch]:
        """Yield training batches without end.

        The run goes through epochs. Each epoch takes all samples in a new order, each sample
        `repeats` times in a row. The position in the run decides which sample is taken and how it
        is augmented; batch k of rank r holds `batch_size` positions, beginning with position
        (k * ranks + r) * batch_size.

        Args:
            seed: The seed of the run.
            start: The number of the first batch to yield.
            rank: The rank of this process.
            ranks: The number of processes.

        Raises:
            DatasetError: A sample cannot be read and `strict` is set, or no sample can be read.
            ValueError: Samples differ in size, or the augmentation does not fit them.
        """
        first = (start * ranks + rank) * self.batch_size
        positions = itertools.count(first, ranks * self.batch_size)
        loader = DataLoader(
            _TrainingSamples(self, seed),
            batch_sampler=_entries(self, positions, seed),
            num_workers=self.workers,
            collate_fn=_collate,
            worker_init_fn=_one_thread,
            pin_memory=torch.cuda.is_available(),
        )
        for batch in _loaded(loader):
            if isinstance(batch, ValueError):
                raise batch
            yield batch

    def validation_samples(self, limit: int = 0, rank: int = 0, ranks: int = 1) -> Iterator[Any]:
        """Yield this rank's part of the first `limit` validation samples; 0 takes all of them.

        Raises:
            DatasetError: A sample cannot be read and `strict` is set. Otherwise such a sample is
                left out with a warning.
        """
        if self.validation is None:
            return
        count = min(limit or len(self.validation), len(self.validation))
        loader = DataLoader(
            _Readable(self.validation),
            sampler=range(rank, count, ranks),
            batch_size=None,
            num_workers=self.workers,
            collate_fn=_unchanged,
            worker_init_fn=_one_thread,
        )
        for sample in _loaded(loader):
            if not isinstance(sample, DatasetError):
                yield sample
            elif self.strict:
                raise sample
            else:
                _log.warning('validation sample left out: %s', sample)


@contextmanager
def killed_workers_named() -> Iterator[None]:
    """Turn the end of a worker process into an error that names it and says what helps.

    torch notices the end in a signal handler, so its own error may come at any place.

    Raises:
        DatasetError: A worker was ended from outside.
    """
    try:
        yield
    except RuntimeError as error:
        if not (worker := re.search(r'DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)', str(error))):
            raise
        ended = re.search(r'signal: ([\w ]+)', str(error))
        how = f'ended by the signal {ended[1]}' if ended else 'ended'
        raise DatasetError(
            f'a worker that reads samples (process {worker[1]}) was {how}, as the system does '
            'when memory runs out (see dmesg); set fewer data.workers, a smaller data.batch_size '
            'or smaller crops, or enlarge the shared memory of a container'
        ) from error


def _loaded(loader: DataLoader) -> Generator[Any]:
    with killed_workers_named():
        yield from loader


class _TrainingSamples(Dataset):
    """Batches of one sample, by (position in the run, index of the sample).

    Errors are returned, not raised: the loader would wrap a worker's error in its traceback.
    """

    def __init__(self, data: TrainingData, seed: int) -> None:
        self.data = data
        self.seed = seed
        self.latest: tuple[int, Sample] | None = None

    def __getitem__(self, entry: tuple[int, int]) -> Batch | ValueError:
        position, index = entry
        try:
            skipped: list[str] = []
            if self.latest is None or self.latest[0] != index:
                sample, skipped = self._read(index)
                self.latest = index, sample
            sample = self.latest[1]
            if self.data.augmentation is not None:
                rng = np.random.default_rng([self.seed, position])
                sample = self.data.augmentation(sample, rng)
        except ValueError as error:
            return error
        tensors = {name: _channels_first(array) for name, array in sample.arrays().items()}
        return {**tensors, 'names': [sample.name], 'skipped': skipped}

    def _read(self, index: int) -> tuple[Sample, list[str]]:
        """Read a sample or, where that fails, the next one that can be read.

        Returns:
            The sample, and what was wrong with those before it.
        """
        dataset = self.data.train
        skipped: list[str] = []
        for candidate in range(index, index + len(dataset)):
            try:
                return _checked(dataset[candidate % len(dataset)]), skipped
            except DatasetError as error:
                if self.data.strict:
                    raise
                skipped.append(str(error))
        raise DatasetError(f'no sample of {dataset.name} can be read; the first: {skipped[0]}')


class _Readable(Dataset):
    """Samples, with the error in place of a sample that cannot be read."""

    def __init__(self, dataset: Source) -> None:
        self.dataset = dataset

    def __getitem__(self, index: int) -> Sample | DatasetError:
        try:
            return _checked(self.dataset[index])
        except DatasetError as error:
            return error


def _checked(sample: Sample) -> Sample:
    sizes = {name: _size(array.shape) for name, array in sample.arrays().items() if array.ndim}
    if len(set(sizes.values())) > 1:
        each = ', '.join(f'{name} is {size}' for name, size in sizes.items())
        raise DatasetError(f'{sample.name}: {each}; all must have one size')
    return sample


def _entries(
    data: TrainingData, positions: Iterable[int], seed: int
) -> Iterator[list[tuple[int, int]]]:
    """Yield for every first position the (position, index of the sample) of its batch."""
    length = len(data.train)
    epoch, order = -1, np.empty(0, int)
    for first in positions:
        batch = []
        for position in range(first, first + data.batch_size):
            place = position // data.repeats
            if place // length != epoch:
                epoch = place // length
                order = np.random.default_rng([seed, epoch]).permutation(length)
            batch.append((position, int(order[place % length])))
        yield batch


def _collate(items: list[Batch | ValueError]) -> Batch | ValueError:
    rows: list[Batch] = []
    for item in items:
        if isinstance(item, ValueError):
            return item
        rows.append(item)
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    lists = {name: list(itertools.chain(*columns.pop(name))) for name in ('names', 'skipped')}
    shapes = {tensor.shape[1:] for column in columns.values() for tensor in column}
    sizes = sorted(map(_size, shapes - {(1, 1)}))
    if len(sizes) > 1:
        return ValueError(
            f'samples of a batch are {" and ".join(sizes)}; give data.augmentation a crop'
        )
    return {name: torch.stack(column) for name, column in columns.items()} | lists


def _unchanged(sample: Any) -> Any:
    return sample


def _one_thread(worker: int) -> None:
    cv2.setNumThreads(0)


def _channels_first(array: np.ndarray) -> torch.Tensor:
    """A tensor (C, H, W) of an image (H, W, C), a map (H, W) or a number ()."""
    channels = array.transpose(2, 0, 1) if array.ndim == 3 else np.atleast_2d(array)[None]
    return torch.from_numpy(np.ascontiguousarray(channels))


def _size(shape: Sequence[int]) -> str:
    height, width = shape[:2]
    return f'{width}x{height}'
