"""DINOv2: its tokens, its table of positions, and what networks built on it rely on."""

import math

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from fill import GOLDEN, fill  # noqa: E402

from nndepth_core.blocks.attention import SelfAttention  # noqa: E402
from nndepth_core.encoders.dinov2 import Block, Dinov2, Gate  # noqa: E402
from nndepth_core.models.base import substitute  # noqa: E402

PARAMETERS = {'small': 22056192, 'base': 86579712, 'large': 304367616, 'giant': 1136479232}
"""Of the authors' files, without the token for masked patches, which they never read."""


@pytest.fixture(scope='module')
def image():
    return torch.rand(2, 3, 28, 42, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize('size', Dinov2.shapes)
def test_sizes(size):
    with torch.device('meta'):
        encoder = Dinov2(size)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == PARAMETERS[size]


@pytest.fixture(scope='module')
def golden():
    """Inputs and tokens of the encoders in the official code of Metric3D and of UniDepth."""
    with np.load(GOLDEN / 'dinov2_small.npz') as arrays:
        return {name: torch.from_numpy(values) for name, values in arrays.items()}


def filled(prefix, blocks, gains, **settings):
    """An encoder under the golden weights of a network that names its entries by a prefix."""
    encoder = Dinov2('small', **settings).eval()
    state = {}
    for name, values in encoder.state_dict().items():
        official = substitute(name, Dinov2.official_rules).replace('blocks.', blocks)
        gain = 6 if official.endswith('gamma') else gains.get(official, 1)
        state[name] = gain * torch.from_numpy(fill(prefix + official, tuple(values.shape)))
    encoder.load_state_dict(state)
    return encoder


@torch.inference_mode()
def test_with_registers_equals_the_encoder_of_metric3d(golden):
    gains = {'pos_embed': 400, 'cls_token': 10, 'register_tokens': 20}
    encoder = filled('depth_model.encoder.', 'blocks.0.', gains, registers=4)
    image = golden['registers_image']
    places = torch.cat((encoder.positions[:, :1], encoder.places(4, 6)), 1)
    found = {
        'places': places[:, ::4],
        'block0': encoder(image, (1,), norm=False)[0][:, ::4],
        'tokens': encoder(image, (12,))[0][..., ::4],
    }
    for name, values in found.items():
        expected = golden[f'registers_{name}']
        torch.testing.assert_close(values, expected, rtol=0, atol=5e-5, msg=name)


@torch.inference_mode()
def test_resized_by_size_equals_the_encoder_of_unidepth(golden):
    gains = {'pos_embed': 400, 'cls_token': 10}
    encoder = filled('pixel_encoder.', 'blocks.', gains, excess=0.0, epsilon=1e-5)
    taps = encoder(golden['sized_image'], (3, 12))
    for number, tokens in zip((3, 12), taps, strict=True):
        for name, values in (('class', tokens[:, 0]), ('patches', tokens[:, 1:, ::4])):
            expected = golden[f'sized_{name}_{number}'].view_as(values)
            torch.testing.assert_close(values, expected, rtol=0, atol=5e-5)


def test_names_of_the_authors():
    with torch.device('meta'):
        encoder = Dinov2('small', registers=4, placed_from=4)
    names = {substitute(name, Dinov2.official_rules) for name in encoder.state_dict()}
    assert {name for name in names if not name.startswith('blocks')} == {
        'cls_token',
        'register_tokens',
        'pos_embed',
        'patch_embed.proj.weight',
        'patch_embed.proj.bias',
        'norm.weight',
        'norm.bias',
    }
    entries = ['attn.proj', 'attn.qkv', 'mlp.fc1', 'mlp.fc2', 'norm1', 'norm2']
    placed = ['attn.k_norm', 'attn.q_norm']
    for index, parts in ((3, entries), (4, entries + placed)):
        expected = {
            f'blocks.{index}.{part}.{kind}' for part in parts for kind in ('weight', 'bias')
        }
        expected |= {f'blocks.{index}.ls{number}.gamma' for number in (1, 2)}
        assert {name for name in names if name.startswith(f'blocks.{index}.')} == expected


@torch.inference_mode()
def test_tokens_of_the_taps(image):
    encoder = Dinov2('small', registers=4).eval()
    tapped = encoder(image, (3, 12))
    assert [tokens.shape for tokens in tapped] == [(2, 1 + 4 + 2 * 3, 384)] * 2
    raw = encoder.embed(image)
    for block in encoder.blocks[:3]:
        raw = block(raw)
    torch.testing.assert_close(encoder(image, (3,), norm=False)[0], raw)
    torch.testing.assert_close(tapped[0], encoder.norm(raw))


@torch.inference_mode()
def test_registers_have_no_place(image):
    """The class token does, at the head of the table; patches follow row by row."""
    encoder = Dinov2('small', registers=2)
    for parameter in (encoder.class_token, encoder.patches.weight, encoder.patches.bias):
        parameter.zero_()
    tokens = encoder.embed(image)
    torch.testing.assert_close(tokens[1, :1], encoder.positions[0, :1])
    torch.testing.assert_close(tokens[1, 1:3], encoder.registers[0])
    torch.testing.assert_close(tokens[1, 3:], encoder.places(2, 3)[0])


@torch.inference_mode()
@pytest.mark.parametrize('excess', [0.0, 0.1])
def test_the_grid_of_the_training_takes_the_table_as_it_is(excess):
    encoder = Dinov2('small', excess=excess)
    torch.testing.assert_close(encoder.places(37, 37), encoder.positions[:, 1:], rtol=0, atol=0)
    oblong = encoder.places(37, 36)
    assert oblong.shape == (1, 37 * 36, 384)
    own = encoder.positions[:, 1:].unflatten(1, (37, 37))
    moved = (oblong.unflatten(1, (37, 36))[:, :, 0] - own[:, :, 0]).abs().max()
    assert moved > 1e-3


def test_a_graph_resizes_the_table_to_any_image(tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    encoder = Dinov2('small', registers=1)
    encoder.forward = encoder.embed
    path = str(tmp_path / 'embed.onnx')
    axes = {'image': {0: 'batch', 2: 'height', 3: 'width'}}
    options = {'input_names': ['image'], 'dynamic_axes': axes, 'opset_version': 17}
    torch.onnx.export(encoder, (torch.zeros(1, 3, 28, 42),), path, dynamo=False, **options)
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    for shape in ((2, 3, 56, 14), (1, 3, 518, 518), (1, 3, 518, 532)):
        image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        (found,) = session.run(None, {'image': image.numpy()})
        expected = encoder.embed(image).detach()
        torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_a_block_without_scales_changes_nothing():
    block = Block(16, 2, gated=True)
    tokens = torch.rand(2, 5, 16)
    assert not torch.equal(block(tokens), tokens)
    block.attention_scale.zero_()
    block.mlp_scale.zero_()
    assert torch.equal(block(tokens), tokens)


def test_gate():
    x = torch.tensor([[1.0, -2.0, 3.0, 4.0]])
    sigmoid = [1 / (1 + math.exp(-value)) for value in (1, -2)]
    expected = torch.tensor([[3 * sigmoid[0], -8 * sigmoid[1]]])
    torch.testing.assert_close(Gate()(x), expected)


@torch.inference_mode()
def test_attention_against_its_formula():
    attention = SelfAttention(8, 2, norm=True)
    tokens = torch.rand(1, 5, 8)
    turn = torch.diag(torch.tensor([1.0, -1.0, 1.0, 2.0]))
    parts = attention.project(tokens)[0].view(5, 3, 2, 4)
    mixed = []
    for head in range(2):
        queries = attention.query_norm(parts[:, 0, head]) @ turn
        keys = attention.key_norm(parts[:, 1, head]) @ turn
        mixed.append((queries @ keys.t() / 2).softmax(1) @ parts[:, 2, head])
    expected = attention.merge(torch.cat(mixed, 1))[None]
    torch.testing.assert_close(attention(tokens, lambda x: x @ turn), expected)
