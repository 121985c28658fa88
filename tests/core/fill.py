"""Deterministic weights: the rule under which the golden outputs were computed.

Every entry's values come from a generator seeded by the CRC-32 of its official name, so that
two implementations that agree on names and shapes hold the same weights.
"""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).parents[1] / 'data' / 'golden'


def fill(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values of the entry `name`, float32: matrices scaled by fan-in, norms near the identity."""
    values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, np.float32)
    kind = name.rsplit('.', 1)[-1]
    if kind == 'running_var':
        return 1 + np.abs(values) / 10
    if kind == 'running_mean':
        return values / 10
    if len(shape) > 1:
        return values / np.float32(math.sqrt(max(1, math.prod(shape[1:]))))
    if kind == 'weight':
        return 1 + values / 10
    return values / 20


def load_golden(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The facts (official entries, gain, iterations ...) and arrays of tests/data/golden."""
    facts = json.loads((GOLDEN / f'{name}.json').read_text())
    with np.load(GOLDEN / f'{name}.npz') as arrays:
        return facts, dict(arrays)
