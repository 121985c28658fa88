"""How models of depth from one image are judged: in metres, aligned where they have no scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nndepth_core.calibration import Calibration
from nndepth_core.data.sample import MonoSample
from nndepth_core.estimator import DepthResult, MonoEstimator
from nndepth_core.evaluation.measures import Measures, Metrics, View
from nndepth_core.evaluation.mono_metrics import (
    ALIGNMENTS,
    DEPTH_RANGE,
    FITTED,
    Alignment,
    align_depth,
    mono_metrics,
)
from nndepth_core.evaluation.names import MONO_DEFAULT, MONO_TITLES
from nndepth_core.evaluation.regions import ALL
from nndepth_core.plausibility import Finding, examine_depth, examine_image_levels
from nndepth_core.visualization import value_range


@dataclass(frozen=True)
class MonoMeasures(Measures[MonoSample, MonoEstimator, DepthResult]):
    """What is measured of depth maps, see `mono_metrics`.

    Attributes:
        alignment: see `align_depth`; None takes what each model's output asks for.
        depth_range: metres, see `mono_metrics`.
        truth: refuse samples without any known truth; else they are only timed.
        calibration: of the camera of samples that bring none.
    """

    alignment: Alignment | None = None
    depth_range: tuple[float, float] = DEPTH_RANGE
    truth: bool = True
    calibration: Calibration | None = None

    titles = MONO_TITLES
    columns = MONO_DEFAULT
    regions = (ALL,)
    brief: ClassVar[Mapping[str, str]] = {'abs_rel': 'AbsRel', 'delta_1': 'δ1'}
    caption = 'AbsRel {abs_rel:.3f}, δ1 {delta_1:.3f}, density {density:.1f} %'
    note = (
        'Every sample has the same weight in the means; an output without a scale is brought to '
        'metres by the truth of each image, a missing estimate counts in the density alone, and '
        'an infinite one is an estimate at the end of the range.'
    )
    difference_titles: ClassVar[Mapping[str, str]] = {
        'mean_difference': 'mean |A-B| %',
        'differ_5': '>5 % apart %',
        'differ_25': '>25 % apart %',
    }
    difference_limits = (5, 25)
    difference_unit = '%'
    worst = 25.0

    def check(self, sample: MonoSample) -> None:
        """Refuse truth that is no metric depth, of another size or unknown."""
        if sample.meaning != 'metric':
            raise ValueError(
                f'the truth is {sample.meaning}, not metres; choose a data set of metric depth'
            )
        if sample.depth.shape != sample.image.shape[:2]:
            raise ValueError(
                f'the truth is {sample.depth.shape[1]}x{sample.depth.shape[0]} and the image '
                f'{sample.image.shape[1]}x{sample.image.shape[0]}; they must have one size'
            )
        if self.truth and not np.isfinite(self._known(sample)).any():
            near, far = self.depth_range
            raise ValueError(
                f'the truth has no known pixel between {near} and {far} m; is it the right file '
                'and unit?'
            )

    def estimate(self, model: MonoEstimator, sample: MonoSample) -> DepthResult:
        """Estimate the depth of the image, with its camera where that is known."""
        camera = sample.camera
        if camera is None and self.calibration is not None:
            camera = self.calibration.left_camera((sample.image.shape[1], sample.image.shape[0]))
        return model(sample.image, camera)

    def view(self, sample: MonoSample, results: Sequence[DepthResult]) -> View:
        """Bring all results to metres, aligned to the truth.

        Without truth this is possible only if all models give metres. Otherwise each map is shown
        in per cent of the range that it spans, where near points have the larger values.
        """
        truth = self._known(sample)
        confidences = [result.confidence for result in results]
        if np.isfinite(truth).any() or all(result.output == 'depth' for result in results):
            maps = [
                align_depth(result.depth, truth, result.output, self._alignment(result.output))
                for result in results
            ]
            return View(
                sample.image,
                'image',
                'depth',
                'm',
                truth,
                maps,
                confidences,
                near_is_high=False,
                relative=True,
            )
        maps = [_in_per_cent(_nearness(result)) for result in results]
        return View(sample.image, 'image', 'nearness', '%', truth, maps, confidences)

    def metrics(self, sample: MonoSample, view: View) -> list[Metrics]:
        """Measure the aligned maps."""
        if not view.truth_known:
            return [{} for _ in view.maps]
        return [
            {ALL: mono_metrics(depth, view.truth, depth_range=self.depth_range)}
            for depth in view.maps
        ]

    def about(self, model: MonoEstimator) -> dict[str, Any]:
        """Tell the meaning of the output, the alignment and the range of depths that count."""
        output = model.engine.spec.output
        alignment = self._alignment(output)
        return {
            'output': output,
            'alignment': alignment,
            'fitted': FITTED[alignment],
            'depth_range': list(self.depth_range),
        }

    def examine(self, sample: MonoSample, closely: bool) -> list[Finding]:
        """Examine whether the image shows something."""
        return examine_image_levels(sample.image) if closely else []

    def examine_result(
        self, model: MonoEstimator, sample: MonoSample, result: DepthResult
    ) -> list[Finding]:
        """Examine whether the depth can be true."""
        return examine_depth(result.depth, (0.0, math.inf) if result.output == 'depth' else None)

    def _alignment(self, output: str) -> Alignment:
        return self.alignment or ALIGNMENTS[output]

    def _known(self, sample: MonoSample) -> np.ndarray:
        """Return the truth in the range of depths that count, and NaN elsewhere."""
        near, far = self.depth_range
        inside = (sample.depth >= near) & (sample.depth <= far)
        return np.where(inside, sample.depth, np.float32(np.nan))


def _nearness(result: DepthResult) -> np.ndarray:
    """Turn the map (H, W) of a result such that near points have the larger values."""
    if result.output == 'inverse_depth':
        return result.depth
    with np.errstate(divide='ignore'):
        return 1 / result.depth if result.output == 'depth' else -result.depth


def _in_per_cent(values: np.ndarray) -> np.ndarray:
    """Express values in per cent of the range from their 2nd to their 98th percentile."""
    low, high = value_range(values, percentile=2)
    return 100 * (values - low) / ((high - low) or 1.0)
