"""Depth Anything V2: the adapter against the library's network and what its authors do."""

import math
import sys
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')

from fill import fill  # noqa: E402

from nndepth_core.models import create_model, network_class  # noqa: E402
from nndepth_core.weights import CheckpointError, load_official, read_checkpoint  # noqa: E402
from nndepth_core.weights.description import describe  # noqa: E402
from nndepth_core.weights.importing import import_weights  # noqa: E402

TINY = {'width': 64, 'layers': 4, 'taps': (1, 2, 3, 4), 'neck': (8, 12, 16, 20), 'fusion': 8}
MEAN, DEVIATION = (
    torch.tensor(values).view(3, 1, 1) for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
)
PARAMETERS = {'small': 24785089, 'base': 97470785, 'large': 335315649}


def tiny(**settings):
    """A small network with weights that let every part have its say."""
    network = create_model('depth_anything_v2', **{**TINY, **settings})
    state = {
        name: torch.from_numpy(np.asarray(fill(name, tuple(value.shape)), np.float32))
        for name, value in network.state_dict().items()
    }
    positions = 'backbone.embeddings.position_embeddings'
    state[positions] *= math.sqrt(state[positions].numel())
    state['head.conv3.bias'] += 1
    network.load_state_dict(state)
    return network


def picture(height, width, seed=0):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 255


@torch.inference_mode()
@pytest.mark.parametrize(('output', 'max_depth'), [('inverse_depth', None), ('depth', 80)])
def test_equals_the_library_at_the_size_of_the_training(tmp_path, output, max_depth):
    """Goes through a file of the library, whose names and configuration are not ours."""
    network = tiny(output=output, max_depth=max_depth)
    network.network.save_pretrained(tmp_path)
    factor = {'max_depth': max_depth} if output == 'depth' else {}
    theirs = transformers.DepthAnythingForDepthEstimation.from_pretrained(tmp_path, **factor)
    image = picture(518, 518)
    expected = theirs((image / 255 - MEAN) / DEVIATION).predicted_depth[:, None]
    found = network(image)
    assert found.shape == (1, 1, 518, 518)
    assert found.std() > 0.01 * found.mean() > 0
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    # at another size the library samples the table of positions elsewhere
    image = picture(56, 84)
    expected = theirs((image / 255 - MEAN) / DEVIATION).predicted_depth[:, None]
    assert (network(image) - expected).abs().mean() > 0.01 * expected.mean()


@torch.inference_mode()
@pytest.mark.parametrize('patches', [(4, 6), (37, 49), (50, 20), (1, 37)])
def test_positions_are_resized_by_the_rule_of_the_authors(patches):
    """Against bicubic sampling (a = -0.75, border replicated) written from its definition."""
    network = tiny()
    embeddings = network.network.backbone.embeddings
    height, width = (14 * count for count in patches)
    tokens = torch.zeros(1, 1 + math.prod(patches), 64)
    found = embeddings.interpolate_pos_encoding(tokens, height, width)[0].double().numpy()
    table = embeddings.position_embeddings[0].double().numpy()
    rows, columns = (_sampling(count) for count in patches)
    grid = np.einsum('iy,yxc,jx->ijc', rows, table[1:].reshape(37, 37, 64), columns)
    np.testing.assert_allclose(found, [table[0], *grid.reshape(-1, 64)], rtol=0, atol=1e-4)


def _sampling(count):
    """Matrix (count, 37) that samples 37 places at the factor (count + 0.1) / 37."""
    matrix = np.zeros((count, 37))
    for index in range(count):
        place = (index + 0.5) * 37 / (count + 0.1) - 0.5
        first = math.floor(place) - 1
        for tap in range(first, first + 4):
            matrix[index, min(max(tap, 0), 36)] += _cubic(abs(place - tap))
    return matrix


def _cubic(x, a=-0.75):
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a


