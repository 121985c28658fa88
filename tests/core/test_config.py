"""Configurations: files, the command line over them, and what is said of wrong ones."""

import re
from pathlib import Path

import pytest
import yaml

torch = pytest.importorskip('torch')
pytest.importorskip('accelerate')
pytest.importorskip('jsonargparse')

from nndepth_core import cli  # noqa: E402
from nndepth_core.config.recipes import find_recipe  # noqa: E402
from nndepth_core.config.training import (  # noqa: E402
    class_yaml,
    known_classes,
    read_run,
)
from nndepth_core.data.synthetic.procedural import ProceduralMono, ProceduralStereo  # noqa: E402
from nndepth_core.files.yaml_mapping import read_mapping  # noqa: E402
from nndepth_core.models.light_stereo import LightStereo  # noqa: E402
from nndepth_core.models.raft_stereo import RaftStereo  # noqa: E402
from nndepth_core.training import TrainingError  # noqa: E402
from nndepth_core.training.losses import MultiScaleLoss, SequenceLoss  # noqa: E402
from nndepth_core.training.nano_loss import NanoLoss  # noqa: E402
from nndepth_core.training.stereo import StereoTrainer  # noqa: E402

CONFIG = Path(__file__).parents[2] / 'config'
LIGHT = CONFIG / 'model' / 'light_stereo.yaml'
PROCEDURAL = CONFIG / 'data' / 'procedural.yaml'
FILES = [f'--model={LIGHT}', f'--data={PROCEDURAL}', f'--trainer={CONFIG}/training/quick.yaml']
NOTE = '# The number of optimiser steps of the run. (type: int, default: 100000)'
LOSSES = {
    'raft_stereo': SequenceLoss,
    'nano_stereo': NanoLoss,
    'light_stereo': MultiScaleLoss,
}


def read(*arguments, files=FILES):
    return read_run([*map(str, files), *arguments])


def test_three_files_make_a_run():
    run = read()
    assert isinstance(run.model, LightStereo)
    assert run.model.spec.variant == 's'
    assert run.data.train == ProceduralStereo((384, 640))
    assert run.data.validation.seed == 1
    assert run.data.augmentation.crop == (320, 512)
    assert isinstance(run.trainer, StereoTrainer)
    assert run.trainer.max_steps == 200


def test_command_line_wins_over_files():
    run = read(
        '--trainer.max_steps', '1000', '--data.batch_size=3', '--data.train.length', '7',
        '--data.augmentation.crop', '[64, 96]', '--model.expansion', '8',
        '--trainer.loss', 'SequenceLoss', '--trainer.loss.gamma', '0.5',
    )  # fmt: skip
    assert run.trainer.max_steps == 1000
    assert run.trainer.learning_rate == 5e-4
    assert (run.data.batch_size, len(run.data.train)) == (3, 7)
    assert run.data.augmentation.crop == (64, 96)
    assert run.model.spec.variant == 'custom'
    assert isinstance(run.trainer.loss, SequenceLoss)
    assert run.trainer.loss.gamma == 0.5


def test_one_file_that_names_the_others(tmp_path):
    (tmp_path / 'light.yaml').write_text(LIGHT.read_text())
    text = f'model: light.yaml\ndata: {PROCEDURAL}\ntrainer: {{class_path: StereoTrainer}}\n'
    (tmp_path / 'run.yaml').write_text(text)
    run = read('--trainer.seed', '3', files=['--config', tmp_path / 'run.yaml'])
    assert (run.model.spec.variant, run.trainer.seed, run.data.batch_size) == ('s', 3, 8)


