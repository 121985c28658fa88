"""Blocks that overwrite their own intermediate results, which saves memory and time.

Only inference may use them: training, tracing and compiling need every result unchanged. A block
overwrites only what it made itself, so that others may read its inputs after it.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from nndepth_core.blocks.conv import ConvBlock, ResidualBlock
from nndepth_core.blocks.norm import InstanceNorm
from nndepth_core.blocks.update import ConvGru


class InPlaceInstanceNorm(InstanceNorm):
    """Instance norm that overwrites its input, on the CPU in float32."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, h, ...) over all axes except the first two."""
        if x.device.type != 'cpu' or x.dtype != torch.float32:
            return super().forward(x)
        axes = tuple(range(2, x.ndim))
        x -= x.mean(axes, keepdim=True)
        # Squared part by part, so that each fits the cache; the whole would need a second map.
        squares = torch.stack([part.square().sum(axes, keepdim=True) for part in x.split(32, 2)])
        return x.mul_(torch.rsqrt(squares.sum(0) / x[0, 0].numel() + self.epsilon))


class InPlaceResidualBlock(ResidualBlock):
    """Residual block that adds the shortcut to the result of its convolutions in place."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, h, w) to (N, outputs, h / stride, w / stride)."""
        y = self.second(self.first(x))
        return self.activation(y.add_(self.shortcut(x)))


class InPlaceConvGru(ConvGru):
    """GRU whose gates and candidate state overwrite the values that they are computed from."""

    def forward(self, state: Tensor, x: Tensor, context: Tensor) -> Tensor:
        """Return the new state; see `ConvGru`."""
        shares = self.from_input(x).add_(context)
        for_gates, for_candidate = shares.split([2 * self.hidden, self.hidden], 1)
        update, reset = for_gates.add_(self.gates(state)).sigmoid_().chunk(2, 1)
        candidate = self.candidate(reset * state).add_(for_candidate).tanh_()
        return candidate.sub_(state).mul_(update).add_(state)


def overwrite_results(network: nn.Module) -> None:
    """Let the blocks of a network overwrite their own results; for inference only.

    Args:
        network: in eval mode; afterwards it can be neither trained nor traced nor compiled.
    """
    for module in network.modules():
        if type(module) is ResidualBlock:
            module.__class__ = InPlaceResidualBlock
        elif type(module) is ConvGru:
            module.__class__ = InPlaceConvGru
        elif isinstance(module, ConvBlock) and type(module.norm) is InstanceNorm:
            module.norm = InPlaceInstanceNorm()
        elif isinstance(module, nn.Sequential):
            _after_convolutions(module)


def _after_convolutions(sequence: nn.Sequential) -> None:
    """Replace the norms whose input comes from a convolution and is read by nothing else."""
    for index, (before, after) in enumerate(pairwise(sequence), 1):
        if isinstance(before, _ConvNd) and type(after) is InstanceNorm:
            sequence[index] = InPlaceInstanceNorm()
