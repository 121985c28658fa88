"""Batches: what they hold follows from the seed and their number alone."""

import os
import signal
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('accelerate')
pytest.importorskip('jsonargparse')

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from tiny_training import HEIGHT, WIDTH, TinyImages, TinyPairs  # noqa: E402

from nndepth_core.data.datasets import DatasetError, Mixture  # noqa: E402
from nndepth_core.data.loader import TrainingData  # noqa: E402
from nndepth_core.training.stereo import StereoData  # noqa: E402


@dataclass
class Crop:
    """A random cut of a size."""

    crop: tuple[int, int]

    def __call__(self, sample, rng):
        y, x = (rng.integers(n - c + 1) for n, c in zip((HEIGHT, WIDTH), self.crop, strict=True))
        part = (slice(y, y + self.crop[0]), slice(x, x + self.crop[1]))
        names = ('left', 'right', 'disparity')
        return replace(sample, **{name: getattr(sample, name)[part] for name in names})


def make(length=10, batch_size=3, **changes):
    return StereoData(TinyPairs(length), batch_size=batch_size, **{'workers': 0, **changes})


def take(data, count, **where):
    return list(islice(data.batches(**where), count))


def assert_equal(batches, others):
    for batch, other in zip(batches, others, strict=True):
        assert batch['names'] == other['names']
        for name in ('left', 'right', 'disparity'):
            np.testing.assert_array_equal(batch[name], other[name])


def test_tensors_are_those_of_the_samples():
    batch = take(make(), 1)[0]
    assert batch['left'].dtype == batch['right'].dtype == torch.uint8
    assert batch['left'].shape == batch['right'].shape == (3, 3, HEIGHT, WIDTH)
    assert batch['disparity'].dtype == torch.float32
    for row, name in enumerate(batch['names']):
        sample = TinyPairs()[int(name.removeprefix('pair'))]
        np.testing.assert_array_equal(batch['left'][row].permute(1, 2, 0), sample.left)
        np.testing.assert_array_equal(batch['right'][row].permute(1, 2, 0), sample.right)
        np.testing.assert_array_equal(batch['disparity'][row, 0], sample.disparity)


def test_single_images_with_depth_make_batches_too():
    images = Mixture([TinyImages(2), TinyImages(3)])
    batch = take(TrainingData(images, batch_size=5, workers=0), 1)[0]
    assert batch.keys() == {'image', 'depth', 'focal', 'names', 'skipped'}
    assert batch['focal'].isnan().all()  # the cameras are unknown
    assert batch['focal'].shape == (5, 1, 1, 1)
    assert batch['image'].dtype == torch.uint8
    for row, name in enumerate(batch['names']):
        sample = TinyImages()[int(name.removeprefix('image'))]
        np.testing.assert_array_equal(batch['image'][row].permute(1, 2, 0), sample.image)
        np.testing.assert_array_equal(batch['depth'][row, 0], sample.depth)


def test_every_epoch_has_every_sample_in_a_new_order():
    names = [name for batch in take(make(9), 6) for name in batch['names']]
    first, second = names[:9], names[9:]
    assert sorted(first) == sorted(second) == sorted(f'pair{k}' for k in range(9))
    assert first != second
    other = [name for batch in take(make(9), 3, seed=1) for name in batch['names']]
    assert other != first


@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 9), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_a_run_can_begin_anywhere(length, batch_size, start, seed):
    data = make(length, batch_size, augmentation=Crop((8, 8)))
    whole = take(data, start + 3, seed=seed)
    assert_equal(take(data, 3, seed=seed, start=start), whole[start:])


@pytest.mark.parametrize('ranks', [2, 3])
def test_processes_share_a_larger_batch(ranks):
    small, large = (make(10, n, augmentation=Crop((8, 8))) for n in (2, 2 * ranks))
    parts = [take(small, 4, rank=rank, ranks=ranks) for rank in range(ranks)]
    joined = [
        {
            'names': [name for part in group for name in part['names']],
            **{n: torch.cat([part[n] for part in group]) for n in ('left', 'right', 'disparity')},
        }
        for group in zip(*parts, strict=True)
    ]
    assert_equal(joined, take(large, 4))


def test_workers_change_nothing():
    alone, helped = (make(augmentation=Crop((8, 8)), workers=n) for n in (0, 2))
    assert_equal(take(alone, 5, start=2), take(helped, 5, start=2))


def test_augmentation_is_new_in_every_epoch():
    data = make(1, 1, augmentation=Crop((8, 8)))
    cuts = {batch['left'].numpy().tobytes() for batch in take(data, 12)}
    assert len(cuts) > 6


