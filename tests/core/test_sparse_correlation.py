"""The correlation at some of all matches equals its definition."""

import pytest

torch = pytest.importorskip('torch')

from nndepth_core.blocks.sparse_correlation import dilated_correlation  # noqa: E402


def random_maps(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for shape in shapes]


@pytest.mark.parametrize(('dilation', 'stride'), [(1, 1), (3, 1), (1, 4), (2, 2), (16, 1)])
def test_dilated_correlation_equals_its_definition(dilation, stride):
    rows, columns, height, width = (-1, 0, 2), (1, 0, -3), 4, 5
    left, right = random_maps((2, 3, height, width), (2, 3, stride * height, stride * width))
    expected = torch.zeros(2, 3, 3, height, width)
    for i, j, y, x in torch.cartesian_prod(*map(torch.arange, expected.shape[1:])).tolist():
        v, u = stride * y + dilation * rows[i], stride * x + dilation * columns[j]
        if 0 <= v < right.shape[2] and 0 <= u < right.shape[3]:
            expected[:, i, j, y, x] = (left[:, :, y, x] * right[:, :, v, u]).sum(1)
    found = dilated_correlation(left, right, rows, columns, dilation, stride)
    torch.testing.assert_close(found, expected.flatten(1, 2))
