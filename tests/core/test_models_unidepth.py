"""UniDepth V2 against the official implementation, and what its parts promise."""

import math

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from fill import load_golden  # noqa: E402
from probe import every, official_state, record  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from nndepth_core.camera import PinholeCamera  # noqa: E402
from nndepth_core.engines.torch import ModuleEngine  # noqa: E402
from nndepth_core.estimator import MonoEstimator  # noqa: E402
from nndepth_core.models import create_model  # noqa: E402
from nndepth_core.models.unidepth import CrossAttention, pixel_rays, ray_code  # noqa: E402
from nndepth_core.weights import CheckpointError, load_official, matching_models  # noqa: E402


def loaded(facts, **settings):
    network = create_model('unidepth', 'v2_vits14', **settings)
    load_official(network, official_state(facts))
    return network


@pytest.fixture(scope='module')
def golden():
    return load_golden('unidepth_v2_vits14')


@pytest.fixture(scope='module')
def network(golden):
    return loaded(golden[0])


@pytest.fixture(scope='module')
def informed(golden):
    return loaded(golden[0], camera='given')


def moved(intrinsics, pixels):
    """Intrinsics (N, 3, 3) with another place of the first pixel, which is at 0.5 in theirs."""
    intrinsics = torch.as_tensor(intrinsics).clone()
    intrinsics[:, :2, 2] += pixels
    return intrinsics


def assert_steps(found, golden):
    facts, arrays = golden
    for name, values in found.items():
        np.testing.assert_allclose(
            every(values, facts['steps'][name]), arrays[name], rtol=0, atol=5e-5, err_msg=name
        )


@torch.inference_mode()
def test_equals_official_implementation_inside(network, golden):
    facts, arrays = golden
    with record(network) as seen:
        geometry = network.geometry(torch.from_numpy(arrays['image']).float())
    outputs = seen.outputs
    first, last = outputs['encoder'][0][0], outputs['encoder'][0][3]
    found = {
        'tokens_3': first[:, 1:],
        'tokens_12': last[:, 1:],
        'class_3': first[:, :1],
        'class_12': last[:, :1],
        'camera_raw': outputs['camera.give'][0],
        'code': seen.inputs['prompt.0'][0][1],
        'prompted_0': outputs['prompt.0'][0],
        'init_latents': outputs['start'][0],
        'up_0': outputs['narrow.0'][0],
        'up_1': outputs['narrow.1'][0],
        'rays': geometry.rays.flatten(2).transpose(1, 2),
    }
    assert found.keys() == {name for name in facts['steps'] if not name.startswith('given_')}
    assert_steps(found, golden)
    np.testing.assert_allclose(geometry.error, arrays['error'], rtol=0, atol=2e-5)
    intrinsics = moved(geometry.intrinsics, 0.5)
    np.testing.assert_allclose(intrinsics, arrays['intrinsics'], rtol=0, atol=2e-4)


@torch.inference_mode()
def test_equals_official_implementation_with_given_intrinsics(informed, golden):
    facts, arrays = golden
    image = torch.from_numpy(arrays['image']).float()
    with record(informed) as seen:
        geometry = informed.geometry(image, moved(arrays['given_intrinsics'], -0.5))
    found = {
        'given_code': seen.inputs['prompt.0'][0][1],
        'given_prompted_3': seen.outputs['prompt.3'][0],
        'given_up_2': seen.outputs['narrow.2'][0],
        'given_coarse': seen.outputs['radius.coarse'][0],
        'given_rays': geometry.rays.flatten(2).transpose(1, 2),
    }
    assert found.keys() == {name for name in facts['steps'] if name.startswith('given_')}
    assert_steps(found, golden)
    np.testing.assert_allclose(
        geometry.depth, arrays['given_output'], rtol=0, atol=facts['tolerance']
    )
    np.testing.assert_allclose(
        every(geometry.error, 2, 3), arrays['given_error'], rtol=0, atol=2e-5
    )
    estimated = moved(geometry.intrinsics, 0.5)
    np.testing.assert_allclose(estimated, arrays['intrinsics'], rtol=0, atol=2e-4)


