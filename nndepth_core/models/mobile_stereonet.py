"""MobileStereoNet: separable convolutions throughout, with a 2-D or a 3-D cost volume.

Shamsafar et al., "MobileStereoNet: Towards Lightweight Deep Networks for Stereo Matching",
WACV 2022, arXiv 2108.09770.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nndepth_core.blocks.conv import ConvBlock
from nndepth_core.blocks.cost_volume import bin_mass, correlation_volume, fine_soft_argmin
from nndepth_core.blocks.inverted_residual import InvertedResidual
from nndepth_core.blocks.norm import ImageNetNorm
from nndepth_core.models.base import Prediction, StereoNetwork
from nndepth_core.spec import ModelSpec

Block = Callable[..., nn.Module]
Dims = Literal[2, 3]

_FACTOR = 4
"""Size of a pixel of the volume, in pixels of the image."""
_GROUPS = 40
_SHIFTS = 4
"""How many shifts the interlaced volume processes at a time."""


class MobileStereoNet(StereoNetwork):
    """Separable features at 1/4, volume, three separable hourglasses, soft-argmin.

    Args:
        dims: 2 for the interlaced volume, whose channels are the disparities; 3 for the
            group-wise correlation volume (Guo et al., CVPR 2019).
        max_disparity: number of disparities in pixels, a multiple of 16; published weights have
            192.
    """

    spec = ModelSpec(
        'mobile_stereonet',
        confidence='softmax_peak',
        multiple=16,
        placement='top_right',
        minimum=(16, 16),
    )
    variants: ClassVar[dict[str, dict[str, Any]]] = {'2d': {'dims': 2}, '3d': {'dims': 3}}
    ranges: ClassVar[dict[str, tuple[float, float]]] = {'max_disparity': (16, 4096)}

    official_rules = (
        (r'^features\.stem', 'feature_extraction.firstconv'),
        (r'^features\.', 'feature_extraction.'),
        (r'\.(first|second)\.depthwise\.conv', r'.\1.0'),
        (r'\.(first|second)\.depthwise\.norm', r'.\1.1'),
        (r'\.(first|second)\.pointwise\.conv', r'.\1.3'),
        (r'\.(first|second)\.pointwise\.norm', r'.\1.4'),
        (r'\.first\.', '.conv1.'),
        (r'\.second\.', '.conv2.'),
        (r'\.shortcut\.conv', '.downsample.0'),
        (r'\.shortcut\.norm', '.downsample.1'),
        (r'^volume\.reduce\.3\.conv', 'preconv11.6'),
        (r'^volume\.reduce\.2', 'preconv11.4'),
        (r'^volume\.reduce\.1', 'preconv11.2'),
        (r'^volume\.reduce\.0', 'preconv11.0'),
        (r'^volume\.merge\.2\.conv', 'conv3d.6'),
        (r'^volume\.merge\.2\.norm', 'conv3d.7'),
        (r'^volume\.merge\.1\.conv', 'conv3d.3'),
        (r'^volume\.merge\.1\.norm', 'conv3d.4'),
        (r'^volume\.merge\.0\.conv', 'conv3d.0'),
        (r'^volume\.merge\.0\.norm', 'conv3d.1'),
        (r'^volume\.cost', 'volume11.0'),
        (r'^hourglasses\.0', 'encoder_decoder1'),
        (r'^hourglasses\.1', 'encoder_decoder2'),
        (r'^hourglasses\.2', 'encoder_decoder3'),
        (r'\.down\.0', '.conv1'),
        (r'\.down\.1', '.conv2'),
        (r'\.down\.2', '.conv3'),
        (r'\.down\.3', '.conv4'),
        (r'\.up\.0', '.conv5'),
        (r'\.up\.1', '.conv6'),
        (r'\.skip\.0', '.redir2'),
        (r'\.skip\.1', '.redir1'),
        (r'\.expand\.conv', '.conv.0'),
        (r'\.expand\.norm', '.conv.1'),
        (r'\.depthwise\.conv', '.conv.3'),
        (r'\.depthwise\.norm', '.conv.4'),
        (r'\.project\.conv', '.conv.6'),
        (r'\.project\.norm', '.conv.7'),
        (r'^classifiers\.(\d)\.1\.conv', r'classif\1.2'),
        (r'^classifiers\.(\d)', r'classif\1'),
        (r'\.conv\.(weight|bias)$', r'.0.\1'),
        (r'\.norm\.', '.1.'),
    )

    def __init__(self, *, dims: Dims = 2, max_disparity: int = 192) -> None:
        super().__init__()
        if max_disparity < 16 or max_disparity % 16:
            raise ValueError(f'max_disparity is {max_disparity}; give a multiple of 16')
        self.specify(bytes_per_pixel=1400 if dims == 2 else 2700)
        self.bins = max_disparity // _FACTOR
        self.normalize = ImageNetNorm()
        self.features = Features(dims)

        # In 3-D the official blocks never add their input, although the paper's figure does.
        block = partial(InvertedResidual, dims=dims, residual=dims == 2)
        if dims == 2:
            self.volume: nn.Module = InterlacedVolume(self.bins)
            inputs = width = outputs = self.bins
        else:
            self.volume = GroupwiseVolume(self.bins)
            inputs, width, outputs = _GROUPS, 32, 1
        self.dres0 = nn.Sequential(
            *activate(dims, block(inputs, width, 1, 3), block(width, width, 1, 3)),
        )
        self.dres1 = nn.Sequential(
            *activate(dims, block(width, width, 1, 3)), block(width, width, 1, 3)
        )
        self.hourglasses = nn.ModuleList(SeparableHourglass(width, block, dims) for _ in range(3))
        self.classifiers = nn.ModuleList(
            nn.Sequential(
                ConvBlock(width, width, activation=nn.ReLU(inplace=True), dims=dims),
                ConvBlock(width, outputs, norm=None, dims=dims),
            )
            for _ in range(4)
        )

    def forward(
        self,
        left: Tensor,
        right: Tensor,
        iterations: int | None = None,
        confidence: bool = False,
    ) -> Prediction:
        """See `StereoNetwork`; in train mode there is a prediction before each hourglass too."""
        self.check_images(left, right)
        size = left.shape[-2:]
        cost = self.dres0(self.volume(*(self.features(self.normalize(x)) for x in (left, right))))
        cost = self.dres1(cost) + cost
        predictions = []
        for hourglass, classifier in zip(self.hourglasses, self.classifiers, strict=False):
            if self.training:
                predictions.append(fine_soft_argmin(enlarge(classifier(cost), size), _FACTOR))
            cost = hourglass(cost)
        logits = enlarge(self.classifiers[-1](cost), size)
        disparity = fine_soft_argmin(logits, _FACTOR)
        if self.training:
            return [*predictions, disparity]
        return (disparity, bin_mass(logits, disparity, _FACTOR)) if confidence else disparity


class Features(nn.Module):
    """Features of an image: two scales, of which the coarser one has three depths (3.1).

    Args:
        dims: dimensions of the volume; only the 2-D network has a ReLU after the stem's blocks.
    """

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        stem = [InvertedResidual(3, 32, 2, 3)]
        stem += [InvertedResidual(32, 32, 1, 3) for _ in range(2)]
        self.stem = nn.Sequential(*activate(dims, *stem))
        self.layer1 = separable_layer(32, 32, 3)
        self.layer2 = separable_layer(32, 64, 16, stride=2)
        self.layer3 = separable_layer(64, 128, 3)
        self.layer4 = separable_layer(128, 128, 3, dilation=2)

    def forward(self, image: Tensor) -> Tensor:
        """Map (N, 3, H, W) to (N, 320, H / 4, W / 4)."""
        second = self.layer2(self.layer1(self.stem(image)))
        third = self.layer3(second)
        return torch.cat((second, third, self.layer4(third)), 1)


class SeparableResidual(nn.Module):
    """Two separable convolutions and a shortcut (MobileNet V1 block; 3.1)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.first = Separable(inputs, outputs, stride, dilation, activated=True)
        self.second = Separable(outputs, outputs, 1, dilation, activated=False)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = ConvBlock(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, h, w) to (N, outputs, h / stride, w / stride)."""
        return self.second(self.first(x)) + self.shortcut(x)


class Separable(nn.Sequential):
    """Depthwise 3x3 convolution and pointwise one, each with norm; ReLU6 where `activated`."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, dilation: int, activated: bool
    ) -> None:
        super().__init__()
        self.depthwise = ConvBlock(
            inputs,
            inputs,
            3,
            stride,
            groups=inputs,
            dilation=dilation,
            activation=nn.ReLU6(inplace=True),
        )
        last = nn.ReLU6(inplace=True) if activated else None
        self.pointwise = ConvBlock(inputs, outputs, 1, activation=last)


