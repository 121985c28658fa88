"""Metric depth from maps of points that lack a shift along the view, as MoGe gives them.

Wang et al., "MoGe: Unlocking Accurate Monocular Geometry Estimation for Open-Domain Images with
Optimal Training Supervision", CVPR 2025, arXiv 2410.19115, 3.2. Needs no torch.

All points of an image lie too near or too far by the same depth. With the right shift they project
to the pixels that show them. The focal length follows from the same comparison where it is not
known; the optical axis is taken to meet the centre of the image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_SAMPLES = 64
"""Rows and columns of points that the shift is found with."""
_NARROWEST = math.radians(10)
"""The angle along the diagonal that every camera is assumed to see."""
_STEPS = 100
_ENOUGH = 1e-10
"""The share of the squared error by which a last step improves it."""


def metric_depth(
    x: np.ndarray,
    y: np.ndarray,
    depth: np.ndarray,
    focal: float | None = None,
) -> np.ndarray:
    """Add the shift to the depth of points.

    Args:
        x: float (H, W), right of the optical axis, in metres.
        y: likewise, below it.
        depth: likewise, along the axis, up to a shift; NaN where a pixel shows no point.
        focal: the focal length in pixels of these maps; None if it is not known.

    Returns:
        Depth in metres, float32 (H, W); NaN where it was or a point would lie behind the camera.
    """
    _, shift = focal_and_shift(x, y, depth, focal)
    shifted = depth + np.float32(shift)
    return np.where(shifted > 0, shifted, np.nan).astype(np.float32)


def focal_and_shift(
    x: np.ndarray,
    y: np.ndarray,
    depth: np.ndarray,
    focal: float | None = None,
) -> tuple[float, float]:
    """Find the shift of the depth, and the focal length if it is None.

    The sum of squared distances between pixels and projected points is minimised by Levenberg's
    and Marquardt's method, from no shift on. The best focal length for a shift is known in closed
    form.

    Args:
        x: as in `metric_depth`, in any unit, which is that of the shift.
        y: likewise.
        depth: likewise.
        focal: the focal length in pixels of these maps.

    Returns:
        The focal length in pixels and the shift. With fewer than two points there is no shift,
        and an unknown focal length is half the diagonal of the maps. A wall that faces a camera
        of unknown focal length looks alike from everywhere: where the best camera would see less
        than 10 degrees, there is no shift either, and the focal length is the best without.
    """
    height, width = depth.shape
    half_diagonal = math.hypot(height, width) / 2
    rows, columns = (np.arange(_SAMPLES) * side // _SAMPLES for side in (height, width))
    grid = np.ix_(rows, columns)
    counts = np.isfinite(depth[grid])
    if np.count_nonzero(counts) < 2:
        return focal or half_diagonal, 0.0
    points = np.stack([values[grid][counts] for values in (x, y, depth)], 1).astype(np.float64)
    across, down = np.meshgrid(columns + (1 - width) / 2, rows + (1 - height) / 2)
    with np.errstate(divide='ignore', invalid='ignore'):  # a step may meet a depth of zero
        pixels = np.stack([across[counts], down[counts]], 1)
        start = _Fit.of(points, pixels, focal, 0.0)
        fit = _improved(start, points, pixels, focal)
    if focal is None and not 0 < fit.focal < half_diagonal / math.tan(_NARROWEST / 2):
        fit = start
    return fit.focal, fit.shift


def _improved(fit: _Fit, points: np.ndarray, pixels: np.ndarray, focal: float | None) -> _Fit:
    """Find the shift with which points (n, 3) project best to pixels (n, 2) from the axis."""
    damping = 1e-3
    for _ in range(_STEPS):
        slope = fit.slope(pixels, focal)
        step = -float((slope * fit.off).sum() / ((1 + damping) * (slope * slope).sum()))
        better = _Fit.of(points, pixels, focal, fit.shift + step)
        if not better.error < fit.error:
            damping *= 10
            continue
        done = fit.error - better.error <= _ENOUGH * fit.error
        fit, damping = better, damping / 10
        if done:
            break
    return fit


@dataclass(frozen=True)
class _Fit:
    """How far points project from their pixels with a shift.

    Attributes:
        shift: what is added to the depths.
        focal: the focal length, the best one where it is not known.
        distances: the shifted depths (n, 1).
        rays: x and y over them, (n, 2).
        off: the projected points less their pixels, (n, 2).
        error: the sum of squares of that.
    """

    shift: float
    focal: float
    distances: np.ndarray
    rays: np.ndarray
    off: np.ndarray
    error: float

    @classmethod
    def of(cls, points: np.ndarray, pixels: np.ndarray, focal: float | None, shift: float) -> _Fit:
        """Project points (n, 3) and compare them with pixels (n, 2)."""
        distances = points[:, 2:] + shift
        rays = points[:, :2] / distances
        used = focal or float((rays * pixels).sum() / (rays * rays).sum())
        off = used * rays - pixels
        return cls(shift, used, distances, rays, off, float((off * off).sum()))

    def slope(self, pixels: np.ndarray, focal: float | None) -> np.ndarray:
        """The derivative of `off` by the shift, in which an unknown focal length follows it."""
        turned = -self.rays / self.distances
        slope = self.focal * turned
        if focal is None:
            change = (turned * (pixels - 2 * self.focal * self.rays)).sum()
            slope = slope + change / (self.rays * self.rays).sum() * self.rays
        return slope
