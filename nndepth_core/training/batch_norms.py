"""Statistics of batch norms, measured with the weights that will use them."""

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
    """Measure the statistics of batch norms anew, as the mean over all batches inside the block.

    Otherwise they are a mean over the last few batches, and of other weights where the weights of
    the network are a running average (Izmailov et al., "Averaging weights leads to wider optima
    and better generalization", UAI 2018, section 3.2).

    Args:
        network: Run it on batches inside the block; it is in eval mode afterwards.

    Yields:
        The statistics, which every batch changes.
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
