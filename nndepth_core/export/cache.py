"""Where exports of known weights lie in the user's cache, and what such weights are called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nndepth_core.files.writing import sha256_of
from nndepth_core.weights.catalogue import identify
from nndepth_core.weights.store import cache_folder, describe, folders

RANDOM = 'random'
"""In place of a file of weights: numbers that mean nothing, to measure speed with."""


@dataclass(frozen=True)
class Origin:
    """Where weights came from.

    Attributes:
        source: name of the file they were published in.
        sha256: its hash.
        license: theirs, None where unknown.
    """

    source: str
    sha256: str
    license: str | None = None

    @classmethod
    def of(cls, network: str, weights: str | Path) -> Origin:
        """Tell the origin of a stored file or another checkpoint of a network, or of RANDOM."""
        if weights == RANDOM:
            return cls(RANDOM, RANDOM)
        if description := describe(weights):
            return cls(description.source, description.source_sha256, description.license)
        path = Path(weights)
        sha256 = sha256_of(path)
        known = identify(network, path.name, sha256)
        return cls(path.name, sha256, known.license if known else None)


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
    name = f'{network}-{variant}-{origin.sha256[:16]}{steps}-{precision}.onnx'
    return cache_folder() / 'onnx' / name
