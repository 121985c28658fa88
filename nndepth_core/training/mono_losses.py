"""Losses of networks that see one image.

As those of stereo networks, they are sums over the valid pixels: what is a mean over an image by
its definition counts once for each of the image's valid pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class MonoLoss(ABC):
    """Base of the losses."""

    def valid(self, truth: Tensor) -> Tensor:
        """The valid mask of the truth (N, 1, H, W), NaN where unknown; the same shape."""
        return truth.isfinite()

    @abstractmethod
    def of_image(self, prediction: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
        """Compute the loss of one image.

        Args:
            prediction: What the network gives, (H, W).
            truth: The truth in the network's output, (H, W); 0 where it is unknown.
            valid: The mask of the known pixels, (H, W), at least one.
        """

    def __call__(self, prediction: Tensor, truth: Tensor) -> Tensor:
        """Sum the loss over the valid pixels.

        Args:
            prediction: What the network gives, (N, 1, H, W).
            truth: The truth in the network's output (N, 1, H, W), NaN where unknown.

        Returns:
            A scalar.
        """
        valid = self.valid(truth)
        losses = [
            self.of_image(values, known, mask) * mask.sum()
            for values, known, mask in zip(
                prediction[:, 0].float(), truth[:, 0].nan_to_num(), valid[:, 0], strict=True
            )
            if mask.any()
        ]
        return torch.stack(losses).sum() if losses else 0.0 * prediction.sum()


class ScaleShiftInvariantLoss(MonoLoss):
    """Errors after prediction and truth got one median and one spread, and those of their edges.

    Source: MiDaS (Ranftl et al., arXiv 1907.01341, 5): the trimmed L1 of equations 5 to 7, and the
    gradient matching of equation 11. For outputs without a scale.

    Args:
        gradients: The weight of the errors of the gradients.
        scales: The number of scales at which gradients are compared, each half of the one before.
        trimmed: The part of an image's pixels with the largest errors that is left out.
    """

    def __init__(self, gradients: float = 0.5, scales: int = 4, trimmed: float = 0.2) -> None:
        if not 0 <= trimmed < 1:
            raise ValueError(f'trimmed is {trimmed}; give a part of the pixels, below 1')
        if scales < 1:
            raise ValueError(f'scales is {scales}; give at least 1')
        self.gradients = gradients
        self.scales = scales
        self.trimmed = trimmed

    def of_image(self, prediction: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
        """See `MonoLoss`."""
        error = standardized(prediction, valid) - standardized(truth, valid)
        errors = error[valid].abs()
        kept = max(1, round(len(errors) * (1 - self.trimmed)))
        loss = errors.topk(kept, largest=False).values.sum() / (2 * len(errors))
        return loss + self.gradients * gradient_errors(error, valid, self.scales)


class ScaleInvariantLogLoss(MonoLoss):
    """Spread of the logarithms' errors, for depth in metres, and the errors of its edges.

    Source: Eigen et al., NeurIPS 2014, equation 4, in the form of ZoeDepth (Bhat et al.,
    arXiv 2302.12288): 10 * sqrt(variance + weight * mean^2). The gradients of the logarithms are
    compared as MiDaS compares those of inverse depth (arXiv 1907.01341, equation 11).

    Args:
        mean_weight: What a common factor of all depths counts beside their spread.
        gradients: The weight of the errors of the gradients; ZoeDepth has none.
        scales: The number of scales at which gradients are compared, each half of the one before.
    """

    least = 1e-3
    """Metres; smaller depths count as this one."""

    def __init__(self, mean_weight: float = 0.15, gradients: float = 0.0, scales: int = 4) -> None:
        self.mean_weight = mean_weight
        self.gradients = gradients
        self.scales = scales

    def of_image(self, prediction: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
        """See `MonoLoss`."""
        error = (prediction.clamp_min(self.least) / truth.clamp_min(self.least)).log()
        ratios = error[valid]
        spread = ratios.var(correction=0) + self.mean_weight * ratios.mean().square()
        edges = gradient_errors(error, valid, self.scales) if self.gradients else 0.0
        return 10 * (spread + 1e-12).sqrt() + self.gradients * edges


def standardized(values: Tensor, valid: Tensor) -> Tensor:
    """Give the valid pixels of (H, W) the median 0 and the mean absolute deviation 1."""
    known = values[valid]
    centred = values - known.median()
    return centred / centred[valid].abs().mean().clamp_min(1e-6)


def gradient_errors(error: Tensor, valid: Tensor, scales: int) -> Tensor:
    """Sum what `gradient_error` gives of every pixel, of every second, of every fourth and so on.

    Args:
        error: (H, W).
        valid: The mask of the known pixels, (H, W).
        scales: The number of scales.
    """
    steps = [slice(None, None, 2**scale) for scale in range(scales)]
    return torch.stack([gradient_error(error[s, s], valid[s, s]) for s in steps]).sum()


def gradient_error(error: Tensor, valid: Tensor) -> Tensor:
    """Sum the absolute differences of neighbours of (H, W), as a mean over the valid pixels."""
    total = error.new_zeros(())
    for dim in (0, 1):
        both = valid.narrow(dim, 1, valid.shape[dim] - 1) & valid.narrow(
            dim, 0, valid.shape[dim] - 1
        )
        total = total + torch.where(both, error.diff(dim=dim).abs(), 0.0).sum()
    return total / valid.sum().clamp_min(1)
