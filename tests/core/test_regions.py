"""Regions against pictures whose regions are known."""

from itertools import pairwise

import numpy as np
import pytest

from nndepth_core.evaluation.regions import (
    EDGE_BANDS,
    edge_bands,
    near_edges,
    stereo_regions,
    textureless,
)

NAN = np.nan


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values.astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize(('step', 'found'), [(2.0, False), (2.5, True), (-2.5, True)])
def test_a_step_of_the_truth_is_an_edge(step, found):
    truth = np.full((30, 40), 10, np.float32)
    truth[:, 20:] += step
    expected = np.zeros(truth.shape, bool)
    expected[:, 15:25] = found  # columns 19 and 20 and four more at either side
    np.testing.assert_array_equal(near_edges(truth), expected)
    np.testing.assert_array_equal(near_edges(truth.T), expected.T)


def test_window_sets_the_reach():
    truth = np.full((7, 12), 1, np.float32)
    truth[:, 6:] = 9
    np.testing.assert_array_equal(near_edges(truth, window=1)[0].nonzero()[0], [5, 6])


@pytest.mark.parametrize(('step', 'gap', 'found'), [(6, 4, True), (5, 4, False), (50, 10, False)])
def test_sparse_truth(step, gap, found):
    """Each pixel of a gap allows one more; neighbours beyond the window are none."""
    row = np.full((1, 40), NAN, np.float32)
    row[0, 10], row[0, 10 + gap] = 20, 20 + step
    assert near_edges(row).any() == found


def test_a_slanted_surface_that_is_seen_in_part_has_no_edge():
    rows, columns = np.mgrid[:40, :60].astype(np.float32)
    truth = 0.5 * rows + 0.8 * columns
    truth[np.random.default_rng(0).random(truth.shape) < 0.7] = NAN
    assert not near_edges(truth).any()


def test_edges_of_nothing():
    assert not near_edges(np.full((5, 6), NAN, np.float32)).any()


@pytest.mark.parametrize(('contrast', 'found'), [(3, True), (4, False)])
def test_texture_is_a_mean_square_of_four_grey_values(contrast, found):
    stripes = np.tile([100, 100 + contrast], (12, 10))  # every difference is the contrast
    assert (textureless(grey(stripes)) == found).all()


def test_a_step_in_grey_is_texture_in_its_window():
    image = np.full((9, 20), 100)
    image[:, 10:] += 12
    # the squares 0.5 * 144 of columns 9 and 10 over three columns: 24 beside them, 48 on them
    expected = np.ones((9, 20), bool)
    expected[:, 8:12] = False
    np.testing.assert_array_equal(textureless(grey(image)), expected)
    assert textureless(grey(image.T)).all()  # a step along a column matches nowhere


def test_regions_hold_known_pixels_only():
    left = grey(np.full((20, 30), 90))
    truth = np.full((20, 30), 5, np.float32)
    truth[:, 15:] = 12
    truth[:5] = NAN
    occluded = np.zeros(truth.shape, bool)
    occluded[:, 12:15] = True
    regions = stereo_regions(left, truth, occluded)
    counts = {name: int(mask.sum()) for name, mask in regions.items()}
    assert counts == {'all': 450, 'noc': 405, 'edges': 150, 'textureless': 450}
    assert list(stereo_regions(left, truth)) == ['all', 'edges', 'textureless']
    assert not any(mask[:5].any() for mask in regions.values())


def test_one_column():
    regions = stereo_regions(grey(np.full((4, 1), 9)), np.ones((4, 1), np.float32))
    assert regions['textureless'].all()
    assert not regions['edges'].any()


def test_bands_along_an_edge_by_rows():
    truth = np.full((40, 30), 10, np.float32)
    truth[20:] = 20  # rows 19 and 20 are at the edge
    distance = np.abs(np.arange(40) - 19.5) - 0.5
    for turned in (False, True):
        bands = edge_bands(truth.T if turned else truth)
        assert tuple(bands) == EDGE_BANDS
        along, other = ('columns', 'rows') if turned else ('rows', 'columns')
        for low, high in pairwise((-1, 0, 2, 4, 8)):
            expected = np.tile(((distance > low) & (distance <= high))[:, None], 30)
            found = bands[f'{along}_{high}']
            np.testing.assert_array_equal(found.T if turned else found, expected)
            assert not bands[f'{other}_{high}'].any()


def test_bands_of_a_corner_belong_to_the_nearer_edge():
    truth = np.full((40, 40), 10, np.float32)
    truth[20:, 20:] = 20
    truth[30, 35] = NAN
    bands = edge_bands(truth)
    rows = np.any([bands[name] for name in EDGE_BANDS if 'rows' in name], 0)
    columns = np.any([bands[name] for name in EDGE_BANDS if 'columns' in name], 0)
    assert not (rows & columns).any()
    assert rows[26, 30]
    assert not columns[26, 30]
    assert columns[30, 26]
    assert not rows[24, 24]  # as near to one as to the other
    assert not columns[24, 24]
    assert sum(band.astype(int) for band in bands.values()).max() == 1


def test_bands_of_a_plane_are_empty():
    truth = np.tile(np.linspace(0, 20, 30, dtype=np.float32), (20, 1))
    assert not any(band.any() for band in edge_bands(truth).values())
