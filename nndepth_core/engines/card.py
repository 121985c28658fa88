"""What an ONNX file says of itself, in its metadata; written by the export, read by the engine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from nndepth_core.engines.base import EngineError, ModelSpec, Placement
from nndepth_core.engines.reference import Reference

_KEY = 'nndepth'


@dataclass(frozen=True)
class ModelCard:
    """Description of an exported network.

    Attributes:
        network: registry name.
        variant: which of its variants.
        weights: where they came from.
        weights_sha256: hash of the file they were published in.
        license: of the weights, None where unknown.
        precision: 'fp32', 'fp16' or 'int8'.
        iterations: steps the graph takes; 0 where the network has none.
        multiple: height and width must be multiples of this.
        placement: where padding goes, see `ModelSpec`.
        minimum: smallest (height, width).
        confidence: how the confidence arises, see `ModelSpec`.
        reference: what torch computes on the pair of the self-test.
        output: what `disparity` holds.
    """

    network: str
    variant: str
    weights: str
    weights_sha256: str
    license: str | None
    precision: str
    iterations: int
    multiple: int
    placement: Placement
    minimum: tuple[int, int]
    confidence: str
    reference: Reference
    output: str = 'positive disparity of the left image in pixels of the input'

    def metadata(self) -> dict[str, str]:
        """The card as entries of an ONNX file's metadata."""
        return {_KEY: json.dumps(asdict(self))}

    @classmethod
    def read(cls, metadata: Mapping[str, str]) -> ModelCard | None:
        """Read the card out of metadata; None where there is none.

        Raises:
            EngineError: there is one of another kind.
        """
        if _KEY not in metadata:
            return None
        try:
            fields = json.loads(metadata[_KEY])
            reference = fields['reference']
            sizes = {
                'minimum': tuple(fields['minimum']),
                'reference': Reference(
                    tuple(reference['size']), tuple(reference['disparity']), reference['tolerance']
                ),
            }
            return cls(**{**fields, **sizes})
        except (ValueError, KeyError, TypeError) as error:
            raise EngineError(
                f'the metadata was written by another version of nndepth ({error}); export again'
            ) from error

    def spec(self, fixed_size: tuple[int, int] | None) -> ModelSpec:
        """What the estimator must know."""
        return ModelSpec(
            self.network,
            self.variant,
            multiple=self.multiple,
            minimum=self.minimum,
            placement=self.placement,
            fixed_size=fixed_size,
            confidence=self.confidence,
        )
