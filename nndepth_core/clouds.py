"""Clouds for costmaps and registration: only finite points, fewer of them, within a range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nndepth_core.camera import FARTHEST, PinholeCamera
from nndepth_core.files.values import within

MEANING = {
    'stride': 'only every so manieth row and column of the depth gives points',
    'voxel_size': 'edge in metres of the cubes of which each holds one point, the mean of its '
    'points; 0: all points',
    'voxel_sigmas': 'voxels double their edge until it is so many sigmas of the depth of a point; '
    '0: they are all alike',
    'min_range': 'points nearer to the origin of the frame are left out, metres; 0: no limit',
    'max_range': 'points farther from the origin of the frame are left out, metres; 0: no limit',
    'far_depth': 'metres along z at which what is too far (+inf) stands, so that costmaps clear '
    'the space before it; 0: it gives no points',
}
"""What each setting does, in the words of options and parameters."""
LOWEST = {'stride': 1}
HIGHEST = {
    'stride': 1000,
    'voxel_size': 1000.0,
    'voxel_sigmas': 100.0,
    'min_range': FARTHEST,
    'max_range': FARTHEST,
    'far_depth': FARTHEST,
}
"""The smallest values where that is not 0, and the largest ones."""
SMALLEST_VOXEL = 1e-6
"""The smallest edge of a voxel, metres."""

_COLOR = 3  # the column of the colour
_COLUMNS = (0, 1, 2, 4)  # those of x, y, z and sigma
_LARGEST_KEY = 2.0**62


@dataclass(frozen=True)
class CloudSettings:
    """Which points a cloud keeps.

    Attributes:
        stride: of the rows and columns that give points, 1 for all.
        voxel_size: the edge of the voxels in metres; 0 keeps all points.
        voxel_sigmas: how many sigmas of the depth of its points a voxel is wide at least; 0 keeps
            the edge at `voxel_size`.
        min_range: the smallest distance from the origin of the frame, metres.
        max_range: the largest distance, metres; 0 sets no limit.
        far_depth: the depth of points where it is +inf, metres; 0 makes no such points.
    """

    stride: int = 1
    voxel_size: float = 0.05
    voxel_sigmas: float = 0.0
    min_range: float = 0.0
    max_range: float = 0.0
    far_depth: float = 0.0

    def __post_init__(self) -> None:
        within(self, LOWEST, HIGHEST)
        if 0 < self.voxel_size < SMALLEST_VOXEL:
            raise ValueError(
                f'voxel_size is {self.voxel_size}; give at least {SMALLEST_VOXEL:g} metres, or 0 '
                'to keep all points'
            )
        if self.voxel_sigmas and not self.voxel_size:
            raise ValueError(
                f'voxel_sigmas is {self.voxel_sigmas} and voxel_size 0, so there are no voxels; '
                'voxel_size must be larger (or voxel_sigmas 0)'
            )
        if 0 < self.max_range <= self.min_range:
            raise ValueError(
                f'max_range is {self.max_range} and min_range {self.min_range}; max_range must be '
                'larger (or 0 for no limit)'
            )
        if 0 < self.max_range < self.far_depth:
            raise ValueError(
                f'far_depth is {self.far_depth} and max_range {self.max_range}, so that no point '
                'would be left there; far_depth must be smaller (or max_range 0)'
            )

    def check_limits(self, max_depth: float) -> None:
        """Refuse points of what is too far amid what is not.

        Args:
            max_depth: metres, beyond which depth is +inf; infinite or 0 for no limit.

        Raises:
            ValueError: they would stand nearer than that.
        """
        if 0 < self.far_depth < max_depth < np.inf:
            raise ValueError(
                f'far_depth is {self.far_depth} and max_depth {max_depth}, so that what is too '
                'far would stand before what is not; far_depth must be at least max_depth (or 0)'
            )


Plane = tuple[float, float, float, float]
"""The first three numbers times a point, plus the last, are its height in metres."""


@dataclass(frozen=True)
class Heights:
    """The heights that points may have, above a plane that need not be the camera's.

    Attributes:
        plane: tells heights.
        low: the smallest height.
        high: the largest height.
    """

    plane: Plane
    low: float
    high: float

    def hold(self, points: np.ndarray) -> np.ndarray:
        """Tell which of the points (N, 3 or more) have such a height, bool (N,)."""
        *normal, offset = self.plane
        height = points[:, :3].astype(np.float64) @ np.array(normal) + offset
        return (height >= self.low) & (height <= self.high)


def filtered_points(
    depth: np.ndarray,
    rgb: np.ndarray,
    camera: PinholeCamera,
    settings: CloudSettings,
    sigma: np.ndarray | None = None,
    with_sigma: bool = False,
    heights: Heights | None = None,
) -> np.ndarray:
    """Reproject those points of a depth (H, W) that the settings keep.

    Args:
        depth: float32 (H, W) in metres; what is not finite gives no point, except +inf with
            `far_depth`.
        rgb: uint8 (H, W, 3), the colours.
        camera: the camera at the size of the depth.
        settings: which points are kept.
        sigma: float32 (H, W) in metres, of the depth; None if it is not known.
        with_sigma: whether a known sigma is a field; points without a finite one are left out.
        heights: those that points may have, those at `far_depth` excepted; None allows all.

    Returns:
        float32 (N, 4 or 5): x, y, z, the colour as in `PinholeCamera.colored_points`, and sigma.
    """
    step = settings.stride
    maps = [depth, rgb] if sigma is None else [depth, rgb, sigma]
    depth, rgb, *of_sigma = [values[::step, ::step].copy() for values in maps]
    far = depth == np.inf
    if settings.far_depth:
        depth[far] = settings.far_depth
    points = strided(camera, step).colored_points(depth, rgb, *of_sigma)
    points = points.reshape(-1, points.shape[-1])
    columns = _COLUMNS if sigma is not None and with_sigma else _COLUMNS[:3]
    kept = _finite(points, columns)
    points = points[kept]
    if heights is not None:
        points = points[far.reshape(-1)[kept] | heights.hold(points)]
    points = _in_range(points, settings.min_range, settings.max_range)
    if settings.voxel_size:
        growing = sigma is not None and settings.voxel_sigmas > 0
        levels = _levels(points[:, -1], settings) if growing else None
        points = voxel_means(points, settings.voxel_size, levels)
    return np.ascontiguousarray(points[:, : len(columns) + 1])


def strided(camera: PinholeCamera, step: int) -> PinholeCamera:
    """The camera of an image of which only every `step`-th row and column is left."""
    return replace(
        camera,
        width=-(-camera.width // step),
        height=-(-camera.height // step),
        fx=camera.fx / step,
        fy=camera.fy / step,
        cx=camera.cx / step,
        cy=camera.cy / step,
    )


def voxel_means(points: np.ndarray, size: float, levels: np.ndarray | None = None) -> np.ndarray:
    """Replace the points of each voxel by one: the mean of places, colours and sigmas.

    The grid is fixed in the frame of the points: one of its corners is the origin.

    Args:
        points: float32 (N, 4 or 5), as of `filtered_points`.
        size: the edge of a voxel in metres.
        levels: (N,) how often the edge is doubled for each point; points of different levels are
            in different voxels. None for never.

    Returns:
        The same fields of M points in the order of their voxels. M is at most N.
    """
    if not len(points):
        return points
    places = points[:, :3].T.astype(np.float64, order='C')
    if levels is None:
        cells = np.floor(places / size)
    else:
        cells = np.concatenate([levels[np.newaxis], np.floor(places / (size * 2.0**levels))])
    order, starts = _groups(cells)
    counts = np.diff(starts, append=len(points))
    points = points.take(order, axis=0)
    means = points.take(starts, axis=0)

    def set_mean(target: np.ndarray, values: np.ndarray) -> None:
        target[:] = np.add.reduceat(values, starts, dtype=np.float64) / counts

    for column in _COLUMNS[: points.shape[1] - 1]:
        set_mean(means[:, column], points[:, column])
    bgr, mean_bgr = (values.view(np.uint8)[:, 4 * _COLOR :] for values in (points, means))
    rounded = np.empty(len(means))
    for channel in range(3):
        set_mean(rounded, bgr[:, channel])
        mean_bgr[:, channel] = np.rint(rounded)
    return means


def _levels(sigma: np.ndarray, settings: CloudSettings) -> np.ndarray:
    """How often the edge of a voxel is doubled for a sigma (N,); never where it is not finite."""
    with np.errstate(invalid='ignore'):
        edges = settings.voxel_sigmas / settings.voxel_size * sigma.astype(np.float64)
    return np.ceil(np.log2(np.where(np.isfinite(edges) & (edges > 1), edges, 1)))


def _finite(points: np.ndarray, columns: Sequence[int]) -> np.ndarray:
    """The indices of the points that are finite in all of the columns."""
    finite = np.ones(len(points), bool)
    for column in columns:
        finite &= np.isfinite(points[:, column])
    return np.flatnonzero(finite)


def _groups(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort the columns of whole numbers (D, N); return their order and where equal ones begin."""
    offsets = cells - cells.min(axis=1, keepdims=True)
    spans = offsets.max(axis=1) + 1
    if spans.prod() < _LARGEST_KEY:
        keys = np.zeros(cells.shape[1], np.int64)
        for values, span in zip(offsets, spans, strict=True):
            keys *= int(span)
            keys += values.astype(np.int64)
        order = np.argsort(keys, kind='stable')
        differs = np.diff(keys[order]) != 0
    else:  # the key of a cell would not fit
        order = np.lexsort(cells[::-1])
        differs = (np.diff(cells[:, order]) != 0).any(axis=0)
    return order, np.concatenate([[0], np.flatnonzero(differs) + 1])


def _in_range(points: np.ndarray, low: float, high: float) -> np.ndarray:
    """Keep points whose distance from the origin is in low..high; a high of 0 is no limit."""
    if not low and not high:
        return points
    distance = np.linalg.norm(points[:, :3].astype(np.float64), axis=1)
    return points[(distance >= low) & (distance <= (high or np.inf))]
