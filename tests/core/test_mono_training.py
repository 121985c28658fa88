"""Losses of single images against their formulas, and training by them."""

import json

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('accelerate')
pytest.importorskip('jsonargparse')

from accelerate.state import AcceleratorState  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from tiny_training import TinyImages, TinyMono, TinyPairs, TinyStereo  # noqa: E402
from tiny_training import settings as tiny_settings  # noqa: E402

from nndepth_core import cli  # noqa: E402
from nndepth_core.config.training import read_run  # noqa: E402
from nndepth_core.data.synthetic.procedural import ProceduralMono  # noqa: E402
from nndepth_core.spec import ModelSpec  # noqa: E402
from nndepth_core.training import TrainingError  # noqa: E402
from nndepth_core.training.mono import MonoData, MonoTrainer  # noqa: E402
from nndepth_core.training.mono_losses import (  # noqa: E402
    ScaleInvariantLogLoss,
    ScaleShiftInvariantLoss,
    gradient_error,
)


@pytest.fixture(autouse=True)
def _fresh_process():
    """As in a new process: accelerate remembers the first run's precision."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def maps(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) + 0.5


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(0.1, 10), shift=st.floats(-5, 5))
def test_scale_and_shift_cost_nothing(scale, shift):
    truth = maps(2, 1, 16, 24)
    truth[:, :, ::3, ::2] = torch.nan
    prediction = scale * truth.nan_to_num(7.0) + shift
    assert ScaleShiftInvariantLoss()(prediction, truth) < 0.1
    worse = prediction + maps(2, 1, 16, 24, seed=1) * scale
    assert ScaleShiftInvariantLoss()(worse, truth) > 10


def test_scale_shift_invariant_loss_equals_its_formula():
    truth, prediction = maps(1, 1, 4, 6), maps(1, 1, 4, 6, seed=1)
    known = np.ones((4, 6), bool)
    known[1, 2] = False
    truth[0, 0, 1, 2] = torch.nan

    def standard(values):
        values = values[0, 0].numpy().astype(np.float64)
        centred = values - np.sort(values[known])[(known.sum() - 1) // 2]
        return centred / np.abs(centred[known]).mean()

    error = np.nan_to_num(standard(prediction) - standard(truth))
    errors = np.sort(np.abs(error[known]))
    expected = errors[: round(23 * 0.8)].sum() / (2 * 23)
    for step in (1, 2):
        part, valid = error[::step, ::step], known[::step, ::step]
        across = np.abs(np.diff(part, axis=1))[valid[:, 1:] & valid[:, :-1]].sum()
        down = np.abs(np.diff(part, axis=0))[valid[1:] & valid[:-1]].sum()
        expected += 0.5 * (across + down) / valid.sum()
    found = ScaleShiftInvariantLoss(scales=2)(prediction, truth)
    assert found.item() == pytest.approx(23 * expected, rel=1e-5)


@settings(max_examples=20, deadline=None)
@given(factor=st.floats(0.2, 5))
def test_a_common_factor_costs_what_its_weight_says(factor):
    truth = maps(1, 1, 8, 8)
    found = ScaleInvariantLogLoss(0.15)(factor * truth, truth) / 64
    assert found.item() == pytest.approx(10 * np.sqrt(0.15) * abs(np.log(factor)), abs=1e-3)


def test_edges_of_logarithms_cost_what_their_weight_says():
    truth, prediction = maps(1, 1, 4, 6), maps(1, 1, 4, 6, seed=1)
    truth[0, 0, 1, 2] = torch.nan
    losses = [ScaleInvariantLogLoss(gradients=w, scales=2)(prediction, truth) for w in (0.0, 2.0)]
    known = truth[0, 0].isfinite()
    error = (prediction / truth)[0, 0].log().nan_to_num()
    edges = gradient_error(error, known) + gradient_error(error[::2, ::2], known[::2, ::2])
    torch.testing.assert_close(losses[1] - losses[0], 23 * 2.0 * edges)


def test_images_count_by_their_valid_pixels():
    truth, prediction = maps(2, 1, 8, 8), maps(2, 1, 8, 8, seed=1)
    truth[1, :, 2:] = torch.nan
    for loss in (ScaleInvariantLogLoss(), ScaleShiftInvariantLoss()):
        parts = [loss(prediction[k : k + 1], truth[k : k + 1]) for k in (0, 1)]
        torch.testing.assert_close(loss(prediction, truth), sum(parts))


def test_images_without_truth_cost_nothing_and_have_a_gradient():
    prediction = maps(2, 1, 8, 8).requires_grad_()
    loss = ScaleShiftInvariantLoss()(prediction, torch.full((2, 1, 8, 8), torch.nan))
    loss.backward()
    assert loss == 0
    assert not prediction.grad.any()


def test_constant_predictions_have_finite_gradients():
    prediction = torch.ones(1, 1, 8, 8, requires_grad=True)
    for loss in (ScaleInvariantLogLoss(), ScaleShiftInvariantLoss()):
        loss(prediction, maps(1, 1, 8, 8)).backward()
        assert prediction.grad.isfinite().all()


def test_gradients_across_unknown_pixels_do_not_count():
    error = torch.tensor([[0.0, 5.0, 0.0]])
    assert gradient_error(error, torch.tensor([[True, False, True]])) == 0


class Inverse(TinyMono):
    spec = ModelSpec('tiny_inverse', inputs=('image',), output='inverse_depth', value_range=None)


def train(folder, network, data, **changes):
    trainer = MonoTrainer(**tiny_settings(folder, **changes))
    trainer.train(network, data)
    lines = (folder / 'metrics.jsonl').read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_training_lowers_the_error(tmp_path):
    torch.manual_seed(0)
    data = MonoData(TinyImages(), TinyImages(4), batch_size=4, workers=0)
    network = TinyMono()
    network.layer.bias.data += 1
    rows = train(tmp_path, network, data, max_steps=60, validate_every=30, learning_rate=0.05)
    errors = [row['validation/abs_rel'] for row in rows if 'validation/abs_rel' in row]
    assert errors[-1] < 0.1
    assert (tmp_path / 'weights.safetensors').is_file()
    assert list((tmp_path / 'pictures').rglob('*.png'))


def test_training_for_inverse_depth_turns_bright_to_near(tmp_path):
    """The truth is the brightness, so that the weights must become negative."""
    network = Inverse()
    network.layer.weight.data += 0.1
    data = MonoData(TinyImages(), batch_size=4, workers=0)
    train(tmp_path, network, data, max_steps=40, learning_rate=0.05)
    assert (network.layer.weight < 0).all()


def test_pairs_are_refused(tmp_path):
    words = 'the samples of data.train have no depth; give a data set of images'
    with pytest.raises(TrainingError, match=words):
        train(tmp_path, TinyMono(), MonoData(TinyPairs(), batch_size=2, workers=0))


class RelativeImages(TinyImages):
    meaning = 'relative_inverse'


@pytest.mark.parametrize(
    ('network', 'data', 'words'),
    [
        (TinyStereo, MonoData(TinyImages()), 'takes left, right; MonoTrainer trains networks'),
        (TinyMono, MonoData(RelativeImages()), r'data\.train, tiny images, has relative_inverse'),
        (
            Inverse,
            MonoData(RelativeImages(), RelativeImages()),
            r'data\.validation, .* give one of metric depth, or none',
        ),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, network, data, words):
    with pytest.raises(TrainingError, match=words):
        MonoTrainer(**tiny_settings(tmp_path)).train(network(), data)


INVERSE = torch.tensor([[[[2.0, torch.nan, torch.nan]]]])


def test_truth_that_is_inverse_depth_already_is_learned_as_it_is(tmp_path):
    depth = torch.tensor([[[[0.5, 100.0, torch.nan]]]])
    for images, expected in ((RelativeImages(), depth), (TinyImages(), INVERSE)):
        folder = tmp_path / images.name / type(images).__name__
        trainer = MonoTrainer(**tiny_settings(folder, max_steps=1))
        trainer.train(Inverse(), MonoData(images, batch_size=2, workers=0))
        torch.testing.assert_close(trainer.target({'depth': depth}), expected, equal_nan=True)


class Focal(TinyMono):
    spec = ModelSpec('tiny_focal', inputs=('image',), output='depth', canonical_focal=300.0)


def test_truth_is_that_of_a_camera_with_the_focal_length_of_the_network(tmp_path):
    trainer = MonoTrainer(**tiny_settings(tmp_path / 'known', max_steps=1))
    images = ProceduralMono((16, 24), 4, seed=1)
    trainer.train(Focal(), MonoData(images, images, batch_size=2, workers=0))
    focal = torch.tensor([100.0, 600.0]).view(2, 1, 1, 1)
    target = trainer.target({'depth': torch.full((2, 1, 4, 6), 7.0), 'focal': focal})
    torch.testing.assert_close(target[:, 0, 0, 0], torch.tensor([21.0, 3.5]))
    with pytest.raises(TrainingError, match='tiny_focal learns from images of known cameras'):
        train(tmp_path / 'unknown', Focal(), MonoData(TinyImages(), batch_size=2, workers=0))


@pytest.mark.parametrize(
    ('name', 'loss'),
    [
        ('midas_small', ScaleShiftInvariantLoss),
        ('depth_anything_v2', ScaleShiftInvariantLoss),
        ('nano_mono', ScaleInvariantLogLoss),
    ],
)
def test_networks_have_a_published_training(name, loss):
    run = read_run(['--model', name, '--data.train=ProceduralMono'])
    assert isinstance(run.trainer, MonoTrainer)
    assert isinstance(run.data, MonoData)
    assert isinstance(run.trainer.loss, loss)


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['--data.color=null'], r'data\.color is unknown; MonoData has train, validation'),
        (['--trainer.loss=NanoLoss2'], 'ScaleShiftInvariantLoss, ScaleInvariantLogLoss'),
    ],
)
def test_mistakes_are_named(arguments, words):
    with pytest.raises(TrainingError, match=words):
        read_run(['--model', 'midas_small', '--data.train=ProceduralMono', *arguments])


def test_command_trains_and_evaluates(tmp_path, capsys):
    run = tmp_path / 'run'
    size = '--data.train.init_args.size=[64,96]'
    arguments = ['--model', 'midas_small', '--data.train=ProceduralMono', size]
    arguments += ['--data.batch_size=2', '--data.workers=0', '--trainer.max_steps=2']
    arguments += [f'--trainer.folder={run}', '--trainer.device=cpu', '--trainer.precision=fp32']
    assert cli.main(['train', *arguments]) == 0
    assert 'weights to use' in capsys.readouterr().out
    evaluation = ['evaluate', 'midas_small', '--weights', str(run / 'weights.safetensors')]
    evaluation += ['--data', 'ProceduralMono', '--data.size', '[64,96]', '--data.length', '2']
    assert cli.main(evaluation) == 0
    assert 'AbsRel' in capsys.readouterr().out
