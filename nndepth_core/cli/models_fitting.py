"""`nndepth models --for`: the models that fit a machine, a licence and a time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from nndepth_core.cli.table import table
from nndepth_core.weights.choice import Offer

_UNKNOWN = '-'
_FOOTER = """\
Latencies are those of one pair or image. Measured ones are this project's, at default iterations
and by the fastest engine, and memory is the peak beyond the loaded model; published ones are the
authors' or others', each at a size of its own. Our code is Apache-2.0 for all models; the licence
is that of the weights. It is what their authors state, and no legal advice."""


def show(offers: Sequence[Offer], left_out: Counter[str], as_json: bool) -> None:
    """Print the models that fit, what to be careful about, and what was left out and why."""
    if as_json:
        print(json.dumps([_record(offer) for offer in offers], indent=2))
        return
    print(_table(offers) if offers else 'no model fits')
    for text, models in _cautions(offers).items():
        print(f'\ncaution, {", ".join(models)}: {text}')
    if left_out:
        reasons = ', '.join(f'{count} {reason}' for reason, count in left_out.items())
        print(f'\nleft out: {reasons}')
    print(f'\n{_FOOTER}')


def _table(offers: Sequence[Offer]) -> str:
    headings = ['model', 'variant', 'task', 'ms', 'memory MiB', 'known', 'size', 'machine']
    rows = [[*headings, 'weights licence', 'weights']]
    for offer in offers:
        figure = offer.figure
        licences = dict.fromkeys(entry.license for entry in offer.checkpoints)
        rows.append(
            [
                offer.network.name,
                offer.variant or _UNKNOWN,
                offer.network.task,
                f'{figure.ms:.0f}' if figure else _UNKNOWN,
                f'{figure.memory_mib:.0f}' if figure and figure.memory_mib else _UNKNOWN,
                figure.basis if figure else _UNKNOWN,
                (figure.size or 'not stated') if figure else _UNKNOWN,
                figure.machine if figure else _UNKNOWN,
                ', '.join(licences) or 'needs none',
                ' '.join(entry.name for entry in offer.checkpoints) or _UNKNOWN,
            ]
        )
    return table(rows, right=(3, 4))


def _cautions(offers: Sequence[Offer]) -> dict[str, list[str]]:
    """The models by what is to be known before their weights are used."""
    cautions: dict[str, list[str]] = {}
    for offer in offers:
        for text in offer.cautions:
            cautions.setdefault(text, []).append(f'{offer.network.name}-{offer.variant}')
    return cautions


def _record(offer: Offer) -> dict[str, Any]:
    return {
        'model': offer.network.name,
        'variant': offer.variant,
        'task': offer.network.task,
        'figure': asdict(offer.figure) if offer.figure else None,
        'weights': {entry.name: entry.license for entry in offer.checkpoints},
        'commercial_use': {entry.name: entry.commercial_use for entry in offer.checkpoints},
        'cautions': list(offer.cautions),
    }
