"""Rectified stereo images of a scene with exact disparity, by analytic ray casting."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from nndepth_core.camera import StereoCamera
from nndepth_core.data.synthetic.geometry import Pose, Vector
from nndepth_core.data.synthetic.scene import Scene, SceneObject
from nndepth_core.data.synthetic.textures import Texture

_NEAR = 1e-3  # metres in front of the camera; corners that are closer cannot be projected
_SUBPIXELS = np.array([[-0.25, -0.25], [0.25, -0.25], [-0.25, 0.25], [0.25, 0.25]], np.float32)


@dataclass(frozen=True)
class StereoPicture:
    """A pair without sensor effects.

    Attributes:
        left: float32 (H, W, 3) RGB 0..255.
        right: float32 (H, W, 3) RGB 0..255.
        disparity: float32 (H, W), exact at pixel centres; cx_offset for the sky.
        occluded: bool (H, W), left pixels whose surface point the right image does not show.
    """

    left: np.ndarray
    right: np.ndarray
    disparity: np.ndarray
    occluded: np.ndarray


class StereoRenderer:
    """Renders one scene from any pose.

    Args:
        scene: the scene.
        shadow_size: the side of the shadow map in texels; it is computed once.
    """

    def __init__(self, scene: Scene, shadow_size: int = 3072) -> None:
        self.scene = scene
        self._shadows = _ShadowMap(scene, shadow_size)

    def render(self, rig: StereoCamera, pose: Pose) -> StereoPicture:
        """Render the pair of a stereo camera whose left camera has this pose (optical frame)."""
        other = pose.shifted(rig.baseline)
        x, y = (axis.astype(np.float32) for axis in rig.left.rays())
        x_right = ((np.arange(rig.left.width) - rig.cx_right) / rig.left.fx).astype(np.float32)
        left, depth = self._picture(pose, x[None], y[:, None], rig)
        right, _ = self._picture(other, x_right[None], y[:, None], rig)
        return StereoPicture(
            left,
            right,
            rig.depth_to_disparity(depth),
            self._occlusion(other, x, y, depth, rig),
        )

    def _picture(
        self, pose: Pose, x: np.ndarray, y: np.ndarray, rig: StereoCamera
    ) -> tuple[np.ndarray, np.ndarray]:
        """Colour (H, W, 3) and depth (H, W) of one camera; pixels at edges get four rays."""
        pitch = 1 / rig.left.fx
        depth, index = cast(self.scene.objects, pose, x, y)
        colour, face = self._shade(pose, x, y, depth, index, pitch)
        rows, columns = np.nonzero(_edges(face))
        if not rows.size:
            return colour, depth
        x_fine = x[0, columns, None] + _SUBPIXELS[:, 0] / np.float32(rig.left.fx)
        y_fine = y[rows] + _SUBPIXELS[:, 1] / np.float32(rig.left.fy)
        fine = cast(self.scene.objects, pose, x_fine, y_fine)
        colour[rows, columns] = self._shade(pose, x_fine, y_fine, *fine, pitch)[0].mean(axis=1)
        return colour, depth

    def _shade(
        self,
        pose: Pose,
        x: np.ndarray,
        y: np.ndarray,
        depth: np.ndarray,
        index: np.ndarray,
        pitch: float,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Colour (R, C, 3) where rays meet surfaces, and a number (R, C) per smooth surface."""
        x, y = (axis.reshape(-1) for axis in np.broadcast_arrays(x, y))
        colour = np.empty((index.size, 3), np.float32)
        face = np.full(index.size, -1, np.int16)
        order = np.argsort(index, axis=None, kind='stable')
        objects = self.scene.objects
        starts = np.searchsorted(index.reshape(-1)[order], np.arange(len(objects) + 1))
        if starts[0] > 0:
            sky = order[: starts[0]]
            colour[sky] = _sky(self.scene.sky, pose, x[sky], y[sky], pitch)
        for number, (start, end) in enumerate(pairwise(starts)):
            if start < end:
                seen = order[start:end]
                z = depth.reshape(-1)[seen]
                points = np.stack([x[seen] * z, y[seen] * z, z], axis=1)
                colour[seen], side = self._shade_object(objects[number], pose, points, pitch)
                face[seen] = number * 8 + side
        return colour.reshape(*index.shape, 3), face.reshape(index.shape)

    def _shade_object(
        self, item: SceneObject, pose: Pose, points: np.ndarray, pitch: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Colour (n, 3) and side (n,) of an object at points of the optical frame `pose`."""
        camera = pose.relative_to(item.pose)
        local = camera.from_local(points)
        surface = item.shape.surface(local)
        view = local - camera.position
        facing = np.einsum('ij,ij->i', view, surface.normal)
        slant = np.abs(facing) / np.sqrt(np.einsum('ij,ij->i', view, view))
        # Between the two axes of the slanted pixel, which neither aliases nor blurs too much.
        footprint = points[:, 2] * np.float32(pitch) / np.maximum(slant, 0.02) ** np.float32(0.6)
        normal = surface.normal * -np.sign(facing)[:, None]
        light = self.scene.light
        sun = normal @ (item.pose.rotation.T @ light.direction).astype(np.float32)
        lit = np.flatnonzero(sun > 0)
        direct = np.zeros_like(sun)
        if lit.size:
            direct[lit] = sun[lit] * self._shadows.visible(pose, points[lit])
        up = normal @ item.pose.rotation[2].astype(np.float32)
        shade = (0.75 + 0.25 * up)[:, None] * light.sky + direct[:, None] * light.sun
        return item.texture.sample(surface.uv, footprint) * shade, surface.face

    def _occlusion(
        self, right: Pose, x: np.ndarray, y: np.ndarray, depth: np.ndarray, rig: StereoCamera
    ) -> np.ndarray:
        """Find left pixels whose point is outside the right image or hidden there."""
        towards = x - np.float32(rig.baseline) / depth
        column = towards * rig.left.fx + rig.cx_right
        outside = (column < -0.5) | (column > rig.left.width - 0.5)
        nearest, _ = cast(self.scene.objects, right, towards, y[:, None])
        return outside | (nearest < depth * np.float32(1 - 1e-4))


class _ShadowMap:
    """The depth that the light of the sun reaches, as seen from the sun."""

    def __init__(self, scene: Scene, size: int) -> None:
        direction = scene.light.direction
        self.pose = Pose.looking(scene.centre + 4 * scene.radius * direction, -direction)
        self.scale = size / (2 * scene.radius)
        axis = ((np.arange(size) + 0.5) / self.scale - scene.radius).astype(np.float32)
        self.reach, _ = cast(scene.objects, self.pose, axis[None], axis[:, None], parallel=True)
        self.half = scene.radius

    def visible(self, pose: Pose, points: np.ndarray) -> np.ndarray:
        """The share (n,) of the sun that points (n, 3) of a frame see; edges are a texel wide."""
        local = pose.relative_to(self.pose).from_local(points)
        texel = (local[:, :2] + np.float32(self.half)) * np.float32(self.scale) - np.float32(0.5)
        beyond = np.any((texel < 0) | (texel > self.reach.shape[0] - 2), axis=1)
        texel[beyond] = 0
        corner = texel.astype(np.int32)
        u, v = (texel - corner).T
        column, row = corner.T
        depth = local[:, 2] - np.float32(0.03)
        total = np.zeros(len(points), np.float32)
        for down, share_v in ((0, 1 - v), (1, v)):
            for along, share_u in ((0, 1 - u), (1, u)):
                total += share_v * share_u * (self.reach[row + down, column + along] > depth)
        total[beyond] = 1
        return total


def _sky(clouds: Texture, pose: Pose, x: np.ndarray, y: np.ndarray, pitch: float) -> np.ndarray:
    """Colour (n, 3) of an infinitely distant layer of clouds in the directions (x, y, 1)."""
    ray = np.stack([x, y, np.ones_like(x)], axis=1)
    east, north, up = cv2.transform(ray[None], pose.rotation)[0].T
    level = np.hypot(east, north)
    height = np.maximum(up, 0) + np.float32(0.15) * level  # the layer bends down to the horizon
    uv = np.stack([east, north], axis=1) / height[:, None]
    return clouds.sample(uv, np.float32(pitch) * (level / height) ** 2)


def cast(
    objects: tuple[SceneObject, ...],
    pose: Pose,
    x: np.ndarray,
    y: np.ndarray,
    parallel: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the first object that each ray meets.

    Args:
        objects: the objects.
        pose: the optical frame in which the rays are given.
        x: float32, 2-D, x/z of each ray; broadcasts against y to (R, C).
        y: float32, 2-D, y/z of each ray.
        parallel: whether rays start at (x, y, 0) and run along z; otherwise all start at the
            origin.

    Returns:
        Depth along z (R, C) float32, inf if a ray meets nothing, and the index (R, C) int16 of the
        object, -1 if there is none.
    """
    shape = np.broadcast_shapes(x.shape, y.shape)
    depth = np.full(shape, np.inf, np.float32)
    index = np.full(shape, -1, np.int16)
    spans = [(a.min(axis=n), a.max(axis=n)) for a, n in ((x, 0), (y, 1))]
    for number, item in enumerate(objects):
        window = _window(item, pose, spans, parallel)
        if window is None:
            continue
        rays = _local_rays(item.pose, pose, _cut(x, window), _cut(y, window), parallel)
        found = item.shape.intersect(*rays)
        closer = found < depth[window]
        np.copyto(depth[window], found, where=closer)
        np.copyto(index[window], np.int16(number), where=closer)
    return depth, index


def _window(
    item: SceneObject,
    pose: Pose,
    spans: list[tuple[np.ndarray, np.ndarray]],
    parallel: bool,
) -> tuple[slice, slice] | None:
    """Rows and columns of the rays that can meet an object; None if no ray can."""
    signs = np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)])
    corners = pose.to_local(item.pose.from_local(signs * item.shape.half_size))
    depth = corners[:, 2]
    if depth.max() <= _NEAR:
        return None
    if depth.min() <= _NEAR and not parallel:
        return slice(None), slice(None)
    window = []
    for axis, (low, high) in enumerate(spans):
        places = corners[:, axis] if parallel else corners[:, axis] / depth
        hit = np.flatnonzero((high >= places.min()) & (low <= places.max()))
        if not hit.size:
            return None
        window.append(slice(int(hit[0]), int(hit[-1]) + 1))
    return window[1], window[0]


