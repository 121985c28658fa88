"""GMStereo, the stereo network of UniMatch.

Xu et al., "Unifying Flow, Stereo and Depth Estimation", IEEE TPAMI 2023, arXiv 2211.05783. A
transformer makes the features of both images so distinctive that a softmax over their products
along a row matches them. Attention to similar pixels then carries the disparity to pixels without
a match.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nndepth_core.blocks.correlation import sample_pyramid
from nndepth_core.blocks.norm import ImageNetNorm
from nndepth_core.blocks.position_encoding import window_encoding
from nndepth_core.blocks.row_matching import (
    global_match,
    local_match,
    match_mass,
    neighbour_mean,
    row_volume,
    warp_rows,
)
from nndepth_core.blocks.update import MotionEncoder, head, separable_gru
from nndepth_core.blocks.upsample import convex_upsample_coarse, residual_confidence, resize_like
from nndepth_core.blocks.window_attention import Windows, WindowTransformerLayer, attention_mean
from nndepth_core.encoders.residual import RESIDUAL_RULES, ResidualEncoder
from nndepth_core.models.base import Prediction, Source, StereoNetwork, separable_gru_sources
from nndepth_core.spec import ModelSpec

_WIDTH = 128
_LAYERS = 6
_COARSE, _FINE = 2, 8
"""Windows along each axis at 1/8 and at 1/4."""
_RADIUS = 4
"""How far matches at 1/4 may be from the disparity so far, in pixels of this scale."""


class GmStereo(StereoNetwork):
    """Features, transformer, matching along rows, propagation, convex upsampling; coarse to fine.

    Args:
        scales: 1 for matching at 1/8 only; with 2, the result is matched again at 1/4.
        iterations: steps that refine the result at 1/4 by local regression; 0 for none.
    """

    spec = ModelSpec('gmstereo', placement='centre', minimum=(32, 32))
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        'scale1': {},
        'scale2': {'scales': 2},
        'scale2_regrefine': {'scales': 2, 'iterations': 3},
    }
    ranges: ClassVar[dict[str, tuple[float, float]]] = {'scales': (1, 2), 'iterations': (0, 1000)}

    official_rules = (
        (r'^encoder\.0', 'backbone'),
        (r'^encoder\.1', 'backbone.conv2'),
        (r'^pyramid', 'backbone.trident_conv'),
        *RESIDUAL_RULES,
        (r'^self_attention\.(\d)', r'transformer.layers.\1.self_attn'),
        (r'^cross_attention\.(\d)', r'transformer.layers.\1.cross_attn_ffn'),
        (r'^propagation\.to_queries', 'feature_flow_attn.q_proj'),
        (r'^propagation\.to_keys', 'feature_flow_attn.k_proj'),
        (r'to_queries', 'q_proj'),
        (r'to_keys', 'k_proj'),
        (r'to_values', 'v_proj'),
        (r'merge_norm', 'norm1'),
        (r'mlp\.3', 'norm2'),
        (r'^refinement\.from_tokens', 'refine_proj'),
        (r'^refinement\.motion\.from_samples\.0', 'refine.encoder.convc1'),
        (r'^refinement\.motion\.from_samples\.2', 'refine.encoder.convc2'),
        (r'^refinement\.motion\.from_estimate\.0', 'refine.encoder.convf1'),
        (r'^refinement\.motion\.from_estimate\.2', 'refine.encoder.convf2'),
        (r'^refinement\.motion\.join\.0', 'refine.encoder.conv'),
        (r'^refinement\.step_head\.0', 'refine.flow_head.conv1'),
        (r'^refinement\.step_head\.2', 'refine.flow_head.conv2'),
        (r'^refinement\.mask_head', 'refine.mask'),
    )

    def __init__(self, *, scales: int = 1, iterations: int = 0) -> None:
        super().__init__()
        if scales not in (1, 2) or iterations < 0 or (scales == 1 and iterations):
            raise ValueError(
                f'scales is {scales} and iterations is {iterations}; give 1 scale and no '
                'iterations, or 2 scales and any number of iterations'
            )
        self.scales = scales
        self.factor = 8 // scales
        self.specify(
            multiple=16 * scales,
            iterations=iterations,
            confidence='residual' if iterations else 'softmax_peak',
            bytes_per_pixel=900 if scales == 1 else 2500,
        )

        self.normalize = ImageNetNorm()
        self.encoder = nn.Sequential(
            ResidualEncoder((2, 1, 2, self.factor // 4), 'instance', bias=False),
            nn.Conv2d(_WIDTH, _WIDTH, 1),
        )
        if scales == 2:
            self.pyramid = nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1, bias=False)
        self.self_attention = nn.ModuleList(WindowTransformerLayer(_WIDTH) for _ in range(_LAYERS))
        self.cross_attention = nn.ModuleList(
            WindowTransformerLayer(_WIDTH, 8 * _WIDTH) for _ in range(_LAYERS)
        )
        self.propagation = Propagation(_WIDTH)
        if iterations:
            self.refinement = Refinement(self.factor)
        else:
            self.upsampler = head(_WIDTH + 2, 256, 9 * self.factor**2, kernel=1)

    def forward(
        self,
        left: Tensor,
        right: Tensor,
        iterations: int | None = None,
        confidence: bool = False,
    ) -> Prediction:
        """See `StereoNetwork`; in train mode there are the results of all stages in turn."""
        self.check_images(left, right)
        features = self.encode(torch.cat((self.normalize(left), self.normalize(right))))

        of_left, of_right = features[0].chunk(2)
        tokens, others = self.transform(of_left, of_right, _COARSE)
        match, scores = global_match(tokens, others)
        match = match.clamp_min(0)
        disparity = self.propagation(tokens, match.detach())
        matched = confidence and not self.spec.iterations
        sure = match_mass(scores, disparity) if matched else None
        del scores  # the largest tensor of all
        stages = [match, disparity]
        if self.scales == 2:
            of_left, of_right = features[1].chunk(2)
            tokens, match = self.match_again(of_left, of_right, disparity.detach())
            disparity = self.propagation.nearby(tokens, match.detach())
            stages += [match, disparity]

        tokens, disparity = tokens.permute(0, 3, 1, 2), disparity.unsqueeze(1)
        if self.spec.iterations:
            steps = self.steps(iterations)
            results, step = self.refinement(of_left, of_right, tokens, disparity, steps)
        else:
            results = [self.upsample(disparity, tokens)]
            del stages[-1]
        if self.training:
            return [*(_enlarge(stage, left) for stage in stages), *results]
        if not confidence:
            return results[-1]
        if sure is None:
            return results[-1], residual_confidence(step, self.factor)
        return results[-1], resize_like(sure.unsqueeze(1), left)

    def encode(self, pair: Tensor) -> list[Tensor]:
        """Encode normalised images (2 N, 3, H, W): features (2 N, 128, h, w), coarse ones first.

        The official code has one convolution at two strides (trident, 3.5). The result of the
        larger stride is every second pixel of the other.
        """
        features = self.encoder(pair)
        if self.scales == 1:
            return [features]
        features = self.pyramid(features)
        return [features[:, :, ::2, ::2], features]

    def transform(self, left: Tensor, right: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Let the features (N, 128, h, w) of both images see each other (3.1).

        Args:
            left: features of the left image.
            right: features of the right image.
            count: number of attention windows along each axis.

        Returns:
            Maps (N, h, w, 128) of the left and the right image.
        """
        height, width = left.shape[-2:]
        position = window_encoding(height, width, count, _WIDTH, left)
        tokens = torch.cat((left, right)).permute(0, 2, 3, 1) + position
        layers = zip(self.self_attention, self.cross_attention, strict=True)
        for index, (to_itself, to_other) in enumerate(layers):
            shifted = index % 2 == 1
            other = torch.cat(tokens.chunk(2)[::-1])
            tokens = to_itself(tokens, tokens, Windows(count, count, shifted))
            # Cross attention sees the other image as it was before this layer. Networks of one
            # scale look along the whole row.
            rows = Windows(None, 1) if self.scales == 1 else Windows(None, count, shifted)
            tokens = to_other(tokens, other, rows)
        left, right = tokens.chunk(2)
        return left, right

    def match_again(self, left: Tensor, right: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Match at 1/4 around the disparity (N, h / 2, w / 2) of 1/8.

        Args:
            left: features of the left image, (N, 128, h, w).
            right: features of the right image, of the same shape.
            coarse: the disparity at 1/8, in its pixels.

        Returns:
            The left map (N, h, w, 128) and the disparity (N, h, w).
        """
        disparity = _enlarge(coarse, left).squeeze(1)
        warped = warp_rows(right.permute(0, 2, 3, 1), disparity).permute(0, 3, 1, 2)
        tokens, others = self.transform(left, warped, _FINE)
        return tokens, (disparity + local_match(tokens, others, _RADIUS)).clamp_min(0)

    def upsample(self, disparity: Tensor, tokens: Tensor) -> Tensor:
        """Upsample a disparity (N, 1, h, w) with the left features (N, 128, h, w) as the guide.

        The weights come from UniMatch's network for flow, whose second channel is zero here.
        """
        flow = F.pad(-disparity, (0, 0, 0, 0, 0, 1)).to(tokens.dtype)
        logits = self.upsampler(torch.cat((flow, tokens), 1))
        return convex_upsample_coarse(disparity, logits, self.factor)

    def official_sources(self) -> dict[str, Source]:
        """Tell, for each of our entries, which official entries it comes from."""
        sources = super().official_sources()
        if self.spec.iterations:
            halves = separable_gru_sources('refine.gru', _WIDTH, _WIDTH)
            sources |= {f'refinement.{name}': source for name, source in halves.items()}
        return sources


def _enlarge(disparity: Tensor, like: Tensor) -> Tensor:
    """Resize a disparity (N, h, w) to the size of a map and to its pixels, (N, 1, H, W)."""
    factor = like.shape[-1] / disparity.shape[-1]
    return resize_like(disparity.unsqueeze(1), like) * factor


class Propagation(nn.Module):
    """Attention to similar pixels, which carries disparities to pixels without a match (3.3).

    Args:
        channels: width of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.to_queries = nn.Linear(channels, channels)
        self.to_keys = nn.Linear(channels, channels)

    def forward(self, tokens: Tensor, disparity: Tensor) -> Tensor:
        """Average a disparity (N, h, w) over the whole image, by features (N, h, w, channels).

        Keys are made from queries, not from features: the published weights have learned it so.
        """
        queries = self.to_queries(tokens.flatten(1, 2))
        mean = attention_mean(queries, self.to_keys(queries), disparity.flatten(1))
        return mean.reshape(disparity.shape)

    def nearby(self, tokens: Tensor, disparity: Tensor) -> Tensor:
        """Average a disparity (N, h, w) over the 3x3 neighbours of each pixel."""
        queries, keys = (
            linear(tokens).permute(0, 3, 1, 2) for linear in (self.to_queries, self.to_keys)
        )
        return neighbour_mean(queries, keys, disparity.unsqueeze(1)).squeeze(1)


class Refinement(nn.Module):
    """Recurrent local regression at 1/4 (3.5, after RAFT).

    Args:
        factor: the factor of the size at full resolution.
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.from_tokens = nn.Conv2d(_WIDTH, 2 * _WIDTH, 1)
        self.motion = MotionEncoder((2 * _RADIUS + 1) ** 2, 1, _WIDTH, (256, 192), (128, 64))
        self.grus, self.from_context = separable_gru(_WIDTH, _WIDTH, _WIDTH)
        self.step_head = head(_WIDTH, 256, 1)
        self.mask_head = head(_WIDTH, 256, 9 * factor**2, kernel=1)

    def forward(
        self, left: Tensor, right: Tensor, tokens: Tensor, disparity: Tensor, steps: range
    ) -> tuple[list[Tensor], Tensor]:
        """Refine a disparity.

        Args:
            left: features of the left image before the transformer, (N, 128, h, w).
            right: features of the right image, of the same shape.
            tokens: features of the left image after the transformer, of the same shape.
            disparity: (N, 1, h, w) in its own pixels.
            steps: the steps to do.

        Returns:
            The disparity at full size (N, 1, H, W), in train mode after every step; and the last
            step (N, 1, h, w).
        """
        start, context = self.from_tokens(tokens).chunk(2, 1)
        start, context = torch.tanh(start), torch.relu(context)
        contexts = [convolution(context) for convolution in self.from_context]
        volume = row_volume(left.permute(0, 2, 3, 1), right.permute(0, 2, 3, 1), _RADIUS)
        columns = torch.arange(left.shape[3], device=left.device)
        results = []
        for index in steps:
            disparity = disparity.detach()
            samples = sample_pyramid([volume], columns - disparity.squeeze(1), _RADIUS)
            motion = self.motion(samples.flatten(3).permute(0, 3, 1, 2), disparity)
            state = start  # every step has a state of its own
            for gru, of_context in zip(self.grus, contexts, strict=True):
                state = gru(state, motion, of_context)
            step = self.step_head(state)
            disparity = (disparity + step).clamp_min(0)
            if self.training or index == steps[-1]:
                logits = self.mask_head(state)
                results.append(convex_upsample_coarse(disparity, logits, self.factor))
        return results, step
