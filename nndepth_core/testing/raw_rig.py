"""A stereo rig with real lenses in front of a textured plane, whose every pixel is known.

The formulas of the lenses are written out here, so that they also prove what OpenCV computes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from nndepth_core.camera import PinholeCamera, StereoCamera
from nndepth_core.rectification.raw_camera import RawCamera

LENSES = {
    'plumb_bob': (-0.28, 0.07, 0.0008, -0.0006, 0.01),
    'rational_polynomial': (0.21, -0.06, 0.0006, 0.0004, 0.003, 0.52, 0.02, 0.004),
    'equidistant': (0.03, -0.012, 0.006, -0.001),
}
"""Coefficients of one lens of each distortion model, in the order of OpenCV."""


def distort(model: str, d: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Apply a lens to rays (..., 2), which are x/z and y/z; see docs.opencv.org, calib3d."""
    x, y = rays[..., 0], rays[..., 1]
    square = x * x + y * y
    if model == 'equidistant':
        radius = np.sqrt(square)
        angle = np.arctan(radius)
        powers = sum(k * angle ** (2 * (at + 1)) for at, k in enumerate(d))
        factor = np.where(radius > 1e-12, angle * (1 + powers) / np.maximum(radius, 1e-12), 1.0)
        return rays * factor[..., None]
    k1, k2, p1, p2, k3, k4, k5, k6 = np.pad(d, (0, 8 - len(d)))
    radial = 1 + square * (k1 + square * (k2 + square * k3))
    radial /= 1 + square * (k4 + square * (k5 + square * k6))
    return np.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (square + 2 * x * x),
            y * radial + p1 * (square + 2 * y * y) + 2 * p2 * x * y,
        ],
        axis=-1,
    )


def undistort(model: str, d: np.ndarray, rays: np.ndarray, steps: int = 6) -> np.ndarray:
    """Find the rays (..., 2) that a lens turns into the given ones, by Newton's method."""
    found, small = rays.copy(), 1e-6
    for _ in range(steps):
        there = distort(model, d, found)
        off = there - rays
        (a, b), (c, e) = (
            np.moveaxis((distort(model, d, found + small * unit) - there) / small, -1, 0)
            for unit in np.eye(2)
        )
        step = np.stack([e * off[..., 0] - c * off[..., 1], a * off[..., 1] - b * off[..., 0]], -1)
        found = found - step / (a * e - b * c)[..., None]
    return found


def rotation(x: float, y: float, z: float) -> np.ndarray:
    """The rotation (3, 3) by small angles about the axes, in radians."""
    turned = np.eye(3)
    for axis, angle in enumerate((x, y, z)):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3)
        step[first, first] = step[second, second] = np.cos(angle)
        step[first, second], step[second, first] = -np.sin(angle), np.sin(angle)
        turned = step @ turned
    return turned


