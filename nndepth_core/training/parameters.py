"""Which weights learn, and how fast."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from torch import nn

from nndepth_core.training import TrainingError


def freeze(network: nn.Module, parts: Sequence[str]) -> None:
    """Keep the weights of parts of a network as they are.

    Args:
        network: The network.
        parts: Dotted names of modules, such as encoder or encoder.patches.

    Raises:
        TrainingError: There is no such part.
    """
    modules = dict(network.named_modules())
    for part in parts:
        if part not in modules or not part:
            names = ', '.join(name for name, _ in network.named_children())
            raise TrainingError(
                f'freeze names {part!r}, which the network does not have; it has {names}'
            )
        modules[part].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise TrainingError('freeze leaves nothing to learn; name fewer parts')


def parameter_groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Group the weights that learn by their share of the learning rate, the largest first.

    The layers of an encoder get less of it the nearer they are to the image (BEiT, Bao et al.,
    ICLR 2022, arXiv 2106.08254): decay ** d, where d is the number of layers behind them, the
    last norm with all that follows the encoder counted as one.

    Args:
        network: The network; with a decay below 1 it has an `encoder` with `blocks`.
        decay: The factor of a layer.

    Returns:
        Groups of an optimiser, each with its share as 'scale'.

    Raises:
        TrainingError: The network has no such encoder.
    """
    layers = len(getattr(getattr(network, 'encoder', None), 'blocks', ()))
    if decay != 1 and not layers:
        raise TrainingError(
            f'layer_decay is {decay}, and the network has no encoder with blocks; give 1'
        )
    groups: dict[int, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            behind = 0 if decay == 1 else _layers_behind(name, layers)
            groups.setdefault(behind, []).append(parameter)
    return [{'params': groups[behind], 'scale': decay**behind} for behind in sorted(groups)]


def _layers_behind(name: str, count: int) -> int:
    if match := re.match(r'encoder\.blocks\.(\d+)\.', name):
        return count - int(match[1])
    first = name.startswith('encoder.') and not name.startswith('encoder.norm.')
    return count + 1 if first else 0
