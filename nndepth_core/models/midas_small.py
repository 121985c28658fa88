"""MiDaS v2.1 small: relative inverse depth from one image, for small devices.

Ranftl et al., "Towards Robust Monocular Depth Estimation: Mixing Datasets for Zero-shot
Cross-dataset Transfer", TPAMI 2022, arXiv 1907.01341; the small network is described in the
authors' repository (mobile/README.md).
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from nndepth_core.blocks.fusion import FusionBlock
from nndepth_core.blocks.norm import ImageNetNorm
from nndepth_core.encoders.efficientnet_lite import EfficientNetLite3
from nndepth_core.models.base import MonoNetwork
from nndepth_core.spec import ModelSpec, Preferred

_WIDTHS = (64, 128, 256, 512)
"""Channels of the decoder at 1/4, 1/8, 1/16 and 1/32."""


class MidasSmall(MonoNetwork):
    """An encoder, four fusion blocks from coarse to fine, and three convolutions."""

    spec = ModelSpec(
        'midas_small',
        inputs=('image',),
        output='inverse_depth',
        value_range=None,
        multiple=32,
        minimum=(32, 32),
        preferred=Preferred(256, 'inside'),
    )
    variants: ClassVar[dict[str, dict[str, Any]]] = {'base': {}}

    official_rules = (
        *EfficientNetLite3.official_rules,
        (r'^encoder\.conv_stem', 'pretrained.layer1.0'),
        (r'^encoder\.bn1', 'pretrained.layer1.1'),
        (r'^encoder\.stages\.0', 'pretrained.layer1.3'),
        (r'^encoder\.stages\.1', 'pretrained.layer1.4'),
        (r'^encoder\.stages\.2', 'pretrained.layer2.0'),
        (r'^encoder\.stages\.3', 'pretrained.layer3.0'),
        (r'^encoder\.stages\.4', 'pretrained.layer3.1'),
        (r'^encoder\.stages\.5', 'pretrained.layer4.0'),
        (r'^encoder\.stages\.6', 'pretrained.layer4.1'),
        *((rf'^reduce\.{level}', f'scratch.layer{level + 1}_rn') for level in range(4)),
        *((rf'^fuse\.{level}', f'scratch.refinenet{level + 1}') for level in range(4)),
        (r'\.refine_skip\.', '.resConfUnit1.'),
        (r'\.refine\.', '.resConfUnit2.'),
        (r'\.first\.', '.conv1.'),
        (r'\.second\.', '.conv2.'),
        (r'\.project\.', '.out_conv.'),
        (r'^head', 'scratch.output_conv'),
    )
    official_unused = (r'scratch\.refinenet4\.resConfUnit1\.',)

    def __init__(self) -> None:
        super().__init__()
        self.normalize = ImageNetNorm()
        self.encoder = EfficientNetLite3()
        self.reduce = nn.ModuleList(
            nn.Conv2d(inputs, width, 3, padding=1, bias=False)
            for inputs, width in zip(self.encoder.channels, _WIDTHS, strict=True)
        )
        self.fuse = nn.ModuleList(
            [
                FusionBlock(64, 64),
                FusionBlock(128, 64),
                FusionBlock(256, 128),
                FusionBlock(512, 256, skip=False),
            ]
        )
        self.head = nn.Sequential(
            nn.Conv2d(64, 32, 3, padding=1),
            nn.Upsample(scale_factor=2, mode='bilinear'),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 1, 1),
            nn.ReLU(inplace=True),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Map an image (N, 3, H, W) to inverse depth (N, 1, H, W), up to scale and shift."""
        self.check_images(image)
        maps = self.encoder(self.normalize(image))
        quarter, eighth, sixteenth, coarsest = (
            reduce(x) for reduce, x in zip(self.reduce, maps, strict=True)
        )
        x = self.fuse[3](coarsest)
        x = self.fuse[2](x, sixteenth)
        x = self.fuse[1](x, eighth)
        x = self.fuse[0](x, quarter)
        return self.head(x)
