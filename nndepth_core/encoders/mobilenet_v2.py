"""MobileNetV2 as a feature pyramid (Sandler et al., CVPR 2018, arXiv 1801.04381)."""

from __future__ import annotations

from torch import nn

from nndepth_core.blocks.inverted_residual import InvertedResidual
from nndepth_core.encoders.staged import StagedEncoder

# (expansion, width, blocks, stride) of the first six stages: table 2 of the paper, whose seventh
# stage and head serve classification alone.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
)


class MobileNetV2(StagedEncoder):
    """Stem and six stages; the maps at 1/4, 1/8, 1/16 and 1/32 come out.

    Attributes:
        channels: widths of the four maps, finest first.
        official_names: (pattern, replacement) from timm's entry names of `mobilenetv2_100`, its
            stages called `blocks.0` to `blocks.5`, to ours; the first pattern that a name begins
            with applies.
    """

    channels = (24, 32, 96, 160)
    official_names = (
        (r'conv_stem\.', r'stem.0.'),
        (r'blocks\.0\.0\.conv_dw\.', r'stages.0.0.depthwise.0.'),
        (r'blocks\.0\.0\.bn1\.', r'stages.0.0.depthwise.1.'),
        (r'blocks\.0\.0\.conv_pw\.', r'stages.0.0.project.0.'),
        (r'blocks\.0\.0\.bn2\.', r'stages.0.0.project.1.'),
        (r'blocks\.(\d+\.\d+)\.conv_pw\.', r'stages.\1.expand.0.'),
        (r'blocks\.(\d+\.\d+)\.bn1\.', r'stages.\1.expand.1.'),
        (r'blocks\.(\d+\.\d+)\.conv_dw\.', r'stages.\1.depthwise.0.'),
        (r'blocks\.(\d+\.\d+)\.bn2\.', r'stages.\1.depthwise.1.'),
        (r'blocks\.(\d+\.\d+)\.conv_pwl\.', r'stages.\1.project.0.'),
        (r'blocks\.(\d+\.\d+)\.bn3\.', r'stages.\1.project.1.'),
        (r'bn1\.', r'stem.1.'),
    )

    def __init__(self) -> None:
        width = 32
        stages = []
        for expansion, out_width, blocks, stride in _STAGES:
            stage = []
            for index in range(blocks):
                step = stride if index == 0 else 1
                stage.append(InvertedResidual(width, out_width, step, expansion))
                width = out_width
            stages.append(stage)
        super().__init__(32, nn.ReLU6, stages)
