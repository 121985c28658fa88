"""The self-test: a pair, the same on every machine, and what a right backend finds on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nndepth_core.engines.base import Engine, EngineError
from nndepth_core.engines.fields import integer, number, several

_GRID = (6, 8)
"""Rows and columns of the pixels that are compared."""
_LARGEST = 4096 * 2304
"""Pixels of a pair, more than which no test needs."""


@dataclass(frozen=True)
class Reference:
    """What a right backend computes on `textured_pair`.

    Attributes:
        size: (height, width) of the pair.
        disparity: in pixels, at points spread evenly, row by row.
        tolerance: largest mean difference, pixels.
    """

    size: tuple[int, int]
    disparity: tuple[float, ...]
    tolerance: float

    def __post_init__(self) -> None:
        height, width = several('reference size', self.size, (2,), _side)
        if height * width > _LARGEST:
            raise ValueError(f'reference size is {width}x{height}, more than {_LARGEST} pixels')
        several('reference disparity', self.disparity, (_GRID[0] * _GRID[1],), _disparity)
        if number('reference tolerance', self.tolerance, 0, 10) == 0:
            raise ValueError('reference tolerance is 0; it must be larger')

    @classmethod
    def of(cls, disparity: np.ndarray, tolerance: float) -> Reference:
        """Keep the points of a disparity (H, W) that was found on the pair of its size."""
        height, width = disparity.shape
        return cls((height, width), tuple(map(float, _sample(disparity))), tolerance)

    def check(self, engine: Engine, disparity: np.ndarray | None = None) -> None:
        """Compare the engine, or a disparity (H, W) that it found on the pair, with this.

        Raises:
            EngineError: they differ.
        """
        if disparity is None:
            disparity = engine.run(*textured_pair(*self.size))['disparity'][0]
        points = _sample(disparity)
        known = np.isfinite(points)
        difference = np.abs(points - self.disparity)[known].mean() if known.any() else np.inf
        if known.mean() < 0.9 or not difference <= self.tolerance:
            raise EngineError(
                f'{engine.spec.name} on {engine.name} ({engine.device}) differs by '
                f'{difference:.3g} px from its reference, where {self.tolerance:.3g} are allowed, '
                f'on {known.mean():.0%} of the points; the backend computes something else: '
                'choose another engine, device or precision'
            )


def textured_pair(height: int, width: int, shift: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Left and right image (1, height, width, 3), uint8 RGB, of one disparity everywhere.

    Blocky noise of three sizes, by integer arithmetic alone.
    """
    rows, columns, channels = np.ogrid[:height, : width + shift, :3]
    layers = [
        weight * _noise(rows // block, columns // block, channels)
        for weight, block in ((2, 12), (1, 4), (1, 1))
    ]
    texture = (np.sum(layers, axis=0) // 4).astype(np.uint8)[None]
    return (
        np.ascontiguousarray(texture[:, :, :width]),
        np.ascontiguousarray(texture[:, :, shift:]),
    )


def _noise(rows: np.ndarray, columns: np.ndarray, channels: np.ndarray) -> np.ndarray:
    """A number in 0..255 for every place, by multiplying and folding its coordinates."""
    mixed = (rows * 374761393 + columns * 668265263 + channels * 974634721).astype(np.uint32)
    mixed = (mixed ^ (mixed >> 13)) * np.uint32(1274126177)
    return ((mixed ^ (mixed >> 16)) & 255).astype(np.int64)


def _side(name: str, value: int) -> int:
    return integer(name, value, 8, 16384)


def _disparity(name: str, value: float) -> float:
    return number(name, value, -1e5, 1e5)


def _sample(values: np.ndarray) -> np.ndarray:
    """Values (H, W) at points spread evenly over the inside, row by row."""
    rows, columns = (
        ((np.arange(count) + 1) * side) // (count + 1)
        for count, side in zip(_GRID, values.shape, strict=True)
    )
    return values[np.ix_(rows, columns)].ravel()
