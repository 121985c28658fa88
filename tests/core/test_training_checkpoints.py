"""Checkpoints: whole or not there, the right ones kept, others refused."""

import os
import resource

import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('accelerate')
pytest.importorskip('jsonargparse')

from accelerate.state import AcceleratorState  # noqa: E402
from killed import killed_while_writing  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from tiny_training import TinyStereo, make_data, network, settings  # noqa: E402

from nndepth_core.training import TrainingError, checkpoints  # noqa: E402
from nndepth_core.training.checkpoints import (  # noqa: E402
    latest_checkpoint,
    load_state,
    save_best,
    save_checkpoint,
    save_weights,
)
from nndepth_core.training.stereo import StereoTrainer  # noqa: E402
from nndepth_core.weights.checkpoint import CheckpointError  # noqa: E402


@pytest.fixture(autouse=True)
def _fresh_process():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def small_disk():
    """Files cannot grow beyond 64 KiB, which fails like a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def weights(value, size=3):
    return {'layer.weight': torch.full((size,), float(value))}


def train(folder, model=None, **changes):
    StereoTrainer(**settings(folder, **changes)).train(model or network(), make_data())


def test_what_is_saved_comes_back(tmp_path):
    state = {
        'step': 3,
        'optimizer': {'state': {0: {'exp_avg': torch.arange(3.0)}}, 'x': [1, None]},
    }
    path = save_checkpoint(tmp_path, 3, weights(5), state, keep=1)
    assert path == tmp_path / 'step_00000003'
    assert torch.equal(
        load_file(path / 'weights.safetensors')['layer.weight'], torch.full((3,), 5.0)
    )
    loaded = load_state(path)
    average = loaded['optimizer']['state'][0].pop('exp_avg')
    assert torch.equal(average, torch.arange(3.0))
    assert loaded == {'step': 3, 'optimizer': {'state': {0: {}}, 'x': [1, None]}}


def test_the_latest_are_kept(tmp_path):
    assert latest_checkpoint(tmp_path) is None
    for step in (5, 10, 20, 100):
        save_checkpoint(tmp_path, step, weights(step), {}, keep=2)
    assert {path.name for path in tmp_path.iterdir()} == {'step_00000020', 'step_00000100'}
    assert latest_checkpoint(tmp_path).name == 'step_00000100'


def test_leftovers_of_a_kill_are_no_checkpoints_and_vanish(tmp_path):
    leftover = killed_while_writing(tmp_path / 'step_00000007')
    assert [path.name for path in leftover.iterdir()] == ['state.pt']
    assert latest_checkpoint(tmp_path) is None
    save_checkpoint(tmp_path, 7, weights(1), {}, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ['step_00000007']


def test_a_full_disk_leaves_the_previous_checkpoint_whole(tmp_path, small_disk):
    save_checkpoint(tmp_path, 1, weights(1), {'step': 1}, keep=1)
    for large in ({'weights': weights(2, 1 << 16), 'state': {}}, {'weights': weights(2)}):
        state = large.get('state', {'momentum': torch.zeros(1 << 16)})
        with pytest.raises(
            CheckpointError, match=r'step_00000002 cannot be saved \(File too large'
        ):
            save_checkpoint(tmp_path, 2, large['weights'], state, keep=1)
        assert [path.name for path in tmp_path.iterdir()] == ['step_00000001']
        assert load_state(latest_checkpoint(tmp_path)) == {'step': 1}
    save_weights(tmp_path / 'w.safetensors', weights(1))
    with pytest.raises(CheckpointError, match='cannot be saved'):
        save_weights(tmp_path / 'w.safetensors', weights(2, 1 << 16))
    assert torch.equal(load_file(tmp_path / 'w.safetensors')['layer.weight'], torch.ones(3))


def test_training_goes_on_after_the_disk_was_full(tmp_path, monkeypatch):
    train(tmp_path / 'whole')

    def full(path, content, write=checkpoints._write):
        first = tmp_path / 'full' / 'checkpoints' / 'step_00000003'
        if first.exists() and path.name == 'state.pt':
            raise OSError(28, os.strerror(28))
        write(path, content)

    monkeypatch.setattr(checkpoints, '_write', full)
    with pytest.raises(CheckpointError, match='No space left on device'):
        train(tmp_path / 'full')
    monkeypatch.undo()
    train(tmp_path / 'full', resume=True)
    ends = (tmp_path / name / 'weights.safetensors' for name in ('whole', 'full'))
    first, second = (path.read_bytes() for path in ends)
    assert first == second


def test_a_state_that_would_run_code_is_refused(tmp_path):
    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / 'harm'),)

    path = save_checkpoint(tmp_path, 1, weights(1), {'step': Harmful()}, keep=1)
    with pytest.raises(CheckpointError, match='no whole training state'):
        load_state(path)
    assert not (tmp_path / 'harm').exists()


@pytest.mark.parametrize('content', [b'', b'PK\x03\x04 cut', None])
def test_a_damaged_state_is_refused(tmp_path, content):
    path = save_checkpoint(tmp_path, 1, weights(1), {'step': 1}, keep=1)
    if content is None:
        (path / 'state.pt').unlink()
    else:
        (path / 'state.pt').write_bytes(content)
    with pytest.raises(CheckpointError, match=r'remove .*step_00000001 to go on'):
        load_state(path)


def test_the_best_are_kept_in_order(tmp_path):
    values = [0.5, 0.3, 10.0, 0.4, 0.2, 0.25]
    firsts = [
        save_best(tmp_path, 'bad_1', value, step, weights(value), keep=2)
        for step, value in enumerate(values)
    ]
    assert firsts == [True, True, False, False, True, False]
    assert {path.name for path in tmp_path.iterdir()} == {
        'bad_1_0.20000_step_00000004.safetensors',
        'bad_1_0.25000_step_00000005.safetensors',
    }
    # the same step again, as after a resume
    assert save_best(tmp_path, 'bad_1', 0.2, 4, weights(0.2), keep=2)
    assert save_best(tmp_path, 'bad_1', 0.19, 4, weights(0.19), keep=2)
    assert {path.name for path in tmp_path.iterdir()} == {
        'bad_1_0.19000_step_00000004.safetensors',
        'bad_1_0.25000_step_00000005.safetensors',
    }


def test_a_run_is_not_overwritten(tmp_path):
    train(tmp_path, max_steps=3)
    with pytest.raises(TrainingError, match=r'holds a run already \(step_00000003\).*resume'):
        train(tmp_path)


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    train(tmp_path, max_steps=3)
    before = {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()}
    with pytest.raises(CheckpointError, match=r'weights\.safetensors.*not one of tiny-base'):
        train(tmp_path, TinyStereo(width=4), resume=True)
    with pytest.raises(CheckpointError, match='not one of tiny-base'):
        train(tmp_path / 'b', TinyStereo(width=4), weights=tmp_path / 'weights.safetensors')
    assert before == {path: path.read_bytes() for path in before}


def test_fine_tuning_begins_with_the_weights(tmp_path):
    train(tmp_path / 'a', max_steps=3)
    trained = load_file(tmp_path / 'a' / 'weights.safetensors')
    train(
        tmp_path / 'b',
        TinyStereo(),
        max_steps=1,
        learning_rate=1e-9,
        weights=tmp_path / 'a' / 'weights.safetensors',
    )
    tuned = load_file(tmp_path / 'b' / 'weights.safetensors')
    torch.testing.assert_close(
        tuned['layers.0.weight'], trained['layers.0.weight'], rtol=0, atol=1e-7
    )
