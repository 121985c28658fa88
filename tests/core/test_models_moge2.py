"""MoGe-2 against the official implementation, and what its parts promise."""

import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from fill import load_golden  # noqa: E402
from probe import every, official_state, record  # noqa: E402

from nndepth_core.blocks.position_encoding import grid_places  # noqa: E402
from nndepth_core.camera import PinholeCamera  # noqa: E402
from nndepth_core.engines.torch import ModuleEngine  # noqa: E402
from nndepth_core.estimator import MonoEstimator  # noqa: E402
from nndepth_core.models import create_model  # noqa: E402
from nndepth_core.models.moge2 import ConvStack, token_grid  # noqa: E402
from nndepth_core.point_maps import focal_and_shift  # noqa: E402
from nndepth_core.spec import ModelSpec  # noqa: E402
from nndepth_core.weights import CheckpointError, load_official, matching_models  # noqa: E402

TOKENS = 24


@pytest.fixture(scope='module')
def golden():
    return load_golden('moge2_vits_normal')


@pytest.fixture(scope='module')
def network(golden):
    network = create_model('moge2', 'vits_normal', num_tokens=TOKENS)
    load_official(network, official_state(golden[0]))
    return network


@torch.inference_mode()
def test_equals_official_implementation_inside(network, golden):
    facts, arrays = golden
    with record(network) as seen:
        geometry = network.geometry(torch.from_numpy(arrays['image']).float())
    inputs, outputs = seen.inputs, seen.outputs
    positions = network.encoder.positions[:, :1], network.encoder.places(4, 6)
    found = {
        'image_resized_normalised': inputs['encoder'][0][0],
        'pos_embed_resized': torch.cat(positions, 1)[:, :16],
        'block0_tokens': outputs['encoder.blocks.0'][0][:, :16],
        'encoder_features': inputs['neck'][0][0][0][:, :384],
        'class_token_normed': inputs['scale_head'][0][0],
        'neck_resampler_0': outputs['neck.enlarge.0'][0][:, :64],
        'neck_1': outputs['neck'][0][1][:, :64],
        'neck_2': outputs['neck'][0][2][:, :32],
        'neck_4': outputs['neck'][0][4][:, :1],
        'points': geometry.points.permute(0, 2, 3, 1),
        'normal': geometry.normals.permute(0, 2, 3, 1),
    }
    found['image_resized_normalised'] = found['image_resized_normalised'][:, :1]
    assert found.keys() == facts['steps'].keys()
    for name, step in facts['steps'].items():
        np.testing.assert_allclose(
            every(found[name], step), arrays[name], rtol=0, atol=5e-5, err_msg=name
        )
    np.testing.assert_allclose(geometry.mask[:, 0], arrays['mask'], rtol=0, atol=1e-5)
    np.testing.assert_allclose(geometry.scale.flatten(), arrays['metric_scale'], rtol=1e-6)


@torch.inference_mode()
def test_maps_of_the_spec_are_those_of_the_geometry(network, golden):
    image = torch.from_numpy(golden[1]['image']).float()
    depth, mask, x, y = network(image, confidence=True)
    geometry = network.geometry(image, TOKENS)
    torch.testing.assert_close(torch.cat((x, y, depth), 1), geometry.scale * geometry.points)
    torch.testing.assert_close(mask, geometry.mask)
    assert network.spec.maps == ('depth', 'confidence', 'x', 'y')


@torch.inference_mode()
def test_images_of_a_batch_do_not_mix(network):
    images = torch.rand(2, 3, 40, 50, generator=torch.Generator().manual_seed(0)) * 255
    both = network(images)
    alone = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(both, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ('size', 'tokens', 'grid'),
    [((72, 100), 24, (4, 6)), ((72, 100), 23, (4, 6)), ((480, 640), 3600, (52, 69))],
)
def test_the_grid_keeps_the_aspect_ratio(size, tokens, grid):
    assert token_grid(*size, tokens) == grid
    traced = token_grid(torch.tensor(size[0]), torch.tensor(size[1]), tokens)
    assert tuple(map(int, traced)) == grid


def test_places_reach_from_edge_to_edge_of_a_half_diagonal_of_one():
    right, down = grid_places(torch.empty(1, 3, 30, 40), 4, 5)
    torch.testing.assert_close(right, torch.tensor([[-0.8, -0.4, 0.0, 0.4, 0.8]]) * 40 / 50)
    torch.testing.assert_close(down.t(), torch.tensor([[-0.75, -0.25, 0.25, 0.75]]) * 30 / 50)


@torch.inference_mode()
def test_levels_double_their_size():
    stack = ConvStack((2, 2, 2, 2, 2), (16, 12, 8, 6, 4), units=2, outputs=3)
    maps = stack([torch.rand(1, 2, 2 * 2**level, 3 * 2**level) for level in range(5)])
    assert [tuple(x.shape[1:]) for x in maps] == [
        (16, 2, 3),
        (12, 4, 6),
        (8, 8, 12),
        (6, 16, 24),
        (3, 32, 48),
    ]
    assert [len(refine) for refine in stack.refine] == [0, 2, 2, 2, 0]


def test_takes_all_parameters_but_those_that_are_never_read(network, golden):
    state = official_state(golden[0])
    counted = sum(x.numel() for name, x in state.items() if 'image_' not in name)
    assert sum(parameter.numel() for parameter in network.parameters()) == counted - 384
    assert matching_models(state) == [('moge2', 'vits_normal')]
    with pytest.raises(CheckpointError, match=r'1 unexpected .extra'):
        load_official(network, state | {'extra': torch.zeros(1)})


