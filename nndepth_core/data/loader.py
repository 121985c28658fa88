"""Batches for training. What batch k of a run holds depends on the run's seed and on k alone."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from nndepth_core.data.augment import StereoAugmentation
from nndepth_core.data.datasets.base import DatasetError, StereoSource
from nndepth_core.data.sample import StereoSample

_log = logging.getLogger(__name__)

Batch = dict[str, Any]
"""left and right: uint8 (N, 3, H, W); disparity: float32 (N, 1, H, W), NaN where unknown; names:
of the samples; skipped: what was wrong with samples that others stand in for."""


@dataclass
class StereoData:
    """What a stereo network is trained and validated on.

    Args:
        train: the data set to train on; a Mixture joins several.
        validation: the data set to validate on; none leaves validation out.
        augmentation: changes every training sample at random and crops it; without one all
            samples must have one size that the network accepts.
        batch_size: training samples per process and pass.
        repeats: how many times in a row each sample is used, augmented anew; saves reading and,
            above all, rendering.
        workers: processes that read samples; 0 reads them in the training process.
        strict: stop at a sample that cannot be read instead of taking the next one.
    """

    train: StereoSource
    validation: StereoSource | None = None
    augmentation: StereoAugmentation | None = None
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

        The run goes through epochs, each a new order of all samples, `repeats` times each.
        Position p of it decides both the sample and how it is augmented; batch k of rank r holds
        batch_size positions from (k * ranks + r) * batch_size on.

        Args:
            seed: of the run.
            start: batch to begin with.
            rank: of this process.
            ranks: number of processes.

        Raises:
            DatasetError: a sample cannot be read and `strict` is set, or none can be.
            ValueError: samples differ in size, or the augmentation does not fit them.
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

    def validation_samples(
        self, limit: int = 0, rank: int = 0, ranks: int = 1
    ) -> Iterator[StereoSample]:
        """Yield this rank's part of the first `limit` validation samples, 0 for all of them.

        Raises:
            DatasetError: a sample cannot be read and `strict` is set; else it is left out with a
                warning.
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
    """Say which worker the system has ended, and what helps.

    torch notices it in a signal handler, and so may raise its error at any place.

    Raises:
        DatasetError: a worker was ended from outside.
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
    """Tensors by (position in the run, index of the sample).

    Errors are returned, not raised: the loader would wrap a worker's error in its traceback.
    """

    def __init__(self, data: StereoData, seed: int) -> None:
        self.data = data
        self.seed = seed
        self.latest: tuple[int, StereoSample] | None = None

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
        return {
            'left': _channels_first(sample.left),
            'right': _channels_first(sample.right),
            'disparity': torch.from_numpy(np.ascontiguousarray(sample.disparity[None])),
            'names': sample.name,
            'skipped': skipped,
        }

    def _read(self, index: int) -> tuple[StereoSample, list[str]]:
        """Read a sample, or the next one that can be read; also what was wrong with others."""
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
    """Samples, or the error in place of one that cannot be read."""

    def __init__(self, dataset: StereoSource) -> None:
        self.dataset = dataset

    def __getitem__(self, index: int) -> StereoSample | DatasetError:
        try:
            return _checked(self.dataset[index])
        except DatasetError as error:
            return error


def _checked(sample: StereoSample) -> StereoSample:
    sizes = {values.shape[:2] for values in (sample.left, sample.right, sample.disparity)}
    if len(sizes) > 1:
        raise DatasetError(
            f'{sample.name}: left, right and disparity are '
            f'{_size(sample.left)}, {_size(sample.right)} and {_size(sample.disparity)}'
        )
    return sample


def _entries(
    data: StereoData, positions: Iterable[int], seed: int
) -> Iterator[list[tuple[int, int]]]:
    """For every first position, the (position, index of the sample) of a batch."""
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
    sizes = sorted({f'{row["left"].shape[2]}x{row["left"].shape[1]}' for row in rows})
    if len(sizes) > 1:
        return ValueError(
            f'samples of a batch are {" and ".join(sizes)}; give data.augmentation a crop'
        )
    batch: Batch = {
        name: torch.stack([row[name] for row in rows]) for name in ('left', 'right', 'disparity')
    }
    batch['names'] = [row['names'] for row in rows]
    batch['skipped'] = [reason for row in rows for reason in row['skipped']]
    return batch


def _unchanged(sample: Any) -> Any:
    return sample


def _one_thread(worker: int) -> None:
    cv2.setNumThreads(0)


def _channels_first(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def _size(values: np.ndarray) -> str:
    return f'{values.shape[1]}x{values.shape[0]}'
