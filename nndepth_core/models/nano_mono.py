"""NanoMono: this project's own small network for metric depth from one image.

A small residual pyramid sees the image; at its coarsest level each row hears of the rows above and
below, because the distance of the ground follows from the row. One value for each pixel at a
quarter of the size becomes the logarithm of the depth; the upsampling is a convex combination
(RAFT, ECCV 2020, section 3.3), so that edges stay sharp and no depth leaves its neighbourhood's
range. As in Metric3D (ICCV 2023, section 3.1) the depth is that of a canonical camera.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from nndepth_core.blocks.conv import conv_relu
from nndepth_core.blocks.upsample import convex_upsample_coarse
from nndepth_core.encoders.pyramid import Pyramid
from nndepth_core.models.base import MonoNetwork, scale_to_unit
from nndepth_core.spec import ModelSpec

_NEAREST, _FARTHEST = 0.1, 200.0
"""Limits of the depth in metres of the canonical camera."""
_HALF = 16
"""Channels of the features at 1/2."""
_HEAD = 64
"""Channels of the features that depth and weights are read from."""
_FACTOR = 4
"""How much smaller than the image the map is that is upsampled."""
_ROWS = 7
"""The rows at 1/32 that a convolution along columns sees."""


class NanoMono(MonoNetwork):
    """Pyramid, logarithm of depth at 1/4, convex upsampling.

    Args:
        features: channels of the pyramid at 1/4, 1/8, 1/16 and 1/32.
    """

    spec = ModelSpec(
        'nano_mono',
        inputs=('image',),
        output='depth',
        value_range=(_NEAREST, _FARTHEST),
        multiple=32,
        placement='centre',
        minimum=(32, 32),
        canonical_focal=500.0,
    )
    variants: ClassVar[dict[str, dict[str, Any]]] = {'base': {'features': (32, 64, 128, 256)}}

    def __init__(self, features: Sequence[int]) -> None:
        super().__init__()
        self.pyramid = Pyramid(3, _HALF, features, RowContext(features[-1]))
        self.head = conv_relu(features[0], _HEAD)
        self.to_depth = nn.Conv2d(_HEAD, 1, 1)
        self.to_weights = nn.Conv2d(_HEAD, 9 * _FACTOR**2, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Map an image (N, 3, H, W) to depth (N, 1, H, W) in metres of the canonical camera."""
        self.check_images(image)
        quarter = self.head(self.pyramid(scale_to_unit(image))[2])
        # without a unit, so that the zeros beyond the border are a depth of the middle
        level = self.to_depth(quarter).float() / _FACTOR
        level = convex_upsample_coarse(level, self.to_weights(quarter).float(), _FACTOR)
        share = level.sigmoid()
        return _NEAREST * (share * math.log(_FARTHEST / _NEAREST)).exp()


class RowContext(nn.Module):
    """Adds to each place what the means of its row and of the rows around it say.

    Args:
        channels: channels of the map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half, kernel, padding = channels // 2, (_ROWS, 1), (_ROWS // 2, 0)
        self.layers = nn.Sequential(
            nn.Conv2d(channels, half, kernel, padding=padding),
            nn.ReLU(inplace=True),
            nn.Conv2d(half, half, kernel, padding=padding),
            nn.ReLU(inplace=True),
            nn.Conv2d(half, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, h, w) to the same shape."""
        return x + self.layers(x.mean(3, keepdim=True))
