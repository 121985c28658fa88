"""MobileStereoNet against the official implementation, and what its parts promise."""

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from fill import load_golden  # noqa: E402
from probe import every, official_state, run_recorded  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from nndepth_core.models import create_model  # noqa: E402
from nndepth_core.weights import load_official  # noqa: E402


def found_steps(variant, seen):
    """What goes through the network, by the names of the golden's arrays."""
    outputs, inputs = seen.outputs, seen.inputs
    found = {
        'firstconv_left': outputs['features.stem'][0],
        'features_left': outputs['features'][0],
        'cost_volume': outputs['volume'][0],
        'cost0': inputs['hourglasses.0'][0][0],
        'hourglass1': outputs['hourglasses.0'][0],
        'classif3': outputs['classifiers.3'][0],
    }
    if variant == '3d':
        return found | {
            'features_right': outputs['features'][1],
            'dres0': outputs['dres0'][0],
            'hourglass1_conv1': outputs['hourglasses.0.down.0'][0],
        }
    # The official code has no columns where shift 5 has no match.
    batches = outputs['volume.merge.2']
    shift5 = torch.cat(batches)[5:6, ..., 5:]
    return found | {
        'layer1_left': outputs['features.layer1'][0],
        'reduced_left': outputs['volume.reduce'][0],
        'reduced_right': outputs['volume.reduce'][1],
        'conv3d_d5': shift5.unsqueeze(2),
        'hourglass1_conv4': outputs['hourglasses.0.down.3'][0],
    }


@pytest.mark.parametrize('variant', ['2d', '3d'])
def test_equals_official_steps(variant):
    run = run_recorded('mobile_stereonet', variant)
    np.testing.assert_allclose(
        run.disparity, run.arrays['output'], rtol=0, atol=run.facts['tolerance']
    )
    found = found_steps(variant, run.seen)
    assert found.keys() == run.facts['steps'].keys()
    for name, (channels, pixels) in run.facts['steps'].items():
        values = every(found[name], channels)
        if values.ndim == 5 and name not in ('hourglass1_conv4', 'conv3d_d5'):
            values = values[:, :, :: 2 if name == 'classif3' else 8]
        values = values[..., ::pixels, ::pixels]
        np.testing.assert_allclose(values, run.arrays[name], rtol=1e-4, atol=2e-4, err_msg=name)


@torch.inference_mode()
def test_interlaced_volume_equals_convolutions_of_cropped_maps():
    """The definition: each shift is convolved in 3-D, on a map that has no unmatched columns."""
    volume = create_model('mobile_stereonet', '2d', max_disparity=32).volume
    left, right = torch.randn(2, 2, 320, 5, 11, generator=torch.Generator().manual_seed(0))
    found = volume(left, right)
    left, right = volume.reduce(left), volume.reduce(right)
    expected = torch.zeros(2, 8, 5, 11)
    for shift in range(8):
        pair = left[..., shift:], right[..., : 11 - shift]
        x = torch.stack(pair, 2).flatten(1, 2).unsqueeze(1)
        for merge in volume.merge:
            stride = (merge.conv.kernel_size[0], 1, 1)
            y = F.conv3d(x, merge.conv.weight, merge.conv.bias, stride, (0, 1, 1))
            x = F.relu(torch.stack([merge.norm(part) for part in y.unbind(2)], 2))
        expected[:, shift : shift + 1, :, shift:] = volume.cost(x.squeeze(2))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_training_and_eval_fold_the_same_norm():
    """Statistics that equal those of the batch make both modes compute the same."""
    volume = create_model('mobile_stereonet', '2d', max_disparity=16).volume
    merge = volume.merge[1]
    x = torch.randn(3, 2 * 4 * 16, 6, 7, generator=torch.Generator().manual_seed(1))
    merge.norm.momentum = None  # running statistics are those of all batches so far: of one
    trained = merge.train()(x)
    count = 3 * 2 * 6 * 7
    merge.norm.running_var *= (count - 1) / count  # the running variance is the unbiased one
    torch.testing.assert_close(merge.eval()(x), trained, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('variant', ['2d', '3d'])
def test_training_gradients_reach_every_parameter(variant):
    model = create_model('mobile_stereonet', variant, max_disparity=32).train()
    left, right = torch.rand(2, 2, 3, 32, 64, generator=torch.Generator().manual_seed(0)) * 255
    predictions = model(left, right)
    assert [p.shape for p in predictions] == [(2, 1, 32, 64)] * 4
    torch.stack(predictions).mean().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]


@torch.inference_mode()
@pytest.mark.parametrize('variant', ['2d', '3d'])
def test_batch_equals_single_pairs(variant):
    facts, _ = load_golden(f'mobile_stereonet_{variant}')
    model = create_model('mobile_stereonet', variant)
    load_official(model, official_state(facts))
    left, right = torch.rand(2, 2, 3, 32, 80, generator=torch.Generator().manual_seed(0)) * 255
    both = model(left, right)
    for index in range(2):
        single = model(left[index : index + 1], right[index : index + 1])
        torch.testing.assert_close(both[index : index + 1], single, rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    ('value', 'cure'), [(0, 'whole number in 16..4096'), (100, 'multiple of 16')]
)
def test_refuses_disparities_that_the_hourglasses_cannot_halve(value, cure):
    with pytest.raises(ValueError, match=f'max_disparity is {value}; give a {cure}'):
        create_model('mobile_stereonet', max_disparity=value)
