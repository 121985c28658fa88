"""Depth Anything 3 against the official implementation, and what its parts promise."""

import math

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from fill import load_golden  # noqa: E402
from probe import every, official_state, record  # noqa: E402

from nndepth_core.camera import PinholeCamera  # noqa: E402
from nndepth_core.engines.torch import ModuleEngine  # noqa: E402
from nndepth_core.estimator import MonoEstimator  # noqa: E402
from nndepth_core.models import create_model  # noqa: E402
from nndepth_core.models.depth_anything_3 import patch_angles, place_waves, turn  # noqa: E402
from nndepth_core.weights import CheckpointError, load_official, matching_models  # noqa: E402


def loaded(variant):
    facts, arrays = load_golden(f'depth_anything_3_{variant}')
    network = create_model('depth_anything_3', variant)
    load_official(network, official_state(facts))
    return network, facts, arrays


@pytest.fixture(scope='module')
def small():
    return loaded('small')


@pytest.fixture(scope='module')
def metric():
    return loaded('metric_large')


def inside(network, arrays):
    """What went on in a run: the recording, and what both variants compare."""
    image = torch.from_numpy(arrays['image']).float()
    with record(network) as seen:
        result = network(image, confidence=True)
    taps = [inputs[0] for inputs in seen.inputs['tap_norm']]
    outputs = seen.outputs
    found = {
        'tap0': taps[0][:, :12],
        'tap3': taps[3][:, :12],
        'resized_0': outputs['resize.0'][0][:, :24],
        'fuse_4': outputs['fuse.3'][0][:, :32],
        'neck_out': outputs['narrow'][0][:, :8],
    }
    return result, outputs, found


def assert_steps(found, facts, arrays):
    assert found.keys() == facts['steps'].keys()
    for name, step in facts['steps'].items():
        np.testing.assert_allclose(
            every(found[name], step), arrays[name], rtol=0, atol=1e-4, err_msg=name
        )


@torch.inference_mode()
def test_equals_official_implementation_inside(small):
    network, facts, arrays = small
    (depth, confidence), outputs, found = inside(network, arrays)
    for index in (3, 4, 11):
        found[f'block{index}_tokens'] = outputs[f'encoder.blocks.{index}'][0][:, :16]
    found['logits'] = outputs['maps'][0]
    assert_steps(found, facts, arrays)
    np.testing.assert_allclose(depth, arrays['output'], rtol=0, atol=1e-4)
    np.testing.assert_allclose(confidence, 1 - 1 / arrays['depth_conf'], rtol=0, atol=1e-5)


@torch.inference_mode()
def test_the_large_network_equals_official_implementation_inside(metric):
    network, facts, arrays = metric
    (depth, confidence), outputs, found = inside(network, arrays)
    found['block23_tokens'] = outputs['encoder.blocks.23'][0][:, :16]
    assert_steps(found, facts, arrays)
    np.testing.assert_allclose(depth, arrays['output'], rtol=0, atol=1e-4)
    np.testing.assert_allclose(confidence, 1 - arrays['sky'].clip(0, 1), rtol=0, atol=1e-5)


def test_metres_follow_the_focal_length_and_sky_is_infinitely_far(metric):
    network, _, arrays = metric
    image = np.ascontiguousarray(arrays['image'][0].transpose(1, 2, 0))
    estimator = MonoEstimator(ModuleEngine(network, network.spec), processing_size=(84, 56))
    with pytest.raises(ValueError, match='needs the camera'):
        estimator(image)
    result = estimator(image, PinholeCamera(84, 56, 150.0, 150.0, 41.5, 27.5))
    sky = arrays['sky'][0, 0]
    clear = np.abs(sky - 0.3) > 1e-4
    np.testing.assert_array_equal(np.isposinf(result.depth)[clear], (sky > 0.3)[clear])
    known = np.isfinite(result.depth)
    assert 0.2 < known.mean() < 0.8
    expected = arrays['output'][0, 0] * 150 / 300
    np.testing.assert_allclose(result.depth[known], expected[known], rtol=1e-4)
    assert result.output == 'depth'


@torch.inference_mode()
def test_images_of_a_batch_do_not_mix(small):
    images = torch.rand(2, 3, 28, 42, generator=torch.Generator().manual_seed(0)) * 255
    both = small[0](images)
    alone = torch.cat([small[0](image[None]) for image in images])
    torch.testing.assert_close(both, alone, rtol=1e-4, atol=1e-4)


