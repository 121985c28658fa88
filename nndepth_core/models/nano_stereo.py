"""NanoStereo: this project's own small network, the default model.

A small residual pyramid gives features. The volumes hold cosines of feature groups at 1/4 and 1/8
of the size. A 3-D hourglass, whose channels are gated by the left features (as in IGEV-Stereo,
CVPR 2023, section 3.2), aggregates them, and soft-argmin around the strongest disparity follows. A
refinement at 1/2, which searches a few pixels to both sides of this disparity, makes it precise.
The variant `fine` then looks at both images again at twice their size, near what it found; `small`
looks at them at half their size alone. All variants have the same weights. Each upsampling is a
convex combination (RAFT, ECCV 2020, section 3.3). Convolutions are dense, because CPUs run these
closer to their peak than depthwise ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nndepth_core.blocks.conv import conv_relu
from nndepth_core.blocks.cost_volume import (
    correlation_planes,
    local_correlation,
    near_peak,
    peak_mass,
    soft_argmin,
)
from nndepth_core.blocks.planes import PlaneBlock, PlaneOut, PlaneUp
from nndepth_core.blocks.upsample import (
    combine,
    convex_upsample_coarse,
    neighbours,
    pixel_shuffle,
    softmax_mean,
)
from nndepth_core.encoders.pyramid import Pyramid
from nndepth_core.models.base import Prediction, StereoNetwork, scale_to_unit
from nndepth_core.models.declared import NANO_STEREO
from nndepth_core.spec import ModelSpec

_COARSE = 4
"""Pixels of the image that a pixel of the volume stands for."""
_GROUPS = 16, 8
"""Channels of a group, at 1/4 and at 1/8; the volume holds the cosine of each group separately."""
_NARROW = 16
"""Channels of matching features that see only a few pixels around, which thin objects need."""
_SHARPNESS = 16.0
"""The factor that brings cosines, which lie in -1..1, to the size of activations."""
_LEAST_CONTRAST = 2.0
"""Keeps the noise of plain areas from being amplified; in the unit of 0..255."""
_PEAK = 2
"""The range of soft-argmin around the strongest disparity, in pixels at 1/4."""
_HALF = 16
"""Channels of the features at 1/2."""
_RADIUS = 3
"""The range of the refinement to both sides, in pixels at 1/2."""
_STEPS = 2 * _RADIUS + 1
_JOINED = 48
"""Channels that the refinement joins; runtimes are fast at multiples of 16."""
_NEAR = 1.0
"""How far from the first look, in pixels at 1/4, the second one may find a match at no cost."""
_TOO_SURE = 0.35
"""What the confidence of a look at half the size has too much of, in logits, since it speaks of
its own pixels; measured on rendered pairs."""


class Estimate(NamedTuple):
    """All outputs of the network; training needs more of them than inference.

    Attributes:
        logits: (N, bins, H / 4, W / 4), logits of the disparities; 48 bins are 188 px.
        coarse: (N, 1, H / 4, W / 4), disparity in pixels at 1/4.
        half: (N, 1, H / 2, W / 2), the same upsampled, in pixels at 1/2.
        confidence_logits: (N, 1, H, W), logit of the confidence.
        disparity: (N, 1, H, W), in pixels.
    """

    logits: Tensor
    coarse: Tensor
    half: Tensor
    confidence_logits: Tensor
    disparity: Tensor


class NanoStereo(StereoNetwork):
    """Pyramid, cosine volume, hourglass, soft-argmin, refinement.

    Args:
        features: channels of the pyramid at 1/4, 1/8, 1/16 and 1/32.
        volume: channels of the hourglass at 1/8, 1/16 and 1/32.
        looks: the sizes at which to look at the images, relative to their own, out of 0.5, 1 and 2
            and in this order. All looks share their weights; one at 2 needs another before it.
        max_disparity: the range of disparities in pixels, a multiple of 64. All disparities share
            their weights, so that any range goes with any weights.

    Raises:
        ValueError: looks or max_disparity are none of `choices`.
    """

    spec = ModelSpec('nano_stereo', confidence='head', placement='top_right', refined=True)
    variants = NANO_STEREO.variants
    choices = NANO_STEREO.choices

    official_rules = (
        (r'^refinement\.confidence_head', 'second_look.certainty'),
        (r'^refinement', 'second_look'),
    )
    """The names in its first published weights."""

    def __init__(
        self,
        features: Sequence[int] = (32, 48, 64, 80),
        volume: Sequence[int] = (16, 32, 48),
        looks: Sequence[float] = (1,),
        max_disparity: int = 192,
    ) -> None:
        super().__init__()
        self.check_ranges({'looks': looks, 'max_disparity': max_disparity})
        self.looks, self.max_disparity = tuple(looks), max_disparity
        least = 32 * math.ceil(1 / looks[0])
        # measured, less a third; volumes of the look at twice the size are eight times as large
        cost = 10 if 2 in looks else max(looks) ** 2
        self.specify(
            value_range=(0.0, float(max_disparity)),
            bytes_per_pixel=int(150 * max_disparity / 192 * cost),
            multiple=least,
            minimum=(least, least),
        )
        self.pyramid = Pyramid(3 + 1, _HALF, features)
        self.to_matching = nn.Conv2d(features[0], features[0], 1)
        self.to_narrow = nn.Conv2d(features[0], _NARROW, 1)
        self.narrow_weight = nn.Parameter(torch.tensor(0.3))
        self.to_coarse_matching = nn.Conv2d(features[1], features[1], 1)
        groups = (features[0] + _NARROW) // _GROUPS[0], features[1] // _GROUPS[1]
        self.hourglass = Hourglass(groups, volume, features)
        joined = features[0] + 2 * _PEAK + 2
        self.to_weights = nn.Sequential(conv_relu(joined, 32), nn.Conv2d(32, 9 * 4, 1))
        self.refinement = Refinement(features[0], joined)

    def forward(
        self,
        left: Tensor,
        right: Tensor,
        iterations: int | None = None,
        confidence: bool = False,
    ) -> Prediction:
        """See `StereoNetwork`; in train mode it returns the `Estimate` of each look, in parts."""
        self.check_images(left, right)
        looks: list[Estimate] = []
        for scale in self.looks:
            images = resized(left, scale), resized(right, scale)
            near = None
            if scale > 1:  # only what is near the look before, brought to 1/4 of these images
                near = resized(looks[-1].disparity.detach(), 0.5) * (scale / _COARSE)
            looks.append(self.estimate(*images, self.bins(scale), near))
        if self.training:
            return [part for look in looks for part in look]
        disparity, confidence_logits = join_looks(looks, self.looks)
        if confidence:
            return disparity, confidence_logits.sigmoid()
        return disparity

    def bins(self, scale: float) -> int:
        """How many disparities a look tries that sees images at `scale` times their size."""
        return 16 * math.ceil(self.max_disparity * scale / (16 * _COARSE))

    def estimate(
        self, left: Tensor, right: Tensor, bins: int, near: Tensor | None = None
    ) -> Estimate:
        """Compute all outputs for a pair.

        Args:
            left: images (N, 3, H, W) in 0..255.
            right: images of the same shape.
            bins: the number of disparities, a multiple of 16.
            near: disparities (N, 1, H / 4, W / 4), in pixels at 1/4, at which the match is
                probably to be found; None if nothing is known of it.
        """
        images = torch.cat((left, right))
        seen = torch.cat((scale_to_unit(images), local_contrast(images)), 1)
        half, narrow, *maps = self.pyramid(seen)
        guides = [level.chunk(2)[0] for level in maps]
        volumes = self.match(narrow, maps[0], bins), self.match_coarse(maps[1], bins // 2)
        logits = self.hourglass(*volumes, guides)
        if near is not None:
            every = torch.arange(bins, device=near.device).view(1, -1, 1, 1)
            logits = logits - ((every - near).abs() - _NEAR).relu()

        places, best = near_peak(logits, _PEAK)
        coarse = softmax_mean(best, places.to(best.dtype), 1).unsqueeze(1)
        peak = best[:, _PEAK : _PEAK + 1]
        # the logarithm of the probability; logsumexp is slow in ONNX Runtime
        doubt = best - peak - (logits - peak).exp().sum(1, keepdim=True).log()
        # the factors bring both to the size of activations
        joined = torch.cat((guides[0], doubt.clamp(min=-9) / 3, coarse / 16), 1)
        enlarged = convex_upsample_coarse(coarse, self.to_weights(joined).float(), 2)
        disparity, confidence_logits = self.refinement(half, maps[0], joined, enlarged)
        return Estimate(logits, coarse, enlarged, confidence_logits, disparity)

    def match(self, narrow: Tensor, wide: Tensor, bins: int) -> Tensor:
        """Compare both images at 1/4.

        Args:
            narrow: features (2N, C, h, w) that see only a few pixels around.
            wide: features (2N, C, h, w) that see a large area.
            bins: the number of disparities.

        Returns:
            (N, bins, groups, h, w); the sum over the groups is high where pixels look alike.
        """
        wide = unit_vectors(self.to_matching(wide), 1)
        narrow = unit_vectors(self.to_narrow(narrow), 1)
        return _volume(torch.cat((wide, self.narrow_weight * narrow), 1), bins, _GROUPS[0])

    def match_coarse(self, features: Tensor, bins: int) -> Tensor:
        """Compare both images at 1/8.

        Args:
            features: (2N, C, h, w).
            bins: the number of disparities.

        Returns:
            (N, bins, groups, h, w), see `match`.
        """
        features = unit_vectors(self.to_coarse_matching(features), 1)
        return _volume(features, bins, _GROUPS[1])


def resized(x: Tensor, scale: float) -> Tensor:
    """Bring images or maps (N, C, H, W) to half their size, or to twice their size."""
    if scale == 1:
        return x
    return F.avg_pool2d(x, 2) if scale < 1 else F.interpolate(x, scale_factor=2.0, mode='bilinear')


def join_looks(looks: Sequence[Estimate], scales: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Join what was found in images of several sizes.

    Args:
        looks: the estimates.
        scales: the factors of the size of the images that they are for.

    Returns:
        Disparity (N, 1, H, W) in pixels; logit of its confidence, (N, 1, H, W). Both are means of
        the looks, weighted by the odds of being right.
    """
    (disparity, logits), *others = map(_in_pixels_given, looks, scales)
    for other, other_logits in others:
        weight = (other_logits - logits).sigmoid()
        disparity = torch.lerp(disparity, other, weight)
        logits = torch.lerp(logits, other_logits, weight)
    return disparity, logits


