"""From the positions of two cameras to rectifying rotations and projections."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from nndepth_core.camera import CalibrationError
from nndepth_core.rectification.raw_camera import (
    Matrix,
    check_lens,
    check_rotation,
    intrinsics_of,
)


@dataclass(frozen=True)
class Lens:
    """What makes the raw image of one camera: K, the distortion model and D."""

    k: Matrix
    model: str
    d: Matrix


def rectify_pair(
    left: Lens, right: Lens, size: tuple[int, int], rotation: Matrix, translation: Matrix
) -> list[tuple[Matrix, Matrix]]:
    """Compute how both cameras of a pair are rectified, by cv2.stereoRectify.

    Points at infinity get the disparity 0 (CALIB_ZERO_DISPARITY), and the rectified images show
    only what the raw ones do (alpha or balance 0).

    Args:
        left: the lens of the left camera.
        right: that of the right camera.
        size: (width, height) of the raw images, which the rectified ones have too.
        rotation: R, 3x3 row-major, of x_right = R x_left + T.
        translation: T of the same equation, in metres.

    Returns:
        R and P of the left camera, and those of the right one, row-major.

    Raises:
        CalibrationError: the pair cannot be rectified.
    """
    for lens in (left, right):
        check_lens(lens.model, lens.d)
        intrinsics_of(lens.k, size)
    fisheye = left.model == 'equidistant'
    if fisheye != (right.model == 'equidistant'):
        raise CalibrationError(
            f'the left lens is {left.model} and the right one {right.model}; give a calibration '
            'that holds R and P of both cameras, or calibrate both with one model'
        )
    turn, apart = np.array(rotation, np.float64), np.array(translation, np.float64)
    if turn.size != 9 or apart.size != 3 or not np.isfinite([*turn, *apart]).all():
        raise CalibrationError(
            f'R and T between the cameras have {turn.size} and {apart.size} entries; they are '
            'nine and three finite numbers'
        )
    check_rotation(rotation)
    if not apart.any():
        raise CalibrationError('T between the cameras is 0; they must stand apart')
    if abs(apart[2]) > math.hypot(*apart[:2]):
        raise CalibrationError(
            f'T between the cameras is {apart.tolist()}, along the view: one stands behind the '
            'other; a pair stands side by side, so check T and R'
        )
    k_left, d_left, k_right, d_right = (
        np.array(matrix, np.float64).reshape(-1, columns)
        for lens in (left, right)
        for matrix, columns in ((lens.k, 3), (lens.d, 1))
    )
    pair = k_left, d_left, k_right, d_right, size, turn.reshape(3, 3), apart.reshape(3, 1)
    flags = cv2.CALIB_ZERO_DISPARITY
    try:
        if fisheye:
            matrices = cv2.fisheye.stereoRectify(*pair, flags=flags, balance=0)[:4]
        else:
            matrices = cv2.stereoRectify(*pair, flags=flags, alpha=0)[:4]
    except cv2.error as error:
        raise CalibrationError(
            f'the cameras cannot be rectified ({" ".join(str(error).split())[:200]}); check K, D, '
            'R and T'
        ) from error
    r_left, r_right, p_left, p_right = (matrix.reshape(-1).tolist() for matrix in matrices)
    return [(r_left, p_left), (r_right, p_right)]