@torch.inference_mode()
def test_metric_depth_scales_with_the_largest():
    near, far = tiny(output='depth', max_depth=20), tiny(output='depth', max_depth=80.0)
    assert (far.spec.output, far.spec.value_range) == ('depth', (0.0, 80.0))
    image = picture(42, 56)
    torch.testing.assert_close(far(image), 4 * near(image))
    assert 0 < near(image).aminmax().min < near(image).aminmax().max < 20
    relative = create_model('depth_anything_v2', **TINY)
    assert (relative.spec.output, relative.spec.value_range) == ('inverse_depth', None)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'output': 'disparity'}, "'disparity'; choose inverse_depth or depth"),
        ({'output': 'depth', 'max_depth': 0}, 'max_depth is 0'),
        ({'output': 'depth', 'max_depth': math.nan}, 'max_depth is nan'),
        ({'output': 'depth'}, 'max_depth is missing; add max_depth=20 for weights'),
        ({'max_depth': 20.0}, 'output is inverse_depth, which has none; add output=depth'),
    ],
)
def test_refuses_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        create_model('depth_anything_v2', **TINY, **settings)


def test_entries_are_named_as_in_the_files_of_the_library(tmp_path):
    network = tiny()
    network.network.save_pretrained(tmp_path)
    file = read_checkpoint(tmp_path / 'model.safetensors')
    own = network.state_dict()
    assert own.keys() == file.keys()
    other = create_model('depth_anything_v2', **TINY)
    load_official(other, file)
    for name, value in other.state_dict().items():
        torch.testing.assert_close(value, own[name], rtol=0, atol=0)


def authors_state(network):
    """The entries under the names that the authors' code has for them, one by one."""
    own, official = network.state_dict(), {}
    backbone, neck, fusion = 'backbone.embeddings.', 'neck.reassemble_stage.', 'neck.fusion_stage.'
    pairs = {
        'pretrained.cls_token': f'{backbone}cls_token',
        'pretrained.mask_token': f'{backbone}mask_token',
        'pretrained.pos_embed': f'{backbone}position_embeddings',
    }
    modules = {
        'pretrained.patch_embed.proj': f'{backbone}patch_embeddings.projection',
        'pretrained.norm': 'backbone.layernorm',
        'depth_head.resize_layers.0': f'{neck}layers.0.resize',
        'depth_head.resize_layers.1': f'{neck}layers.1.resize',
        'depth_head.resize_layers.3': f'{neck}layers.3.resize',
        'depth_head.scratch.output_conv1': 'head.conv1',
        'depth_head.scratch.output_conv2.0': 'head.conv2',
        'depth_head.scratch.output_conv2.2': 'head.conv3',
    }
    for level in range(4):
        theirs, ours = f'depth_head.scratch.refinenet{level + 1}', f'{fusion}layers.{3 - level}'
        modules[f'depth_head.projects.{level}'] = f'{neck}layers.{level}.projection'
        modules[f'{theirs}.out_conv'] = f'{ours}.projection'
        for unit in (1, 2):
            for conv in (1, 2):
                modules[f'{theirs}.resConfUnit{unit}.conv{conv}'] = (
                    f'{ours}.residual_layer{unit}.convolution{conv}'
                )
        pairs[f'depth_head.scratch.layer{level + 1}_rn.weight'] = f'neck.convs.{level}.weight'
    for block in range(TINY['layers']):
        theirs, ours = f'pretrained.blocks.{block}', f'backbone.encoder.layer.{block}'
        for same in ('norm1', 'norm2', 'mlp.fc1', 'mlp.fc2'):
            modules[f'{theirs}.{same}'] = f'{ours}.{same}'
        modules[f'{theirs}.attn.proj'] = f'{ours}.attention.output.dense'
        for scale in (1, 2):
            pairs[f'{theirs}.ls{scale}.gamma'] = f'{ours}.layer_scale{scale}.lambda1'
        for kind in ('weight', 'bias'):
            official[f'{theirs}.attn.qkv.{kind}'] = torch.cat(
                [
                    own[f'{ours}.attention.attention.{part}.{kind}']
                    for part in ('query', 'key', 'value')
                ]
            )
    for theirs, ours in modules.items():
        pairs |= {f'{theirs}.{kind}': f'{ours}.{kind}' for kind in ('weight', 'bias')}
    return official | {theirs: own[ours] for theirs, ours in pairs.items()}


