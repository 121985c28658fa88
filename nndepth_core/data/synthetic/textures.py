"""Procedural textures: tiles that repeat without a seam, filtered with a pyramid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

Colour = tuple[float, float, float]
SIZE = 1024
_COLUMNS = 256  # cv2.remap takes no side above 32767, so lists of points are folded to this width


@dataclass(frozen=True)
class Texture:
    """A tile that is repeated over the plane.

    Attributes:
        tile: uint8 (S, S, 3) RGB.
        metres: the side of the tile on the surface.
    """

    tile: np.ndarray
    metres: float

    @cached_property
    def pyramid(self) -> list[np.ndarray]:
        """The tile, and the tile halved again and again."""
        levels = [self.tile]
        while levels[-1].shape[0] > 1:
            side = levels[-1].shape[0] // 2
            levels.append(cv2.resize(levels[-1], (side, side), interpolation=cv2.INTER_AREA))
        return levels

    def sample(self, uv: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        """Colour (n, 3) float32 0..255 at uv (n, 2), blurred to footprint (n,), all in metres."""
        turns = uv / np.float32(self.metres)
        turns -= np.floor(turns)
        texels = footprint * np.float32(self.tile.shape[0] / self.metres)
        level = np.log2(np.clip(texels, 1, 2.0 ** (len(self.pyramid) - 1))).astype(np.float32)
        colour = np.zeros((len(uv), 3), np.float32)
        for number in range(int(level.min()), int(np.ceil(level.max())) + 1):
            weight = 1 - np.abs(level - number)
            near = np.flatnonzero(weight > 0)
            if near.size:
                colour[near] += weight[near, None] * _lookup(self.pyramid[number], turns[near])
        return colour


def _lookup(tile: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Sample a repeating tile bilinearly at turns (n, 2) in 0..1."""
    count = len(turns)
    rows = -(-count // _COLUMNS)
    folded = np.zeros((2, rows * _COLUMNS), np.float32)
    folded[:, :count] = turns.T * np.float32(tile.shape[0]) - np.float32(0.5)
    maps = folded.reshape(2, rows, _COLUMNS)
    found = cv2.remap(tile, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return found.reshape(-1, 3)[:count]


def fractal(
    rng: np.random.Generator,
    coarsest: int,
    finest: int,
    persistence: float = 0.6,
    stretch: int = 1,
) -> np.ndarray:
    """Make seamless noise (SIZE, SIZE) float32 of zero mean and unit variance.

    Args:
        rng: the source of randomness.
        coarsest: the grid cells along a side of the first octave, a power of two.
        finest: the grid cells along a side of the last octave.
        persistence: the amplitude of each octave divided by that of the one before.
        stretch: how much longer the noise is along u than along v, a power of two.
    """
    total = np.zeros((SIZE, SIZE), np.float32)
    cells, amplitude = coarsest, 1.0
    while cells <= finest:
        rows, columns = cells, max(1, cells // stretch)
        grid = np.pad(rng.standard_normal((rows, columns), np.float32), 2, mode='wrap')
        top, left = 2 * SIZE // rows, 2 * SIZE // columns
        octave = cv2.resize(grid, (SIZE + 2 * left, SIZE + 2 * top), interpolation=cv2.INTER_CUBIC)
        total += amplitude * octave[top : top + SIZE, left : left + SIZE]
        cells, amplitude = cells * 2, amplitude * persistence
    return (total - total.mean()) / total.std()


def plain(
    rng: np.random.Generator, colour: Colour, stains: float, grain: float, metres: float
) -> Texture:
    """One colour with large stains and fine grain (relative amplitudes; near 0: weak texture)."""
    value = 1 + stains * fractal(rng, 2, 32) + grain * fractal(rng, 64, 512, 0.9)
    return _texture(value[..., None] * np.array(colour, np.float32), metres)


def masonry(
    rng: np.random.Generator,
    colour: Colour,
    rows: int,
    columns: int,
    metres: float,
    joint: float = 0.5,
) -> Texture:
    """Bricks or slabs of different brightness with grey joints; odd rows are shifted by half."""
    v, u = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) / SIZE
    row = np.floor(v * rows).astype(int)
    along = u * columns + 0.5 * (row % 2)
    column = np.floor(along).astype(int) % columns
    edge = np.minimum(_to_edge(along) / columns, _to_edge(v * rows) / rows) * SIZE  # texels
    brightness = rng.uniform(0.8, 1.18, (rows, columns)).astype(np.float32)[row, column]
    tint = rng.normal(1, 0.02, (rows, columns, 3)).astype(np.float32)[row, column]
    stone = (brightness + 0.07 * fractal(rng, 16, 512, 0.8))[..., None] * tint
    mortar = joint * (1 + 0.1 * fractal(rng, 64, 512, 0.9))[..., None]
    share = np.clip((edge - 4) / 3, 0, 1)[..., None]
    return _texture(share * stone * np.array(colour, np.float32) + (1 - share) * mortar, metres)


def planks(rng: np.random.Generator, colour: Colour, count: int, metres: float) -> Texture:
    """Boards along u with wood grain and dark gaps."""
    v = np.arange(SIZE, dtype=np.float32)[:, None] / SIZE * count
    board = np.floor(v[:, 0]).astype(int)
    shift = rng.integers(0, SIZE, count)[board, None]
    grain = fractal(rng, 16, 512, 0.85, stretch=16)
    grain = np.take_along_axis(grain, (np.arange(SIZE) + shift) % SIZE, axis=1)
    brightness = rng.uniform(0.8, 1.15, count).astype(np.float32)[board, None]
    gap = np.clip(_to_edge(v) * (SIZE / count / 4), 0.25, 1)
    value = (brightness + 0.13 * grain + 0.03 * fractal(rng, 128, 512)) * gap
    return _texture(value[..., None] * np.array(colour, np.float32), metres)


def facade(rng: np.random.Generator, colour: Colour, metres: float) -> Texture:
    """A plastered wall with one window per tile."""
    value = 1 + 0.03 * fractal(rng, 2, 32) + 0.015 * fractal(rng, 64, 512, 0.9)
    tile = np.ascontiguousarray(value[..., None] * np.array(colour, np.float32))
    left, right, low, high = (int(share * SIZE) for share in (0.3, 0.7, 0.2, 0.75))
    frame = SIZE // 40
    cv2.rectangle(tile, (left, low), (right, high), (0.93, 0.93, 0.90), -1)
    middle = (left + right) // 2
    for start, end in ((left, middle), (middle, right)):
        corners = (start + frame, low + frame), (end - frame, high - frame)
        cv2.rectangle(tile, *corners, (0.22, 0.27, 0.33), -1)
    return _texture(tile, metres)


def clouds(rng: np.random.Generator, metres: float) -> Texture:
    """White clouds on blue."""
    cover = np.clip(0.35 + 0.35 * fractal(rng, 4, 256, 0.55), 0, 1)[..., None]
    blue, white = np.array([0.44, 0.61, 0.82]), np.array([0.95, 0.96, 0.97])
    return _texture((blue + cover * (white - blue)).astype(np.float32), metres)


def mosaic(rng: np.random.Generator, patches: int, metres: float) -> Texture:
    """Overlapping bright rectangles and discs: a poster."""
    tile = np.full((SIZE, SIZE, 3), 0.85, np.float32)
    for _ in range(patches):
        x, y = (int(value) for value in rng.integers(0, SIZE, 2))
        a, b = (int(value) for value in rng.integers(SIZE // 60, SIZE // 7, 2))
        colour = tuple(float(value) for value in rng.uniform(0.1, 0.95, 3))
        if rng.random() < 0.5:
            cv2.rectangle(tile, (x - a, y - b), (x + a, y + b), colour, -1)
        else:
            cv2.circle(tile, (x, y), min(a, b), colour, -1, cv2.LINE_AA)
    return _texture(tile * (1 + 0.04 * fractal(rng, 64, 512, 0.9))[..., None], metres)


def _to_edge(cells: np.ndarray) -> np.ndarray:
    """The distance to the nearest whole number."""
    return 0.5 - np.abs(cells - np.floor(cells) - 0.5)


def _texture(rgb: np.ndarray, metres: float) -> Texture:
    """Make a texture of RGB values 0..1."""
    return Texture(np.clip(rgb * 255 + 0.5, 0, 255).astype(np.uint8), metres)
