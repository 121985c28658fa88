"""Metric3D v2 against the official implementation, and what its parts promise."""

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from fill import load_golden  # noqa: E402
from probe import every, official_state, record  # noqa: E402

from nndepth_core.blocks.conv import ConvBlock  # noqa: E402
from nndepth_core.blocks.fusion import ResidualConvUnit  # noqa: E402
from nndepth_core.blocks.update import MultiLevelGru  # noqa: E402
from nndepth_core.camera import PinholeCamera  # noqa: E402
from nndepth_core.engines.torch import ModuleEngine  # noqa: E402
from nndepth_core.estimator import MonoEstimator  # noqa: E402
from nndepth_core.models import create_model  # noqa: E402
from nndepth_core.models.metric3d import Metric3d, Readout  # noqa: E402
from nndepth_core.weights import CheckpointError, load_official, matching_models  # noqa: E402


@pytest.fixture(scope='module')
def golden():
    return load_golden('metric3d_vit_small')


@pytest.fixture(scope='module')
def network(golden):
    network = create_model('metric3d', 'vit_small')
    load_official(network, official_state(golden[0]))
    return network


@torch.inference_mode()
def test_equals_official_implementation_inside(network, golden):
    facts, arrays = golden
    image = torch.from_numpy(arrays['image']).float()
    with record(network) as seen:
        geometry = network.geometry(image, facts['iterations'])
    inputs, outputs = seen.inputs, seen.outputs
    levels = inputs['context'][0][0]
    steps = outputs['depth_head'][0], outputs['normal_head'][0]
    first = network.first_estimate(network.levels(image))
    found = {
        'pos_embed_resized': torch.cat(
            (network.encoder.positions[:, :1], network.encoder.places(4, 6)), 1
        ),
        'block0_tokens': outputs['encoder.blocks.0'][0],
        'encoder_tokens_normed': outputs['encoder.norm'][0],
        'read_1_before_relu': outputs['to_seventh'][0],
        'decoder_mono_out': outputs['fuse.2'][0],
        'depth_bin_logits': outputs['bins'][0],
        'init_depth_scaled': first[:, :1],
        'context_hidden_1_before_tanh': outputs['context.state_heads.1'][0],
        'context_input_2_before_relu': outputs['context.context_heads.2'][0],
        'delta_iter_1': torch.cat(steps, 1),
        'mask_iter_1_before_quarter': network.mask_head(outputs['update'][2][0]),
    }
    assert found.keys() == facts['steps'].keys()
    for name, step in facts['steps'].items():
        np.testing.assert_allclose(
            every(found[name], step), arrays[name], rtol=0, atol=5e-5, err_msg=name
        )
    assert [tuple(x.shape[1:]) for x in levels] == [(96, 14, 21), (192, 8, 12), (384, 4, 6)]
    normals = torch.cat((geometry.normals, geometry.concentration), 1)
    np.testing.assert_allclose(normals[..., ::4], arrays['normal'], rtol=0, atol=2e-5)
    np.testing.assert_allclose(
        geometry.confidence[..., ::2], arrays['confidence'], rtol=0, atol=2e-5
    )
    np.testing.assert_allclose(geometry.depth, arrays['output'], rtol=0, atol=1e-3)


@torch.inference_mode()
def test_one_step_equals_the_first_of_the_official_implementation(network, golden):
    arrays = golden[1]
    depth = network(torch.from_numpy(arrays['image']).float(), 1)
    np.testing.assert_allclose(depth[..., ::3], arrays['depth_iter_1'], rtol=0, atol=1e-3)


@torch.inference_mode()
def test_maps_of_the_spec_are_those_of_the_geometry(network, golden):
    """The confidence is learned as one minus the relative error, which ends at 0 and 1."""
    image = torch.from_numpy(golden[1]['image']).float()
    depth, confidence = network(image, confidence=True)
    geometry = network.geometry(image)
    torch.testing.assert_close(depth, geometry.depth)
    torch.testing.assert_close(confidence, geometry.confidence.clamp(0, 1))
    torch.testing.assert_close(geometry.normals.norm(dim=1), torch.ones(1, 56, 84))
    assert geometry.concentration.min() > 0
    assert network.spec.maps == ('depth', 'confidence')


def test_metres_follow_the_focal_length(network, golden):
    arrays = golden[1]
    image = np.ascontiguousarray(arrays['image'][0].transpose(1, 2, 0))
    estimator = MonoEstimator(ModuleEngine(network, network.spec), processing_size=(84, 56))
    with pytest.raises(ValueError, match='needs the camera'):
        estimator(image)
    result = estimator(image, PinholeCamera(84, 56, 150.0, 150.0, 41.5, 27.5))
    expected = arrays['output'][0, 0] * 150 / 1000
    np.testing.assert_allclose(result.depth, expected, rtol=1e-4)
    assert result.output == 'depth'


@torch.inference_mode()
def test_images_of_a_batch_do_not_mix(network):
    images = torch.rand(2, 3, 28, 56, generator=torch.Generator().manual_seed(0)) * 255
    both = network(images)
    alone = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(both, alone, rtol=1e-4, atol=1e-3)


def test_takes_all_parameters_but_the_token_of_masked_patches(network, golden):
    state = official_state(golden[0])
    counted = sum(x.numel() for name, x in state.items() if '.norm3.' not in name)
    assert sum(parameter.numel() for parameter in network.parameters()) == counted - 384
    assert matching_models(state) == [('metric3d', 'vit_small')]
    without = {name: x for name, x in state.items() if 'mask_token' not in name}
    load_official(create_model('metric3d'), without)
    with pytest.raises(CheckpointError, match=r'1 unexpected .extra'):
        load_official(network, state | {'extra': torch.zeros(1)})


