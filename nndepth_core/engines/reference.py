"""The self-test: inputs that are equal on every machine, and the right result for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nndepth_core.engines.base import Engine, EngineError
from nndepth_core.files.values import integer, number, tuple_of
from nndepth_core.spec import ModelSpec

_GRID = (6, 8)
"""Rows and columns of the points that are compared."""
_LARGEST = 4096 * 2304
"""No test needs a pair with more pixels than this."""
_LARGEST_VALUE = 1e5
_LEAST = 1e-3
"""Outputs of a smaller magnitude count as having this magnitude."""


@dataclass(frozen=True)
class Reference:
    """What a correct engine computes on `textured_inputs`.

    Attributes:
        size: (height, width) of the images.
        values: the model's output at evenly spread points, row by row.
        tolerance: the largest mean difference that is allowed, in the unit of the output.
    """

    size: tuple[int, int]
    values: tuple[float, ...]
    tolerance: float

    def __post_init__(self) -> None:
        height, width = tuple_of('reference size', self.size, (2,), _side)
        if height * width > _LARGEST:
            raise ValueError(f'reference size is {width}x{height}, more than {_LARGEST} pixels')
        tuple_of('reference values', self.values, (_GRID[0] * _GRID[1],), _value)
        if number('reference tolerance', self.tolerance, 0, 10) == 0:
            raise ValueError('reference tolerance is 0; it must be larger')

    @classmethod
    def of(cls, values: np.ndarray, tolerance: float) -> Reference:
        """Keep the points of a map (H, W) that was computed on the inputs of its size.

        Raises:
            ValueError: they are no numbers that a network could give.
        """
        height, width = values.shape
        points = _sample(values)
        if (wrong := points[~(np.abs(points) <= _LARGEST_VALUE)]).size:
            raise ValueError(
                f'it gives {wrong[0]:g} on a test image, so that nothing can be estimated with '
                'it; check the network and its weights'
            )
        return cls((height, width), tuple(map(float, points)), tolerance)

    def check(self, engine: Engine, values: np.ndarray | None = None) -> None:
        """Compare the engine, or a map (H, W) that it computed on the inputs, with this.

        Raises:
            EngineError: they differ by more than the tolerance.
        """
        spec = engine.spec
        if values is None:
            values = engine.run(textured_inputs(spec, *self.size))[spec.output][0]
        points = _sample(values)
        known = np.isfinite(points)
        difference = np.abs(points - self.values)[known].mean() if known.any() else np.inf
        if known.mean() < 0.9 or not difference <= self.tolerance:
            unit = spec.unit and f' {spec.unit}'
            raise EngineError(
                f'{spec.title} on {engine.name} ({engine.device}) differs by '
                f'{difference:.3g}{unit} from its reference, where {self.tolerance:.3g} are '
                f'allowed, on {known.mean():.0%} of the points; the backend computes something '
                'else: choose another engine, device or precision'
            )


def tolerated(spec: ModelSpec, values: np.ndarray, pixels: float) -> float:
    """Convert a tolerance in pixels to the unit of a model's output.

    Args:
        spec: the spec of the model.
        values: an output of the model.
        pixels: the tolerance for disparities; for other outputs one pixel counts as a tenth
            of their mean magnitude.
    """
    if spec.output == 'disparity':
        return pixels
    return pixels * max(float(np.abs(values).mean()), _LEAST) / 10


def textured_inputs(
    spec: ModelSpec, height: int, width: int, shift: int = 7
) -> dict[str, np.ndarray]:
    """Make inputs for a model from `textured_pair`; intrinsics are those of a wide lens."""
    left, right = textured_pair(height, width, shift)
    focal = np.array([[[width, 0, width / 2], [0, width, height / 2], [0, 0, 1]]], np.float32)
    known = {'left': left, 'right': right, 'image': left, 'intrinsics': focal}
    return {name: known[name] for name in spec.inputs}


def small_size(spec: ModelSpec) -> tuple[int, int]:
    """A small (height, width) that a network takes and that is enough to test it."""
    if spec.fixed_size is not None:
        return spec.fixed_size
    height, width = (
        -(-max(side, least) // spec.multiple) * spec.multiple
        for side, least in zip((96, 160), spec.minimum, strict=True)
    )
    return height, width


def textured_pair(height: int, width: int, shift: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Make a left and right image (1, height, width, 3), uint8 RGB, with one disparity everywhere.

    The images are blocky noise of three sizes, made by integer arithmetic only.
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
    """Compute a number in 0..255 for every place by integer hashing of its coordinates."""
    mixed = (rows * 374761393 + columns * 668265263 + channels * 974634721).astype(np.uint32)
    mixed = (mixed ^ (mixed >> 13)) * np.uint32(1274126177)
    return ((mixed ^ (mixed >> 16)) & 255).astype(np.int64)


def _side(name: str, value: int) -> int:
    return integer(name, value, 8, 16384)


def _value(name: str, value: float) -> float:
    return number(name, value, -_LARGEST_VALUE, _LARGEST_VALUE)


def _sample(values: np.ndarray) -> np.ndarray:
    """Take values of a map (H, W) at points spread evenly over its inside, row by row."""
    rows, columns = (
        ((np.arange(count) + 1) * side) // (count + 1)
        for count, side in zip(_GRID, values.shape, strict=True)
    )
    return values[np.ix_(rows, columns)].ravel()
