"""Blocks that overwrite their own results compute the same and leave their inputs whole."""

import copy

import pytest

torch = pytest.importorskip('torch')

from torch import nn  # noqa: E402

from nndepth_core.blocks.conv import ConvBlock, ResidualBlock  # noqa: E402
from nndepth_core.blocks.norm import InstanceNorm  # noqa: E402
from nndepth_core.blocks.update import ConvGru  # noqa: E402
from nndepth_core.engines.optimize.in_place import (  # noqa: E402
    InPlaceInstanceNorm,
    overwrite_results,
)

BLOCKS = {
    'residual': (ResidualBlock(6, 6), [(2, 6, 8, 10)]),
    'projected': (ResidualBlock(6, 4, stride=2, norm='instance'), [(2, 6, 8, 10)]),
    'gru': (ConvGru(4, 6), [(2, 4, 8, 10), (2, 6, 8, 10), (2, 12, 8, 10)]),
    'norm': (ConvBlock(6, 40, norm='instance'), [(2, 6, 8, 10)]),
    'sequence': (nn.Sequential(nn.Conv2d(6, 4, 1), InstanceNorm()), [(2, 6, 8, 10)]),
}


@pytest.mark.parametrize('name', BLOCKS)
@torch.inference_mode()
def test_the_same_is_computed_and_inputs_stay(name):
    block, shapes = BLOCKS[name]
    block = copy.deepcopy(block).eval()
    generator = torch.Generator().manual_seed(1)
    inputs = [torch.randn(*shape, generator=generator) for shape in shapes]
    given = [x.clone() for x in inputs]
    expected = block(*inputs)
    overwrite_results(block)
    found = block(*inputs)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    for x, before in zip(inputs, given, strict=True):
        torch.testing.assert_close(x, before, rtol=0, atol=0)


def test_only_norms_behind_their_own_convolution_overwrite():
    shared = nn.Sequential(InstanceNorm(), nn.ReLU(), InstanceNorm())
    overwrite_results(shared)
    assert not any(isinstance(module, InPlaceInstanceNorm) for module in shared)
