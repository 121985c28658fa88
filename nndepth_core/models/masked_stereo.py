"""The pre-training of StereoMAE: a masked autoencoder of stereo pairs.

Tukra et al., see `stereo_mae.py`; the autoencoder is that of He et al., CVPR 2022, arXiv
2111.06377. Removing the same patches in all views is VideoMAE's (Tong et al., NeurIPS 2022,
arXiv 2203.12602).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nndepth_core.blocks.masking import Mask, from_patches, mask_by, put_back, take
from nndepth_core.blocks.norm import ImageNetNorm
from nndepth_core.blocks.resize import resized_places
from nndepth_core.encoders.vit import (
    Grid,
    Size,
    VisionTransformer,
    attended,
    layers_of,
    sine_table,
)
from nndepth_core.models.base import Network
from nndepth_core.models.stereo_mae import patch_grid
from nndepth_core.spec import ModelSpec

Masks = Literal['tube', 'independent']


class Reconstruction(NamedTuple):
    """What a masked autoencoder makes of a pair.

    Attributes:
        left: the left image, RGB around 0..1 (N, 3, H, W).
        right: the right image.
        left_removed: the removed patches of the left image, bool (N, 1, rows, columns).
        right_removed: those of the right image.
    """

    left: Tensor
    right: Tensor
    left_removed: Tensor
    right_removed: Tensor


class MaskedStereo(Network):
    """Masked autoencoder of stereo pairs; one encoder and one decoder serve both views.

    Args:
        size: of the encoder.
        patch: height and width of a patch in pixels.
        image: height and width of the image for which the tables of positions are made. Images of
            other sizes get them resized.
        joint: whether the tokens of both views attend to each other, in encoder and decoder.
        mask_ratio: the part of the patches that is removed from each view, in 0..1.
        masks: 'tube' removes the same patches from both views, 'independent' draws them for each.
        resize: whether images are resized to multiples of the patch; if not, others are refused.
        normalize: whether the encoder takes images normalised as for ImageNet, as MAE's weights
            want it, or in 0..1, as the authors' weights do.
        decoder_width: channels of the decoder's tokens.
        decoder_layers: number of its layers.
        decoder_heads: number of its attention heads.
    """

    spec = ModelSpec('masked_stereo')
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        'spatial': {},
        'spatial_tiny': {
            'size': 'tiny',
            'decoder_width': 128,
            'decoder_layers': 4,
            'decoder_heads': 4,
        },
        'authors': {
            'patch': (16, 32),
            'joint': False,
            'masks': 'independent',
            'normalize': False,
        },
    }
    ranges: ClassVar[dict[str, tuple[float, float]]] = {
        'mask_ratio': (0.0, 1.0),
        'decoder_width': (8, 4096),
        'decoder_layers': (1, 64),
        'decoder_heads': (1, 64),
    }
    official_rules = (
        *VisionTransformer.official_rules,
        (r'^decoder\.(pos_embed|blocks|norm)', r'decoder.decoder_\1'),
        (r'^decoder\.project', 'decoder.decoder_embed'),
        (r'^decoder\.predict', 'decoder.decoder_pred'),
    )
    official_aliases = (
        (r'^(?:decoder\.|loss_fnc\.)?patch_embed\.', 'encoder.patch_embed.'),
        (r'^(cls_token$|pos_embed$|blocks\.|norm\.)', r'encoder.\1'),
        (r'^(mask_token$|decoder_)', r'decoder.\1'),
    )
    """MAE of single images has no prefix; the authors' files hold the patches four times."""
    official_unused = (r'loss_fnc\.',)

    def __init__(
        self,
        *,
        size: Size = 'base',
        patch: tuple[int, int] = (16, 16),
        image: tuple[int, int] = (224, 448),
        joint: bool = True,
        mask_ratio: float = 0.75,
        masks: Masks = 'tube',
        resize: bool = False,
        normalize: bool = True,
        decoder_width: int = 512,
        decoder_layers: int = 8,
        decoder_heads: int = 16,
    ) -> None:
        super().__init__()
        if not 0 < mask_ratio < 1:
            raise ValueError(f'mask_ratio is {mask_ratio}; give a number between 0 and 1')
        _check_decoder(decoder_width, decoder_layers, decoder_heads)
        grid = patch_grid(image, patch)
        self.mask_ratio, self.masks, self.resize = mask_ratio, masks, resize
        self.normalize = ImageNetNorm() if normalize else None
        self.encoder = VisionTransformer(size, patch, grid, joint=joint)
        shape = decoder_width, decoder_layers, decoder_heads
        self.decoder = _Decoder(self.encoder, *shape)
        self.specify(multiple=math.lcm(*patch), minimum=(2 * patch[0], 2 * patch[1]))

    def forward(
        self, left: Tensor, right: Tensor, noise: Sequence[Tensor] | None = None
    ) -> Reconstruction:
        """Remove patches of a pair and fill them in.

        Args:
            left: RGB in 0..255 (N, 3, H, W).
            right: the other view of the same size.
            noise: a random number for each patch of each view (N, rows * columns), of which the
                largest decide what is removed; None draws it.

        Raises:
            ValueError: the images do not fit.
        """
        left, right = self.fitting(left, right)
        height, width = left.shape[-2:]
        grid = patch_grid((height, width), self.encoder.patch)
        views = [
            image / 255 if self.normalize is None else self.normalize(image)
            for image in (left, right)
        ]
        noise = self.noise(left.shape[0], grid, left.device) if noise is None else noise
        masks = [mask_by(values, self.mask_ratio) for values in noise]
        seen = [
            take(self.encoder.embed(view), mask.kept)
            for view, mask in zip(views, masks, strict=True)
        ]
        patches = self.decoder(self.encoder(seen), masks, grid)
        images = [from_patches(values, grid, self.encoder.patch) for values in patches]
        removed = [mask.removed.unflatten(1, (1, *grid)) for mask in masks]
        return Reconstruction(*images, *removed)

    def noise(
        self, count: int, grid: Grid, device: torch.device, generator: Any = None
    ) -> list[Tensor]:
        """Draw the noise that decides which patches of `count` pairs are removed."""
        shape = count, grid[0] * grid[1]
        left = torch.rand(shape, device=device, generator=generator)
        if self.masks == 'tube':
            return [left, left]
        return [left, torch.rand(shape, device=device, generator=generator)]

    def fitting(self, left: Tensor, right: Tensor) -> list[Tensor]:
        """Resize a pair to multiples of the patch, if that is wanted.

        Raises:
            ValueError: it does not fit, and is not to be resized.
        """
        height, width = left.shape[-2:]
        rows, columns = self.encoder.patch
        if not self.resize and (height % rows or width % columns):
            raise ValueError(
                f'images are {width}x{height}, which patches of {columns}x{rows} do not divide; '
                'set resize to true (--set resize=true; in training model.resize=true, or '
                'data.augmentation.crop to multiples of the patch)'
            )
        size = [max(2, round(side / p)) * p for side, p in ((height, rows), (width, columns))]
        pair = [
            F.interpolate(image, size, mode='bilinear', antialias=True)
            if size != [height, width]
            else image
            for image in (left, right)
        ]
        self.check_images(*pair)
        return pair

    def refitted(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """See `Network` and `VisionTransformer.refit`.

        Weights of single images do not tell views apart; what does so stays as it is.
        """
        marks = {n: v for n, v in self.state_dict().items() if n.endswith('.views')}
        return {**marks, **self.encoder.refit(state)}


def _check_decoder(width: int, layers: int, heads: int) -> None:
    """Refuse a shape that no decoder has.

    Raises:
        ValueError: a number does not fit; says which do.
    """
    for name, count in (('layers', layers), ('heads', heads)):
        if count < 1:
            raise ValueError(f'decoder_{name} is {count}; give at least 1')
    step = math.lcm(4, heads)
    if width < 1 or width % step:
        raise ValueError(
            f'decoder_width is {width} and decoder_heads {heads}; give a width that is a multiple '
            f'of the heads and of 4, such as {step * max(1, round(width / step))}'
        )


class _Decoder(nn.Module):
    """Predicts the pixels of all patches from the tokens of those that are kept."""

    def __init__(self, encoder: VisionTransformer, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.grid = encoder.grid
        self.project = nn.Linear(encoder.width, width)
        self.mask_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.positions = nn.Parameter(sine_table(self.grid, width), requires_grad=False)
        self.views = nn.Parameter(torch.randn(2, 1, width) * 0.02) if encoder.joint else None
        self.blocks = layers_of(width, layers, heads)
        self.norm = nn.LayerNorm(width, 1e-6)
        self.predict = nn.Linear(width, 3 * math.prod(encoder.patch))

    def forward(self, views: Sequence[Tensor], masks: Sequence[Mask], grid: Grid) -> list[Tensor]:
        """Map tokens (N, 1 + K, C) of each view to pixels (N, rows * columns, patch * 3)."""
        first = self.positions[:, :1]
        places = torch.cat((first, resized_places(self.positions, self.grid, *grid)), 1)
        whole = []
        for tokens, mask in zip(map(self.project, views), masks, strict=True):
            others = put_back(tokens[:, 1:], mask.kept, self.mask_token, grid[0] * grid[1])
            whole.append(torch.cat((tokens[:, :1], others), 1) + places)
        return [
            self.predict(self.norm(tokens))[:, 1:]
            for tokens in attended(self.blocks, whole, self.views)
        ]
