"""Convolutions that need fewer multiplications than the direct way, for inference on the CPU.

torch's library computes convolutions directly and already runs near the peak of the processor, so
that only fewer multiplications make it faster.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nndepth_core.blocks.conv import ResidualBlock

_POINTS = (0, 1, -1, 0.5, -2, 2, -0.5)
"""Interpolation points; among those in use, these give the smallest rounding error."""
_TILE = 4
"""Outputs along the side of a tile; more would save products, but rounding errors grow fast."""
_TILES = 96
"""Tiles that every thread transforms at once: enough to keep it busy, few enough for its cache."""
_LEAST_CHANNELS = 64
"""With fewer channels, moving the tiles takes longer than the saved products."""
_MOST_NARROW = 2
"""For so few outputs, the kernels of the library are hardly busy."""
_KERNELS = ((3, 3), (1, 5), (5, 1))


def use_fast_convolutions(network: nn.Module) -> None:
    """Replace convolutions in place by faster ones that are equivalent, where there are any.

    The network computes the same up to rounding. Afterwards it can neither be trained nor
    exported, nor load a state dict of the original network.

    Args:
        network: in eval mode, float32 on the CPU, with its final weights and folded norms.
    """
    if not torch.backends.mkl.is_available():  # small products are too slow in other libraries
        return
    for module in list(network.modules()):
        for name, child in module.named_children():
            replacement = _equivalent(child)
            if replacement is not None:
                setattr(module, name, replacement)
    for block in network.modules():
        if isinstance(block, ResidualBlock) and isinstance(block.second.conv, WinogradConv2d):
            block.second.conv.overwrite = True


def _equivalent(module: nn.Module) -> nn.Module | None:
    if type(module) is nn.Conv3d:
        return OneDnnConv(module)
    if type(module) is not nn.Conv2d:
        return None
    if module.kernel_size == (1, 1):
        return OneDnnConv(module)
    if (
        module.kernel_size not in _KERNELS
        or module.padding != tuple(taps // 2 for taps in module.kernel_size)
        or (module.padding_mode, module.groups) != ('zeros', 1)
        or (module.stride, module.dilation) != ((1, 1), (1, 1))
    ):
        return None
    if module.out_channels <= _MOST_NARROW:
        return NarrowConv2d(module)
    fewest = min(module.in_channels, module.out_channels)
    return WinogradConv2d(module) if fewest >= _LEAST_CHANNELS else None


class WinogradConv2d(nn.Module):
    """A convolution by minimal filtering (Lavin and Gray, CVPR 2016, arXiv 1509.09308).

    Each tile of outputs is a product of polynomials, which is computed from their values at a few
    points: a tile of 4x4 and a pair of channels need 36 products instead of the 144 of 3x3 taps.

    Args:
        conv: has an odd kernel, stride 1, and padding that keeps the size.

    Attributes:
        overwrite: whether the result may overwrite the input, which nothing else reads then.
    """

    overwrite = False
    spread: Tensor
    collect: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.kernel = conv.kernel_size
        self.tile = tuple(_TILE if taps > 1 else 1 for taps in self.kernel)
        rows, columns = map(_transforms, self.tile, self.kernel)
        spread, filters, collect = (
            torch.from_numpy(np.kron(*pair)) for pair in zip(rows, columns, strict=True)
        )
        taps = conv.weight.detach().double().permute(2, 3, 1, 0).flatten(0, 1)
        bias = taps.new_zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
        self.register_buffer('spread', spread.float())
        self.register_buffer('collect', collect.float())
        self.register_buffer('weight', torch.tensordot(filters, taps, 1).float().contiguous())
        self.register_buffer('bias', bias.float())

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, h, w) to (N, outputs, h, w), channels last."""
        (tall, wide), (above, before) = self.tile, (taps // 2 for taps in self.kernel)
        places, inputs, outputs = self.weight.shape
        height, width = x.shape[-2:]
        down, across = -(-height // tall), -(-width // wide)
        images = x.permute(0, 2, 3, 1)
        shape = (len(x), down * tall, across * wide, outputs)
        fits = images.is_contiguous() and images.shape == shape
        result = images if self.overwrite and fits else x.new_empty(shape)

        rows = _largest_divisor(down, _TILES * torch.get_num_threads() // across)
        many = rows * across
        strip = x.new_empty(rows * tall + 2 * above, across * wide + 2 * before, inputs)
        line, column, channel = strip.stride()
        tiles = strip.as_strided(
            (tall + 2 * above, wide + 2 * before, rows, across, inputs),
            (line, column, tall * line, wide * column, channel),
        )
        patches = x.new_empty(tiles.shape)
        values = x.new_empty(places, many * inputs)
        products = x.new_empty(places, many, outputs)
        sums = x.new_empty(tall * wide, many * outputs)

        def load(first: int, source: Tensor) -> None:
            strip[first : first + len(source), before : before + width] = source

        for image, output in zip(images, result, strict=True):
            strip.zero_()
            load(above, image[:above])
            for top in range(0, down * tall, rows * tall):
                fresh = image[top + above : top + rows * tall + above]
                load(2 * above, fresh)
                strip[2 * above + len(fresh) :].zero_()
                patches.copy_(tiles)
                torch.mm(self.spread, patches.view(places, -1), out=values)
                torch.bmm(values.view(places, many, inputs), self.weight, out=products)
                torch.mm(self.collect, products.view(places, -1), out=sums)
                torch.add(
                    sums.view(tall, wide, rows, across, outputs).permute(2, 0, 3, 1, 4),
                    self.bias,
                    out=output[top : top + rows * tall].view(rows, tall, across, wide, outputs),
                )
                strip[: 2 * above].copy_(strip[rows * tall :])
        return result[:, :height, :width].permute(0, 3, 1, 2)


class NarrowConv2d(nn.Module):
    """A convolution to few channels: one matrix product for all taps, then their sum.

    Args:
        conv: has an odd kernel, stride 1, and padding that keeps the size.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.kernel = conv.kernel_size
        taps = conv.weight.detach().flip(2, 3).permute(0, 2, 3, 1)
        bias = taps.new_zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
        self.register_buffer('weight', taps.reshape(-1, conv.in_channels).contiguous())
        self.register_buffer('bias', bias.view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, h, w) to (N, outputs, h, w)."""
        padding = tuple(taps // 2 for taps in self.kernel)
        shares = self.weight @ x.flatten(2)
        return F.fold(shares, x.shape[-2:], self.kernel, padding=padding).add_(self.bias)


class OneDnnConv(nn.Module):
    """A convolution by oneDNN; on one thread torch often does not use it, although it is faster.

    Args:
        conv: has zero padding.
    """

    def __init__(self, conv: nn.Conv2d | nn.Conv3d) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.padding, self.stride, self.dilation = (
            list(map(int, sides)) for sides in (conv.padding, conv.stride, conv.dilation)
        )
        self.groups = conv.groups

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, ...) as the convolution does, in channels-last layout."""
        layout = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
        x = x.contiguous(memory_format=layout)
        return torch.mkldnn_convolution(
            x, self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups
        )


def _largest_divisor(number: int, most: int) -> int:
    """The largest divisor of a number that is at most `most`."""
    return next(divisor for divisor in range(max(1, most), 0, -1) if number % divisor == 0)


def _transforms(outputs: int, taps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make the matrices that transform a line of inputs, the taps of a kernel, and the products.

    Returns:
        Inputs to values (s, s), taps to values (s, taps), products to outputs (outputs, s), for
        s = outputs + taps - 1.
    """
    size = outputs + taps - 1

    def powers(count: int) -> np.ndarray:
        """Powers of all points except the last one, which is infinity."""
        last = np.eye(1, count, count - 1)
        return np.concatenate([np.vander(_POINTS[: size - 1], count, increasing=True), last])

    return np.linalg.inv(powers(size)).T, powers(taps), powers(outputs).T
