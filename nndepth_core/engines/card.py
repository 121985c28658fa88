"""What an ONNX file says of its model: the export writes it into the metadata, engines read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from nndepth_core.engines.base import EngineError
from nndepth_core.engines.contract import Contract
from nndepth_core.engines.reference import Reference
from nndepth_core.files.values import choice, text
from nndepth_core.spec import ModelSpec
from nndepth_core.weights.description import Origin

_KEY = 'nndepth'
_OWN = Contract()
"""For cards without a contract: images are taken as they are, tensors are found by their names."""


@dataclass(frozen=True)
class ModelCard:
    """Description of an exported network.

    Attributes:
        spec: what the network takes and gives.
        weights: where the weights came from.
        weights_sha256: the hash of the file in which the weights were published.
        license: the licence of the weights, None if it is unknown.
        precision: 'fp32', 'fp16' or 'int8'.
        reference: what torch computes on the inputs of the self-test.
        contract: how images become inputs of the graph, and how its outputs become a disparity.

    Raises:
        ValueError: a field has a wrong type or is out of its range.
    """

    spec: ModelSpec
    weights: str
    weights_sha256: str
    license: str | None
    precision: str
    reference: Reference
    contract: Contract = _OWN

    def __post_init__(self) -> None:
        for name in ('weights', 'weights_sha256'):
            text(name, getattr(self, name))
        if self.license is not None:
            text('license', self.license)
        choice('precision', self.precision, ('fp32', 'fp16', 'int8'))

    @property
    def origin(self) -> Origin:
        """Where the weights came from."""
        return Origin(self.weights, self.weights_sha256, self.license)

    def metadata(self) -> dict[str, str]:
        """Return the card as entries for the metadata of an ONNX file."""
        parts = {'spec': self.spec.settings(), 'contract': self.contract.settings()}
        return {_KEY: json.dumps({**asdict(self), **parts})}

    @classmethod
    def read(cls, metadata: Mapping[str, str]) -> ModelCard | None:
        """Read the card from metadata; return None if they hold no card.

        Raises:
            EngineError: the card has another format, or values that are not allowed.
        """
        if _KEY not in metadata:
            return None
        try:
            entries = json.loads(metadata[_KEY])
            if not isinstance(entries, dict):
                raise ValueError('it does not hold names and values')
            known = [field.name for field in fields(cls)]
            values = {name: entries[name] for name in known if name in entries}
            if missing := [name for name in known if name not in (*values, 'contract')]:
                raise ValueError(f'{missing[0]} is missing')
            reference = _part(values, 'reference')
            parts = [_tuple(reference.get(field.name)) for field in fields(Reference)]
            values['reference'] = Reference(*parts)
            values['spec'] = ModelSpec.of(_part(values, 'spec'))
            if 'contract' in values:
                values['contract'] = Contract.of(_part(values, 'contract'))
            return cls(**values)
        except (ValueError, RecursionError) as error:
            raise EngineError(
                f'its metadata do not describe a model as this version of nndepth does ({error}); '
                'export it again'
            ) from error


def _part(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = values[name]
    if not isinstance(part, dict):
        raise ValueError(f'{name} does not hold names and values')
    return part


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