def test_repeated_samples_are_read_once_and_augmented_anew(monkeypatch):
    read = []
    monkeypatch.setattr(
        TinyPairs,
        '__getitem__',
        lambda self, k, get=TinyPairs.__getitem__: read.append(k) or get(self, k),
    )
    batches = take(make(repeats=3, batch_size=6, augmentation=Crop((8, 8))), 5)
    names = [name for batch in batches for name in batch['names']]
    assert names[::3] == names[1::3] == names[2::3]
    assert sorted(names[::3]) == sorted(f'pair{k}' for k in range(10))
    assert sorted(read) == list(range(10))
    cuts = torch.cat([batch['left'] for batch in batches]).numpy()
    assert len({cut.tobytes() for cut in cuts}) > 20


@pytest.mark.parametrize('workers', [0, 1])
def test_unreadable_samples_are_replaced_by_the_next(workers):
    data = StereoData(TinyPairs(6, broken=(2, 3)), batch_size=6, workers=workers)
    whole = StereoData(TinyPairs(6), batch_size=6, workers=0)
    batch, expected = take(data, 1)[0], take(whole, 1)[0]['names']
    replaced = [name if name not in ('pair2', 'pair3') else 'pair4' for name in expected]
    assert batch['names'] == replaced
    assert sorted(batch['skipped']) == [
        'tiny, sample 2: cut short',
        *['tiny, sample 3: cut short'] * 2,
    ]


def test_a_repeated_sample_that_cannot_be_read_is_skipped_once():
    data = StereoData(TinyPairs(4, broken=(2,)), batch_size=8, repeats=2, workers=0)
    assert take(data, 1)[0]['skipped'] == ['tiny, sample 2: cut short']


@pytest.mark.parametrize('workers', [0, 1])
def test_unreadable_samples_are_refused_when_strict(workers):
    data = StereoData(TinyPairs(4, broken=(1,)), batch_size=4, workers=workers, strict=True)
    with pytest.raises(DatasetError, match=r'^tiny, sample 1: cut short$'):
        take(data, 1)


def test_nothing_readable():
    data = StereoData(TinyPairs(2, broken=(0, 1)), workers=0)
    with pytest.raises(DatasetError, match='no sample of tiny can be read'):
        take(data, 1)
    with pytest.raises(DatasetError, match='no samples'):
        StereoData(TinyPairs(0))


class Misshapen(TinyPairs):
    """The truth of sample 1 is a row short."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return replace(sample, disparity=sample.disparity[index == 1 :])


def test_a_truth_of_another_size_is_unreadable():
    data = StereoData(Misshapen(3), batch_size=3, workers=0)
    assert take(data, 1)[0]['skipped'] == [
        'pair1: left is 24x16, right is 24x16, disparity is 24x15; all must have one size'
    ]


class Uneven(TinyPairs):
    """Sample 1 is smaller than the others."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        part = slice(4 * (index == 1), None)
        names = ('left', 'right', 'disparity')
        return replace(sample, **{name: getattr(sample, name)[part] for name in names})


@pytest.mark.parametrize('workers', [0, 1])
def test_samples_of_different_sizes_need_a_crop(workers):
    data = StereoData(Uneven(3), batch_size=3, workers=workers)
    with pytest.raises(ValueError, match=r'24x12 and 24x16; give data\.augmentation a crop'):
        take(data, 1)


def test_validation_samples(caplog):
    data = StereoData(TinyPairs(1), TinyPairs(7, broken=(3,)), workers=0)
    names = [sample.name for sample in data.validation_samples()]
    assert names == ['pair0', 'pair1', 'pair2', 'pair4', 'pair5', 'pair6']
    assert 'sample 3: cut short' in caplog.text
    assert [s.name for s in data.validation_samples(limit=3)] == ['pair0', 'pair1', 'pair2']
    parts = [[s.name for s in data.validation_samples(0, rank, 2)] for rank in range(2)]
    assert sorted([*parts[0], *parts[1]]) == names
    with pytest.raises(DatasetError, match='cut short'):
        list(replace(data, strict=True).validation_samples())
    assert list(make().validation_samples()) == []


@pytest.mark.parametrize('name', ['batch_size', 'repeats'])
def test_wrong_counts(name):
    with pytest.raises(ValueError, match=f'{name} is 0; give at least 1'):
        make(**{name: 0})


class KilledPairs(TinyPairs):
    """Its first sample ends the process that reads it, as the system does for want of memory."""

    def __getitem__(self, index):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize('validating', [False, True])
def test_a_killed_worker_is_named(validating):
    data = StereoData(KilledPairs(4), KilledPairs(4), batch_size=1, workers=1)
    batches = data.validation_samples() if validating else data.batches()
    with pytest.raises(DatasetError, match=r'\(process \d+\) was ended.*fewer data.workers'):
        next(batches)
