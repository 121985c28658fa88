"""Shared building blocks against their definitions."""

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from nndepth_core.blocks.conv import ConvBlock  # noqa: E402
from nndepth_core.blocks.correlation import (  # noqa: E402
    correlation_pyramid,
    sample_pyramid,
    volume_pyramid,
)
from nndepth_core.blocks.cost_volume import (  # noqa: E402
    bin_mass,
    fine_soft_argmin,
    near_peak,
    soft_argmin,
)
from nndepth_core.blocks.norm import InstanceNorm  # noqa: E402
from nndepth_core.blocks.planes import PlaneBlock, PlaneOut, PlaneUp  # noqa: E402
from nndepth_core.blocks.update import ConvGru  # noqa: E402
from nndepth_core.blocks.upsample import (  # noqa: E402
    convex_upsample,
    convex_upsample_coarse,
    pixel_shuffle,
    residual_confidence,
    softmax_mean,
    split_fine,
)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@settings(max_examples=30, deadline=None)
@given(position=st.floats(-20, 20), radius=st.integers(0, 4))
def test_sampling_interpolates_and_finds_zeros_outside(position, radius):
    fine = random(8)
    pyramid = volume_pyramid(fine.view(1, 1, 8, 1, 1), 2)
    found = sample_pyramid(pyramid, torch.full((1, 1, 1), position), radius)
    for level, line in enumerate((fine, fine.view(4, 2).mean(1))):
        places = np.float32(position) / 2**level + np.arange(-radius, radius + 1)
        padded = [0, *line.tolist(), 0]
        expected = np.interp(places, np.arange(-1, len(line) + 1), padded, left=0, right=0)
        np.testing.assert_allclose(found[0, 0, 0, level], expected, atol=1e-5)


@pytest.mark.parametrize('position', [float('nan'), float('inf'), -1e30])
def test_sampling_survives_positions_that_are_none(position):
    pyramid = volume_pyramid(random(1, 3, 8, 2, 2), 2)
    found = sample_pyramid(pyramid, torch.full((1, 2, 2), position), 2)
    assert found.shape == (1, 2, 2, 2, 15)


def test_correlation_pyramid_pools_the_product():
    left, right = random(2, 1, 5, 3, 11)
    volume = torch.einsum('nchx,nchy->nhxy', left, right)
    for level in correlation_pyramid(left, right, 3):
        torch.testing.assert_close(level[..., 0, 1:-1], volume)
        assert not level[..., [0, -1]].any()
        volume = F.avg_pool2d(volume, (1, 2))


def test_volumes_are_sampled_channel_by_channel():
    volume = random(1, 2, 8, 3, 4)
    found = sample_pyramid(volume_pyramid(volume, 2), torch.full((1, 3, 4), 4.0), 1)
    assert found.shape == (1, 3, 4, 2, 6)
    y, x = 2, 3
    torch.testing.assert_close(found[0, y, x, 0], volume[0, :, 3:6, y, x].flatten())
    pairs = volume.unflatten(2, (4, 2)).mean(3)
    torch.testing.assert_close(found[0, y, x, 1], pairs[0, :, 1:4, y, x].flatten())


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_instance_norm_overwrites_only_without_gradients(layout):
    values = (3 + 2 * random(2, 3, 70, 5)).contiguous(memory_format=layout)
    expected = F.instance_norm(values)
    tracked = values.clone().requires_grad_()
    torch.testing.assert_close(InstanceNorm()(tracked), expected)
    torch.testing.assert_close(tracked.detach(), values)
    with torch.inference_mode():
        torch.testing.assert_close(InstanceNorm()(values), expected)


@pytest.mark.parametrize('kernel', [3, 4])
def test_transposed_block_doubles_the_size(kernel):
    block = ConvBlock(2, 3, kernel, 2, transposed=True)
    assert block(torch.zeros(1, 2, 5, 7)).shape == (1, 3, 10, 14)


@pytest.mark.parametrize('training', [False, True])
def test_gru_equals_its_textbook_form(training):
    state, x, context = random(1, 4, 5, 6), random(1, 3, 5, 6), random(1, 12, 5, 6)
    gru = ConvGru(4, 3)
    weight = torch.cat(
        [torch.cat([gru.gates.weight, gru.candidate.weight]), gru.from_input.weight], 1
    )
    for_z, for_r, for_q = weight.chunk(3)
    bias_z, bias_r, bias_q = gru.from_input.bias.chunk(3)
    context_z, context_r, context_q = context.chunk(3, 1)
    joined = torch.cat([state, x], 1)
    z = torch.sigmoid(F.conv2d(joined, for_z, bias_z, padding=1) + context_z)
    r = torch.sigmoid(F.conv2d(joined, for_r, bias_r, padding=1) + context_r)
    reset = torch.cat([r * state, x], 1)
    q = torch.tanh(F.conv2d(reset, for_q, bias_q, padding=1) + context_q)
    with torch.set_grad_enabled(training):
        found = gru(state, x, context)
    torch.testing.assert_close(found, (1 - z) * state + z * q)


