"""The catalogue of networks and published checkpoints (catalogue.yaml). Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import yaml

from nndepth_core.weights.hub import HubAddress
from nndepth_core.weights.licenses import CommercialUse, commercial_use

if TYPE_CHECKING:
    from nndepth_core.spec import Task

_FILE = Path(__file__).with_name('catalogue.yaml')

BENCHMARKS = {
    'scene_flow_epe': 'Scene Flow EPE',
    'kitti_2012_3noc': 'KITTI-12 3-noc',
    'kitti_2015_d1': 'KITTI-15 D1',
    'middlebury_bad2': 'Middlebury bad-2',
    'eth3d_bad1': 'ETH3D bad-1',
}
"""Headings of the published figures: an error in pixels, then shares of bad pixels in per cent."""


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights that a network's authors published; the fields are those of the YAML.

    `settings` are those of the network's constructor that the shapes of the entries cannot tell.
    """

    model: str
    name: str
    file: str
    variants: tuple[str, ...]
    trained_on: str
    license: str
    page: str | None
    metrics: Mapping[str, float]
    url: str | None = None
    hub: tuple[HubAddress, ...] = ()
    archive: bool = False
    sha256: str | None = None
    sha256_source: str = ''
    size: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    note: str = ''
    caution: str = ''

    @property
    def id(self) -> str:
        """How commands and the store call it."""
        return f'{self.model}/{self.name}'

    @property
    def commercial(self) -> bool:
        """Whether the licence that is stated for the weights allows commercial use.

        It says nothing of the data that they were trained on; `caution` may.
        """
        return self.commercial_use == 'allowed'

    @property
    def commercial_use(self) -> CommercialUse:
        """What the licence says of commercial use."""
        return commercial_use(self.license)

    def record(self) -> dict[str, Any]:
        """What is known of it, as values of JSON."""
        hub = [str(address) for address in self.hub]
        return {**asdict(self), 'hub': hub, 'commercial_use': self.commercial_use}


@dataclass(frozen=True)
class Latency:
    """A published latency.

    Attributes:
        ms: milliseconds for a pair or image.
        device: 'cpu' or 'gpu'.
        size: width x height of the images, None where that is not stated.
        machine: what it was measured on.
        source: who says so.
    """

    ms: float
    device: Literal['cpu', 'gpu']
    size: str | None
    machine: str
    source: str


@dataclass(frozen=True)
class Variant:
    """Size and work of a variant; `macs` are those of one 640x480 pair, None where unknown."""

    parameters: int
    macs: float | None
    latencies: tuple[Latency, ...] = ()


@dataclass(frozen=True)
class Network:
    """A network, its variants (default first) and the checkpoints published for it."""

    name: str
    task: Task
    title: str
    paper: str
    code: str
    code_license: str
    weights_license: str | None
    page: str | None
    caution: str = ''
    variants: Mapping[str, Variant] = field(default_factory=dict)
    checkpoints: Mapping[str, Checkpoint] = field(default_factory=dict)

    def checkpoints_of(self, variant: str) -> list[Checkpoint]:
        """The checkpoints that fit a variant."""
        return [entry for entry in self.checkpoints.values() if variant in entry.variants]

    def figures(self, variant: str) -> dict[str, float]:
        """The best published figure on each benchmark, by key of BENCHMARKS."""
        metrics = [checkpoint.metrics for checkpoint in self.checkpoints_of(variant)]
        return {
            key: min(values)
            for key in BENCHMARKS
            if (values := [figures[key] for figures in metrics if key in figures])
        }


@cache
def catalogue() -> dict[str, Network]:
    """Every network by name."""
    networks = yaml.safe_load(_FILE.read_text(encoding='utf-8'))
    return {name: _network(name, fields) for name, fields in networks.items()}


def find_network(name: str) -> Network:
    """Return a network by name.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in catalogue():
        raise ValueError(f'model {name!r} is unknown; choose one of {", ".join(catalogue())}')
    return catalogue()[name]


def find_checkpoint(identifier: str) -> Checkpoint:
    """Return a checkpoint by network and name, e.g. 'raft_stereo/middlebury'.

    Raises:
        ValueError: there is none of this name.
    """
    model, _, name = identifier.partition('/')
    known = find_network(model).checkpoints
    if name not in known:
        names = ', '.join(entry.id for entry in known.values()) or f'nothing for {model}'
        raise ValueError(f'{identifier!r} is not in the catalogue, which holds {names}')
    return known[name]


def identify(model: str | None, file: str, sha256: str) -> Checkpoint | None:
    """Tell which published checkpoint a file is.

    Its hash decides. Where no hash is known, its name does if only one checkpoint has that name.

    Args:
        model: network whose checkpoints it may be; None for those of all networks.
        file: its name.
        sha256: its hash.
    """
    networks = [network for name, network in catalogue().items() if model in (None, name)]
    entries = [entry for network in networks for entry in network.checkpoints.values()]
    same = [entry for entry in entries if entry.sha256 and sha256.startswith(entry.sha256)]
    named = [entry for entry in entries if entry.file == file]
    if not same and len(named) == 1 and not named[0].sha256:
        same = named
    return same[0] if same else None


def identify_on_hub(file: HubAddress, sha256: str) -> Checkpoint | None:
    """Tell which published checkpoint a file on the hub is, by its place.

    The hash has to agree where the catalogue knows that of a file of this name.
    """
    networks = catalogue().values()
    for entry in (entry for network in networks for entry in network.checkpoints.values()):
        if any(address.holds(file) for address in entry.hub):
            pinned = entry.sha256 if entry.file == PurePosixPath(file.file or '').name else None
            return entry if sha256.startswith(pinned or '') else None
    return None


def _network(name: str, fields: Mapping) -> Network:
    shared = {'model': name, 'license': fields['weights_license'], 'page': fields['page']}
    shared['caution'] = fields.get('caution', '')
    checkpoints = {
        key: _checkpoint(**{**shared, **entry, 'name': key})
        for key, entry in fields['checkpoints'].items()
    }
    variants = {key: _variant(**entry) for key, entry in fields['variants'].items()}
    return Network(**{**fields, 'name': name, 'variants': variants, 'checkpoints': checkpoints})


def _checkpoint(variants: Sequence[str], hub: Sequence[str] = (), **fields: Any) -> Checkpoint:
    addresses = tuple(HubAddress.parse(text) for text in hub)
    return Checkpoint(**fields, variants=tuple(variants), hub=addresses)


def _variant(latencies: Sequence[Mapping[str, Any]] = (), **fields: Any) -> Variant:
    return Variant(**fields, latencies=tuple(Latency(**entry) for entry in latencies))
