"""LEAStereo: searched cells for the features and for the matching of a concatenation volume.

Cheng et al., "Hierarchical Neural Architecture Search for Deep Stereo Matching", NeurIPS 2020,
arXiv 2010.13501.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nndepth_core.blocks.conv import ConvBlock
from nndepth_core.blocks.cost_volume import bin_mass, fine_soft_argmin
from nndepth_core.models.base import Prediction, StereoNetwork
from nndepth_core.spec import ModelSpec

Genotype = Sequence[tuple[str, str | None, str, str | None]]

_STRIDE = 3
"""Size of a pixel of the volume, in pixels of the image."""
# node, its first input and operation, its second input and operation; None is the identity.
# Inputs are s0, s1 and earlier nodes; an operation is the number of a convolution of the cell.
_FEATURE_CELL = (('s0', '0', 's1', None), ('s1', '2', 'n2', '3'), ('s0', '4', 'n3', '5'))
_MATCHING_CELL = (('s0', '0', 's1', '1'), ('s1', '2', 'n2', '3'), ('s1', '4', 'n3', '5'))
# The level of each cell: 0 is 1/3, 1 is 1/6 and 2 is 1/12 of the image.
_FEATURE_LEVELS = (1, 0, 1, 0, 0, 0)
_MATCHING_LEVELS = (1, 1, 2, 2, 1, 2, 2, 2, 1, 1, 0, 1)


class LeaStereo(StereoNetwork):
    """Searched features at 1/3, concatenation volume, searched 3-D matching, soft-argmin.

    Args:
        max_disparity: number of disparities in pixels; a multiple of 24.
    """

    spec = ModelSpec(
        'lea_stereo',
        confidence='softmax_peak',
        multiple=24,
        minimum=(24, 24),
        bytes_per_pixel=5000,
    )
    variants: ClassVar[dict[str, dict[str, Any]]] = {'default': {'max_disparity': 192}}
    ranges: ClassVar[dict[str, tuple[float, float]]] = {'max_disparity': (24, 4096)}

    official_rules = (
        (r'\.s0\.', '.pre_preprocess.'),
        (r'\.s1\.', '.preprocess.'),
        (r'\.operations\.', '._ops.'),
        (r'^(matching\.)skips\.0', r'\1conv1'),
        (r'^(matching\.)skips\.1', r'\1conv2'),
        (r'\.stem\.(\d)', r'.stem\1'),
        (r'\.norm\.', '.bn.'),
    )
    official_unused = (
        r'^(feature|matching)\.last_3\.bn\.',
        r'^feature\.last_6\.',
        r'^(feature|matching)\.last_(12|24)\.',
    )

    def __init__(self, max_disparity: int = 192) -> None:
        super().__init__()
        if max_disparity < 24 or max_disparity % 24:
            raise ValueError(f'max_disparity is {max_disparity}; give a multiple of 24')
        self.max_disparity = max_disparity
        self.feature = FeatureNet()
        self.matching = MatchingNet()

    def forward(
        self,
        left: Tensor,
        right: Tensor,
        iterations: int | None = None,
        confidence: bool = False,
    ) -> Prediction:
        """See `StereoNetwork`; in train mode there is one prediction."""
        self.check_images(left, right)
        of_left, of_right = (self.feature(standardize(image)) for image in (left, right))
        cost = self.matching(
            concatenation_volume(of_left, of_right, self.max_disparity // _STRIDE)
        )
        logits = F.interpolate(-cost[:, 0], left.shape[-2:], mode='bilinear')
        disparity = fine_soft_argmin(logits, _STRIDE)
        if self.training:
            return [disparity]
        return (disparity, bin_mass(logits, disparity, _STRIDE)) if confidence else disparity


class Cell(nn.Module):
    """A searched cell: a small graph of convolutions of equal width.

    Args:
        older: channels of the output of the cell before the previous one.
        newer: channels of the previous output.
        level: level of this cell.
        before: level of the previous cell.
        genotype: the table of the nodes.
        dims: 2 for features, 3 for volumes.
    """

    def __init__(
        self,
        older: int,
        newer: int,
        level: int,
        before: int,
        genotype: Genotype,
        dims: Literal[2, 3],
    ) -> None:
        super().__init__()
        width = 8 * 2**level
        self.genotype = genotype
        self.enlarge, self.shrink = 2 ** max(before - level, 0), 2 ** max(level - before, 0)
        self.s0 = conv(older, width, 1, dims=dims)
        self.s1 = conv(newer, width, 1, dims=dims)
        names = [name for row in genotype for name in row[1::2] if name is not None]
        self.operations = nn.ModuleDict({name: conv(width, width, dims=dims) for name in names})

    def forward(self, older: Tensor, newer: Tensor) -> Tensor:
        """Map the two outputs before to (N, 4 * width, ...) at the level of the cell."""
        size = [side * self.enlarge // self.shrink for side in newer.shape[2:]]
        nodes = {'s0': self.s0(resize(older, size)), 's1': self.s1(resize(newer, size))}
        for number, (first, operation, second, other) in enumerate(self.genotype, 2):
            terms = [(first, operation), (second, other)]
            values = [nodes[k] if op is None else self.operations[op](nodes[k]) for k, op in terms]
            nodes[f'n{number}'] = values[0] + values[1]
        return torch.cat([nodes[name] for name in ('s1', 'n2', 'n3', 'n4')], 1)


class FeatureNet(nn.Module):
    """Features of one image at 1/3."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.ModuleList([conv(3, 16), conv(16, 32, 3, 3), conv(32, 32)])
        self.cells = make_cells(_FEATURE_LEVELS, _FEATURE_CELL, 2)
        self.last_3 = ConvBlock(32, 32, 1, norm=None)

    def forward(self, image: Tensor) -> Tensor:
        """Map (N, 3, H, W) to (N, 32, H / 3, W / 3)."""
        older = self.stem[1](self.stem[0](image))
        newer = self.stem[2](older)
        for cell in self.cells:
            older, newer = newer, cell(older, newer)
        return self.last_3(newer)


