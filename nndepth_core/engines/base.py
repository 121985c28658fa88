"""What executes a model: the protocol every engine follows."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

Placement = Literal['centre', 'top_right', 'bottom_right']

NETWORK_RANGE = (0.0, 192.0)
"""Disparities that networks are trained on (Scene Flow's usual mask); they may go beyond."""


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
        placement: where padding goes; 'centre' puts the smaller half above and to the left,
            'top_right' all rows above and all columns to the right.
        fixed_size: the one (height, width) the model takes, None where it takes any.
        confidence: how its own confidence arises: 'softmax_peak', 'residual' or, where it has
            none, 'left_right'.
        bytes_per_pixel: memory that a run takes on the CPU for each pixel, at least (nano_stereo,
            the smallest network, was measured at 286).
    """

    name: str
    variant: str = ''
    multiple: int = 1
    minimum: tuple[int, int] = (1, 1)
    resolution: float = 0.0
    placement: Placement = 'bottom_right'
    fixed_size: tuple[int, int] | None = None
    confidence: str = 'left_right'
    bytes_per_pixel: int = 150

    def margins(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Rows above and below, columns left and right that a size lacks to fit the model."""
        rows, columns = (-side % self.multiple for side in (height, width))
        if self.placement == 'centre':
            return rows // 2, rows - rows // 2, columns // 2, columns - columns // 2
        if self.placement == 'top_right':
            return rows, 0, 0, columns
        return 0, rows, 0, columns


class Engine(Protocol):
    """Executes one model; made once, prepared for a size on its first run of that size.

    Attributes:
        name: what executes it.
        device: where.
        spec: what the model wants.
        iterations: steps an iterative network takes, 0 for other models. Setting it raises
            EngineError where the engine cannot change it.
    """

    name: str
    device: str
    spec: ModelSpec
    iterations: int

    def run(self, *images: np.ndarray) -> dict[str, np.ndarray]:
        """Compute on uint8 RGB images (N, H, W, 3).

        A stereo model takes left and right and returns 'disparity' float32 (N, H, W) in pixels of
        its input, positive, NaN where unknown, and where it has one 'confidence' in 0..1.
        """
        ...

    def disparity_range(self) -> tuple[float, float]:
        """Smallest and largest disparity to expect of the model, pixels of its input."""
        ...

    def self_test(self) -> None:
        """Check that the engine computes what the model should.

        Raises:
            EngineError: it computes something else.
        """
        ...


def check_images(spec: ModelSpec, *images: np.ndarray) -> None:
    """Refuse images that a network cannot take.

    Raises:
        ValueError: they are no uint8 batches (N, H, W, 3) of one size, or that size does not fit.
    """
    for image in images:
        if image.dtype != np.uint8 or image.ndim != 4 or image.shape[3] != 3:
            raise ValueError(
                f'a batch is {image.dtype} {image.shape}; give uint8 RGB (N, height, width, 3)'
            )
        if image.shape != images[0].shape:
            raise ValueError(
                f'batches are {images[0].shape} and {image.shape}; give as many images of one size'
            )
    height, width = images[0].shape[1:3]
    if spec.fixed_size:
        fits = (height, width) == spec.fixed_size
        wanted = f'exactly {spec.fixed_size[1]}x{spec.fixed_size[0]}'
    else:
        fits = not any(spec.margins(height, width))
        fits = fits and height >= spec.minimum[0] and width >= spec.minimum[1]
        wanted = f'multiples of {spec.multiple}, at least {spec.minimum[1]}x{spec.minimum[0]}'
    if not fits:
        raise ValueError(f'images are {width}x{height}; {spec.name} takes {wanted}')


def physical_cores() -> int:
    """Cores this process may use, counting the threads of one core once."""
    if not hasattr(os, 'sched_getaffinity'):
        return os.cpu_count() or 1
    usable = os.sched_getaffinity(0)
    siblings = Path('/sys/devices/system/cpu').glob('cpu[0-9]*/topology/thread_siblings_list')
    cores = {path.read_text() for path in siblings if int(path.parts[-3][3:]) in usable}
    return len(cores) or len(usable)
