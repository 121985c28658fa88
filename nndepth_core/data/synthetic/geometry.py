"""Poses and analytic primitives: where rays meet them, and their surface at these points.

A primitive has its own frame, with the origin at its centre. Vectors of rays are tuples of three
float32 arrays that broadcast against each other, so that a grid of rays costs one addition.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

Vector = tuple[np.ndarray, np.ndarray, np.ndarray]
_TINY = np.float32(1e-10)  # slightly turns rays that run along a surface


@dataclass(frozen=True)
class Pose:
    """A frame in the world.

    Attributes:
        position: (3,) origin of the frame, in metres.
        rotation: (3, 3), whose columns are the axes of the frame.
    """

    position: np.ndarray
    rotation: np.ndarray

    @classmethod
    def upright(cls, x: float, y: float, z: float, yaw: float = 0.0) -> Pose:
        """Make a frame that is turned about the vertical axis by yaw, in radians."""
        c, s = math.cos(yaw), math.sin(yaw)
        return cls(np.array([x, y, z]), np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]))

    @classmethod
    def looking(cls, position: np.ndarray, forward: np.ndarray) -> Pose:
        """Make an optical frame (x right, y down, z forward) that is level (world z is up)."""
        z = forward / np.linalg.norm(forward)
        x = np.cross(z, [0.0, 0.0, 1.0] if abs(z[2]) < 0.999 else [1.0, 0.0, 0.0])
        x /= np.linalg.norm(x)
        return cls(np.asarray(position, float), np.stack([x, np.cross(z, x), z], axis=1))

    def shifted(self, x: float) -> Pose:
        """Move the frame along its own x axis, in metres."""
        return Pose(self.position + self.rotation[:, 0] * x, self.rotation)

    def to_local(self, points: np.ndarray) -> np.ndarray:
        """Convert points (n, 3) or a point (3,) of the world to this frame."""
        return (points - self.position) @ self.rotation

    def from_local(self, points: np.ndarray) -> np.ndarray:
        """Convert points (n, 3) of this frame to the world."""
        return cv2.transform(points[None], np.c_[self.rotation, self.position])[0]

    def relative_to(self, frame: Pose) -> Pose:
        """Express this frame in another one, float32."""
        return Pose(
            frame.to_local(self.position).astype(np.float32),
            (frame.rotation.T @ self.rotation).astype(np.float32),
        )


@dataclass(frozen=True)
class Surface:
    """The surface at n points.

    Attributes:
        uv: (n, 2) texture coordinates in metres along the surface.
        normal: (n, 3) unit outward normal in the primitive's frame.
        face: (n,) the number of the smooth side of the primitive on which the point lies.
    """

    uv: np.ndarray
    normal: np.ndarray
    face: np.ndarray


class Shape(Protocol):
    """A primitive in its own frame."""

    @property
    def half_size(self) -> np.ndarray:
        """Half the sides (3,) of the box around the primitive, metres."""
        ...

    def intersect(self, origin: Vector, direction: Vector) -> np.ndarray:
        """Smallest positive t with origin + t * direction on the surface; inf if there is none."""
        ...

    def surface(self, points: np.ndarray) -> Surface:
        """Describe the surface at points (n, 3) that lie on it."""
        ...


@dataclass(frozen=True)
class Rectangle:
    """The part |x| <= width / 2, |y| <= height / 2 of the plane z = 0, seen from both sides."""

    width: float
    height: float

    @property
    def half_size(self) -> np.ndarray:
        """See Shape."""
        return np.array([self.width / 2, self.height / 2, 0])

    def intersect(self, origin: Vector, direction: Vector) -> np.ndarray:
        """See Shape."""
        t = -origin[2] / (direction[2] + _TINY)
        x, y, _ = self.half_size
        inside = np.abs(origin[0] + t * direction[0]) <= x
        inside &= np.abs(origin[1] + t * direction[1]) <= y
        inside &= t > 0
        return np.where(inside, t, np.float32(np.inf))

    def surface(self, points: np.ndarray) -> Surface:
        """See Shape."""
        normal = np.broadcast_to(np.array([0, 0, 1], np.float32), points.shape)
        return Surface(points[:, :2], normal, np.zeros(len(points), np.int16))


@dataclass(frozen=True)
class Box:
    """A solid box with sides length (x), width (y) and height (z)."""

    length: float
    width: float
    height: float

    @property
    def half_size(self) -> np.ndarray:
        """See Shape."""
        return np.array([self.length, self.width, self.height]) / 2

    def intersect(self, origin: Vector, direction: Vector) -> np.ndarray:
        """See Shape."""
        slabs = [_slab(o, d, h) for o, d, h in zip(origin, direction, self.half_size, strict=True)]
        return _entry(slabs)

    def surface(self, points: np.ndarray) -> Surface:
        """See Shape."""
        axis = np.argmax(np.abs(points) / self.half_size.astype(np.float32), axis=1)
        rows = np.arange(len(points))
        side = np.sign(points[rows, axis])
        normal = np.zeros_like(points)
        normal[rows, axis] = side
        uv = np.stack(
            [
                np.where(axis == 0, points[:, 1], points[:, 0]),
                np.where(axis == 2, points[:, 1], points[:, 2]),
            ],
            axis=1,
        )
        return Surface(uv, normal, (axis * 2 + (side > 0)).astype(np.int16))


@dataclass(frozen=True)
class Cylinder:
    """A solid upright (z) cylinder with flat ends."""

    radius: float
    height: float

    @property
    def half_size(self) -> np.ndarray:
        """See Shape."""
        return np.array([self.radius, self.radius, self.height / 2])

    def intersect(self, origin: Vector, direction: Vector) -> np.ndarray:
        """See Shape."""
        (ox, oy, oz), (dx, dy, dz) = origin, direction
        dx = dx + _TINY
        square = dx * dx + dy * dy
        cross = ox * dy - oy * dx
        # With the cross product, since the usual discriminant loses thin far poles in float32.
        root = _half_chord(square * np.float32(self.radius**2) - cross * cross)
        middle = -(ox * dx + oy * dy)
        side = ((middle - root) / square, (middle + root) / square)
        return _entry([side, _slab(oz, dz, self.height / 2)])

    def surface(self, points: np.ndarray) -> Surface:
        """See Shape."""
        x, y, z = points.T
        half = np.float32(self.height / 2)
        cap = np.abs(z) / half > np.hypot(x, y) / np.float32(self.radius)
        normal = points / np.float32(self.radius)
        normal[:, 2] = 0
        normal[cap] = 0
        normal[cap, 2] = np.sign(z[cap])
        uv = np.stack([np.arctan2(-y, -x) * np.float32(self.radius), z], axis=1)  # seam at +x
        uv[cap] = points[cap, :2]
        return Surface(uv, normal, (cap * (1 + (z > 0))).astype(np.int16))


@dataclass(frozen=True)
class Sphere:
    """A solid ball."""

    radius: float

    @property
    def half_size(self) -> np.ndarray:
        """See Shape."""
        return np.full(3, self.radius)

    def intersect(self, origin: Vector, direction: Vector) -> np.ndarray:
        """See Shape."""
        (ox, oy, oz), (dx, dy, dz) = origin, direction
        square = dx * dx + dy * dy + dz * dz
        cross = (ox * dy - oy * dx) ** 2 + (oy * dz - oz * dy) ** 2 + (oz * dx - ox * dz) ** 2
        root = _half_chord(square * np.float32(self.radius**2) - cross)
        middle = -(ox * dx + oy * dy + oz * dz)
        return _entry([((middle - root) / square, (middle + root) / square)])

    def surface(self, points: np.ndarray) -> Surface:
        """See Shape."""
        normal = points / np.float32(self.radius)
        longitude = np.arctan2(-normal[:, 1], -normal[:, 0])  # seam at +x
        latitude = np.arcsin(np.clip(normal[:, 2], -1, 1))
        uv = np.stack([longitude, latitude], axis=1) * np.float32(self.radius)
        return Surface(uv, normal, np.zeros(len(points), np.int16))


def _slab(origin: np.ndarray, direction: np.ndarray, half: float) -> tuple[np.ndarray, np.ndarray]:
    """Find where rays enter and leave the space between two parallel planes."""
    inverse = 1 / (direction + _TINY)
    middle = -origin * inverse
    reach = np.abs(inverse) * np.float32(half)
    return middle - reach, middle + reach


def _half_chord(discriminant: np.ndarray) -> np.ndarray:
    """Square root; NaN if the ray misses (comparisons with NaN are false)."""
    with np.errstate(invalid='ignore'):
        return np.sqrt(discriminant)


def _entry(intervals: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Find where rays enter a convex solid, from the intervals in which they are in its parts."""
    near, far = intervals[0]
    for start, end in intervals[1:]:
        near, far = np.maximum(near, start), np.minimum(far, end)
    return np.where((near <= far) & (near > 0), near, np.float32(np.inf))
