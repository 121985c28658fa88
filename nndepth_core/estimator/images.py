"""What images an estimator takes."""

from __future__ import annotations

import numpy as np


def check_image(name: str, image: np.ndarray) -> None:
    """Raise ValueError unless an image is uint8 RGB (H, W, 3) with at least one pixel."""
    if not isinstance(image, np.ndarray):
        raise ValueError(
            f'{name} is a {type(image).__name__}; give an array, uint8 RGB (height, width, 3)'
        )
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(
            f'{name} is {image.dtype} {image.shape}; give uint8 RGB (height, width, 3)'
        )


def check_pair(left: np.ndarray, right: np.ndarray) -> None:
    """Raise ValueError unless both images are uint8 RGB (H, W, 3) of one size."""
    check_image('left image', left)
    check_image('right image', right)
    if left.shape != right.shape:
        raise ValueError(
            f'left is {left.shape[1]}x{left.shape[0]} and right {right.shape[1]}x{right.shape[0]};'
            ' the images of a pair must have one size'
        )
