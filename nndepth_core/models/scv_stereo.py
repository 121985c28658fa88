"""SCV-Stereo: a sparse cost volume of the few best matches, refined step by step.

Wang, Fan and Liu, "SCV-Stereo: Learning Stereo Matching from a Sparse Cost Volume", ICIP 2021,
arXiv 2107.08187. It carries the network for optical flow of Jiang et al., "Learning Optical Flow
from a Few Matches", CVPR 2021, arXiv 2104.02166, over to stereo.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nndepth_core.blocks.sparse_correlation import best_matches, gather_matches
from nndepth_core.blocks.update import MotionEncoder, head, separable_gru
from nndepth_core.blocks.upsample import convex_upsample_coarse, residual_confidence
from nndepth_core.encoders.residual import ResidualEncoder
from nndepth_core.models.base import Prediction, StereoNetwork, scale_to_unit
from nndepth_core.spec import ModelSpec

_HIDDEN = 128
_FEATURES = 256
_LEVELS = 5
_RADIUS = 4


class ScvStereo(StereoNetwork):
    """Best matches of every pixel, and a GRU that sees them from its present disparity.

    The authors published no code, and their abstract does not tell the sizes. Encoders, windows,
    GRU and upsampling have those of the network for flow. What differs follows from stereo:

    - The matches are the best ones in the row of a pixel, and not to its right.
    - Windows, estimate and steps have one coordinate.

    Args:
        downsample: features have 1 / 2**downsample of the image size.
        matches: the number of matches of a pixel.
        iterations: default number of steps.
    """

    spec = ModelSpec('scv_stereo', confidence='residual', placement='centre')
    variants: ClassVar[dict[str, dict[str, Any]]] = {'eighth': {}, 'quarter': {'downsample': 2}}
    ranges: ClassVar[dict[str, tuple[float, float]]] = {
        'downsample': (2, 3),
        'matches': (1, 64),
        'iterations': (1, 1000),
    }

    def __init__(self, *, downsample: int = 3, matches: int = 8, iterations: int = 8) -> None:
        super().__init__()
        self.factor = 2**downsample
        self.matches = matches
        self.specify(
            iterations=iterations,
            multiple=self.factor,
            minimum=(32, max(32, matches * self.factor)),
            bytes_per_pixel=500 if downsample > 2 else 1000,
        )

        strides = (2, 1, 2, self.factor // 4)
        self.matching = nn.Sequential(
            ResidualEncoder(strides, 'instance', project=True), nn.Conv2d(128, _FEATURES, 1)
        )
        self.context = nn.Sequential(
            ResidualEncoder(strides, 'batch', project=True), nn.Conv2d(128, 2 * _HIDDEN, 1)
        )
        samples = _LEVELS * (2 * _RADIUS + 1)
        self.motion = MotionEncoder(samples, 1, _HIDDEN, (256, 192), (128, 64))
        self.grus, self.from_context = separable_gru(_HIDDEN, _HIDDEN, _HIDDEN)
        self.step_head = head(_HIDDEN, 256, 1)
        self.mask_head = head(_HIDDEN, 256, 9 * self.factor**2, kernel=1)

    def forward(
        self,
        left: Tensor,
        right: Tensor,
        iterations: int | None = None,
        confidence: bool = False,
    ) -> Prediction:
        """Estimate the disparity; see `StereoNetwork` for arguments and results."""
        self.check_images(left, right)
        left, right = scale_to_unit(left), scale_to_unit(right)
        products, columns = best_matches(self.matching(left), self.matching(right), self.matches)
        state, contexts = self.start(left)

        here = torch.arange(columns.shape[2], device=columns.device)[:, None]
        disparity = torch.zeros_like(state[:, :1], dtype=torch.float32)
        predictions = []
        for _ in self.steps(iterations):
            disparity = disparity.detach()
            offsets = columns - here + disparity.permute(0, 2, 3, 1)
            windows = gather_matches(products, offsets, _LEVELS, _RADIUS).to(state.dtype)
            state = self.update(state, self.motion(windows, disparity), contexts)
            step = self.step_head(state)
            disparity = disparity + step
            if self.training:
                predictions.append(self.upsample(disparity, state))

        if self.training:
            return predictions
        result = self.upsample(disparity, state)
        return (result, residual_confidence(step, self.factor)) if confidence else result

    def start(self, left: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Make the first state, and what the context adds to both halves of the GRU.

        Args:
            left: the left image in -1..1.
        """
        state, context = self.context(left).chunk(2, 1)
        context = torch.relu(context)
        return torch.tanh(state), [convolution(context) for convolution in self.from_context]

    def update(self, state: Tensor, motion: Tensor, contexts: list[Tensor]) -> Tensor:
        """Do one step of the separable GRU, along the rows first."""
        for gru, context in zip(self.grus, contexts, strict=True):
            state = gru(state, motion, context)
        return state

    def upsample(self, disparity: Tensor, state: Tensor) -> Tensor:
        """Upsample the disparity (N, 1, h, w) to full size with weights from the state."""
        logits = self.mask_head(state) / 4  # the factor balances gradients
        return convex_upsample_coarse(disparity, logits, self.factor)
