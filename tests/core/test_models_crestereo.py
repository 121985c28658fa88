"""CREStereo against the official implementation, and what its parts promise."""

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from fill import load_golden  # noqa: E402
from probe import every, official_state, record  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from nndepth_core.blocks.attention import linear_attention  # noqa: E402
from nndepth_core.blocks.group_correlation import (  # noqa: E402
    OffsetCorrelation,
    WarpedCorrelation,
)
from nndepth_core.blocks.position_encoding import sine_encoding  # noqa: E402
from nndepth_core.models import create_model  # noqa: E402
from nndepth_core.weights import load_official  # noqa: E402

STEPS = 4


@pytest.fixture(scope='module')
def weights():
    return official_state(load_golden('crestereo_base')[0])


@pytest.fixture(scope='module', params=['base', 'cascade'])
def golden(request, weights):
    """Network under the golden weights, facts, arrays and the images as tensors."""
    facts, arrays = load_golden(f'crestereo_{request.param}')
    model = create_model('crestereo', request.param)
    load_official(model, weights)
    images = [torch.from_numpy(arrays[side]) for side in ('left', 'right')]
    return model, facts, arrays, images


@torch.inference_mode()
def test_first_pass_of_the_cascade_equals_the_official_one(weights):
    _, arrays = load_golden('crestereo_cascade')
    model = create_model('crestereo', 'cascade')
    load_official(model, weights)
    images = [torch.from_numpy(arrays[side]) for side in ('left', 'right')]
    with record(model) as seen:
        model(*images, STEPS)
    half = seen.outputs['flow_head'][2 * STEPS - 1]
    assert half.shape[-2:] == (12, 16)
    assert len(seen.outputs['flow_head']) == 3 * STEPS
    assert len(seen.outputs['mask_head']) == 4


def test_equals_official_predictions_of_every_step(weights):
    _, arrays = load_golden('crestereo_base')
    model = create_model('crestereo').train()
    load_official(model, weights)
    left, right = (torch.from_numpy(arrays[side]) for side in ('left', 'right'))
    predictions = model(left, right, STEPS)
    assert len(predictions) == 2 * STEPS
    for index, prediction in enumerate(predictions[:-1], 1):
        found = prediction.detach()[..., ::4, ::4]
        np.testing.assert_allclose(found, arrays[f'prediction_{index:02d}'], rtol=0, atol=1e-4)


def test_equals_official_intermediates(weights):
    facts, arrays = load_golden('crestereo_base')
    model = create_model('crestereo').train()
    load_official(model, weights)
    with record(model) as seen, torch.no_grad():
        model(*(torch.from_numpy(arrays[side]) for side in ('left', 'right')), STEPS)
    put, got = seen.inputs, seen.outputs
    found = {
        'fnet_stem_left_c16': got['encoder.0.stem'][0][:1],
        'fnet_layer3_left_c16': got['encoder.0'][0][:1],
        'fmap_right_c8': got['encoder'][0][1:],
        'offset_8_before_sigmoid': got['offsets_eighth'][0],
        'offset_16_before_sigmoid': got['offsets_sixteenth'][0],
        'tokens16_left_with_position': put['self_attention'][0][0],
        'self_attention_left_heads_before_merge': put['self_attention.merge'][0][0],
        'self_attention_right_tokens': got['self_attention'][1],
        'cross_attention_left_tokens': got['cross_attention'][0],
        'cross_attention_right_tokens': got['cross_attention'][1],
        'motion_features_first': got['motion'][0],
        'update_net_in_first_c4': put['grus.0'][0][0],
        'update_inp_first_c4': put['from_context.0'][0][0],
        'update_hidden_first': got['grus.1'][0],
        'update_mask_quartered_first': got['mask_head'][0] / 4,
        'update_delta_first': got['flow_head'][0],
    }
    for stage, first in (('sixteenth', 0), ('eighth', STEPS // 2), ('quarter', STEPS)):
        for call, window in enumerate(('1x9', '3x3'), first):
            samples, flow = put['motion'][call]
            found[f'agcl_{stage}_{window}'] = samples
            found[f'flow_into_agcl_{stage}_{window}'] = flow
    for name, step in facts['steps'].items():
        values = every(found[name], step, dim=2 if 'tokens' in name else 1)
        expected = arrays[name].reshape(values.shape)
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-4, err_msg=name)


@torch.inference_mode()
@pytest.mark.parametrize('size', [(40, 72), (64, 32)])
def test_batch_equals_single_pairs(weights, size):
    model = create_model('crestereo')
    load_official(model, weights)
    left, right = torch.rand(2, 2, 3, *size, generator=torch.Generator().manual_seed(1)) * 255
    both = model(left, right, 2)
    assert both.shape == (2, 1, *size)
    for index in range(2):
        single = model(left[index : index + 1], right[index : index + 1], 2)
        torch.testing.assert_close(both[index : index + 1], single, rtol=0, atol=1e-4)


@torch.inference_mode()
def test_confidence_tells_how_little_the_last_step_moved(golden):
    model, _, _, images = golden
    with record(model) as seen:
        disparity, confidence = model(*images, STEPS, confidence=True)
    assert confidence.shape == disparity.shape
    coarse = torch.exp(-4 * seen.outputs['flow_head'][-1][:, :1].abs())
    assert coarse.min() - 1e-6 <= confidence.min() <= confidence.max() <= coarse.max() + 1e-6


@torch.inference_mode()
@pytest.mark.parametrize(('iterations', 'calls'), [(1, 1), (2, 4), (5, 9)])
def test_coarse_stages_take_half_the_steps(iterations, calls):
    model = create_model('crestereo')
    with record(model) as seen:
        model(*torch.rand(2, 1, 3, 32, 32), iterations)
    assert len(seen.outputs['flow_head']) == calls
    assert len(seen.outputs['cross_attention']) == 2
    assert len(seen.outputs['mask_head']) == 3


def test_every_parameter_is_trained():
    model = create_model('crestereo').train()
    left, right = torch.rand(2, 1, 3, 32, 48) * 255
    sum(prediction.abs().mean() for prediction in model(left, right, 2)).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]


