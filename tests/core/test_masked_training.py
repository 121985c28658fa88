"""Pre-training on pairs, and fine-tuning of what it gives: layers' rates, freezing, pictures."""

import json
from pathlib import Path

import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('accelerate')
pytest.importorskip('jsonargparse')

from accelerate.state import AcceleratorState  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from tiny_training import TinyPairs, TinyStereo  # noqa: E402
from torch import nn  # noqa: E402

from nndepth_core import cli, io  # noqa: E402
from nndepth_core.config.dot_list import as_options  # noqa: E402
from nndepth_core.config.training import read_run  # noqa: E402
from nndepth_core.models.masked_stereo import MaskedStereo  # noqa: E402
from nndepth_core.models.stereo_mae import StereoMae  # noqa: E402
from nndepth_core.training import TrainingError  # noqa: E402
from nndepth_core.training.image_losses import ReconstructionLoss  # noqa: E402
from nndepth_core.training.masked import MaskedTrainer, fill_in  # noqa: E402
from nndepth_core.training.parameters import freeze, parameter_groups  # noqa: E402
from nndepth_core.training.stereo import StereoData  # noqa: E402

CONFIG = Path(__file__).parents[2] / 'config'
PRETRAINING = str(CONFIG / 'pretraining/stereo_mae.yaml')
FEW = {'decoder_width': 16, 'decoder_layers': 1, 'decoder_heads': 2}


