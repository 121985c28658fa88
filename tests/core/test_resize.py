"""Resizing by matrices gives what torch's own interpolation gives."""

import pytest

torch = pytest.importorskip('torch')

from torch.nn.functional import interpolate  # noqa: E402

from nndepth_core.blocks.resize import resize_antialiased, resize_bicubic  # noqa: E402

SIZES = [(12, 9), (5, 30), (7, 4), (11, 17), (1, 1)]


@pytest.mark.parametrize('size', SIZES)
def test_antialiased(size):
    image = torch.rand(2, 3, 11, 17, generator=torch.Generator().manual_seed(0))
    expected = interpolate(image, size, mode='bilinear', antialias=True)
    torch.testing.assert_close(resize_antialiased(image, *size), expected)


@pytest.mark.parametrize('excess', [0.0, 0.1])
@pytest.mark.parametrize('size', SIZES)
def test_bicubic_by_a_factor(size, excess):
    table = torch.rand(3, 11, 17, generator=torch.Generator().manual_seed(0))
    factors = [(wanted + excess) / side for wanted, side in zip(size, (11, 17), strict=True)]
    expected = interpolate(table[None], scale_factor=factors, mode='bicubic')[0]
    torch.testing.assert_close(resize_bicubic(table, *size, excess), expected)


def test_bicubic_to_its_own_size_changes_nothing():
    table = torch.rand(3, 6, 7)
    torch.testing.assert_close(resize_bicubic(table, 6, 7), table, rtol=0, atol=0)
