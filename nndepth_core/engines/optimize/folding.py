"""Removes what a network needs only for training."""

from __future__ import annotations

from typing import cast

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils import fuse_conv_bn_eval

from nndepth_core.blocks.conv import ConvBlock


def fold_batch_norms(network: nn.Module) -> None:
    """Fold the batch norm of every `ConvBlock` into the convolution before it, in place.

    The network computes the same but faster. Afterwards it can neither be trained nor load a
    state dict of the original network.

    Args:
        network: a network in eval mode, with its weights loaded.

    Raises:
        ValueError: the network is in train mode.
    """
    if network.training:
        raise ValueError('the network is in train mode; call eval() before folding its norms')
    for block in network.modules():
        if not isinstance(block, ConvBlock) or not isinstance(block.norm, _BatchNorm):
            continue
        transposed = isinstance(block.conv, _ConvTransposeNd)
        block.conv = fuse_conv_bn_eval(cast(_ConvNd, block.conv), block.norm, transposed)
        block.norm = nn.Identity()
