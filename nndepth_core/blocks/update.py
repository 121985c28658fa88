"""The recurrent part of the RAFT family: motion encoder and convolutional GRUs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nndepth_core.blocks.upsample import resize_like


class ConvGru(nn.Module):
    """Convolutional GRU (RAFT, 3.3).

    The convolutions of the gates are split by their inputs: the part for `x` is one convolution
    for all three gates, and the constant context is added.

    Args:
        hidden: channels of the state.
        inputs: channels of the input.
        kernel: kernel size (vertical, horizontal), odd.
    """

    def __init__(self, hidden: int, inputs: int, kernel: tuple[int, int] = (3, 3)) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.hidden = hidden
        self.from_input = nn.Conv2d(inputs, 3 * hidden, kernel, padding=padding)
        self.gates = nn.Conv2d(hidden, 2 * hidden, kernel, padding=padding, bias=False)
        self.candidate = nn.Conv2d(hidden, hidden, kernel, padding=padding, bias=False)

    def forward(self, state: Tensor, x: Tensor, context: Tensor) -> Tensor:
        """Return the new state.

        Args:
            state: (N, hidden, h, w).
            x: (N, inputs, h, w).
            context: added to the update gate, reset gate and candidate, (N, 3 * hidden, h, w).
        """
        shares = self.from_input(x) + context
        for_gates, for_candidate = shares.split([2 * self.hidden, self.hidden], 1)
        update, reset = torch.sigmoid(for_gates + self.gates(state)).chunk(2, 1)
        candidate = torch.tanh(self.candidate(reset * state) + for_candidate)
        return state + update * (candidate - state)


def separable_gru(hidden: int, inputs: int, context: int) -> tuple[nn.ModuleList, nn.ModuleList]:
    """Make the halves of a separable GRU (RAFT, 3.3), along the rows first.

    Args:
        hidden: channels of the state.
        inputs: channels of the input.
        context: channels of the constant context.

    Returns:
        The two `ConvGru`, and for each the convolution that makes its share of the context.
    """
    kernels = ((1, 5), (5, 1))
    grus = nn.ModuleList(ConvGru(hidden, inputs, kernel) for kernel in kernels)
    from_context = nn.ModuleList(
        nn.Conv2d(context, 3 * hidden, (v, h), padding=(v // 2, h // 2), bias=False)
        for v, h in kernels
    )
    return grus, from_context


class SelectiveGru(nn.Module):
    """Two GRUs of different kernels, mixed by a map of attention (Selective-Stereo, 3.3).

    Wang et al., CVPR 2024, arXiv 2403.00486. The small kernel serves edges and the large one
    smooth areas. The gates are computed from features of their own.

    Args:
        hidden: channels of the state.
        inputs: channels of the input.
    """

    def __init__(self, hidden: int, inputs: int) -> None:
        super().__init__()
        joined = inputs + hidden
        self.from_input = nn.Conv2d(inputs, inputs, 3, padding=1)
        self.to_gates = nn.Conv2d(joined, joined, 3, padding=1)
        self.small = _GatedUpdate(hidden, joined, 1)
        self.large = _GatedUpdate(hidden, joined, 3)

    def forward(self, state: Tensor, x: Tensor, attention: Tensor) -> Tensor:
        """Return the new state.

        Args:
            state: (N, hidden, h, w).
            x: (N, inputs, h, w).
            attention: the share of the small kernel in 0..1, (N, 1, h, w).
        """
        x = torch.relu(self.from_input(x))
        features = torch.relu(self.to_gates(torch.cat([x, state], 1)))
        small = self.small(state, x, features)
        large = self.large(state, x, features)
        return large + attention * (small - large)


class _GatedUpdate(nn.Module):
    """GRU whose gates have an input of their own."""

    def __init__(self, hidden: int, joined: int, kernel: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(joined, 2 * hidden, kernel, padding=kernel // 2)
        self.candidate = nn.Conv2d(joined, hidden, kernel, padding=kernel // 2)

    def forward(self, state: Tensor, x: Tensor, features: Tensor) -> Tensor:
        update, reset = torch.sigmoid(self.gates(features)).chunk(2, 1)
        candidate = torch.tanh(self.candidate(torch.cat([reset * state, x], 1)))
        return state + update * (candidate - state)


class MultiLevelGru(nn.Module):
    """GRUs at several resolutions that exchange their states (RAFT-Stereo, 3.3).

    Args:
        levels: number of GRUs, from the finest to the coarsest.
        hidden: channels of every state.
        motion: channels of the input of the finest GRU.
        halved: whether each level is at half the resolution of the one before, which is what
            pooling makes of it; if not, what is pooled is resized.
    """

    def __init__(self, levels: int, hidden: int, motion: int, *, halved: bool = True) -> None:
        super().__init__()
        self.halved = halved
        self.grus = nn.ModuleList(
            ConvGru(hidden, (hidden if level else motion) + (hidden if level < levels - 1 else 0))
            for level in range(levels)
        )

    def forward(
        self,
        states: Sequence[Tensor],
        contexts: Sequence[Tensor],
        motion: Tensor,
        finest: int = 0,
    ) -> list[Tensor]:
        """Update the states from the coarsest to the level `finest`; finer states stay.

        Args:
            states: (N, hidden, h / 2**i, w / 2**i) if each level is half, finest first.
            contexts: (N, 3 * hidden) by the sizes of the states, finest first.
            motion: (N, motion, h, w), read by level 0 only.
            finest: the finest level that is updated.
        """
        states = list(states)
        for level in reversed(range(finest, len(states))):
            heard = self._listen(states, motion, level)
            states[level] = self.grus[level](states[level], heard, contexts[level])
        return states

    def _listen(self, states: Sequence[Tensor], motion: Tensor, level: int) -> Tensor:
        """Join the next finer state, or the motion, with the next coarser state, if any."""
        finer = F.avg_pool2d(states[level - 1], 3, 2, 1) if level else motion
        inputs = [finer if self.halved or not level else resize_like(finer, states[level])]
        if level + 1 < len(states):
            inputs.append(resize_like(states[level + 1], states[level]))
        return torch.cat(inputs, 1)


class MotionEncoder(nn.Module):
    """Joins the sampled correlation with the current estimate (RAFT, 3.3).

    Args:
        samples: channels of the sampled correlation.
        estimate: channels of the estimate: 1 for a disparity, 2 for a flow.
        outputs: output channels; the last ones are the estimate itself.
        sample_widths: widths of the 1x1 and the 3x3 convolution on the samples.
        estimate_widths: widths of the 7x7 and the 3x3 convolution on the estimate.
        join_kernel: kernel size of the last convolution, odd.
    """

    def __init__(
        self,
        samples: int,
        estimate: int,
        outputs: int = 128,
        sample_widths: tuple[int, int] = (64, 64),
        estimate_widths: tuple[int, int] = (64, 64),
        join_kernel: int = 3,
    ) -> None:
        super().__init__()
        relu = nn.ReLU(inplace=True)
        self.from_samples = nn.Sequential(
            nn.Conv2d(samples, sample_widths[0], 1),
            relu,
            nn.Conv2d(*sample_widths, 3, padding=1),
            relu,
        )
        self.from_estimate = nn.Sequential(
            nn.Conv2d(estimate, estimate_widths[0], 7, padding=3),
            relu,
            nn.Conv2d(*estimate_widths, 3, padding=1),
            relu,
        )
        joined = sample_widths[1] + estimate_widths[1]
        last = nn.Conv2d(joined, outputs - estimate, join_kernel, padding=join_kernel // 2)
        self.join = nn.Sequential(last, relu)

    def forward(self, samples: Tensor, estimate: Tensor) -> Tensor:
        """Map (N, samples, h, w) and (N, estimate, h, w) to (N, outputs, h, w)."""
        estimate = estimate.to(samples.dtype)  # the estimate stays in float32 outside
        joined = torch.cat([self.from_samples(samples), self.from_estimate(estimate)], 1)
        return torch.cat([self.join(joined), estimate], 1)


def motion_rules(estimate: str) -> tuple[tuple[str, str], ...]:
    """Rules from the entries of a `MotionEncoder` called 'motion' to the official ones.

    Args:
        estimate: the letter of the estimate in official names: 'f' for flow, 'd' for disparity.
    """
    official = 'update_block.encoder.conv'
    return (
        (r'^motion\.from_samples\.0', f'{official}c1'),
        (r'^motion\.from_samples\.2', f'{official}c2'),
        (r'^motion\.from_estimate\.0', f'{official}{estimate}1'),
        (r'^motion\.from_estimate\.2', f'{official}{estimate}2'),
        (r'^motion\.join\.0', official),
    )


def head(inputs: int, hidden: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    """A 3x3 convolution, ReLU, then a convolution that predicts the outputs."""
    return nn.Sequential(
        nn.Conv2d(inputs, hidden, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden, outputs, kernel, padding=kernel // 2),
    )