@torch.inference_mode()
def test_equals_official_inference_from_an_image_to_points(network, golden):
    """Widened with grey to the aspect ratio of 2.5, enlarged, and brought back."""
    arrays = golden[1]
    grey = torch.tensor(network.normalize.mean).view(1, 3, 1, 1) * 255
    image = F.pad(torch.from_numpy(arrays['whole_image']) - grey, (0, 0, 10, 10)) + grey
    width, height = network.spec.working_size(200, 80)
    geometry = network.geometry(F.interpolate(image, (height, width), mode='bilinear'))
    points, error = (
        F.interpolate(x, (80, 200), mode='bilinear')[:, :, 10:-10]
        for x in (geometry.radius * geometry.rays, geometry.error)
    )
    np.testing.assert_allclose(every(points, 7, 3), arrays['whole_points'], rtol=0, atol=5e-4)
    np.testing.assert_allclose(every(error, 7, 3), arrays['whole_error'], rtol=0, atol=5e-5)


@torch.inference_mode()
def test_confidence_falls_with_the_error(network, golden):
    image = torch.from_numpy(golden[1]['image']).float()
    geometry = network.geometry(image)
    depth, confidence = network(image, confidence=True)
    torch.testing.assert_close(depth, geometry.depth)
    torch.testing.assert_close(confidence, 1 / (1 + geometry.error))


def test_estimates_metres_without_and_with_the_camera(network, informed, golden):
    arrays = golden[1]
    image = np.ascontiguousarray(arrays['image'][0].transpose(1, 2, 0))
    engine = ModuleEngine(network, network.spec)
    result = MonoEstimator(engine, processing_size=(84, 56))(image, confidence=True)
    assert result.output == 'depth'
    np.testing.assert_allclose(result.depth, arrays['output'][0, 0], rtol=1e-4)
    np.testing.assert_allclose(result.confidence, 1 / (1 + arrays['error'][0, 0]), rtol=1e-4)

    estimator = MonoEstimator(ModuleEngine(informed, informed.spec), processing_size=(84, 56))
    with pytest.raises(ValueError, match='needs the camera'):
        estimator(image)
    (fx, _, cx), (_, fy, cy), _ = arrays['given_intrinsics'][0].tolist()
    result = estimator(image, PinholeCamera(84, 56, fx, fy, cx - 0.5, cy - 0.5))
    np.testing.assert_allclose(result.depth, arrays['given_output'][0, 0], rtol=1e-4)


def test_wide_images_are_widened_as_the_authors_do(network, golden):
    """They add the margins before they resize, so that borders differ by less than a pixel."""
    arrays = golden[1]
    image = np.ascontiguousarray(arrays['whole_image'][0].transpose(1, 2, 0))
    assert network.spec.working_size(200, 60) == (714, 220)
    assert network.spec.margins(220, 714) == (37, 37, 0, 0)
    result = MonoEstimator(ModuleEngine(network, network.spec))(image, confidence=True)
    assert result.depth.shape == (60, 200)
    error = 1 / result.confidence - 1
    for found, name in ((result.depth, 'whole_points'), (error, 'whole_error')):
        off = np.abs(found[:, ::7] / arrays[name][0, -1] - 1)
        assert np.median(off) < 0.02, name  # without margins, depth is off by 27 per cent
        assert np.quantile(off, 0.9) < 0.06, name


@torch.inference_mode()
def test_images_of_a_batch_do_not_mix(informed):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 28, 42, generator=generator) * 255
    cameras = torch.tensor([[[40.0, 0, 20], [0, 41, 14], [0, 0, 1]]]).repeat(2, 1, 1)
    cameras[1, 0, 0] = 70
    for given in ((images,), (images, cameras)):
        both = informed(*given)
        alone = torch.cat([informed(*(x[i : i + 1] for x in given)) for i in range(2)])
        torch.testing.assert_close(both, alone, rtol=1e-4, atol=1e-4)


def test_takes_all_parameters_but_those_that_are_never_read(network, golden):
    state = official_state(golden[0])
    dead = ('level_embeds', 'register_tokens', 'mask_token')
    read = {name: x for name, x in state.items() if not name.endswith(dead)}
    assert len(state) - len(read) == 3
    counted = sum(x.numel() for x in read.values())
    assert sum(parameter.numel() for parameter in network.parameters()) == counted
    assert matching_models(state) == [('unidepth', 'v2_vits14')]
    with pytest.raises(CheckpointError, match=r'1 unexpected .extra'):
        load_official(network, state | {'extra': torch.zeros(1)})


