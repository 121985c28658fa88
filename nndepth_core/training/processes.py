"""What the processes of a run tell each other, whether they share a machine or not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from accelerate.utils import broadcast, broadcast_object_list
from torch import distributed, nn

from nndepth_core.training import TrainingError

_SHARDING = ('FSDP', 'DEEPSPEED', 'MEGATRON_LM')


def refuse_sharding() -> None:
    """Refuse launchers that give each process a part of the weights.

    Raises:
        TrainingError: This process was launched so; checkpoints would hold a part only.
    """
    for name in _SHARDING:
        if os.environ.get(f'ACCELERATE_USE_{name}', 'false').lower() in ('true', '1'):
            raise TrainingError(
                f'accelerate was told to use {name}, which spreads the weights over processes; '
                'networks of this library fit into one GPU: launch with --multi_gpu instead'
            )


def state_of_main(state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of the first process, which all others go on from.

    It alone writes checkpoints: other machines may see an older one, or none, in their folder.
    """
    (known,) = broadcast_object_list([state])
    return known


def take_weights_of_main(network: nn.Module) -> None:
    """Give all processes the weights and buffers that the first one has."""
    for value in network.state_dict().values():
        broadcast(value)


@contextmanager
def lost_process_named() -> Iterator[None]:
    """Say so if the run cannot go on because another of its processes does not answer.

    Raises:
        TrainingError: It does not.
    """
    try:
        yield
    except RuntimeError as error:
        if not (isinstance(error, distributed.DistError) or '/gloo/' in str(error)):
            raise
        reason = ' '.join(str(error).split())
        raise TrainingError(
            'another process of this run has ended or cannot be reached; see what it wrote last, '
            f'and resume on all machines by trainer.resume ({reason})'
        ) from error