def test_printed_configuration_describes_the_same_run(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        read('--trainer.max_steps', '17', '--trainer.loss', 'SequenceLoss', '--print_config')
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert f'    {NOTE}\n    max_steps: 17\n' in text
    (tmp_path / 'run.yaml').write_text(text)
    run = read(files=['--config', tmp_path / 'run.yaml'])
    assert run.text == text
    assert run.trainer.max_steps == 17


def test_random_weights_follow_from_the_seed():
    first, same, other = (
        read('--trainer.seed', seed).model.state_dict()['to_weights.weight'] for seed in '112'
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ('arguments', 'key', 'allowed'),
    [
        (['--trainer.max_step', '3'], 'trainer.max_step is unknown', 'max_steps, learning_rate'),
        (['--trainer.max_steps', 'x'], 'trainer.max_steps', 'expected int, got x'),
        (['--trainer.precision', 'fp8'], 'trainer.precision', "'fp32', 'bf16', 'fp16', got fp8"),
        (['--data.batch_sise', '3'], 'data.batch_sise is unknown', 'augmentation, batch_size'),
        (['--data.augmentation.crob', '3'], 'data.augmentation.crob is unknown', 'crop, scale'),
        (['--data.train.lenght', '3'], 'data.train.lenght is unknown', 'size, length'),
        (['--model.block', '3'], 'model.block is unknown', 'encoder, blocks, expansion'),
        (
            ['--model', 'RaftSterio'],
            'model: RaftSterio is unknown',
            'nano_stereo, raft_stereo',
        ),
        (['--data.train', 'Scenes'], 'data.train: Scenes is unknown', 'SceneFlow'),
        (['--modle', 'x'], '--modle is no argument', '--config, --model, --data, --trainer'),
        (['--trainer', 'absent.yaml'], 'no file absent.yaml', 'give the path'),
        (['--trainer.trackers', '[csv]'], 'trainer.trackers', "'tensorboard', 'wandb', got csv"),
        (['--trainer.accumulation', '0'], 'accumulation is 0', 'at least 1'),
        (['--data.batch_size', '0'], 'batch_size is 0', 'at least 1'),
        (['--model', 'raft_stereo-x'], "no variant 'x'", 'base, realtime, rvc'),
        (['--trainer', 'training/default_model.yaml'], 'has a new name', 'nano_stereo.yaml'),
        (
            ['--trainer.loss', 'KITTI'],
            'trainer.loss: KITTI is unknown',
            'MultiScaleLoss, NanoLoss',
        ),
    ],
)
def test_wrong_arguments_are_named_with_what_is_allowed(arguments, key, allowed):
    with pytest.raises(ValueError, match=re.escape(key)) as error:
        read(*arguments)
    assert allowed in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('part', 'text', 'message'),
    [
        (
            'trainer',
            'class_path: StereoTrainer\ninit_args: {steps: 3}',
            'trainer.steps is unknown',
        ),
        (
            'trainer',
            'class_path: StereoTrainer\nmax_steps: 3',
            'trainer: name a class in class_path, and its settings in init_args',
        ),
        ('trainer', 'max_steps: 3', 'trainer has no class_path'),
        ('model', 'class_path: [', 'is no YAML'),
        ('model', 'RaftStereo', 'holds no names and values'),
        ('model', 'class_path: LightStereo', 'required: encoder, blocks, expansion'),
        ('model', 'class_path: StereoTrainer', 'model'),
        ('data', 'batch_size: 3', 'required: data.train'),
        ('data', 'train: {class_path: SceneFlow}', 'required: root'),
        ('data', 'train: {class_path: SceneFlow, init_args: {root: absent}}', 'no folder absent'),
        ('data', 'trian: {class_path: SceneFlow}', 'data.trian is unknown'),
    ],
)
def test_wrong_files_are_named_with_what_is_allowed(tmp_path, part, text, message):
    (tmp_path / 'wrong.yaml').write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)):
        read(f'--{part}={tmp_path}/wrong.yaml')


def test_a_part_is_no_run():
    with pytest.raises(TrainingError, match=r'describes class_path; a run has model, data'):
        read(files=['--config', LIGHT])


def test_command_line_reports_errors_in_one_line(capsys):
    assert cli.main(['train', *map(str, FILES), '--trainer.max_step', '3']) == 2
    output = capsys.readouterr().err
    assert output.startswith('nndepth: error: trainer.max_step is unknown')
    assert output.count('\n') == 1


def test_yaml_of_a_class():
    settings = yaml.safe_load(class_yaml('RaftStereo'))
    assert settings['class_path'] == 'RaftStereo'
    model = RaftStereo(**settings['init_args'])
    assert model.spec.iterations == settings['init_args']['iterations'] == 32
    text = class_yaml('StereoTrainer')
    assert (
        '  # The number of optimiser steps of the run. (type: int, default: 100000)\n  max_steps: '
        in text
    )
    assert "Literal['auto', 'fp32', 'bf16', 'fp16']" in text


@pytest.mark.parametrize('name', sorted(known_classes()))
def test_every_setting_of_every_class_has_a_comment(name):
    lines = class_yaml(name).splitlines()
    entry = re.compile(r' {4}\w+: [\d.]+$')  # of a mapping, whose comment speaks of all of them
    keys = [
        n for n, line in enumerate(lines) if re.match(r' *\w+:', line) and not entry.match(line)
    ]
    assert keys
    for key in keys:
        if lines[key].strip() not in (f'class_path: {name}', 'init_args:'):
            assert re.match(r' *# ', lines[key - 1]), lines[key]
    assert not re.search(r'# +\(', '\n'.join(lines))  # a comment without a text


def test_yaml_of_a_dotted_path_and_of_nothing():
    path = 'nndepth_core.data.augment.ColorJitter'
    assert yaml.safe_load(class_yaml(path))['init_args']['brightness'] == 0.4
    for wrong in ('Nothing', 'nndepth_core.Nothing', 'nothing.Nothing', ''):
        with pytest.raises(TrainingError, match='is unknown; give its dotted path, or one of'):
            class_yaml(wrong)


