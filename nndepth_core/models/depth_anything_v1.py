"""Depth Anything, the first version: the network of the second, with the last four layers tapped.

Yang et al., "Depth Anything: Unleashing the Power of Large-Scale Unlabeled Data", CVPR 2024,
arXiv 2401.10891.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from nndepth_core.models.depth_anything_v2 import DepthAnythingV2


class DepthAnythingV1(DepthAnythingV2):
    """See `DepthAnythingV2`; published weights give relative inverse depth."""

    spec = replace(DepthAnythingV2.spec, name='depth_anything_v1')
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        name: {**settings, 'taps': tuple(range(settings['layers'] - 3, settings['layers'] + 1))}
        for name, settings in DepthAnythingV2.variants.items()
    }
