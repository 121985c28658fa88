"""LEAStereo against the official implementation, and what its parts promise."""

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from fill import load_golden  # noqa: E402
from probe import every, official_state, record, run_golden  # noqa: E402

from nndepth_core.models import create_model  # noqa: E402
from nndepth_core.models.lea_stereo import concatenation_volume  # noqa: E402
from nndepth_core.weights import load_official  # noqa: E402


@torch.inference_mode()
def test_equals_official_intermediates():
    facts, arrays = load_golden('lea_stereo_default')
    model = create_model('lea_stereo')
    load_official(model, official_state(facts))
    with record(model) as seen:
        run_golden(model, facts, arrays)
    outputs = seen.outputs
    found = {
        'feature_stem1_left': outputs['feature.stem.1'][0],
        'feature_cell0_left': outputs['feature.cells.0'][0],
        'feature_cell4_left': outputs['feature.cells.4'][0],
        'features_left': outputs['feature'][0],
        'features_right': outputs['feature'][1],
        'matching_cell2': outputs['matching.cells.2'][0],
        'matching_cell8': outputs['matching.cells.8'][0],
        'matching_conv1': outputs['matching.skips.0'][0],
        'matching_conv2': outputs['matching.skips.1'][0],
    }
    assert found.keys() == facts['steps'].keys()
    for name, (channels, pixels) in facts['steps'].items():
        values = every(found[name], channels)
        if name.startswith('matching'):
            values = values[:, :, ::8]
        values = values[..., ::pixels, ::pixels]
        np.testing.assert_allclose(values, arrays[name], rtol=1e-4, atol=2e-4, err_msg=name)


@pytest.mark.parametrize(('width', 'bins'), [(7, 3), (5, 8)])
def test_concatenation_volume_equals_its_definition(width, bins):
    left, right = torch.randn(2, 2, 3, 4, width, generator=torch.Generator().manual_seed(0))
    expected = torch.zeros(2, 6, bins, 4, width)
    for d in range(bins):
        for x in range(d, width):
            expected[:, :3, d, :, x] = left[..., x]
            expected[:, 3:, d, :, x] = right[..., x - d]
    torch.testing.assert_close(concatenation_volume(left, right, bins), expected)


def test_training_gradients_reach_every_parameter():
    model = create_model('lea_stereo', max_disparity=24).train()
    left, right = torch.rand(2, 2, 3, 48, 48, generator=torch.Generator().manual_seed(0)) * 255
    (disparity,) = model(left, right)
    disparity.mean().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]


@torch.inference_mode()
def test_batch_equals_single_pairs():
    facts, _ = load_golden('lea_stereo_default')
    model = create_model('lea_stereo', max_disparity=48)
    load_official(model, official_state(facts))
    left, right = torch.rand(2, 2, 3, 48, 72, generator=torch.Generator().manual_seed(0)) * 255
    both = model(left, right)
    for index in range(2):
        single = model(left[index : index + 1], right[index : index + 1])
        torch.testing.assert_close(both[index : index + 1], single, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ('value', 'cure'), [(0, 'whole number in 24..4096'), (100, 'multiple of 24')]
)
def test_refuses_disparities_that_the_cells_cannot_halve(value, cure):
    with pytest.raises(ValueError, match=f'max_disparity is {value}; give a {cure}'):
        create_model('lea_stereo', max_disparity=value)
