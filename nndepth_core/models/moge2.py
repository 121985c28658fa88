"""MoGe-2: points in metres, up to one shift along the view, from one image.

Wang et al., "MoGe-2: Accurate Monocular Geometry with Metric Scale and Sharp Details", NeurIPS
2025, arXiv 2507.02546; the network for points is of "MoGe", CVPR 2025, arXiv 2410.19115.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nndepth_core.blocks.fusion import ResidualConvUnit
from nndepth_core.blocks.norm import ImageNetNorm
from nndepth_core.blocks.position_encoding import grid_places
from nndepth_core.blocks.resize import resize_antialiased
from nndepth_core.encoders.dinov2 import PATCH, Dinov2, Size, patch_map
from nndepth_core.models.base import MonoNetwork
from nndepth_core.spec import ModelSpec

_FINER = (256, 128, 64, 32)
"""Channels of the maps at 2, 4, 8 and 16 times the resolution of the patches."""
_HEADS = 'neck|points_head|mask_head|normal_head'


class Geometry(NamedTuple):
    """What the network sees in N images.

    Attributes:
        points: (N, 3, H, W), x right, y down and z forward, up to scale and a shift of z.
        mask: (N, 1, H, W), the probability that a pixel shows a point at a finite distance.
        normals: (N, 3, H, W), of unit length, in the axes of the camera; None if the variant has
            none.
        scale: (N, 1, 1, 1), the factor that turns shifted points into metres.
    """

    points: Tensor
    mask: Tensor
    normals: Tensor | None
    scale: Tensor


class Moge2(MonoNetwork):
    """A vision transformer, a neck that enlarges its tokens, and a head for each kind of map.

    An image of any size is resized inside to a number of tokens; the maps have its size. Where the
    mask says that a pixel shows no point at a finite distance, such as in the sky, depth is +inf.

    Args:
        size: of the transformer.
        taps: the blocks whose tokens the neck takes, counted from one.
        units: residual units at each of the neck's inner levels.
        normals: whether there is a head for normals.
        num_tokens: the number of tokens unless `forward` is given another one; the weights were
            trained on 1200 to 3600, which is the authors' default whatever runs the network; fewer
            are faster.
    """

    spec = ModelSpec(
        'moge2',
        inputs=('image',),
        output='depth',
        value_range=None,
        confidence='head',
        least_confidence=0.5,
        affine_points=True,
    )
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        'vits_normal': {'size': 'small', 'taps': (6, 12)},
        'vitb_normal': {'size': 'base', 'taps': (6, 12)},
        'vitl_normal': {'size': 'large', 'taps': (6, 12, 18, 24), 'units': 2},
        'vitl': {'size': 'large', 'taps': (6, 12, 18, 24), 'units': 2, 'normals': False},
    }
    ranges: ClassVar[dict[str, tuple[float, float]]] = {
        'units': (0, 8),
        'num_tokens': (16, 20_000),
    }

    official_rules = (
        *Dinov2.official_rules,
        (r'^encoder\.', 'encoder.backbone.'),
        (r'^projections\.', 'encoder.output_projections.'),
        (rf'^({_HEADS})\.take\.', r'\1.input_blocks.'),
        (rf'^({_HEADS})\.refine\.', r'\1.res_blocks.'),
        (rf'^({_HEADS})\.enlarge\.', r'\1.resamplers.'),
        (rf'^({_HEADS})\.give\.', r'\1.output_blocks.4.'),
        (r'\.first\.', '.layers.2.'),
        (r'\.second\.', '.layers.5.'),
    )
    official_unused = (r'encoder\.image_(mean|std)', r'encoder\.backbone\.mask_token')

    def __init__(
        self,
        size: Size,
        taps: Sequence[int],
        units: int = 1,
        normals: bool = True,
        num_tokens: int = 3600,
    ) -> None:
        super().__init__()
        self.taps = tuple(taps)
        self.num_tokens = num_tokens
        self.normalize = ImageNetNorm()
        self.encoder = Dinov2(size)
        width = self.encoder.width
        widths = (width, *_FINER)
        self.projections = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in taps)
        self.neck = ConvStack((width + 2, 2, 2, 2, 2), widths, units)
        self.points_head = ConvStack(widths, widths, 1, outputs=3)
        self.mask_head = ConvStack(widths, widths, 1, outputs=1)
        self.normal_head = ConvStack(widths, widths, 1, outputs=3) if normals else None
        self.scale_head = nn.Sequential(
            nn.Linear(width, width),
            nn.ReLU(inplace=True),
            nn.Linear(width, width),
            nn.ReLU(inplace=True),
            nn.Linear(width, 1),
        )

    def forward(
        self, image: Tensor, num_tokens: int | None = None, confidence: bool = False
    ) -> Tensor | tuple[Tensor, ...]:
        """Map an image (N, 3, H, W) to depth in metres up to a shift, (N, 1, H, W).

        Args:
            image: in 0..255, of any size.
            num_tokens: the number of tokens that the image is resized to, about.
            confidence: whether to return the mask's probability, x and y too, (N, 1, H, W) each;
                x and y are in metres, and tell the shift (see `nndepth_core.point_maps`).
        """
        levels, scale = self.describe(image, num_tokens)
        x, y, depth = (scale * self.points(levels, image)).split(1, 1)
        return (depth, self.mask(levels, image), x, y) if confidence else depth

    def geometry(self, image: Tensor, num_tokens: int | None = None) -> Geometry:
        """Give all that the network knows; see `forward` for the arguments."""
        levels, scale = self.describe(image, num_tokens)
        normals = None
        if self.normal_head is not None:
            normals = F.normalize(_resized(self.normal_head(levels)[-1], image), dim=1)
        return Geometry(self.points(levels, image), self.mask(levels, image), normals, scale)

    def describe(self, image: Tensor, num_tokens: int | None) -> tuple[list[Tensor], Tensor]:
        """Compute what the heads share: the five maps of the neck and the metric scale."""
        self.check_images(image)
        height, width = image.shape[-2:]
        rows, columns = token_grid(height, width, num_tokens or self.num_tokens)
        small = resize_antialiased(image, PATCH * rows, PATCH * columns)
        tapped = self.encoder(self.normalize(small), self.taps)
        features = torch.stack(
            [
                project(patch_map(tokens[:, 1:], rows, columns))
                for project, tokens in zip(self.projections, tapped, strict=True)
            ]
        ).sum(0)
        places = [grid_places(image, rows * 2**level, columns * 2**level) for level in range(5)]
        views = [torch.stack(torch.broadcast_tensors(*axes))[None] for axes in places]
        coarsest = torch.cat((features, views[0].expand(image.shape[0], -1, -1, -1)), 1)
        scale = self.scale_head(tapped[-1][:, 0]).exp()[:, :, None, None]
        return self.neck([coarsest, *views[1:]]), scale

    def points(self, levels: Sequence[Tensor], image: Tensor) -> Tensor:
        """Points (N, 3, H, W); the head gives the logarithm of z, and x and y over z."""
        raw = _resized(self.points_head(levels)[-1], image)
        z = raw[:, 2:].exp()
        return torch.cat((raw[:, :2] * z, z), 1)

    def mask(self, levels: Sequence[Tensor], image: Tensor) -> Tensor:
        """See `Geometry`."""
        return _resized(self.mask_head(levels)[-1], image).sigmoid()


class ConvStack(nn.Module):
    """Five levels from coarse to fine, each twice as large as the one before.

    Args:
        inputs: channels of what each level is given.
        widths: channels of the levels.
        units: residual units at each of the three inner levels.
        outputs: channels of the result at the finest level; None gives the level itself.
    """

    def __init__(
        self,
        inputs: Sequence[int],
        widths: Sequence[int],
        units: int,
        outputs: int | None = None,
    ) -> None:
        super().__init__()
        self.take = nn.ModuleList(
            nn.Conv2d(given, width, 1) for given, width in zip(inputs, widths, strict=True)
        )
        self.refine = nn.ModuleList(
            nn.Sequential(*(ResidualConvUnit(width, 'replicate') for _ in range(count)))
            for width, count in zip(widths, (0, units, units, units, 0), strict=True)
        )
        self.enlarge = nn.ModuleList(
            _doubled(coarse, fine, learned=level < 3)
            for level, (coarse, fine) in enumerate(pairwise(widths))
        )
        self.give = nn.Conv2d(widths[-1], outputs, 1) if outputs else nn.Identity()

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Map what the levels are given, (N, inputs, h, w), to their maps (N, widths, h, w)."""
        maps: list[Tensor] = []
        for level, (given, take) in enumerate(zip(levels, self.take, strict=True)):
            x = take(given)
            if maps:
                x = x + self.enlarge[level - 1](maps[-1])
            maps.append(self.refine[level](x))
        return [*maps[:-1], self.give(maps[-1])]


