"""MobileNetV2 as a feature pyramid (Sandler et al., CVPR 2018, arXiv 1801.04381)."""

from __future__ import annotations

from functools import partial

from torch import nn

from nndepth_core.blocks.inverted_residual import InvertedResidual
from nndepth_core.encoders.staged import StagedEncoder

# (expansion, width, blocks, stride) of the first six stages in table 2 of the paper; the seventh
# stage and the head are for classification only.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
)


class MobileNetV2(StagedEncoder):
    """Stem and six stages; returns the maps at 1/4, 1/8, 1/16 and 1/32.

    Attributes:
        channels: widths of the four maps, finest first.
        official_rules: (pattern, replacement), applied one after the other, from our entry names
            to those of timm's `mobilenetv2_100`. The stages are left as `stages.0` to `stages.5`,
            since every checkpoint nests them in its own way.
    """

    channels = (24, 32, 96, 160)
    official_rules = (
        (r'stem\.conv', 'conv_stem'),
        (r'stem\.norm', 'bn1'),
        (r'(stages\.0\.0)\.depthwise\.norm', r'\1.bn1'),
        (r'(stages\.0\.0)\.project\.conv', r'\1.conv_pw'),
        (r'(stages\.0\.0)\.project\.norm', r'\1.bn2'),
        (r'(stages\.\d\.\d)\.expand\.conv', r'\1.conv_pw'),
        (r'(stages\.\d\.\d)\.expand\.norm', r'\1.bn1'),
        (r'(stages\.\d\.\d)\.depthwise\.conv', r'\1.conv_dw'),
        (r'(stages\.\d\.\d)\.depthwise\.norm', r'\1.bn2'),
        (r'(stages\.\d\.\d)\.project\.conv', r'\1.conv_pwl'),
        (r'(stages\.\d\.\d)\.project\.norm', r'\1.bn3'),
    )

    def __init__(self) -> None:
        stages = [
            (partial(InvertedResidual, expansion=expansion), width, blocks, stride)
            for expansion, width, blocks, stride in _STAGES
        ]
        super().__init__(32, nn.ReLU6, stages)
