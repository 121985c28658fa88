"""LightStereo: 2-D cost aggregation whose channels are the disparities.

Guo et al., "LightStereo: Channel Boost Is All You Need for Efficient 2D Cost Aggregation",
ICRA 2025, arXiv 2406.19833.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from nndepth_core.blocks.guided_hourglass import GuidedHourglass
from nndepth_core.blocks.inverted_residual import InvertedResidual
from nndepth_core.encoders.efficientnet_v2 import EfficientNetV2
from nndepth_core.encoders.mobilenet_v2 import MobileNetV2
from nndepth_core.models.guided_stereo import BINS, GUIDED_RULES, GuidedStereo
from nndepth_core.spec import ModelSpec

_ENCODERS: dict[str, type[MobileNetV2 | EfficientNetV2]] = {
    'mobilenet_v2': MobileNetV2,
    'efficientnet_v2': EfficientNetV2,
}


class LightStereo(GuidedStereo):
    """`GuidedStereo` of inverted residuals.

    Args:
        encoder: 'mobilenet_v2' or 'efficientnet_v2'.
        blocks: inverted residuals of the aggregation at 1/4, 1/8 and 1/16.
        expansion: their channel boost, which is the inner width divided by the outer width.
    """

    spec = ModelSpec(
        'light_stereo',
        confidence='softmax_peak',
        multiple=32,
        placement='top_right',
        minimum=(32, 32),
    )
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        's': {'encoder': 'mobilenet_v2', 'blocks': (1, 2, 4), 'expansion': 4},
        'm': {'encoder': 'mobilenet_v2', 'blocks': (4, 8, 16), 'expansion': 4},
        'l': {'encoder': 'mobilenet_v2', 'blocks': (8, 16, 32), 'expansion': 8},
        'h': {'encoder': 'efficientnet_v2', 'blocks': (8, 16, 32), 'expansion': 8},
    }

    official_rules = GUIDED_RULES
    official_aliases = ((r'^neck\.', 'backbone.'),)  # the layout of the StereoAnything weights

    def __init__(self, encoder: str, blocks: Sequence[int], expansion: int) -> None:
        features = _ENCODERS[encoder]()
        block = partial(InvertedResidual, expansion=expansion)
        guides = features.channels[:3]
        super().__init__(features, GuidedHourglass(BINS, guides, blocks, block), guide=24)
