"""RAFT's residual encoder, and the context encoder with states at several scales."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from nndepth_core.blocks.conv import ConvBlock, Norm, ResidualBlock

RESIDUAL_RULES = (
    (r'\.stem\.conv', '.conv1'),
    (r'\.stem\.norm', '.norm1'),
    (r'\.stages\.0\.', '.layer1.'),
    (r'\.stages\.1\.', '.layer2.'),
    (r'\.stages\.2\.', '.layer3.'),
    (r'\.first\.(conv|norm)', r'.\g<1>1'),
    (r'\.second\.(conv|norm)', r'.\g<1>2'),
    (r'\.shortcut\.conv', '.downsample.0'),
    (r'\.shortcut\.norm', '.downsample.1'),
)
"""From entry names of the residual encoder to those in checkpoints of the RAFT family."""

SHORTCUT_ALIASES = ((r'\.norm3\.', '.downsample.1.'),)
"""Official checkpoints hold the norm of a shortcut under two names."""


def context_rules(official: str, scales: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Rules for a `ContextEncoder` named 'context', including those of the residual encoder.

    Args:
        official: the prefix of the official context encoder.
        scales: the names of the official heads, finest first, e.g. ('outputs08', 'outputs16').
    """
    heads = [
        (
            rf'^context\.{kind}_heads\.{level}\.{"0." if level > 1 else ""}',
            rf'{official}.{scale}.{i}.',
        )
        for level, scale in enumerate(scales)
        for i, kind in enumerate(('state', 'context'))
    ]
    return (
        (r'^context\.to_gates', 'context_zqr_convs'),
        (r'^context\.coarser\.0', f'{official}.layer4'),
        (r'^context\.coarser\.1', f'{official}.layer5'),
        (r'^context\.trunk', official),
        *heads,
        *RESIDUAL_RULES,
    )


def residual_stage(
    inputs: int, outputs: int, stride: int, block: Callable[..., ResidualBlock], count: int = 2
) -> nn.Sequential:
    """Make `count` residual blocks; the first one has the stride."""
    others = (block(outputs, outputs) for _ in range(count - 1))
    return nn.Sequential(block(inputs, outputs, stride), *others)


class ResidualEncoder(nn.Module):
    """A 7x7 stem and three stages of residual blocks, 64, 96 and 128 wide (RAFT, 3.1).

    Args:
        strides: strides of the stem and the three stages.
        norm: 'batch' or 'instance'.
        project: whether every shortcut has a convolution, even if size and width stay.
        bias: whether the convolutions outside of the shortcuts have a bias.
        blocks: residual blocks of the three stages.
        activation: takes the place of ReLU.
        activate_second: see `ResidualBlock`.
    """

    outputs = 128

    def __init__(
        self,
        strides: Sequence[int],
        norm: Norm,
        project: bool = False,
        bias: bool = True,
        *,
        blocks: Sequence[int] = (2, 2, 2),
        activation: nn.Module | None = None,
        activate_second: bool = True,
    ) -> None:
        super().__init__()
        act = nn.ReLU(inplace=True) if activation is None else activation
        block = partial(
            ResidualBlock,
            norm=norm,
            project=project,
            bias=bias,
            activation=act,
            activate_second=activate_second,
        )
        self.stem = ConvBlock(3, 64, 7, strides[0], norm=norm, activation=act, bias=bias)
        self.stages = nn.Sequential(
            residual_stage(64, 64, strides[1], block, blocks[0]),
            residual_stage(64, 96, strides[2], block, blocks[1]),
            residual_stage(96, 128, strides[3], block, blocks[2]),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Map (N, 3, H, W) to (N, 128, H / s, W / s), s the product of the strides."""
        x = self.stem(image)
        # One block after the other: nested Sequentials would keep their full-size inputs alive.
        for block in (block for stage in self.stages.children() for block in stage.children()):
            x = block(x)
        return x


class ContextEncoder(nn.Module):
    """Initial states and contexts of GRUs at several scales (RAFT-Stereo, 3.1).

    The image goes through `trunk` first and `forward` continues from its result, so that the trunk
    can be shared with the matching features.

    Args:
        strides: strides of the trunk, see `ResidualEncoder`.
        levels: number of scales, each half the one before; the heads of the third are simpler.
        norm: 'batch' or 'instance'.
        hidden: channels of a state.
    """

    def __init__(self, strides: Sequence[int], levels: int, norm: Norm, hidden: int = 128) -> None:
        super().__init__()
        width = ResidualEncoder.outputs
        self.trunk = ResidualEncoder(strides, norm)
        self.coarser = nn.ModuleList(
            residual_stage(width, width, 2, partial(ResidualBlock, norm=norm))
            for _ in range(levels - 1)
        )
        self.state_heads = nn.ModuleList(_head(width, hidden, norm, i) for i in range(levels))
        self.context_heads = nn.ModuleList(_head(width, hidden, norm, i) for i in range(levels))
        self.to_gates = nn.ModuleList(
            nn.Conv2d(hidden, 3 * hidden, 3, padding=1) for _ in range(levels)
        )

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Continue from the trunk's result (N, 128, h, w).

        Returns:
            The states (N, hidden, h / 2**i, w / 2**i) and the terms that the context adds to the
            three gates (N, 3 * hidden, h / 2**i, w / 2**i), finest first.
        """
        scales = [x]
        for stage in self.coarser:
            scales.append(stage(scales[-1]))
        states = [torch.tanh(head(x)) for head, x in zip(self.state_heads, scales, strict=True)]
        contexts = [
            to_gates(torch.relu(head(x)))
            for to_gates, head, x in zip(self.to_gates, self.context_heads, scales, strict=True)
        ]
        return states, contexts


def _head(width: int, hidden: int, norm: Norm, level: int) -> nn.Sequential:
    blocks = [ResidualBlock(width, width, norm=norm)] if level < 2 else []
    return nn.Sequential(*blocks, nn.Conv2d(width, hidden, 3, padding=1))
