"""Finding the weights of a network: a given file, stored ones, or those of the package.

Needs no torch.
"""

from __future__ import annotations

from pathlib import Path

from nndepth_core.weights.catalogue import catalogue, find_network
from nndepth_core.weights.checkpoint import CheckpointError
from nndepth_core.weights.description import RANDOM, describe
from nndepth_core.weights.formats import kind_of
from nndepth_core.weights.saved import check_saved
from nndepth_core.weights.settings import snapshot_file
from nndepth_core.weights.store import list_stored, stored_weights


def find_weights(
    name: str, variant: str, weights: str | Path = '', others: bool = False
) -> str | Path:
    """Find the weights of a network for an engine or an export.

    Args:
        name: of the network.
        variant: of the network.
        weights: a checkpoint file, a folder that transformers or `save_pretrained` wrote, the
            name of stored weights ('middlebury'), 'random', or '' for the ones stored last, which
            are those of the package where the user has none.
        others: whether stored weights of that name may be of another variant of the network.

    Returns:
        The file, or RANDOM.

    Raises:
        CheckpointError: there are none, or they are damaged or of another network; says how to
            get them.
    """
    if weights == RANDOM:
        return RANDOM
    if weights and (file := snapshot_file(Path(weights))).is_file():
        check_saved(file)
        own = describe(file)
        if own and own.model != name and {own.model, name} <= {*catalogue()}:
            raise CheckpointError(
                f'{weights} holds weights of {own.model}-{own.variant}, not of {name}-{variant}; '
                'choose that model, or other weights'
            )
        return file
    wanted = None if others and weights else variant
    if stored := stored_weights(name, wanted, str(weights).removeprefix(f'{name}/') or None):
        return stored
    raise CheckpointError(_misfit(name, variant, weights) if weights else _none(name, variant))


def locate_weights(identifier: str) -> Path:
    """Return the stored file of a network and name, 'raft_stereo/middlebury', or of a network.

    Raises:
        ValueError: there is none; says how to get it.
    """
    model, _, name = identifier.partition('/')
    if path := stored_weights(model, name=name or None):
        return path
    known = name in find_network(model).checkpoints
    cure = f'run `nndepth weights fetch {identifier}`' if known else 'see `nndepth weights list`'
    raise ValueError(f'{identifier} is not in the store; {cure}')


def _misfit(name: str, variant: str, weights: str | Path) -> str:
    """Say what is wrong with weights that were named."""
    if Path(weights).exists():  # a folder, which tells what is to be given of it
        try:
            kind_of(Path(weights))
        except ValueError as error:
            return f'{weights} {error}'
    return (
        f'weights {weights} are neither a file nor stored for {name}-{variant}; '
        '`nndepth weights list` shows what is'
    )


def _none(name: str, variant: str) -> str:
    """Say how to get weights of a network."""
    others = {
        other
        for entry in list_stored()
        if entry.description.model == name
        for other in entry.description.variants
    }
    published = catalogue()[name].checkpoints_of(variant) if name in catalogue() else ()
    known = ', '.join(entry.id for entry in published)
    return (
        f'{name}-{variant} has no weights yet'
        + (f' (only {", ".join(sorted(others))} of {name} has)' if others else '')
        + (f'; run `nndepth weights fetch` for one of {known}' if known else '')
        + f'; run `nndepth weights import FILE --model {name}`, or set weights to a file'
    )
