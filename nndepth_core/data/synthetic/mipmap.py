"""What a patch is covered with, seen from any place without aliasing."""

from __future__ import annotations

import math
from itertools import pairwise

import cv2
import numpy as np

_BANDS = 12
"""Bands of rows an endless texture is drawn in."""


class Texture:
    """Colour and alpha, and the same shrunk as the distance asks; both views share these.

    A matrix (3, 3) takes a pixel to (u w, v w, w), the texture covering u and v of 0..1.

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
        """The texture with its width and height halved so many times."""
        if (across, down) not in self._shrunk:
            wide, tall = min(across, 1), min(down, 1)
            finer = self.shrunk(across - wide, down - tall)
            rows, columns = finer.shape[:2]
            size = max(1, columns >> wide), max(1, rows >> tall)
            self._shrunk[across, down] = cv2.resize(finer, size, interpolation=cv2.INTER_AREA)
        return self._shrunk[across, down]

    def edged(self, times: int) -> np.ndarray:
        """The texture halved so many times, its border repeated once, transparent.

        At its edge only the alpha falls off then, not the colour.
        """
        if times not in self._edged:
            edged = cv2.copyMakeBorder(self.shrunk(times, times), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
            edged[[0, -1], :, 3] = 0
            edged[:, [0, -1], 3] = 0
            self._edged[times] = edged
        return self._edged[times]

    def plane(self, to_texture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """What pixels (width, height) see, uint8 (height, width, 4); transparent outside."""
        shape = self.pixels.shape[:2]
        span = _spans(to_texture, size).max() * max(shape)
        most = math.ceil(math.log2(max(min(shape) / 2, 1)))
        times = min(max(0, math.ceil(math.log2(max(span, 1) / 1.5))), most)
        return _warp(self.edged(times), to_texture, size, cv2.BORDER_CONSTANT, margin=1)

    def endless(self, to_texture: np.ndarray, shown: np.ndarray) -> np.ndarray:
        """Do as `plane`, mirroring the texture again and again; in bands of rows of one scale.

        Args:
            to_texture: see the class.
            shown: uint8 (height, width), 0 where it does not matter what is seen.
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
        """The texture (h, w, 4) at u, v, each (h, w) float32; transparent outside."""
        height, width = self.pixels.shape[:2]
        return cv2.remap(self.edged(0), u * width + 0.5, v * height + 0.5, cv2.INTER_LINEAR)


def shifted(from_pixel: np.ndarray, left: int, top: int) -> np.ndarray:
    """A matrix (3, 3) that takes pixels, for the pixels of a window that begins at left, top."""
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
    """Shares (2,) of the texture's width and height that a pixel in the middle spans."""
    x, y = size[0] / 2, size[1] / 2
    uvw = to_texture @ ((x, x + 1, x), (y, y, y + 1), (1, 1, 1))
    if (uvw[2] <= 0).any():
        return np.zeros(2)
    uv = uvw[:2] / uvw[2]
    return np.abs(uv[:, 1:] - uv[:, :1]).max(1)