def _in_pixels_given(look: Estimate, scale: float) -> tuple[Tensor, Tensor]:
    """Bring disparity and logit of the confidence to the size of the images that were given."""
    if scale == 1:
        return look.disparity, look.confidence_logits
    logits = resized(look.confidence_logits, 1 / scale)
    if scale < 1:
        logits = logits - _TOO_SURE
    return resized(look.disparity, 1 / scale) / scale, logits


def _volume(features: Tensor, bins: int, group: int) -> Tensor:
    """Compute group-wise correlations (N, bins, groups, h, w) of features (2N, C, h, w)."""
    left, right = features.chunk(2)
    left = left * (group * _SHARPNESS)
    return correlation_planes(left, right, bins, left.shape[1] // group)


def unit_vectors(x: Tensor, dim: int) -> Tensor:
    """Divide vectors along a dimension by their length, in float32."""
    x = x.float()
    return x / ((x * x).sum(dim, keepdim=True) + 1e-6).sqrt()


def local_contrast(images: Tensor) -> Tensor:
    """Brightness relative to its surroundings, which shows texture in plain and in dark areas.

    Args:
        images: (N, 3, H, W) in 0..255, H and W multiples of 16.

    Returns:
        (N, 1, H, W): the difference from the local mean, divided by the local standard deviation;
        both are taken over about 48x48 pixels.
    """
    red, green, blue = images.split(1, 1)
    brightness = (red + green + blue) / 3
    moments = [F.avg_pool2d(x, 16) for x in (brightness, brightness * brightness)]
    mean, square = (F.avg_pool2d(x, 3, 1, 1, count_include_pad=False) for x in moments)
    deviation = (square - mean * mean).clamp(min=0).sqrt()
    around = F.interpolate(torch.cat((mean, deviation), 1), scale_factor=16.0, mode='bilinear')
    mean, deviation = around.split(1, 1)
    return (brightness - mean) / (deviation + _LEAST_CONTRAST)


class Hourglass(nn.Module):
    """Aggregates volumes over three scales; left features gate their channels.

    Args:
        groups: groups of the volumes at 1/4 and at 1/8.
        widths: channels of the aggregated volumes at 1/8, 1/16 and 1/32.
        guides: channels of the features at 1/4 to 1/32.
    """

    def __init__(
        self, groups: tuple[int, int], widths: Sequence[int], guides: Sequence[int]
    ) -> None:
        super().__init__()
        self.enter = nn.ModuleList(
            PlaneBlock(group, widths[0], stride)
            for group, stride in zip(groups, (2, 1), strict=True)
        )
        self.mix = nn.ModuleList(PlaneBlock(width, width, shifted=True) for width in widths)
        self.gate = nn.ModuleList(map(_project, guides, (1, *widths)))
        self.down = nn.ModuleList(PlaneBlock(*pair, 2) for pair in pairwise(widths))
        self.up = nn.ModuleList(PlaneUp(coarse, fine) for fine, coarse in pairwise(widths))
        self.refine = nn.ModuleList(
            PlaneBlock(width, width, shifted=True) for width in widths[:-1]
        )
        self.leave = PlaneOut(widths[0])

    def forward(self, quarter: Tensor, eighth: Tensor, guides: Sequence[Tensor]) -> Tensor:
        """Map volumes (N, bins, C, h, w) and (N, bins / 2, C', h / 2, w / 2) to logits.

        Returns:
            (N, bins, h, w).
        """
        alone, *gates = (
            gate(guide).sigmoid() for gate, guide in zip(self.gate, guides, strict=True)
        )
        volume = self.enter[0](quarter) + self.enter[1](eighth)
        scales = []
        for level, gate in enumerate(gates):
            if level:
                volume = self.down[level - 1](volume)
            volume = self.mix[level](volume) * gate.unsqueeze(1)
            scales.append(volume)
        for level in (1, 0):
            volume = self.refine[level](scales[level] + self.up[level](volume))
        return quarter.sum(2) * alone + self.leave(volume).float()


class Refinement(nn.Module):
    """Matches again at 1/2, close to the disparity found before, and upsamples the result.

    Args:
        features: channels of the pyramid at 1/4.
        context: channels of the aggregated volume and the left features at 1/4.
    """

    def __init__(self, features: int, context: int) -> None:
        super().__init__()
        self.from_quarter = _project(features, _HALF)
        self.to_matching = nn.Conv2d(_HALF, _HALF, 3, padding=1)
        self.context = _project(context, _JOINED - _HALF - _STEPS - 1)
        self.join = nn.Sequential(conv_relu(_JOINED, 32), conv_relu(32, 32))
        self.to_steps_and_weights = nn.Conv2d(32, 1 + _STEPS + 9 * 4, 1)
        self.confidence_head = ConfidenceHead()

    def forward(
        self, half: Tensor, quarter: Tensor, context: Tensor, found: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Refine a disparity.

        Args:
            half: features (2N, 16, H / 2, W / 2); those of the left images come first.
            quarter: features (2N, C, H / 4, W / 4) in the same order.
            context: (N, context, H / 4, W / 4).
            found: the disparity before (N, 1, H / 2, W / 2), in pixels at 1/2.

        Returns:
            Disparity (N, 1, H, W) in pixels; logit of its confidence, (N, 1, H, W).
        """
        wider = F.interpolate(self.from_quarter(quarter), scale_factor=2.0)
        matching = unit_vectors(self.to_matching(half + wider), 1)
        whole = found.detach().round()
        left, right = matching.permute(0, 2, 3, 1).chunk(2)
        near = _SHARPNESS * local_correlation(left, right, whole[:, 0].long(), _RADIUS)
        inputs = (
            near.to(half.dtype),
            (found - whole).to(half.dtype),
            half.chunk(2)[0],
            F.interpolate(self.context(context), scale_factor=2.0),
        )
        joined = self.join(torch.cat(inputs, 1))
        answers = self.to_steps_and_weights(joined).float()
        trust, steps, *weights = answers.split((1, _STEPS, *[4] * 9), 1)
        logits = near * trust.exp() + steps
        step = soft_argmin(logits)
        matched = torch.cat((peak_mass(logits, step), near), 1).to(joined.dtype)
        confidence_logits = self.confidence_head(joined.detach(), matched.detach())
        fine = combine(weights, neighbours(2 * (whole + step - _RADIUS)))  # each has 2x2 pixels
        return pixel_shuffle(fine, 2), confidence_logits


class ConfidenceHead(nn.Module):
    """Predicts how certain the refinement is."""

    def __init__(self) -> None:
        super().__init__()
        self.from_joined = _project(32, 16)
        self.from_matching = _project(1 + _STEPS, 16)
        self.to_logits = _project(16, 4)

    def forward(self, joined: Tensor, matched: Tensor) -> Tensor:
        """Map (N, 32, h, w) and (N, 1 + steps, h, w) to logits (N, 1, 2 h, 2 w)."""
        hidden = (self.from_joined(joined) + self.from_matching(matched)).relu()
        return pixel_shuffle(self.to_logits(hidden).float(), 2)


def _project(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1)
