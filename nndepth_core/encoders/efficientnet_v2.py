"""EfficientNetV2-S as a feature pyramid (Tan and Le, ICML 2021, arXiv 2104.00298).

The layers are those of timm's `efficientnetv2_rw_s`, slightly different from the paper's table 4.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from nndepth_core.blocks.inverted_residual import FusedInvertedResidual, InvertedResidual
from nndepth_core.encoders.staged import StagedEncoder

# (fused, expansion, width, blocks, stride) of the six stages
_STAGES = (
    (True, 1, 24, 2, 1),
    (True, 4, 48, 4, 2),
    (True, 4, 64, 4, 2),
    (False, 4, 128, 6, 2),
    (False, 6, 160, 9, 1),
    (False, 6, 272, 15, 2),
)


class EfficientNetV2(StagedEncoder):
    """Stem and six stages; returns the maps at 1/4, 1/8, 1/16 and 1/32.

    Attributes:
        channels: widths of the four maps, finest first.
        official_rules: (pattern, replacement), applied one after the other, from our entry names
            to those of timm's `efficientnetv2_rw_s`. The stages are left as `stages.0` to
            `stages.5`, since every checkpoint nests them in its own way.
    """

    channels = (48, 64, 160, 272)
    official_rules = (
        (r'stem\.conv', 'conv_stem'),
        (r'stem\.norm', 'bn1'),
        (r'(stages\.[0-2]\.\d)\.expand\.conv', r'\1.conv_exp'),
        (r'(stages\.[0-2]\.\d)\.project\.norm', r'\1.bn2'),
        (r'(stages\.\d\.\d+)\.expand\.conv', r'\1.conv_pw'),
        (r'(stages\.\d\.\d+)\.expand\.norm', r'\1.bn1'),
        (r'(stages\.\d\.\d+)\.depthwise\.conv', r'\1.conv_dw'),
        (r'(stages\.\d\.\d+)\.depthwise\.norm', r'\1.bn2'),
        (r'(stages\.\d\.\d+)\.gate\.', r'\1.se.conv_'),
        (r'(stages\.\d\.\d+)\.project\.conv', r'\1.conv_pwl'),
        (r'(stages\.\d\.\d+)\.project\.norm', r'\1.bn3'),
    )

    def __init__(self) -> None:
        fused = FusedInvertedResidual
        gated = partial(InvertedResidual, activation=nn.SiLU, gated=True)
        stages = [
            (partial(fused if is_fused else gated, expansion=expansion), width, blocks, stride)
            for is_fused, expansion, width, blocks, stride in _STAGES
        ]
        super().__init__(24, nn.SiLU, stages)
