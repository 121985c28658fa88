"""The correlation at some of all matches equals its definition."""

import math

import pytest

torch = pytest.importorskip('torch')

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from nndepth_core.blocks.sparse_correlation import (  # noqa: E402
    best_matches,
    cell_weights,
    dilated_correlation,
    gather_matches,
)


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


@pytest.mark.parametrize('count', [1, 3, 8])
def test_best_matches_are_the_largest_of_the_dense_volume(count):
    left, right = random_maps((2, 16, 3, 8), (2, 16, 3, 8))
    products, columns = best_matches(left, right, count)
    dense = torch.einsum('nchx,nchy->nhxy', left, right) / 4
    for x in range(8):
        there = min(count, x + 1)
        expected, places = dense[:, :, x, : x + 1].sort(2, descending=True)
        torch.testing.assert_close(products[:, :, x, :there], expected[..., :there])
        assert (columns[:, :, x, :there] == places[..., :there]).all()
        assert not products[:, :, x, there:].any()


@settings(max_examples=50, deadline=None)
@given(st.floats(-40, 40, width=32), st.integers(1, 5), st.integers(0, 4))
def test_a_match_counts_for_the_two_cells_around_it(offset, levels, radius):
    weights = cell_weights(torch.full((1, 1, 1, 1), offset), levels, radius)
    expected = torch.zeros(levels, 2 * radius + 1)
    for level in range(levels):
        place = offset / 2**level
        low = math.floor(place)
        for cell, share in ((low, 1 - (place - low)), (low + 1, place - low)):
            if abs(cell) <= radius:
                expected[level, cell + radius] += share
    torch.testing.assert_close(weights[0, 0, 0, :, 0], expected.flatten(), rtol=0, atol=1e-5)


def test_cells_add_up_what_meets_in_them():
    products = torch.tensor([[[[2.0, 3.0, 5.0]]]])
    offsets = torch.tensor([[[[0.0, 0.5, 7.0]]]])
    found = gather_matches(products, offsets, 2, 1)
    assert found.flatten().tolist() == [0, 3.5, 1.5, 0, 4.25, 0.75]
    assert found.shape == (1, 6, 1, 1)