def test_takes_all_parameters_but_those_of_rays_and_cameras(small):
    network, facts, _ = small
    state = official_state(facts)
    read = {name: x for name, x in state.items() if '_aux.' not in name and '.cam_' not in name}
    counted = sum(x.numel() for x in read.values())
    assert sum(parameter.numel() for parameter in network.parameters()) == counted
    assert matching_models(state) == [('depth_anything_3', 'small')]
    fresh = create_model('depth_anything_3', 'small')
    load_official(fresh, read)
    with pytest.raises(CheckpointError, match=r'1 missing .head.norm.weight'):
        load_official(fresh, {name: x for name, x in read.items() if 'head.norm.w' not in name})


def test_turning_keeps_lengths_and_leaves_the_difference_of_places():
    down, across = 0, 1
    of_grid, of_view = patch_angles(3, 4, torch.device('cpu'))
    assert of_grid.shape == (13, 4, 16)
    assert not of_grid[0].any()
    last = of_grid[12, :, 0]  # the fastest wave turns by a radian from place to place
    torch.testing.assert_close(last, torch.tensor([3.0, 3.0, 4.0, 4.0]))
    assert of_grid[12, 2 * across, 15] == pytest.approx(4 * 100 ** (-15 / 16))
    torch.testing.assert_close(of_view[1:], of_grid[:1] + of_view[1:2].expand(12, -1, -1))
    assert of_view[5, 2 * down, 0] == 1

    x = torch.rand(1, 2, 13, 64, generator=torch.Generator().manual_seed(0))
    turned = turn(x, of_grid)
    torch.testing.assert_close(turned.norm(dim=3), x.norm(dim=3))
    torch.testing.assert_close(turned[:, :, 0], x[:, :, 0])
    first, second = x[0, 0, 12, 0], x[0, 0, 12, 16]
    expected = first * math.cos(3) - second * math.sin(3)
    torch.testing.assert_close(turned[0, 0, 12, 0], expected)

    query, key = torch.rand(2, 64, generator=torch.Generator().manual_seed(1))
    every_place = [turn(v.expand(1, 1, 13, 64), of_grid)[0, 0] for v in (query, key)]
    scores = every_place[0] @ every_place[1].t()
    assert scores[1, 2] == pytest.approx(float(scores[6, 7]), rel=1e-4)  # one column on
    assert scores[1, 5] == pytest.approx(float(scores[8, 12]), rel=1e-4)  # one row on


def test_waves_of_places():
    waves = place_waves(torch.empty(1, 8, 3, 5), torch.empty(1, 3, 30, 40))[0]
    assert waves.shape == (8, 3, 5)
    right, down = 0.4 * 40 / 50, (2 / 3) * 30 / 50
    column, row = waves[:4, 0, 3], waves[4:, 2, 0]
    for found, place in ((column, right), (row, down)):
        waved = [f(place * rate) for f in (math.sin, math.cos) for rate in (1, 0.1)]
        torch.testing.assert_close(found, torch.tensor(waved))


def test_exported_graph_serves_images_of_any_size_as_torch_does(small, tmp_path):
    network = small[0]
    export = pytest.importorskip('nndepth_core.export.onnx')
    report = export.export_onnx(network, tmp_path / 'model.onnx')
    assert report.fixed_size is None
    assert [check.shape for check in report.checks] == [(2, 98, 168), (1, 112, 196)]
    assert all(check.largest < 1e-3 for check in report.checks)
    assert report.nodes < 1480
    assert not {'ScatterND', 'ScatterElements', 'Loop', 'If', 'NonZero'} & report.operators.keys()
    image = np.random.default_rng(0).integers(0, 256, (1, 70, 42, 3), np.uint8)
    engines = export.OnnxEngine(report.path, 'cpu'), ModuleEngine(network, network.spec)
    graph, own = (engine.run({'image': image}) for engine in engines)
    for name, values in own.items():
        np.testing.assert_allclose(graph[name], values, rtol=1e-3, err_msg=name)


def test_every_parameter_takes_part_in_training():
    network = create_model('depth_anything_3', 'small').train()
    depth, confidence = network(torch.rand(2, 3, 28, 28) * 255, confidence=True)
    (depth.mean() + confidence.mean()).backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None]
