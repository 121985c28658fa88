"""Models in folders and repositories of the Hugging Face hub: loading and saving them."""

from __future__ import annotations

import hashlib
import json
import logging
import mmap
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from nndepth_core.engines import Engine, EngineError
from nndepth_core.engines.contract import contract_file
from nndepth_core.engines.source import Source
from nndepth_core.files.writing import check_folder, replaced_at_once, sha256_of, write_at_once
from nndepth_core.models import model_names, network_class
from nndepth_core.spec import ModelSpec, split_title, title_of
from nndepth_core.weights.checkpoint import CheckpointError, read_checkpoint
from nndepth_core.weights.description import Description, Origin, describe, recognize
from nndepth_core.weights.formats import kind_of
from nndepth_core.weights.hub import ONNX, HubError, HubFile, copying, fetch_file, find_address
from nndepth_core.weights.importing import fit, require_torch, write_weights
from nndepth_core.weights.licenses import license_of_card, stated_license
from nndepth_core.weights.model_card import model_card, require_hub
from nndepth_core.weights.saved import CARD, check_saved, config_of, saved_config
from nndepth_core.weights.settings import CONFIG, SNAPSHOT_WEIGHTS, snapshot_file, split_settings

if TYPE_CHECKING:
    from nndepth_core.engines.onnx import OnnxEngine

_log = logging.getLogger(__name__)

_KEY_OF_ELSEWHERE = b'\x0a\x08location\x12'
"""How an ONNX file begins to say that a tensor lies in another file."""


@dataclass(frozen=True)
class Pretrained:
    """A model that was found: what `create_engine` takes for it.

    Attributes:
        model: the network and its variant, or the path of the ONNX file.
        weights: the file of weights; empty for an ONNX file.
        origin: where they came from; None for an ONNX file that may say so itself.
    """

    model: str
    weights: str | Path
    origin: Origin | None


def find_pretrained(
    source: str | Path, revision: str | None = None, model: str = '', network_settings: str = ''
) -> Pretrained:
    """Find the model in a folder, a file or a repository of the hub.

    Args:
        source: a folder that `save_pretrained` or transformers wrote, a file of weights, or
            `owner/name[@revision][/file]` on the hub. A path that exists is taken for a path.
        revision: of the repository: a branch, a tag or a commit.
        model: the network, with or without its variant, where the source does not tell it.
        network_settings: in place of the network's own, see `create_engine`.

    Raises:
        CheckpointError: there is no model, or it is damaged.
        HubError: it does not come from the hub.
        ValueError: the address, the network or a setting is impossible.
    """
    address = find_address(source, revision)
    fetched = None
    if address is not None:
        try:
            fetched = fetch_file(address)
        except HubError as error:
            raise HubError(
                f'{source} is no folder here, and {error}; {copying(address)} and give it'
            ) from error
    file = fetched.path if fetched else _file_of(Path(source))
    check_saved(file)
    if file.suffix == '.onnx':
        return _found_onnx(file, fetched)
    name, variant = split_title(model)
    known = recognize(file, name or None, None, fetched)
    own = describe(file)
    if own and name in ('', own.model) and own.model in model_names():
        return Pretrained(title_of(own.model, variant or own.variant), file, own.origin)
    require_torch()
    settings = split_settings(network_settings)
    name, fitting, origin = fit(
        read_checkpoint(file), file, known, name or None, variant, settings
    )
    variant = variant or next(iter(fitting), '')
    return Pretrained(title_of(name, variant), file, origin)


def save_pretrained(engine: Engine, folder: str | Path, license: str | None = None) -> None:
    """Write the model of an engine, its configuration and a model card into a folder.

    Args:
        engine: one that `create_engine` made.
        folder: new, empty, or an earlier one of the same kind, whose model is replaced.
        license: of the weights, where they do not state it.

    Raises:
        EngineError: the engine was not made from a file.
        CheckpointError: the folder cannot be used, or the model has changed since it was loaded.
        ValueError: the weights are known to be under another licence.
    """
    source: Source | None = getattr(engine, 'source', None)
    if source is None:
        raise EngineError(
            f'{engine.spec.title} on {engine.name} was not loaded from a file of weights, so that '
            'there is nothing to save; load a network or an .onnx file'
        )
    source.check()
    license = stated_license(source.origin.license if source.origin else None, license)
    require_hub()
    folder = Path(folder)
    file = folder / (SNAPSHOT_WEIGHTS[0] if source.model else ONNX)
    save = _save_network if source.model else _save_onnx
    with _explained(folder):
        _check_target(folder, file.name, source)
        description = save(engine, source, file, license)
        _write_about(file, config_of(file, engine.spec, description), engine.spec)


