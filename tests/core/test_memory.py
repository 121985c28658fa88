"""Processing sizes that cannot be had."""

from __future__ import annotations

import numpy as np
import pytest

from nndepth_core.engines import memory
from nndepth_core.engines.memory import available_memory, check_processing_size
from nndepth_core.estimator import StereoEstimator


def test_far_larger_than_the_images_is_refused():
    estimator = StereoEstimator.load('sgbm', processing_size=(16384, 16384))
    image = np.zeros((480, 640, 3), np.uint8)
    with pytest.raises(ValueError, match=r'is 16384x16384 and the images are 640x480; .* smaller'):
        estimator(image, image)


@pytest.mark.parametrize(
    ('size', 'images'), [((2000, 2000), (10, 10)), ((8000, 6000), (4000, 3000))]
)
def test_what_is_allowed(size, images, monkeypatch):
    monkeypatch.setattr(memory, 'available_memory', lambda: None)
    check_processing_size(size, images, 150)
    with pytest.raises(ValueError, match='only cost time and memory'):
        check_processing_size((size[0] + 1, size[1]), images, 150)


def test_more_memory_than_there_is(monkeypatch):
    monkeypatch.setattr(memory, 'available_memory', lambda: 3 * 10**9)
    check_processing_size((5000, 4000), (5000, 4000), 150)
    with pytest.raises(
        ValueError, match=r'5000x4001 takes at least 3\.0 GB of memory and 3\.0 GB'
    ):
        check_processing_size((5000, 4001), (5000, 4001), 150)


def test_memory_is_checked_before_the_first_pair_of_a_size_only(monkeypatch):
    estimator = StereoEstimator.load('sgbm')
    image = np.zeros((64, 96, 3), np.uint8)
    estimator(image, image)
    monkeypatch.setattr(memory, 'available_memory', lambda: 0)  # the engine holds all of it
    estimator(image, image)
    with pytest.raises(ValueError, match=r'and 0\.0 GB are free; set a smaller processing size'):
        estimator(image[1:], image[1:])


@pytest.fixture
def system(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, '_MEMINFO', tmp_path / 'meminfo')
    monkeypatch.setattr(memory, '_CGROUP', tmp_path)

    def write(**files: str) -> None:
        for name, text in files.items():
            path = tmp_path / name.replace('__', '/').replace('_DOT_', '.')
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    return write


def test_the_least_of_system_and_container_counts(system):
    assert available_memory() is None
    system(meminfo='MemTotal: 9 kB\nMemAvailable:    2000000 kB\n')
    assert available_memory() == 2_048_000_000
    system(memory_DOT_max='max', memory_DOT_current='1', memory_DOT_stat='inactive_file 5\n')
    assert available_memory() == 2_048_000_000
    system(memory_DOT_max='1000', memory_DOT_current='400')
    assert available_memory() == 605


def test_the_older_control_groups(system):
    system(
        meminfo='MemAvailable: 2000000 kB\n',
        memory__memory_DOT_limit_in_bytes='1000',
        memory__memory_DOT_usage_in_bytes='700',
        memory__memory_DOT_stat='cache 3\ntotal_inactive_file 7\n',
    )
    assert available_memory() == 307
