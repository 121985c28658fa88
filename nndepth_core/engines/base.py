"""What executes a model: the protocol every engine follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


class EngineError(RuntimeError):
    """A model that cannot be loaded or computes the wrong thing; the message names the cure."""


@dataclass(frozen=True)
class ModelSpec:
    """What the estimator must know of a model to feed it.

    Attributes:
        name: registry name, e.g. 'sgbm'.
        variant: which of the network's variants, '' where there is one.
        multiple: height and width must be multiples of this; the estimator pads.
        minimum: smallest (height, width) the model makes sense of, before padding.
        resolution: smallest step of the disparity in pixels (DisparityImage.delta_d).
    """

    name: str
    variant: str = ''
    multiple: int = 1
    minimum: tuple[int, int] = (1, 1)
    resolution: float = 0.0


class Engine(Protocol):
    """Executes one model; made once, prepared for a size on its first run of that size."""

    name: str
    device: str
    spec: ModelSpec

    def run(self, *images: np.ndarray) -> dict[str, np.ndarray]:
        """Compute on uint8 RGB images (N, H, W, 3).

        A stereo model takes left and right and returns 'disparity' float32 (N, H, W) in pixels of
        its input, positive, NaN where unknown, and where it has one 'confidence' in 0..1.
        """
        ...

    def disparity_range(self) -> tuple[float, float]:
        """Smallest and largest disparity the model can return, pixels of its input."""
        ...
