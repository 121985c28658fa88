"""Whatever is in a file: an error of the reader's own kind, or a result."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nndepth_core.testing.fuzzing import Target, core_targets, fuzz, report

pytest.importorskip('torch')
pytest.importorskip('safetensors')

TARGETS = core_targets()
FEW = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize('name', TARGETS)
def test_damaged_files_raise_nothing_but_errors_of_ours(name):
    (*_, found) = fuzz(name, TARGETS[name], count=60)
    assert found.inputs == 60
    assert not found.faults


@pytest.mark.parametrize('name', TARGETS)
@FEW
@given(st.binary(max_size=100), st.integers(0, 3), st.integers(0, 400))
def test_so_does_noise_in_whole_files(tmp_path, name, noise, seed, place):
    target = TARGETS[name]
    whole = target.seeds[seed % len(target.seeds)]
    for data in (noise, whole[:place] + noise + whole[place + len(noise) :]):
        try:
            target.read(data, tmp_path)
        except target.errors:
            continue


def test_a_fault_is_found_kept_and_told_once(tmp_path):
    def read(data: bytes, folder: Path) -> None:
        if b'\xff' in data:
            raise KeyError('fault')
        raise ValueError('refused')

    target = Target(read, [bytes(40)], (ValueError,))
    (*_, found) = fuzz('planted', target, count=300, folder=tmp_path)
    ((fault, path),) = found.faults.items()
    assert fault.startswith('KeyError at ')
    assert b'\xff' in Path(path).read_bytes()
    assert [*tmp_path.iterdir()] == [Path(path)]
    assert 0 < found.refused < 300
    assert json.loads(report([found]))[0]['inputs'] == 300
    (*_, again) = fuzz('planted', target, count=300)
    assert again.refused == found.refused


def test_an_input_that_takes_too_long_is_a_fault(monkeypatch):
    def read(data: bytes, folder: Path) -> None:
        while True:
            pass

    monkeypatch.setattr('nndepth_core.testing.fuzzing._SLOW', 1)
    (found,) = fuzz('slow', Target(read, [b'a'], ()), count=1)
    assert next(iter(found.faults)).startswith('_TookTooLongError')
