"""MiDaS small against the official implementation, and what its parts promise."""

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from fill import load_golden  # noqa: E402
from probe import every, official_state, record  # noqa: E402

from nndepth_core.blocks.conv import SameConv2d  # noqa: E402
from nndepth_core.blocks.fusion import FusionBlock  # noqa: E402
from nndepth_core.engines.optimize.folding import fold_batch_norms  # noqa: E402
from nndepth_core.engines.torch import ModuleEngine  # noqa: E402
from nndepth_core.estimator import MonoEstimator  # noqa: E402
from nndepth_core.models import create_model  # noqa: E402
from nndepth_core.weights import CheckpointError, load_official, matching_models  # noqa: E402

OFFICIAL_PARAMETERS = 21320545
"""Of the authors' file, which holds a residual unit that their forward pass never reads."""


@pytest.fixture(scope='module')
def golden():
    return load_golden('midas_small_base')


@pytest.fixture
def network(golden):
    network = create_model('midas_small')
    load_official(network, official_state(golden[0]))
    return network


@torch.inference_mode()
def test_equals_official_implementation_inside(network, golden):
    facts, arrays = golden
    with record(network) as seen:
        network(torch.from_numpy(arrays['image']))
    outputs = seen.outputs
    found = dict(zip(['layer1', 'layer2', 'layer3', 'layer4'], outputs['encoder'][0], strict=True))
    found['stem_conv'] = outputs['encoder.stem.conv'][0]
    found['layer4_rn'] = outputs['reduce.3'][0]
    found |= {f'path{level + 1}': outputs[f'fuse.{level}'][0] for level in range(4)}
    found['before_last_relu'] = outputs['head.4'][0]
    assert found.keys() == facts['steps'].keys()
    for name, step in facts['steps'].items():
        np.testing.assert_allclose(
            every(found[name], step), arrays[name], rtol=0, atol=1e-5, err_msg=name
        )


@torch.inference_mode()
def test_folding_batch_norms_changes_nothing_but_rounding(network, golden):
    facts, arrays = golden
    fold_batch_norms(network)
    assert not [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    found = network(torch.from_numpy(arrays['image']))
    np.testing.assert_allclose(found, arrays['output'], rtol=0, atol=facts['tolerance'])


def test_takes_all_parameters_but_those_that_are_never_read(network, golden):
    facts, _ = golden
    unread = 2 * (512 * 512 * 9 + 512)
    own = sum(parameter.numel() for parameter in network.parameters())
    assert own == OFFICIAL_PARAMETERS - unread
    state = official_state(facts)
    assert matching_models(state) == [('midas_small', 'base')]
    trimmed = {name: x for name, x in state.items() if 'refinenet4.resConfUnit1' not in name}
    load_official(network, trimmed)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda state: state.pop('scratch.layer4_rn.weight'), '1 missing .scratch.layer4_rn.we'),
        (lambda state: state.update(extra=torch.zeros(1)), '1 unexpected .extra'),
        (
            lambda state: state.update({'scratch.output_conv.4.bias': torch.zeros(2)}),
            'scratch.output_conv.4.bias is 2',
        ),
    ],
)
def test_refuses_other_checkpoints(network, golden, change, message):
    state = official_state(golden[0])
    change(state)
    with pytest.raises(CheckpointError, match=message):
        load_official(network, state)


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        (torch.zeros(1, 3, 64, 100), '100x64.*multiples of 32'),
        (torch.zeros(1, 1, 64, 64), 'RGB'),
        (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), 'uint8'),
    ],
)
def test_refuses_images_it_cannot_process(network, image, message):
    with pytest.raises(ValueError, match=message):
        network(image)


def test_exported_graph_serves_images_of_any_size_as_torch_does(network, tmp_path):
    export = pytest.importorskip('nndepth_core.export.onnx')
    report = export.export_onnx(network, tmp_path / 'model.onnx')
    assert report.fixed_size is None
    assert [check.shape for check in report.checks] == [(2, 96, 160), (1, 128, 224)]
    assert all(check.largest < 1e-5 for check in report.checks)

    engines = export.OnnxEngine(report.path, 'cpu'), ModuleEngine(network, network.spec)
    assert engines[0].spec == network.spec
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    graph, torch_ = (MonoEstimator(engine)(image) for engine in engines)
    assert graph.depth.shape == (50, 70)
    assert (graph.output, graph.processing_size) == ('inverse_depth', (256, 192))
    np.testing.assert_allclose(graph.depth, torch_.depth, rtol=0, atol=1e-5)


def test_every_parameter_takes_part_in_training():
    network = create_model('midas_small').train()
    network(torch.rand(2, 3, 64, 64) * 255).mean().backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None]


@pytest.mark.parametrize(('kernel', 'before', 'after'), [(3, 0, 1), (5, 1, 2)])
def test_same_padding_puts_the_larger_half_after(kernel, before, after):
    """The first output pixel looks at the first pixels, the last at those before the margin."""
    conv = SameConv2d(1, 1, kernel, 2, bias=False)
    torch.nn.init.ones_(conv.weight)
    rows = torch.arange(1.0, 9).view(1, 1, 8, 1).expand(1, 1, 8, 8)
    padded = [0] * before + list(range(1, 9)) + [0] * after
    sums = [sum(padded[start : start + kernel]) for start in range(0, 8, 2)]
    columns = min(kernel - before, 8)
    expected = torch.tensor(sums, dtype=torch.float32) * columns
    torch.testing.assert_close(conv(rows)[0, 0, :, 0], expected)


@torch.no_grad()
def test_fusion_of_zeroed_units_is_the_sum_enlarged_with_aligned_corners():
    block = FusionBlock(1, 1)
    for parameter in block.parameters():
        parameter.zero_()
    block.project.weight.fill_(1)
    x = torch.tensor([[[[0.0, 3.0], [0.0, 3.0]]]])
    expected = torch.tensor([0.0, 1.0, 2.0, 3.0]).expand(1, 1, 4, 4) * 2
    torch.testing.assert_close(block(x, x), expected)
