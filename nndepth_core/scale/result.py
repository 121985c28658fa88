"""The result of a network without metres, brought to metres."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from nndepth_core.estimator import DepthResult
from nndepth_core.scale.fit import Scale


@dataclass(frozen=True)
class ScaledResult(DepthResult):
    """A result in metres, to be used like that of a network that gives metres.

    Attributes:
        unscaled: what the network gave.
        scale: what turned it into metres.
    """

    unscaled: DepthResult = field(kw_only=True)
    scale: Scale = field(kw_only=True)

    @classmethod
    def of(cls, result: DepthResult, scale: Scale) -> ScaledResult:
        """Scale a result; its confidence and times stay as they are."""
        given = {item.name: getattr(result, item.name) for item in fields(result)}
        given |= {'depth': scale.depth(result.depth), 'output': 'depth'}
        return cls(**given, unscaled=result, scale=scale)
