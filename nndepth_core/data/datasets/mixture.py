"""Several data sets as one."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

from nndepth_core.data.datasets.base import Dataset, DatasetError, SampleT, Source


class Mixture(Source[SampleT]):
    """Several data sets as one, each as often as its weight says.

    Args:
        datasets: The data sets to mix; the samples of all must be of one kind.
        weights: How often the samples of each data set occur. With 1 each occurs once, with 4
            four times, and with 0.5 every second one occurs. An empty list is 1 for each.
    """

    def __init__(self, datasets: Sequence[Source[SampleT]], weights: Sequence[float] = ()) -> None:
        weights = weights or [1.0] * len(datasets)
        if not datasets or len(weights) != len(datasets):
            raise DatasetError(
                f'the mixture has {len(datasets)} data sets and {len(weights)} weights; give at '
                'least one data set, and a weight for each or none'
            )
        if min(weights) <= 0:
            raise DatasetError(f'a weight of the mixture is {min(weights)}; it must be positive')
        self.datasets = datasets
        self.name = ' + '.join(dataset.name for dataset in datasets)
        self.counts = [
            round(weight * len(dataset)) for weight, dataset in zip(weights, datasets, strict=True)
        ]
        self.ends = list(accumulate(self.counts))

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, index: int) -> SampleT:
        """Read one sample; those of the first data set come first.

        Raises:
            IndexError: There is no such sample.
            DatasetError: The sample cannot be read.
        """
        dataset, own = self._locate(index)
        return dataset[own]

    def files(self, index: int) -> Mapping[str, Path]:
        """The files of one sample; empty where its data set does not tell them."""
        dataset, own = self._locate(index)
        return dataset.files(own) if isinstance(dataset, (Dataset, Mixture)) else {}

    def _locate(self, index: int) -> tuple[Source[SampleT], int]:
        """The data set of a sample, and the sample's index in it."""
        if not -len(self) <= index < len(self):
            raise IndexError(f'sample {index} of {len(self)}')
        index %= len(self)
        which = bisect(self.ends, index)
        dataset, count = self.datasets[which], self.counts[which]
        return dataset, (index - self.ends[which] + count) * len(dataset) // count
