"""EfficientNetV2-S as a feature pyramid (Tan and Le, ICML 2021, arXiv 2104.00298).

The shape is that of timm's `efficientnetv2_rw_s`, slightly other than the paper's table 4.
"""

from __future__ import annotations

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
    """Stem and six stages; the maps at 1/4, 1/8, 1/16 and 1/32 come out.

    Attributes:
        channels: widths of the four maps, finest first.
        official_names: (pattern, replacement) from timm's entry names of `efficientnetv2_rw_s` to
            ours; the first pattern that a name begins with applies.
    """

    channels = (48, 64, 160, 272)
    official_names = (
        (r'conv_stem\.', r'stem.0.'),
        (r'blocks\.([0-2]\.\d+)\.conv_exp\.', r'stages.\1.expand.0.'),
        (r'blocks\.([0-2]\.\d+)\.bn1\.', r'stages.\1.expand.1.'),
        (r'blocks\.([0-2]\.\d+)\.conv_pwl\.', r'stages.\1.project.0.'),
        (r'blocks\.([0-2]\.\d+)\.bn2\.', r'stages.\1.project.1.'),
        (r'blocks\.(\d+\.\d+)\.conv_pw\.', r'stages.\1.expand.0.'),
        (r'blocks\.(\d+\.\d+)\.bn1\.', r'stages.\1.expand.1.'),
        (r'blocks\.(\d+\.\d+)\.conv_dw\.', r'stages.\1.depthwise.0.'),
        (r'blocks\.(\d+\.\d+)\.bn2\.', r'stages.\1.depthwise.1.'),
        (r'blocks\.(\d+\.\d+)\.se\.conv_(reduce|expand)\.', r'stages.\1.gate.\2.'),
        (r'blocks\.(\d+\.\d+)\.conv_pwl\.', r'stages.\1.project.0.'),
        (r'blocks\.(\d+\.\d+)\.bn3\.', r'stages.\1.project.1.'),
        (r'bn1\.', r'stem.1.'),
    )

    def __init__(self) -> None:
        width = 24
        stages = []
        for fused, expansion, out_width, blocks, stride in _STAGES:
            stage: list[nn.Module] = []
            for index in range(blocks):
                step = stride if index == 0 else 1
                stage.append(
                    FusedInvertedResidual(width, out_width, step, expansion)
                    if fused
                    else InvertedResidual(width, out_width, step, expansion, nn.SiLU, width // 4)
                )
                width = out_width
            stages.append(stage)
        super().__init__(24, nn.SiLU, stages)
