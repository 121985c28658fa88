"""Stereo by 2-D aggregation whose channels are the disparities, guided by the left features.

LightStereo (Guo et al., ICRA 2025, arXiv 2406.19833) and Lite Any Stereo are made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nndepth_core.blocks.conv import conv_pair
from nndepth_core.blocks.cost_volume import correlation_volume, peak_mass, soft_argmin
from nndepth_core.blocks.fpn import FeaturePyramid, UpAndJoin
from nndepth_core.blocks.guided_hourglass import GuidedHourglass
from nndepth_core.blocks.norm import ImageNetNorm
from nndepth_core.blocks.upsample import convex_upsample, split_fine
from nndepth_core.encoders.efficientnet_v2 import EfficientNetV2
from nndepth_core.encoders.fasternet import FasterNet
from nndepth_core.encoders.mobilenet_v2 import MobileNetV2
from nndepth_core.models.base import Prediction, Source, StereoNetwork, substitute

BINS = 48
"""Number of disparities at quarter resolution; they are the channels of the aggregation."""
FACTOR = 4
Encoder = MobileNetV2 | EfficientNetV2 | FasterNet

GUIDED_RULES = (
    (r'^encoder\.stages\.([0-2])', r'backbone.block\1'),
    (r'^encoder\.stages\.([34])', r'backbone.block3.\1'),
    (r'^encoder\.stages\.5', 'backbone.block4'),
    (r'^encoder', 'backbone'),
    (r'^pyramid\.to_sixteenth', 'backbone.fpn_layer4'),
    (r'^pyramid\.to_eighth', 'backbone.fpn_layer3'),
    (r'^pyramid\.to_quarter', 'backbone.fpn_layer2'),
    (r'^pyramid\.to_matching', 'backbone.out_conv.block'),
    (r'^aggregation\.shrink\.1', 'cost_agg.conv1'),
    (r'^aggregation\.shrink\.2', 'cost_agg.conv3'),
    (r'^aggregation\.refine\.0', 'cost_agg.conv0'),
    (r'^aggregation\.refine\.1', 'cost_agg.conv2'),
    (r'^aggregation\.refine\.2', 'cost_agg.conv4'),
    (r'^aggregation\.skip\.0', 'cost_agg.redir1'),
    (r'^aggregation\.skip\.1', 'cost_agg.redir2'),
    (r'^aggregation\.up\.0', 'cost_agg.conv6'),
    (r'^aggregation\.up\.1', 'cost_agg.conv5'),
    (r'^(cost_agg.*)\.expand', r'\1.pwconv'),
    (r'^(cost_agg.*)\.depthwise', r'\1.dwconv'),
    (r'^(cost_agg.*)\.project', r'\1.pwliner'),
    (r'^aggregation\.attention\.0', 'cost_agg.att0'),
    (r'^aggregation\.attention\.1', 'cost_agg.att2'),
    (r'^aggregation\.attention\.2', 'cost_agg.att4'),
    (r'\.enter', '.conv0'),
    (r'\.strips\.(\d)\.0', r'.conv\1_1'),
    (r'\.strips\.(\d)\.1', r'.conv\1_2'),
    (r'\.leave', '.conv3'),
    (r'^guide_quarter', 'refine_1'),
    (r'^guide_half', 'stem_2'),
    (r'^join_guides', 'refine_2'),
    (r'^to_weights', 'refine_3.block.0'),
    # convolution and norm are items 0 and 1 of a list, which some checkpoints name `block`
    (r'^(cost_agg.*)\.conv\.(?=\w+$)', r'\1.0.'),
    (r'^(cost_agg.*)\.norm\.', r'\1.1.'),
    (r'\.up\.', '.deconv.'),
    (r'\.join\.', '.conv.'),
    (r'^((?:stem|refine|backbone\.fpn)_.*)\.conv\.(?=\w+$)', r'\1.block.0.'),
    (r'^((?:stem|refine|backbone\.fpn)_.*)\.norm\.', r'\1.block.1.'),
)
"""Rules from the entries of a `GuidedStereo` to those of LightStereo, after the encoder's own."""


class GuidedStereo(StereoNetwork):
    """Features, correlation volume, 2-D aggregation, soft-argmin, convex upsampling.

    Args:
        encoder: gives the features.
        aggregation: maps the volume (N, 48, H / 4, W / 4) and the left features to logits.
        guide: channels of the guide of the upsampling at 1/4; 0 leaves the upsampling out.
        normalize: brings images from 0..255 to what the encoder expects; None takes the mean and
            deviation of ImageNet.
    """

    def __init__(
        self,
        encoder: Encoder,
        aggregation: GuidedHourglass,
        guide: int,
        normalize: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.normalize = ImageNetNorm() if normalize is None else normalize
        self.encoder = encoder
        self.pyramid = FeaturePyramid(encoder.channels)
        self.aggregation = aggregation
        if guide:
            self.guide_quarter = conv_pair(encoder.channels[0], guide, 1, 'instance')
            self.guide_half = conv_pair(3, 16, 2, 'batch')
            self.join_guides = UpAndJoin(guide, 16)
            self.to_weights = nn.ConvTranspose2d(16, 9, 4, 2, 1, bias=False)

    def forward(
        self,
        left: Tensor,
        right: Tensor,
        iterations: int | None = None,
        confidence: bool = False,
    ) -> Prediction:
        """See `StereoNetwork`; in train mode there are a coarse and a final prediction."""
        self.check_images(left, right)
        left, right = self.normalize(left), self.normalize(right)

        guides, of_right = self.features(left, right)
        logits = self.aggregation(self.match(guides[0], of_right), guides)
        coarse = soft_argmin(logits)
        disparity = self.upsample(coarse, guides[0], left)

        if self.training:
            return [resized(coarse), disparity]
        if confidence:
            return disparity, F.interpolate(peak_mass(logits, coarse), scale_factor=float(FACTOR))
        return disparity

    def features(self, left: Tensor, right: Tensor) -> tuple[Sequence[Tensor], Tensor]:
        """Encode normalised images: left features at 1/4, 1/8, 1/16, right features at 1/4."""
        matching, eighth, sixteenth = self.pyramid(self.encoder(torch.cat((left, right))))
        of_left, of_right = matching.chunk(2)
        return (of_left, eighth.chunk(2)[0], sixteenth.chunk(2)[0]), of_right

    def match(self, of_left: Tensor, of_right: Tensor) -> Tensor:
        """Compute the volume (N, 48, h, w) from features (N, C, h, w)."""
        return correlation_volume(of_left, of_right, BINS).squeeze(1)

    def upsample(self, coarse: Tensor, of_left: Tensor, left: Tensor) -> Tensor:
        """Upsample a disparity (N, 1, h, w) with the features and the normalised image."""
        guide = self.join_guides(self.guide_quarter(of_left), self.guide_half(left))
        weights = split_fine(self.to_weights(guide), FACTOR)
        return convex_upsample(coarse, weights, FACTOR)

    def official_sources(self) -> dict[str, Source]:
        """Tell which official entries each of ours comes from; encoders have their own rules."""
        rules = (*self.encoder.official_rules, *self.official_rules)
        return {name: Source((substitute(name, rules),)) for name in self.state_dict()}


def resized(coarse: Tensor) -> Tensor:
    """Bring a disparity (N, 1, h, w) in coarse pixels to full size by linear interpolation."""
    return F.interpolate(FACTOR * coarse, scale_factor=float(FACTOR), mode='bilinear')
