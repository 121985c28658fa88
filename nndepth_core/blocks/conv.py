"""Convolution, normalisation and activation as one block, and the residual block of RAFT."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from nndepth_core.blocks.norm import ChannelNorm, InstanceNorm

Norm = Literal['batch', 'instance', 'channel']

_CONVOLUTIONS: dict[tuple[int, bool], type[nn.Module]] = {
    (2, False): nn.Conv2d,
    (3, False): nn.Conv3d,
    (2, True): nn.ConvTranspose2d,
    (3, True): nn.ConvTranspose3d,
}
_BATCH_NORMS: dict[int, type[nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class SameConv2d(nn.Conv2d):
    """Convolution with the zero padding of TensorFlow's 'SAME'.

    If the stride divides the size, kernel - stride zeros are needed along an axis, and the smaller
    half of them is put before: for kernel 3 and stride 2, none before and one after. The padding
    of torch would shift the result by a pixel.

    Args:
        inputs: input channels.
        outputs: output channels.
        kernel: kernel size, at least `stride`.
        stride: stride; must divide height and width.
        groups: convolution groups.
        bias: whether there is a bias.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int,
        *,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=bias)
        before, after = (kernel - stride) // 2, (kernel - stride + 1) // 2
        self.margins = (before, after, before, after)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        return super().forward(F.pad(x, self.margins))


class ConvBlock(nn.Module):
    """Convolution, then norm, then activation, the last two optional.

    Odd kernels keep the size at stride 1; a transposed convolution enlarges it by the stride.
    Instance norm has no weights and uses the input's statistics in eval mode too.

    Args:
        inputs: input channels.
        outputs: output channels.
        kernel: kernel size.
        stride: stride, or the factor of enlargement where transposed.
        norm: 'batch', 'instance', 'channel' (of a pixel, for images only) or None.
        activation: module applied last, e.g. `nn.ReLU(inplace=True)`, or None.
        dims: 2 for images, 3 for cost volumes.
        transposed: use the transposed convolution.
        bias: whether the convolution has a bias.
        groups: convolution groups.
        same: pad as `SameConv2d` does, which differs from torch if there is a stride.
        padding: zeros on each side; None takes dilation * (kernel - 1) // 2.
        dilation: distance of the kernel's samples, in pixels.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        norm: Norm | None = 'batch',
        activation: nn.Module | None = None,
        dims: Literal[2, 3] = 2,
        transposed: bool = False,
        bias: bool = False,
        groups: int = 1,
        same: bool = False,
        padding: int | None = None,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        padding = dilation * (kernel - 1) // 2 if padding is None else padding
        extra = {'groups': groups, 'bias': bias, 'dilation': dilation}
        if transposed:
            extra['output_padding'] = stride + 2 * padding - kernel
        self.conv: nn.Module
        if same and stride > 1:
            self.conv = SameConv2d(inputs, outputs, kernel, stride, groups=groups, bias=bias)
        else:
            self.conv = _CONVOLUTIONS[dims, transposed](
                inputs, outputs, kernel, stride, padding, **extra
            )
        self.norm: nn.Module = nn.Identity()
        if norm == 'batch':
            self.norm = _BATCH_NORMS[dims](outputs)
        elif norm is not None:
            self.norm = InstanceNorm() if norm == 'instance' else ChannelNorm(outputs, 1e-5)
        self.activation = nn.Identity() if activation is None else activation

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, ...) to (N, outputs, ...)."""
        return self.activation(self.norm(self.conv(x)))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (RAFT); ReLU after every norm and after the sum.

    The shortcut is a 1x1 convolution with norm if size or width change or if `project` asks for
    it; otherwise it is the identity. Without `bias` only the shortcut's convolution has one.

    Args:
        inputs: input channels.
        outputs: output channels.
        stride: stride of the first convolution and of the shortcut.
        norm: 'batch', 'instance' or 'channel'.
        project: whether the shortcut has a convolution even if size and width stay.
        bias: whether the two 3x3 convolutions have a bias.
        activation: takes the place of ReLU.
        activate_second: whether there is an activation between the second norm and the sum.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int = 1,
        *,
        norm: Norm = 'batch',
        project: bool = False,
        bias: bool = True,
        activation: nn.Module | None = None,
        activate_second: bool = True,
    ) -> None:
        super().__init__()
        act = nn.ReLU(inplace=True) if activation is None else activation
        last = act if activate_second else None
        self.first = ConvBlock(inputs, outputs, 3, stride, norm=norm, activation=act, bias=bias)
        self.second = ConvBlock(outputs, outputs, norm=norm, activation=last, bias=bias)
        self.shortcut: nn.Module = nn.Identity()
        if project or stride != 1 or inputs != outputs:
            self.shortcut = ConvBlock(inputs, outputs, 1, stride, norm=norm, bias=True)
        self.activation = act

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, h, w) to (N, outputs, h / stride, w / stride)."""
        return self.activation(self.second(self.first(x)) + self.shortcut(x))


def conv_relu(inputs: int, outputs: int, stride: int = 1) -> ConvBlock:
    """A 3x3 convolution with batch norm and ReLU."""
    return ConvBlock(inputs, outputs, 3, stride, activation=nn.ReLU(inplace=True))


def conv_pair(inputs: int, outputs: int, stride: int, norm: Norm) -> nn.Sequential:
    """Two 3x3 convolutions with norm; the first has the stride and leaky ReLU, the second ReLU."""
    leaky, relu = nn.LeakyReLU(0.01, inplace=True), nn.ReLU(inplace=True)
    return nn.Sequential(
        ConvBlock(inputs, outputs, 3, stride, norm=norm, activation=leaky),
        ConvBlock(outputs, outputs, norm=norm, activation=relu),
    )
