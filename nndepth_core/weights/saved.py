"""The configuration in folders that `save_pretrained` wrote, and what it vouches for.

Needs no torch.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nndepth_core import __version__
from nndepth_core.files.writing import sha256_of
from nndepth_core.spec import ModelSpec
from nndepth_core.weights.checkpoint import CheckpointError
from nndepth_core.weights.description import Description, describe
from nndepth_core.weights.licenses import commercial_use
from nndepth_core.weights.settings import CONFIG, LIBRARY, read_config

CARD = 'README.md'


def config_of(file: Path, spec: ModelSpec, description: Description) -> dict[str, Any]:
    """Make the configuration for a file of weights or an ONNX file that lies in its folder."""
    return {
        'library_name': LIBRARY,
        'nndepth_version': __version__,
        'task': spec.task,
        'output': spec.output,
        'file': file.name,
        'sha256': sha256_of(file),
        'commercial_use': commercial_use(description.license),
        **json.loads(json.dumps(asdict(description))),
    }


def saved_config(file: Path) -> dict[str, Any]:
    """Read our configuration beside a file; empty where there is none, or one of others.

    Raises:
        CheckpointError: there is one that cannot be read.
    """
    try:
        config = read_config(file)
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    return config if config.get('library_name') == LIBRARY else {}


def check_saved(file: Path) -> None:
    """Refuse a file that is not what our configuration beside it says; others are passed.

    Raises:
        CheckpointError: it is not; says what differs.
    """
    config = saved_config(file)
    if config.get('file') != file.name:
        return
    if (sha256 := sha256_of(file)) != config.get('sha256'):
        raise CheckpointError(
            f'{file} is damaged or another file, since its sha256 is {sha256} and {CONFIG} beside '
            f'it says {config.get("sha256")}; copy or download the folder again'
        )
    own = describe(file)
    told = json.loads(json.dumps(asdict(own))) if own else {}
    for name, value in told.items():
        if config.get(name) != value:
            raise CheckpointError(
                f'{file.with_name(CONFIG)} was changed: it says that {name} is '
                f'{config.get(name)!r}, and {file.name} itself {value!r}; put it back, give '
                'settings of the network where it is loaded, and save it again to keep them'
            )
