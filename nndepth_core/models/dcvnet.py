"""DCVNet: dilated cost volumes, filtered once by a 2-D U-Net; nothing is recurrent.

Jiang and Learned-Miller, "DCVNet: Dilated Cost Volume Networks for Fast Optical Flow", WACV 2023,
arXiv 2103.17271.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nndepth_core.blocks.sparse_correlation import dilated_correlation
from nndepth_core.blocks.upsample import convex_upsample_coarse, resize_like, softmax_mean
from nndepth_core.encoders.residual import ResidualEncoder
from nndepth_core.models.base import Prediction, StereoNetwork, scale_to_unit
from nndepth_core.spec import ModelSpec

Search = Literal['left', 'around']

_CONTEXT = 128
_WIDTHS = (96, 192)
"""Channels of the U-Net at 1/8, and at 1/16 and 1/32."""
_FACTOR = 8
"""Size of a pixel of the volumes, in pixels of the image."""
_HALF = 2
"""Size of a pixel of the finer features, in pixels of the image."""
_RATIO = _FACTOR // _HALF
_STEPS: dict[Search, tuple[range, range]] = {
    'left': (range(1), range(0, -9, -1)),
    'around': (range(-4, 5), range(-4, 5)),
}
"""Steps down and steps to the right that a volume holds, in its dilation."""


class DcvNet(StereoNetwork):
    """Features at 1/2 and 1/8, volumes of several dilations, filter, mean of the candidates.

    `flow` is the network of the paper, for optical flow. Without its vertical part it serves
    rectified pairs; `flow` of this class gives both parts. `stereo` is what becomes of it where
    only disparities are asked for, about which the paper says nothing. The choices are:

    - Candidates lie in the pixel's own row only, as the images are rectified.
    - They lie to the left only, since a match cannot be elsewhere. The nine candidates of a volume
      are 0 to 8 steps away, which doubles its reach.
    - There are four dilations at 1/8 and not six, for these reach 320 pixels. The steps of all
      five volumes are 2, 8, 16, 24 and 40 pixels.
    - The filter keeps its depth and widths; only layers from and to the candidates are smaller.

    Args:
        search: 'left' for nine candidates in the row of a pixel, 'around' for a window of 9x9.
        half_dilations: steps of the volumes of features at 1/2, in pixels of these.
        eighth_dilations: steps of the volumes of features at 1/8, in pixels of these.
    """

    spec = ModelSpec(
        'dcvnet',
        confidence='softmax_peak',
        multiple=_FACTOR,
        placement='centre',
        minimum=(16, 16),
    )
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        'stereo': {},
        'flow': {'search': 'around', 'eighth_dilations': (1, 2, 3, 5, 9, 16)},
    }

    official_rules = (
        (r'^encoder\.stem\.conv', 'encoder.encoder.encoder.0'),
        (r'^encoder\.stages\.0', 'encoder.encoder.encoder.3'),
        (r'^encoder\.stages\.1', 'encoder.encoder.encoder.4'),
        (r'^encoder\.stages\.2', 'encoder.encoder.encoder.5'),
        (r'\.first\.conv', '.residual_fn.0'),
        (r'\.second\.conv', '.residual_fn.3'),
        (r'\.shortcut\.conv', '.shortcut.0'),
        (r'^to_half', 'encoder.conv_stride2'),
        (r'^to_eighth', 'encoder.conv_stride8'),
        (r'^(stem|unet)', r'decoder.cost_volume_filter.\1'),
        (r'^to_logits', 'decoder.cost_volume_filter.flow_out'),
        (r'^to_mask', 'decoder.cost_volume_filter.up_out'),
        (r'\.(stem|unet\.\w+)\.2\.(?=\w+$)', r'.\1.3.'),
        (r'\.context\.pooled', '.conv3.3.conv1.1'),
        (r'\.context\.single', '.conv3.3.conv2.0'),
        (r'\.context\.dilated\.0', '.conv3.3.conv3.0'),
        (r'\.context\.dilated\.1', '.conv3.3.conv4.0'),
        (r'\.context\.dilated\.2', '.conv3.3.conv5.0'),
        (r'\.context\.join', '.conv3.3.bottleneck.0'),
    )
    official_unused = (r'cost_volume_list\.',)

    candidates: Tensor
    steps_of_candidates: Tensor

    def __init__(
        self,
        search: Search = 'left',
        half_dilations: Sequence[int] = (1,),
        eighth_dilations: Sequence[int] = (1, 2, 3, 5),
    ) -> None:
        super().__init__()
        self.search: Search = search
        self.half_dilations, self.eighth_dilations = half_dilations, eighth_dilations
        sizes = [_HALF * dilation for dilation in half_dilations]
        sizes += [_FACTOR * dilation for dilation in eighth_dilations]
        table, steps = list_candidates(search, sizes)
        groups, count = len(sizes), len(steps)
        self.register_buffer('candidates', table, persistent=False)
        self.register_buffer('steps_of_candidates', steps, persistent=False)
        reach = max(sizes) * max(map(abs, _STEPS[search][1]))
        self.specify(
            value_range=(0.0, float(reach)), bytes_per_pixel=550 if search == 'left' else 700
        )

        self.encoder = ResidualEncoder(
            (2, 1, 2, 2), 'instance', blocks=(1, 2, 2), activation=leaky(), activate_second=False
        )
        self.to_half = nn.Conv2d(64, 128, 1)
        self.to_eighth = nn.Conv2d(_CONTEXT, 256, 1)
        self.stem = nn.Sequential(
            nn.Conv2d(count, 2 * count, 3, padding=1, groups=groups),
            leaky(),
            nn.Conv2d(2 * count, count, 3, padding=1, groups=groups),
            leaky(),
        )
        self.unet = UNet(_CONTEXT + count)
        self.to_logits = nn.Conv2d(_WIDTHS[0], count, 3, padding=1)
        self.to_mask = nn.Conv2d(_WIDTHS[0], 9 * _FACTOR**2, 3, padding=1)

    def forward(
        self,
        left: Tensor,
        right: Tensor,
        iterations: int | None = None,
        confidence: bool = False,
    ) -> Prediction:
        """See `StereoNetwork`; in train mode there are the results before and after the U-Net.

        With several rows of candidates these have the vertical displacement as a second channel.
        """
        self.check_images(left, right)
        first, logits, mask = self.weigh(left, right)
        if self.training:
            start = self.average(first)
            start = F.interpolate(start, scale_factor=float(_FACTOR), mode='bilinear')
            return [start, upsample(self.average(logits), mask)]
        coarse = softmax_mean(logits, self.candidates[0], 1).unsqueeze(1)
        disparity = upsample(coarse, mask)
        if not confidence:
            return disparity
        close = (self.candidates[0] - coarse).abs() <= self.steps_of_candidates
        return disparity, resize_like(softmax_mean(logits, close, 1).unsqueeze(1), disparity)

    def flow(self, first: Tensor, second: Tensor) -> Tensor:
        """Estimate the optical flow between two images.

        Args:
            first: RGB (N, 3, H, W) in 0..255.
            second: the image to which the flow leads, of the same shape.

        Returns:
            Displacements to the right and down in pixels, (N, 2, H, W).

        Raises:
            ValueError: all candidates of this network lie in one row.
        """
        if len(self.candidates) == 1:
            raise ValueError('all candidates lie in one row; for flow take the variant flow')
        self.check_images(first, second)
        _, logits, mask = self.weigh(first, second)
        disparity, down = self.average(logits).split(1, 1)
        return upsample(torch.cat((-disparity, down), 1), mask)

    def average(self, logits: Tensor) -> Tensor:
        """Average the candidates under the softmax of logits (N, K, h, w): (N, 1 or 2, h, w)."""
        return softmax_mean(logits.unsqueeze(1), self.candidates, 2)

    def weigh(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Weigh the candidates of a pair in 0..255.

        Returns:
            Logits of the candidates before and after the U-Net, (N, K, h, w), and logits of the
            upsampling (N, 576, h, w), all at 1/8. The first two are float32: half precision
            would round the mean of candidates that are far apart.
        """
        shallow, deep = zip(*(self.encode(scale_to_unit(x)) for x in (left, right)), strict=True)
        halves = [self.to_half(x) for x in (shallow[0][:, :, ::_RATIO, ::_RATIO], shallow[1])]
        eighths = [self.to_eighth(x) for x in deep]
        first = self.stem(self.volumes(halves, eighths))
        features = self.unet(torch.cat((deep[0], first), 1))
        logits = first.float() + self.to_logits(features).float()
        return first.float(), logits, self.to_mask(features)

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Encode an image in -1..1: maps of 64 channels at 1/2 and of 128 channels at 1/8.

        The images go through the encoder one by one, which lowers the peak memory.
        """
        shallow = self.encoder.stages[0](self.encoder.stem(image))
        return shallow, self.encoder.stages[1:](shallow)

    def volumes(self, halves: Sequence[Tensor], eighths: Sequence[Tensor]) -> Tensor:
        """Compute the dilated cost volumes.

        Args:
            halves: finer features of the left image, (N, C, h, w), and of the right image at 1/2,
                (N, C, 4 h, 4 w). Those of the left image are needed at every fourth pixel only.
            eighths: features at 1/8 of the left and the right image, (N, D, h, w).

        Returns:
            (N, K, h, w) in the order of `candidates`.
        """
        kinds = ((halves, self.half_dilations, _RATIO), (eighths, self.eighth_dilations, 1))
        rows, columns = _STEPS[self.search]
        volumes = [
            dilated_correlation(left, right, rows, columns, dilation, stride)
            for (left, right), dilations, stride in kinds
            for dilation in dilations
        ]
        return torch.cat(volumes, 1)


class UNet(nn.Module):
    """Filter of two levels without norms, whose bottleneck sees the whole image.

    Args:
        inputs: channels of the context and the candidates.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        fine, coarse = _WIDTHS
        self.stem = pair(inputs, fine, kernel=1)
        self.conv1 = pair(fine, coarse, stride=2)
        self.conv2 = pair(coarse, coarse, stride=2)
        self.conv3 = nn.Sequential(nn.Conv2d(coarse, coarse, 3, padding=1), leaky())
        self.context = Pyramid(coarse)
        self.conv4 = pair(2 * coarse, coarse)
        self.conv5 = pair(coarse + fine, fine)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, h, w) to (N, 96, h, w)."""
        fine = self.stem(x)
        middle = self.conv1(fine)
        coarse = self.context(self.conv3(self.conv2(middle)))
        middle = self.conv4(enlarge_and_join(coarse, middle))
        return self.conv5(enlarge_and_join(middle, fine))


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: convolutions of several dilations and a global mean.

    Args:
        width: input and output channels of every branch.
        dilations: dilations of the 3x3 convolutions.
    """

    def __init__(self, width: int, dilations: Sequence[int] = (2, 4, 8)) -> None:
        super().__init__()
        self.pooled = nn.Conv2d(width, width, 1, bias=False)
        self.single = nn.Conv2d(width, width, 1, bias=False)
        self.dilated = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=d, dilation=d, bias=False) for d in dilations
        )
        self.join = nn.Conv2d((2 + len(dilations)) * width, width, 1, bias=False)
        self.activation = leaky()
        self.dropout = nn.Dropout2d(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, width, h, w) to the same shape."""
        pooled = self.pooled(x.mean((2, 3), keepdim=True)).expand_as(x)
        branches = [pooled, self.single(x), *(convolution(x) for convolution in self.dilated)]
        return self.dropout(self.activation(self.join(self.activation(torch.cat(branches, 1)))))


def list_candidates(search: Search, sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """List the candidates in the order of the volumes' channels, in pixels of the image.

    Args:
        search: see `DcvNet`.
        sizes: the step of every volume.

    Returns:
        Disparities and, if there are several rows, vertical displacements, (1 or 2, K, 1, 1); and
        the steps of their volumes, (K, 1, 1).
    """
    rows, columns = (torch.tensor(steps, dtype=torch.float32) for steps in _STEPS[search])
    size = torch.tensor(sizes, dtype=torch.float32)[:, None, None]
    right, down = torch.broadcast_tensors(size * columns, size * rows[:, None])
    table = torch.stack((-right.flatten(), down.flatten()))[: 2 if len(rows) > 1 else 1]
    return table[..., None, None], size.expand_as(right).flatten()[:, None, None]


def leaky() -> nn.LeakyReLU:
    """The activation of the whole network."""
    return nn.LeakyReLU(0.1, inplace=True)


def pair(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Two convolutions with activations; the first has the kernel and the stride, then 3x3."""
    first = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)
    return nn.Sequential(first, leaky(), nn.Conv2d(outputs, outputs, 3, padding=1), leaky())


def enlarge_and_join(coarse: Tensor, fine: Tensor) -> Tensor:
    """Bring a coarse map to the size of a fine one and put it before its channels."""
    larger = F.interpolate(coarse, fine.shape[2:], mode='bilinear', align_corners=False)
    return torch.cat((larger, fine), 1)


def upsample(coarse: Tensor, mask: Tensor) -> Tensor:
    """Upsample displacements (N, C, h, w), in pixels of the image, to full size."""
    return convex_upsample_coarse(coarse / _FACTOR, mask, _FACTOR)
