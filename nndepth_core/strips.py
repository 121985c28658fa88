"""Strips of maps: several passes over one of them do not leave the caches of the processor."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_VALUES = 1 << 16
"""In a strip; fewer would take longer by the number of calls."""


def strips(values: np.ndarray) -> Iterator[slice]:
    """Yield the rows of one strip of a map (H, ...) after the other."""
    height = len(values)
    rows = max(1, _VALUES * height // max(1, values.size))
    for start in range(0, height, rows):
        yield slice(start, min(start + rows, height))