def _file_of(path: Path) -> Path:
    """The file of weights, or the ONNX file, that a local path means."""
    if not path.exists():
        raise CheckpointError(
            f'{path} does not exist; give a folder that save_pretrained wrote, or OWNER/NAME of a '
            'repository on the Hugging Face hub'
        )
    file = snapshot_file(path)
    if file.is_file():
        return file
    named = saved_config(path / CONFIG).get('file')
    if named and not (path / str(named)).is_file():
        raise CheckpointError(f'{path} lacks {named}, which its {CONFIG} names; copy it again')
    if (path / ONNX).is_file():
        return path / ONNX
    try:
        kind_of(path)
    except ValueError as error:
        raise CheckpointError(f'{path} {error}') from error
    return path


def _found_onnx(file: Path, fetched: HubFile | None) -> Pretrained:
    told: dict[str, Any] = saved_config(file)
    if fetched and not told:
        told = {'license': fetched.license, 'hub': str(fetched.address)}
    origin = Origin(
        str(told.get('source', file.name)),
        str(told.get('source_sha256', sha256_of(file))),
        license_of_card(told.get('license')),
        hub=told.get('hub'),
    )
    return Pretrained(str(file), '', origin)


def _check_target(folder: Path, name: str, source: Source) -> None:
    """Refuse a folder in which something else than an earlier save of the same kind lies."""
    check_folder(folder)
    if source.file.resolve().parent == folder.resolve():
        raise CheckpointError(
            f'{folder} holds what the model was loaded from; give another folder'
        )
    held = [x for x in (*SNAPSHOT_WEIGHTS, ONNX, CONFIG) if (folder / x).exists()]
    own = saved_config(folder / CONFIG).get('file') == name or describe(folder / name)
    if held and not (own and {*held} <= {name, CONFIG}):
        raise CheckpointError(f'{folder} holds {held[0]} of another model; give another folder')


def _save_network(engine: Engine, source: Source, file: Path, license: str | None) -> Description:
    require_torch()
    from nndepth_core.engines.torch import all_settings, load_network

    name, variant = source.model or ('', '')
    origin = source.origin or Origin.of(name, source.file)
    made_from = name, source.file, source.network_settings, origin
    settings = all_settings(*made_from)
    network = load_network(name, variant, *made_from[1:])
    if engine.iterations != network.spec.iterations:
        if 'iterations' in signature(network_class(name)).parameters:
            settings['iterations'] = engine.iterations
        else:
            _log.warning(
                '%s has no setting that keeps %d iterations; give them at each load',
                name,
                engine.iterations,
            )
    own = describe(source.file)
    description = Description(
        name,
        variant,
        own.variants if own and variant in own.variants else (variant,),
        origin.source,
        origin.sha256,
        origin.checkpoint,
        license,
        settings,
        origin.hub,
    )
    write_weights(file, network, description)
    return description


def _save_onnx(engine: Engine, source: Source, file: Path, license: str | None) -> Description:
    made: OnnxEngine = engine  # type: ignore[assignment]
    _check_alone(source.file)
    origin = source.origin or Origin(source.file.name, sha256_of(source.file))
    with replaced_at_once(file) as temporary:
        shutil.copyfile(source.file, temporary)
    contract = {} if made.card else made.contract.settings()
    contract_file(file).unlink(missing_ok=True)
    if contract:
        write_at_once(contract_file(file), yaml.safe_dump(json.loads(json.dumps(contract))))
    spec = made.spec
    return Description(
        *(spec.name, spec.variant, (spec.variant,), origin.source, origin.sha256),
        *(origin.checkpoint, license, {}, origin.hub),
    )


def _check_alone(file: Path) -> None:
    """Refuse an ONNX file whose weights lie in other files."""
    with file.open('rb') as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as view:
        if view.find(_KEY_OF_ELSEWHERE) >= 0:
            raise CheckpointError(
                f'{file.resolve()} has its weights in files beside it; join them by '
                "onnx.save(onnx.load(FILE), 'joined.onnx'), and load that file"
            )


def _write_about(file: Path, config: dict[str, Any], spec: ModelSpec) -> None:
    """Write the card, unless one is there that was changed by hand, and the configuration."""
    card = file.with_name(CARD)
    text = model_card(config, spec)
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    if card.exists() and sha256_of(card) not in (sha256, saved_config(file).get('card')):
        _log.warning('%s was written by hand and is kept; check what it says', card)
    else:
        write_at_once(card, text)
    config['card'] = sha256
    write_at_once(file.with_name(CONFIG), json.dumps(config, indent=2) + '\n')


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f'{error.filename or folder} cannot be written ({error.strerror or error}); make '
            'room, or give another folder'
        ) from error
