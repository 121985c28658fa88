"""StereoMAE: RAFT-Stereo on features of a vision transformer that learned to fill in pairs.

Tukra, Xu, Xu and Giannarou, "Generalizable stereo depth estimation with masked image modelling",
Healthcare Technology Letters 2023, doi 10.1049/htl2.12067. `masked_stereo.py` is the network of
the pre-training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nndepth_core.blocks.norm import ImageNetNorm
from nndepth_core.encoders.dinov2 import patch_map
from nndepth_core.encoders.residual import ResidualEncoder
from nndepth_core.encoders.vit import Grid, Size, VisionTransformer
from nndepth_core.models.raft_stereo import RaftStereo, shared_matching
from nndepth_core.spec import ModelSpec

_SPREAD = 128
"""Channels of the map of tokens at a quarter of the image size."""


class StereoMae(RaftStereo):
    """Disparity network of StereoMAE.

    In 'spatial', which is ours, tokens are laid back on their grid, brought to a quarter of the
    image size and joined with those features of the image that serve the context too. Images may
    have any size, and both views may see each other.

    In 'authors', which takes the authors' weights, the matrix of tokens, that of the class first,
    is read as an image of one channel: its rows are the numbers of tokens, its columns are
    channels.

    Args:
        spatial: whether it is ours.
        size: of the transformer.
        patch: height and width of a patch in pixels; in ours multiples of 4.
        image: height and width of the image for which the table of positions is made.
        joint: whether the tokens of both views attend to each other.
        dropout: of the tokens that the first layer takes, in training.
        early: see `RaftStereo`, as for the following.
        gru_levels: number of GRUs.
        hidden: channels of their states.
        iterations: default number of steps.
    """

    spec = ModelSpec('stereo_mae', confidence='residual', multiple=32, placement='centre')
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        'spatial': {},
        'spatial_tiny': {
            'size': 'tiny',
            'early': True,
            'gru_levels': 2,
            'hidden': 64,
            'iterations': 12,
        },
        'authors': {'spatial': False, 'patch': (16, 32), 'joint': False, 'dropout': 0.1},
    }
    ranges: ClassVar[dict[str, tuple[float, float]]] = {**RaftStereo.ranges, 'dropout': (0.0, 1.0)}
    official_rules = (
        *VisionTransformer.official_rules,
        (r'^encoder\.', 'vit_model.'),
        (r'^converter\.', 'patch_converter.'),
        *RaftStereo.official_rules,
    )
    official_unused = ()

    def __init__(
        self,
        *,
        spatial: bool = True,
        size: Size = 'base',
        patch: tuple[int, int] = (16, 16),
        image: tuple[int, int] = (224, 448),
        joint: bool = True,
        dropout: float = 0.0,
        early: bool = False,
        gru_levels: int = 3,
        hidden: int = 128,
        iterations: int = 32,
    ) -> None:
        super().__init__(
            shared_backbone=True,
            early=early,
            gru_levels=gru_levels,
            hidden=hidden,
            iterations=iterations,
        )
        grid = patch_grid(image, patch)
        self.encoder = VisionTransformer(size, patch, grid, joint=joint, dropout=dropout)
        if spatial:
            if any(side % self.factor for side in patch):
                raise ValueError(f'patch is {patch}; give multiples of {self.factor}')
            self.normalize = ImageNetNorm()
            step = tuple(side // self.factor for side in self.encoder.patch)
            self.spread = nn.ConvTranspose2d(self.encoder.width, _SPREAD, step, step)
            self.shared_matching = shared_matching(ResidualEncoder.outputs + _SPREAD)
            self.specify(multiple=math.lcm(32, *patch))
        else:
            relu = nn.ReLU(inplace=True)
            self.converter = nn.Sequential(nn.Conv2d(1, 1, 5, 2), relu, nn.Conv2d(1, 1, 5, 2))
            self.shared_matching = shared_matching(1)
            self.specify(fixed_size=tuple(image), multiple=math.lcm(*patch))
        self.spatial = spatial

    def encode(
        self, left: Tensor, right: Tensor
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """See `RaftStereo`."""
        images = (left, right)
        trunk = self.context.trunk(left / 255)
        seen = [self.normalize(image) if self.spatial else image / 255 for image in images]
        tokens = self.encoder([self.encoder.embed(image) for image in seen])
        if self.spatial:
            height, width = self.encoder.patch
            rows, columns = left.shape[-2] // height, left.shape[-1] // width
            trunks = (trunk, self.context.trunk(right / 255))
            maps = [self.spread(patch_map(view[:, 1:], rows, columns)) for view in tokens]
            joined = [torch.cat(pair, 1) for pair in zip(trunks, maps, strict=True)]
        else:
            size = trunk.shape[-2:]
            maps = [self.converter(view.unsqueeze(1)) for view in tokens]
            joined = [F.interpolate(x, size, mode='bilinear') for x in maps]
        features = [self.shared_matching(x) for x in joined]
        return *self.context(trunk), self.correlate(*features)

    def refitted(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """See `Network` and `VisionTransformer.refit`."""
        return self.encoder.refit(state)


def patch_grid(image: tuple[int, int], patch: tuple[int, int]) -> Grid:
    """The rows and columns of patches in an image of a height and a width.

    Raises:
        ValueError: the patches do not divide it.
    """
    if min(patch) < 1:
        raise ValueError(f'patch is {patch[0]}x{patch[1]}; give at least 1 pixel each')
    if any(side % p for side, p in zip(image, patch, strict=True)):
        raise ValueError(
            f'image is {image[0]}x{image[1]}, which patches of {patch[0]}x{patch[1]} do not '
            'divide; give multiples of the patch'
        )
    return image[0] // patch[0], image[1] // patch[1]
