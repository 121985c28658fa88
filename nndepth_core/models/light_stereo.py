"""LightStereo: 2-D cost aggregation whose channels are the disparities.

Guo et al., "LightStereo: Channel Boost Is All You Need for Efficient 2D Cost Aggregation",
ICRA 2025, arXiv 2406.19833.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nndepth_core.blocks.conv import ConvBlock, conv_pair
from nndepth_core.blocks.cost_volume import correlation_volume, peak_mass, soft_argmin
from nndepth_core.blocks.inverted_residual import InvertedResidual
from nndepth_core.blocks.norm import ImageNetNorm, InstanceNorm
from nndepth_core.blocks.upsample import convex_upsample, split_fine
from nndepth_core.encoders.efficientnet_v2 import EfficientNetV2
from nndepth_core.encoders.mobilenet_v2 import MobileNetV2
from nndepth_core.models.base import Prediction, Source, StereoNetwork, substitute
from nndepth_core.spec import ModelSpec

_BINS = 48
"""Number of disparities at quarter resolution; they are the channels of the aggregation."""
_ENCODERS: dict[str, type[MobileNetV2 | EfficientNetV2]] = {
    'mobilenet_v2': MobileNetV2,
    'efficientnet_v2': EfficientNetV2,
}


class LightStereo(StereoNetwork):
    """Features, correlation volume, 2-D aggregation, soft-argmin, convex upsampling.

    Args:
        encoder: 'mobilenet_v2' or 'efficientnet_v2'.
        blocks: inverted residuals of the aggregation at 1/4, 1/8 and 1/16.
        expansion: their channel boost, which is the inner width divided by the outer width.
    """

    spec = ModelSpec(
        'light_stereo',
        confidence='softmax_peak',
        multiple=32,
        placement='top_right',
        minimum=(32, 32),
    )
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        's': {'encoder': 'mobilenet_v2', 'blocks': (1, 2, 4), 'expansion': 4},
        'm': {'encoder': 'mobilenet_v2', 'blocks': (4, 8, 16), 'expansion': 4},
        'l': {'encoder': 'mobilenet_v2', 'blocks': (8, 16, 32), 'expansion': 8},
        'h': {'encoder': 'efficientnet_v2', 'blocks': (8, 16, 32), 'expansion': 8},
    }

    official_rules = (
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
    official_aliases = ((r'^neck\.', 'backbone.'),)  # the layout of the StereoAnything weights

    def __init__(self, encoder: str, blocks: Sequence[int], expansion: int) -> None:
        super().__init__()
        self.normalize = ImageNetNorm()
        self.encoder = _ENCODERS[encoder]()
        widths = self.encoder.channels
        self.pyramid = FeaturePyramid(widths)
        self.aggregation = Aggregation(widths[:3], blocks, expansion)
        self.guide_quarter = conv_pair(widths[0], 24, 1, 'instance')
        self.guide_half = conv_pair(3, 16, 2, 'batch')
        self.join_guides = UpAndJoin(24, 16)
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

        matching, eighth, sixteenth = self.pyramid(self.encoder(torch.cat((left, right))))
        of_left, of_right = matching.chunk(2)
        guides = of_left, eighth.chunk(2)[0], sixteenth.chunk(2)[0]
        volume = correlation_volume(of_left, of_right, _BINS).squeeze(1)
        logits = self.aggregation(volume, guides)
        coarse = soft_argmin(logits)

        guide = self.join_guides(self.guide_quarter(of_left), self.guide_half(left))
        weights = split_fine(self.to_weights(guide), 4)
        disparity = convex_upsample(coarse, weights, 4)

        if self.training:
            return [F.interpolate(4 * coarse, scale_factor=4.0, mode='bilinear'), disparity]
        if confidence:
            return disparity, F.interpolate(peak_mass(logits, coarse), scale_factor=4.0)
        return disparity

    def official_sources(self) -> dict[str, Source]:
        """Tell which official entries each of ours comes from; encoders have their own rules."""
        rules = (*self.encoder.official_rules, *self.official_rules)
        return {name: Source((substitute(name, rules),)) for name in self.state_dict()}


class FeaturePyramid(nn.Module):
    """Upsamples coarse features to 1/4, where an instance norm makes the matching features.

    Args:
        widths: channels at 1/4, 1/8, 1/16 and 1/32.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        quarter, eighth, sixteenth, coarsest = widths
        self.to_sixteenth = UpAndJoin(coarsest, sixteenth)
        self.to_eighth = UpAndJoin(sixteenth, eighth)
        self.to_quarter = UpAndJoin(eighth, quarter)
        self.to_matching = nn.Sequential(
            nn.Conv2d(quarter, quarter, 3, padding=1, bias=False, padding_mode='replicate'),
            InstanceNorm(),
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Map the encoder's four maps to those at 1/4, 1/8 and 1/16, of the same widths."""
        quarter, eighth, sixteenth, coarsest = maps
        sixteenth = self.to_sixteenth(coarsest, sixteenth)
        eighth = self.to_eighth(sixteenth, eighth)
        return self.to_matching(self.to_quarter(eighth, quarter)), eighth, sixteenth


class UpAndJoin(nn.Module):
    """Doubles the size of a coarse map and merges it with a finer one.

    Args:
        coarse: channels of the coarse map.
        fine: channels of the finer map and of the result.
    """

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        leaky = nn.LeakyReLU(0.2, inplace=True)
        self.up = ConvBlock(coarse, fine, 4, 2, activation=leaky, transposed=True)
        self.join = ConvBlock(2 * fine, fine, activation=leaky)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Map (N, coarse, h, w) and (N, fine, 2h, 2w) to (N, fine, 2h, 2w)."""
        return self.join(torch.cat((fine, self.up(coarse)), 1))


class Aggregation(nn.Module):
    """Hourglass of inverted residuals over the volume, guided by the left features.

    Args:
        guides: channels of the left features at 1/4, 1/8 and 1/16.
        blocks: inverted residuals at each of these scales.
        expansion: expansion of the inverted residuals.
    """

    def __init__(self, guides: Sequence[int], blocks: Sequence[int], expansion: int) -> None:
        super().__init__()
        widths = (_BINS, 2 * _BINS, 4 * _BINS)

        def block(inputs: int, outputs: int, stride: int = 1) -> InvertedResidual:
            return InvertedResidual(inputs, outputs, stride, expansion)

        self.shrink = nn.ModuleList(
            [nn.Identity(), block(widths[0], widths[1], 2), block(widths[1], widths[2], 2)]
        )
        self.refine = nn.ModuleList(
            nn.Sequential(*(block(width, width) for _ in range(count)))
            for width, count in zip(widths, (blocks[0], blocks[1] - 1, blocks[2] - 1), strict=True)
        )
        self.attention = nn.ModuleList(map(MultiScaleAttention, guides, widths))
        self.skip = nn.ModuleList(block(width, width) for width in widths[:2])
        self.up = nn.ModuleList(
            ConvBlock(2 * width, width, 3, 2, transposed=True) for width in widths[:2]
        )

    def forward(self, volume: Tensor, guides: Sequence[Tensor]) -> Tensor:
        """Map the volume (N, 48, H / 4, W / 4) to softmax logits of the same shape."""
        scales = []
        for shrink, refine, attention, guide in zip(
            self.shrink, self.refine, self.attention, guides, strict=True
        ):
            volume = refine(shrink(volume)) * attention(guide)
            scales.append(volume)
        quarter, eighth, sixteenth = scales
        eighth = torch.relu(self.up[1](sixteenth) + self.skip[1](eighth))
        return torch.relu(self.up[0](eighth) + self.skip[0](quarter))


class MultiScaleAttention(nn.Module):
    """Multi-scale convolutional attention: weights for the volume from the left features.

    Pairs of long thin depthwise kernels, of three lengths, cover a large area at low cost.

    Args:
        inputs: channels of the features.
        outputs: channels of the volume.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(inputs, outputs, 1)
        self.strips = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(outputs, outputs, (1, n), padding=(0, n // 2), groups=outputs),
                nn.Conv2d(outputs, outputs, (n, 1), padding=(n // 2, 0), groups=outputs),
            )
            for n in (7, 11, 21)
        )
        self.leave = nn.Conv2d(outputs, outputs, 1)

    def forward(self, guide: Tensor) -> Tensor:
        """Map features (N, inputs, h, w) to factors (N, outputs, h, w) of any size and sign."""
        x = self.enter(guide)
        return self.leave(x + sum(strip(x) for strip in self.strips))
