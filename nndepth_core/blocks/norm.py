"""Instance norm that needs no memory of its own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def may_overwrite() -> bool:
    """Whether intermediate results are free to be changed: no backward pass, trace or export."""
    return not (torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.jit.is_tracing())


class InstanceNorm(nn.Module):
    """Instance norm without weights; uses the input's statistics in eval mode too.

    On the CPU it overwrites its input where `may_overwrite` allows it, so that nothing else may
    read the input.
    """

    epsilon = 1e-5

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, h, ...) over all axes but the first two."""
        if not (x.device.type == 'cpu' and x.dtype == torch.float32 and may_overwrite()):
            return F.instance_norm(x, eps=self.epsilon)
        axes = tuple(range(2, x.ndim))
        x -= x.mean(axes, keepdim=True)
        # squared in parts that fit the cache, since the whole would take a second map
        squares = torch.stack([part.square().sum(axes, keepdim=True) for part in x.split(32, 2)])
        return x.mul_(torch.rsqrt(squares.sum(0) / x[0, 0].numel() + self.epsilon))
