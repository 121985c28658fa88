"""What a licence of weights says of commercial use. It is what authors state, no legal advice."""

from __future__ import annotations

import re
from typing import Literal

CommercialUse = Literal['allowed', 'forbidden', 'not stated']

COMMERCIAL = frozenset({'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', 'MIT'})
"""The licences that allow commercial use. What is written otherwise, not stated, or said of a part
of the weights only does not count."""

NOT_STATED = 'not stated'
_FORBID = re.compile(r'\bnc\b|non-?commercial|academic|research', re.IGNORECASE)
_CARDS = {
    'apache-2.0': 'Apache-2.0',
    'bsd-2-clause': 'BSD-2-Clause',
    'bsd-3-clause': 'BSD-3-Clause',
    'cc-by-nc-4.0': 'CC BY-NC 4.0',
    'cc-by-nc-sa-4.0': 'CC BY-NC-SA 4.0',
    'mit': 'MIT',
}
"""Names of licences in the cards of the Hugging Face hub, and ours."""


def commercial_use(license: str | None) -> CommercialUse:
    """Tell whether a licence allows commercial use; 'not stated' where its name does not say."""
    if license in COMMERCIAL:
        return 'allowed'
    return 'forbidden' if license and _FORBID.search(license) else 'not stated'


def check_commercial(license: str | None) -> None:
    """Refuse a licence that does not allow commercial use, or does not say so by its name.

    Raises:
        ValueError: it does not.
    """
    use = commercial_use(license)
    if use == 'allowed':
        return
    cure = 'choose what `nndepth models --for cpu --license commercial` lists'
    if license is None or license == NOT_STATED:
        found = 'none is stated'
        cure += ', or state it by `nndepth weights import FILE --license NAME`'
    else:
        found = (
            f'{license} {"forbids it" if use == "forbidden" else "does not say so by its name"}'
        )
    raise ValueError(
        'commercial_only asks for weights whose licence allows commercial use, and '
        f'{found}; {cure}'
    )


def stated_license(known: str | None, given: str | None) -> str | None:
    """Return the licence that is known of weights or, where none is stated, the one given.

    Raises:
        ValueError: another one is known.
    """
    given = license_of_card(given or None)
    if given and known not in (None, NOT_STATED, given):
        raise ValueError(f'license is {given}, but these weights are under {known}; leave it out')
    return given or known


def license_of_card(name: object) -> str | None:
    """Return our name of a licence that a model card of the hub states; None where it has none."""
    return _CARDS.get(name.lower(), name) if isinstance(name, str) else None


def card_of_license(license: str | None) -> dict[str, str]:
    """The entries of a model card of the hub that state a licence; none where none is stated."""
    if license is None or license == NOT_STATED:
        return {}
    known = {ours: name for name, ours in _CARDS.items()}
    if license in known or re.fullmatch('[a-z0-9.-]+', license):  # else it has no name there
        return {'license': known.get(license, license)}
    return {'license': 'other', 'license_name': license}
