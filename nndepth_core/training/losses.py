"""Losses of stereo networks.

They are sums over the valid pixels, not means. The trainer divides by the number of valid pixels
in all that one step sees, so that a step does not depend on how its samples are distributed over
processes and passes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


class StereoLoss(ABC):
    """Base of the losses.

    Args:
        max_disparity: Pixels whose true disparity is this or more are not valid.
    """

    def __init__(self, max_disparity: float) -> None:
        self.max_disparity = max_disparity

    def valid(self, truth: Tensor) -> Tensor:
        """The valid mask of the true disparity (N, 1, H, W), NaN where unknown; the same shape."""
        return truth.isfinite() & (truth < self.max_disparity)

    @abstractmethod
    def __call__(self, predictions: Sequence[Tensor], truth: Tensor) -> Tensor:
        """Sum the loss over the valid pixels.

        Args:
            predictions: What the network returns in train mode, (N, 1, H, W) each. (N, 2, H, W)
                has the vertical displacement too, which should be 0.
            truth: The true disparity (N, 1, H, W), NaN where unknown.

        Returns:
            A scalar.
        """

    def total(
        self,
        prediction: Tensor,
        truth: Tensor,
        error: Callable[..., Tensor],
        weights: Tensor | float = 1.0,
    ) -> Tensor:
        """Sum a weighted error over the valid pixels and average it over the channels."""
        if prediction.ndim != 4 or prediction[:, :1].shape != truth.shape:
            raise ValueError(
                f'a prediction of the network is {list(prediction.shape)} where the truth is '
                f'{list(truth.shape)}; in train mode it must return maps of the size of the images'
            )
        target = F.pad(truth.nan_to_num(), (0, 0, 0, 0, 0, prediction.shape[1] - 1))
        errors = error(prediction.float(), target, reduction='none').mean(1, keepdim=True)
        return torch.where(self.valid(truth), weights * errors, 0.0).sum()


class SequenceLoss(StereoLoss):
    """L1 of the results of all iterations, in which later results have a larger weight.

    Source: RAFT-Stereo (Lipson et al., arXiv 2109.07547, 3.4); the part of the start value is that
    of IGEV-Stereo (Xu et al., arXiv 2303.06615, 3.5).

    Args:
        gamma: The weight of a prediction, divided by that of the next one.
        adjust_gamma: Whether gamma holds for 16 iterations. Other numbers then get the same range
            of weights by gamma ** (15 / (iterations - 1)), as in RAFT-Stereo.
        start_weight: The weight of the smooth L1 of the first prediction, for networks that return
            a start value before the iterations; 0 for other networks.
        max_disparity: Pixels whose true disparity is this or more are not valid.
    """

    def __init__(
        self,
        gamma: float = 0.9,
        adjust_gamma: bool = True,
        start_weight: float = 0.0,
        max_disparity: float = 700.0,
    ) -> None:
        super().__init__(max_disparity)
        self.gamma = gamma
        self.adjust_gamma = adjust_gamma
        self.start_weight = start_weight

    def __call__(self, predictions: Sequence[Tensor], truth: Tensor) -> Tensor:
        """See `StereoLoss`."""
        loss = truth.new_zeros(())
        if self.start_weight:
            start, *predictions = predictions
            loss = self.start_weight * self.total(start, truth, F.smooth_l1_loss)
        last = len(predictions) - 1
        gamma = self.gamma ** (15 / last) if self.adjust_gamma and last else self.gamma
        for index, prediction in enumerate(predictions):
            loss = loss + gamma ** (last - index) * self.total(prediction, truth, F.l1_loss)
        return loss


class MultiScaleLoss(StereoLoss):
    """Smooth L1 of the predictions that a cost volume network makes at several scales.

    Source of the defaults: LightStereo (Guo et al., arXiv 2406.19833).

    Args:
        weights: The weights of the predictions; the last one is that of the result.
        max_disparity: Pixels whose true disparity is this or more are not valid.
        gamma: The weight of a prediction, divided by that of the next one, for networks such as
            GMStereo whose variants have different numbers of predictions; it replaces the weights.
    """

    def __init__(
        self,
        weights: Sequence[float] = (0.3, 1.0),
        max_disparity: float = 192.0,
        gamma: float | None = None,
    ) -> None:
        super().__init__(max_disparity)
        self.weights = tuple(weights)
        self.gamma = gamma

    def __call__(self, predictions: Sequence[Tensor], truth: Tensor) -> Tensor:
        """See `StereoLoss`."""
        weights = self.weights
        if self.gamma is not None:
            weights = tuple(self.gamma**k for k in reversed(range(len(predictions))))
        if len(predictions) != len(weights):
            raise ValueError(
                f'MultiScaleLoss has {len(weights)} weights and the network '
                f'{len(predictions)} predictions; give one weight each'
            )
        totals = [self.total(p, truth, F.smooth_l1_loss) for p in predictions]
        return torch.stack([w * t for w, t in zip(weights, totals, strict=True)]).sum()


def near_steps(truth: Tensor, step: float = 2.0, reach: int = 4) -> Tensor:
    """The pixels that are near a depth edge.

    Args:
        truth: The true disparity (N, 1, H, W), NaN where unknown.
        step: The difference between neighbours in a row or column that makes an edge, in pixels.
        reach: The largest distance from an edge along rows and columns, in pixels.

    Returns:
        A mask, bool (N, 1, H, W).
    """
    across = (truth.diff(dim=3).abs() > step).float()
    down = (truth.diff(dim=2).abs() > step).float()
    # both pixels of an edge are at it
    edges = torch.maximum(
        torch.maximum(F.pad(across, (0, 1)), F.pad(across, (1, 0))),
        torch.maximum(F.pad(down, (0, 0, 0, 1)), F.pad(down, (0, 0, 1, 0))),
    )
    return F.max_pool2d(edges, 2 * reach + 1, stride=1, padding=reach) > 0
