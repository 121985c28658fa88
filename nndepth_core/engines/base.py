"""The protocol that every engine follows; an engine executes a model."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from nndepth_core.spec import ModelSpec

_log = logging.getLogger(__name__)


class EngineError(RuntimeError):
    """A model cannot be loaded or computes something wrong; the message says what helps."""


class Engine(Protocol):
    """Executes one model; it prepares itself for an image size when it first meets that size.

    Attributes:
        name: the name of the engine.
        device: the device on which it runs.
        spec: what the model takes and gives.
        iterations: the steps that an iterative network takes; 0 for other models. Setting it
            raises EngineError if the engine cannot change it.
    """

    name: str
    device: str
    spec: ModelSpec
    iterations: int

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Compute one batch.

        Args:
            inputs: arrays by the names in `spec.inputs`; images are uint8 RGB (N, H, W, 3).

        Returns:
            Arrays float32 (N, H, W) by the names in `spec.maps`. The model's output comes first:
            'disparity', for example, is in pixels of the input and NaN where it is unknown. If
            the model has a confidence, 'confidence' is in 0..1.
        """
        ...

    def self_test(self) -> None:
        """Check that the engine computes what the model should.

        Raises:
            EngineError: the engine computes something else.
        """
        ...


def iterations_for(spec: ModelSpec, iterations: int) -> int:
    """The iterations that were asked for; 0, with a warning, where a model has none to choose."""
    if iterations and not spec.iterations:
        _log.warning(
            'iterations is %d and %s has none to choose; it has no effect', iterations, spec.title
        )
        return 0
    return iterations


def check_inputs(spec: ModelSpec, inputs: Mapping[str, np.ndarray]) -> tuple[int, int, int]:
    """Refuse inputs that a model cannot take; return N, H, W of the images.

    Raises:
        ValueError: the names are not those of the model, the images are not uint8 batches
            (N, H, W, 3) of one size, or that size does not fit.
    """
    if set(inputs) != set(spec.inputs):
        raise ValueError(
            f'inputs are {", ".join(inputs)}; {spec.title} takes {", ".join(spec.inputs)}'
        )
    images = [inputs[name] for name in spec.images]
    for image in images:
        if image.dtype != np.uint8 or image.ndim != 4 or image.shape[3] != 3:
            raise ValueError(
                f'a batch is {image.dtype} {image.shape}; give uint8 RGB (N, height, width, 3)'
            )
        if image.shape != images[0].shape:
            raise ValueError(
                f'batches are {images[0].shape} and {image.shape}; give as many images of one size'
            )
    count, height, width = images[0].shape[:3]
    spec.check_size(height, width)
    return count, height, width


def physical_cores() -> int:
    """Count the cores that this process may use; the threads of one core count once."""
    if not hasattr(os, 'sched_getaffinity'):
        return os.cpu_count() or 1
    usable = os.sched_getaffinity(0)
    siblings = Path('/sys/devices/system/cpu').glob('cpu[0-9]*/topology/thread_siblings_list')
    cores = {path.read_text() for path in siblings if int(path.parts[-3][3:]) in usable}
    return len(cores) or len(usable)
