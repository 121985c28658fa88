"""The masked autoencoder of pairs against the authors' code; masks, order and gradients."""

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('accelerate')
pytest.importorskip('jsonargparse')

from fill import fill, load_golden  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from probe import official_state, record, unpacked  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from nndepth_core.blocks.masking import from_patches, mask_by, put_back, take  # noqa: E402
from nndepth_core.models.masked_stereo import MaskedStereo  # noqa: E402
from nndepth_core.training import TrainingError  # noqa: E402
from nndepth_core.training.image_losses import (  # noqa: E402
    ReconstructionLoss,
    removed_error,
    similarity,
)
from nndepth_core.weights import load_official  # noqa: E402
from nndepth_core.weights.checkpoint import CheckpointError  # noqa: E402


def tiny(**settings):
    torch.manual_seed(0)
    few = {'decoder_width': 16, 'decoder_layers': 1, 'decoder_heads': 2}
    return MaskedStereo(**{'size': 'tiny', 'patch': (8, 8), 'image': (32, 64), **few, **settings})


def pair(height=32, width=64, count=1):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, count, 3, height, width, generator=generator) * 255


@pytest.fixture(scope='module')
def golden(tmp_path_factory):
    """The authors' network on its golden: facts, arrays, images, result and what was seen."""
    facts, arrays = load_golden('masked_stereo_authors')
    network = MaskedStereo(**MaskedStereo.variants['authors']).eval()
    tables = {
        'encoder.pos_embed': network.encoder.positions.detach(),
        'decoder.decoder_pos_embed': network.decoder.positions.detach(),
        'loss_fnc.patch_embed.proj.bias': torch.zeros(1),  # their files hold this too
    }
    load_official(network, official_state(facts) | tables)
    images = unpacked(arrays)
    noise = [torch.from_numpy(arrays[f'noise_{side}']) for side in ('left', 'right')]
    with record(network) as seen, torch.inference_mode():
        result = network(*images, noise)
    return facts, arrays, images, result, seen


def test_equals_the_authors_network(golden):
    facts, arrays, _, result, seen = golden
    latents, views = seen.outputs['encoder'][0], seen.inputs['decoder.blocks.0']
    left, right = (values[:, 1:] for values in seen.outputs['decoder.predict'])
    found = {
        'latent_right': latents[1][:, ::4, ::16],
        'decoder_in_left': views[0][0][:, ::16, ::16],
        'output': left[:, ::8, ::24],
        'output_right': right[:, ::14, ::24],
    }
    for name, values in found.items():
        np.testing.assert_allclose(
            values, arrays[name], rtol=0, atol=facts['tolerance'], err_msg=name
        )
    for side in ('left', 'right'):
        removed = getattr(result, f'{side}_removed')
        np.testing.assert_array_equal(removed.flatten(1), arrays[f'mask_{side}'])


def test_losses_equal_the_authors(golden, tmp_path):
    facts, _, images, result, _ = golden
    vgg = {}
    for index, (name, shape) in zip((0, 2, 5, 7, 10, 12, 14), pairs_of(facts['vgg']), strict=True):
        for kind, size in shape.items():
            values = fill(f'{name}.{kind}', tuple(size))
            vgg[f'features.{index}.{kind}'] = torch.from_numpy(np.asarray(values, np.float32))
    save_file(vgg, tmp_path / 'vgg.safetensors')
    for settings_ in (
        {},
        {'mse': 0, 'ssim': 1},
        {'mse': 0, 'perceptual': 1, 'features': tmp_path / 'vgg.safetensors'},
        {'mse': 2, 'ssim': 0.5},
    ):
        loss = ReconstructionLoss(**settings_)
        weights = {'mse': loss.mse, 'ssim': loss.ssim, 'perceptual': loss.perceptual}
        expected = sum(weight * facts[name] for name, weight in weights.items())
        sides = zip(result[:2], images, result[2:], strict=True)
        found = sum(loss(image, target / 255, removed) for image, target, removed in sides)
        assert found.item() == pytest.approx(expected, rel=1e-4)


def pairs_of(entries):
    """The entries of VGG by layer: its name, and the shapes of weight and bias."""
    layers = {}
    for name, shape in entries:
        layer, _, kind = name.rpartition('.')
        layers.setdefault(layer, {})[kind] = shape
    return layers.items()


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(2, 60), ratio=st.floats(0.01, 0.99), batch=st.integers(1, 3),
    seed=st.integers(0, 9),
)  # fmt: skip
def test_removes_exactly_the_ratio_and_puts_back_in_order(count, ratio, batch, seed):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(batch, count, generator=generator)
    kept, removed = mask_by(noise, ratio)
    wanted = min(max(round(count * ratio), 1), count - 1)
    assert removed.sum(1).tolist() == [wanted] * batch
    assert (noise.masked_fill(removed, 0).amax(1) <= noise.masked_fill(~removed, 2).amin(1)).all()
    tokens = torch.rand(batch, count, 4, generator=generator)
    filler = torch.full((1, 1, 4), -1.0)
    back = put_back(take(tokens, kept), kept, filler, count)
    assert torch.equal(back, torch.where(removed.unsqueeze(2), filler, tokens))


