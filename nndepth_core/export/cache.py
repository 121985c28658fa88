"""Where the exports of known weights are stored in the user's cache."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from nndepth_core.weights.description import Origin
from nndepth_core.weights.settings import split_settings
from nndepth_core.weights.store import cache_folder, folders

VERSION = 2
"""Raised when exports of the same weights compute or say something else, so that nobody takes
those that an earlier nndepth stored."""


def stored_export(path: Path) -> Path | None:
    """Return the stored export that belongs at an `export_path`, or None if there is none.

    Those that come with the package lie in another folder.
    """
    paths = (folder / 'onnx' / path.name for folder in folders())
    return next((path for path in paths if path.is_file()), None)


def export_path(
    network: str,
    variant: str,
    origin: Origin,
    precision: str,
    iterations: int = 0,
    settings: str = '',
) -> Path:
    """The path in the cache for the export of a network with these weights.

    Args:
        network: the name of the network.
        variant: the variant of the network.
        origin: where the weights came from.
        precision: 'fp32', 'fp16' or 'int8'.
        iterations: the steps of the graph; 0 for the default of the network.
        settings: those of the network that are not its own, see `create_engine`.
    """
    steps = f'-{iterations}-iterations' if iterations else ''
    special = ''.join(
        f'-{quote(setting, safe="=")}' for setting in sorted(split_settings(settings))
    )
    name = f'{network}-{variant}-{origin.key}{special}{steps}-{precision}-v{VERSION}.onnx'
    return cache_folder() / 'onnx' / name