class InterlacedVolume(nn.Module):
    """Interleaves left and moved right channels and learns to compare them (3.3).

    The official 3-D convolutions run over the 64 interleaved channels with a stride of their own
    depth, 8, 4 and 2. Such a convolution is a 2-D one over groups of channels.

    Args:
        bins: number of disparities.
    """

    def __init__(self, bins: int) -> None:
        super().__init__()
        relu = nn.ReLU(inplace=True)
        self.bins = bins
        self.reduce = nn.Sequential(
            ConvBlock(320, 256, 1, activation=relu),
            ConvBlock(256, 128, 1, activation=relu),
            ConvBlock(128, 64, 1, activation=relu),
            ConvBlock(64, 32, 1, norm=None, bias=True),
        )
        self.merge = nn.ModuleList(
            [Merge(1, 16, 8, stacks=8), Merge(16, 32, 4, stacks=2), Merge(32, 16, 2, stacks=1)]
        )
        self.cost = ConvBlock(16, 1, 1, activation=relu)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Compare features (N, 320, h, w): (N, bins, h, w), zero where a pixel has no match."""
        left, right = self.reduce(left), self.reduce(right)
        parts = torch.arange(self.bins, device=left.device).split(_SHIFTS)
        return torch.cat([self.compare(left, right, shifts) for shifts in parts], 1)

    def compare(self, left: Tensor, right: Tensor, shifts: Tensor) -> Tensor:
        """Compute the costs (N, shifts, h, w) of some shifts, which are the batch meanwhile.

        Columns without a match are set to zero again after each convolution: the official code
        convolves each shift on a map without them, whose border is padded with zeros.
        """
        batch, _, _, width = left.shape
        columns = torch.arange(width, device=left.device)
        seen = (columns >= shifts.view(-1, 1, 1, 1, 1)).to(left.dtype)
        match = (columns - shifts.view(-1, 1)).clamp_min(0)
        moved = right[..., match].permute(3, 0, 1, 2, 4)
        x = torch.stack((left.expand_as(moved), moved), 3).flatten(2, 3) * seen
        for merge in self.merge:
            # Channels last, grouped convolutions of the CPU are faster.
            maps = x.flatten(0, 1).contiguous(memory_format=torch.channels_last)
            x = merge(maps).unflatten(0, (-1, batch)) * seen
        costs = self.cost(x.flatten(0, 1)).unflatten(0, (-1, batch)) * seen
        return costs[:, :, 0].transpose(0, 1)


class Merge(nn.Module):
    """3x3 convolution of each stack of `depth` neighbouring maps to one map.

    All stacks share the weights. In eval mode the norm is folded into them.

    Args:
        inputs: channels of a map.
        outputs: channels of a merged map.
        depth: number of maps that become one.
        stacks: number of stacks.
    """

    def __init__(self, inputs: int, outputs: int, depth: int, stacks: int) -> None:
        super().__init__()
        self.stacks = stacks
        self.conv = nn.Conv3d(inputs, outputs, (depth, 3, 3))
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, stacks * depth * inputs, h, w) to (N, stacks * outputs, h, w)."""
        weight = self.conv.weight.transpose(1, 2).flatten(1, 2)
        bias: Tensor = self.conv.get_parameter('bias')
        if not self.training:
            mean, variance = (self.norm.get_buffer(f'running_{name}') for name in ('mean', 'var'))
            scale = self.norm.weight * torch.rsqrt(variance + self.norm.eps)
            weight, bias = weight * scale.view(-1, 1, 1, 1), (bias - mean) * scale + self.norm.bias
        weight, bias = weight.repeat(self.stacks, 1, 1, 1), bias.repeat(self.stacks)
        y = F.conv2d(x, weight, bias, padding=1, groups=self.stacks)
        if self.training:
            y = self.norm(y.unflatten(1, (self.stacks, -1)).flatten(0, 1)).view_as(y)
        return F.relu(y, inplace=True)


