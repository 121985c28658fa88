"""Resizing images to the size at which a model works, and processing the maps that it gives."""

from __future__ import annotations

import cv2
import numpy as np

from nndepth_core.spec import Output

# Stands for "unknown" in the right map; with NaN, remap would make the neighbours unknown too.
_UNMATCHED = 1e6
_PIXELS, _SHARE, _RANGE = 1.0, 0.02, 0.005
"""What neighbours on one surface may differ by: a disparity; the larger share of inverse depths in
metres; and the share of the range of a map without scale."""
_CONTINUED = 3.0
"""How many times larger a difference on one surface may be than the next one."""
_SAMPLES = 100
"""The most rows and columns that the range of a map is found with."""


def resampled(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image (H, W, 3) to (width, height); where it shrinks, pixels are averaged."""
    if size == (image.shape[1], image.shape[0]):
        return image
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def left_right_confidence(of_left: np.ndarray, of_right: np.ndarray) -> np.ndarray:
    """Compare the left and the right disparity map; gives a confidence float32 (H, W) in 0..1.

    A left disparity d at x should be equal to the right disparity at x - d. The confidence is
    exp(-|difference| / 1 px), and 0 where one of them is unknown or x - d is outside the image.
    """
    height, width = of_left.shape
    columns = np.arange(width, dtype=np.float32) - of_left
    rows = np.repeat(np.arange(height, dtype=np.float32)[:, None], width, axis=1)
    met = cv2.remap(
        np.nan_to_num(of_right, nan=_UNMATCHED),
        np.nan_to_num(columns, nan=-2.0),
        rows,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=_UNMATCHED,
    )
    return np.nan_to_num(np.exp(-np.abs(of_left - met)), nan=0.0)


def resampled_map(values: np.ndarray, width: int, height: int, output: Output) -> np.ndarray:
    """Resize a map to width x height without inventing points between two surfaces.

    Inside of a surface it is bilinear, in inverse depth where the map holds metres, since a plane
    is linear in that. Across the steps between surfaces it takes the nearest neighbour. A step is
    a difference that neither neighbour continues, so that a slope is none, however steep it is.
    Every value lies between those of the four pixels around it, up to rounding.

    Args:
        values: float32 (H, W), NaN where unknown, infinite beyond the range; both stay as they
            are and spread nowhere.
        width: the width of the result.
        height: the height of the result.
        output: what the values are; disparities are scaled with the width.
    """
    in_metres = output == 'depth'
    with np.errstate(all='ignore'):  # what lies on no surface may be anything
        on_surface = (values > 0) & (values < np.inf) if in_metres else np.isfinite(values)
        linear = np.where(on_surface, 1 / values if in_metres else values, np.float32(0))
    squares = _squares_with_steps(linear, on_surface, _noise(values, output))
    rows, columns = (
        np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, None).astype(int)
        for old, new in zip(values.shape, (height, width), strict=True)
    )
    nearest = cv2.resize(values, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    result = cv2.resize(linear, (width, height), interpolation=cv2.INTER_LINEAR)
    if in_metres:
        with np.errstate(divide='ignore'):
            np.divide(1, result, out=result)
    cv2.copyTo(nearest, squares.take(columns, 1).take(rows, 0), result)
    return result * np.float32(width / values.shape[1]) if output == 'disparity' else result


def _noise(values: np.ndarray, output: Output) -> float | None:
    """What neighbours on one surface may differ by; None for a share of the larger one."""
    if output == 'depth':
        return None
    if output == 'disparity':
        return _PIXELS
    some = values[tuple(slice(None, None, max(1, side // _SAMPLES)) for side in values.shape)]
    known = some[np.isfinite(some)]
    return _RANGE * float(np.ptp(np.percentile(known, (2, 98)))) if known.size else 0.0


def _squares_with_steps(
    values: np.ndarray, on_surface: np.ndarray, noise: float | None
) -> np.ndarray:
    """Tell which squares of four pixels show several surfaces, or a pixel on none.

    Args:
        values: float32 (H, W), finite.
        on_surface: bool (H, W).
        noise: see `_noise`.

    Returns:
        uint8 (H, W), not 0 if the square to the right of and below a pixel does.
    """
    off = cv2.copyMakeBorder((~on_surface).view(np.uint8), 0, 1, 0, 1, cv2.BORDER_REPLICATE)
    squares = cv2.dilate(off, np.ones((2, 2), np.uint8), anchor=(0, 0))[:-1, :-1]
    # With repeated borders, every pair of neighbours has a value before it and one behind it.
    padded = cv2.copyMakeBorder(values, 1, 2, 1, 2, cv2.BORDER_REPLICATE)
    first, right, below = padded[1:-2, 1:-2], padded[1:-2, 2:-1], padded[2:-1, 1:-2]
    flat, stride = padded.ravel(), padded.shape[1]
    for second, ahead, others in ((right, 1, (1, 0)), (below, stride, (0, 1))):
        allowed = _SHARE * cv2.max(first, second) if noise is None else np.float32(noise)
        places = np.flatnonzero(cv2.absdiff(first, second) > allowed)
        rows, columns = np.divmod(places, values.shape[1])
        at = (rows + 1) * stride + columns + 1
        before, here, there, behind = (flat[at + count * ahead] for count in (-1, 0, 1, 2))
        change = there - here
        slope = np.maximum((here - before) * np.sign(change), (behind - there) * np.sign(change))
        steps = np.abs(change) > _CONTINUED * slope
        rows, columns = rows[steps], columns[steps]
        squares[rows, columns] = 1
        squares[np.maximum(rows - others[0], 0), np.maximum(columns - others[1], 0)] = 1
    return squares
