"""Disparity of rectified pairs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nndepth_core.engines import Engine
from nndepth_core.engines.maps import left_right_confidence
from nndepth_core.estimator.base import Estimator
from nndepth_core.estimator.depth_edges import with_edges_of_image
from nndepth_core.estimator.images import check_pair
from nndepth_core.estimator.results import StageClock, StereoResult
from nndepth_core.estimator.variational import BYTES_PER_PIXEL, refined
from nndepth_core.rectification.rows import RowAligner

if TYPE_CHECKING:
    from typing_extensions import Self


REFINE = {'auto': None, 'always': True, 'never': False}
"""The words of options and parameters for `StereoEstimator.refine`; YAML takes on for true."""


class StereoEstimator(Estimator):
    """Estimates the disparity of rectified pairs.

    Args:
        engine: the engine that executes the model.
        align_rows: whether rows of the right image that are slightly off, as after a knock on the
            rig, are found by the result and moved back; the model runs again if they are farther
            off than was known.
        refine: whether the images make disparities more precise: their colours at depth edges,
            where the model has a confidence of its own, and their gradients elsewhere; None leaves
            that to the model, see `ModelSpec.refined`.
        settings: see `Estimator`.
    """

    task = 'stereo'

    def __init__(
        self,
        engine: Engine,
        *args: Any,
        align_rows: bool = False,
        refine: bool | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(engine, *args, **settings)
        if not (refine is None or isinstance(refine, bool)):
            raise ValueError(
                f'refine is {refine!r}; give True, False, or None for what suits the model'
            )
        self.align_rows = align_rows
        self.refine = refine

    @property
    def refines(self) -> bool:
        """Whether disparities are refined."""
        return self.engine.spec.refined if self.refine is None else self.refine

    @classmethod
    def default(cls) -> Self:
        """Make an estimator of the default model on the best engine that is installed."""
        return cls.load()

    def __call__(
        self,
        left: np.ndarray,
        right: np.ndarray,
        confidence: bool = False,
        rows: RowAligner | None = None,
    ) -> StereoResult:
        """Estimate the disparity of a rectified pair, uint8 RGB (H, W, 3) each.

        Args:
            left: the left image, to which the result belongs.
            right: the right image, of the same size.
            confidence: whether to return it too; a model that has none of its own runs twice then.
            rows: what the results before this one told of the rows of the same rig, which learns
                from this one too; None for a pair that stands alone. Only `align_rows` uses it.

        Raises:
            ValueError: images have the wrong type, or their sizes differ or are too small.
        """
        check_pair(left, right)
        if not self.align_rows:
            return self._estimate(left, right, confidence)
        rows, started = rows or RowAligner(), time.perf_counter()
        result = self._estimate(left, rows.straightened(right), confidence)
        spent = dict(result.milliseconds)
        if rows.learn(left, right, result.disparity):
            result = self._estimate(left, rows.straightened(right), confidence)
            spent = {stage: spent[stage] + ms for stage, ms in result.milliseconds.items()}
        spent['preprocess'] += 1000 * (time.perf_counter() - started) - sum(spent.values())
        return replace(result, milliseconds=spent, row_offset=rows.applied)

    def _estimate(self, left: np.ndarray, right: np.ndarray, confidence: bool) -> StereoResult:
        clock = StageClock()
        maps, size = self._run({'left': left, 'right': right}, clock, confidence=confidence)
        maps = self._resized(maps, left.shape[1], left.shape[0])
        clock.lap('postprocess')
        shown = maps['confidence'] if confidence else None
        return StereoResult(maps['disparity'], shown, size, clock.milliseconds)

    def _bytes_per_pixel(self) -> int:
        return super()._bytes_per_pixel() + (BYTES_PER_PIXEL if self.refines else 0)

    def _infer(self, batch: Mapping[str, np.ndarray], confidence: bool) -> dict[str, np.ndarray]:
        maps = super()._infer(batch, confidence)
        sure = maps.get('confidence')
        if confidence and 'confidence' not in maps:
            mirrored = {
                name: np.ascontiguousarray(batch[other][:, :, ::-1])
                for name, other in (('left', 'right'), ('right', 'left'))
            }
            of_right = self.engine.run(mirrored)['disparity'][0, :, ::-1]
            maps['confidence'] = left_right_confidence(maps['disparity'], of_right)
        if self.refines:
            left, right, disparity = batch['left'][0], batch['right'][0], maps['disparity']
            if sure is not None:
                disparity = with_edges_of_image(left, disparity, sure)
            maps['disparity'] = refined(left, right, disparity, self.engine.spec.bounds)
        return maps
