"""What `stats` of a node tells, as far as a recording tells the same each time it is replayed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nndepth_core.engines import Engine
from nndepth_ros.bag import STATS_TYPE, TYPES
from nndepth_ros.pipeline import Estimate, Moment

_NOTHING = {'string': '', 'float32': 0.0, 'uint32': 0, 'uint64': 0}
"""What stands for what is not known, by the type of a field."""
_NO_STAMP = TYPES.types['builtin_interfaces/msg/Time'](0, 0)


def stats_message(
    engine: Engine, moment: Moment, estimate: Estimate, measured: Mapping[str, Any]
) -> Any:
    """Make the message of one moment; times are NaN and counts 0.

    Args:
        engine: what executed the model.
        moment: the messages that were estimated from.
        estimate: the estimate.
        measured: fields that only one task knows.
    """
    headers = [image.header for image in moment.images]
    kinds = {name: described[1][0] for name, described in TYPES.fielddefs[STATS_TYPE][1]}
    blank = {
        name: math.nan if name.endswith('_ms') else _NOTHING[kind]
        for name, kind in kinds.items()
        if kind in _NOTHING
    }
    known = {
        'header': headers[0],
        'right_stamp': headers[1].stamp if len(headers) > 1 else _NO_STAMP,
        'model': engine.spec.title,
        'engine': engine.name,
        'device': engine.device,
        'iterations': engine.iterations,
        'density': estimate.density,
    }
    for name, size in (
        ('input', estimate.frame.size),
        ('processing', estimate.result.processing_size),
        ('output', estimate.size),
    ):
        known |= zip((f'{name}_width', f'{name}_height'), size, strict=True)
    return TYPES.types[STATS_TYPE](**{**blank, **known, **measured})
