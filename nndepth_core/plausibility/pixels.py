"""Checks whether the pixel values of images can be true."""

from __future__ import annotations

import math

import cv2
import numpy as np

from nndepth_core.plausibility.findings import Finding, Level

FEW_LEVELS = 16  # of 256; images with fewer grey levels can hardly be matched
LEVELS = (8, 10, 12, 14, 16)  # the numbers of bits that cameras give


class UsedBits:
    """The number of bits that a stream of 16-bit images uses: the largest number seen so far.

    Both images of a pair share it and it never decreases, so that brightness stays comparable.
    """

    def __init__(self) -> None:
        self.bits = LEVELS[0]
        self.largest = 0

    def see(self, largest: int) -> None:
        """Update the number of bits with the largest value of an image."""
        self.largest = max(self.largest, largest)
        self.bits = next(bits for bits in LEVELS if self.largest < 2**bits)

    def findings(self) -> list[Finding]:
        """Report, if so, that the values do not use all bits."""
        if self.bits == LEVELS[-1] or not self.largest:
            return []
        text = (
            f'16-bit images use {self.bits} bits (largest value so far {self.largest}): their '
            f'values 0..{2**self.bits - 1} are stretched to 0..255'
        )
        return [Finding('used_bits', Level.INFO, text)]


def eight_bits(values: np.ndarray, used_bits: UsedBits | None = None) -> np.ndarray:
    """Convert 16-bit values to uint8 by the range of all 16 bits, or of those that are used."""
    if used_bits is None:
        return stretch(values, 16)
    used_bits.see(int(values.max()))
    return stretch(values, used_bits.bits)


def stretch(values: np.ndarray, bits: int) -> np.ndarray:
    """Convert values of so many bits to uint8."""
    return cv2.convertScaleAbs(values.astype(np.uint16), alpha=255 / (2**bits - 1))


def examine_image_levels(image: np.ndarray, side: str = '') -> list[Finding]:
    """Check the grey values of an image, uint8 RGB (H, W, 3), of the 'left' or 'right' side."""
    step = max(1, round(math.sqrt(image.shape[0] * image.shape[1] / 1e5)))
    low, high = np.percentile(image[::step, ::step].max(axis=2), (0.5, 99.5))
    if high - low >= FEW_LEVELS:
        return []
    name, code = (f'{side} image', f'levels_{side}') if side else ('image', 'levels')
    text = (
        f'the {name} shows grey levels {low:.0f} to {high:.0f} of 0 to 255: the lens is '
        'covered, the exposure is wrong or the scene has no contrast'
    )
    return [Finding(code, Level.WARN, text)]


def examine_levels(left: np.ndarray, right: np.ndarray) -> list[Finding]:
    """Check the grey values of a pair, uint8 RGB (H, W, 3)."""
    found = examine_image_levels(left, 'left') + examine_image_levels(right, 'right')
    if not found and left.shape == right.shape and np.array_equal(left, right):
        text = (
            'left and right are the same image, so that every disparity is 0: the same topic or '
            'file is used for both; give those of two cameras'
        )
        found.append(Finding('same_picture', Level.ERROR, text))
    return found