def _cut(values: np.ndarray, window: tuple[slice, slice]) -> np.ndarray:
    """Cut a window out of an array; a side of length 1 stands for every row or column."""
    rows, columns = (
        part if side > 1 else slice(None) for part, side in zip(window, values.shape, strict=True)
    )
    return values[rows, columns]


def _local_rays(
    frame: Pose, pose: Pose, x: np.ndarray, y: np.ndarray, parallel: bool
) -> tuple[Vector, Vector]:
    """Convert origins and directions of rays from an optical frame to the frame of an object."""
    view = pose.relative_to(frame)
    start, turn = view.position, view.rotation
    mixed = [row[0] * x + row[1] * y for row in turn]
    if parallel:
        origin = [m + s for m, s in zip(mixed, start, strict=True)]
        return (origin[0], origin[1], origin[2]), (turn[0, 2], turn[1, 2], turn[2, 2])
    direction = [row[0] * x + (row[1] * y + row[2]) for row in turn]
    return (start[0], start[1], start[2]), (direction[0], direction[1], direction[2])


def _edges(face: np.ndarray) -> np.ndarray:
    """Find pixels (H, W) that have a neighbour on another surface."""
    edge = np.zeros(face.shape, bool)
    along, down = face[:, 1:] != face[:, :-1], face[1:] != face[:-1]
    edge[:, 1:] |= along
    edge[:, :-1] |= along
    edge[1:] |= down
    edge[:-1] |= down
    return edge
