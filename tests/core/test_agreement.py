"""Agreement of two maps by hand and by its laws, running statistics, and their picture."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nndepth_core.evaluation.agreement import (
    Comparison,
    Running,
    Tally,
    Times,
    at_one_size,
    difference_of,
    picture,
    tally_of,
)

NAN, INF = np.nan, np.inf


def row(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


def test_a_tally_by_hand():
    a = row(10, 10, 10, 10, 100, NAN, INF, 5)
    b = row(10, 11, 13, 13.5, 104, 7, 3, NAN)
    found = tally_of(a, b)
    assert found == Tally(1, 8, 6, 7, 5, 2, 3, 2, 0 + 1 + 3 + 3.5 + 4)
    figures = found.figures('px')
    assert figures == {
        'density_a': 6 / 8,
        'density_b': 7 / 8,
        'within_1px': 2 / 5,
        'within_3px': 3 / 5,
        'within_5_percent': 2 / 5,
        'mean_difference': 11.5 / 5,
    }
    in_metres = found.figures('m')
    assert math.isnan(in_metres['within_1px'])
    assert math.isnan(in_metres['within_3px'])
    assert in_metres['within_5_percent'] == 2 / 5
    assert np.array_equal(difference_of(a, b), row(0, -1, -3, -3.5, -4, NAN, NAN, NAN), True)


def test_nothing_in_common_is_unknown_and_spoils_no_mean():
    alone = tally_of(row(1, NAN), row(NAN, 1))
    figures = alone.figures('px')
    assert (figures['density_a'], figures['density_b']) == (0.5, 0.5)
    assert math.isnan(figures['within_1px'])
    assert math.isnan(figures['mean_difference'])
    assert (alone + tally_of(row(2, 2), row(2, 3))).figures('px')['mean_difference'] == 0.5
    assert all(math.isnan(value) for value in Tally().figures('px').values())


SHAPE = (4, 6)
MAPS = arrays.arrays(
    np.float32,
    SHAPE,
    elements=st.floats(-4, 200, width=32) | st.sampled_from([NAN, INF, -INF]),
)


@given(MAPS, MAPS)
def test_laws_of_the_tally(a, b):
    found, swapped = tally_of(a, b), tally_of(b, a)
    assert (found.known_a, found.known_b) == (swapped.known_b, swapped.known_a)
    for name in ('common', 'within_1', 'within_3', 'within_share', 'difference'):
        assert getattr(found, name) == getattr(swapped, name)
    assert found.within_1 <= found.within_3 <= found.common <= min(found.known_a, found.known_b)
    known = np.abs(difference_of(a, b).astype(np.float64))
    assert found.common == np.isfinite(known).sum()
    assert found.difference == pytest.approx(np.nansum(known), rel=1e-5)
    same = tally_of(a, a)
    assert same.common == same.within_1 == same.within_share == same.known_a


@given(
    arrays.arrays(np.float32, SHAPE, elements=st.floats(1, 200, width=32)),
    arrays.arrays(np.float32, SHAPE, elements=st.floats(0.5, 2, width=32)),
)
def test_depths_agree_where_their_disparities_do(disparity, factor):
    other = disparity * factor
    ratio = np.maximum(other, disparity).astype(np.float64) / np.minimum(other, disparity)
    if np.any(np.abs(ratio - 1.05) < 1e-5):  # rounding decides
        return
    of_depths = tally_of(np.float32(70) / disparity, np.float32(70) / other)
    assert tally_of(disparity, other).within_share == of_depths.within_share
    assert of_depths.within_share == np.count_nonzero(ratio < 1.05)


@given(st.lists(st.integers(0, 9), max_size=20), st.integers(1, 6), st.integers(1, 6))
def test_a_window_holds_the_newest_and_the_total_all(values, window, later):
    running = Running(Times(), window)
    for value in values:
        running.add(Times(1, value, 2 * value))
    newest = values[-window:]
    assert running.window == Times(len(newest), sum(newest), 2 * sum(newest))
    running.limit(later)
    newest = newest[-later:]
    assert running.window == Times(len(newest), sum(newest), 2 * sum(newest))
    assert running.total == Times(len(values), sum(values), 2 * sum(values))


def test_a_comparison_of_three_frames():
    comparison = Comparison('disparity', window=2)
    for shift in (4, 0, 2):
        comparison.add(row(50, 50), row(50 + shift, NAN))
        comparison.add_times('a', 10 + shift, 20 + shift)
    window, total = comparison.figures('window'), comparison.figures('total')
    assert (window['frames'], total['frames']) == (2, 3)
    assert (window['within_1px'], total['within_1px']) == (0.5, 1 / 3)
    assert (window['mean_difference'], total['mean_difference']) == (1, 2)
    assert (window['inference_ms_a'], total['total_ms_a']) == (11, 22)
    assert math.isnan(total['inference_ms_b'])
    head, *rows = comparison.table()
    assert head == ['', 'last 2 frames', 'all 3 frames']
    told = {title: values for title, *values in rows}
    assert told['within 1 px'] == ['50.0 %', '33.3 %']
    assert told['mean |A - B|'] == ['1.000 px', '2.000 px']
    assert told['density A / B'] == ['100.0 / 50.0 %'] * 2
    assert told['inference A / B'] == ['11.0 / - ms', '12.0 / - ms']


def test_metres_have_no_pixels():
    comparison = Comparison('depth')
    comparison.add(row(10, 10), row(10.4, 12))
    titles = [title for title, *_ in comparison.table({'total': ''})]
    assert 'within 1 px' not in titles
    assert ['mean |A - B|', '1.200 m'] in comparison.table({'total': ''})
    assert comparison.figures('total')['within_5_percent'] == 0.5


@pytest.mark.parametrize(
    ('a', 'b', 'same'),
    [
        (row(1, NAN), row(1, NAN), True),
        (row(1, NAN), row(1, 2), False),
        (row(NAN), row(NAN), False),
    ],
)
def test_models_that_are_identical_so_far(a, b, same):
    comparison = Comparison('disparity')
    assert not comparison.identical
    comparison.add(a, b)
    assert comparison.identical is same
    comparison.add(row(1), row(1.5))
    assert not comparison.identical


def test_findings_tell_how_to_read_the_figures():
    comparison = Comparison('disparity', names={'a': 'x', 'b': 'x'})
    comparison.add(np.ones((4, 8), np.float32), np.ones((4, 8), np.float32))
    (same,) = comparison.findings
    assert 'A and B are the same model, x, and give the same' in same.text
    a, b = comparison.add(np.ones((8, 16), np.float32), np.ones((4, 8), np.float32))
    assert a.shape == b.shape == (8, 16)
    assert (b == 2).all()
    resampled, resized = comparison.findings
    assert 'A gave 16x8 and B 8x4 in a frame; such ones are compared at 16x8' in resampled.text
    assert 'from 8x4 to 16x8 in the middle' in resized.text


def test_the_smaller_map_is_resampled_and_its_edges_stay():
    """A plane of 20 px before one of 5 px, at half the size: 10 and 2.5."""
    large = np.full((8, 16), 5, np.float32)
    large[:, 6:] = 20
    small = np.ascontiguousarray(large[::2, ::2]) / 2
    for order in ((large, small), (small, large)):
        brought = at_one_size(*order, 'disparity')
        for values in brought:
            assert np.array_equal(values, large)
    a, b = at_one_size(large, small, 'depth')  # metres are not scaled
    assert np.array_equal(2 * b, a)


def parts(image: np.ndarray, width: int, height: int, strip: int) -> list[np.ndarray]:
    """The four tiles of a picture, row by row."""
    tall = height + strip
    return [
        image[y * tall + strip : (y + 1) * tall, x * width : (x + 1) * width]
        for y in (0, 1)
        for x in (0, 1)
    ]


@pytest.mark.parametrize(('unit', 'far', 'near'), [('px', 10, 60), ('m', 60, 10)])
def test_the_picture_shows_image_maps_difference_and_figures(unit, far, near):
    """Columns: both far, both near, far apart, one alone, unknown; near is red in either unit."""
    a = np.repeat(row(far, near, near, near, NAN), 64, 1).repeat(160, 0)
    b = np.repeat(row(far, near, far, NAN, NAN), 64, 1).repeat(160, 0)
    green = np.full((80, 160, 3), (0, 200, 0), np.uint8)
    comparison = Comparison('disparity' if unit == 'px' else 'depth')
    comparison.add(a, b)
    drawn = picture(green, a, b, comparison, comparison.table())
    assert drawn.shape[1] == 640
    image, of_a, difference, of_b = parts(drawn, 320, 160, 16)
    assert (image == (0, 200, 0)).all()
    red, _, blue = of_a[80, [32, 96]].T.astype(int)
    assert red[0] < blue[0]
    assert red[1] > blue[1]
    assert (of_a[:, -32] == 0).all()
    assert (of_b[:, 3 * 64 + 32] == 0).all()
    equal, both, apart, alone, neither = difference[80, 32::64].astype(int)
    assert np.array_equal(equal, both)
    assert apart[0] > apart[2]
    assert alone.tolist() == [128] * 3
    assert neither.tolist() == [0] * 3
    text = drawn[2 * 176 :]
    assert len(np.unique(text)) > 2
    assert text[:, :4].max() == 32
    assert text[:, -4:].max() == 32


@pytest.mark.parametrize('size', [(1, 1), (3, 40), (96, 64), (2000, 40)])
def test_a_picture_of_any_size_without_an_image(size):
    width, height = size
    values = np.full((height, width), NAN, np.float32)
    comparison = Comparison('depth', names={'a': 'long name ' * 9})
    drawn = picture(None, values, values, comparison, comparison.table())
    assert drawn.dtype == np.uint8
    assert drawn.shape[1] == 2 * min(max(width, 320), 640)