@pytest.mark.parametrize(
    ('variant', 'size', 'message'),
    [('base', (32, 36), 'multiples of 8'), ('cascade', (32, 64), 'at least 64x64')],
)
def test_refuses_sizes_it_cannot_process(variant, size, message):
    model = create_model('crestereo', variant)
    with pytest.raises(ValueError, match=message):
        model(*torch.zeros(2, 1, 3, *size))


def test_linear_attention_equals_its_quadratic_form():
    queries, keys, values = torch.randn(3, 2, 5, 2, 4, generator=torch.Generator().manual_seed(2))
    similarity = torch.einsum('nlhd,nshd->nhls', F.elu(queries) + 1, F.elu(keys) + 1)
    weights = similarity / similarity.sum(3, keepdim=True)
    expected = torch.einsum('nhls,nshd->nlhd', weights, values)
    torch.testing.assert_close(linear_attention(queries, keys, values), expected)


def test_sine_encoding_counts_from_one():
    encoding = sine_encoding(2, 3, torch.tensor([1.0, 0.5]))
    assert encoding.shape == (8, 2, 3)
    expected = [np.sin(3), np.cos(3), np.sin(2), np.cos(2), np.sin(1.5), np.cos(1.5)]
    np.testing.assert_allclose(encoding[:6, 1, 2], expected, rtol=1e-6)


@pytest.mark.parametrize('window', [(1, 9), (3, 3)])
def test_correlations_of_whole_pixels_equal_their_definition(window):
    rows, columns = window
    height, width, groups = 7, 14, 2
    left, right = torch.randn(2, 1, 6, height, width, generator=torch.Generator().manual_seed(3))
    flow = torch.tensor([2.0, -1.0]).view(1, 2, 1, 1).expand(1, 2, height, width)
    offsets = torch.zeros(1, 18, height, width)
    warped = WarpedCorrelation(left, right, groups)(flow, window)
    searched = OffsetCorrelation(left, right, offsets, [window], groups)(flow, window)

    y, x = 3, 5  # so far inside that no window leaves the image
    points = [(i - rows // 2, j - columns // 2) for i in range(rows) for j in range(columns)]
    for point, (down, along) in enumerate(points):
        product = left[0, :, y, x] * right[0, :, y - 1 + down, x + 2 + along]
        expected = product.view(groups, -1).mean(1)
        for found in (warped, searched):
            values = found.unflatten(1, (groups, 9))[0, :, point, y, x]
            torch.testing.assert_close(values, expected, rtol=1e-4, atol=1e-5)
