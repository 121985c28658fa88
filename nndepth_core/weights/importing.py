"""Importing: a checkpoint file is checked, converted to our entries and put into the store."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nndepth_core.files.writing import replaced_at_once
from nndepth_core.models import create_model, model_names, network_class
from nndepth_core.weights.catalogue import Checkpoint
from nndepth_core.weights.checkpoint import CheckpointError, read_checkpoint
from nndepth_core.weights.description import Description, Origin, Recognized, describe, recognize
from nndepth_core.weights.hub import HubError, HubFile, by_hand, fetch_file, find_address
from nndepth_core.weights.licenses import stated_license
from nndepth_core.weights.loading import fitting_variants, load_entries, matching_models
from nndepth_core.weights.saved import check_saved
from nndepth_core.weights.settings import (
    check_settings,
    parse_settings,
    snapshot_config,
    snapshot_file,
)
from nndepth_core.weights.store import new_path

if TYPE_CHECKING:
    from torch import Tensor

    from nndepth_core.models.base import Network

_log = logging.getLogger(__name__)


def import_weights(
    source: str | Path | HubFile,
    model: str | None = None,
    variant: str | None = None,
    name: str | None = None,
    settings: Sequence[str] = (),
    published: Checkpoint | None = None,
    revision: str | None = None,
    license: str | None = None,
) -> Path:
    """Check a checkpoint file, convert it to our entries and put it into the store.

    Args:
        source: .safetensors file or one that torch.save wrote, with official entries or ours, a
            folder that transformers or `save_pretrained` wrote, or where such weights lie on the
            Hugging Face hub: `owner/name[@revision][/file]`. A path that exists is taken for a
            path.
        model: the network it is for; None finds out which one it fits.
        variant: its variant; None finds out which one fits.
        name: how to call it; None takes the catalogue's name, else that of the source. A file of
            the same name is replaced.
        settings: of the network's constructor, as 'max_depth=20', for what the catalogue or the
            source does not tell, or to replace it.
        published: the checkpoint of the catalogue that it is; None finds out.
        revision: of the repository on the hub: a branch, a tag or a commit; None takes main.
        license: of the weights, where neither the catalogue nor the source states it.

    Returns:
        The stored file.

    Raises:
        CheckpointError: the file cannot be read, fits something else, or torch is missing.
        HubError: it does not come from the hub.
        ValueError: network, variant, name or settings are impossible, or another licence is known.
    """
    require_torch()
    if model is not None:
        network_class(model)  # an unknown name is refused before anything is read
    fetched = _fetched(source, revision)
    file = fetched.path if fetched else snapshot_file(Path(str(source)))
    check_saved(file)
    state = read_checkpoint(file)
    known = recognize(file, model, published, fetched)
    model, fitting, origin = fit(state, file, known, model, variant, settings)
    network = create_model(model, variant or next(iter(fitting), None), **origin.settings)
    load_entries(network, state, file)
    path = new_path(model, name or origin.checkpoint or _name_of(fetched or Path(str(source))))
    if before := describe(path):
        _log.warning('%s takes the place of weights made from %s', path, before.source)
    description = Description(
        model,
        network.spec.variant,
        fitting,
        origin.source,
        origin.sha256,
        origin.checkpoint,
        stated_license(origin.license, license),
        origin.settings,
        origin.hub,
    )
    return write_weights(path, network, description)


def fit(
    state: Mapping[str, Tensor],
    file: Path,
    known: Recognized,
    model: str | None = None,
    variant: str | None = None,
    settings: Sequence[str] = (),
) -> tuple[str, tuple[str, ...], Origin]:
    """Find the network and the variants that a checkpoint file fits, and how.

    Args:
        state: its entries.
        file: the file.
        known: what is known of it without them.
        model: the network; None finds out.
        variant: its variant; None finds out.
        settings: of the network's constructor, as in `import_weights`.

    Returns:
        The network, the variants, and where the file came from, with all settings of the
        constructor.

    Raises:
        CheckpointError: it fits no network, or several and none is chosen.
        ValueError: network, variant or settings are impossible.
    """
    if model is None and known.model not in ('', *model_names()):
        raise CheckpointError(
            f'{file} is of {known.model}, a network of others, whose module would run; where you '
            f'trust it, give it as model (--model {known.model})'
        )
    model = model or known.model or _only_model(state, file)
    known, fitting, values = _fit(model, variant, state, file, known, settings)
    if variant is None:
        _check_alike(model, fitting, values, file)
    return model, fitting, replace(known.origin, settings=values)


def require_torch() -> None:
    """Refuse to go on without torch and safetensors.

    Raises:
        CheckpointError: one of them is not installed.
    """
    missing = [package for package in ('torch', 'safetensors') if find_spec(package) is None]
    if missing:
        raise CheckpointError(
            f'weights cannot be read without {" and ".join(missing)}; pip install "nndepth[torch]"'
        )


def _only_model(state: Mapping[str, Tensor], file: Path) -> str:
    """The one network that the entries of an unknown file fit."""
    fitting = matching_models(state, snapshot_config(file))
    models = list(dict.fromkeys(model for model, _ in fitting))
    if not models:
        raise CheckpointError(f'{file}: it fits no model known here; see `nndepth models`')
    if len(models) > 1:
        raise CheckpointError(
            f'{file}: it fits {" and ".join(models)}; choose one by model (--model)'
        )
    return models[0]


def _fit(
    model: str,
    variant: str | None,
    state: Mapping[str, Tensor],
    file: Path,
    known: Recognized,
    settings: Sequence[str],
) -> tuple[Recognized, tuple[str, ...], dict[str, Any]]:
    """Find the variants of a network that fit, those that the file is known for first.

    Returns:
        What is known of the file, the variants, and the settings of the constructor. A file that
        does not fit what it is known for, such as one that only has the name of a published
        checkpoint, counts as unknown.
    """
    cls = network_class(model)
    given = parse_settings(cls, settings)
    config = snapshot_config(file)
    unknown = Recognized(known.origin.unknown()) if known.model else known
    for candidate in (known, unknown) if known.model == model else (unknown,):
        values = {**cls.settings_from_config(config), **candidate.origin.settings, **given}
        check_settings(cls, values)
        variants = candidate.variants if variant in (None, *candidate.variants) else ()
        if fitting := fitting_variants(model, state, variants, values, config):
            break
    return candidate, fitting, values


def _fetched(source: str | Path | HubFile, revision: str | None) -> HubFile | None:
    """Fetch weights that lie on the hub; None for those of a path."""
    if isinstance(source, HubFile):
        return source
    address = find_address(source, revision)
    if address is None:
        return None
    try:
        return fetch_file(address)
    except HubError as error:
        raise HubError(f'{source} is no path here, and {error}; {by_hand(address)}') from error


def _check_alike(
    model: str, variants: Sequence[str], settings: Mapping[str, Any], file: Path
) -> None:
    """Refuse entries that fit variants whose outputs mean something else, where none is chosen.

    Raises:
        CheckpointError: they do.
    """
    import torch

    with torch.device('meta'):
        specs = [create_model(model, name, **settings).spec for name in variants]
    if len({(spec.output, spec.value_range, spec.canonical_focal) for spec in specs}) > 1:
        names = ' and '.join(spec.title for spec in specs)
        raise CheckpointError(
            f'{file}: it fits {names}, which are the same but for their weights; choose the one '
            'that it is by model (--model)'
        )


def _name_of(source: Path | HubFile) -> str:
    """What weights that are not in the catalogue are called: like their file or folder."""
    if isinstance(source, HubFile):
        return source.name
    return source.resolve().name if source.is_dir() else source.stem


def write_weights(path: Path, network: Network, description: Description) -> Path:
    """Write the entries of a network and what is known of them, all or nothing.

    Raises:
        CheckpointError: they cannot be written, as on a full disk.
        OSError: the system does not allow it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        with replaced_at_once(path) as temporary:
            temporary.touch()
            mode = temporary.stat().st_mode
            save_file(network.state_dict(), temporary, description.metadata())
            temporary.chmod(mode)  # safetensors writes files that nobody else may read
    except SafetensorError as error:  # also of the system's, such as that the disk is full
        raise CheckpointError(f'{path} cannot be written: {error}') from error
    return path
