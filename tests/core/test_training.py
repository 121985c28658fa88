"""Training: what a step does, and that killing, resuming and splitting it changes nothing."""

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('accelerate')
pytest.importorskip('jsonargparse')

from accelerate.state import AcceleratorState  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from tiny_training import (  # noqa: E402
    TinyImages,
    TinyMono,
    TinyPairs,
    TinyStereo,
    make_data,
    network,
    settings,
)

from nndepth_core.data.augment import MonoAugmentation  # noqa: E402
from nndepth_core.data.datasets import DatasetError, Mixture  # noqa: E402
from nndepth_core.data.loader import TrainingData  # noqa: E402
from nndepth_core.files.writing import remove_at_once  # noqa: E402
from nndepth_core.training import TrainingError  # noqa: E402
from nndepth_core.training.checkpoints import latest_checkpoint, load_state  # noqa: E402
from nndepth_core.training.processes import lost_process_named  # noqa: E402
from nndepth_core.training.stereo import StereoTrainer  # noqa: E402
from nndepth_core.training.trainer import BaseTrainer  # noqa: E402

PROGRAM = Path(__file__).with_name('tiny_training.py')


@pytest.fixture(autouse=True)
def _fresh_process():
    """As in a new process: accelerate remembers the first run's precision."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    AcceleratorState._reset_state(reset_partial_state=True)


def train(folder, data=None, trainer_class=StereoTrainer, **changes):
    trainer = trainer_class(**settings(folder, **changes))
    trainer.train(network(), data or make_data())
    return trainer


def run_program(folder, rank=None, port=0, **changes):
    """Start a training process, one of two if it has a rank."""
    environment = {}
    if rank is not None:
        names = ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT')
        values = (rank, rank, 2, '127.0.0.1', port)
        environment = {name: str(value) for name, value in zip(names, values, strict=True)}
    return start([sys.executable], folder, changes, environment)


def run_machine(folder, machine, port, **changes):
    """Start one of two machines of a run as the documentation says, with one process each."""
    options = ['--num_machines', '2', '--machine_rank', machine, '--num_processes', '2']
    options += ['--main_process_ip', '127.0.0.1', '--main_process_port', port]
    launch = [sys.executable, '-m', 'accelerate.commands.launch', '--multi_gpu', *options]
    return start(list(map(str, launch)), folder, changes)


def start(command, folder, changes, environment=None):
    root = str(PROGRAM.parents[2])
    path = os.pathsep.join([root, os.environ.get('PYTHONPATH', '')])
    return subprocess.Popen(
        [*command, str(PROGRAM), str(folder), json.dumps(changes)],
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': path, **(environment or {})},
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def figures(folder):
    """Lines of the log, but for the speed."""
    lines = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
    return [{k: v for k, v in line.items() if 'per_second' not in k} for line in lines]


def best_of(folder):
    return {path.name: path.read_bytes() for path in (folder / 'best').iterdir()}


def assert_same(state, other, exactly=True):
    tolerance = {} if exactly else {'atol': 1e-6, 'rtol': 1e-5}
    assert state.keys() == other.keys()
    for name, value in state.items():
        if exactly:
            assert torch.equal(value, other[name]), name
        else:
            torch.testing.assert_close(value, other[name], **tolerance)


def test_killed_and_resumed_run_equals_an_uninterrupted_one(tmp_path):
    data = make_data(validation=TinyPairs(3))
    changes = {
        'ema_decay': 0.9,
        'norm_batches': 2,
        'max_steps': 11,
        'log_every': 1,
        'validate_every': 2,
    }
    train(tmp_path / 'whole', data, **changes)
    for death in ({'die_in_step': 4}, {'die_in_save': 9}):
        child = run_program(tmp_path / 'killed', resume=True, validation=3, **changes, **death)
        _, errors = child.communicate(timeout=120)
        assert child.returncode == -signal.SIGKILL, errors
    assert latest_checkpoint(tmp_path / 'killed/checkpoints').name == 'step_00000006'
    AcceleratorState._reset_state(reset_partial_state=True)
    train(tmp_path / 'killed', data, resume=True, **changes)

    whole, killed = (tmp_path / name / 'checkpoints/step_00000011' for name in ('whole', 'killed'))
    assert (whole / 'weights.safetensors').read_bytes() == (
        killed / 'weights.safetensors'
    ).read_bytes()
    expected, resumed = load_state(whole), load_state(killed)
    assert_same(expected['network'], resumed['network'])
    for index, entry in expected['optimizer']['state'].items():
        assert_same(entry, resumed['optimizer']['state'][index])
    assert figures(tmp_path / 'killed') == figures(tmp_path / 'whole')
    assert best_of(tmp_path / 'killed') == best_of(tmp_path / 'whole')
    assert not list((tmp_path / 'killed/checkpoints').glob('.*'))


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    train(tmp_path)
    before = (tmp_path / 'weights.safetensors').read_bytes(), figures(tmp_path)
    train(tmp_path, resume=True)
    assert before == ((tmp_path / 'weights.safetensors').read_bytes(), figures(tmp_path))


def test_two_processes_equal_one_with_twice_the_batch(tmp_path):
    port, shared = free_port(), {'batch_norm': 'frozen', 'log_every': 1}
    children = [
        run_program(tmp_path / 'two', rank, port, validation=3, **shared) for rank in range(2)
    ]
    for child in children:
        _, errors = child.communicate(timeout=120)
        assert child.returncode == 0, errors
    train(tmp_path / 'one', make_data(batch_size=4, validation=TinyPairs(3)), **shared)
    one, two = (load_file(tmp_path / name / 'weights.safetensors') for name in ('one', 'two'))
    assert_same(one, two, exactly=False)
    assert not torch.equal(one['layers.0.weight'], network().state_dict()['layers.0.weight'])
    for line, other in zip(figures(tmp_path / 'one'), figures(tmp_path / 'two'), strict=True):
        assert line == pytest.approx(other, rel=1e-4)


def test_two_machines_without_a_common_folder_equal_one_and_survive_a_death(tmp_path):
    changes = {'validation': 3, 'ema_decay': 0.9, 'norm_batches': 2, 'log_every': 1}
    port = free_port()
    one = [run_program(tmp_path / 'one', rank, port, **changes) for rank in range(2)]
    for child in one:
        _, errors = child.communicate(timeout=120)
        assert child.returncode == 0, errors

    changes['resume'] = True
    for dies in (True, False):
        port = free_port()
        machines = [
            run_machine(tmp_path / f'machine{rank}', rank, port, **changes, **death)
            for rank, death in enumerate(({}, {'die_in_step': 4} if dies else {}))
        ]
        for machine in machines:
            _, errors = machine.communicate(timeout=120)
            assert (machine.returncode != 0) == dies, errors
        if dies:
            made = latest_checkpoint(tmp_path / 'machine0/checkpoints')
            assert made.name == 'step_00000003'
    whole, resumed = (
        tmp_path / name / 'checkpoints/step_00000008' for name in ('one', 'machine0')
    )
    expected = (whole / 'weights.safetensors').read_bytes()
    assert (resumed / 'weights.safetensors').read_bytes() == expected
    assert_same(load_state(whole)['network'], load_state(resumed)['network'])
    assert figures(tmp_path / 'machine0') == figures(tmp_path / 'one')
    assert list((tmp_path / 'machine1').iterdir()) == []


def test_processes_with_other_settings_are_refused(tmp_path):
    port = free_port()
    programs = [
        run_program(tmp_path / f'of{rank}', rank, port, validation=1, max_steps=3, **{name: value})
        for rank, (name, value) in enumerate((('seed', 0), ('learning_rate', 0.1)))
    ]
    for program in programs:
        _, errors = program.communicate(timeout=120)
        assert program.returncode != 0
        assert 'trainer.learning_rate is not set in the first process and 0.1 in' in errors
    assert not (tmp_path / 'of0/metrics.jsonl').exists()


@pytest.mark.parametrize(
    ('error', 'named'),
    [
        (torch.distributed.DistNetworkError('no answer'), True),
        (RuntimeError('[/src/gloo/tcp/pair.cc:5] Connection reset by peer'), True),
        (RuntimeError('shapes differ'), False),
    ],
)
def test_a_lost_process_is_named(error, named):
    with (
        pytest.raises(
            (RuntimeError, ValueError), match='resume on all machines' if named else 'shapes'
        ),
        lost_process_named(),
    ):
        raise error


def test_weights_spread_over_processes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv('ACCELERATE_USE_FSDP', 'true')
    with pytest.raises(TrainingError, match=r'use FSDP.* launch with --multi_gpu instead'):
        train(tmp_path)


@pytest.mark.parametrize('ema_decay', [0.0, 0.9])
def test_statistics_of_batch_norms_are_those_of_the_saved_weights(tmp_path, ema_decay):
    data = make_data()
    train(tmp_path, data, ema_decay=ema_decay, norm_batches=3)
    saved = load_file(tmp_path / 'weights.safetensors')
    first = network().layers[0]
    first.load_state_dict({name: saved[f'layers.0.{name}'] for name in ('weight', 'bias')})
    means, variances = [], []
    for _, batch in zip(range(3), data.batches(start=8), strict=False):
        with torch.no_grad():
            seen = first(torch.cat((batch['left'], batch['right']), 1) / 255)
        means.append(seen.mean((0, 2, 3)))
        variances.append(seen.var((0, 2, 3)))
    for name, values in (('running_mean', means), ('running_var', variances)):
        expected = torch.stack(values).mean(0)
        torch.testing.assert_close(saved[f'layers.1.{name}'], expected, rtol=1e-4, atol=1e-6)


def test_accumulation_equals_a_larger_batch(tmp_path):
    train(tmp_path / 'large', make_data(batch_size=4), batch_norm='frozen')
    train(tmp_path / 'parts', make_data(batch_size=2), batch_norm='frozen', accumulation=2)
    large, parts = (load_file(tmp_path / x / 'weights.safetensors') for x in ('large', 'parts'))
    assert_same(large, parts, exactly=False)


def test_it_learns(tmp_path):
    train(tmp_path, make_data(validation=TinyPairs(4), batch_size=4), max_steps=60)
    epe = [line['validation/epe'] for line in figures(tmp_path) if 'validation/epe' in line]
    assert epe[-1] < 0.6 * epe[0]
    assert len(list((tmp_path / 'pictures').iterdir())) == 4 * 15


class TinyMonoTrainer(BaseTrainer):
    """The least that a trainer of another task needs."""

    def count_targets(self, batch):
        return int(batch['depth'].isfinite().sum())

    def run_network(self, network, batch):
        return [network(batch['image'].float())]

    def compute_loss(self, batch):
        [depth] = self.run_network(self.model, batch)
        errors = (depth - batch['depth'].nan_to_num()).abs()
        return errors[batch['depth'].isfinite()].sum()

    def predict(self, sample):
        image = torch.from_numpy(sample.image).permute(2, 0, 1)[None].float()
        return self.evaluated(image)[0, 0].numpy()

    def measure(self, prediction, sample):
        return {'error': float(np.nanmean(np.abs(prediction - sample.depth)))}

    def draw(self, prediction, sample):
        return sample.image


def test_depth_of_single_images_is_learned_too(tmp_path):
    data = TrainingData(
        Mixture([TinyImages(4), TinyImages(8)]),
        TinyImages(4),
        MonoAugmentation((16, 24), color=None),
        batch_size=4,
        workers=0,
    )
    changes = {'max_steps': 60, 'validate_every': 20, 'metric': 'error', 'learning_rate': 0.1}
    TinyMonoTrainer(**settings(tmp_path, **changes)).train(TinyMono(), data)
    lines = figures(tmp_path)
    errors = [x['validation/error'] for x in lines if 'validation/error' in x]
    assert len(errors) == 3
    assert errors[-1] < 0.3
    assert len(list((tmp_path / 'pictures').iterdir())) == 3 * 4


def test_runs_of_earlier_versions_can_be_resumed(tmp_path):
    """The names and types in a checkpoint and in the log, on which resuming relies."""
    train(tmp_path, max_steps=3, ema_decay=0.9)
    state = load_state(tmp_path / 'checkpoints/step_00000003')
    assert state.keys() == {'step', 'skipped', 'data', 'optimizer', 'scaler', 'network'}
    assert (state['step'], state['skipped'], state['scaler']) == (3, 0, None)
    assert state['data'] == [0, 2, 1, 12]
    assert state['network'].keys() == network().state_dict().keys()
    assert state['optimizer'].keys() == {'state', 'param_groups'}
    rows = [set(line) for line in figures(tmp_path)]
    assert (
        rows
        == [{'step', *(f'train/{x}' for x in ('loss', 'learning_rate', 'skipped_samples'))}] * 2
    )


class RenamedStereo(TinyStereo):
    """Had other names in an earlier version."""

    official_rules = ((r'^layers', 'earlier'),)


def test_runs_of_a_network_with_earlier_names_can_be_resumed(tmp_path):
    for name in ('whole', 'earlier'):
        torch.manual_seed(1)
        trainer = StereoTrainer(**settings(tmp_path / name, max_steps=6, ema_decay=0.9))
        trainer.train(RenamedStereo(), make_data())
    checkpoints = tmp_path / 'earlier/checkpoints'
    remove_at_once(checkpoints / 'step_00000006')
    state = load_state(checkpoints / 'step_00000003')
    weights = load_file(checkpoints / 'step_00000003/weights.safetensors')
    old, state['network'] = (
        {name.replace('layers', 'earlier'): value for name, value in entries.items()}
        for entries in (weights, state['network'])
    )
    torch.save(state, checkpoints / 'step_00000003/state.pt')
    save_file(old, checkpoints / 'step_00000003/weights.safetensors')
    trainer = StereoTrainer(**settings(tmp_path / 'earlier', max_steps=6, ema_decay=0.9))
    trainer.resume = True
    trainer.train(RenamedStereo(), make_data())
    ends = [tmp_path / name / 'weights.safetensors' for name in ('whole', 'earlier')]
    assert ends[0].read_bytes() == ends[1].read_bytes()


def test_best_weights_are_kept(tmp_path):
    train(
        tmp_path, make_data(validation=TinyPairs(3)), max_steps=12, keep_best=2, validate_every=2
    )
    lines = [line for line in figures(tmp_path) if 'validation/epe' in line]
    best = sorted(lines, key=lambda line: line['validation/epe'])[:2]
    names = [f'epe_{x["validation/epe"]:.5f}_step_{x["step"]:08d}.safetensors' for x in best]
    assert {path.name for path in (tmp_path / 'best').iterdir()} == set(names)
    assert (tmp_path / 'best' / names[0]).read_bytes() == (
        tmp_path / 'weights.safetensors'
    ).read_bytes()


class RecordingTrainer(StereoTrainer):
    """Remembers weights and gradients of every step."""

    def train_step(self, passes):
        loss = super().train_step(passes)
        self.history = [*getattr(self, 'history', []), self.snapshot()]
        return loss

    def snapshot(self):
        weights = {k: v.detach().clone() for k, v in self.network.named_parameters()}
        used = [p for p in self.network.parameters() if p.grad is not None]
        gradients = torch.cat([p.grad.flatten() for p in used])
        return weights, gradients


def test_running_average_of_the_weights(tmp_path):
    trainer = train(tmp_path, trainer_class=RecordingTrainer, ema_decay=0.75, max_steps=5)
    average = trainer.history[0][0]
    for weights, _ in trainer.history[1:]:
        average = {name: 0.75 * average[name] + 0.25 * weights[name] for name in weights}
    saved = load_file(tmp_path / 'weights.safetensors')
    assert_same(average, {name: saved[name] for name in average}, exactly=False)


@pytest.mark.parametrize(('limit', 'norm'), [('clip_norm', 2), ('clip_value', float('inf'))])
def test_gradients_are_clipped(tmp_path, limit, norm):
    free = {'clip_norm': 0.0, 'clip_value': 0.0, 'max_steps': 3}
    for folder, changes in (('free', free), ('clipped', {**free, limit: 0.01})):
        trainer = train(tmp_path / folder, trainer_class=RecordingTrainer, **changes)
        largest = max(torch.linalg.vector_norm(g, norm) for _, g in trainer.history)
        assert (largest <= 0.01 + 1e-6) == (folder == 'clipped')


def test_frozen_batch_norm(tmp_path):
    fresh = network().state_dict()
    for mode in ('frozen', 'train'):
        train(tmp_path / mode, batch_norm=mode, max_steps=3)
        weights = load_file(tmp_path / mode / 'weights.safetensors')
        kept = torch.equal(weights['layers.1.running_mean'], fresh['layers.1.running_mean'])
        assert kept == (mode == 'frozen')
        assert not torch.equal(weights['layers.1.weight'], fresh['layers.1.weight'])


def test_learning_rate_follows_the_schedule(tmp_path):
    train(tmp_path, log_every=1, schedule='cosine', warmup=0.0, learning_rate=0.1)
    rates = [line['train/learning_rate'] for line in figures(tmp_path) if 'train/loss' in line]
    assert rates == pytest.approx([0.05 * (1 + np.cos(np.pi * k / 8)) for k in range(8)])
    assert all(later < earlier for earlier, later in pairwise(rates))


def test_mixed_precision(tmp_path):
    trainer = train(tmp_path, precision='bf16', max_steps=3)
    assert all(p.dtype == torch.float32 for p in trainer.network.parameters())
    assert all(np.isfinite(line['train/loss']) for line in figures(tmp_path))
    with pytest.raises(TrainingError, match='fp16 needs a GPU'):
        train(tmp_path / 'other', precision='fp16')


@pytest.mark.parametrize(
    ('flags', 'precision', 'why'),
    [
        ('fma avx avx2', 'fp32', 'the CPU (no amx_bf16 or avx512_bf16 or bf16) does not compute'),
        ('avx2 avx512f avx512_vnni', 'fp32', 'does not compute in bf16'),
        ('avx2 avx512f avx512_bf16', 'bf16', 'the CPU (avx512_bf16) computes in bf16'),
        ('avx512_bf16 amx_tile amx_bf16', 'bf16', 'the CPU (amx_bf16) computes in bf16'),
        ('fp asimd svebf16', 'fp32', 'does not compute in bf16'),
        ('fp asimd bf16', 'bf16', 'the CPU (bf16) computes in bf16'),
    ],
)
def test_precision_follows_the_processor(tmp_path, caplog, monkeypatch, flags, precision, why):
    monkeypatch.setattr('nndepth_core.training.precision._cpu_flags', lambda: set(flags.split()))
    with caplog.at_level('INFO'):
        trainer = train(tmp_path, precision='auto', max_steps=1)
    assert trainer.accelerator.mixed_precision == ('no' if precision == 'fp32' else precision)
    assert f'precision {precision}: ' in caplog.text
    assert why in caplog.text


def test_compiled_steps_are_the_same_steps(tmp_path):
    losses = []
    for compiled in (False, True):
        folder = tmp_path / str(compiled)
        train(folder, compile=compiled, max_steps=4, log_every=1)
        losses.append([line['train/loss'] for line in figures(folder) if 'train/loss' in line])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert losses[0][-1] < losses[0][0]


def test_infinite_loss_stops_and_keeps_the_batch(tmp_path):
    class Diverging(StereoTrainer):
        def compute_loss(self, batch):
            return super().compute_loss(batch) * (torch.nan if self.step == 4 else 1)

    data = make_data()
    with pytest.raises(TrainingError, match=r'loss of step 4 is nan.*failed_step_4_0\.npz'):
        train(tmp_path, data, Diverging)
    failed = np.load(tmp_path / 'failed_step_4_0.npz')
    batch = next(data.batches(seed=0, start=4))
    assert failed['names'].tolist() == batch['names']
    for name in ('left', 'right', 'disparity'):
        np.testing.assert_array_equal(failed[f'{name}_0'], batch[name])
    assert latest_checkpoint(tmp_path / 'checkpoints').name == 'step_00000003'


@pytest.mark.parametrize(
    'error',
    [
        torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2 GiB'),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
)
def test_out_of_memory_names_the_batch_size(tmp_path, error):
    class Greedy(StereoTrainer):
        def compute_loss(self, batch):
            raise error

    with pytest.raises(TrainingError, match=r'2 samples of 24x16.*batch_size'):
        train(tmp_path, trainer_class=Greedy)


def test_other_runtime_errors_pass(tmp_path):
    class Broken(StereoTrainer):
        def compute_loss(self, batch):
            raise RuntimeError('shapes differ')

    with pytest.raises(RuntimeError, match='shapes differ'):
        train(tmp_path, trainer_class=Broken)


def test_unreadable_samples_are_counted_or_refused(tmp_path, caplog):
    data = make_data(train=TinyPairs(6, broken=(2, 3)))
    train(tmp_path / 'lenient', data, max_steps=6, log_every=1)
    # six steps of two are two epochs, in each of which both broken samples are skipped, sample 2
    # by way of sample 3
    assert figures(tmp_path / 'lenient')[-1]['train/skipped_samples'] == 6
    assert 'tiny, sample 2: cut short' in caplog.text
    with pytest.raises(DatasetError, match='cut short'):
        train(tmp_path / 'strict', make_data(train=data.train, strict=True))


def test_trackers(tmp_path):
    train(tmp_path, make_data(validation=TinyPairs(2)), trackers=['tensorboard'])
    assert list(tmp_path.rglob('events.out.tfevents*'))
    assert [line['step'] for line in figures(tmp_path)] == [2, 4, 4, 6, 8, 8]
    with pytest.raises(TrainingError, match='pip install absent'):
        train(tmp_path / 'other', trackers=['absent'])


def test_samples_without_any_known_pixel(tmp_path):
    class Unknown(TinyPairs):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            sample.disparity[:] = np.nan
            return sample

    before = network().state_dict()
    train(tmp_path / 'train', make_data(train=Unknown()), weight_decay=0.0, max_steps=2)
    weights = load_file(tmp_path / 'train' / 'weights.safetensors')
    assert torch.equal(weights['layers.0.weight'], before['layers.0.weight'])
    with pytest.raises(TrainingError, match='ground truth is known'):
        train(tmp_path / 'validate', make_data(validation=Unknown()))


def test_wrong_settings(tmp_path):
    with pytest.raises(TrainingError, match='accumulation is 0'):
        StereoTrainer(folder=tmp_path, accumulation=0)
    with pytest.raises(TrainingError, match=r'trainer\.metric is speed; validation gives epe'):
        train(tmp_path, make_data(validation=TinyPairs(2)), metric='speed')


def test_validation_pads_images_of_any_size(tmp_path):
    trainer = train(tmp_path, max_steps=1)
    sample = TinyPairs()[0]
    cut = type(sample)(sample.left[:13, :21], sample.right[:13, :21], sample.disparity[:13, :21])
    trainer.evaluated.eval()
    with torch.no_grad():
        assert trainer.predict(cut).shape == (13, 21)
    assert isinstance(trainer.evaluated, TinyStereo)


def test_single_images_are_no_data_for_stereo_networks(tmp_path):
    with pytest.raises(DatasetError, match='tiny images holds MonoSample objects, no pairs'):
        train(tmp_path, make_data(train=TinyImages()))


def test_truth_that_cannot_be_is_told_before_the_first_step(tmp_path, caplog):
    class Negative(TinyPairs):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return replace(sample, disparity=-2 - sample.disparity)

    data = make_data(train=Negative(), validation=Negative(broken=(0,)))
    train(tmp_path / 'run', data, max_steps=1)
    told = [text for text in caplog.messages if 'truth is negative at 100 %' in text]
    assert [text.split(':')[0] for text in told] == [
        'training sample pair0',
        'validation sample pair6',
    ]