class GroupwiseVolume(nn.Module):
    """Group-wise correlation of 40 groups of channels (3.3)."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.bins = bins

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Compare features (N, 320, h, w): (N, 40, bins, h, w)."""
        return correlation_volume(left, right, self.bins, _GROUPS)


class SeparableHourglass(nn.Module):
    """Encoder and decoder of separable blocks, whose skips are added (3.2).

    Args:
        width: channels of the volume; twice and four times as many at the coarser scales.
        block: makes an inverted residual of (inputs, outputs, stride, expansion).
        dims: 2 or 3.
    """

    def __init__(self, width: int, block: Block, dims: Dims) -> None:
        super().__init__()
        half, quarter = 2 * width, 4 * width

        def double(inputs: int, outputs: int) -> ConvBlock:
            return ConvBlock(inputs, outputs, 3, 2, dims=dims, transposed=True)

        self.down = nn.ModuleList(
            [
                block(width, half, 2, 2),
                block(half, half, 1, 2),
                block(half, quarter, 2, 2),
                block(quarter, quarter, 1, 2),
            ]
        )
        self.up = nn.ModuleList([double(quarter, half), double(half, width)])
        self.skip = nn.ModuleList([block(half, half, 1, 2), block(width, width, 1, 2)])

    def forward(self, volume: Tensor) -> Tensor:
        """Aggregate a volume (N, width, [D,] h, w), whose sides are multiples of 4."""
        middle = self.down[1](self.down[0](volume))
        bottom = self.down[3](self.down[2](middle))
        middle = F.relu(self.up[0](bottom) + self.skip[0](middle))
        return F.relu(self.up[1](middle) + self.skip[1](volume))


def activate(dims: Dims, *blocks: nn.Module) -> list[nn.Module]:
    """Put a ReLU after each block of the 2-D network; the 3-D network has none there."""
    if dims == 3:
        return list(blocks)
    return [module for block in blocks for module in (block, nn.ReLU(inplace=True))]


def separable_layer(
    inputs: int, outputs: int, count: int, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    """Make `count` residual blocks; the first changes width and size."""
    first = SeparableResidual(inputs, outputs, stride, dilation)
    rest = (SeparableResidual(outputs, outputs, 1, dilation) for _ in range(count - 1))
    return nn.Sequential(first, *rest)


def enlarge(logits: Tensor, size: torch.Size) -> Tensor:
    """Resize logits (N, bins, h, w) or (N, 1, bins, h, w) to (N, bins, H, W)."""
    logits = logits[:, 0] if logits.ndim == 5 else logits
    return F.interpolate(logits, size, mode='bilinear')
