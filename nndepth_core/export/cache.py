"""Where exports of known weights lie in the user's cache."""

from __future__ import annotations

from pathlib import Path

from nndepth_core.weights.description import Origin
from nndepth_core.weights.store import cache_folder, folders


def find_export(
    network: str, variant: str, origin: Origin, precision: str, iterations: int = 0
) -> Path | None:
    """Return the export of a network with these weights that is at hand, None if there is none.

    The arguments are those of `export_path`.
    """
    name = export_path(network, variant, origin, precision, iterations).name
    paths = (folder / 'onnx' / name for folder in folders())
    return next((path for path in paths if path.is_file()), None)


def export_path(
    network: str, variant: str, origin: Origin, precision: str, iterations: int = 0
) -> Path:
    """The file that an export of a network with these weights has in the cache.

    Args:
        network: registry name.
        variant: of the network.
        origin: of the weights.
        precision: 'fp32', 'fp16' or 'int8'.
        iterations: steps of the graph; 0 where they are the network's default.
    """
    steps = f'-{iterations}-iterations' if iterations else ''
    name = f'{network}-{variant}-{origin.key}{steps}-{precision}.onnx'
    return cache_folder() / 'onnx' / name