def test_the_variant_without_normals_has_none():
    with torch.device('meta'):
        network = create_model('moge2', 'vitl')
        geometry = network.geometry(torch.empty(1, 3, 20, 30), TOKENS)
    assert geometry.normals is None
    assert geometry.points.shape == (1, 3, 20, 30)


def test_refuses_what_is_no_image(network):
    with pytest.raises(ValueError, match='RGB'):
        network(torch.zeros(1, 1, 64, 64))


def test_estimates_metres_that_are_infinite_where_no_point_shows(network):
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    engine = ModuleEngine(network, network.spec)
    maps = {name: values[0] for name, values in engine.run({'image': image[None]}).items()}
    valid = maps['confidence'] > 0.5
    assert 0 < valid.mean() < 1
    for camera in (None, PinholeCamera(80, 60, 70.0, 70.0, 39.5, 29.5)):
        focal = camera.fx if camera else None
        seen = np.where(valid, maps['depth'], np.nan)
        _, shift = focal_and_shift(maps['x'], maps['y'], seen, focal)
        result = MonoEstimator(engine)(image, camera)
        assert (result.output, result.confidence) == ('depth', None)
        shifted = maps['depth'] + np.float32(shift)
        expected = np.where(valid, np.where(shifted > 0, shifted, np.nan), np.inf)
        np.testing.assert_allclose(result.depth, expected, rtol=1e-5)
        sure = MonoEstimator(engine)(image, camera, confidence=True)
        np.testing.assert_array_equal(sure.confidence, maps['confidence'])


class WallEngine:
    """Gives points of a slanted wall, half a metre too near, at the size that it is asked for."""

    name, device, iterations = 'fake', 'cpu', 0
    spec = ModelSpec(
        'wall',
        inputs=('image',),
        output='depth',
        value_range=None,
        confidence='head',
        least_confidence=0.5,
        affine_points=True,
    )

    def run(self, inputs):
        height, width = inputs['image'].shape[1:3]
        rows, columns = np.mgrid[:height, :width].astype(np.float32)
        right, down = (columns + 0.5) / width - 0.5, ((rows + 0.5) / height - 0.5) * height / width
        depth = 3 + 2 * right + down
        maps = depth - 0.5, np.ones_like(depth), right * depth, down * depth
        return {name: values[None] for name, values in zip(self.spec.maps, maps, strict=True)}


@pytest.mark.parametrize('known', [False, True])
@pytest.mark.parametrize('size', [(0, 0), (80, 60), (320, 0)])
def test_the_shift_is_found_at_any_processing_size(size, known):
    """The wall's camera has a focal length of one width."""
    image = np.zeros((120, 160, 3), np.uint8)
    camera = PinholeCamera(160, 120, 160.0, 160.0, 79.5, 59.5) if known else None
    depth = MonoEstimator(WallEngine(), processing_size=size)(image, camera).depth
    rows, columns = np.mgrid[:120, :160]
    expected = 3 + 2 * ((columns + 0.5) / 160 - 0.5) + ((rows + 0.5) / 120 - 0.5) * 0.75
    np.testing.assert_allclose(depth, expected, rtol=0.01)


@pytest.mark.parametrize(
    ('facts', 'message'),
    [
        ({'confidence': None}, 'has the output depth and a confidence'),
        ({'output': 'inverse_depth'}, 'has the output depth and a confidence'),
        (
            {'confidence': None, 'affine_points': False},
            'a least_confidence gives depth and a confidence',
        ),
        ({'affine_points': 'yes'}, "affine_points is 'yes'"),
    ],
)
def test_specs_of_points_without_depth_or_mask_are_refused(facts, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(WallEngine.spec, **facts)
    assert ModelSpec.of(json.loads(json.dumps(WallEngine.spec.settings()))) == WallEngine.spec


def test_exported_graph_serves_images_of_any_size_as_torch_does(network, tmp_path):
    export = pytest.importorskip('nndepth_core.export.onnx')
    report = export.export_onnx(network, tmp_path / 'model.onnx')
    assert report.fixed_size is None
    assert [check.shape for check in report.checks] == [(2, 96, 160), (1, 97, 162)]
    assert all(check.largest < 1e-4 for check in report.checks)
    assert report.nodes < 1100
    assert not {'ScatterND', 'ScatterElements', 'Loop', 'If', 'NonZero'} & report.operators.keys()

    engines = export.OnnxEngine(report.path, 'cpu'), ModuleEngine(network, network.spec)
    assert engines[0].spec == network.spec
    image = np.random.default_rng(0).integers(0, 256, (70, 50, 3), np.uint8)
    graph, own = (engine.run({'image': image[None]}) for engine in engines)
    assert list(graph) == list(own) == ['depth', 'confidence', 'x', 'y']
    for name, values in own.items():
        np.testing.assert_allclose(graph[name], values, rtol=0, atol=1e-4, err_msg=name)
    depths = [MonoEstimator(engine)(image).depth for engine in engines]
    np.testing.assert_allclose(*depths, rtol=1e-2)


def test_every_parameter_takes_part_in_training():
    network = create_model('moge2', 'vits_normal', num_tokens=TOKENS).train()
    geometry = network.geometry(torch.rand(2, 3, 64, 64) * 255)
    sum(values.mean() for values in geometry).backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None]
