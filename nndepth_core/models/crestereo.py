"""CREStereo (Li et al., CVPR 2022, arXiv 2203.11483).

One recurrent update block refines a flow at 1/16, 1/8 and 1/4 of the image. In each step it
correlates features in a small window around the flow. With the cascade, the same network runs on
images of half the size first, and then continues from their result on the full images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nndepth_core.blocks.attention import LinearTransformerLayer
from nndepth_core.blocks.group_correlation import OffsetCorrelation, WarpedCorrelation, Window
from nndepth_core.blocks.position_encoding import sine_encoding
from nndepth_core.blocks.update import MotionEncoder, head, separable_gru
from nndepth_core.blocks.upsample import (
    convex_upsample_coarse,
    residual_confidence,
    resize_like,
)
from nndepth_core.encoders.residual import RESIDUAL_RULES, ResidualEncoder
from nndepth_core.models.base import (
    Prediction,
    Source,
    StereoNetwork,
    scale_to_unit,
    separable_gru_sources,
)
from nndepth_core.spec import ModelSpec

_HIDDEN = 128
_FEATURES = 256
_GROUPS = 4
_WINDOWS: list[Window] = [(1, 9), (3, 3)]
"""Search windows of nine points; the steps use them in turn."""


@dataclass
class Scale:
    """What a stage uses to refine its flow; only the state changes.

    Attributes:
        state: state of the GRU, (N, 128, h, w).
        contexts: what the context adds to the gates of both halves of the GRU, (N, 384, h, w).
        correlate: gives the correlation (N, 36, h, w) in a window around a flow (N, 2, h, w).
    """

    state: Tensor
    contexts: list[Tensor]
    correlate: Callable[[Tensor, Window], Tensor]


class CreStereo(StereoNetwork):
    """Cascaded recurrent network with adaptive group correlation.

    The flow has two channels, for columns and rows, since real pairs are never perfectly
    rectified. The disparity is the negative of its first channel.

    Args:
        cascade: in eval mode, start from the result for half the size (stacked cascades, 3.2).
        iterations: default number of steps at 1/4; 1/16 and 1/8 take half as many.
    """

    spec = ModelSpec('crestereo', confidence='residual', multiple=8, placement='centre')
    variants: ClassVar[dict[str, dict[str, Any]]] = {'base': {}, 'cascade': {'cascade': True}}
    ranges: ClassVar[dict[str, tuple[float, float]]] = {'iterations': (1, 1000)}

    official_rules = (
        (r'^encoder\.0', 'fnet'),
        (r'^encoder\.1', 'fnet.conv2'),
        *RESIDUAL_RULES,
        (r'^(self|cross)_attention', r'\1_att_fn.layers.0'),
        (r'to_queries', 'q_proj'),
        (r'to_keys', 'k_proj'),
        (r'to_values', 'v_proj'),
        (r'merge_norm', 'norm1'),
        (r'mlp\.3', 'norm2'),
        (r'^offsets_sixteenth', 'conv_offset_16'),
        (r'^offsets_eighth', 'conv_offset_8'),
        (r'^motion\.from_samples\.0', 'update_block.encoder.convc1'),
        (r'^motion\.from_samples\.2', 'update_block.encoder.convc2'),
        (r'^motion\.from_estimate\.0', 'update_block.encoder.convf1'),
        (r'^motion\.from_estimate\.2', 'update_block.encoder.convf2'),
        (r'^motion\.join\.0', 'update_block.encoder.conv'),
        (r'^flow_head\.0', 'update_block.flow_head.conv1'),
        (r'^flow_head\.2', 'update_block.flow_head.conv2'),
        (r'^mask_head', 'update_block.mask'),
    )

    def __init__(self, *, cascade: bool = False, iterations: int = 20) -> None:
        super().__init__()
        self.cascade = cascade
        smallest = 64 if cascade else 32
        self.specify(iterations=iterations, minimum=(smallest, smallest))

        self.encoder = nn.Sequential(
            ResidualEncoder((2, 1, 2, 1), 'instance', project=True), nn.Conv2d(128, _FEATURES, 1)
        )
        self.self_attention = LinearTransformerLayer(_FEATURES, heads=8)
        self.cross_attention = LinearTransformerLayer(_FEATURES, heads=8)
        self.offsets_sixteenth = nn.Conv2d(_FEATURES, 18, 3, padding=1)
        self.offsets_eighth = nn.Conv2d(_FEATURES, 18, 3, padding=1)

        self.motion = MotionEncoder(9 * _GROUPS, 2, 128, (256, 192), (128, 64))
        self.grus, self.from_context = separable_gru(_HIDDEN, 128, 128)
        self.flow_head = head(_HIDDEN, 256, 2)
        self.mask_head = head(_HIDDEN, 256, 9 * 4**2, kernel=1)

    def forward(
        self,
        left: Tensor,
        right: Tensor,
        iterations: int | None = None,
        confidence: bool = False,
    ) -> Prediction:
        """Estimate the disparity; see `StereoNetwork` for arguments and results.

        In train mode, the predictions (N, 2, H, W) have the vertical displacement as a second
        channel, which the authors train towards zero.
        """
        self.check_images(left, right)
        steps = len(self.steps(iterations))
        pair = scale_to_unit(torch.cat((left, right)).flip(1))  # the weights need BGR
        zero = pair.new_zeros(left.shape[0], 2, *left.shape[-2:])

        if self.cascade and not self.training:
            size = [side // 2 for side in pair.shape[-2:]]
            halves = F.interpolate(pair, size, mode='bilinear', align_corners=True)
            disparity = self.refine(halves, zero, (16, 8, 4), steps)[0]
            disparity, step, _ = self.refine(pair, -disparity, (4,), steps)
        else:
            disparity, step, predictions = self.refine(pair, zero, (16, 8, 4), steps)

        if self.training:
            return predictions
        disparity = disparity[:, :1]
        return (disparity, residual_confidence(step[:, :1], 4)) if confidence else disparity

    def refine(
        self, pair: Tensor, flow: Tensor, scales: Sequence[int], steps: int
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Refine a flow stage by stage (cascaded recurrent network, 3.2).

        Args:
            pair: the left images, then the right ones, (2 N, 3, H, W) in -1..1.
            flow: the start of the first stage, (N, 2, any height, any width) in its own pixels.
            scales: the scales of the stages, as parts of the image size.
            steps: the number of steps at 1/4; other scales take half as many.

        Returns:
            Disparity and vertical displacement (N, 2, H, W), the last step of the flow
            (N, 2, H / 4, W / 4), and in train mode the result of every step at full size.
        """
        left, right = self.encoder(pair).chunk(2)
        state, context = left.chunk(2, 1)
        features = (left, right, torch.tanh(state), torch.relu(context))
        predictions = []
        for part in scales:
            scale = self.scale(features, part // 4)
            flow = resize_like(flow, scale.state) * (scale.state.shape[-2] / flow.shape[-2])
            for index in range(steps if part == 4 else steps // 2):
                flow = flow.detach()
                step = self.step(scale, flow, _WINDOWS[index % 2])
                flow = flow + step
                if self.training:
                    fine = self.upsample(flow, scale.state)
                    predictions.append(-part / 4 * resize_like(fine, pair))
            # The next stage starts from the disparity, although it refines the negative disparity:
            # the published weights were trained in this way and have learned to correct it.
            flow = -self.upsample(flow, scale.state)
        return flow, step, predictions

    def scale(self, features: Sequence[Tensor], pool: int) -> Scale:
        """Prepare one stage.

        Args:
            features: left, right, state and context at 1/4, (N, 256 or 128, H / 4, W / 4).
            pool: the factor by which the stage is coarser.
        """
        if pool > 1:
            features = [F.avg_pool2d(x, pool) for x in features]
        left, right, state, context = features
        contexts = [convolution(context) for convolution in self.from_context]
        if pool == 1:
            return Scale(state, contexts, WarpedCorrelation(left, right, _GROUPS))

        to_offsets = self.offsets_sixteenth if pool == 4 else self.offsets_eighth
        offsets = 2 * torch.sigmoid(to_offsets(left)) - 1
        if pool == 4:
            left, right = self.attend(left, right)
        return Scale(state, contexts, OffsetCorrelation(left, right, offsets, _WINDOWS, _GROUPS))

    def attend(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Let pixels see both images (local feature attention, 3.1); (N, 256, h, w) each."""
        height, width = left.shape[-2:]
        # The published weights were trained with frequencies that are exp(-k) by mistake, instead
        # of 10000 ** (-k / 128); most of them are nearly zero.
        frequencies = torch.exp(-torch.arange(0.0, 128, 2, device=left.device))
        position = sine_encoding(height, width, frequencies)
        left, right = ((x + position).flatten(2).transpose(1, 2) for x in (left, right))
        left, right = self.self_attention(left, left), self.self_attention(right, right)
        left = self.cross_attention(left, right)
        right = self.cross_attention(right, left)
        # reshape instead of unflatten, which would bind an export to the traced size
        shape = (left.shape[0], -1, height, width)
        left, right = (x.transpose(1, 2).reshape(shape) for x in (left, right))
        return left, right

    def step(self, scale: Scale, flow: Tensor, window: Window) -> Tensor:
        """Update the state of a scale and return the step for its flow (N, 2, h, w)."""
        motion = self.motion(scale.correlate(flow, window), flow)
        for gru, context in zip(self.grus, scale.contexts, strict=True):
            scale.state = gru(scale.state, motion, context)
        return self.flow_head(scale.state)

    def upsample(self, flow: Tensor, state: Tensor) -> Tensor:
        """Upsample a flow (N, 2, h, w) by a factor of four, with weights from the state."""
        logits = self.mask_head(state) / 4  # the factor balances gradients
        return convex_upsample_coarse(flow, logits, 4)

    def official_sources(self) -> dict[str, Source]:
        """Tell, for each of our entries, which official entries it comes from."""
        return super().official_sources() | separable_gru_sources('update_block.gru', _HIDDEN, 128)
