"""How stereo models are judged: by the errors of their disparity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nndepth_core.data.sample import StereoSample
from nndepth_core.estimator import StereoEstimator, StereoResult, check_pair
from nndepth_core.evaluation.measures import Measures, Metrics, View
from nndepth_core.evaluation.metrics import regional_metrics
from nndepth_core.evaluation.names import STEREO_DEFAULT, STEREO_TITLES
from nndepth_core.evaluation.regions import REGIONS, edge_bands, stereo_regions
from nndepth_core.evaluation.sparsification import sparsify
from nndepth_core.plausibility import Finding, examine_estimate, examine_levels, examine_truth

CONFIDENCE_METRICS = ('ause', 'ause_normalized', 'aurg')


@dataclass(frozen=True)
class StereoMeasures(Measures[StereoSample, StereoEstimator, StereoResult]):
    """What is measured of disparity maps, see `regional_metrics`.

    Attributes:
        confidence: measure too how well the confidence sorts, see CONFIDENCE_METRICS and
            `sparsify`, for the absolute error.
        bands: measure too along depth edges, in the regions of `edge_bands`.
        truth: refuse samples without any known truth; else they are only timed.
    """

    confidence: bool = False
    bands: bool = False
    truth: bool = True

    titles = STEREO_TITLES
    columns = STEREO_DEFAULT
    regions = REGIONS
    brief: ClassVar[Mapping[str, str]] = {'epe': 'EPE', 'd1_all': 'D1 %'}
    caption = 'EPE {epe:.2f} px, bad-3 {bad_3:.1f} %, density {density:.1f} %'
    note = (
        'Every sample has the same weight in the means; a missing estimate counts as bad, and is '
        'filled from the background for EPE and RMSE.'
    )
    difference_titles: ClassVar[Mapping[str, str]] = {
        'mean_difference': 'mean |A-B| px',
        'differ_1': '>1 px %',
        'differ_3': '>3 px %',
    }
    difference_limits = (1, 3)
    difference_unit = 'px'
    worst = 4.0

    def about(self, model: StereoEstimator) -> dict[str, Any]:
        """Tell what was done to images and disparities besides what the model does."""
        return {'aligned': model.align_rows, 'refined': model.refines}

    def check(self, sample: StereoSample) -> None:
        """Refuse images and maps of different sizes, and unknown truth."""
        check_pair(sample.left, sample.right)
        for what, values in (('truth', sample.disparity), ('occlusion mask', sample.occluded)):
            if values is not None and values.shape != sample.left.shape[:2]:
                raise ValueError(
                    f'the {what} is {values.shape[1]}x{values.shape[0]} and the left image '
                    f'{sample.left.shape[1]}x{sample.left.shape[0]}; they must have one size'
                )
        if self.truth and not np.isfinite(sample.disparity).any():
            raise ValueError('the truth has no known pixel; is it the right file and scale?')

    def estimate(self, model: StereoEstimator, sample: StereoSample) -> StereoResult:
        """Estimate the disparity of the pair."""
        return model(sample.left, sample.right, self.confidence)

    def view(self, sample: StereoSample, results: Sequence[StereoResult]) -> View:
        """Show the disparities as they are."""
        return View(
            sample.left,
            'left image',
            'disparity',
            'px',
            sample.disparity,
            [result.disparity for result in results],
            [result.confidence for result in results],
        )

    def metrics(self, sample: StereoSample, view: View) -> list[Metrics]:
        """Measure in every region of known truth."""
        regions = stereo_regions(sample.left, sample.disparity, sample.occluded)
        if self.bands:
            regions |= edge_bands(sample.disparity)
        return [
            _metrics(disparity, confidence, sample.disparity, regions)
            for disparity, confidence in zip(view.maps, view.confidences, strict=True)
        ]

    def examine(self, sample: StereoSample, closely: bool) -> list[Finding]:
        """Examine the numbers of the truth, and in the first samples the images too."""
        left, right = sample.left, sample.right
        found = examine_levels(left, right) if closely else []
        return found + examine_truth(left, right, sample.disparity, sample.occluded, warp=closely)

    def examine_result(
        self, model: StereoEstimator, sample: StereoSample, result: StereoResult
    ) -> list[Finding]:
        """Examine sign, scale and range of the disparities."""
        largest = model.engine.spec.bounds[1] * result.scale
        return examine_estimate(sample.left, sample.right, result.disparity, largest=largest)


def _metrics(
    disparity: np.ndarray,
    confidence: np.ndarray | None,
    truth: np.ndarray,
    regions: Mapping[str, np.ndarray],
) -> Metrics:
    metrics = regional_metrics(disparity, truth, regions)
    if confidence is not None:
        error = np.abs(disparity - truth)
        for name, values in metrics.items():
            values |= _sparsification(error[regions[name]], confidence[regions[name]])
    return metrics


def _sparsification(error: np.ndarray, confidence: np.ndarray) -> dict[str, float]:
    if not np.isfinite(error).any():
        return dict.fromkeys(CONFIDENCE_METRICS, float('nan'))
    found = sparsify(error, confidence)
    return {name: getattr(found, name) for name in CONFIDENCE_METRICS}
