"""Pinhole geometry of rectified cameras: intrinsics, disparity, depth and points.

Pixel coordinates are those of pixel centres: the centre of the first pixel is (0, 0). Axes follow
REP-103 for optical frames: x right, y down, z forward, in metres. Points are in the frame from
which P projects, as sensor_msgs/CameraInfo defines it; the left camera is its origin if the last
column of the left P is zero. Depth is the distance from the left camera along z.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from nndepth_core.files.values import number
from nndepth_core.strips import strips

FARTHEST = 1e6
"""The largest limit of depth, in metres."""
MOST_MILLIMETRES = 65535
"""The largest depth that 16 bits hold."""


class CalibrationError(ValueError):
    """No depth can be computed from a calibration; the message names the value and the cure."""


@dataclass(frozen=True)
class PinholeCamera:
    """The intrinsics of one rectified image, in pixels of that image, and the camera's position.

    `position` is the optical centre (x, y, z) in the frame from which P projects, in metres.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    position: tuple[float, float, float] = field(default=(0.0, 0.0, 0.0), kw_only=True)

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise CalibrationError(
                f'camera image size is {self.width}x{self.height}; set width and height to the '
                'size of the images'
            )
        for name in ('fx', 'fy', 'cx', 'cy'):
            if not math.isfinite(getattr(self, name)):
                raise CalibrationError(
                    f'{name} is {getattr(self, name)}; every entry of P must be a finite number'
                )
        if self.fx <= 0 or self.fy <= 0:
            raise CalibrationError(
                f'focal lengths are fx={self.fx}, fy={self.fy}; P[0] and P[5] must be positive '
                '(is the camera calibrated?)'
            )
        for index, value in zip((3, 7, 11), self.position, strict=True):
            if not math.isfinite(value):
                raise CalibrationError(
                    f'P[{index}] puts the camera at {value} m; every entry of P must be a finite '
                    'number'
                )

    @classmethod
    def from_projection(cls, p: Sequence[float], width: int, height: int) -> PinholeCamera:
        """Read a row-major 3x4 matrix P (not K, since the images are rectified)."""
        if len(p) != 12:
            raise CalibrationError(f'P has {len(p)} entries; a 3x4 matrix has 12')
        fx, cx, tx, fy, cy, ty, tz = (float(p[index]) for index in (0, 2, 3, 5, 6, 7, 11))
        camera = cls(width, height, fx, fy, cx, cy)
        return replace(camera, position=((cx * tz - tx) / fx, (cy * tz - ty) / fy, -tz))

    def projection(self) -> list[float]:
        """The row-major 3x4 matrix P."""
        x, y, z = self.position
        # a negation would show -0.0
        tx, ty = 0.0 - self.fx * x - self.cx * z, 0.0 - self.fy * y - self.cy * z
        return [self.fx, 0.0, self.cx, tx, 0.0, self.fy, self.cy, ty, 0.0, 0.0, 1.0, 0.0 - z]

    def resized(self, width: int, height: int) -> PinholeCamera:
        """Intrinsics after the image is resized to width x height; pixel centres stay aligned."""
        sx, sy = width / self.width, height / self.height
        return PinholeCamera(
            width,
            height,
            self.fx * sx,
            self.fy * sy,
            (self.cx + 0.5) * sx - 0.5,
            (self.cy + 0.5) * sy - 0.5,
            position=self.position,
        )

    def cropped(self, x: int, y: int, width: int, height: int) -> PinholeCamera:
        """Intrinsics of a window of width x height whose first pixel is (x, y)."""
        return replace(self, width=width, height=height, cx=self.cx - x, cy=self.cy - y)

    def binned(self, binning_x: int, binning_y: int) -> PinholeCamera:
        """Intrinsics after the sensor joins pixels, by image_geometry's rule (c / binning)."""
        return PinholeCamera(
            self.width // binning_x,
            self.height // binning_y,
            self.fx / binning_x,
            self.fy / binning_y,
            self.cx / binning_x,
            self.cy / binning_y,
            position=self.position,
        )

    def rays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return x/z of each column (W,) and y/z of each row (H,), float32."""
        x = (np.arange(self.width) - self.cx) / self.fx
        y = (np.arange(self.height) - self.cy) / self.fy
        with np.errstate(over='ignore'):
            return x.astype(np.float32), y.astype(np.float32)

    def points(self, depth: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Reproject depth (H, W) in metres to (H, W, 3) float32; NaN where depth is not finite.

        P projects each point to the pixel it comes from. With `out` they are written there.
        """
        return self._merged(depth, lambda rows: [], 3, out)

    def colored_points(
        self, depth: np.ndarray, rgb: np.ndarray, *more: np.ndarray, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Reproject depth (H, W) to (H, W, 4 + N) float32: x, y, z, the colour, and N more maps.

        The colour is PointCloud2's `rgb` field: bytes B, G, R and an unused one, read as a float.
        With `out` the points are written there.
        """

        def others(rows: slice) -> list[np.ndarray]:
            color = cv2.cvtColor(rgb[rows], cv2.COLOR_RGB2BGRA).view(np.float32)[..., 0]
            return [color, *(values[rows] for values in more)]

        return self._merged(depth, others, 4 + len(more), out)

    def _merged(
        self,
        depth: np.ndarray,
        others: Callable[[slice], list[np.ndarray]],
        count: int,
        out: np.ndarray | None,
    ) -> np.ndarray:
        """Merge x, y, z and other maps, of which some rows are asked for, to `count` fields."""
        if out is None:
            out = np.empty((*depth.shape, count), np.float32)
        x, y = self.rays()
        for rows in strips(depth):
            maps = self._coordinates(depth[rows], x, y[rows, None])
            cv2.merge([*maps, *others(rows)], out[rows])
        return out

    def _coordinates(self, depth: np.ndarray, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        with np.errstate(invalid='ignore', over='ignore'):
            z = depth + 0 * depth  # turns infinities into NaN
            coordinates = [z * x, z * y, z]
        if any(self.position):
            return [
                np.add(values, offset, dtype=np.float32)
                for values, offset in zip(coordinates, self.position, strict=True)
            ]
        return coordinates


@dataclass(frozen=True)
class StereoCamera:
    """A rectified pair: the left camera, the baseline, and cx of the right camera.

    A point at depth Z has the disparity d = x_left - x_right = f B / Z + (cx_left - cx_right).
    """

    left: PinholeCamera
    baseline: float
    cx_right: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.baseline) or not math.isfinite(self.cx_right):
            raise CalibrationError(
                f'baseline is {self.baseline} and the right cx {self.cx_right}; every entry of '
                'the right P must be a finite number'
            )
        if self.baseline == 0:
            raise CalibrationError(
                'baseline is 0 because P[3] puts both cameras at one place; with a left P[3] of '
                '0 the right one must be -fx * baseline (calibrate the pair as stereo, or fix the '
                'driver)'
            )
        if self.baseline < 0:
            raise CalibrationError(
                f'baseline is {self.baseline:.6g} m: by P[3] the right camera stands left of the '
                'left one; left and right are swapped, or the driver writes the wrong sign'
            )

    @classmethod
    def from_cameras(cls, left: PinholeCamera, right: PinholeCamera) -> StereoCamera:
        """Build from both cameras of a rectified pair; every pair with matrices P is built here.

        Raises:
            CalibrationError: the focal lengths differ, or the cameras are not side by side.
        """
        if not math.isclose(left.fx, right.fx, rel_tol=1e-3):
            raise CalibrationError(
                f'fx is {left.fx} in the left P and {right.fx} in the right; both cameras of a '
                'rectified pair have one focal length (calibrate the pair as stereo)'
            )
        across, down, _ = np.subtract(right.position, left.position).tolist()
        if abs(down) > abs(across):
            upper, lower = ('left', 'right') if down > 0 else ('right', 'left')
            raise CalibrationError(
                f'this is a vertical pair: by P[7] the {lower} camera stands {abs(down):.4g} m '
                f'below the {upper} one, and disparity is searched along rows only; turn both '
                'images by 90 degrees counterclockwise, calibrate them so, and give those of the '
                'upper camera as left'
            )
        return cls(left, across, right.cx)

    @classmethod
    def from_projections(
        cls, p_left: Sequence[float], p_right: Sequence[float], width: int, height: int
    ) -> StereoCamera:
        """Build from the row-major 3x4 matrices P of both rectified cameras.

        P[3] is -fx times the x of the camera in a common frame; in ROS that of the left camera.
        """
        return cls.from_cameras(
            PinholeCamera.from_projection(p_left, width, height),
            PinholeCamera.from_projection(p_right, width, height),
        )

    @property
    def cx_offset(self) -> float:
        """cx_left - cx_right: the disparity of a point at infinity, pixels."""
        return self.left.cx - self.cx_right

    @property
    def focal_baseline(self) -> float:
        """F * B in pixel metres: depth times (disparity - cx_offset)."""
        return self.left.fx * self.baseline

    def resized(self, width: int, height: int) -> StereoCamera:
        """The pair after both images are resized to width x height."""
        sx = width / self.left.width
        return replace(
            self, left=self.left.resized(width, height), cx_right=(self.cx_right + 0.5) * sx - 0.5
        )

    def cropped(self, x: int, y: int, width: int, height: int) -> StereoCamera:
        """The pair after the same window is cut from both images."""
        return replace(
            self, left=self.left.cropped(x, y, width, height), cx_right=self.cx_right - x
        )

    def binned(self, binning_x: int, binning_y: int) -> StereoCamera:
        """The pair after both sensors join pixels."""
        return replace(
            self, left=self.left.binned(binning_x, binning_y), cx_right=self.cx_right / binning_x
        )

    def disparity_to_depth(
        self,
        disparity: np.ndarray,
        min_depth: float = 0.0,
        max_depth: float = math.inf,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Convert to depth along z in metres (float32), by the rules of REP-117.

        NaN (unknown) stays NaN. Disparities at infinity or farther than max_depth give +inf, and
        points nearer than min_depth give -inf. With `out` the depth is written there.
        """
        with np.errstate(all='ignore'):  # what float32 cannot hold becomes infinite or 0
            offset, product = np.float32(self.cx_offset), np.float32(self.focal_baseline)
            depth = np.subtract(disparity, offset, out=out, dtype=np.float32)
            np.maximum(depth, 0, out=depth)
            np.divide(product, depth, out=depth)
        return limited_depth(depth, min_depth, max_depth)

    def depth_to_disparity(self, depth: np.ndarray) -> np.ndarray:
        """Convert to disparity in pixels (float32): cx_offset for +inf, NaN for depth <= 0."""
        with np.errstate(all='ignore'):
            depth = np.asarray(depth, np.float32)
            disparity = np.float32(self.focal_baseline) / depth + np.float32(self.cx_offset)
        return np.where(depth > 0, disparity, np.float32(np.nan)).astype(np.float32)


def depth_limits(min_depth: float, max_depth: float) -> tuple[float, float]:
    """Check limits of depth in metres, where 0 sets none; return the smallest and largest depth.

    Raises:
        ValueError: one is out of range, or nothing is between them.
    """
    for name, value in (('min_depth', min_depth), ('max_depth', max_depth)):
        number(name, value, 0, FARTHEST)
    if 0 < max_depth <= min_depth:
        raise ValueError(
            f'max_depth is {max_depth} and min_depth {min_depth}; max_depth must be larger (or 0 '
            'for no limit)'
        )
    return min_depth, max_depth or math.inf


def limited_depth(
    depth: np.ndarray, min_depth: float = 0.0, max_depth: float = math.inf
) -> np.ndarray:
    """Apply limits to a depth (H, W) in metres by REP-117, in place, and return it.

    NaN (unknown) stays NaN; farther than max_depth becomes +inf, nearer than min_depth -inf.
    """
    with np.errstate(all='ignore'):  # the limits may be out of the range of float32
        if max_depth < math.inf:
            depth[depth > max_depth] = math.inf
        if min_depth > 0:
            depth[depth < min_depth] = -math.inf
    return depth


def depth_in_millimetres(depth: np.ndarray) -> np.ndarray:
    """Round a depth (H, W) in metres to uint16 millimetres, by REP-118.

    What is not finite, beyond 65.535 m or not in front of the camera is 0, which means unknown:
    the largest value would be a wall where there is none.
    """
    with np.errstate(invalid='ignore', over='ignore'):
        millimetres = np.rint(np.asarray(depth, np.float64) * 1000)
        fits = (millimetres > 0) & (millimetres <= MOST_MILLIMETRES)
    return np.where(fits, millimetres, 0).astype(np.uint16)
