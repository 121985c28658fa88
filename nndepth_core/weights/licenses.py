"""What a licence of weights says of commercial use. It is what authors state, no legal advice."""

from __future__ import annotations

import re
from typing import Literal

CommercialUse = Literal['allowed', 'forbidden', 'not stated']

COMMERCIAL = frozenset({'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', 'MIT'})
"""The licences that allow commercial use. What is written otherwise, not stated, or said of a part
of the weights only does not count."""

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


def license_of_card(name: object) -> str | None:
    """Return our name of a licence that a model card of the hub states; None where it has none."""
    return _CARDS.get(name.lower(), name) if isinstance(name, str) else None
