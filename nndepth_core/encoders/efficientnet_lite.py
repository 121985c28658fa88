"""EfficientNet-Lite3 as a feature pyramid (Tan and Le, ICML 2019, arXiv 1905.11946).

The Lite networks, which Google published for small devices, have neither squeeze-excite nor SiLU,
and their stem has the same width at every scale.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from nndepth_core.blocks.inverted_residual import InvertedResidual
from nndepth_core.encoders.mobilenet_v2 import MobileNetV2
from nndepth_core.encoders.staged import StagedEncoder

# (kernel, expansion, width, blocks, stride) of the seven stages
_STAGES = (
    (3, 1, 24, 1, 1),
    (3, 6, 32, 3, 2),
    (5, 6, 48, 3, 2),
    (3, 6, 96, 5, 2),
    (5, 6, 136, 5, 1),
    (5, 6, 232, 6, 2),
    (3, 6, 384, 1, 1),
)
_EPSILON = 1e-3
"""The value in TensorFlow's batch norms: the weights were trained there, with its padding."""


class EfficientNetLite3(StagedEncoder):
    """Stem and seven stages; returns the maps at 1/4, 1/8, 1/16 and 1/32.

    Height and width must be multiples of 32.

    Attributes:
        channels: widths of the four maps, finest first.
        official_rules: the same as those of `MobileNetV2`, which has the same blocks.
    """

    channels = (32, 48, 136, 384)
    official_rules = MobileNetV2.official_rules

    def __init__(self) -> None:
        stages = [
            (
                partial(InvertedResidual, expansion=expansion, kernel=kernel, same=True),
                width,
                blocks,
                stride,
            )
            for kernel, expansion, width, blocks, stride in _STAGES
        ]
        super().__init__(32, nn.ReLU6, stages, same=True)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = _EPSILON
