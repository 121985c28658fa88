"""Textures of patches, seen from any place without aliasing."""

from __future__ import annotations

import math
from itertools import pairwise

import cv2
import numpy as np

_BANDS = 12
"""The number of bands of rows in which an endless texture is drawn."""


class Texture:
    """Colour and alpha at several sizes, which both views share.

    A matrix (3, 3) maps a pixel to (u w, v w, w); the texture covers u and v in 0..1.

    Args:
        pixels: uint8 (h, w, 4).
    """

    def __init__(self, pixels: np.ndarray) -> None:
        self._shrunk = {(0, 0): pixels}
        self._edged: dict[int, np.ndarray] = {}

    @property
    def pixels(self) -> np.ndarray:
        """The texture itself, uint8 (h, w, 4)."""
        return self._shrunk[0, 0]

    def shrunk(self, across: int, down: int) -> np.ndarray:
        """Return the texture with width and height halved so many times."""
        if (across, down) not in self._shrunk:
            wide, tall = min(across, 1), min(down, 1)
            finer = self.shrunk(across - wide, down - tall)
            rows, columns = finer.shape[:2]
            size = max(1, columns >> wide), max(1, rows >> tall)
            self._shrunk[across, down] = cv2.resize(finer, size, interpolation=cv2.INTER_AREA)
        return self._shrunk[across, down]

    def edged(self, times: int) -> np.ndarray:
        """Return the texture halved so many times, with a transparent copy of its border around.

        Then only the alpha decreases at the edge, not the colour.
        """
        if times not in self._edged:
            edged = cv2.copyMakeBorder(self.shrunk(times, times), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
            edged[[0, -1], :, 3] = 0
            edged[:, [0, -1], 3] = 0
            self._edged[times] = edged
        return self._edged[times]

    def plane(self, to_texture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Draw what pixels (width, height) see, uint8 (height, width, 4); transparent outside."""
        shape = self.pixels.shape[:2]
        span = _spans(to_texture, size).max() * max(shape)
        most = math.ceil(math.log2(max(min(shape) / 2, 1)))
        times = min(max(0, math.ceil(math.log2(max(span, 1) / 1.5))), most)
        return _warp(self.edged(times), to_texture, size, cv2.BORDER_CONSTANT, margin=1)

    def endless(self, to_texture: np.ndarray, shown: np.ndarray) -> np.ndarray:
        """Draw like `plane` with a texture that is mirrored endlessly, in bands of one scale.

        Args:
            to_texture: see the class.
            shown: uint8 (height, width), 0 for pixels that are not needed.
        """
        height, width = shown.shape
        colour = np.zeros((height, width, 4), np.uint8)
        sides = self.pixels.shape[1::-1]
        most = np.log2(sides) - 1
        for top, bottom in pairwise(np.linspace(0, height, _BANDS + 1).astype(int)):
            left, above, wide, tall = cv2.boundingRect(shown[top:bottom])
            if not wide:
                continue
            band = shifted(to_texture, 0, top)
            spans = _spans(band, (width, bottom - top)) * sides
            across, down = np.log2(spans.clip(1, None)).clip(0, most).astype(int).tolist()
            part = shifted(band, left, above)
            seen = _warp(self.shrunk(across, down), part, (wide, tall), cv2.BORDER_REFLECT)
            colour[top + above :, left:][:tall, :wide] = seen
        return colour

    def at(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Sample the texture at u, v, each (h, w) float32: (h, w, 4), transparent outside."""
        height, width = self.pixels.shape[:2]
        return cv2.remap(self.edged(0), u * width + 0.5, v * height + 0.5, cv2.INTER_LINEAR)


def shifted(from_pixel: np.ndarray, left: int, top: int) -> np.ndarray:
    """Convert a matrix (3, 3) for pixels to pixels of a window that begins at left, top."""
    middle = from_pixel @ (left, top, 1.0)
    return np.column_stack((from_pixel[:, :2], middle))


def _warp(
    pixels: np.ndarray, to_texture: np.ndarray, size: tuple[int, int], border: int, margin: int = 0
) -> np.ndarray:
    height, width = (side - 2 * margin for side in pixels.shape[:2])
    start = margin - 0.5
    to_texel = np.array([[width, 0, start], [0, height, start], [0, 0, 1]]) @ to_texture
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(pixels, to_texel, size, flags=flags, borderMode=border)


def _spans(to_texture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The shares (2,) of the texture's width and height that a pixel in the middle covers."""
    x, y = size[0] / 2, size[1] / 2
    uvw = to_texture @ ((x, x + 1, x), (y, y, y + 1), (1, 1, 1))
    if (uvw[2] <= 0).any():
        return np.zeros(2)
    uv = uvw[:2] / uvw[2]
    return np.abs(uv[:, 1:] - uv[:, :1]).max(1)