def test_convex_upsampling_takes_the_neighbour_that_its_weights_choose():
    coarse = random(1, 1, 4, 5)
    logits = torch.full((1, 9, 4, 2, 5, 2), -100.0)
    logits[:, 5] = 100  # the right neighbour
    fine = convex_upsample(coarse, logits, 2)
    expected = F.pad(coarse[..., 1:], (0, 1)) * 2
    torch.testing.assert_close(fine, expected.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_both_layouts_of_the_weights_give_the_same():
    flow, mask = random(2, 2, 3, 5), random(2, 9 * 4, 3, 5)
    full = split_fine(F.pixel_shuffle(mask, 2), 2)
    torch.testing.assert_close(
        convex_upsample_coarse(flow, mask, 2), convex_upsample(flow, full, 2)
    )


def test_the_softmax_mean_is_that_of_a_softmax():
    logits, values = 300 * random(2, 7, 3), random(2, 7, 3)
    expected = (logits.softmax(1) * values).sum(1)
    torch.testing.assert_close(softmax_mean(logits, values, 1), expected)


def test_residual_confidence_is_one_where_nothing_moved():
    step = torch.zeros(1, 1, 2, 3)
    assert residual_confidence(step, 4).shape == (1, 1, 8, 12)
    assert (residual_confidence(step, 4) == 1).all()
    moved = residual_confidence(step + 0.25, 4)
    torch.testing.assert_close(moved, torch.full_like(moved, float(np.exp(-1))))


@pytest.mark.parametrize(('stride', 'shifted'), [(1, False), (1, True), (2, False)])
def test_pairs_of_planes_convolve_in_three_dimensions(stride, shifted):
    block = PlaneBlock(3, 5, stride, shifted).eval()
    planes = 2 // stride  # that a pair gives
    weight = random(planes * 5, 3, 2, 3, 3)  # outputs, inputs, planes, rows, columns
    block.conv.conv.weight.data = weight.transpose(1, 2).flatten(1, 2).contiguous()
    volume = random(2, 3, 8, 6, 10)
    padded = F.pad(volume, (0, 0, 0, 0, int(shifted), int(shifted)))
    expected = F.conv3d(padded, weight, stride=(2, stride, stride), padding=(0, 1, 1))
    expected = expected.relu() / (1 + 1e-5) ** 0.5
    expected = expected.unflatten(1, (planes, 5)).permute(0, 2, 3, 1, 4, 5).flatten(2, 3)
    if shifted:
        expected = expected[:, :, 1:-1]
    found = block(volume.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_doubled_planes_are_a_transposed_convolution():
    up = PlaneUp(3, 2)
    weight = random(3, 2, 2, 1, 1)  # inputs, outputs, planes, rows, columns
    up.conv.weight.data = weight.permute(2, 1, 0, 3, 4).reshape(4, 3, 1, 1)
    up.conv.bias.data.zero_()
    volume = random(2, 3, 4, 5, 6)
    expected = F.conv_transpose3d(volume, weight, stride=(2, 1, 1))
    expected = F.interpolate(expected, scale_factor=(1, 2, 2))
    found = up(volume.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_planes_that_leave_are_a_transposed_convolution():
    leave = PlaneOut(3)
    weight = random(6, 1, 4, 2, 2)  # inputs, outputs, planes, rows, columns
    leave.conv.weight.data = weight.squeeze(1)
    leave.conv.bias.data.zero_()
    volume = random(2, 4, 3, 5, 6)
    pairs = volume.reshape(2, 2, 6, 5, 6).transpose(1, 2)  # both planes of a pair as channels
    expected = F.conv_transpose3d(pairs, weight, stride=(4, 2, 2))
    torch.testing.assert_close(leave(volume), expected.squeeze(1), rtol=1e-4, atol=1e-4)


def test_near_the_peak_and_at_the_ends_of_the_range():
    logits = torch.tensor([[0.0, 1, 5, 2, 0, 0], [9, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5]])
    bins, near = near_peak(logits.T.reshape(1, 6, 1, 3), 2)
    assert bins[0, :, 0].T.tolist() == [[0, 1, 2, 3, 4], [0, 0, 0, 1, 2], [3, 4, 5, 5, 5]]
    assert near[0, :, 0].T.tolist() == [[0, 1, 5, 2, 0], [9, 9, 9, 1, 2], [3, 4, 5, 5, 5]]


@pytest.mark.parametrize('factor', [3, 4])
def test_fine_soft_argmin_equals_interpolation_of_the_whole_volume(factor):
    logits = random(2, 7, 5, 6) * 4
    whole = F.interpolate(logits.unsqueeze(1), (7 * factor, 5, 6), mode='trilinear')[:, 0]
    torch.testing.assert_close(fine_soft_argmin(logits, factor), soft_argmin(whole))


def test_fine_soft_argmin_does_not_overflow():
    logits = torch.full((1, 6, 2, 2), -1e4)
    logits[:, 4] = 1e4
    # the peak is between the disparities 4 * 4 + 1 and 4 * 4 + 2
    torch.testing.assert_close(fine_soft_argmin(logits, 4), torch.full((1, 1, 2, 2), 17.5))


def test_bin_mass_is_the_probability_around_the_result():
    logits = torch.zeros(1, 8, 1, 1)
    logits[:, 3] = 50.0
    middle = torch.full((1, 1, 1, 1), 4 * 3 + 1.5)
    torch.testing.assert_close(bin_mass(logits, middle, 4), torch.ones(1, 1, 1, 1))
    for bins, part in ((1.5, 0.5), (2.0, 0.0)):
        found = bin_mass(logits, middle + 4 * bins, 4)
        torch.testing.assert_close(found, torch.full((1, 1, 1, 1), part), atol=1e-6, rtol=0)
    even = bin_mass(torch.zeros(1, 8, 1, 1), middle, 4)
    torch.testing.assert_close(even, torch.full((1, 1, 1, 1), 3 / 8))


@pytest.mark.parametrize('factor', [1, 2, 3])
def test_pixel_shuffle_equals_that_of_torch(factor):
    x = torch.rand(2, 2 * factor**2, 3, 4)
    torch.testing.assert_close(pixel_shuffle(x, factor), F.pixel_shuffle(x, factor))
