"""Disparity of rectified pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from nndepth_core.engines.maps import left_right_confidence
from nndepth_core.estimator.base import Estimator
from nndepth_core.estimator.images import check_pair
from nndepth_core.estimator.results import StageClock, StereoResult

if TYPE_CHECKING:
    from typing_extensions import Self


class StereoEstimator(Estimator):
    """Estimates the disparity of rectified pairs; see `Estimator` for its arguments."""

    task = 'stereo'

    @classmethod
    def default(cls) -> Self:
        """Make an estimator of the default model on the best engine that is installed."""
        return cls.load()

    def __call__(
        self, left: np.ndarray, right: np.ndarray, confidence: bool = False
    ) -> StereoResult:
        """Estimate the disparity of a rectified pair, uint8 RGB (H, W, 3) each.

        Args:
            left: the left image, to which the result belongs.
            right: the right image, of the same size.
            confidence: whether to return it too; a model that has none of its own runs twice then.

        Raises:
            ValueError: images have the wrong type, or their sizes differ or are too small.
        """
        check_pair(left, right)
        clock = StageClock()
        maps, size = self._run({'left': left, 'right': right}, clock, confidence=confidence)
        maps = self._resized(maps, left.shape[1], left.shape[0])
        clock.lap('postprocess')
        shown = maps['confidence'] if confidence else None
        return StereoResult(maps['disparity'], shown, size, clock.milliseconds)

    def _infer(self, batch: Mapping[str, np.ndarray], confidence: bool) -> dict[str, np.ndarray]:
        maps = super()._infer(batch, confidence)
        if confidence and 'confidence' not in maps:
            mirrored = {
                name: np.ascontiguousarray(batch[other][:, :, ::-1])
                for name, other in (('left', 'right'), ('right', 'left'))
            }
            of_right = self.engine.run(mirrored)['disparity'][0, :, ::-1]
            maps['confidence'] = left_right_confidence(maps['disparity'], of_right)
        return maps