def test_refuses_an_unknown_camera():
    with torch.device('meta'), pytest.raises(ValueError, match='must be estimated or given'):
        create_model('unidepth', 'v2_vits14', camera='fisheye')


def test_rays_pass_through_the_centres_of_pixels():
    intrinsics = torch.tensor([[[2.0, 0, 1], [0, 4, 2], [0, 0, 1]]])
    rays = pixel_rays(intrinsics, 3, 4)
    assert rays.shape == (1, 3, 3, 4)
    torch.testing.assert_close(rays[0, :, 2, 1], torch.tensor([0.0, 0, 1]))
    expected = torch.tensor([1.0, -0.5, 1]) / 1.5
    torch.testing.assert_close(rays[0, :, 0, 3], expected)


def test_the_code_holds_sines_of_both_angles():
    ray = torch.tensor([0.6, 0.0, 0.8])
    rays = ray[None, :, None, None].expand(1, 3, 56, 112)
    code = ray_code(rays, 4, 8, 6)
    assert code.shape == (1, 32, 6)
    polar = [math.sin(math.acos(0.8) * math.pi * octave) for octave in (1, 2, 4)]
    torch.testing.assert_close(code[0, 5], torch.tensor([*polar, 0, 0, 0]), atol=1e-5, rtol=0)
    turned = ray_code(rays[:, [1, 0, 2]], 4, 8, 6)
    azimuth = [math.sin(math.atan2(0.6, 1e-3) * math.pi * octave) for octave in (1, 2, 4)]
    expected = torch.tensor([*polar, *azimuth])
    torch.testing.assert_close(turned[0, 0], expected, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_attention_against_its_formula():
    layer = CrossAttention(16, scaled=True)
    layer.mlp_scale.zero_()
    layer.attention_scale.fill_(0.5)
    tokens, context, places = torch.rand(1, 3, 16), torch.rand(1, 5, 16), torch.rand(1, 3, 16)
    queries = layer.to_queries(layer.query_norm(tokens)) + places
    both = layer.to_context(layer.context_norm(context))
    keys, values = both[..., :16], both[..., 16:]
    mixed = []
    for head in range(0, 16, 2):
        part = slice(head, head + 2)
        scores = queries[0, :, part] @ keys[0, :, part].t() / math.sqrt(2)
        mixed.append(scores.softmax(1) @ values[0, :, part])
    expected = tokens + layer.merge(torch.cat(mixed, 1)[None]) / 2
    torch.testing.assert_close(layer(tokens, context, places), expected)


@pytest.mark.parametrize(('camera', 'nodes'), [('estimated', 1320), ('given', 1140)])
def test_exported_graph_serves_images_of_any_size_as_torch_does(
    network, informed, camera, nodes, tmp_path
):
    export = pytest.importorskip('nndepth_core.export.onnx')
    chosen = {'estimated': network, 'given': informed}[camera]
    report = export.export_onnx(chosen, tmp_path / 'model.onnx')
    assert report.fixed_size is None
    assert [check.shape for check in report.checks] == [(2, 98, 168), (1, 112, 196)]
    assert all(check.largest < 1e-3 for check in report.checks)
    assert report.nodes < nodes
    assert not {'ScatterND', 'ScatterElements', 'Loop', 'If', 'NonZero'} & report.operators.keys()
    # The taller image needs the longer side of the grid to be found in the graph.
    inputs = {'image': np.random.default_rng(0).integers(0, 256, (1, 126, 42, 3), np.uint8)}
    if camera == 'given':
        inputs['intrinsics'] = np.array([[[60, 0, 20], [0, 61, 63], [0, 0, 1]]], np.float32)
    engines = export.OnnxEngine(report.path, 'cpu'), ModuleEngine(chosen, chosen.spec)
    graph, own = (engine.run(inputs) for engine in engines)
    assert graph.keys() == own.keys() == {'depth', 'confidence'}
    for name, values in own.items():
        np.testing.assert_allclose(graph[name], values, rtol=1e-3, err_msg=name)


def test_every_parameter_takes_part_in_training():
    network = create_model('unidepth', 'v2_vits14').train()
    depth, confidence = network(torch.rand(2, 3, 28, 28) * 255, confidence=True)
    (depth.mean() + confidence.mean()).backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None]