@dataclass(frozen=True)
class RawRig:
    """Two raw cameras and a plane z = distance + slope * x + tilt * y in the left rectified frame.

    Attributes:
        left: the left camera.
        right: the right camera.
        distance: of the plane on the optical axis, in metres.
        slope: see above.
        tilt: see above.
    """

    left: RawCamera
    right: RawCamera
    distance: float = 2.5
    slope: float = 0.2
    tilt: float = -0.15

    @classmethod
    def of(cls, model: str, width: int = 320, height: int = 240, baseline: float = 0.12) -> RawRig:
        """Make a rig with two slightly different lenses of one model, turned a little."""
        focal, centre = 0.8 * width, ((width - 1) / 2, (height - 1) / 2)
        cameras = []
        for side, (turn, place) in enumerate(
            ((rotation(0.01, -0.02, 0.015), 0.0), (rotation(-0.015, 0.01, -0.02), baseline))
        ):
            raw = PinholeCamera(
                width, height, focal + side, focal - side, centre[0] - 2.5, centre[1] + 3.25
            )
            seen = PinholeCamera(
                width, height, 0.95 * focal, 0.95 * focal, *centre, position=(place, 0.0, 0.0)
            )
            d = tuple(value * (1 + 0.1 * side) for value in LENSES[model])
            cameras.append(RawCamera(raw, model, d, tuple(turn.reshape(-1)), seen))
        left, right = cameras
        return cls(left, right)

    @property
    def cameras(self) -> tuple[RawCamera, RawCamera]:
        """Both cameras."""
        return self.left, self.right

    @cached_property
    def camera(self) -> StereoCamera:
        """The stereo camera of the rectified images."""
        return StereoCamera.from_cameras(self.left.rectified, self.right.rectified)

    @property
    def pose(self) -> tuple[np.ndarray, np.ndarray]:
        """R (3, 3) and T (3,) of x_right = R x_left + T between the raw cameras."""
        left, right = (np.reshape(camera.r, (3, 3)) for camera in self.cameras)
        apart = np.subtract(self.right.rectified.position, self.left.rectified.position)
        return right.T @ left, -right.T @ apart

    def cut(self, x: int, y: int, width: int, height: int, binning: int = 1) -> RawRig:
        """The rig whose sensors give only a window, and join pixels of it."""
        left, right = (
            camera.cropped(x, y, width, height).binned(binning, binning) for camera in self.cameras
        )
        return replace(self, left=left, right=right)

    def raw_images(self) -> tuple[np.ndarray, np.ndarray]:
        """What both cameras see, uint8 RGB (H, W, 3)."""
        left, right = (self._picture(camera, _raw_rays(camera)) for camera in self.cameras)
        return left, right

    def rectified_images(self) -> tuple[np.ndarray, np.ndarray]:
        """What pinhole cameras in their rectified places would see, uint8 RGB (H, W, 3)."""
        left, right = (self._picture(camera, _rays(camera.rectified)) for camera in self.cameras)
        return left, right

    def depth(self) -> np.ndarray:
        """Depth of the left rectified image (H, W) in metres."""
        x, y, _ = _rays(self.left.rectified)
        return self.distance / (1 - self.slope * x - self.tilt * y)

    def disparity(self) -> np.ndarray:
        """Disparity of the left rectified image (H, W) in pixels."""
        return self.camera.depth_to_disparity(self.depth())

    def _picture(self, camera: RawCamera, rays: np.ndarray) -> np.ndarray:
        """Follow rays (3, H, W) of the rectified frame from a camera to the plane."""
        place = np.reshape(camera.rectified.position, (3, 1, 1))
        normal = np.reshape([-self.slope, -self.tilt, 1.0], (3, 1, 1))
        far = (self.distance - (normal * place).sum(0)) / (normal * rays).sum(0)
        x, y, _ = place + far * rays
        waves = ((9, 4, 0.3), (-5, 11, 1.1), (16, -13, 2.0), (3, 21, 0.7), (23, 6, 1.9))
        grey = sum(np.sin(2 * (a * x + b * y) + c) for a, b, c in waves)
        grey = np.rint(127.5 + 24 * grey).clip(0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)


def _pixels(camera: PinholeCamera) -> np.ndarray:
    """x/z and y/z of every pixel (H, W, 2)."""
    y, x = np.mgrid[: camera.height, : camera.width].astype(np.float64)
    return np.stack([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy], axis=-1)


def _rays(camera: PinholeCamera) -> np.ndarray:
    x, y = np.moveaxis(_pixels(camera), -1, 0)
    return np.stack([x, y, np.ones_like(x)])


def _raw_rays(camera: RawCamera) -> np.ndarray:
    """Rays of every raw pixel in the rectified frame, (3, H, W)."""
    x, y = np.moveaxis(
        undistort(camera.model, np.array(camera.d), _pixels(camera.intrinsics)), -1, 0
    )
    rays = np.stack([x, y, np.ones_like(x)])
    return np.einsum('ij,jhw->ihw', np.reshape(camera.r, (3, 3)), rays)
