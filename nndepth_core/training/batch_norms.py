"""Statistics of batch norms, measured for the very weights that use them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def batch_norms(network: nn.Module) -> list[_BatchNorm]:
    """The batch norms of a network."""
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


@contextmanager
def measured_anew(network: nn.Module) -> Iterator[list[Tensor]]:
    """Let batch norms forget their statistics and take the mean over all batches until the end.

    What they hold otherwise is a mean over the last few batches, of other weights too where the
    network's are a running average (Izmailov et al., "Averaging weights leads to wider optima and
    better generalization", UAI 2018, section 3.2).

    Args:
        network: to be run on batches meanwhile; in eval mode afterwards.

    Yields:
        The statistics, which fill with every batch.
    """
    norms = batch_norms(network)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean
    network.train()
    with torch.no_grad():
        yield [norm.get_buffer(name) for norm in norms for name in ('running_mean', 'running_var')]
    network.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
