"""Lite Any Stereo 2 and its first version: small networks for pictures of any kind.

Jing et al., "Lite Any Stereo V2", arXiv 2606.24457, and "Lite Any Stereo", CVPR 2026,
arXiv 2511.16555. The layout is that of LightStereo; the blocks are partial convolutions, which run
near the peak of most hardware. Variant h refines the disparity in steps as Selective-IGEV does
(Wang et al., CVPR 2024, arXiv 2403.00486).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nndepth_core.blocks.conv import ConvBlock, conv_pair
from nndepth_core.blocks.convnext import ConvNextBlock, shrink
from nndepth_core.blocks.correlation import correlation_pyramid, sample_volumes, volume_pyramid
from nndepth_core.blocks.cost_volume import correlation_volume, soft_argmin
from nndepth_core.blocks.faster import FasterBlock, FasterUnit
from nndepth_core.blocks.guided_hourglass import GuidedHourglass
from nndepth_core.blocks.pooled_attention import ChannelAttention, SpatialAttention
from nndepth_core.blocks.update import MotionEncoder, SelectiveGru, motion_rules
from nndepth_core.blocks.upsample import GuidedMask, convex_upsample, residual_confidence
from nndepth_core.encoders.fasternet import FasterNet
from nndepth_core.encoders.mobilenet_v2 import MobileNetV2
from nndepth_core.models.base import Prediction, Source, scale_to_unit, substitute
from nndepth_core.models.guided_stereo import (
    BINS,
    FACTOR,
    GUIDED_RULES,
    Encoder,
    GuidedStereo,
    resized,
)
from nndepth_core.spec import ModelSpec

_GROUPS = 8
_LEVELS = 2
_RADIUS = 4
_HIDDEN = 64

# Entries that only the first version has, or that it calls otherwise.
_FIRST_RULES = (
    (r'^volume_stem\.(\d)\.conv', r'cost_stem_3d.\1.conv'),
    (r'^volume_stem\.(\d)\.norm', r'cost_stem_3d.\1.bn'),
    (r'^cost_agg\.', 'cost_agg_2d.'),
    (r'\.conv5\.', '.upconv1.'),
    (r'\.conv6\.', '.upconv2.'),
    (r'\.att4\.', '.att16.'),
    (r'\.att2\.', '.att8.'),
    (r'\.att0\.', '.att4.'),
    (r'\.widen\.', '.pwconv1.'),
    (r'\.narrow\.', '.pwconv2.'),
    (r'\.normalize\.', '.norm.'),
    (r'\.scale$', '.gamma'),
)
_REFINEMENT_RULES = (
    (r'^refinement\.', ''),
    (r'^to_state', 'cnet.hidden_conv'),
    (r'^to_input', 'cnet.input_conv'),
    (r'^channel_attention\.gate', 'cam.fc'),
    (r'^spatial_attention', 'sam'),
    *motion_rules('d'),
    (r'^update\.from_input', 'update_block.gru04.conv0.0'),
    (r'^update\.to_gates', 'update_block.gru04.conv1.0'),
    (r'^disparity_head\.([23])', r'update_block.disp_head.conv.\1.block'),
    (r'^disparity_head', 'update_block.disp_head.conv'),
    (r'^to_mask', 'update_block.mask'),
    (r'^mask\.up\.conv', 'spx_2_gru.conv1.block.0'),
    (r'^mask\.join\.conv', 'spx_2_gru.conv2.block.0'),
    (r'^mask\.to_logits', 'spx_gru'),
)


class Las2(GuidedStereo):
    """`GuidedStereo` of partial convolutions; of ConvNeXt blocks in the first version.

    Args:
        blocks: blocks of the aggregation at 1/4, 1/8 and 1/16.
        expansion: the inner width of its blocks divided by the outer width.
        version: 2, or 1 for the first Lite Any Stereo.
        iterations: default number of steps that refine the disparity; 0 makes a network without.
    """

    spec = ModelSpec(
        'las2',
        confidence='softmax_peak',
        multiple=32,
        placement='centre',
        minimum=(32, 32),
        bytes_per_pixel=280,
    )
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        's': {'blocks': (1, 2, 4)},
        'm': {'blocks': (4, 8, 16)},
        'l': {'blocks': (8, 16, 32), 'expansion': 8},
        'h': {'blocks': (4, 8, 16), 'iterations': 4},
        'las1': {'blocks': (4, 8, 16), 'version': 1},
    }
    ranges: ClassVar[dict[str, tuple[float, float]]] = {
        'expansion': (1, 16),
        'version': (1, 2),
        'iterations': (0, 1000),
    }

    official_rules = (
        *_REFINEMENT_RULES,
        *FasterBlock.official_rules,
        (r'\.resize\.conv', '.proj.0'),
        (r'\.resize\.norm', '.proj.1'),
        *GUIDED_RULES,
        (r'^backbone\.(?=patch_embed|stages_)', 'fnet.backbone.'),
        (r'^backbone\.', 'fnet.'),
    )

    def __init__(
        self,
        blocks: Sequence[int],
        expansion: int = 4,
        *,
        version: int = 2,
        iterations: int = 0,
    ) -> None:
        encoder: Encoder = MobileNetV2() if version == 1 else FasterNet()
        guides = encoder.channels[:3]
        if version == 1:

            def block(width: int, _outputs: int, _stride: int) -> ConvNextBlock:
                return ConvNextBlock(width, expansion)

            aggregation = GuidedHourglass(
                BINS, guides, blocks, block, shrink=shrink, up_norm=None, raw_skip=True
            )
        else:
            unit = partial(FasterUnit, expansion=expansion)
            aggregation = GuidedHourglass(BINS, guides, blocks, unit)
        normalize = scale_to_unit if version == 1 else None
        super().__init__(encoder, aggregation, 0 if iterations else guides[0], normalize)
        self.version = version
        if version == 1:
            self.specify(bytes_per_pixel=420)
            self.volume_stem = nn.Sequential(
                *(
                    ConvBlock(inputs, outputs, activation=nn.ReLU6(inplace=True), dims=3)
                    for inputs, outputs in ((1, 4), (4, 4), (4, 1))
                )
            )
        if iterations:
            self.specify(iterations=iterations, confidence='residual', bytes_per_pixel=880)
            self.refinement = Refinement(guides[0])

    def forward(
        self,
        left: Tensor,
        right: Tensor,
        iterations: int | None = None,
        confidence: bool = False,
    ) -> Prediction:
        """See `StereoNetwork`; in train mode the first prediction is the first disparity."""
        if not self.spec.iterations:
            return super().forward(left, right, iterations, confidence)
        self.check_images(left, right)
        left, right = self.normalize(left), self.normalize(right)

        guides, of_right = self.features(left, right)
        volume = correlation_volume(guides[0], of_right, BINS, _GROUPS)
        disparity = soft_argmin(self.aggregation(volume.mean(1), guides))
        predictions = [resized(disparity)] if self.training else []

        refine = self.refinement
        pyramids = refine.pyramids(volume, guides[0], of_right)
        state, context, attention = refine.start(guides[0])
        guide = refine.guide_half(left)
        for _ in self.steps(iterations):
            disparity = disparity.detach()
            motion = refine.look_up(pyramids, disparity)
            state = refine.update(state, torch.cat([context, motion], 1), attention)
            step = refine.disparity_head(state)
            disparity = disparity + step
            if self.training:
                predictions.append(refine.upsample(disparity, state, guide))

        if self.training:
            return predictions
        result = refine.upsample(disparity, state, guide)
        if confidence:
            return result, residual_confidence(step, FACTOR)
        return result

    def match(self, of_left: Tensor, of_right: Tensor) -> Tensor:
        """Compute the volume (N, 48, h, w) from features (N, C, h, w)."""
        if self.version == 2:
            return super().match(of_left, of_right)
        return self.volume_stem(correlation_volume(of_left, of_right, BINS)).squeeze(1)

    def official_sources(self) -> dict[str, Source]:
        """Tell, for each of our entries, which official entries it comes from."""
        sources = super().official_sources()
        if self.version == 1:
            official = {ours: source.names[0] for ours, source in sources.items()}
            return {ours: Source((substitute(x, _FIRST_RULES),)) for ours, x in official.items()}
        if self.spec.iterations:
            sources |= _gate_sources()
        return sources


class Refinement(nn.Module):
    """The parts that refine a disparity in steps, of variant h.

    Args:
        features: channels of the matching features.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        relu = nn.ReLU(inplace=True)
        self.to_state = nn.Conv2d(features, _HIDDEN, 3, padding=1)
        self.to_input = nn.Conv2d(features, _HIDDEN, 3, padding=1)
        self.channel_attention = ChannelAttention(_HIDDEN, 4)
        self.spatial_attention = SpatialAttention()
        samples = _LEVELS * (_GROUPS + 1) * (2 * _RADIUS + 1)
        self.motion = MotionEncoder(samples, 1, _HIDDEN, (128, 128), (32, 32), join_kernel=1)
        self.update = SelectiveGru(_HIDDEN, 2 * _HIDDEN)
        self.disparity_head = nn.Sequential(
            nn.Conv2d(_HIDDEN, _HIDDEN, 3, padding=1),
            relu,
            FasterBlock(_HIDDEN, 4),
            FasterBlock(_HIDDEN, 4),
            nn.Conv2d(_HIDDEN, 1, 3, padding=1),
        )
        self.to_mask = nn.Sequential(
            nn.Conv2d(_HIDDEN, 32, 3, padding=1), relu, nn.Conv2d(32, 16, 3, padding=1), relu
        )
        self.guide_half = conv_pair(3, 16, 2, 'instance')
        self.mask = GuidedMask(16, 16, None, (16, 32))

    def start(self, of_left: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Make the state, the context and the attention of the GRU from (N, C, h, w)."""
        context = self.channel_attention(torch.relu(self.to_input(of_left)))
        return torch.tanh(self.to_state(of_left)), context, self.spatial_attention(context)

    def pyramids(
        self, volume: Tensor, of_left: Tensor, of_right: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Make pyramids of the volume, which is not aggregated, and the all-pairs correlation."""
        pairs = correlation_pyramid(of_left / of_left.shape[1], of_right, _LEVELS)
        return volume_pyramid(volume, _LEVELS), pairs

    def look_up(self, pyramids: tuple[list[Tensor], list[Tensor]], disparity: Tensor) -> Tensor:
        """Compute motion features (N, 64, h, w) around a disparity (N, 1, h, w)."""
        samples = sample_volumes(*pyramids, disparity.squeeze(1), _RADIUS).flatten(-2)
        return self.motion(samples.permute(0, 3, 1, 2), disparity)

    def upsample(self, disparity: Tensor, state: Tensor, guide: Tensor) -> Tensor:
        """Upsample a disparity (N, 1, h, w) with the state and the guide (N, 16, 2h, 2w)."""
        logits = self.mask(0.25 * self.to_mask(state), guide)
        return convex_upsample(disparity, logits, FACTOR)


def _gate_sources() -> dict[str, Source]:
    """Tell where the gates come from; official ones have a convolution each."""
    sources = {}
    for size in ('small', 'large'):
        ours, official = f'refinement.update.{size}', f'update_block.gru04.{size}_gru.conv'
        for kind in ('weight', 'bias'):
            gates = (f'{official}z.{kind}', f'{official}r.{kind}')
            sources[f'{ours}.gates.{kind}'] = Source(gates)
            sources[f'{ours}.candidate.{kind}'] = Source((f'{official}q.{kind}',))
    return sources
