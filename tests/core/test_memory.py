"""Processing sizes that cannot be had."""

from __future__ import annotations

import resource

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nndepth_core.engines import memory
from nndepth_core.engines.memory import (
    available_memory,
    check_processing_size,
    largest_size,
)
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
    with pytest.raises(ValueError, match='enough for 2371x1897; set a smaller') as caught:
        check_processing_size((5000, 4001), (5000, 4001), 600)
    assert '5000x4001 takes at least 12.0 GB of memory and 3.0 GB are free' in str(caught.value)
    assert 'set a smaller processing_size (0: that of the images)' in str(caught.value)


@given(width=st.integers(1, 20000), height=st.integers(1, 20000), pixels=st.floats(-10, 1e9))
def test_the_largest_size_that_fits(width, height, pixels):
    found = largest_size((width, height), pixels)
    assert found[0] * found[1] <= max(0, pixels) * (1 + 1e-9)
    # one column or row more of the same aspect ratio would not fit
    scale = max((found[0] + 1) / width, (found[1] + 1) / height)
    assert width * height * scale**2 >= pixels * (1 - 1e-9)


def test_memory_is_checked_before_the_first_pair_of_a_size_only(monkeypatch):
    estimator = StereoEstimator.load('sgbm')
    image = np.zeros((64, 96, 3), np.uint8)
    estimator(image, image)
    monkeypatch.setattr(memory, 'available_memory', lambda: 0)  # the engine holds all of it
    estimator(image, image)
    with pytest.raises(ValueError, match=r'and 0\.0 GB are free; set a smaller processing_size'):
        estimator(image[1:], image[1:])


def test_refinement_needs_memory_beside_the_model(monkeypatch):
    plain = StereoEstimator.load('sgbm')
    image = np.zeros((64, 96, 3), np.uint8)
    enough = image[..., 0].size * plain.engine.spec.bytes_per_pixel
    monkeypatch.setattr(memory, 'available_memory', lambda: enough)
    plain(image, image)
    with pytest.raises(ValueError, match='set a smaller processing_size'):
        StereoEstimator(plain.engine, refine=True)(image, image)


@pytest.fixture
def system(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, '_PROC', tmp_path / 'proc')
    monkeypatch.setattr(memory, '_CGROUP', tmp_path)

    def write(**files: str) -> None:
        for name, text in files.items():
            path = tmp_path / name.replace('__', '/').replace('_DOT_', '.')
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


def test_the_least_of_system_and_container_counts(system):
    assert available_memory() is None
    system(proc__meminfo='MemTotal: 9 kB\nMemAvailable:    2000000 kB\n')
    assert available_memory() == 2_048_000_000
    system(memory_DOT_max='max', memory_DOT_current='1', memory_DOT_stat='inactive_file 5\n')
    assert available_memory() == 2_048_000_000
    system(memory_DOT_max='1000', memory_DOT_current='400')
    assert available_memory() == 605


def test_the_older_control_groups(system):
    system(
        proc__meminfo='MemAvailable: 2000000 kB\n',
        memory__memory_DOT_limit_in_bytes='1000',
        memory__memory_DOT_usage_in_bytes='700',
        memory__memory_DOT_stat='cache 3\ntotal_inactive_file 7\n',
    )
    assert available_memory() == 307


def test_control_groups_within_others(system):
    system(
        proc__meminfo='MemAvailable: 2000000 kB\n',
        proc__self__cgroup='0::/robot/eyes\n',
        memory_DOT_max='max',
        robot__memory_DOT_max='5000',
        robot__memory_DOT_current='1000',
        robot__memory_DOT_stat='inactive_file 0\n',
    )
    assert available_memory() == 4000
    system(
        robot__eyes__memory_DOT_max='700',
        robot__eyes__memory_DOT_current='100',
        robot__eyes__memory_DOT_stat='inactive_file 1\n',
    )
    assert available_memory() == 601


def test_older_control_groups_within_others(system):
    system(
        proc__self__cgroup='9:name=systemd:/\n4:cpu,memory:/robot\n0::/\n',
        memory__robot__memory_DOT_limit_in_bytes='900',
        memory__robot__memory_DOT_usage_in_bytes='300',
        memory__robot__memory_DOT_stat='total_inactive_file 2\n',
    )
    assert available_memory() == 602


def test_the_limit_of_address_space(system, monkeypatch):
    system(proc__meminfo='MemAvailable: 2000000 kB\n', proc__self__status='VmSize:\t 1000 kB\n')
    monkeypatch.setattr(resource, 'getrlimit', lambda _: (3_000_000, 9_000_000))
    assert available_memory() == 3_000_000 - 1_024_000