def test_tubes_are_shared_and_independent_masks_are_not():
    device = torch.device('cpu')
    for masks in ('tube', 'independent'):
        network = tiny(masks=masks, mask_ratio=0.5)
        result = network(*pair(count=3))
        same = torch.equal(result.left_removed, result.right_removed)
        assert same == (masks == 'tube')
        assert result.left_removed.flatten(1).sum(1).tolist() == [16] * 3
        first, second = network.noise(2, (4, 8), device)
        assert torch.equal(first, second) == (masks == 'tube')
        assert not torch.equal(first[0], first[1])  # pairs of a batch differ


def test_patches_are_laid_out_by_row_column_and_channel():
    image = torch.arange(2 * 3 * 4 * 12.0).view(2, 3, 4, 12)
    rows = [
        image[:, :, r : r + 2, c : c + 4].permute(0, 2, 3, 1).flatten(1)
        for r in (0, 2)
        for c in (0, 4, 8)
    ]
    assert torch.equal(from_patches(torch.stack(rows, 1), (2, 3), (2, 4)), image)


def test_never_sees_what_is_removed():
    network = tiny().eval()
    images = pair().requires_grad_()
    noise = network.noise(1, (4, 8), torch.device('cpu'))
    result = network(*images, noise)
    hidden = result.left_removed.repeat_interleave(8, 2).repeat_interleave(8, 3)[0, 0]
    (result.left.sum() + result.right.square().sum()).backward()
    assert not images.grad[..., hidden].any()
    assert images.grad[..., ~hidden].abs().amin(dim=(0, 1, 2)).min() > 0
    with torch.no_grad():
        other = network(*torch.where(hidden, 0.0, images), noise)
    assert torch.equal(other.left, result.left)


def test_squared_error_is_of_removed_patches_only():
    generator = torch.Generator().manual_seed(0)
    image, target = torch.rand(2, 2, 3, 16, 24, generator=generator)
    removed = torch.rand(2, 1, 2, 3, generator=generator) > 0.5
    removed[:, :, 0, 0], removed[:, :, 1, 1] = True, False
    hidden = removed.repeat_interleave(8, 2).repeat_interleave(8, 3).expand_as(image)
    image.requires_grad_()
    found = removed_error(image, target, removed)
    for index in range(2):
        errors = (image[index] - target[index]).square()[hidden[index]]
        assert found[index].item() == pytest.approx(errors.mean().item())
    found.sum().backward()
    assert torch.equal(image.grad != 0, hidden)


def test_equal_images_are_alike():
    image = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(similarity(image, image), torch.ones_like(image))
    loss = ReconstructionLoss(ssim=1)
    assert loss(image, image, torch.ones(1, 1, 2, 3, dtype=torch.bool)).item() < 1e-6


def test_sizes_are_refused_or_resized():
    with pytest.raises(ValueError, match=r'images are 60x32, which patches of 8x8.*model.resize'):
        tiny()(*pair(32, 60))
    assert tiny(resize=True)(*pair(30, 60)).left.shape == (1, 3, 32, 64)
    assert tiny()(*pair(64, 96)).left.shape == (1, 3, 64, 96)


@pytest.mark.parametrize('ratio', [0.0, 1.0, -0.5, 75.0, float('nan')])
def test_refuses_ratios_outside_0_to_1(ratio):
    with pytest.raises(ValueError, match=f'mask_ratio is {ratio}; give a number between 0 and 1'):
        tiny(mask_ratio=ratio)


def test_refuses_impossible_losses(tmp_path):
    with pytest.raises(TrainingError, match=r'needs the weights of VGG-16; set trainer.loss.feat'):
        ReconstructionLoss(perceptual=1).check()
    with pytest.raises(TrainingError, match='are 0; give one a weight'):
        ReconstructionLoss(mse=0).check()
    with pytest.raises(TrainingError, match=r'loss.ssim is -1; give 0 or more'):
        ReconstructionLoss(ssim=-1).check()
    save_file({'features.0.weight': torch.zeros(1)}, tmp_path / 'other.safetensors')
    with pytest.raises(CheckpointError, match=r'has no features.0.weight as VGG-16 has'):
        ReconstructionLoss(perceptual=1, features=tmp_path / 'other.safetensors').check()
