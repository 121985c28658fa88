"""What estimators return, and how long its stages took."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from nndepth_core.rectification.rows import LEFT_ALONE, RowOffset
from nndepth_core.spec import Output


@dataclass(frozen=True)
class StereoResult:
    """The result for one stereo pair.

    Attributes:
        disparity: float32 (H, W), of the left image, in pixels of this array, NaN where unknown.
        confidence: float32 (H, W) in 0..1, None if it was not asked for.
        processing_size: (width, height) of the images before padding, as the engine got them.
        milliseconds: the times of the stages 'preprocess', 'inference' and 'postprocess'.
        filled: indices (K,) in the flat map of pixels that a filter filled, None for nowhere.
        row_offset: how far rows of the right image were off, and were moved back; all 0: they were
            left as they are.
    """

    disparity: np.ndarray
    confidence: np.ndarray | None
    processing_size: tuple[int, int]
    milliseconds: dict[str, float] = field(default_factory=dict)
    filled: np.ndarray | None = None
    row_offset: RowOffset = LEFT_ALONE

    @property
    def scale(self) -> float:
        """Pixels of the disparity's size in one pixel of the processing size."""
        return self.disparity.shape[1] / self.processing_size[0]


@dataclass(frozen=True)
class DepthResult:
    """The result for one image.

    Attributes:
        depth: float32 (H, W), NaN where unknown; `output` says what it holds. As in REP-117,
            depth is +inf where the model says that it is beyond its range, such as in the sky.
        confidence: float32 (H, W) in 0..1, None if it was not asked for.
        output: 'depth' for metres along Z; 'relative_depth' or 'inverse_depth' (larger is nearer)
            up to an unknown scale and shift.
        processing_size: (width, height) the engine saw before padding.
        milliseconds: time of the stages 'preprocess', 'inference', 'postprocess'.
    """

    depth: np.ndarray
    confidence: np.ndarray | None
    output: Output
    processing_size: tuple[int, int]
    milliseconds: dict[str, float] = field(default_factory=dict)


class StageClock:
    """Measures the milliseconds of stages, from one lap to the next."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Store the time since the last lap under the name of a stage."""
        now = time.perf_counter()
        self.milliseconds[stage] = 1000 * (now - self._last)
        self._last = now
