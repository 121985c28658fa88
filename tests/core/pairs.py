"""Pairs as engines take them."""

import numpy as np


def stereo(left: np.ndarray, right: np.ndarray) -> dict[str, np.ndarray]:
    """The inputs of a stereo engine, uint8 RGB (N, H, W, 3) each."""
    return {'left': left, 'right': right}