@pytest.fixture(autouse=True)
def _fresh_process():
    """As in a new process: accelerate remembers the first run's precision."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def masked(**settings):
    torch.manual_seed(0)
    return MaskedStereo(size='tiny', patch=(8, 8), image=(16, 24), **FEW, **settings)


def trainer(folder, **settings):
    few = {'max_steps': 2, 'device': 'cpu', 'precision': 'fp32', 'pictures': 1}
    return MaskedTrainer(folder=folder, **{**few, **settings})


def test_pretrains_and_draws(tmp_path):
    data = StereoData(TinyPairs(4), TinyPairs(2), batch_size=2, workers=0)
    loss = ReconstructionLoss(mse=1, ssim=0.1)
    weights = trainer(tmp_path / 'run', loss=loss).train(masked(), data)
    rows = [json.loads(x) for x in (tmp_path / 'run/metrics.jsonl').read_text().splitlines()]
    assert any(0 < row.get('validation/mse', 0) < 2 for row in rows)
    picture = io.read_image(tmp_path / 'run/pictures/validation_0_00000002.png')
    assert picture.shape == (4 * (16 + 16), 2 * 24, 3)  # four pictures of each view, with titles
    assert load_file(weights).keys() == masked().state_dict().keys()


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    data = StereoData(TinyPairs(4), None, batch_size=2, workers=0)
    settings = {'schedule': 'constant', 'warmup': 0.0, 'save_every': 1}
    whole = load_file(trainer(tmp_path / 'whole', **settings).train(masked(), data))
    trainer(tmp_path / 'parts', max_steps=1, **settings).train(masked(), data)
    parts = load_file(trainer(tmp_path / 'parts', resume=True, **settings).train(masked(), data))
    for name, value in whole.items():
        assert torch.equal(value, parts[name]), name


def test_loss_is_the_mean_over_images_and_counts_them(tmp_path):
    data = StereoData(TinyPairs(4), None, batch_size=2, workers=0)
    own = trainer(tmp_path)
    own.start(masked(), data, '')
    batch = next(data.batches(0))
    assert own.count_targets(batch) == 4
    torch.manual_seed(7)
    total = own.compute_loss(batch)
    torch.manual_seed(7)
    result = own.network(batch['left'].float(), batch['right'].float())
    expected = torch.zeros(())
    for side in ('left', 'right'):
        hidden = getattr(result, f'{side}_removed').repeat_interleave(8, 2).repeat_interleave(8, 3)
        error = (getattr(result, side) - batch[side] / 255).square()
        expected += sum(e[h.expand_as(e)].mean() for e, h in zip(error, hidden, strict=True))
    torch.testing.assert_close(total, expected)
    before = own.network.encoder.positions.clone()
    own.train_step([batch])
    assert torch.equal(own.network.encoder.positions, before)


def test_pretrains_masked_autoencoders_only(tmp_path):
    with pytest.raises(TrainingError, match='tiny is no masked autoencoder'):
        trainer(tmp_path).train(TinyStereo(), StereoData(TinyPairs(), workers=0))


def test_pairs_that_do_not_fit_are_told_before_the_first_step(tmp_path):
    network = MaskedStereo(size='tiny', patch=(16, 16), image=(16, 32), **FEW)
    data = StereoData(TinyPairs(4), TinyPairs(2), batch_size=2, workers=0)
    with pytest.raises(TrainingError, match='validation sample does not fit: images are 24x16'):
        trainer(tmp_path).train(network, data)
    assert (tmp_path / 'metrics.jsonl').read_text() == ''


@pytest.mark.parametrize('resize', [False, True])
def test_both_views_have_one_size(resize):
    left, right = TinyPairs()[0].left, TinyPairs()[0].right
    with pytest.raises(ValueError, match='left is 24x16 and right 16x16; the images of a pair'):
        fill_in(masked(resize=resize).eval(), left, right[:, :16])


def test_another_network_of_a_resumed_run_is_told(tmp_path, caplog):
    arguments = [f'training.folder={tmp_path}', 'training.batch_size=1', 'training.save_every=1']
    tiny_run(arguments).train()
    changed = ['training.max_steps=2', 'training.resume=true', 'training.log_every=1']
    tiny_run([*arguments, *changed]).train()
    assert 'goes on with another network' not in caplog.text
    tiny_run([*arguments, *changed, 'model.mask_ratio=0.5']).train()
    assert 'another network: model.init_args.mask_ratio was 0.75 and is 0.5' in caplog.text


@torch.no_grad()
def test_filling_in_is_repeatable_and_fits_the_image():
    pair = TinyPairs()[0]
    network = masked(mask_ratio=0.5, resize=True).eval()
    first = fill_in(network, pair.left, pair.right, seed=1)
    assert first.shape == (2, 16, 24, 4)
    assert first[..., 3].mean() == 0.5
    assert (first == fill_in(network, pair.left, pair.right, seed=1)).all()
    assert (first[..., 3] != fill_in(network, pair.left, pair.right, seed=2)[..., 3]).any()
    assert fill_in(network, pair.left[:15], pair.right[:15]).shape == (2, 15, 24, 4)


def tiny_run(arguments):
    """A run as scripts/pretrain_stereo_mae.py reads it, small enough for a test."""
    small = [
        'model.size=tiny', 'model.patch=[8,8]', 'model.image=[32,64]', 'model.decoder_width=16',
        'model.decoder_layers=1', 'model.decoder_heads=2', 'data.train.size=[32,64]',
        'data.train.length=2', 'data.validation.size=[32,64]', 'data.validation.length=1',
        'data.augmentation.crop=[32,64]', 'training.workers=0', 'training.device=cpu',
        'training.max_steps=1', 'training.pictures=0',
    ]  # fmt: skip
    return read_run(['--config', PRETRAINING, *small, *arguments])


def test_dot_lists_and_options_go_together(tmp_path):
    run = tiny_run(
        ['training.batch_size=2', 'model.mask_ratio=0.5', 'training.loss.ssim=0.2',
         '--trainer.loss.mse', '0', '--trainer.folder', str(tmp_path)]
    )  # fmt: skip
    assert (run.data.batch_size, run.model.mask_ratio) == (2, 0.5)
    assert (run.trainer.loss.mse, run.trainer.loss.ssim) == (0, 0.2)
    arguments = ['training.x=1', '--a', 'model.b=1', '--c=1', 'data.d=2', 'other.e=3']
    expected = ['--trainer.x=1', '--a', 'model.b=1', '--c=1', '--data.d=2', 'other.e=3']
    assert as_options(arguments, ()) == expected


@pytest.mark.parametrize(
    ('argument', 'message'),
    [
        ('model.mask_ratio=1.5', '^mask_ratio is 1.5; give a number between 0 and 1'),
        ('model.patch=[24,8]', 'image is 32x64, which patches of 24x8 do not divide'),
        ('training.loss.perceptual=1', '^the perceptual loss needs the weights of VGG-16'),
        ('training.layer_decay=2', '^layer_decay is 2.0; give more than 0, at most 1'),
        ('model.decoder_heads=3', '^decoder_width is .* multiple of the heads and of 4, such as'),
        ('model.decoder_width=0', '^decoder_width is 0 and decoder_heads'),
        ('model.decoder_layers=0', '^decoder_layers is 0; give at least 1'),
        ('model.mask_ration=1', 'mask_ration is unknown; MaskedStereo has size'),
    ],
)
def test_bad_settings_get_one_sentence(argument, message):
    with pytest.raises(ValueError, match=message):
        tiny_run([argument])


def test_fine_tunes_what_was_pretrained(tmp_path, capsys):
    pretraining = tiny_run([f'training.folder={tmp_path}/pre', 'training.batch_size=1'])
    weights = pretraining.train()
    tuned = [
        '--model', 'StereoMae', '--model.size', 'tiny', '--model.patch', '[8, 8]',
        '--model.image', '[32, 64]', '--model.early', 'true', '--model.hidden', '16',
        '--model.gru_levels', '1', '--data', f'{CONFIG}/data/procedural.yaml',
        '--data.train.size', '[32, 64]', '--data.train.length', '1', '--data.validation', 'null',
        '--data.augmentation', 'null', '--data.batch_size', '1', '--data.workers', '0',
        '--trainer', f'{CONFIG}/training/stereo_mae_raft.yaml',
        '--trainer.encoder', str(weights),
        '--trainer.freeze', '[encoder]', '--trainer.iterations', '1', '--trainer.max_steps', '1',
        '--trainer.device', 'cpu', '--trainer.folder', str(tmp_path / 'tuned'),
    ]  # fmt: skip
    tuned_weights = load_file(read_run(tuned).train())
    for name, value in load_file(weights).items():
        if name.startswith('encoder.'):
            assert torch.equal(tuned_weights[name], value), name
    left, right = TinyPairs()[0].left, TinyPairs()[0].right
    for name, image in (('left', left), ('right', right)):
        io.write_image(tmp_path / f'{name}.png', image)
    pair = [str(tmp_path / f'{name}.png') for name in ('left', 'right')]
    show = ['mae', 'show', str(weights), *pair, '--output', str(tmp_path / 'mae.png')]
    assert cli.main([*show, '--set', 'mask_ratio=0.5']) == 0
    assert '50% of the patches removed, tube masks' in capsys.readouterr().out
    assert io.read_image(tmp_path / 'mae.png').shape[1] == 48
    assert cli.main([*show[:-1], pair[1]]) == 2
    assert (
        'right.png is an image to read; give another file by --output' in capsys.readouterr().err
    )
    assert cli.main([*show, '--set', 'patch=[16, 16]']) == 2
    assert 'its patches have 8x8 pixels' in capsys.readouterr().err
    [checkpoint] = (tmp_path / 'pre' / 'checkpoints').glob('step_*/weights.safetensors')
    [best] = (tmp_path / 'pre' / 'best').iterdir()
    for file in (checkpoint, best):
        assert cli.main([*show[:2], str(file), *show[3:]]) == 0
    assert cli.main([*show[:2], str(tmp_path / 'tuned' / 'weights.safetensors'), *show[3:]]) == 2
    assert 'is of a run of StereoMae; give the weights of a pre-' in capsys.readouterr().err


def test_layers_nearer_to_the_image_learn_more_slowly():
    network = StereoMae(size='tiny', patch=(8, 8), image=(32, 64), early=True, hidden=16)
    groups = parameter_groups(network, 0.5)
    scales = {id(p): group['scale'] for group in groups for p in group['params']}
    named = dict(network.named_parameters())
    expected = {
        'flow_head.0.weight': 1,
        'encoder.norm.weight': 1,
        'encoder.blocks.11.mlp.0.weight': 0.5,
        'encoder.blocks.0.mlp.0.weight': 0.5**12,
        'encoder.patches.weight': 0.5**13,
        'encoder.class_token': 0.5**13,
    }
    assert {name: scales[id(named[name])] for name in expected} == expected
    assert id(named['encoder.positions']) not in scales
    assert groups[0]['scale'] == 1  # whose rate is logged
    [everything] = parameter_groups(network, 1.0)
    assert len(everything['params']) == len(named) - 1
    with pytest.raises(TrainingError, match='the network has no encoder with blocks'):
        parameter_groups(nn.Linear(1, 1), 0.5)


def test_parts_are_frozen_by_name():
    network = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    freeze(network, ['0'])
    assert [p.requires_grad for p in network.parameters()] == [False, False, True, True]
    with pytest.raises(TrainingError, match=r"freeze names 'x', .*; it has 0, 1"):
        freeze(network, ['x'])
    with pytest.raises(TrainingError, match='leaves nothing to learn'):
        freeze(network, ['1'])
