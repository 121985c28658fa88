"""Attention inside of windows of a feature map, which may be shifted (Swin, GMFlow, UniMatch)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nndepth_core.blocks.attention import TransformerLayer
from nndepth_core.blocks.upsample import softmax_mean

_APART = 100.0
"""What scores lose where query and key come from different sides of a shifted map."""
_SCORES = 2**24
"""Scores that `attention_mean` holds at a time, for one map: 64 MiB in float32."""
_TRACED_PARTS = 4
"""Parts of the queries in a traced graph, whose loops have a fixed length."""


@dataclass(frozen=True)
class Windows:
    """How a map (N, h, w, C) is cut into windows of equal size.

    Attributes:
        rows: number of windows along the height; it divides h. None makes each row its own window.
        columns: number of windows along the width; it divides w.
        shifted: whether the windows are moved by half of their size, down and to the right. Those
            at the border then hold pixels of both ends of the map, which ignore each other.
    """

    rows: int | None
    columns: int
    shifted: bool = False

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Let pixels attend to those of their window (Swin, Liu et al., ICCV 2021, 3.2).

        Args:
            queries: (N, h, w, C).
            keys: (N, h, w, C).
            values: (N, h, w, C).

        Returns:
            (N, h, w, C).
        """
        height, width, channels = queries.shape[1:]
        rows = height if self.rows is None else self.rows
        side = (1 if self.rows is None else height // rows, width // self.columns)
        scale = channels**-0.5
        if self.shifted:
            shift = (side[0] // 2, side[1] // 2)
            queries, keys, values = (_roll(x, shift) for x in (queries, keys, values))
            # More channels lower the scores of pixels that do not belong together. A mask would
            # take as much memory as the scores.
            label = _labels(queries, shift)
            queries = torch.cat((queries, label), 3)
            keys = torch.cat((keys, (label - 1) * (_APART / scale)), 3)
            values = F.pad(values, (0, label.shape[3]))  # the fused kernels need equal widths

        queries, keys, values = (
            _cut(x, rows, self.columns, side) for x in (queries, keys, values)
        )
        attended = F.scaled_dot_product_attention(queries, keys, values, scale=scale)
        attended = attended[..., :channels]
        attended = attended.reshape(-1, rows, self.columns, *side, channels)
        attended = attended.transpose(2, 3).reshape(-1, height, width, channels)
        if self.shifted:
            attended = _roll(attended, (height - shift[0], width - shift[1]))
        return attended


def _roll(x: Tensor, shift: tuple[int, int]) -> Tensor:
    """Move a map (N, h, w, C) up and to the left; what leaves enters at the other end.

    Slices instead of `torch.roll`, which would bind an export to the traced size.
    """
    rows, columns = shift
    x = torch.cat((x[:, rows:], x[:, :rows]), 1)
    return torch.cat((x[:, :, columns:], x[:, :, :columns]), 2)


def _labels(like: Tensor, shift: tuple[int, int]) -> Tensor:
    """Say which pixels of a rolled map (N, h, w, C) came around an end, as one of (N, h, w, 4)."""
    count, height, width = like.shape[:3]
    below, behind = (
        torch.arange(length, device=like.device) >= length - moved
        for length, moved in zip((height, width), shift, strict=True)
    )
    region = 2 * below[:, None].long() + behind.long()
    label = region[..., None] == torch.arange(4, device=like.device)
    return label.to(like.dtype).expand(count, -1, -1, -1)


def _cut(x: Tensor, rows: int, columns: int, side: tuple[int, int]) -> Tensor:
    """Cut a map (N, h, w, C) into (N, windows, pixels, C)."""
    count, _, _, channels = x.shape
    windows = x.reshape(count, rows, side[0], columns, side[1], channels).transpose(2, 3)
    return windows.reshape(count, rows * columns, side[0] * side[1], channels)


class WindowTransformerLayer(TransformerLayer):
    """Transformer layer of window attention, for maps (N, h, w, channels).

    Args:
        channels: width of the tokens.
        hidden: inner width of the MLP; None for a layer without one.
    """

    def __init__(self, channels: int, hidden: int | None = None) -> None:
        super().__init__(channels, hidden, nn.GELU())

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, *how: Any) -> Tensor:
        """Attend as the `Windows` say that come last; (N, h, w, channels)."""
        (windows,) = how
        return windows.attend(queries, keys, values)


def attention_mean(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Average one value of every token, weighted by attention; the memory is bounded.

    The queries are taken part by part, so that `_SCORES` scores of a map exist at a time at most.
    A traced graph has `_TRACED_PARTS` parts at every size.

    Args:
        queries: (N, L, C); in a traced graph L is a multiple of `_TRACED_PARTS`.
        keys: (N, L, C).
        values: (N, L).

    Returns:
        (N, L), in the type of the values.
    """
    count, length, channels = queries.shape
    queries, keys = queries * channels**-0.5, keys.transpose(1, 2)
    if torch.jit.is_tracing():
        parts = queries.reshape(count, _TRACED_PARTS, -1, channels).unbind(1)
    else:
        parts = queries.split(max(1, _SCORES // length), 1)
    values = values[:, None]
    return torch.cat(
        [softmax_mean((part @ keys).to(values.dtype), values, 2) for part in parts], 1
    )
