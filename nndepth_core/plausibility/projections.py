"""Checks whether the projection matrices of a rectified pair can be true."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nndepth_core.plausibility import Finding, Level, Once

NARROWEST, WIDEST = 5.0, 170.0
"""The smallest and the largest plausible field of view of rectified images, in degrees."""


def examine_projections(
    p_left: Sequence[float], p_right: Sequence[float], width: int, height: int
) -> list[Finding]:
    """Check the intrinsics of both cameras.

    Args:
        p_left: the row-major 3x4 matrix P of the left camera.
        p_right: that of the right camera.
        width: of the image that both P are for, in pixels.
        height: of the same image, in pixels.
    """
    found = _compare(p_left, p_right)
    for side, p in (('left', p_left), ('right', p_right)):
        fx, cx, fy, cy = (float(p[index]) for index in (0, 2, 5, 6))
        if width < 1 or height < 1 or not (0 < fx < math.inf and 0 < fy < math.inf):
            continue  # such numbers make no camera, which is reported elsewhere
        found += _examine_view(side, 'fx', fx, 'wide', width)
        found += _examine_view(side, 'fy', fy, 'high', height)
        if not (-0.5 <= cx <= width - 0.5 and -0.5 <= cy <= height - 0.5):
            text = (
                f'the principal point of the {side} camera, cx = {cx:.6g} and cy = {cy:.6g}, lies '
                f'outside of its image of {width}x{height}: is the calibration of another size of '
                'image? (it is right only for a window cut from larger images)'
            )
            found.append(Finding('principal_point', Level.WARN, text))
    return Once()(found)  # faults of the left camera are mostly faults of the right one as well


def _examine_view(side: str, name: str, focal: float, extent: str, size: int) -> list[Finding]:
    """Compare a focal length with the size of the image along its axis, both in pixels."""
    angle = _view(focal, size)
    if NARROWEST <= angle <= WIDEST:
        return []
    meant = ''
    if NARROWEST <= _view(focal * size, size) <= WIDEST:
        meant = f" (as a share of the image's size it would mean {focal * size:.4g} px)"
    text = (
        f'{name} of the {side} camera is {focal:.4g} px and its image {size} px {extent}, a field '
        f'of view of {angle:.3g} degrees, outside of {NARROWEST:g} to {WIDEST:g}{meant}: give '
        'focal lengths in pixels, of images of this size'
    )
    return [Finding('field_of_view', Level.WARN, text)]


def _view(focal: float, size: int) -> float:
    return 2 * math.degrees(math.atan2(size / 2, focal))


def _compare(p_left: Sequence[float], p_right: Sequence[float]) -> list[Finding]:
    found = []
    for index, name, cure in (
        (0, 'fx', 'rectify both images to one focal length'),
        (5, 'fy', 'rectify both images to one focal length'),
        (6, 'cy', 'rows of a rectified pair share cy: calibrate the pair as stereo'),
    ):
        left, right = float(p_left[index]), float(p_right[index])
        if abs(left - right) > 1e-4 * max(abs(left), abs(right)):
            found.append(
                Finding(
                    f'{name}_mismatch',
                    Level.ERROR,
                    f'{name} differs: left P[{index}] = {left:.6g}, right {right:.6g}; {cure}',
                )
            )
    return found
