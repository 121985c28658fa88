"""RAFT-Stereo (Lipson, Teed and Deng, 3DV 2021, arXiv 2109.07547).

The features of both images are correlated along the rows, once. A stack of GRUs at several
resolutions then samples the correlation around the current disparity and updates it step by step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nndepth_core.blocks.conv import Norm, ResidualBlock
from nndepth_core.blocks.correlation import correlation_pyramid, sample_pyramid
from nndepth_core.blocks.update import MotionEncoder, MultiLevelGru, head, motion_rules
from nndepth_core.blocks.upsample import convex_upsample_coarse, residual_confidence
from nndepth_core.encoders.residual import (
    SHORTCUT_ALIASES,
    ContextEncoder,
    ResidualEncoder,
    context_rules,
)
from nndepth_core.models.base import (
    Prediction,
    Source,
    StereoNetwork,
    gru_sources,
    scale_to_unit,
)
from nndepth_core.spec import ModelSpec

_FEATURES = 256


class RaftStereo(StereoNetwork):
    """Recurrent all-pairs field transforms along image rows.

    Args:
        downsample: features have 1 / 2**downsample of the image size.
        early: halve the size in the stem already, which costs less.
        gru_levels: number of GRUs, each at half the resolution of the one before.
        slow_fast: update the coarse GRUs more often than the fine ones.
        shared_backbone: take matching features from the context encoder's trunk.
        context_norm: norm of the context encoder, 'batch' or 'instance'.
        hidden: channels of the states of the GRUs.
        correlation_levels: levels of the correlation pyramid.
        radius: number of places that are sampled to either side of the disparity, on every level.
        iterations: default number of steps.
    """

    spec = ModelSpec('raft_stereo', confidence='residual', multiple=32, placement='centre')
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        'base': {},
        'realtime': {
            'downsample': 3,
            'gru_levels': 2,
            'slow_fast': True,
            'shared_backbone': True,
            'iterations': 7,
        },
        'rvc': {'context_norm': 'instance'},
    }
    ranges: ClassVar[dict[str, tuple[float, float]]] = {
        'downsample': (0, 3),
        'gru_levels': (1, 3),
        'hidden': (8, 1024),
        'correlation_levels': (1, 5),
        'radius': (1, 16),
        'iterations': (1, 1000),
    }

    official_rules = (
        (r'^matching\.0', 'fnet'),
        (r'^matching\.1\.', 'fnet.conv2.'),
        (r'^shared_matching\.', 'conv2.'),
        *motion_rules('f'),
        (r'^flow_head\.0', 'update_block.flow_head.conv1'),
        (r'^flow_head\.2', 'update_block.flow_head.conv2'),
        (r'^mask_head', 'update_block.mask'),
        *context_rules('cnet', ('outputs08', 'outputs16', 'outputs32')),
    )
    official_aliases = SHORTCUT_ALIASES
    official_unused: ClassVar[Sequence[str]] = (
        r'cnet\.layer5\.',
        r'cnet\.outputs32\.',
        r'update_block\.gru32\.',
    )

    def __init__(
        self,
        *,
        downsample: int = 2,
        early: bool = False,
        gru_levels: int = 3,
        slow_fast: bool = False,
        shared_backbone: bool = False,
        context_norm: Norm = 'batch',
        hidden: int = 128,
        correlation_levels: int = 4,
        radius: int = 4,
        iterations: int = 32,
    ) -> None:
        super().__init__()
        self.factor = 2**downsample
        self.slow_fast = slow_fast
        self.hidden = hidden
        self.shared_backbone = shared_backbone
        self.correlation_levels = correlation_levels
        self.radius = radius
        self.specify(iterations=iterations, minimum=(32, 16 * self.factor))

        first, third = early or downsample > 2, downsample > 1
        strides = [1 + first, 1, 1 + third, 1 + (downsample > first + third)]
        self.context = ContextEncoder(strides, gru_levels, context_norm, hidden)
        if shared_backbone:
            self.shared_matching = shared_matching(ResidualEncoder.outputs)
        else:
            self.matching = nn.Sequential(
                ResidualEncoder(strides, 'instance'), nn.Conv2d(128, _FEATURES, 1)
            )
        self.motion = MotionEncoder(correlation_levels * (2 * radius + 1), estimate=2)
        self.update = MultiLevelGru(gru_levels, hidden, motion=128)
        self.flow_head = head(hidden, 256, 2)
        self.mask_head = head(hidden, 256, 9 * self.factor**2, kernel=1)

    def forward(
        self,
        left: Tensor,
        right: Tensor,
        iterations: int | None = None,
        confidence: bool = False,
    ) -> Prediction:
        """Estimate the disparity; see `StereoNetwork` for arguments and results."""
        self.check_images(left, right)
        states, contexts, pyramid = self.encode(left, right)

        disparity = torch.zeros_like(states[0][:, 0], dtype=torch.float32)
        predictions = []
        for _ in self.steps(iterations):
            disparity = disparity.detach()
            states = self.update_states(states, contexts, self.look_up(pyramid, disparity))
            step = self.flow_head(states[0])[:, 0]  # channel 1 would be the vertical part
            disparity = disparity - step
            if self.training:
                predictions.append(self.upsample(disparity, states[0]))

        if self.training:
            return predictions
        result = self.upsample(disparity, states[0])
        if confidence:
            return result, residual_confidence(step.unsqueeze(1), self.factor)
        return result

    def encode(
        self, left: Tensor, right: Tensor
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Make states, contexts and correlation pyramid of images in 0..255 (3.1, 3.2).

        The images go through the encoders one by one, which halves the peak memory.
        """
        left, right = scale_to_unit(left), scale_to_unit(right)
        trunk = self.context.trunk(left)
        if self.shared_backbone:
            features = [self.shared_matching(x) for x in (trunk, self.context.trunk(right))]
        else:
            features = [self.matching(image) for image in (left, right)]
        return *self.context(trunk), self.correlate(*features)

    def correlate(self, left: Tensor, right: Tensor) -> list[Tensor]:
        """Make the correlation pyramid of matching features (3.2)."""
        return correlation_pyramid(left / _FEATURES**0.5, right, self.correlation_levels)

    def look_up(self, pyramid: list[Tensor], disparity: Tensor) -> Tensor:
        """Compute motion features (N, 128, h, w) around a disparity (N, h, w)."""
        columns = torch.arange(disparity.shape[-1], device=disparity.device)
        samples = sample_pyramid(pyramid, columns - disparity, self.radius).flatten(-2)
        flow = torch.stack([-disparity, torch.zeros_like(disparity)], -1)
        return self.motion(samples.permute(0, 3, 1, 2), flow.permute(0, 3, 1, 2))

    def update_states(
        self, states: list[Tensor], contexts: list[Tensor], motion: Tensor
    ) -> list[Tensor]:
        """Do one step of the GRUs, coarse to fine; with slow_fast, coarse ones do more (3.3)."""
        if self.slow_fast:
            for finest in reversed(range(1, len(states))):
                states = self.update(states, contexts, motion, finest)
        return self.update(states, contexts, motion)

    def upsample(self, disparity: Tensor, state: Tensor) -> Tensor:
        """Upsample the disparity (N, h, w) to full size with weights from the finest state."""
        logits = self.mask_head(state) / 4  # the factor balances gradients
        return convex_upsample_coarse(disparity.unsqueeze(1), logits, self.factor)

    def official_sources(self) -> dict[str, Source]:
        """Tell, for each of our entries, which official entries it comes from."""
        sources = super().official_sources()
        for level, scale in enumerate(('08', '16', '32')[: len(self.update.grus)]):
            sources |= gru_sources(f'update.grus.{level}', f'update_block.gru{scale}', self.hidden)
        return sources


def shared_matching(inputs: int) -> nn.Sequential:
    """Make matching features of features (N, inputs, h, w) that serve something else too."""
    return nn.Sequential(
        ResidualBlock(inputs, 128, norm='instance'), nn.Conv2d(128, _FEATURES, 3, padding=1)
    )
