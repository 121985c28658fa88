"""NanoStereo: this project's own small network, the default model.

Features of a small residual pyramid, a cosine correlation volume at a quarter of the size whose
bins are the channels of a 2-D hourglass (as in LightStereo, arXiv 2406.19833), soft-argmax, and
convex upsampling (RAFT, ECCV 2020, section 3.3). Convolutions are dense: on CPUs these run
closer to the machine's peak than depthwise ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nndepth_core.blocks.conv import ConvBlock, ResidualBlock
from nndepth_core.blocks.cost_volume import correlation_volume, expected_disparity, peak_mass
from nndepth_core.blocks.upsample import convex_upsample_coarse
from nndepth_core.models.base import Padding, Prediction, StereoNetwork, scale_to_unit

_BINS = 48
"""Disparities at quarter resolution, 0 to 188 px at full resolution."""
_SHARPNESS = 16.0
"""Brings cosines, which lie in -1..1, to the size of activations."""


class Estimate(NamedTuple):
    """All that the network finds out; training needs more of it than inference.

    Attributes:
        logits: (N, 48, H / 4, W / 4), softmax over them weighs the disparities.
        coarse: (N, 1, H / 4, W / 4) disparity, quarter pixels.
        certainty: (N, 1, H / 4, W / 4), logit of the confidence.
        disparity: (N, 1, H, W) pixels.
    """

    logits: Tensor
    coarse: Tensor
    certainty: Tensor
    disparity: Tensor


class NanoStereo(StereoNetwork):
    """Pyramid, cosine volume, hourglass, soft-argmax, convex upsampling.

    Args:
        features: channels of the pyramid at 1/4, 1/8, 1/16 and 1/32.
        volume: channels of the hourglass at the same scales.
    """

    name = 'nano_stereo'
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        'base': {'features': (32, 48, 64, 80), 'volume': (48, 72, 104, 128)},
    }
    padding = Padding(32, 'top_right')
    confidence = 'head'

    def __init__(self, features: Sequence[int], volume: Sequence[int]) -> None:
        super().__init__()
        self.pyramid = Pyramid(features)
        self.to_matching = nn.Conv2d(features[0], features[0], 1)
        self.hourglass = Hourglass(volume, features)
        self.to_logits = nn.Conv2d(volume[0], _BINS, 3, padding=1)
        joined = features[0] + volume[0]
        self.to_weights = nn.Sequential(_conv(joined, 64), nn.Conv2d(64, 9 * 16, 1))
        self.to_certainty = nn.Sequential(_conv(joined + 1, 16), nn.Conv2d(16, 1, 1))

    def forward(
        self,
        left: Tensor,
        right: Tensor,
        iterations: int | None = None,
        confidence: bool = False,
    ) -> Prediction:
        """See `StereoNetwork`; in train mode all parts of an `Estimate`, for `NanoLoss`."""
        found = self.estimate(left, right)
        if self.training:
            return list(found)
        if confidence:
            coarse = found.certainty.sigmoid()
            return found.disparity, F.interpolate(coarse, scale_factor=4.0, mode='bilinear')
        return found.disparity

    def estimate(self, left: Tensor, right: Tensor) -> Estimate:
        """Everything the network says about a pair of batches (N, 3, H, W) in 0..255."""
        self.check_images(left, right)
        maps = self.pyramid(scale_to_unit(torch.cat((left, right))))
        matching = F.normalize(self.to_matching(maps[0]).float(), dim=1)
        of_left, of_right = matching.chunk(2)
        channels = matching.shape[1]
        volume = correlation_volume(of_left, of_right, _BINS).squeeze(1) * (channels * _SHARPNESS)

        guides = [level.chunk(2)[0] for level in maps]
        aggregated = self.hourglass(volume, guides)
        logits = volume + self.to_logits(aggregated).float()  # corrects what matching alone says
        coarse = expected_disparity(logits)
        joined = torch.cat((guides[0], aggregated), 1)
        weights = self.to_weights(joined).float()
        disparity = convex_upsample_coarse(coarse, weights, 4)
        evidence = torch.cat((joined, peak_mass(logits, coarse).to(joined.dtype)), 1)
        certainty = self.to_certainty(evidence.detach()).float()
        return Estimate(logits, coarse, certainty, disparity)


class Pyramid(nn.Module):
    """Residual encoder down to 1/32, and back up to 1/4 with what the coarse scales know.

    Args:
        widths: channels at 1/4, 1/8, 1/16 and 1/32.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv(3, 16, 2), _conv(16, widths[0], 2))
        self.stages = nn.ModuleList([ResidualBlock(widths[0], widths[0])])
        for fine, coarse in pairwise(widths):
            down = ResidualBlock(fine, coarse, 2)
            self.stages.append(nn.Sequential(down, ResidualBlock(coarse, coarse)))
        self.lateral = nn.ModuleList(
            nn.Conv2d(coarse, fine, 1) for fine, coarse in pairwise(widths)
        )
        self.smooth = nn.ModuleList(_conv(width, width) for width in widths[:-1])

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map images (N, 3, H, W) in -1..1 to features at 1/4, 1/8, 1/16 and 1/32."""
        maps = [self.stem(image)]
        maps[0] = self.stages[0](maps[0])
        for stage in self.stages[1:]:
            maps.append(stage(maps[-1]))
        for level in (2, 1, 0):
            coarse = F.interpolate(self.lateral[level](maps[level + 1]), scale_factor=2.0)
            maps[level] = self.smooth[level](maps[level] + coarse)
        return maps


class Hourglass(nn.Module):
    """Aggregates the volume over four scales, told by the left features what belongs together.

    Args:
        widths: channels at 1/4, 1/8, 1/16 and 1/32.
        guides: channels of the features at the same scales.
    """

    def __init__(self, widths: Sequence[int], guides: Sequence[int]) -> None:
        super().__init__()
        inputs = (_BINS, *widths)
        self.down = nn.ModuleList(
            ResidualBlock(before, width, 1 if level == 0 else 2)
            for level, (before, width) in enumerate(zip(inputs, widths, strict=False))
        )
        self.guide = nn.ModuleList(map(_project, guides, widths))
        self.up = nn.ModuleList(map(_project, widths[1:], widths))
        self.refine = nn.ModuleList(ResidualBlock(width, width) for width in widths[:-1])

    def forward(self, volume: Tensor, guides: Sequence[Tensor]) -> Tensor:
        """Map the volume (N, 48, h, w) and four guides to features (N, widths[0], h, w)."""
        scales = []
        for down, project, guide in zip(self.down, self.guide, guides, strict=True):
            volume = down(volume) + project(guide)
            scales.append(volume)
        for level in (2, 1, 0):
            coarse = F.interpolate(self.up[level](volume), scale_factor=2.0, mode='bilinear')
            volume = self.refine[level](scales[level] + coarse)
        return volume


def _conv(inputs: int, outputs: int, stride: int = 1) -> ConvBlock:
    return ConvBlock(inputs, outputs, 3, stride, activation=nn.ReLU(inplace=True))


def _project(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1)
