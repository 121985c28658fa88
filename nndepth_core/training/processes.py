"""What the processes of a run tell each other, whether they share a machine or not."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from accelerate.utils import broadcast, broadcast_object_list, gather_object
from torch import distributed, nn

from nndepth_core.training import TrainingError

_SHARDING = ('FSDP', 'DEEPSPEED', 'MEGATRON_LM')
_OF_ONE_MACHINE = ('device', 'resume', 'workers')
"""Settings that may differ between the machines of a run, as paths may."""


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


def refuse_other_settings(settings: Mapping[str, Any]) -> None:
    """Refuse a run whose processes were started with different settings.

    Args:
        settings: of this process, by their dotted names; see `tracking.flat_settings`.

    Raises:
        TrainingError: A setting that all must share differs; it would hang, or train on a mixture.
    """
    first, *others = gather_object([dict(settings)])
    for rank, other in enumerate(others, 1):
        for name in sorted(first | other):
            ours, theirs = first.get(name, 'not set'), other.get(name, 'not set')
            path = os.sep in str(ours) and os.sep in str(theirs)
            if ours != theirs and not path and name.rpartition('.')[2] not in _OF_ONE_MACHINE:
                raise TrainingError(
                    f'{name} is {ours} in the first process and {theirs} in process {rank}; give '
                    'all machines the same settings'
                )


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
