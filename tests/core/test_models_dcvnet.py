"""DCVNet against the official code for flow, and what defines its variant for stereo."""

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from fill import load_golden  # noqa: E402
from probe import every, official_state, run_recorded  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from nndepth_core.blocks.cost_volume import correlation_volume  # noqa: E402
from nndepth_core.models import create_model  # noqa: E402
from nndepth_core.weights import load_official  # noqa: E402


@pytest.fixture(scope='module')
def run():
    return run_recorded('dcvnet', 'flow')


@pytest.fixture(scope='module')
def stereo():
    return create_model('dcvnet')


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def random_pair(*size):
    return (random(2, *size) * 60 + 127).clamp(0, 255).split(1)


def test_equals_official_intermediates(run):
    outputs = run.seen.outputs
    found = {
        'feat_s8_left': outputs['to_eighth'][0],
        'feat_s8_right': outputs['to_eighth'][1],
        'context_s8': outputs['encoder.stages.2'][0],
        'stem_logits': outputs['stem'][0],
        'unet_stem': outputs['unet.stem'][0],
        'unet_down_2': outputs['unet.conv2'][0],
        'unet_aspp': outputs['unet.context'][0],
        'unet_out': outputs['unet'][0],
        'flow_logits': outputs['stem'][0] + outputs['to_logits'][0],
        'up_logits': outputs['to_mask'][0],
        'feat_s2_right': outputs['to_half'][1],
        # ours has every fourth pixel of the left map
        'feat_s2_left': outputs['to_half'][0].repeat_interleave(4, 2).repeat_interleave(4, 3),
    }
    assert found.keys() == run.facts['steps'].keys()
    for name, (channels, pixels) in run.facts['steps'].items():
        values = every(found[name], channels)[..., ::pixels, ::pixels]
        np.testing.assert_allclose(values, run.arrays[name], rtol=1e-4, atol=2e-4, err_msg=name)


