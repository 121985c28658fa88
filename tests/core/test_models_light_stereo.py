"""LightStereo against the official implementation, and what its parts promise."""

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from fill import load_golden  # noqa: E402
from probe import every, official_state, run_recorded  # noqa: E402

from nndepth_core.blocks.cost_volume import (  # noqa: E402
    correlation_volume,
    peak_mass,
    soft_argmin,
)
from nndepth_core.engines.optimize.folding import fold_batch_norms  # noqa: E402
from nndepth_core.models import create_model  # noqa: E402
from nndepth_core.weights import CheckpointError, load_official  # noqa: E402

VARIANTS = ('s', 'm', 'l', 'h')


@pytest.fixture(scope='module', params=VARIANTS)
def run(request):
    return run_recorded('light_stereo', request.param)


def test_equals_official_intermediates(run):
    inputs, outputs = run.seen.inputs, run.seen.outputs
    quarter, _, _, coarsest = outputs['encoder'][0]
    matching, eighth, sixteenth = outputs['pyramid'][0]
    found = {
        'c2_left': quarter[:1],
        'f32_left': coarsest[:1],
        'f4_left': matching[:1],
        'f4_right': matching[1:],
        'f8_left': eighth[:1],
        'f16_left': sixteenth[:1],
        'corr_volume': inputs['aggregation'][0][0],
        'agg_att0': inputs['aggregation.shrink.1'][0][0],
        'agg_att2': inputs['aggregation.shrink.2'][0][0],
        'agg_att4': inputs['aggregation.up.1'][0][0],
        'agg_out': outputs['aggregation'][0],
        'refine_1': outputs['guide_quarter'][0],
        'refine_2': outputs['join_guides'][0],
        'refine_3': outputs['to_weights'][0],
    }
    for name, (channels, pixels) in run.facts['steps'].items():
        values = every(found[name], channels)[..., ::pixels, ::pixels]
        np.testing.assert_allclose(values, run.arrays[name], rtol=1e-4, atol=2e-4, err_msg=name)


def test_confidence_lies_between_zero_and_one(run):
    assert run.confidence.shape == run.disparity.shape
    assert 0 <= run.confidence.min() <= run.confidence.max() <= 1 + 1e-6


@torch.inference_mode()
def test_batch_equals_single_pairs():
    model = create_model('light_stereo', 's')
    facts, _ = load_golden('light_stereo_s')
    load_official(model, official_state(facts))
    left, right = torch.rand(2, 2, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 255
    both = model(left, right)
    for index in range(2):
        single = model(left[index : index + 1], right[index : index + 1])
        torch.testing.assert_close(both[index : index + 1], single, rtol=0, atol=1e-3)


@torch.inference_mode()
def test_folding_batch_norms_changes_nothing_but_rounding():
    facts, arrays = load_golden('light_stereo_s')
    model = create_model('light_stereo', 's')
    load_official(model, official_state(facts))
    fold_batch_norms(model)
    assert not [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    disparity = model(*(torch.from_numpy(arrays[side]).float() for side in ('left', 'right')))
    np.testing.assert_allclose(disparity, arrays['output'], rtol=0, atol=facts['tolerance'])


def test_train_mode_gives_coarse_and_final_prediction_with_gradients():
    model = create_model('light_stereo', 's').train()
    left, right = torch.rand(2, 2, 3, 64, 96) * 255
    coarse, final = model(left, right)
    assert coarse.shape == final.shape == (2, 1, 64, 96)
    (coarse.mean() + final.mean()).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert not without


def test_refuses_weights_of_another_variant():
    facts, _ = load_golden('light_stereo_m')
    with pytest.raises(CheckpointError, match='light_stereo-m'):
        load_official(create_model('light_stereo', 's'), official_state(facts))


def test_accepts_the_stereo_anything_layout():
    facts, _ = load_golden('light_stereo_s')
    moved = ('backbone.fpn', 'backbone.out_conv')
    state = {
        name.replace('backbone', 'neck') if name.startswith(moved) else name: value
        for name, value in official_state(facts).items()
    }
    model = create_model('light_stereo', 's')
    load_official(model, state)
    loaded = model.pyramid.to_matching[0].weight
    torch.testing.assert_close(loaded, official_state(facts)['backbone.out_conv.block.0.weight'])


@pytest.mark.parametrize(
    ('shape', 'message'),
    [((1, 3, 64, 100), 'multiples of 32'), ((1, 3, 0, 64), 'at least'), ((1, 1, 64, 64), 'RGB')],
)
def test_refuses_images_it_cannot_process(shape, message):
    model = create_model('light_stereo', 's')
    with pytest.raises(ValueError, match=message):
        model(torch.zeros(shape), torch.zeros(shape))


@pytest.mark.parametrize(('width', 'bins', 'groups'), [(7, 3, 1), (12, 4, 2), (5, 8, 1)])
def test_correlation_volume_equals_its_definition(width, bins, groups):
    left, right = torch.randn(2, 2, 6, 3, width, generator=torch.Generator().manual_seed(0))
    volume = correlation_volume(left, right, bins, groups)
    expected = torch.zeros(2, groups, bins, 3, width)
    for x in range(width):
        for d in range(min(bins, x + 1)):
            product = left[..., x] * right[..., x - d]
            expected[:, :, d, :, x] = product.unflatten(1, (groups, -1)).mean(2)
    torch.testing.assert_close(volume, expected)


def test_soft_argmax_of_a_sharp_and_of_a_double_peak():
    logits = torch.zeros(1, 10, 1, 2)
    logits[0, 7, 0, 0] = 100
    logits[0, [1, 9], 0, 1] = 100
    disparity = soft_argmin(logits)
    torch.testing.assert_close(disparity.flatten(), torch.tensor([7.0, 5.0]))
    confidence = peak_mass(logits, disparity)
    torch.testing.assert_close(confidence.flatten(), torch.tensor([1.0, 0.0]))
