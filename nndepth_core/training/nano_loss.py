"""The loss of NanoStereo, the default model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from nndepth_core.training.losses import StereoLoss, near_steps

_FACTOR = 4
"""Full size over that of the volume."""
_PARTS = 5
"""How many fields an `Estimate` has."""


class NanoLoss(StereoLoss):
    """Smooth L1 of the disparities, and cross entropies of the cost volume and the confidence.

    The cross entropy of the cost volume asks for one narrow peak at the true disparity. For the
    soft-argmin alone, two peaks on both sides of an edge would do as well, since only their mean
    matters (Zhang et al., "Adaptive unimodal cost volume filtering", AAAI 2020). The confidence
    learns exp(-error / confidence_scale).

    Args:
        coarse_weight: The weight of the smooth L1 of the disparity at a quarter of the size.
        half_weight: The weight of the smooth L1 of the same disparity at half the size.
        peak_weight: The weight of the cross entropy of the cost volume.
        confidence_weight: The weight of the cross entropy of the confidence, which trains only the
            layers of the confidence.
        peak_width: The width of the peak that the cross entropy asks for, in bins of the volume.
        confidence_scale: The error in pixels at which the confidence should be 1 / e.
        beta: The error of the final disparity in pixels below which the smooth L1 is quadratic.
        edge_weight: The additional weight of pixels near depth edges in all parts but the
            confidence. About a fifth of the rendered pixels are near an edge and have most of the
            errors; with 1 they make up a third of the sum.
        max_disparity: Pixels whose true disparity is this or more are not valid.
    """

    def __init__(
        self,
        coarse_weight: float = 0.2,
        half_weight: float = 0.3,
        peak_weight: float = 0.7,
        confidence_weight: float = 0.3,
        peak_width: float = 0.35,
        confidence_scale: float = 1.5,
        beta: float = 0.25,
        edge_weight: float = 1.0,
        max_disparity: float = 188.0,
    ) -> None:
        super().__init__(max_disparity)
        self.coarse_weight = coarse_weight
        self.half_weight = half_weight
        self.peak_weight = peak_weight
        self.confidence_weight = confidence_weight
        self.peak_width = peak_width
        self.confidence_scale = confidence_scale
        self.beta = beta
        self.edge_weight = edge_weight

    def __call__(self, predictions: Sequence[Tensor], truth: Tensor) -> Tensor:
        """See `StereoLoss`; the predictions are the fields of the `Estimate` of each look.

        All errors are in pixels of the images that were given, whatever the size that a look sees.
        Those of a look at half the size are about twice as large, so it weighs half.
        """
        loss = truth.new_zeros(())
        looks = [predictions[k : k + _PARTS] for k in range(0, len(predictions), _PARTS)]
        for look in looks:
            disparity = look[-1]
            scale = disparity.shape[-1] / truth.shape[-1]
            seen = F.interpolate(truth, disparity.shape[-2:], mode='nearest-exact')
            loss = loss + self.of_look(look, seen, scale) * (min(scale, 1) / scale**2)
        return loss

    def of_look(self, estimate: Sequence[Tensor], truth: Tensor, scale: float) -> Tensor:
        """Sum the loss of one look over the valid pixels.

        Args:
            estimate: The fields of an `Estimate`, in pixels of the images that the look saw.
            truth: The true disparity in pixels of the images before they were enlarged
                (N, 1, H, W), NaN where unknown; H and W are those after it.
            scale: By how much the images were enlarged.

        Returns:
            A scalar, with all errors in pixels of the images before they were enlarged.
        """
        logits, coarse, half, confidence_logits, disparity = estimate
        disparity, bin_width = disparity / scale, _FACTOR / scale
        middle = _FACTOR // 2
        sparse = truth[..., middle::_FACTOR, middle::_FACTOR]  # each stands for 16 pixels
        at_half = truth[..., 1::2, 1::2]
        error = (disparity.detach() - truth).abs()
        weights = 1 + self.edge_weight * near_steps(truth)
        of_sparse = weights[..., middle::_FACTOR, middle::_FACTOR]

        loss = self.total(disparity, truth, partial(F.smooth_l1_loss, beta=self.beta), weights)
        coarse_loss = self.total(bin_width * coarse, sparse, F.smooth_l1_loss, of_sparse)
        of_half = weights[..., 1::2, 1::2]
        half_loss = self.total(2 / scale * half, at_half, F.smooth_l1_loss, of_half)
        peak = of_sparse * self.peak(logits, sparse.nan_to_num() / bin_width)
        peak_loss = torch.where(self.valid(sparse), peak, 0.0).sum()
        confident = torch.exp(-error.nan_to_num() / self.confidence_scale)
        doubt = F.binary_cross_entropy_with_logits(confidence_logits, confident, reduction='none')
        doubt_loss = torch.where(self.valid(truth), doubt, 0.0).sum()
        quarters = self.coarse_weight * coarse_loss + self.peak_weight * peak_loss
        return (
            loss
            + self.confidence_weight * doubt_loss
            + 2**2 * self.half_weight * half_loss
            + _FACTOR**2 * quarters
        )

    def peak(self, logits: Tensor, target: Tensor) -> Tensor:
        """Cross entropy (N, 1, h, w) between the bins and a narrow peak at target (N, 1, h, w)."""
        bins = torch.arange(logits.shape[1], device=logits.device).view(-1, 1, 1)
        wanted = torch.softmax(-(bins - target).abs() / self.peak_width, 1)
        return -(wanted * logits.log_softmax(1)).sum(1, keepdim=True)
