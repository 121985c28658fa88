"""Whether numbers that can be computed with can also be true: findings, each with its cure.

Pure, and used alike by the node, replay, infer, evaluate and training. A reading of implausible
numbers is named only where the numbers fit it; which one is meant, the user decides.
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
