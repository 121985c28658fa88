"""Maps that are resized: no value between two surfaces, no stairs, no spreading holes."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from nndepth_core.engines.maps import resampled_map

OUTPUTS = ('disparity', 'depth', 'relative_depth', 'inverse_depth')
SIDES = st.integers(1, 40)
ODD_VALUES = st.one_of(
    st.floats(0.125, 100, width=32), st.sampled_from([float('nan'), float('inf'), 1.0, 50.0])
)
MAPS = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=ODD_VALUES)


def around(values: np.ndarray, width: int, height: int) -> np.ndarray:
    """The four pixels of a map around each pixel of a resized one, (4, height, width)."""
    rows, columns = (
        np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        for old, new in zip(values.shape, (height, width), strict=True)
    )
    return np.stack(
        [
            values[np.ix_(row(rows).astype(int), column(columns).astype(int))]
            for row in (np.floor, np.ceil)
            for column in (np.floor, np.ceil)
        ]
    )


def resized(values: np.ndarray, width: int, height: int, output: str) -> np.ndarray:
    """A resized map whose disparities are in pixels of the given map."""
    scale = width / values.shape[1] if output == 'disparity' else 1
    return resampled_map(values, width, height, output) / np.float32(scale)


@pytest.mark.parametrize('output', OUTPUTS)
@settings(deadline=None, max_examples=60)
@given(values=MAPS, width=SIDES, height=SIDES)
def test_no_value_leaves_the_range_of_its_neighbourhood(output, values, width, height):
    large = resized(values, width, height, output)
    known = ~np.isnan(large)
    four = around(values, width, height)[:, known]
    low, high = np.fmin.reduce(four), np.fmax.reduce(four)
    assert (large[known] >= low * (1 - 1e-5)).all()
    assert (large[known] <= high * (1 + 1e-5)).all()


@pytest.mark.parametrize('output', OUTPUTS)
@settings(deadline=None, max_examples=60)
@given(values=MAPS, width=SIDES, height=SIDES)
def test_what_is_unknown_or_infinite_ends_in_the_middle_between_pixels(
    output, values, width, height
):
    large = resized(values, width, height, output)
    nearest = cv2.resize(values, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    np.testing.assert_array_equal(np.isnan(large), np.isnan(nearest))
    np.testing.assert_array_equal(np.isposinf(large), np.isposinf(nearest))


@pytest.mark.parametrize('output', OUTPUTS)
@settings(deadline=None, max_examples=20)
@given(
    rows=st.integers(3, 9),
    columns=st.integers(3, 9),
    seed=st.integers(0, 2**32 - 1),
    near=st.floats(2, 100),
    factor=st.floats(1.6, 10),
)
def test_between_two_surfaces_there_is_nothing(output, rows, columns, seed, near, factor):
    blocks = np.random.default_rng(seed).choice(np.float32([near, near * factor]), (rows, columns))
    small = np.repeat(np.repeat(blocks, 3, axis=0), 3, axis=1)
    large = resized(small, 7 * columns, 8 * rows, output)
    close = np.isclose(large[..., None], np.unique(small), rtol=1e-6).any(-1)
    assert close.all()


@pytest.mark.parametrize('shift', [-100.0, 0.0, 50.0])
def test_steps_do_not_depend_on_an_unknown_shift(shift):
    blocks = np.random.default_rng(0).choice(np.float32([1, 5]), (5, 8))
    small = np.repeat(np.repeat(blocks, 3, axis=0), 3, axis=1) + np.float32(shift)
    large = resampled_map(small, 70, 50, 'inverse_depth')
    assert set(np.unique(large)) == set(np.unique(small))


def inverse_depth_of_a_plane(width: int, height: int) -> np.ndarray:
    """1/m of the ground 1.5 m below a camera that looks 10 degrees down and turns a little."""
    x = (np.arange(width) + 0.5) / width - 0.5
    y = (np.arange(height)[:, None] + 0.5) / height - 0.5
    return np.maximum(0.02 * x + 0.6 * y + 0.1, 0)


@pytest.mark.parametrize('size', [(1280, 720), (800, 600), (190, 141)], ids=str)
@pytest.mark.parametrize('output', OUTPUTS)
def test_a_plane_stays_a_plane(output, size):
    """Also where its depth doubles from row to row, near the horizon, there are no stairs."""
    of_small, of_large = (inverse_depth_of_a_plane(*wanted) for wanted in ((384, 288), size))
    turn = np.reciprocal if 'relative' in output or output == 'depth' else np.positive
    with np.errstate(divide='ignore'):
        small, exact = turn(of_small).astype(np.float32), turn(of_large)
    large = resized(small, *size, output)
    inside = np.zeros(size[::-1], bool)
    inside[2:-2, 2:-2] = of_large[2:-2, 2:-2] > 0.03  # within 33 m
    error = np.abs(large[inside] / exact[inside] - 1)
    # Depth without a known shift is interpolated as it is, in which a plane is curved.
    assert error.max() < (0.01 if output == 'relative_depth' else 1e-4)


@pytest.mark.parametrize('shape', [(1, 1), (1, 9), (9, 1)])
@pytest.mark.parametrize('output', OUTPUTS)
def test_maps_of_one_row_or_column(output, shape):
    values = np.full(shape, 3, np.float32)
    np.testing.assert_allclose(resized(values, 5, 4, output), 3, rtol=1e-6)


@pytest.mark.parametrize('output', OUTPUTS)
def test_a_map_without_any_value(output):
    assert np.isnan(resized(np.full((6, 8), np.nan, np.float32), 20, 15, output)).all()


def test_values_of_a_wall_with_noise_are_averaged():
    """Noise of one per cent is no reason for stairs."""
    noise = np.random.default_rng(0).uniform(0.99, 1.01, (30, 40)).astype(np.float32)
    large = resampled_map(5 * noise, 160, 120, 'depth')
    assert np.abs(np.diff(large, axis=1)).max() < 0.3 * np.abs(np.diff(5 * noise, axis=1)).max()
