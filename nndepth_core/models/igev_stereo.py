"""IGEV-Stereo (Xu, Wang, Ding and Yang, CVPR 2023, arXiv 2303.06615).

A small 3-D network aggregates a cost volume once, which gives a first disparity. GRUs then refine
it as in RAFT-Stereo; besides the plain correlation they sample the aggregated volume, which holds
geometry and context.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from nndepth_core.blocks.conv import ConvBlock, conv_pair
from nndepth_core.blocks.correlation import (
    correlation_pyramid,
    sample_volumes,
    volume_pyramid,
)
from nndepth_core.blocks.cost_volume import correlation_volume, soft_argmin
from nndepth_core.blocks.hourglass import FeatureAttention, Hourglass
from nndepth_core.blocks.update import MotionEncoder, MultiLevelGru, head, motion_rules
from nndepth_core.blocks.upsample import GuidedMask, convex_upsample, residual_confidence
from nndepth_core.encoders.igev import IgevFeatures
from nndepth_core.encoders.mobilenet_v2 import MobileNetV2
from nndepth_core.encoders.residual import SHORTCUT_ALIASES, ContextEncoder, context_rules
from nndepth_core.models.base import (
    Prediction,
    Source,
    StereoNetwork,
    gru_sources,
    scale_to_unit,
    substitute,
)
from nndepth_core.spec import ModelSpec

_FACTOR = 4
_GROUPS = 8
LEVELS = 2
RADIUS = 4
_ENCODER_RULES = (
    *MobileNetV2.official_rules,
    (r'^features\.encoder\.stages\.([0-3])', r'feature.block\1.0'),
    (r'^features\.encoder\.stages\.4', 'feature.block3.1'),
    (r'^features\.encoder\.stages\.5', 'feature.block4.0'),
    (r'^features\.encoder', 'feature'),
)


class IgevStereo(StereoNetwork):
    """Iterative geometry encoding volume.

    Args:
        max_disparity: the volume holds disparities from 0 to max_disparity - 1 pixels, a multiple
            of 32; refined disparities may leave this range.
        iterations: default number of steps.
    """

    spec = ModelSpec(
        'igev_stereo', confidence='residual', multiple=32, placement='centre', minimum=(32, 32)
    )
    variants: ClassVar[dict[str, dict[str, Any]]] = {'base': {}}
    ranges: ClassVar[dict[str, tuple[float, float]]] = {
        'max_disparity': (32, 4096),
        'iterations': (1, 1000),
    }

    hidden: ClassVar[int] = 128
    head_width: ClassVar[int] = 256
    samples: ClassVar[int] = LEVELS * (_GROUPS + 1) * (2 * RADIUS + 1)
    gru_names: ClassVar[tuple[str, ...]] = ('gru04', 'gru08', 'gru16')

    official_rules = (
        (r'^features\.(up|join)\.0', r'feature.deconv32_16.\1'),
        (r'^features\.(up|join)\.1', r'feature.deconv16_8.\1'),
        (r'^features\.(up|join)\.2', r'feature.deconv8_4.\1'),
        (r'^features\.last', 'feature.conv4'),
        (r'^features\.stem_half', 'stem_2'),
        (r'^features\.stem_quarter', 'stem_4'),
        (r'^descriptor\.0', 'conv'),
        (r'^descriptor\.1', 'desc'),
        (r'^volume_stem', 'corr_stem'),
        (r'^volume_attention', 'corr_feature_att'),
        (r'^hourglass\.down\.0', 'cost_agg.conv1'),
        (r'^hourglass\.down\.1', 'cost_agg.conv2'),
        (r'^hourglass\.down\.2', 'cost_agg.conv3'),
        (r'^hourglass\.up\.0', 'cost_agg.conv3_up'),
        (r'^hourglass\.up\.1', 'cost_agg.conv2_up'),
        (r'^hourglass\.last', 'cost_agg.conv1_up'),
        (r'^hourglass\.join\.', 'cost_agg.agg_'),
        (r'^hourglass\.down_attention\.0', 'cost_agg.feature_att_8'),
        (r'^hourglass\.down_attention\.1', 'cost_agg.feature_att_16'),
        (r'^hourglass\.down_attention\.2', 'cost_agg.feature_att_32'),
        (r'^hourglass\.up_attention\.0', 'cost_agg.feature_att_up_16'),
        (r'^hourglass\.up_attention\.1', 'cost_agg.feature_att_up_8'),
        (r'\.gate\.', '.feat_att.'),
        *motion_rules('d'),
        (r'^disparity_head\.0', 'update_block.disp_head.conv1'),
        (r'^disparity_head\.2', 'update_block.disp_head.conv2'),
        (r'^to_mask', 'update_block.mask_feat_4'),
        (r'^mask\.to_logits', 'spx_gru.0'),
        (r'^mask', 'spx_2_gru'),
        (r'^start_to_mask', 'spx_4'),
        (r'^start_mask\.to_logits', 'spx.0'),
        (r'^start_mask', 'spx_2'),
        (r'\.up\.(?!\d)', '.conv1.'),
        (r'\.join\.(?!\d)', '.conv2.'),
        (r'^((?:stem|spx)_\d)\.1\.conv\.', r'\1.1.'),
        *context_rules('cnet', ('outputs04', 'outputs08', 'outputs16')),
        (r'\.norm\.', '.bn.'),
    )
    official_aliases: ClassVar[Sequence[tuple[str, str]]] = SHORTCUT_ALIASES
    official_unused = (r'cost_agg\.conv1_up\.bn\.',)

    def __init__(self, *, max_disparity: int = 192, iterations: int = 32) -> None:
        super().__init__()
        if max_disparity < 1 or max_disparity % (8 * _FACTOR):
            raise ValueError(f'max_disparity is {max_disparity}; it must be a multiple of 32')
        self.disparities = max_disparity // _FACTOR
        self.specify(iterations=iterations)

        self.features = IgevFeatures()
        quarter, *coarser = self.features.channels
        self.descriptor = nn.Sequential(
            ConvBlock(quarter, 96, norm='instance', activation=nn.LeakyReLU(inplace=True)),
            nn.Conv2d(96, 96, 1),
        )
        self.hourglass = Hourglass((_GROUPS, 16, 32, 48), coarser)
        self.classifier = nn.Conv3d(_GROUPS, 1, 3, padding=1, bias=False)

        self.motion = MotionEncoder(self.samples, 1, self.hidden)
        self.update = MultiLevelGru(len(self.gru_names), self.hidden, self.hidden)
        self.disparity_head = head(self.hidden, self.head_width, 1)
        self.to_mask = nn.Sequential(nn.Conv2d(self.hidden, 32, 3, padding=1), nn.ReLU())
        self.mask = GuidedMask(32, self.features.guide, 'batch')
        self.start_to_mask = conv_pair(quarter, 24, 1, 'instance')
        self.start_mask = GuidedMask(24, self.features.guide, 'instance')
        self.add_context()

    def add_context(self) -> None:
        """Make the parts that are simpler in the real-time network."""
        self.volume_stem = ConvBlock(
            _GROUPS, _GROUPS, activation=nn.LeakyReLU(inplace=True), dims=3
        )
        self.volume_attention = FeatureAttention(_GROUPS, self.features.channels[0])
        self.context = ContextEncoder((1, 1, 2, 2), len(self.gru_names), 'batch', self.hidden)

    def forward(
        self,
        left: Tensor,
        right: Tensor,
        iterations: int | None = None,
        confidence: bool = False,
    ) -> Prediction:
        """See `StereoNetwork`; in train mode the first prediction is the first disparity."""
        self.check_images(left, right)
        left, right = scale_to_unit(left), scale_to_unit(right)
        context, features, guide = self.encode(left)
        right = self.features(right)[0][0]
        descriptors = self.descriptor(features[0]), self.descriptor(right)
        del left, right  # frees memory that the following steps need
        disparity, pyramids = self.match(descriptors, features)
        states, contexts = self.start(context)
        predictions = []
        if self.training:
            logits = self.start_mask(self.start_to_mask(features[0]), guide)
            predictions.append(convex_upsample(disparity.unsqueeze(1), logits, _FACTOR))
        del context, features, descriptors

        for _ in self.steps(iterations):
            disparity = disparity.detach()
            states = self.update(states, contexts, self.look_up(pyramids, disparity))
            step = self.disparity_head(states[0])[:, 0]
            disparity = disparity + step
            if self.training:
                predictions.append(self.upsample(disparity, states[0], guide))

        if self.training:
            return predictions
        result = self.upsample(disparity, states[0], guide)
        if confidence:
            return result, residual_confidence(step.unsqueeze(1), _FACTOR)
        return result

    def encode(self, left: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """Encode an image in -1..1: input of `start` (N, 128, h, w), features and guide (3.1).

        The context comes first, because its full-size maps are the largest of all.
        """
        return self.context.trunk(left), *self.features(left)

    def start(self, context: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Make states and contexts of the GRUs, finest first (3.3)."""
        return self.context(context)

    def match(
        self, descriptors: tuple[Tensor, Tensor], features: list[Tensor]
    ) -> tuple[Tensor, list[list[Tensor]]]:
        """Compute the first disparity (N, h, w) and the volumes for `look_up` (3.2).

        Args:
            descriptors: descriptors of the left and the right image, (N, 96, h, w).
            features: features of the left image, finest first.
        """
        volume = correlation_volume(*descriptors, self.disparities, _GROUPS)
        volume = self.aggregate(volume, features)
        disparity = soft_argmin(self.classifier(volume).squeeze(1).float()).squeeze(1)
        return disparity, self.pyramids(volume, *descriptors)

    def aggregate(self, volume: Tensor, features: list[Tensor]) -> Tensor:
        """Turn the correlation volume (N, 8, D, h, w) into the geometry encoding volume (3.2)."""
        volume = self.volume_attention(self.volume_stem(volume), features[0])
        return self.hourglass(volume, features[1:])

    def pyramids(self, geometry: Tensor, left: Tensor, right: Tensor) -> list[list[Tensor]]:
        """Make pyramids of the geometry encoding volume and the all-pairs correlation (3.2)."""
        return [volume_pyramid(geometry, LEVELS), correlation_pyramid(left, right, LEVELS)]

    def look_up(self, pyramids: list[list[Tensor]], disparity: Tensor) -> Tensor:
        """Compute motion features (N, hidden, h, w) around a disparity (N, h, w)."""
        samples = self.sample(pyramids, disparity).flatten(-2)
        return self.motion(samples.permute(0, 3, 1, 2), disparity[..., None].permute(0, 3, 1, 2))

    def sample(self, pyramids: list[list[Tensor]], disparity: Tensor) -> Tensor:
        """Sample the volumes around a disparity (N, h, w): (N, h, w, levels, samples)."""
        geometry, correlation = pyramids
        return sample_volumes(geometry, correlation, disparity, RADIUS)

    def upsample(self, disparity: Tensor, state: Tensor, guide: Tensor) -> Tensor:
        """Upsample the disparity (N, h, w) to full size with the state and the guide (3.4)."""
        logits = self.mask(self.to_mask(state), guide)
        return convex_upsample(disparity.unsqueeze(1), logits, _FACTOR)

    def official_sources(self) -> dict[str, Source]:
        """Tell, for each of our entries, which official entries it comes from."""
        sources = super().official_sources()
        for name in sources:
            if name.startswith('features.encoder.'):
                sources[name] = Source((substitute(name, _ENCODER_RULES),))
        for level, official in enumerate(self.gru_names):
            sources |= gru_sources(f'update.grus.{level}', f'update_block.{official}', self.hidden)
        return sources
