"""The report of `nndepth replay`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import nndepth_core
from nndepth_core.engines.source import settings_of_engine
from nndepth_ros.bag import BagReader
from nndepth_ros.doctor import Finding
from nndepth_ros.pipeline import Estimate

if TYPE_CHECKING:
    from nndepth_ros.replay.processor import Processor

COUNTED = {'pair': 'pairs', 'image': 'frames'}
"""What is processed -> the entry of its counts; `images` are those of each camera."""


@dataclass
class Outcome:
    """The results for all pairs, or all images of a single camera.

    Attributes:
        densities: for each that is processed, the share of pixels with a finite depth, 0..1.
        milliseconds: the times of each that is processed, by stage.
        failures: stamp and reason of each that could not be processed.
        findings: the findings of the doctor, by code.
        processing_size: [width, height] of the last images that the engine got.
    """

    densities: list[float] = field(default_factory=list)
    milliseconds: dict[str, list[float]] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    findings: dict[str, Finding] = field(default_factory=dict)
    processing_size: list[int] = field(default_factory=list)

    def add(self, estimate: Estimate, milliseconds: Mapping[str, float]) -> None:
        """Add an estimate and the times of its stages."""
        self.processing_size = list(estimate.result.processing_size)
        self.densities.append(estimate.density)
        for stage, value in milliseconds.items():
            self.milliseconds.setdefault(stage, []).append(value)


def describe(processor: Processor, milliseconds: Mapping[str, float]) -> dict[str, Any]:
    """Make the report, without what concerns the two bags themselves.

    Args:
        processor: what has processed the bag.
        milliseconds: the times of the passes 'survey' and 'processing'.

    Returns:
        The report, ready for json.dumps.
    """
    outcome, survey, estimator = processor.outcome, processor.survey, processor.estimator
    engine, densities = estimator.engine, outcome.densities
    counted = COUNTED[processor.noun]
    images = len(survey.frames[survey.sides[0]])
    return {
        'problem': None if densities else _problem(processor),
        'topics': asdict(processor.topics),
        'model': {
            'name': engine.spec.name,
            'variant': engine.spec.variant,
            'network_settings': settings_of_engine(engine),
            'engine': engine.name,
            'device': engine.device,
            'refined': estimator.refines,
            'processing_size': outcome.processing_size,
            'output_size': estimator.output,
            'confidence_threshold': estimator.confidence_threshold,
        },
        'images': {
            side or processor.noun: {
                'count': len(survey.frames[side]),
                'rate_hz': survey.rate(side),
                'unpaired': survey.unpaired(side),
            }
            for side in survey.sides
        },
        'damaged_messages': dict(survey.damaged),
        counted: {
            'found': len(survey.moments),
            'processed': len(densities),
            'failed': len(outcome.failures),
        },
        'failures': outcome.failures,
        'coverage': len(densities) / images if images else 0.0,
        'density': _statistics(densities),
        'findings': [finding.described() for finding in outcome.findings.values()],
        'seconds': {name: round(value / 1000, 3) for name, value in milliseconds.items()},
        f'{counted}_per_second': round(1000 * len(densities) / milliseconds['processing'], 3),
        'milliseconds': {
            stage: _statistics(values) for stage, values in outcome.milliseconds.items()
        },
        **processor.described(),
    }


def describe_bags(
    source: Path, target: Path, written: Mapping[str, int], interrupted: bool
) -> dict[str, Any]:
    """Begin a report: what was made of what; `written` counts messages by topic."""
    return {
        'nndepth': nndepth_core.__version__,
        'input': str(source),
        'output': str(target) if written else None,
        'interrupted': interrupted,
    }


def describe_input(bag: BagReader) -> dict[str, Any]:
    """Describe what could not be read of a bag, ready for JSON."""
    return {
        'damage': [item._asdict() for item in bag.damage],
        'left_out': dict(bag.left_out),
    }


def _problem(processor: Processor) -> str:
    outcome, survey, noun = processor.outcome, processor.survey, processor.noun
    if survey.moments:
        first = outcome.failures[0]['reason'] if outcome.failures else 'interrupted'
        return f'none of {len(survey.moments)} {noun}s could be processed; the first: {first}'
    none = 'none is recorded in the time that --start and --duration leave'
    if len(survey.sides) == 1:
        return f'no image; {"; ".join(survey.damaged) or none}'
    counts = ' and '.join(f'{len(survey.frames[side])} {side}' for side in survey.sides)
    reasons = [f'{side}: {reason}' for side in survey.sides for reason in survey.unpaired(side)]
    reasons += survey.damaged
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
