"""Inverted residual blocks: wide inside, narrow outside (MobileNetV2, EfficientNet)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from nndepth_core.blocks.conv import ConvBlock


class SqueezeExcite(nn.Module):
    """Gates channels by the content of the whole map: mean, two 1x1 convolutions, sigmoid.

    Args:
        channels: width of the map.
        squeezed: width between the two convolutions.
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the gated map of the same shape."""
        gate = self.reduce(x.mean((2, 3), keepdim=True))
        return x * torch.sigmoid(self.expand(nn.functional.silu(gate)))


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution, optional squeeze-excite, linear 1x1 projection.

    The input is added if the block keeps size and width (Sandler et al., CVPR 2018, fig. 4).

    Args:
        inputs: width of the input.
        outputs: width of the output.
        stride: stride of the depthwise convolution.
        expansion: the inner width divided by `inputs`; 1 leaves the expansion out.
        activation: the activation after expansion and depthwise convolution.
        gated: whether there is a squeeze-excite gate, whose inner width is a quarter of `inputs`.
        kernel: kernel size of the depthwise convolution.
        same: pad it as `SameConv2d` does.
        dims: 2 for images, 3 for cost volumes.
        residual: False never adds the input.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int = 1,
        expansion: int = 6,
        activation: type[nn.Module] = nn.ReLU6,
        gated: bool = False,
        kernel: int = 3,
        same: bool = False,
        dims: Literal[2, 3] = 2,
        residual: bool = True,
    ) -> None:
        super().__init__()
        width = inputs * expansion
        self.expand: nn.Module = nn.Identity()
        if expansion > 1:
            inner = activation(inplace=True)
            self.expand = ConvBlock(inputs, width, 1, activation=inner, dims=dims)
        self.depthwise = ConvBlock(
            width,
            width,
            kernel,
            stride,
            groups=width,
            activation=activation(inplace=True),
            same=same,
            dims=dims,
        )
        self.gate: nn.Module = SqueezeExcite(width, inputs // 4) if gated else nn.Identity()
        self.project = ConvBlock(width, outputs, 1, dims=dims)
        self.residual = residual and stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, [D,] H, W) to (N, outputs, ...), every side divided by the stride."""
        y = self.project(self.gate(self.depthwise(self.expand(x))))
        return x + y if self.residual else y


class FusedInvertedResidual(nn.Module):
    """Inverted residual whose expansion and depthwise steps are one 3x3 convolution.

    At high resolution, wide hardware computes it faster (Tan and Le, ICML 2021, fig. 2).

    Args:
        inputs: width of the input.
        outputs: width of the output.
        stride: stride of the 3x3 convolution.
        expansion: the inner width divided by `inputs`.
        activation: the activation after the 3x3 convolution.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int = 1,
        expansion: int = 4,
        activation: type[nn.Module] = nn.SiLU,
    ) -> None:
        super().__init__()
        width = inputs * expansion
        self.expand = ConvBlock(inputs, width, 3, stride, activation=activation(inplace=True))
        self.project = ConvBlock(width, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, ceil(H / stride), ceil(W / stride))."""
        y = self.project(self.expand(x))
        return x + y if self.residual else y
