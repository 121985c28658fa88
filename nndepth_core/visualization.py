"""Pictures of disparity, depth and errors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from nndepth_core.spec import Output
from nndepth_core.strips import strips

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LINE = 24
"""The height of a row of a table, pixels."""


def _table(order: str) -> np.ndarray:
    """The colours of turbo, each with a fourth byte in an int32; the first, unknown, is black."""
    turbo = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_TURBO)
    turbo[0] = 0
    code = cv2.COLOR_BGR2BGRA if order == 'bgr' else cv2.COLOR_BGR2RGBA
    return cv2.cvtColor(turbo, code).view(np.int32)


_TABLES = {order: _table(order) for order in ('rgb', 'bgr')}


def colorize(
    values: np.ndarray,
    low: float,
    high: float,
    order: str = 'rgb',
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Colour values (H, W) with turbo: blue at `low`, red at `high`, black for NaN.

    Args:
        values: float (H, W), e.g. disparity in pixels or depth in metres.
        low: the value at the blue end; it may be larger than `high`, as one wants for depth.
        high: the value at the red end.
        order: 'rgb' or 'bgr', the order of the channels; both cost the same.
        out: where to write the picture; None makes a new one.

    Returns:
        uint8 (H, W, 3).
    """
    if order not in _TABLES:
        raise ValueError(f'order is {order!r}; choose rgb or bgr')
    step = ((high - low) or 1.0) / 254
    if out is None:
        out = np.empty((*values.shape, 3), np.uint8)
    for rows in strips(values):
        clipped = np.clip(
            values[rows], min(low, high), max(low, high), dtype=np.float32, order='C'
        )
        cv2.patchNaNs(clipped, low - step)
        index = cv2.convertScaleAbs(clipped, alpha=1 / step, beta=1 - low / step)
        colors = cv2.LUT(index, _TABLES[order])[..., np.newaxis].view(np.uint8)
        cv2.cvtColor(colors, cv2.COLOR_BGRA2BGR, out[rows])
    return out


def value_range(values: np.ndarray, percentile: float = 1.0) -> tuple[float, float]:
    """Range (low, high) of the finite values, without the given percentage at each end."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = np.percentile(finite, (percentile, 100 - percentile))
    return float(low), float(high)


def titled_map(
    values: np.ndarray, output: Output, like: np.ndarray | None = None
) -> tuple[str, np.ndarray]:
    """Colour a map so that near points are red; its title says what the colours mean.

    Args:
        values: float (H, W): pixels of disparity, metres, or what has no scale.
        output: what the values are; metres are shown by their logarithm.
        like: a map whose range the colours span, for disparities; None takes the values' own.

    Returns:
        The title and the picture, uint8 RGB (H, W, 3).
    """
    if output == 'disparity':
        low, high = value_range(values if like is None else like)
        title = f'disparity, {low:.1f} (blue) to {high:.1f} px (red)'
        return title, colorize(values, low, high)
    if output == 'depth':
        with np.errstate(divide='ignore', invalid='ignore'):
            log_depth = np.log(values)
        near, far = value_range(log_depth, percentile=5)
        title = f'log depth, {math.exp(near):.2f} (red) to {math.exp(far):.2f} m (blue)'
        return title, colorize(log_depth, far, near)
    far, near = value_range(values, percentile=2)
    if output == 'relative_depth':
        far, near = near, far
    title = f'{output.replace("_", " ")} without a scale, far (blue) to near (red)'
    return title, colorize(values, far, near)


def error_map(disparity: np.ndarray, truth: np.ndarray, worst: float = 4.0) -> np.ndarray:
    """Draw |disparity - truth| as uint8 RGB (H, W, 3).

    0 is blue, `worst` pixels and more are red. Pixels are white if only the truth is known, and
    black if the truth is unknown.
    """
    picture = colorize(np.abs(disparity - truth), 0, worst)
    picture[np.isfinite(truth) & ~np.isfinite(disparity)] = 255
    return picture


def reconstruction_panel(image: np.ndarray, filled: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """Draw an image, what is left of it, what was filled in, and the difference.

    Args:
        image: uint8 RGB (H, W, 3).
        filled: what a masked autoencoder makes of it, float (H, W, 3) around 0..1.
        removed: the pixels that were removed, bool (H, W).

    Returns:
        uint8 RGB.
    """
    guess = np.clip(np.rint(255 * filled), 0, 255).astype(np.uint8)
    hidden = removed[..., None]
    whole = np.where(hidden, guess, image)
    return panel(
        {
            'input': image,
            'mask': np.where(hidden, np.uint8(128), image),
            'reconstruction': whole,
            'difference': cv2.absdiff(whole, image),
        }
    )


def panel(pictures: Mapping[str, np.ndarray]) -> np.ndarray:
    """Put pictures side by side, each under its title; more than three are put in two rows.

    Args:
        pictures: title -> uint8 RGB (H, W, 3), all of one size.

    Returns:
        uint8 RGB.
    """
    tiles = [_titled(picture, title) for title, picture in pictures.items()]
    columns = len(tiles) if len(tiles) <= 3 else -(-len(tiles) // 2)
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)]
    return np.vstack(rows)


def written(rows: Sequence[Sequence[str]], width: int) -> np.ndarray:
    """Write a table on dark ground; columns stand under each other, their cells at the left.

    Args:
        rows: the cells of each row, all rows of one length.
        width: pixels of the picture; the letters are smaller where the table would be wider.

    Returns:
        uint8 RGB (H, width, 3).
    """
    scale = cv2.getFontScaleFromHeight(_FONT, _LINE // 2)
    columns = [
        max(cv2.getTextSize(cell, _FONT, scale, 1)[0][0] for cell in cells)
        for cells in zip(*rows, strict=True)
    ]
    shrink = min(1.0, width / (sum(columns) + _LINE * (len(columns) + 1)))
    picture = np.full((_LINE * (len(rows) + 1), width, 3), 32, np.uint8)
    for number, row in enumerate(rows, 1):
        x = _LINE
        for cell, column in zip(row, columns, strict=True):
            place = round(x * shrink), number * _LINE
            cv2.putText(
                picture, cell, place, _FONT, scale * shrink, (255, 255, 255), 1, cv2.LINE_AA
            )
            x += column + _LINE
    return picture


def _titled(picture: np.ndarray, title: str) -> np.ndarray:
    height, width = max(16, picture.shape[1] // 24), picture.shape[1]
    strip = np.full((height, width, 3), 32, np.uint8)
    scale = cv2.getFontScaleFromHeight(_FONT, height // 2)
    scale *= min(1.0, (width - height) / cv2.getTextSize(title, _FONT, scale, 1)[0][0])
    place = (height // 3, 3 * height // 4)
    cv2.putText(strip, title, place, _FONT, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return np.vstack([strip, picture])
