"""StereoMAE against the authors' network, and what ours promises of encoders and image sizes."""

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from fill import load_golden  # noqa: E402
from probe import official_state, record, unpacked  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from nndepth_core.blocks.resize import resized_places  # noqa: E402
from nndepth_core.encoders.vit import (  # noqa: E402
    VisionTransformer,
    refitted_table,
    sine_table,
)
from nndepth_core.models import create_model  # noqa: E402
from nndepth_core.models.base import substitute  # noqa: E402
from nndepth_core.models.masked_stereo import MaskedStereo  # noqa: E402
from nndepth_core.models.stereo_mae import StereoMae  # noqa: E402
from nndepth_core.weights import load_official, load_weights  # noqa: E402
from nndepth_core.weights.checkpoint import CheckpointError  # noqa: E402
from nndepth_core.weights.encoder import load_encoder  # noqa: E402
from nndepth_core.weights.loading import fitting_variants  # noqa: E402

TINY = {'size': 'tiny', 'image': (32, 64), 'early': True, 'gru_levels': 1, 'hidden': 32}


def tiny(**settings):
    torch.manual_seed(0)
    return StereoMae(**{**TINY, 'patch': (8, 8), 'iterations': 2, **settings}).eval()


def pair(height, width, count=1):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, count, 3, height, width, generator=generator) * 255


@torch.inference_mode()
def test_equals_the_authors_network():
    facts, arrays = load_golden('stereo_mae_authors')
    network = create_model('stereo_mae', 'authors')
    load_official(network, official_state(facts))
    with record(network) as seen:
        disparity = network(*unpacked(arrays), facts['iterations'])
    found = {
        'output': -disparity[..., ::8, ::8],
        'tokens_left': seen.outputs['encoder'][0][0][:, ::16, ::16],
        'fmap_right': seen.outputs['shared_matching'][1][:, ::32, ::4, ::4],
    }
    for name, values in found.items():
        np.testing.assert_allclose(
            values, arrays[name], rtol=0, atol=facts['tolerance'], err_msg=name
        )
    with pytest.raises(ValueError, match='takes exactly 448x224'):
        network(*pair(224, 224))


@pytest.mark.parametrize('joint', [True, False])
@torch.inference_mode()
def test_takes_any_size_and_batches(joint):
    network = tiny(joint=joint)
    for height, width in ((32, 64), (64, 96)):
        left, right = pair(height, width, 2)
        both = network(left, right)
        assert both.shape == (2, 1, height, width)
        single = network(left[1:], right[1:])
        np.testing.assert_allclose(both[1:], single, rtol=0, atol=1e-3)
    with pytest.raises(ValueError, match='multiples of 32'):
        network(*pair(40, 96))


@torch.inference_mode()
def test_views_see_each_other_only_in_joint_encoding():
    for joint in (True, False):
        encoder = VisionTransformer('tiny', (8, 8), (4, 8), joint=joint)
        left, right = (encoder.embed(image) for image in pair(32, 64) / 255)
        changed = encoder([left, right.flip(1)])[0]
        assert torch.equal(encoder([left, right])[0], changed) != joint


@torch.inference_mode()
def test_places_tokens_on_their_grid():
    network = tiny(joint=False)
    image = pair(32, 64)[0]
    seen = network.encoder.embed(image)
    dark = image.clone()
    dark[..., 8:16, 24:32] = 0  # the patch of row 1 and column 3
    changed = (network.encoder.embed(dark) - seen).abs().sum(2)[0]
    assert changed.nonzero().flatten().tolist() == [1 * 8 + 3]


def test_table_of_positions_holds_columns_then_rows():
    table = sine_table((3, 5), 16)[0]
    assert not table[0].any()
    row, column = 2, 4
    place = table[1 + row * 5 + column]
    frequencies = 10000.0 ** -(torch.arange(4) / 4)
    for half, position in zip(place.chunk(2), (column, row), strict=True):
        expected = torch.cat(((position * frequencies).sin(), (position * frequencies).cos()))
        torch.testing.assert_close(half, expected)


def test_table_of_positions_is_resized():
    table = sine_table((14, 14), 32)
    assert refitted_table(table, (14, 14)) is table
    wide = refitted_table(table, (14, 28))
    assert wide.shape == (1, 1 + 14 * 28, 32)
    rows = wide[0, 1:].view(14, 28, 32)[..., 16:]
    torch.testing.assert_close(rows[:, 0], table[0, 1:].view(14, 14, 32)[:, 0, 16:])
    assert refitted_table(sine_table((7, 14), 32), (14, 28)).shape == wide.shape
    with pytest.raises(ValueError, match=r'15 rows.*set image to .*--set image=.*--model.image'):
        refitted_table(torch.rand(1, 16, 32), (4, 8))
    learned = torch.rand(1, 33, 32)
    assert refitted_table(learned, (4, 8)) is learned


@pytest.mark.parametrize('own', [(4, 6), (6, 4), (14, 28), (28, 14), (3, 3)])
@pytest.mark.parametrize('wanted', [(14, 28), (4, 6)])
@pytest.mark.parametrize('kind', [torch.float32, torch.bfloat16])
def test_table_of_any_grid_is_resized_as_its_grid_demands(own, wanted, kind):
    first = sine_table(own, 192).to(kind).float()
    table = refitted_table(first, wanted)
    expected = torch.cat((first[:, :1], resized_places(first, own, *wanted)), 1)
    torch.testing.assert_close(table, expected if own != wanted else first)
    again = refitted_table(table, (6, 10))  # of a table that was resized before
    expected = torch.cat((table[:, :1], resized_places(table, wanted, 6, 10)), 1)
    torch.testing.assert_close(again, expected)