class MatchingNet(nn.Module):
    """Cost of every disparity from the concatenation volume."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.ModuleList([conv(64, 32, dims=3), conv(32, 32, dims=3)])
        self.cells = make_cells(_MATCHING_LEVELS, _MATCHING_CELL, 3)
        self.skips = nn.ModuleList([conv(128, 64, dims=3) for _ in range(2)])
        self.last_6 = conv(64, 32, 1, dims=3)
        self.last_3 = ConvBlock(32, 1, norm=None, dims=3)

    def forward(self, volume: Tensor) -> Tensor:
        """Map (N, 64, D, h, w) to costs (N, 1, D, h, w)."""
        size = list(volume.shape[2:])
        older = self.stem[0](volume)
        newer = self.stem[1](older)
        kept: dict[int, Tensor] = {}
        for number, cell in enumerate(self.cells):
            older, newer = newer, cell(older, newer)
            if number in (1, 4):
                kept[number] = newer
            if number == 4:
                newer = self.skips[0](torch.cat((kept[1], newer), 1))
            if number == 8:
                newer = self.skips[1](torch.cat((kept[4], newer), 1))
        return self.last_3(resize(self.last_6(newer), size))


def conv(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, dims: Literal[2, 3] = 2
) -> ConvBlock:
    """Convolution, batch norm and ReLU."""
    return ConvBlock(inputs, outputs, kernel, stride, activation=nn.ReLU(inplace=True), dims=dims)


def make_cells(levels: Sequence[int], genotype: Genotype, dims: Literal[2, 3]) -> nn.ModuleList:
    """Make the cells of a path; the two inputs of the first have 32 channels at level 0."""
    cells = []
    older, newer, before = 32, 32, 0
    for level in levels:
        cells.append(Cell(older, newer, level, before, genotype, dims))
        older, newer, before = newer, 32 * 2**level, level
    return nn.ModuleList(cells)


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Resize a map or volume linearly so that its outermost samples stay where they are."""
    if list(x.shape[2:]) == list(size):
        return x
    mode = 'bilinear' if x.ndim == 4 else 'trilinear'
    return F.interpolate(x, size, mode=mode, align_corners=True)


def standardize(image: Tensor) -> Tensor:
    """Give each channel of each image (N, 3, H, W) zero mean and unit deviation."""
    centred = image - image.mean((2, 3), keepdim=True)
    deviation = centred.square().mean((2, 3), keepdim=True).sqrt()
    return centred / deviation.clamp_min(1e-6)


def concatenation_volume(left: Tensor, right: Tensor, bins: int) -> Tensor:
    """Join left features with right ones moved by 0..bins - 1 pixels: (N, 2 C, bins, h, w)."""
    width = left.shape[-1]
    columns = torch.arange(width, device=left.device)
    shifts = torch.arange(bins, device=left.device).view(-1, 1, 1)
    seen = (columns >= shifts).to(left.dtype)
    padded = F.pad(right, (bins - 1, 0))
    moved = [padded[..., start : start + width] for start in range(bins - 1, -1, -1)]
    return torch.cat((left.unsqueeze(2) * seen, torch.stack(moved, 2)), 1)
