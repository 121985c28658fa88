"""Depth Anything 3, for one image: a vision transformer with a dense prediction head.

Lin et al., "Depth Anything 3: Recovering the Visual Space from Any Views", arXiv 2511.10647.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nndepth_core.blocks.fusion import FusionBlock
from nndepth_core.blocks.norm import ImageNetNorm
from nndepth_core.blocks.position_encoding import grid_places
from nndepth_core.blocks.resize import steps
from nndepth_core.encoders.dinov2 import PATCH, Dinov2, Size, patch_map
from nndepth_core.models.base import MonoNetwork
from nndepth_core.spec import ModelSpec, Preferred

_EPSILON = 1e-5
_PLACED_FROM = 4
"""Index of the first block that sees the camera token and the places of the patches."""
_SKY = 0.3
"""The least value of the sky's map at which a pixel counts as sky."""


class DepthAnything3(MonoNetwork):
    """A DINOv2, and a head that fuses four of its layers (DPT, Ranftl et al., ICCV 2021).

    The variants for any number of views, small and base, give relative depth and its confidence
    here. Those for one image give depth with a map of the sky, which becomes the confidence: it is
    0.7 where the authors begin to count a pixel as sky. They put the largest depths of the image
    there, and the estimator +inf.

    Args:
        size: of the transformer.
        neck: channels of the four maps that its tokens become.
        fusion: channels of the head.
        views: whether the network was made for any number of views.
        metric: whether depth is in metres, for a camera of a focal length of 300 pixels.
    """

    spec = ModelSpec(
        'depth_anything_3',
        inputs=('image',),
        output='relative_depth',
        value_range=None,
        confidence='head',
        multiple=PATCH,
        minimum=(2 * PATCH, 2 * PATCH),
        preferred=Preferred(504, 'inside'),
    )
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        'small': {'size': 'small', 'neck': (48, 96, 192, 384), 'fusion': 64, 'views': True},
        'base': {'size': 'base', 'neck': (96, 192, 384, 768), 'fusion': 128, 'views': True},
        'metric_large': {
            'size': 'large',
            'neck': (256, 512, 1024, 1024),
            'fusion': 256,
            'metric': True,
        },
        'mono_large': {'size': 'large', 'neck': (256, 512, 1024, 1024), 'fusion': 256},
    }

    official_rules = (
        *Dinov2.official_rules,
        (r'^encoder\.', 'backbone.pretrained.'),
        (r'^camera_token', 'backbone.pretrained.camera_token'),
        (r'^tap_norm', 'head.norm'),
        (r'^project', 'head.projects'),
        (r'^resize', 'head.resize_layers'),
        *((rf'^reduce\.{i}', f'head.scratch.layer{i + 1}_rn') for i in range(4)),
        *((rf'^fuse\.{i}', f'head.scratch.refinenet{i + 1}') for i in range(4)),
        (r'\.refine_skip\.', '.resConfUnit1.'),
        (r'\.refine\.', '.resConfUnit2.'),
        (r'\.first\.', '.conv1.'),
        (r'\.second\.', '.conv2.'),
        (r'(refinenet\d)\.project\.', r'\1.out_conv.'),
        (r'^narrow', 'head.scratch.output_conv1'),
        (r'^maps', 'head.scratch.output_conv2'),
        (r'^sky', 'head.scratch.sky_output_conv2'),
    )
    # The ray map, and the cameras that are given or found: depth needs none of them.
    official_unused = (r'head\.scratch\.\w+_aux\.', r'cam_(enc|dec)\.')

    def __init__(
        self,
        size: Size,
        neck: Sequence[int],
        fusion: int,
        views: bool = False,
        metric: bool = False,
    ) -> None:
        super().__init__()
        if metric:
            self.specify(output='depth', canonical_focal=300.0)
        if not views:
            self.specify(least_confidence=1 - _SKY)
        self.views = views
        self.normalize = ImageNetNorm()
        self.encoder = Dinov2(size, epsilon=_EPSILON, placed_from=_PLACED_FROM if views else None)
        width = self.encoder.width * (2 if views else 1)
        if views:
            self.camera_token = nn.Parameter(torch.zeros(1, 2, self.encoder.width))
        self.tap_norm = nn.LayerNorm(width, _EPSILON) if views else nn.Identity()
        self.project = nn.ModuleList(nn.Conv2d(width, channels, 1) for channels in neck)
        self.resize = nn.ModuleList(
            [
                nn.ConvTranspose2d(neck[0], neck[0], 4, 4),
                nn.ConvTranspose2d(neck[1], neck[1], 2, 2),
                nn.Identity(),
                nn.Conv2d(neck[3], neck[3], 3, 2, padding=1),
            ]
        )
        self.reduce = nn.ModuleList(
            nn.Conv2d(channels, fusion, 3, padding=1, bias=False) for channels in neck
        )
        self.fuse = nn.ModuleList(
            FusionBlock(fusion, fusion, skip=level < 3) for level in range(4)
        )
        self.narrow = nn.Conv2d(fusion, fusion // 2, 3, padding=1)
        self.maps = _readout(fusion // 2, 2 if views else 1)
        self.sky = None if views else _readout(fusion // 2, 1)

    def forward(self, image: Tensor, confidence: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Map an image (N, 3, H, W) to what `spec.output` says, (N, 1, H, W).

        Args:
            image: in 0..255; H and W are multiples of 14.
            confidence: whether to return the confidence too.
        """
        self.check_images(image)
        features = self.head(self.taps(self.normalize(image)), image)
        maps = self.maps(features)
        depth = maps[:, :1].exp()
        if not confidence:
            return depth
        if self.sky is None:
            # The authors' confidence c is at least 1; this is 1 - 1 / c.
            return depth, maps[:, 1:].sigmoid()
        return depth, 1 - self.sky(features).clamp(0, 1)

    def taps(self, image: Tensor) -> list[Tensor]:
        """Tokens (N, H / 14 * W / 14, width) of a normalised image behind four of the blocks."""
        encoder = self.encoder
        if not self.views:
            return [tokens[:, 1:] for tokens in encoder(image, (5, 12, 18, 24))]
        tokens = encoder.embed(image)
        rows, columns = (side // PATCH for side in image.shape[-2:])
        of_grid, of_view = (
            partial(turn, angles=angles) for angles in patch_angles(rows, columns, image.device)
        )
        tapped = []
        for index, block in enumerate(encoder.blocks):
            if index == _PLACED_FROM:
                camera = self.camera_token[:, :1].expand(image.shape[0], -1, -1)
                tokens = torch.cat((camera, tokens[:, 1:]), 1)
            if index < _PLACED_FROM:
                tokens = block(tokens)
            elif index % 2 == 0:
                before = tokens = block(tokens, of_grid)
            else:
                tokens = block(tokens, of_view)
                tapped.append(torch.cat((before, encoder.norm(tokens)), 2)[:, 1:])
        return tapped

    def head(self, taps: Sequence[Tensor], image: Tensor) -> Tensor:
        """Fuse the taps from coarse to fine to features (N, fusion / 2, H, W) of the image."""
        rows, columns = (side // PATCH for side in image.shape[-2:])
        levels = []
        for tokens, project, resize, reduce in zip(
            taps, self.project, self.resize, self.reduce, strict=True
        ):
            grid = project(patch_map(self.tap_norm(tokens), rows, columns))
            levels.append(reduce(resize(self._placed(grid, image))))
        x = self.fuse[3](levels[3], size=levels[2].shape[-2:])
        x = self.fuse[2](x, levels[2], levels[1].shape[-2:])
        x = self.fuse[1](x, levels[1], levels[0].shape[-2:])
        x = self.narrow(self.fuse[0](x, levels[0]))
        x = F.interpolate(x, image.shape[-2:], mode='bilinear', align_corners=True)
        return self._placed(x, image)

    def _placed(self, x: Tensor, image: Tensor) -> Tensor:
        """Add the place of each pixel to a map, in networks for any number of views."""
        return x + 0.1 * place_waves(x, image) if self.views else x


def place_waves(x: Tensor, image: Tensor) -> Tensor:
    """Encode where the pixels of a map lie in an image, (1, C, h, w) for a map (N, C, h, w).

    The first half of the channels is for positions to the right, the second for those below; each
    half holds all sines before all cosines.
    """
    channels, rows, columns = x.shape[-3:]
    count = channels // 4
    frequencies = 100.0 ** (-torch.arange(count, device=x.device) / count)[:, None, None]
    parts = []
    for places in grid_places(image, rows, columns):
        angles = frequencies * places
        parts.append(torch.cat((angles.sin(), angles.cos())).expand(-1, rows, columns))
    return torch.cat(parts)[None]


def patch_angles(rows: int, columns: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Angles (1 + patches, 4, 16) by which queries and keys are turned, one row for each token.

    Returns:
        Those of places in the image, counted from one, and those by which a patch differs from the
        camera token only, whose own place is zero in both.
    """
    frequencies = 100.0 ** (-torch.arange(16, device=device) / 16)
    across = (steps(columns, device) + 1).expand(rows, columns).flatten()
    down = (steps(rows, device) + 1)[:, None].expand(rows, columns).flatten()
    of_grid = F.pad(torch.stack((down, down, across, across), 1), (0, 0, 1, 0))
    return of_grid[:, :, None] * frequencies, of_grid.clamp(max=1)[:, :, None] * frequencies


def turn(x: Tensor, angles: Tensor) -> Tensor:
    """Turn pairs of channels by angles (Su et al., RoFormer, arXiv 2104.09864).

    Args:
        x: queries or keys (N, heads, L, 64): channels of the row in two halves, which make pairs,
            then those of the column likewise.
        angles: (L, 4, 16).
    """
    first_down, second_down, first_across, second_across = x.chunk(4, 3)
    ahead = torch.cat((-second_down, first_down, -second_across, first_across), 3)
    return (x * angles.cos().flatten(1) + ahead * angles.sin().flatten(1)).type_as(x)


def _readout(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, 32, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(32, outputs, 1)
    )