def test_variants_are_found_for_a_table_of_another_grid():
    state = StereoMae(**{**StereoMae.variants['spatial_tiny'], 'image': (64, 96)}).state_dict()
    assert fitting_variants('stereo_mae', state) == ('spatial_tiny',)


def as_mae(network, prefix='', grid=None):
    """The encoder's entries as files of MAE name them, with a table for another grid."""
    encoder = network.encoder
    state = {substitute(n, encoder.official_rules): v for n, v in encoder.state_dict().items()}
    if grid:
        state['pos_embed'] = sine_table(grid, encoder.width)
    return {prefix + name: value.contiguous() for name, value in state.items()}


@pytest.mark.parametrize(('prefix', 'grid'), [('', (14, 14)), ('vit_model.', None)])
def test_takes_the_encoder_of_a_checkpoint(tmp_path, prefix, grid):
    source, network = tiny(joint=False), tiny(joint=False)
    torch.nn.init.normal_(source.encoder.blocks[3].mlp[0].weight)
    before = network.flow_head[0].weight.clone()
    beside = {'mask_token': torch.zeros(1)} if not prefix else {'conv2.0': torch.zeros(1)}
    save_file(as_mae(source, prefix, grid) | beside, tmp_path / 'mae.safetensors')
    load_encoder(network, tmp_path / 'mae.safetensors')
    for name, value in network.encoder.named_parameters():
        if name != 'positions':
            assert torch.equal(value, source.encoder.get_parameter(name)), name
    expected = source.encoder.positions
    if grid:
        expected = refitted_table(sine_table(grid, 192), (4, 8))
    torch.testing.assert_close(network.encoder.positions, expected)
    assert torch.equal(network.flow_head[0].weight, before)


def test_takes_the_encoder_of_our_pretraining(tmp_path):
    masked = MaskedStereo(
        size='tiny', patch=(8, 8), image=(64, 128), decoder_width=16, decoder_layers=1,
        decoder_heads=2,
    )  # fmt: skip
    save_file(masked.state_dict(), tmp_path / 'masked.safetensors')
    network = tiny()
    load_encoder(network, tmp_path / 'masked.safetensors')
    assert torch.equal(network.encoder.views, masked.encoder.views)
    assert network.encoder.positions.shape == (1, 33, 192)
    other = MaskedStereo(
        size='tiny', patch=(8, 8), image=(32, 64), decoder_width=16, decoder_layers=1,
        decoder_heads=2,
    )  # fmt: skip
    load_weights(other, tmp_path / 'masked.safetensors')  # a table for larger images
    assert torch.equal(other.decoder.mask_token, masked.decoder.mask_token)


@pytest.mark.parametrize('joint', [False, True])
def test_takes_whole_checkpoints_of_mae(tmp_path, joint):
    """Where views are seen together, what tells them apart is not in the file and stays."""
    masked = MaskedStereo(
        size='tiny', image=(32, 64), joint=joint, decoder_width=16, decoder_layers=1,
        decoder_heads=2,
    )  # fmt: skip
    state = as_mae(masked, grid=(14, 14))
    rules = MaskedStereo.official_rules
    for name, value in masked.decoder.state_dict().items():
        state[substitute(f'decoder.{name}', rules).removeprefix('decoder.')] = value + 1
    state['decoder_pos_embed'] = sine_table((14, 14), 16)
    save_file(
        {n: v for n, v in state.items() if not n.endswith('views')}, tmp_path / 'mae.safetensors'
    )
    marks = {n: v.clone() for n, v in masked.state_dict().items() if n.endswith('views')}
    assert len(marks) == 2 * joint
    before = masked.decoder.mask_token.clone()
    load_weights(masked, tmp_path / 'mae.safetensors')
    assert torch.equal(masked.decoder.mask_token, before + 1)
    for name, value in marks.items():
        assert torch.equal(masked.state_dict()[name], value)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'joint': False, 'patch': (16, 16)}, 'patches have 16x16 pixels.*set patch to .16, 16'),
        ({'size': 'small', 'joint': False}, 'of another shape'),
        ({'joint': True}, r'1 unexpected \(views\); it was trained .* set joint to true'),
    ],
)
def test_refuses_other_encoders(tmp_path, change, message):
    save_file(as_mae(tiny(**change)), tmp_path / 'mae.safetensors')
    with pytest.raises(CheckpointError, match=message):
        load_encoder(tiny(joint=False), tmp_path / 'mae.safetensors')


def test_refuses_incomplete_encoders_and_networks_without_one(tmp_path):
    state = as_mae(tiny(joint=False))
    state.pop('blocks.11.mlp.fc2.bias')
    save_file(state, tmp_path / 'mae.safetensors')
    with pytest.raises(CheckpointError, match=r'1 missing \(blocks.11.mlp.2.bias\)'):
        load_encoder(tiny(joint=False), tmp_path / 'mae.safetensors')
    with pytest.raises(CheckpointError, match='raft_stereo has no encoder'):
        load_encoder(create_model('raft_stereo', 'realtime'), tmp_path / 'mae.safetensors')


def test_refuses_impossible_patches():
    with pytest.raises(ValueError, match='image is 32x64, which patches of 24x8'):
        tiny(patch=(24, 8))
    with pytest.raises(ValueError, match='multiples of 4'):
        tiny(patch=(2, 8))


def test_exports_for_any_size(tmp_path):
    onnx_export = pytest.importorskip('nndepth_core.export.onnx')
    report = onnx_export.export_onnx(tiny(), tmp_path / 'mae.onnx', iterations=1)
    assert report.fixed_size is None
    assert report.nodes < 1200