@pytest.mark.parametrize(
    ('variant', 'entries', 'mlp'),
    [('vit_small', 362, 'fc2'), ('vit_large', 530, 'fc2'), ('vit_giant2', 754, 'w3')],
)
def test_names_of_the_authors(variant, entries, mlp):
    """All their entries, but the token of masked patches and the second names of norms."""
    with torch.device('meta'):
        network = create_model('metric3d', variant)
    sources = network.official_sources()
    assert sources.keys() == network.state_dict().keys()
    names = {name for source in sources.values() for name in source.names}
    assert len(names) == entries - 1 - 2 * 6
    assert f'depth_model.encoder.blocks.0.11.mlp.{mlp}.weight' in names


def test_the_giant_takes_tokens_of_four_blocks_without_norm():
    with torch.device('meta'):
        network = create_model('metric3d', 'vit_giant2')
        with record(network) as seen:
            geometry = network.geometry(torch.empty(1, 3, 28, 56), 1)
    assert geometry.normals.shape == (1, 3, 28, 56)
    assert not seen.outputs['encoder.norm']
    assert len(seen.outputs['encoder.blocks.39']) == 1


def test_readout_tells_every_patch_what_the_image_says():
    readout = Readout(2, leading=2)
    with torch.no_grad():
        for parameter in readout.parameters():
            parameter.zero_()
        readout.own.weight.copy_(torch.eye(2))
        readout.common.weight[0, 3] = 1
    tokens = torch.tensor([[[0.0, 0.0], [0.0, 5.0], [1.0, 2.0], [3.0, -40.0]]])
    expected = torch.nn.functional.gelu(torch.tensor([[[6.0, 2.0], [8.0, -40.0]]]))
    torch.testing.assert_close(readout(tokens), expected)


@torch.inference_mode()
def test_a_rectified_unit_adds_to_what_the_relu_lets_through():
    unit = ResidualConvUnit(1, rectified=True)
    unit.second.weight.zero_()
    unit.second.bias.fill_(0.5)
    x = torch.tensor([[[[-1.0, 2.0]]]])
    torch.testing.assert_close(unit(x), torch.tensor([[[[0.5, 2.5]]]]))


@torch.inference_mode()
def test_a_channel_norm_has_its_mean_and_deviation_of_each_pixel():
    block = ConvBlock(3, 4, 1, norm='channel')
    found = block(torch.rand(2, 3, 5, 6) * 100)
    torch.testing.assert_close(found.mean(1), torch.zeros(2, 5, 6), rtol=0, atol=1e-5)
    torch.testing.assert_close(
        found.var(1, unbiased=False), torch.ones(2, 5, 6), rtol=0, atol=1e-2
    )


@torch.inference_mode()
def test_levels_that_are_not_halves_hear_each_other():
    """Where they are, pooling gives the size already and resizing changes nothing."""
    update = MultiLevelGru(2, 4, motion=3, halved=False)
    states = [torch.rand(1, 4, 14, 21), torch.rand(1, 4, 8, 12)]
    contexts = [torch.rand(1, 12, 14, 21), torch.rand(1, 12, 8, 12)]
    new = update(states, contexts, torch.rand(1, 3, 14, 21))
    assert [x.shape for x in new] == [x.shape for x in states]
    halves = [states[0][..., :20], states[1][..., :7, :10]]
    contexts = [contexts[0][..., :20], contexts[1][..., :7, :10]]
    motion = torch.rand(1, 3, 14, 20)
    resized = update(halves, contexts, motion)
    update.halved = True
    for ours, theirs in zip(update(halves, contexts, motion), resized, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_exported_graph_serves_images_of_any_size_as_torch_does(network, tmp_path):
    export = pytest.importorskip('nndepth_core.export.onnx')
    report = export.export_onnx(network, tmp_path / 'model.onnx', iterations=1)
    assert report.fixed_size is None
    assert [check.shape for check in report.checks] == [(2, 112, 168), (1, 140, 224)]
    assert all(check.largest < 1e-3 for check in report.checks)
    assert report.nodes < 1180
    assert not {'ScatterND', 'ScatterElements', 'Loop', 'If', 'NonZero'} & report.operators.keys()
    image = np.random.default_rng(0).integers(0, 256, (1, 56, 28, 3), np.uint8)
    own = ModuleEngine(network, network.spec)
    own.iterations = 1
    graph = export.OnnxEngine(report.path, 'cpu').run({'image': image})
    for name, values in own.run({'image': image}).items():
        np.testing.assert_allclose(graph[name], values, rtol=1e-4, atol=1e-4, err_msg=name)


def test_refuses_sizes_whose_maps_would_be_smaller(network):
    with pytest.raises(ValueError, match='multiples of 28'):
        network(torch.zeros(1, 3, 70, 98))
    with pytest.raises(ValueError, match='at least 1'):
        network(torch.zeros(1, 3, 28, 28), 0)


def test_every_parameter_takes_part_in_training():
    network = Metric3d('small', 1, (12,) * 4).train()
    geometry = network.geometry(torch.rand(1, 3, 56, 56) * 255)
    sum((x * torch.rand_like(x)).sum() for x in geometry).backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None]
