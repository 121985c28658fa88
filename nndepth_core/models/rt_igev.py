"""RT-IGEV++, the real-time version (Xu et al., TPAMI 2025, arXiv 2409.00638)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nndepth_core.blocks.conv import ConvBlock
from nndepth_core.blocks.correlation import sample_pyramid, volume_pyramid
from nndepth_core.models.igev_stereo import LEVELS, RADIUS, IgevStereo


class RtIgev(IgevStereo):
    """IGEV-Stereo with one GRU, no context encoder and no all-pairs correlation.

    States and contexts come from the matching features at 1/4.
    """

    spec = replace(IgevStereo.spec, name='rt_igev')
    variants: ClassVar[dict[str, dict[str, Any]]] = {'rt': {'iterations': 8}}

    hidden = 96
    head_width = 128
    samples = 144
    gru_names = ('gru',)

    official_rules = (
        (r'^to_state\.0', 'hnet.0'),
        (r'^to_state\.1', 'hnet.1'),
        (r'^to_context\.0', 'cnet'),
        (r'^to_context\.1', 'context_zqr_conv'),
        *IgevStereo.official_rules,
    )
    official_aliases = ()

    def add_context(self) -> None:
        """Make the layers that compute states and contexts from the features."""
        features = self.features.channels[0]
        leaky = nn.LeakyReLU(inplace=True)
        self.to_state = nn.Sequential(
            ConvBlock(features, self.hidden, activation=leaky),
            nn.Conv2d(self.hidden, self.hidden, 3, padding=1, bias=False),
        )
        self.to_context = nn.Sequential(
            ConvBlock(features, self.hidden, activation=leaky),
            nn.Conv2d(self.hidden, 3 * self.hidden, 3, padding=1),
        )

    def encode(self, left: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """Encode an image: the features at 1/4 (input of `start`), all features, the guide."""
        features, guide = self.features(left)
        return features[0], features, guide

    def start(self, context: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Make state and context of the GRU."""
        return [torch.tanh(self.to_state(context))], [self.to_context(context)]

    def aggregate(self, volume: Tensor, features: list[Tensor]) -> Tensor:
        """Turn the correlation volume (N, 8, D, h, w) into the geometry encoding volume."""
        return self.hourglass(volume, features[1:])

    def pyramids(self, geometry: Tensor, left: Tensor, right: Tensor) -> list[list[Tensor]]:
        """Make the pyramid of the geometry encoding volume."""
        return [volume_pyramid(geometry, LEVELS)]

    def sample(self, pyramids: list[list[Tensor]], disparity: Tensor) -> Tensor:
        """Sample the geometry around a disparity (N, h, w): (N, h, w, levels, samples)."""
        return sample_pyramid(pyramids[0], disparity, RADIUS)
