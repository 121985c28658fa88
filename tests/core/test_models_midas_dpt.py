"""MiDaS 3.1: the adapter against the library's network and the authors' figures."""

import numpy as np
import pytest

torch = pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')

from fill import load_golden  # noqa: E402
from probe import official_state  # noqa: E402

from nndepth_core.engines.torch import ModuleEngine  # noqa: E402
from nndepth_core.estimator import MonoEstimator  # noqa: E402
from nndepth_core.models import create_model  # noqa: E402
from nndepth_core.weights import CheckpointError, load_official, read_checkpoint  # noqa: E402

TINY = {
    'beit': {
        'backbone': 'beit',
        'side': 64,
        'width': 48,
        'depths': (4,),
        'heads': (2,),
        'neck': (8, 12, 16, 20),
        'fusion': 8,
    },
    'swin2': {
        'backbone': 'swin2',
        'side': 64,
        'width': 16,
        'depths': (1, 1, 1, 1),
        'heads': (1, 2, 2, 2),
        'neck': (16, 32, 64, 128),
        'window': 4,
        'fusion': 8,
    },
}
AUTHORS = {
    'beit': {**TINY['beit'], 'fusion': 16},
    'swin2': {
        **TINY['swin2'],
        'depths': (2, 2, 2, 2),
        'heads': (1, 2, 2, 4),
        'pretrained': (2, 2, 2, 2),
        'fusion': 16,
    },
}
"""The networks of which goldens hold what the authors' code gives."""
PARAMETERS = {
    'swin2_tiny': 40930795,
    'swin2_base': 101351865,
    'swin2_large': 211871797,
    'beit_base': 110761153,
    'beit_large': 343311553,
    'beit_large_512': 343987393,
}


def tiny(kind):
    torch.manual_seed(0)
    return create_model('midas_dpt', **TINY[kind]).eval()


def picture(height, width):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)) * 255


@torch.inference_mode()
@pytest.mark.parametrize(
    ('kind', 'size'), [('beit', (64, 64)), ('beit', (32, 96)), ('swin2', (64, 64))]
)
def test_equals_the_library_through_its_files(tmp_path, kind, size):
    network = tiny(kind)
    network.network.save_pretrained(tmp_path)
    file = read_checkpoint(tmp_path / 'model.safetensors')
    assert file.keys() == network.state_dict().keys()
    other = create_model('midas_dpt', **TINY[kind]).eval()
    load_official(other, file)
    theirs = transformers.DPTForDepthEstimation.from_pretrained(tmp_path)
    image = picture(*size)
    expected = theirs((image / 255 - 0.5) / 0.5).predicted_depth[:, None]
    found = other(image)
    assert found.shape == (1, 1, *size)
    assert found.std() > 0
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def authors(kind):
    """The authors' entries, with the classifier and what follows from sizes; and the golden."""
    facts, arrays = load_golden(f'midas_dpt_official_{kind}')
    state = official_state(facts) | {name: torch.zeros(shape) for name, shape in facts['unused']}
    return state, facts, arrays


@torch.inference_mode()
@pytest.mark.parametrize('kind', AUTHORS)
def test_takes_the_files_of_the_authors_and_gives_what_their_code_does(kind):
    state, facts, arrays = authors(kind)
    network = create_model('midas_dpt', **AUTHORS[kind])
    load_official(network, state)
    found = network(torch.from_numpy(arrays['image']).float())
    assert arrays['output'].std() > 1
    np.testing.assert_allclose(found, arrays['output'], rtol=0, atol=facts['tolerance'])


@pytest.mark.parametrize(
    ('kind', 'change', 'message'),
    [
        (
            'beit',
            lambda state: state.pop('pretrained.model.blocks.0.attn.q_bias'),
            '1 missing .backbone.encoder.layer.0.attention.attention.query.bias',
        ),
        (
            'swin2',
            lambda state: state.pop('pretrained.model.layers.0.blocks.0.attn.qkv.weight'),
            '3 missing .backbone.encoder.layers.0.blocks.0.attention.self.query.weight',
        ),
        (
            'beit',
            lambda state: state.update({'scratch.stem_transpose.weight': torch.zeros(1)}),
            '1 unexpected .scratch.stem_transpose.weight',
        ),
        (
            'swin2',
            lambda state: state.update({'scratch.output_conv.4.bias': torch.zeros(2)}),
            'head.head.4.bias is 2',
        ),
    ],
)
def test_refuses_other_files(kind, change, message):
    state, _, _ = authors(kind)
    change(state)
    with pytest.raises(CheckpointError, match=message):
        load_official(create_model('midas_dpt', **AUTHORS[kind]), state)


@pytest.mark.parametrize('variant', PARAMETERS)
def test_parameters_are_those_of_the_authors(variant):
    with torch.device('meta'):
        network = create_model('midas_dpt', variant)
    assert sum(x.numel() for x in network.parameters()) == PARAMETERS[variant]
    side = 512 if variant.endswith('512') else 256 if variant.endswith('tiny') else 384
    if variant.startswith('swin2'):
        assert network.spec.fixed_size == (side, side)
    else:
        assert network.spec.working_size(640, 480) == (640 * side // 480 // 32 * 32, side)


@pytest.mark.parametrize('kind', TINY)
def test_estimates_at_the_size_of_the_camera(kind):
    network = tiny(kind)
    estimator = MonoEstimator(ModuleEngine(network, network.spec))
    image = picture(60, 100)[0].permute(1, 2, 0).byte().numpy()
    result = estimator(image)
    assert (result.output, result.depth.shape) == ('inverse_depth', (60, 100))


def test_refuses_another_backbone():
    with pytest.raises(ValueError, match="backbone is 'resnet'; choose beit or swin2"):
        create_model('midas_dpt', **{**TINY['beit'], 'backbone': 'resnet'})
