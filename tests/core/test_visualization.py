"""Pictures: which colour stands for which value."""

import cv2
import numpy as np
import pytest

from nndepth_core import visualization
from nndepth_core.visualization import colorize

NAN, INF = np.nan, np.inf
TURBO_BGR = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_TURBO)[:, 0]


def test_colours_of_values():
    values = np.array([[NAN, -3, 10, 11, 137, 264, 999, INF, -INF]], np.float32)
    index = [0, 1, 1, 2, 128, 255, 255, 255, 1]
    expected = TURBO_BGR[index].copy()
    expected[0] = 0
    picture = colorize(values, 10, 264, 'bgr')
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[0], expected)
    np.testing.assert_array_equal(colorize(values, 10, 264), picture[..., ::-1])


def test_range_turned_around():
    values = np.random.default_rng(0).uniform(-20, 120, (9, 11)).astype(np.float32)
    values[2, 3] = NAN
    mirrored = colorize(100 - values, 0, 100)
    turned = colorize(values, 100, 0)
    assert turned[2, 3].tolist() == [0, 0, 0]
    assert np.abs(turned.astype(int) - mirrored).max() <= 8  # a half falls to either side


def test_input_is_left_alone_and_may_be_of_any_layout():
    values = np.asfortranarray(np.random.default_rng(0).uniform(0, 9, (6, 8)).astype(np.float64))
    values[1, 1] = NAN
    before = values.copy()
    np.testing.assert_array_equal(
        colorize(values[::2, ::-1], 0, 9), colorize(values, 0, 9)[::2, ::-1]
    )
    np.testing.assert_array_equal(values, before)


def test_empty_range_and_wrong_order():
    flat = np.full((2, 2), 5, np.float32)
    assert colorize(flat, 5, 5).any()
    with pytest.raises(ValueError, match="order is 'rbg'"):
        colorize(flat, 0, 9, 'rbg')


def test_value_range_leaves_out_the_ends():
    values = np.arange(101, dtype=np.float32)
    assert visualization.value_range(np.append(values, [NAN, INF, -INF]), 5) == (5, 95)
    assert visualization.value_range(np.full(3, NAN)) == (0, 1)


def test_error_map():
    truth = np.array([[NAN, 10, 10, 10, 10]], np.float32)
    disparity = np.array([[10, NAN, 10, 6, 50]], np.float32)
    blue, red = TURBO_BGR[1, ::-1].tolist(), TURBO_BGR[255, ::-1].tolist()
    picture = visualization.error_map(disparity, truth, worst=4.0)
    assert picture[0].tolist() == [[0, 0, 0], [255, 255, 255], blue, red, red]


@pytest.mark.parametrize(
    ('count', 'rows', 'columns'), [(1, 1, 1), (2, 1, 2), (3, 1, 3), (4, 2, 2), (5, 2, 3)]
)
def test_panel(count, rows, columns):
    pictures = {f'title {i}': np.full((40, 120, 3), 50 + i, np.uint8) for i in range(count)}
    whole = visualization.panel(pictures)
    height = whole.shape[0] // rows
    assert whole.shape == (rows * height, columns * 120, 3)
    strip = height - 40
    assert strip >= 16
    for i in range(count):
        top, left = i // columns * height, i % columns * 120
        tile = whole[top : top + height, left : left + 120]
        assert (tile[strip:] == 50 + i).all()
        assert tile[:strip].max() > 200  # the title is there


def test_long_titles_fit():
    strip = visualization.panel({'a title of many words ' * 5: np.zeros((10, 100, 3), np.uint8)})
    assert strip[:16, -3:].max() < 100
