"""Losses of images that are filled in: squared error, structure and perception.

Each gives one value for each image of a batch, (N,). Weights and constants are those of StereoMAE
(see `models/masked_stereo.py`).
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from nndepth_core.encoders.vgg import Vgg16
from nndepth_core.training import TrainingError
from nndepth_core.weights.checkpoint import CheckpointError, read_checkpoint

_PERCEPTION, _STYLE = 0.05, 40.0
_SSIM_SCALES = 4
_C1, _C2 = 1e-4, 9e-4


class ReconstructionLoss:
    """A weighted sum of losses of images that are filled in.

    Args:
        mse: The weight of the mean squared error of the removed patches.
        ssim: The weight of the structural similarity with L1, at four scales of the whole image.
        perceptual: The weight of the perceptual loss of the whole image, with L1.
        features: The file of the weights of VGG-16, of which the perceptual loss takes features:
            such as torchvision's vgg16-397923af.pth.
    """

    def __init__(
        self,
        mse: float = 1.0,
        ssim: float = 0.0,
        perceptual: float = 0.0,
        features: Path | None = None,
    ) -> None:
        self.mse, self.ssim, self.perceptual = mse, ssim, perceptual
        self.features = features

    def check(self) -> None:
        """Refuse weights that make no loss, and read the file of features.

        Raises:
            TrainingError: All weights are 0, one is negative, or the perceptual loss has no file.
            CheckpointError: The file cannot be read or is of another network.
        """
        weights = {name: getattr(self, name) for name in ('mse', 'ssim', 'perceptual')}
        if negative := [name for name, weight in weights.items() if not weight >= 0]:
            raise TrainingError(f'loss.{negative[0]} is {weights[negative[0]]}; give 0 or more')
        if not any(weights.values()):
            raise TrainingError('loss.mse, loss.ssim and loss.perceptual are 0; give one a weight')
        if self.perceptual:
            self.vgg  # noqa: B018

    @cached_property
    def vgg(self) -> Vgg16:
        """The network whose features the perceptual loss compares."""
        if self.features is None:
            raise TrainingError(
                'the perceptual loss needs the weights of VGG-16; set trainer.loss.features to '
                "their file, such as torchvision's vgg16-397923af.pth"
            )
        return read_vgg(self.features)

    def __call__(self, image: Tensor, target: Tensor, removed: Tensor) -> Tensor:
        """Compare images that were filled in.

        Args:
            image: RGB around 0..1 (N, 3, H, W).
            target: What it should be.
            removed: The patches that were removed, bool (N, 1, rows, columns).

        Returns:
            (N,).
        """
        image = image.float()
        loss = image.new_zeros(image.shape[0])
        if self.mse:
            loss = loss + self.mse * removed_error(image, target, removed)
        if self.ssim:
            loss = loss + self.ssim * structural_loss(image, target)
        if self.perceptual:
            loss = loss + self.perceptual * perceptual_loss(
                self.vgg.to(image.device), image, target
            )
        return loss


def removed_error(image: Tensor, target: Tensor, removed: Tensor) -> Tensor:
    """The mean squared error of the removed patches."""
    patch = image.shape[-1] // removed.shape[-1]
    rows = image.shape[-2] // removed.shape[-2]
    errors = F.avg_pool2d((image - target).square(), (rows, patch)).mean(1, keepdim=True)
    return (errors * removed).flatten(1).sum(1) / removed.flatten(1).sum(1)


def structural_loss(image: Tensor, target: Tensor) -> Tensor:
    """0.85 of (1 - SSIM) / 2 and 0.15 of L1, summed over scales, resized by 2, 4 and 8."""
    loss = image.new_zeros(image.shape[0])
    whole = (image, target)
    for scale in range(_SSIM_SCALES):
        if scale:
            size = [side >> scale for side in whole[0].shape[-2:]]
            image, target = (
                F.interpolate(x, size, mode='bilinear', align_corners=True) for x in whole
            )
        unlike = ((1 - similarity(image, target)) / 2).clamp(0, 1)
        loss = loss + 0.85 * _mean(unlike) + 0.15 * _mean((image - target).abs())
    return loss


def similarity(image: Tensor, target: Tensor) -> Tensor:
    """SSIM (Wang et al., IEEE TIP 2004) of windows of 3x3, (N, 3, H, W)."""

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(F.pad(x, (1, 1, 1, 1), 'reflect'), 3, 1)

    ours, theirs = mean(image), mean(target)
    variance = mean(image * image) - ours * ours
    others = mean(target * target) - theirs * theirs
    shared = mean(image * target) - ours * theirs
    alike = (2 * ours * theirs + _C1) * (2 * shared + _C2)
    return alike / ((ours * ours + theirs * theirs + _C1) * (variance + others + _C2))


def perceptual_loss(vgg: Vgg16, image: Tensor, target: Tensor) -> Tensor:
    """L1, 0.05 of the L1 of features, and 40 of the L1 of their Gram matrices.

    As with the authors, VGG takes images in 0..1 that are not normalised.
    """
    loss = _mean((image - target).abs())
    with torch.no_grad():
        wanted = vgg(target)
    for ours, theirs in zip(vgg(image), wanted, strict=True):
        loss = loss + _PERCEPTION * _mean((ours - theirs).abs())
        loss = loss + _STYLE * _mean((_gram(ours) - _gram(theirs)).abs())
    return loss


def read_vgg(path: Path) -> Vgg16:
    """Read the weights of VGG-16; the network is frozen.

    Raises:
        CheckpointError: The file cannot be read or is of another network.
    """
    network = Vgg16()
    state, own = read_checkpoint(path), network.state_dict()
    for name, value in own.items():
        if name not in state or state[name].shape != value.shape:
            raise CheckpointError(
                f'{path} has no {name} as VGG-16 has; give a file of its weights'
            )
    network.load_state_dict({name: state[name] for name in own})
    return network.requires_grad_(False).eval()


def _gram(features: Tensor) -> Tensor:
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / flat[0].numel()


def _mean(x: Tensor) -> Tensor:
    return x.flatten(1).mean(1)
