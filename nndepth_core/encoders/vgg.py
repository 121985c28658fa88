"""The first stages of VGG-16, whose features perceptual losses compare.

Simonyan and Zisserman, ICLR 2015, arXiv 1409.1556.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

_STAGES = ((3, 64, 64), (64, 128, 128), (128, 256, 256, 256))


class Vgg16(nn.Module):
    """Features behind the first three poolings.

    Entries are named as in the weights of torchvision ('features.0.weight'), whose later layers
    are not needed.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for widths in _STAGES:
            for inputs, outputs in pairwise(widths):
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map (N, 3, H, W) to maps at a half, a quarter and an eighth of the size."""
        stages = []
        for layer in self.features:
            image = layer(image)
            if isinstance(layer, nn.MaxPool2d):
                stages.append(image)
        return stages
