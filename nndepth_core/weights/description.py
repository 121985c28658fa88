"""What is known of a file of weights: what it says of itself, else what the catalogue says.

Needs no torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from nndepth_core.files.writing import sha256_of
from nndepth_core.weights.catalogue import Checkpoint, identify, identify_on_hub
from nndepth_core.weights.formats import read_header
from nndepth_core.weights.hub import HubFile

RANDOM = 'random'
"""In place of a file of weights: numbers that mean nothing, to measure speed with."""

# One key only: safetensors writes several in random order, and files shall be reproducible.
_KEY = 'nndepth'


@dataclass(frozen=True)
class Origin:
    """Where weights came from.

    Attributes:
        source: name of the file they were published in.
        sha256: its hash.
        license: theirs, None where unknown.
        checkpoint: name in the catalogue, None for a file that is not in it.
        settings: constructor settings that the network needs with these weights.
        hub: where on the Hugging Face hub, 'owner/name@commit/file'; None for other files.
    """

    source: str
    sha256: str
    license: str | None = None
    checkpoint: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    hub: str | None = None

    @classmethod
    def of(cls, network: str, weights: str | Path) -> Origin:
        """Tell the origin of a stored file or another checkpoint of a network, or of RANDOM."""
        if weights == RANDOM:
            return cls(RANDOM, RANDOM)
        return recognize(Path(weights), network).origin

    def unknown(self) -> Origin:
        """The same file without what the catalogue says of it."""
        return Origin(self.source, self.sha256, hub=self.hub)

    @property
    def key(self) -> str:
        """What tells these weights and settings from others, in 16 characters at most."""
        if not self.settings:
            return self.sha256[:16]
        settings = json.dumps(dict(self.settings), sort_keys=True)
        return hashlib.sha256(f'{self.sha256} {settings}'.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Description:
    """What a stored file says of itself.

    Attributes:
        model: network.
        variant: the one it was stored for.
        variants: all that its entries fit.
        source: name of the file it was made from.
        source_sha256: hash of that file.
        checkpoint: name in the catalogue, None for a file that is not in it.
        license: of the weights, None where unknown.
        settings: constructor settings that the network needs with these weights, since the
            shapes of the entries do not tell them.
        hub: where on the Hugging Face hub that file lies, 'owner/name@commit/file', None for
            other files.
    """

    model: str
    variant: str
    variants: tuple[str, ...]
    source: str
    source_sha256: str
    checkpoint: str | None
    license: str | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    hub: str | None = None

    def metadata(self) -> dict[str, str]:
        """The description as metadata of a safetensors file."""
        return {_KEY: json.dumps(asdict(self))}

    @property
    def origin(self) -> Origin:
        """Where the weights came from."""
        return Origin(
            self.source,
            self.source_sha256,
            self.license,
            self.checkpoint,
            self.settings,
            self.hub,
        )


@dataclass(frozen=True)
class Recognized:
    """What a file of weights is, as far as is known without reading its entries.

    Attributes:
        origin: where it came from.
        model: its network; empty where that is not known.
        variants: of the network that it is said to fit, the one it is for first; none where that
            is not known.
    """

    origin: Origin
    model: str = ''
    variants: tuple[str, ...] = ()


def recognize(
    path: Path,
    model: str | None = None,
    published: Checkpoint | None = None,
    fetched: HubFile | None = None,
) -> Recognized:
    """Tell what a file of weights is, by what it says of itself, else by the catalogue.

    Args:
        path: the file.
        model: the network whose published checkpoints it may be; None for those of all.
        published: the checkpoint that it is, where that is known.
        fetched: the same file as it came from the Hugging Face hub, if it did.

    Raises:
        OSError: the file cannot be read.
    """
    if own := describe(path):
        variants = tuple(dict.fromkeys((own.variant, *own.variants)))
        return Recognized(own.origin, own.model, variants)
    sha256 = fetched.sha256 if fetched else sha256_of(path)
    known = published or (fetched and identify_on_hub(fetched.address, sha256))
    known = known or identify(model, path.name, sha256)
    origin = Origin(path.name, sha256)
    if fetched:
        origin = replace(origin, license=fetched.license, hub=str(fetched.address))
    if known is None:
        return Recognized(origin)
    known_origin = replace(
        origin, license=known.license, checkpoint=known.name, settings=known.settings
    )
    return Recognized(known_origin, known.model, known.variants)


def describe(path: str | Path) -> Description | None:
    """Read what a file of ours says of itself; None for any other file."""
    try:
        return read_description(Path(path))
    except (ValueError, OSError):
        return None


def read_description(path: Path) -> Description:
    """Read what a file of ours says of itself.

    Raises:
        ValueError: the file is not ours, or not whole; reads on from the name of the file.
        OSError: it cannot be read.
    """
    header = read_header(path)
    try:
        fields = json.loads(header['__metadata__'][_KEY])
        description = Description(**{**fields, 'variants': tuple(fields['variants'])})
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError('was not written by `nndepth weights import`; remove it') from error
    texts = (description.model, description.variant, description.source, description.source_sha256)
    optional = (description.checkpoint, description.license, description.hub)
    if (
        not all(isinstance(text, str) for text in (*texts, *description.variants))
        or not all(text is None or isinstance(text, str) for text in optional)
        or not isinstance(description.settings, dict)
    ):
        raise ValueError('says of itself what files of ours do not; remove it')
    return description