def token_grid(
    height: int | Tensor, width: int | Tensor, tokens: int
) -> tuple[int | Tensor, int | Tensor]:
    """Rows and columns of about a number of tokens in the aspect ratio of an image.

    The sides are tensors without dimensions while a graph is traced, and so is the result then.
    """
    if isinstance(height, Tensor) and isinstance(width, Tensor):
        share = height / width  # in float32, since TensorRT has no other
        return (tokens * share).sqrt().round().long(), (tokens / share).sqrt().round().long()
    aspect = width / height
    return round(math.sqrt(tokens / aspect)), round(math.sqrt(tokens * aspect))


def _doubled(inputs: int, outputs: int, *, learned: bool) -> nn.Sequential:
    """Double a map by a transposed convolution or bilinear interpolation, and smooth it."""
    double = (
        nn.ConvTranspose2d(inputs, outputs, 2, 2)
        if learned
        else nn.Upsample(scale_factor=2, mode='bilinear')
    )
    channels = outputs if learned else inputs
    smooth = nn.Conv2d(channels, outputs, 3, padding=1, padding_mode='replicate')
    return nn.Sequential(double, smooth)


def _resized(x: Tensor, image: Tensor) -> Tensor:
    """Resize a map to the size of an image."""
    return F.interpolate(x, image.shape[-2:], mode='bilinear')
