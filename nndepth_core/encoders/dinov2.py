"""DINOv2: a vision transformer that sees patches of 14x14 pixels.

Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision", TMLR 2024, arXiv
2304.07193. Registers are of Darcet et al., "Vision Transformers Need Registers", ICLR 2024, arXiv
2309.16588.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nndepth_core.blocks.attention import SelfAttention
from nndepth_core.blocks.resize import resized_places

PATCH = 14
"""Rows and columns of pixels in a patch."""
_GRID = 37
"""Patches along a side of the images of the training, hence of the table of positions."""
_EPSILON = 1e-6

Size = Literal['small', 'base', 'large', 'giant']


class Dinov2(nn.Module):
    """Tokens of an image, one class token, optional registers and one for each patch.

    Args:
        size: of the transformer; 'giant' has gated MLPs.
        registers: number of tokens without a place in the image.
        excess: what is added to the number of patches for the factor by which the table of
            positions is resized. The authors add 0.1, and weights expect it; 0 resizes by size.
        epsilon: of the last norm.
        placed_from: index of the first block whose queries and keys have a norm of their own, as
            those have that get the places of the tokens; None if there is none.

    Attributes:
        width: channels of the tokens.
        leading: number of tokens before those of the patches.
        blocks: the layers, for networks that do more between them than `forward`.
        norm: the last norm, for networks that need tokens without it too.
        official_rules: (pattern, replacement), applied one after the other, from our entry names
            to the authors'. In those of 'giant' the MLP's 'fc1' and 'fc2' are 'w12' and 'w3'.
    """

    shapes: ClassVar[dict[str, tuple[int, int, int]]] = {
        'small': (384, 12, 6),
        'base': (768, 12, 12),
        'large': (1024, 24, 16),
        'giant': (1536, 40, 24),
    }
    """Width, layers and heads by size."""
    official_rules = (
        (r'\bclass_token$', 'cls_token'),
        (r'\bregisters$', 'register_tokens'),
        (r'\bpositions$', 'pos_embed'),
        (r'\bpatches\.', 'patch_embed.proj.'),
        (r'\.attention_norm\.', '.norm1.'),
        (r'\.attention\.project\.', '.attn.qkv.'),
        (r'\.attention\.merge\.', '.attn.proj.'),
        (r'\.attention\.query_norm\.', '.attn.q_norm.'),
        (r'\.attention\.key_norm\.', '.attn.k_norm.'),
        (r'\.attention_scale$', '.ls1.gamma'),
        (r'\.mlp_norm\.', '.norm2.'),
        (r'\.mlp\.0\.', '.mlp.fc1.'),
        (r'\.mlp\.2\.', '.mlp.fc2.'),
        (r'\.mlp_scale$', '.ls2.gamma'),
    )

    def __init__(
        self,
        size: Size,
        *,
        registers: int = 0,
        excess: float = 0.1,
        epsilon: float = _EPSILON,
        placed_from: int | None = None,
    ) -> None:
        super().__init__()
        self.width, layers, heads = self.shapes[size]
        self.leading = 1 + registers
        self.excess = excess
        self.patches = nn.Conv2d(3, self.width, PATCH, PATCH)
        self.class_token = _learned(1, self.width)
        self.registers = _learned(registers, self.width) if registers else None
        self.positions = _learned(1 + _GRID**2, self.width)
        first_placed = layers if placed_from is None else placed_from
        self.blocks = nn.ModuleList(
            Block(self.width, heads, gated=size == 'giant', norm=index >= first_placed)
            for index in range(layers)
        )
        self.norm = nn.LayerNorm(self.width, epsilon)

    def forward(self, image: Tensor, taps: Sequence[int], norm: bool = True) -> list[Tensor]:
        """Map an image to the tokens behind some of the blocks.

        Args:
            image: normalised, (N, 3, H, W); H and W are multiples of 14.
            taps: numbers of the blocks, counted from one, in ascending order.
            norm: whether the tokens pass the last norm.

        Returns:
            Tokens (N, 1 + registers + H / 14 * W / 14, width) of each tap: the class token, the
            registers, and the patches row by row.
        """
        tokens = self.embed(image)
        tapped = []
        for number, block in enumerate(self.blocks[: taps[-1]], 1):
            tokens = block(tokens)
            if number in taps:
                tapped.append(self.norm(tokens) if norm else tokens)
        return tapped

    def embed(self, image: Tensor) -> Tensor:
        """Map a normalised image (N, 3, H, W) to the tokens that the first block takes."""
        patches = self.patches(image)
        first = self.class_token + self.positions[:, :1]
        leading = first if self.registers is None else torch.cat((first, self.registers), 1)
        places = self.places(*patches.shape[-2:])
        return torch.cat(
            (
                leading.expand(image.shape[0], -1, -1),
                patches.flatten(2).transpose(1, 2) + places,
            ),
            1,
        )

    def places(self, rows: int | Tensor, columns: int | Tensor) -> Tensor:
        """Resize the table of positions to a grid of patches; (1, rows * columns, width).

        On the grid of the training the table is taken as it is.
        """
        excess = self.excess * ((rows != _GRID) | (columns != _GRID))
        return resized_places(self.positions, (_GRID, _GRID), rows, columns, excess)


class Block(nn.Module):
    """Attention and an MLP, each behind a norm, scaled by channel and added to the tokens.

    Args:
        width: channels of the tokens.
        heads: number of attention heads.
        gated: whether the MLP is a SwiGLU (Shazeer, arXiv 2002.05202).
        norm: whether queries and keys have a norm of their own.
        scaled: whether there are the scales by channel, which older transformers have not.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        gated: bool = False,
        norm: bool = False,
        scaled: bool = True,
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, _EPSILON)
        self.attention = SelfAttention(width, heads, norm=norm)
        self.attention_scale: Tensor | float = nn.Parameter(torch.ones(width)) if scaled else 1.0
        self.mlp_norm = nn.LayerNorm(width, _EPSILON)
        hidden = 8 * math.ceil(width / 3) if gated else 4 * width  # two thirds in steps of eight
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * hidden if gated else hidden),
            Gate() if gated else nn.GELU(),
            nn.Linear(hidden, width),
        )
        self.mlp_scale: Tensor | float = nn.Parameter(torch.ones(width)) if scaled else 1.0

    def forward(self, tokens: Tensor, place: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Map tokens (N, L, width) to the same shape; `place` as in `SelfAttention`."""
        attended = self.attention(self.attention_norm(tokens), place)
        tokens = tokens + self.attention_scale * attended
        return tokens + self.mlp_scale * self.mlp(self.mlp_norm(tokens))


class Gate(nn.Module):
    """The first half of the channels through a SiLU, times the second half."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., 2 C) to (..., C)."""
        gates, values = x.chunk(2, -1)
        return F.silu(gates) * values


def patch_map(tokens: Tensor, rows: int | Tensor, columns: int | Tensor) -> Tensor:
    """Arrange the tokens of patches (N, rows * columns, C) as a map (N, C, rows, columns).

    The sizes are written out: behind `unflatten` the exporter takes that of the trace for fixed.
    """
    grid = cast(int, rows), cast(int, columns)
    return tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], *grid)


def _learned(count: int, width: int) -> nn.Parameter:
    """Make tokens (1, count, width) that are to be learned."""
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(1, count, width), std=0.02))
