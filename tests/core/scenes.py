"""Scenes whose disparity is known."""

from __future__ import annotations

import cv2
import numpy as np


def slope(width: int, height: int = 96) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A textured slope of 8 to 20 px and a square of 26 px: left, right, disparity."""
    rng = np.random.default_rng(3)
    disparity = np.repeat(np.linspace(8, 20, height, dtype=np.float32)[:, None], width, axis=1)
    disparity[30:60, 80:120] = 26
    texture = cv2.GaussianBlur(rng.integers(0, 256, (height, width), np.uint8), (0, 0), 1.2)
    right = np.repeat(texture[..., None], 3, axis=2)
    x = np.arange(width, dtype=np.float32) - disparity
    y = np.repeat(np.arange(height, dtype=np.float32)[:, None], width, axis=1)
    left = cv2.remap(right, x, y, cv2.INTER_LINEAR, None, cv2.BORDER_REFLECT)
    return left, right, disparity