def test_volumes_equal_official_ones(run):
    volumes = run.seen.inputs['stem'][0][0].unflatten(1, (7, 9, 9))
    values = volumes[:, :, ::4, ::4, ::3, ::3]
    np.testing.assert_allclose(values, run.arrays['cost_volume'], rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_flow_has_the_vertical_part_too(run):
    flow = run.model.flow(*run.images)
    tolerance = run.facts['tolerance']
    torch.testing.assert_close(flow[:, :1], -run.disparity)
    np.testing.assert_allclose(flow[:, 1:], run.arrays['flow_y'], rtol=0, atol=tolerance)


@torch.inference_mode()
def test_flow_before_upsampling_equals_official_one(run):
    logits = run.seen.outputs['stem'][0] + run.seen.outputs['to_logits'][0]
    disparity, down = (logits.softmax(1) * run.model.candidates[:, None]).sum(2)
    expected = torch.from_numpy(run.arrays['flow_lowres'])[0]
    torch.testing.assert_close(torch.stack((-disparity[0], down[0])), expected, rtol=0, atol=2e-3)


def test_networks_for_stereo_have_no_flow(stereo):
    with pytest.raises(ValueError, match='in one row; for flow take the variant flow'):
        stereo.flow(*random_pair(3, 32, 32))


def test_candidates_of_stereo(stereo):
    steps = [2, 8, 16, 24, 40]
    expected = [step * index for step in steps for index in range(9)]
    assert stereo.candidates.shape == (1, 45, 1, 1)
    assert stereo.candidates.flatten().tolist() == expected
    assert stereo.steps_of_candidates.flatten().tolist() == [s for s in steps for _ in range(9)]
    assert stereo.spec.value_range == (0.0, 320.0)


def test_volumes_of_stereo_are_part_of_plain_dense_volumes(stereo):
    """A plain volume has a bin for every disparity, at 1/2 and at 1/8."""
    eighths = random(2, 1, 16, 4, 48)
    halves = random(2, 1, 8, 16, 192, seed=1)
    volumes = stereo.volumes([halves[0][..., ::4, ::4], halves[1]], list(eighths))
    at_half = 8 * correlation_volume(*halves, 9)[:, 0, :, ::4, ::4]
    at_eighth = 16 * correlation_volume(*eighths, 41)[:, 0]
    expected = [
        at_half,
        *(at_eighth[:, : 8 * dilation + 1 : dilation] for dilation in (1, 2, 3, 5)),
    ]
    torch.testing.assert_close(volumes, torch.cat(expected, 1))


def test_volumes_of_stereo_are_part_of_those_of_flow(run, stereo):
    halves, eighths = (run.seen.outputs[name] for name in ('to_half', 'to_eighth'))
    around = run.seen.inputs['stem'][0][0].unflatten(1, (7, 9, 9))
    left = stereo.volumes(halves, eighths).unflatten(1, (5, 9))
    row = around[:, [0, 1, 2, 3, 4], 4]
    shared = row[:, :, :5].flip(2)
    scale = shared.abs().max().item()
    torch.testing.assert_close(left[:, :, :5], shared, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize('disparity', [0, 6, 16, 24, 56, 120, 200, 320])
def test_disparity_of_a_shifted_pattern_is_the_best_candidate(stereo, disparity):
    """Right maps are left ones, moved; finer maps have no candidates beyond 16 pixels."""

    def maps(channels, height, width, shift):
        left = random(1, channels, height, width)
        return left, F.pad(left, (0, shift))[..., shift:]

    half_left, half_right = maps(32, 16, 256, disparity // 2)
    eighths = maps(64, 4, 64, disparity // 8)
    if disparity % 8:
        eighths = [torch.zeros_like(x) for x in eighths]
    volumes = stereo.volumes([half_left[..., ::4, ::4], half_right], eighths)
    best = stereo.candidates[0, :, 0, 0][volumes.argmax(1)]
    assert (best[..., -(-disparity // 8) :] == disparity).all()


def weighed(network, disparities):
    """Let a network weigh candidates of some disparities equally, whatever the images are."""
    logits = torch.full((1, 45, 4, 6), -1000.0)
    for disparity in disparities:
        logits[:, network.candidates.flatten() == disparity] = 0.0
    mask = torch.zeros(1, 9, 64, 4, 6)
    mask[:, 4] = 1000.0
    network.weigh = lambda left, right: (logits, logits, mask.flatten(1, 2))
    return network


@pytest.mark.parametrize(
    ('candidates', 'disparity', 'confidence'),
    [((48,), 48, 1), ((10, 12), 11, 1), ((280, 320), 300, 1), ((6, 320), 163, 0)],
)
def test_confidence_is_the_weight_of_candidates_near_the_result(candidates, disparity, confidence):
    network = weighed(create_model('dcvnet'), candidates)
    found, sure = network(*random_pair(3, 32, 48), confidence=True)
    torch.testing.assert_close(found, torch.full((1, 1, 32, 48), float(disparity)))
    torch.testing.assert_close(sure, torch.full((1, 1, 32, 48), float(confidence)))


@pytest.mark.parametrize('variant', ['stereo', 'flow'])
def test_training_gradients_reach_every_parameter(variant):
    model = create_model('dcvnet', variant).train()
    start, result = model(*random_pair(3, 64, 64))
    assert start.shape == result.shape == (1, 1 + (variant == 'flow'), 64, 64)
    (start.mean() + result.mean()).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]


@torch.inference_mode()
def test_batch_equals_single_pairs_at_an_odd_number_of_coarse_pixels(run):
    facts, _ = load_golden('dcvnet_flow')
    model = create_model('dcvnet', 'flow')
    load_official(model, official_state(facts))
    left, right = random(2, 2, 3, 40, 56) * 60 + 127
    both = model(left, right)
    for index in range(2):
        single = model(left[index : index + 1], right[index : index + 1])
        torch.testing.assert_close(both[index : index + 1], single, rtol=0, atol=1e-3)


@torch.inference_mode()
def test_smallest_images(stereo):
    assert stereo(*random_pair(3, 16, 16)).isfinite().all()