@pytest.mark.parametrize(
    'path',
    [
        path
        for path in sorted((CONFIG / 'training').glob('*.yaml'))
        if 'MonoTrainer' not in path.read_text()  # these are in test_mono_training
    ],
    ids=lambda p: p.stem,
)
def test_published_training_settings_are_settings(path):
    model = CONFIG / 'model' / path.name.replace('_raft', '')
    run = read(*([f'--model={model}'] if model.exists() else []), f'--trainer={path}')
    # dcvnet is not iterative, but its authors too take the L1 of its results
    in_sequence = run.model.spec.iterations > 0 or run.model.spec.name == 'dcvnet'
    assert in_sequence == isinstance(run.trainer.loss, SequenceLoss)


@pytest.mark.parametrize(
    'name', ['raft_stereo', 'raft_stereo-rvc', 'nano_stereo', 'light_stereo-m']
)
def test_a_networks_name_is_enough(name):
    network, _, variant = name.partition('-')
    run = read(f'--model={name}', files=FILES[1:2])
    assert run.model.spec.name == network
    assert run.model.spec.variant == (variant or next(iter(run.model.variants)))
    assert run.trainer.folder == Path('runs') / network
    assert type(run.trainer.loss) is LOSSES[network]


def test_settings_win_over_the_published_training():
    run = read('--model', 'raft_stereo', '--trainer.max_steps', '3', files=FILES[1:2])
    assert (run.trainer.max_steps, run.trainer.iterations) == (3, 22)
    run = read('--model', 'igev_stereo')
    assert (run.trainer.max_steps, run.trainer.iterations) == (200, 0)
    assert run.trainer.loss.start_weight == 1
    run = read('--model', 'igev_stereo', '--trainer.loss.start_weight', '0')
    assert run.trainer.loss.start_weight == 0


def test_a_variant_has_its_own_published_training_first(tmp_path):
    package, share = tmp_path / 'lib/python3/site-packages/nndepth_core', tmp_path / 'share'
    folder = share / 'nndepth/config/training'
    folder.mkdir(parents=True)
    assert find_recipe('raft_stereo-rvc', package) is None
    (folder / 'raft_stereo.yaml').touch()
    assert find_recipe('raft_stereo-rvc', package) == folder / 'raft_stereo.yaml'
    (folder / 'raft_stereo-rvc.yaml').touch()
    assert find_recipe('raft_stereo-rvc', package) == folder / 'raft_stereo-rvc.yaml'
    assert find_recipe('raft_stereo', package) == folder / 'raft_stereo.yaml'


@pytest.mark.parametrize('path', sorted((CONFIG / 'data').glob('*.yaml')), ids=lambda p: p.stem)
def test_published_data_settings_name_real_ones(path):
    """All is right with them up to the folders, which are not here."""
    if path.stem in ('procedural', 'default_model'):
        read(f'--data={path}')
    elif path.stem == 'nano_mono':
        run = read_run(['--model', 'nano_mono', f'--data={path}'])
        assert run.data.train == ProceduralMono((384, 512), seed=1)
    else:
        with pytest.raises(ValueError, match=r'there is no folder data/'):
            read(f'--data={path}')


@pytest.mark.parametrize('path', sorted((CONFIG / 'model').glob('*.yaml')), ids=lambda p: p.stem)
def test_models_are_published_variants(path):
    run = read(f'--model={path}')
    assert run.model.spec.name == path.stem
    assert run.model.spec.variant in run.model.variants


@pytest.mark.parametrize(
    'path', ['', '.', 'a..b', 'os.path', 'math.pi', 'builtins.len', 'x.y', '..']
)
def test_what_is_no_class_is_refused(path):
    with pytest.raises(TrainingError, match=f'class {path!r} is unknown.*StereoTrainer'):
        class_yaml(path)


def test_classes_of_modules_that_fail_say_why(tmp_path, monkeypatch):
    (tmp_path / 'failing.py').write_text('1 / 0')
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TrainingError, match='division by zero'):
        class_yaml('failing.Class')


@pytest.mark.parametrize('text', ['a: ' + '[' * 5000, 'a: 2021-99-99', '{[1]: 2}'])
def test_odd_yaml_is_refused(tmp_path, text):
    (tmp_path / 'a.yaml').write_text(text)
    with pytest.raises(ValueError, match=r'a\.yaml is'):
        read_mapping(tmp_path / 'a.yaml')


def test_a_network_of_one_image_cannot_be_trained_on_pairs_and_says_so(tmp_path):
    pairs = ['--data', 'data/default_model.yaml']
    with pytest.raises(TrainingError, match='MonoAugmentation has crop, scale, flip, color'):
        read_run(['--model', 'midas_small', '--data', str(CONFIG / pairs[1])])
    with pytest.raises(TrainingError, match='no published training of depth_anything_v1 is known'):
        read_run(['--model', 'depth_anything_v1', '--data.train=ProceduralMono'])
    files = [str(CONFIG / part) for part in (pairs[1], 'training/quick.yaml')]
    arguments = ['--model', 'midas_small', '--data', files[0], '--trainer', files[1]]
    run = read_run([*arguments, '--trainer.folder', str(tmp_path), '--trainer.device', 'cpu'])
    assert run.model.spec.variant == 'base'
    with pytest.raises(TrainingError, match='midas_small is a mono network'):
        run.train()
