"""Checks whether numbers that are formally valid can be true; gives findings, each with its cure.

The checks only read numbers. The node, replay, infer, evaluate and training all use them. Another
meaning of implausible numbers is suggested only if they fit it; the user decides what was meant.
"""

from nndepth_core.plausibility.baseline import BaselineLimits, examine_baseline
from nndepth_core.plausibility.estimates import (
    density,
    examine_depth,
    examine_estimate,
    share_inside,
)
from nndepth_core.plausibility.findings import Finding, Level, Once
from nndepth_core.plausibility.pixels import (
    UsedBits,
    eight_bits,
    examine_image_levels,
    examine_levels,
    stretch,
)
from nndepth_core.plausibility.truth import examine_truth

__all__ = [
    'BaselineLimits',
    'Finding',
    'Level',
    'Once',
    'UsedBits',
    'density',
    'eight_bits',
    'examine_baseline',
    'examine_depth',
    'examine_estimate',
    'examine_image_levels',
    'examine_levels',
    'examine_truth',
    'share_inside',
    'stretch',
]
