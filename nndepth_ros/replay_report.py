"""The report of `nndepth replay`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from nndepth_core.estimator import StereoEstimator
from nndepth_ros.bag import BagReader
from nndepth_ros.bag_survey import StereoTopics, Survey
from nndepth_ros.doctor import Finding
from nndepth_ros.synchronizer import SIDES


@dataclass
class Outcome:
    """The results for all pairs.

    Attributes:
        densities: for each processed pair, the share of pixels with a finite depth, 0..1.
        milliseconds: the times of each processed pair, by stage.
        failures: stamp and reason of each pair that could not be processed.
        findings: the findings of the doctor, by code.
        processing_size: [width, height] of the last images that the engine got.
    """

    densities: list[float] = field(default_factory=list)
    milliseconds: dict[str, list[float]] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    findings: dict[str, Finding] = field(default_factory=dict)
    processing_size: list[int] = field(default_factory=list)


def describe(
    outcome: Outcome,
    topics: StereoTopics,
    survey: Survey,
    estimator: StereoEstimator,
    milliseconds: Mapping[str, float],
) -> dict[str, Any]:
    """Make the report, without what concerns the two bags themselves.

    Args:
        outcome: the results for all pairs.
        topics: the topics that were read.
        survey: the survey of the bag.
        estimator: the estimator that was used.
        milliseconds: the times of the passes 'survey' and 'processing'.

    Returns:
        The report, ready for json.dumps.
    """
    engine, densities = estimator.engine, outcome.densities
    images = len(survey.frames['left'])
    return {
        'problem': None if densities else _problem(outcome, survey),
        'topics': asdict(topics),
        'model': {
            'name': engine.spec.name,
            'variant': engine.spec.variant,
            'engine': engine.name,
            'device': engine.device,
            'processing_size': outcome.processing_size,
            'output_size': estimator.output,
            'confidence_threshold': estimator.confidence_threshold,
        },
        'images': {
            side: {
                'count': len(survey.frames[side]),
                'rate_hz': survey.rate(side),
                'unpaired': survey.unpaired(side),
            }
            for side in SIDES
        },
        'damaged_messages': dict(survey.damaged),
        'pairs': {
            'found': len(survey.pairs),
            'processed': len(densities),
            'failed': len(outcome.failures),
        },
        'failures': outcome.failures,
        'coverage': len(densities) / images if images else 0.0,
        'density': _statistics(densities),
        'findings': [finding.described() for finding in outcome.findings.values()],
        'seconds': {name: round(value / 1000, 3) for name, value in milliseconds.items()},
        'pairs_per_second': round(1000 * len(densities) / milliseconds['processing'], 3),
        'milliseconds': {
            stage: _statistics(values) for stage, values in outcome.milliseconds.items()
        },
    }


def describe_input(bag: BagReader) -> dict[str, Any]:
    """Describe what could not be read of a bag, ready for JSON."""
    return {
        'damage': [item._asdict() for item in bag.damage],
        'left_out': dict(bag.left_out),
    }


def _problem(outcome: Outcome, survey: Survey) -> str:
    if survey.pairs:
        first = outcome.failures[0]['reason'] if outcome.failures else 'interrupted'
        return f'none of {len(survey.pairs)} pairs could be processed; the first: {first}'
    counts = ' and '.join(f'{len(survey.frames[side])} {side}' for side in SIDES)
    reasons = [f'{side}: {reason}' for side in SIDES for reason in survey.unpaired(side)]
    reasons += survey.damaged
    none = 'none is recorded in the time that --start and --duration leave'
    return f'no pair in {counts} images; {"; ".join(reasons) or none}'


def _statistics(values: Sequence[float]) -> dict[str, float]:
    """Mean, extremes and percentiles; empty if there are no values."""
    if not values:
        return {}
    p50, p95 = np.percentile(values, (50, 95))
    found = {
        'mean': np.mean(values),
        'min': np.min(values),
        'p50': p50,
        'p95': p95,
        'max': np.max(values),
    }
    return {name: round(float(value), 4) for name, value in found.items()}
