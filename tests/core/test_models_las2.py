"""Lite Any Stereo against the official implementation, and what its parts promise."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from fill import load_golden  # noqa: E402
from probe import Recording, official_state, record, run_recorded  # noqa: E402

from nndepth_core.blocks.convnext import ConvNextBlock  # noqa: E402
from nndepth_core.blocks.cost_volume import correlation_volume  # noqa: E402
from nndepth_core.blocks.faster import FasterBlock  # noqa: E402
from nndepth_core.blocks.pooled_attention import ChannelAttention, SpatialAttention  # noqa: E402
from nndepth_core.blocks.update import SelectiveGru  # noqa: E402
from nndepth_core.engines.optimize.folding import fold_batch_norms  # noqa: E402
from nndepth_core.engines.optimize.winograd import use_fast_convolutions  # noqa: E402
from nndepth_core.models import create_model  # noqa: E402
from nndepth_core.models.base import StereoNetwork  # noqa: E402
from nndepth_core.weights import CheckpointError, load_official  # noqa: E402

VARIANTS = ('s', 'm', 'l', 'h', 'las1')


def golden_network(variant: str) -> tuple[StereoNetwork, dict[str, Any], list[torch.Tensor]]:
    facts, arrays = load_golden(f'las2_{variant}')
    model = create_model('las2', variant)
    load_official(model, official_state(facts))
    return model, facts, [torch.from_numpy(arrays[side]).float() for side in ('left', 'right')]


@pytest.fixture(scope='module', params=VARIANTS)
def run(request):
    return run_recorded('las2', request.param)


def intermediates(seen: Recording) -> dict[str, torch.Tensor]:
    """What every variant computes, by the names of the golden."""
    put, got = seen.inputs, seen.outputs
    matching, eighth, sixteenth = got['pyramid'][0]
    return {
        'c2_left': got['encoder'][0][0][:1],
        'c5_left': got['encoder'][0][3][:1],
        'f4_left': matching[:1],
        'f4_right': matching[1:],
        'f8_left': eighth[:1],
        'f16_left': sixteenth[:1],
        'agg_att4th': put['aggregation.shrink.1'][0][0],
        'agg_att8th': put['aggregation.shrink.2'][0][0],
        'agg_att16th': put['aggregation.up.1'][0][0],
        'agg_out': got['aggregation'][0],
    }


def feed_forward(seen: Recording) -> dict[str, torch.Tensor]:
    put, got = seen.inputs, seen.outputs
    volume = put['aggregation'][0][0]
    found = {
        'corr_volume': volume,
        'refine_1': got['guide_quarter'][0],
        'refine_2': got['join_guides'][0],
        'upsample_logits': got['to_weights'][0],
    }
    if 'volume_stem' in got:
        stem = put['volume_stem'][0][0]
        found |= {'corr_volume': stem.squeeze(1), 'volume_3d': volume}
    return found


def refinement(seen: Recording) -> dict[str, torch.Tensor]:
    put = {name.removeprefix('refinement.'): calls for name, calls in seen.inputs.items()}
    got = {name.removeprefix('refinement.'): calls for name, calls in seen.outputs.items()}
    return {
        'init_disp': put['motion'][0][1],
        'hidden_0': put['update'][0][0],
        'input_att': got['channel_attention'][0],
        'spatial_att': got['spatial_attention'][0],
        'geo_feat_1': put['motion'][0][0],
        'motion_1': got['motion'][0],
        'mask_feat_last': put['mask'][0][0],
        'upsample_logits': got['mask.to_logits'][0],
        'delta_disp': torch.cat(got['disparity_head'], 1),
    }


def test_equals_official_intermediates(run):
    iterative = run.model.spec.iterations > 0
    found = intermediates(run.seen) | (refinement if iterative else feed_forward)(run.seen)
    missing = run.arrays.keys() - found.keys() - {'left', 'right', 'output'}
    assert missing <= {'gwc_volume', 'init_disp'}  # results of functions, see below
    for name in found.keys() & run.arrays.keys():
        steps = run.facts['steps'][name]
        values = found[name][(slice(None), *(slice(None, None, step) for step in steps))]
        expected = run.arrays[name]
        np.testing.assert_allclose(values, expected, rtol=1e-3, atol=3e-4, err_msg=name)


def test_equals_official_volume_and_first_disparity(run):
    left, right = run.seen.outputs['pyramid'][0][0].chunk(2)
    if 'gwc_volume' in run.arrays:
        volume = correlation_volume(left, right, 48, 8)
        _, groups, bins, rows, columns = (1, *run.facts['steps']['gwc_volume'])
        values = volume[:, ::groups, ::bins, ::rows, ::columns]
        np.testing.assert_allclose(values, run.arrays['gwc_volume'], rtol=1e-4, atol=2e-4)
        return
    probabilities = run.seen.outputs['aggregation'][0].softmax(1)
    first = (probabilities * torch.arange(48.0).view(-1, 1, 1)).sum(1, keepdim=True)
    np.testing.assert_allclose(first, run.arrays['init_disp'], rtol=0, atol=1e-3)


def test_tiled_volume_equals_shifted_products():
    left, right = torch.randn(2, 1, 40, 6, 72, generator=torch.Generator().manual_seed(0))
    expected = torch.zeros(1, 48, 6, 72)
    for shift in range(48):
        products = left[..., shift:] * right[..., : 72 - shift]
        expected[:, shift, :, shift:] = products.mean(1)
    torch.testing.assert_close(correlation_volume(left, right, 48).squeeze(1), expected)


def test_confidence_lies_between_zero_and_one(run):
    assert run.confidence.shape == run.disparity.shape
    assert 0 <= run.confidence.min() < run.confidence.max() <= 1 + 1e-6
    iterative = run.model.spec.iterations > 0
    assert run.model.spec.confidence == ('residual' if iterative else 'softmax_peak')


def test_partial_convolution_leaves_three_quarters_of_the_channels():
    block = FasterBlock(16, 2).eval()
    x = torch.randn(1, 16, 5, 7, generator=torch.Generator().manual_seed(0))
    with record(block) as seen, torch.inference_mode():
        block(x)
    mixed = seen.inputs['expand'][0][0]
    torch.testing.assert_close(mixed[:, 4:], x[:, 4:], rtol=0, atol=0)
    torch.testing.assert_close(mixed[:, :4], block.mix(x[:, :4]))


def test_convnext_block_is_the_identity_at_scale_zero():
    block = ConvNextBlock(8)
    torch.nn.init.zeros_(block.scale)
    x = torch.randn(1, 8, 9, 11)
    torch.testing.assert_close(block(x), x, rtol=0, atol=0)


@torch.inference_mode()
def test_selective_gru_takes_the_kernel_that_the_attention_selects():
    gru = SelectiveGru(8, 16)
    state, x = torch.tanh(torch.randn(1, 8, 6, 6)), torch.randn(1, 16, 6, 6)
    features = torch.relu(gru.from_input(x))
    gates = torch.relu(gru.to_gates(torch.cat([features, state], 1)))
    for share, chosen in ((1.0, gru.small), (0.0, gru.large)):
        found = gru(state, x, torch.full((1, 1, 6, 6), share))
        torch.testing.assert_close(found, chosen(state, features, gates))


@torch.inference_mode()
def test_pooled_attention_weighs_all_alike_without_weights():
    x = torch.randn(2, 8, 5, 5)
    channels, places = ChannelAttention(8, 2), SpatialAttention()
    torch.nn.init.zeros_(channels.gate[2].weight)
    torch.nn.init.zeros_(places.conv.weight)
    torch.testing.assert_close(channels(x), x / 2)
    torch.testing.assert_close(places(x), torch.full((2, 1, 5, 5), 0.5))


@pytest.mark.parametrize('variant', ['s', 'h'])
@torch.inference_mode()
def test_batch_equals_single_pairs(variant):
    model, _, _ = golden_network(variant)
    left, right = torch.rand(2, 2, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 255
    both = model(left, right)
    for index in range(2):
        single = model(left[index : index + 1], right[index : index + 1])
        torch.testing.assert_close(both[index : index + 1], single, rtol=0, atol=2e-3)


@pytest.mark.parametrize('variant', ['s', 'h'])
@torch.inference_mode()
def test_faster_equivalents_change_nothing_but_rounding(variant):
    model, facts, images = golden_network(variant)
    fold_batch_norms(model)
    assert not [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    use_fast_convolutions(model)
    _, arrays = load_golden(f'las2_{variant}')
    found = model(*images, facts['iterations'])
    np.testing.assert_allclose(found, arrays['output'], rtol=0, atol=facts['tolerance'])


@pytest.mark.parametrize('variant', ['s', 'h', 'las1'])
def test_every_parameter_is_trained(variant):
    model = create_model('las2', variant).train()
    left, right = torch.rand(2, 2, 3, 64, 96) * 255
    predictions = model(left, right, 2)
    assert len(predictions) == (3 if variant == 'h' else 2)
    assert {prediction.shape for prediction in predictions} == {(2, 1, 64, 96)}
    sum(prediction.mean() for prediction in predictions).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]


@pytest.mark.parametrize('variant', ['s', 'las1'])
def test_refuses_weights_of_another_variant(variant):
    facts, _ = load_golden('las2_m')
    with pytest.raises(CheckpointError, match='las2-m'):
        load_official(create_model('las2', variant), official_state(facts))


def test_rows_and_columns_are_added_on_both_sides():
    assert create_model('las2').spec.margins(50, 99) == (7, 7, 14, 15)