def test_loads_the_files_of_the_authors():
    network, other = tiny(), create_model('depth_anything_v2', **TINY)
    load_official(other, authors_state(network))
    for name, value in other.state_dict().items():
        torch.testing.assert_close(value, network.state_dict()[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda state: state.pop('pretrained.norm.bias'), '1 missing .backbone.layernorm.bias'),
        (lambda state: state.update(extra=torch.zeros(1)), '1 unexpected .extra'),
        (
            lambda state: state.update({'pretrained.blocks.0.attn.qkv.bias': torch.zeros(7)}),
            'attention.query.bias is 3',
        ),
        (
            lambda state: state.update({'pretrained.cls_token': torch.zeros(1, 1, 3)}),
            'cls_token is 1x1x3',
        ),
    ],
)
def test_refuses_other_checkpoints(change, message):
    network = create_model('depth_anything_v2', **TINY)
    state = authors_state(network)
    change(state)
    with pytest.raises(CheckpointError, match=message):
        load_official(network, state)


@pytest.mark.parametrize('variant', PARAMETERS)
def test_parameters_are_those_of_the_authors(variant):
    with torch.device('meta'):
        network = create_model('depth_anything_v2', variant)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[variant]


def test_refuses_sizes_that_do_not_fit():
    with pytest.raises(ValueError, match='100x56; depth_anything_v2-small takes multiples of 14'):
        tiny()(picture(56, 100))


@pytest.mark.parametrize(
    ('settings', 'asked', 'size'),
    [({}, None, (518, 686)), ({'output': 'depth', 'max_depth': 80.0}, (56, 84), (56, 84))],
)
def test_exported_graph_is_bound_to_one_size_and_says_what_it_gives(
    tmp_path, settings, asked, size
):
    export = pytest.importorskip('nndepth_core.export.onnx')
    network = tiny(**settings)
    report = export.export_onnx(network, tmp_path / 'model.onnx', size=asked)
    assert report.fixed_size == size
    assert ('traced' in report.reason) == (asked is None)
    assert [check.shape for check in report.checks] == [(2, *size)]
    assert report.checks[0].largest < 1e-3
    assert export.OnnxEngine(report.path, 'cpu').spec == replace(network.spec, fixed_size=size)


def test_reads_the_settings_of_metric_weights_from_the_configuration_of_the_library():
    cls = network_class('depth_anything_v2')
    config = tiny(output='depth', max_depth=80).network.config.to_dict() | {'max_depth': 80}
    assert cls.settings_from_config(config) == {'output': 'depth', 'max_depth': 80.0}
    assert cls.settings_from_config(tiny().network.config.to_dict()) == {}


def test_weights_that_fit_variants_of_other_outputs_need_a_choice(
    empty_store, tmp_path, monkeypatch
):
    variants = {
        name: {**TINY, 'output': 'depth', 'max_depth': largest}
        for name, largest in (('near', 20.0), ('far', 80.0))
    }
    monkeypatch.setattr(network_class('depth_anything_v2'), 'variants', variants)
    file = tmp_path / 'weights.pth'
    torch.save(authors_state(create_model('depth_anything_v2')), file)
    with pytest.raises(CheckpointError, match=r'it fits depth_anything_v2-near and .*-far, which'):
        import_weights(file, 'depth_anything_v2')
    assert describe(import_weights(file, 'depth_anything_v2', 'far')).variant == 'far'


def test_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'transformers', None)
    with pytest.raises(ValueError, match=r'needs transformers; pip install "nndepth\[mono\]"'):
        create_model('depth_anything_v2')
    assert network_class('depth_anything_v2').spec.task == 'mono'


@pytest.mark.parametrize(
    'name', ['depth_anything_v1', 'depth_anything_v2', 'midas_dpt', 'zoe_depth']
)
def test_images_have_a_patch_at_least(name):
    spec = network_class(name).spec
    assert min(spec.minimum) >= spec.multiple > 1
