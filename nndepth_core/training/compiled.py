"""Compiling a network for faster training steps."""

from __future__ import annotations

import torch
from torch import nn
from torch._inductor import config as inductor


def compile_in_place(network: nn.Module) -> None:
    """Compile what a call of the network does; its weights keep their names.

    Processes average their gradients in one piece, after the backward pass. By default torch cuts
    the network into parts to begin earlier, which does not pay for networks as small as ours.
    """
    torch._dynamo.config.optimize_ddp = False
    # On CPUs torch 2.13 overwrites buffers that the backward pass still needs.
    inductor.allow_buffer_reuse = False
    inductor.inplace_buffers = False
    # Many small kernels are faster there than few that cannot be vectorised, and so are plain
    # layouts than channels last, which every kernel between two convolutions would transpose.
    inductor.realize_reads_threshold = 2
    inductor.realize_opcount_threshold = 10
    inductor.layout_optimization = False
    network.compile()
