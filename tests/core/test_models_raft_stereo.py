"""RAFT-Stereo against the official implementation, and what its iterations promise."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from fill import load_golden  # noqa: E402
from probe import Recording, every, official_state, record  # noqa: E402

from nndepth_core.engines.optimize.folding import fold_batch_norms  # noqa: E402
from nndepth_core.models import create_model  # noqa: E402
from nndepth_core.models.base import StereoNetwork  # noqa: E402
from nndepth_core.weights import load_official  # noqa: E402

# Of the official networks; realtime's has 1788416 more that it never uses.
VARIANTS = ('base', 'realtime', 'rvc')
STEPS = 4


@dataclass
class Run:
    """What a variant gave under the golden weights, and what it should have given."""

    model: StereoNetwork
    facts: dict[str, Any]
    arrays: dict[str, np.ndarray]
    images: list[torch.Tensor]
    disparity: torch.Tensor
    confidence: torch.Tensor
    seen: Recording


@pytest.fixture(scope='module', params=VARIANTS)
def run(request):
    facts, arrays = load_golden(f'raft_stereo_{request.param}')
    model = create_model('raft_stereo', request.param)
    load_official(model, official_state(facts))
    images = [torch.from_numpy(arrays[side]) for side in ('left', 'right')]
    with record(model) as seen, torch.inference_mode():
        disparity, confidence = model(*images, STEPS, confidence=True)
    return Run(model, facts, arrays, images, disparity, confidence, seen)


def test_equals_official_intermediates(run):
    put, got = run.seen.inputs, run.seen.outputs
    trunk = got['context.trunk'][0]
    states, contexts = got['context'][0]
    left, right = got['shared_matching' if 'shared_matching' in got else 'matching']
    found = {
        'fnet_layer3_left': got['matching.0'][0] if 'matching' in got else None,
        'backbone_layer3_left': trunk,
        'cnet_layer3': trunk,
        'fmap_left': left,
        'fmap_right': right,
        'corr_lookup_iter_1': put['motion'][0][0],
        'corr_lookup_iter_2': put['motion'][1][0],
        'motion_features_iter_1': got['motion'][0],
        'gru08_hidden_iter_1': got['update.grus.0'][0],
        'flow_head_output_iter_1': got['flow_head'][0],
        'mask_final_before_quarter': got['mask_head'][-1],
    }
    for level, (state, context) in enumerate(zip(states, contexts, strict=True)):
        found[f'context_hidden_{level}'] = state
        for gate, part in zip('zrq', context.chunk(3, 1), strict=True):
            found[f'context_bias_{gate}_{level}'] = part
        if level:
            official = f'gru{8 * 2**level}_hidden_first_call'
            found[official] = got[f'update.grus.{level}'][0]
    for name, step in run.facts['steps'].items():
        values = every(found[name], step)
        np.testing.assert_allclose(values, run.arrays[name], rtol=1e-4, atol=1e-4, err_msg=name)


@torch.inference_mode()
def test_correlation_pyramid_equals_official_volume(run):
    *_, pyramid = run.model.encode(*run.images)
    levels = [int(name[-1]) for name in run.arrays if name.startswith('cost_volume_level')]
    for level in levels:
        inner = pyramid[level][..., 0, 1:-1]
        expected = run.arrays[f'cost_volume_level_{level}']
        np.testing.assert_allclose(inner, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_equals_official_predictions_of_every_step(run):
    run.model.training = True  # its norms stay in eval mode, as the goldens were made
    predictions = run.model(*run.images, STEPS)
    run.model.training = False
    assert len(predictions) == STEPS
    for index, prediction in enumerate(predictions[:-1], 1):
        found = prediction[..., ::2, ::2]
        np.testing.assert_allclose(found, run.arrays[f'prediction_{index}'], rtol=0, atol=1e-4)
    np.testing.assert_allclose(predictions[-1], run.arrays['output'], rtol=0, atol=1e-4)


def test_confidence_tells_how_little_the_last_step_moved(run):
    assert run.confidence.shape == run.disparity.shape
    coarse = torch.exp(-run.model.factor * run.seen.outputs['flow_head'][-1][:, :1].abs())
    assert coarse.min() - 1e-6 <= run.confidence.min()
    assert run.confidence.max() <= coarse.max() + 1e-6


def test_repeats_nothing_that_stays_the_same(run):
    calls = {name: len(outputs) for name, outputs in run.seen.outputs.items()}
    assert calls['context'] == calls['mask_head'] == 1
    assert calls['update'] == (2 * STEPS if run.model.slow_fast else STEPS)
    assert calls['update.grus.0'] == calls['flow_head'] == STEPS


@torch.inference_mode()
def test_folding_batch_norms_changes_nothing_but_rounding():
    facts, arrays = load_golden('raft_stereo_base')
    model = create_model('raft_stereo')
    load_official(model, official_state(facts))
    fold_batch_norms(model)
    disparity = model(*(torch.from_numpy(arrays[side]) for side in ('left', 'right')), STEPS)
    np.testing.assert_allclose(disparity, arrays['output'], rtol=0, atol=1e-4)


@torch.inference_mode()
def test_batch_equals_single_pairs():
    model = create_model('raft_stereo')
    left, right = torch.rand(2, 2, 3, 32, 64, generator=torch.Generator().manual_seed(0)) * 255
    both = model(left, right, 2)
    assert both.shape == (2, 1, 32, 64)
    for index in range(2):
        single = model(left[index : index + 1], right[index : index + 1], 2)
        torch.testing.assert_close(both[index : index + 1], single, rtol=0, atol=1e-4)


@pytest.mark.parametrize('variant', VARIANTS)
def test_every_parameter_is_trained(variant):
    model = create_model('raft_stereo', variant).train()
    left, right = torch.rand(2, 1, 3, *model.spec.minimum) * 255
    predictions = model(left, right, 1)
    assert [p.shape for p in predictions] == [(1, 1, *model.spec.minimum)]
    sum(prediction.abs().mean() for prediction in predictions).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]


@torch.inference_mode()
def test_takes_its_own_number_of_iterations_unless_told():
    model = create_model('raft_stereo', 'realtime')
    left, right = torch.rand(2, 1, 3, 32, 128) * 255
    with record(model) as seen:
        model(left, right)
    assert len(seen.outputs['flow_head']) == model.spec.iterations == 7
    assert create_model('raft_stereo').spec.iterations == 32
    with pytest.raises(ValueError, match='at least 1'):
        model(left, right, 0)


@pytest.mark.parametrize(
    ('variant', 'shape', 'message'),
    [
        ('base', (1, 3, 64, 100), 'multiples of 32'),
        ('base', (1, 3, 64, 32), 'at least 64x32'),
        ('realtime', (1, 3, 64, 96), 'at least 128x32'),
        ('base', (1, 1, 64, 64), 'RGB'),
    ],
)
def test_refuses_images_it_cannot_process(variant, shape, message):
    model = create_model('raft_stereo', variant)
    with pytest.raises(ValueError, match=message):
        model(torch.zeros(shape), torch.zeros(shape))


def test_refuses_images_of_the_wrong_type_and_of_two_sizes():
    model = create_model('raft_stereo')
    image = torch.zeros(1, 3, 64, 64)
    with pytest.raises(ValueError, match='uint8'):
        model(image.byte(), image.byte())
    with pytest.raises(ValueError, match='one size'):
        model(image, torch.zeros(1, 3, 64, 96))
