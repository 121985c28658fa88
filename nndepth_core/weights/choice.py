"""Which models fit a machine, a licence and a time, by measured or published figures.

Needs no torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from nndepth_core.spec import title_of
from nndepth_core.weights.catalogue import Checkpoint, Network, catalogue
from nndepth_core.weights.licenses import COMMERCIAL
from nndepth_core.weights.measured import Device, Measured, measured

DEFAULT_SIZE = '640x480'


@dataclass(frozen=True)
class Figure:
    """A latency and how it is known.

    Attributes:
        ms: milliseconds for a pair or image.
        memory_mib: the memory of a run beyond the loaded model, None where unknown.
        basis: 'measured' by this project or 'published' by others.
        size: width x height of the images, None where that is not stated.
        machine: where, by what, and for published figures who says so.
    """

    ms: float
    memory_mib: float | None
    basis: Literal['measured', 'published']
    size: str | None
    machine: str


@dataclass(frozen=True)
class Offer:
    """A model that fits.

    Attributes:
        network: the network.
        variant: its variant, '' where there are none.
        checkpoints: its published weights that fit; none where no weights are needed.
        figure: the latency, None where it is not known.
    """

    network: Network
    variant: str
    checkpoints: tuple[Checkpoint, ...]
    figure: Figure | None

    @property
    def cautions(self) -> tuple[str, ...]:
        """What is to be known before the weights are used commercially."""
        texts = (x.caution for x in self.checkpoints if x.commercial)
        return tuple(dict.fromkeys(filter(None, texts)))


def choose(
    device: Device,
    commercial: bool = False,
    max_ms: float | None = None,
    size: str = DEFAULT_SIZE,
    rows: Iterable[Measured] | None = None,
) -> tuple[list[Offer], Counter[str]]:
    """List the models that fit, the fastest first.

    Args:
        device: what they are to run on.
        commercial: whether the licence of the weights must allow commercial use.
        max_ms: the largest latency; models whose latency is not known do not fit then.
        size: width x height at which figures were measured; published ones are taken at the size
            that their authors chose.
        rows: the measurements; None takes those of the package.

    Returns:
        The models, and the number of those left out by the reason.
    """
    taken = measured() if rows is None else tuple(rows)
    offers, out = [], Counter[str]()
    for network in catalogue().values():
        if device == 'gpu' and not network.variants:
            out['for the CPU only'] += 1
            continue
        for variant in network.variants or ('',):
            figure = figure_of(network, variant, device, size, taken)
            published = network.checkpoints_of(variant)
            checkpoints = tuple(x for x in published if x.commercial or not commercial)
            if not (published or _needs_no_weights(network)):
                out['without published weights'] += 1
            elif commercial and not (checkpoints or _needs_no_weights(network)):
                out['without weights under a licence for commercial use'] += 1
            elif max_ms is not None and figure is None:
                out[f'of unknown latency on a {device}'] += 1
            elif max_ms is not None and figure is not None and figure.ms > max_ms:
                out[f'slower than {max_ms:g} ms'] += 1
            else:
                offers.append(Offer(network, variant, checkpoints, figure))
    return sorted(offers, key=_speed), out


def figure_of(
    network: Network, variant: str, device: Device, size: str, rows: Sequence[Measured]
) -> Figure | None:
    """The fastest measured figure of a variant, else the fastest published one, else None."""
    title = title_of(network.name, variant)
    fitting = [x for x in rows if (x.model, x.device, x.size) == (title, device, size)]
    if fitting:
        best = min(fitting, key=lambda row: row.latency_ms)
        return Figure(best.latency_ms, best.memory_mib, 'measured', size, where(best))
    known = network.variants[variant].latencies if variant else ()
    if published := [entry for entry in known if entry.device == device]:
        first = min(published, key=lambda entry: entry.ms)
        place = f'{first.machine} ({first.source})'
        return Figure(first.ms, None, 'published', first.size, place)
    return None


def where(row: Measured) -> str:
    """Say what a figure was measured with."""
    details = [row.runtime, row.precision] if row.engine != 'opencv' else [row.runtime]
    details += [row.mode] if row.mode != 'eager' else []
    details += [f'{row.threads} thread{"s" if row.threads > 1 else ""}'] if row.threads else []
    return f'{row.machine} ({", ".join(details)})'


def _needs_no_weights(network: Network) -> bool:
    return not network.variants and network.code_license in COMMERCIAL


def _speed(offer: Offer) -> tuple[bool, float]:
    return offer.figure is None, offer.figure.ms if offer.figure else 0.0
