"""Flat and bulging textured patches in space, drawn into rectified pairs with exact disparity.

A patch maps (u, v) in 0..1 to the point `origin + u * along + v * down`. One 3x3 matrix maps a
pixel to (u w, v w, w), where w is the inverse depth times a constant, so that the same product
gives the texture coordinates and the disparity. Both views are drawn with it, so the truth is
exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np

from nndepth_core.camera import PinholeCamera, StereoCamera
from nndepth_core.data.synthetic.mipmap import Texture, shifted

NEAREST = 1e-3
"""The smallest depth of a corner that can be projected."""
_NO_TEXTURE = Texture(np.empty((0, 0, 4), np.uint8))
_SOLID, _EDGE = 128, (9, 247)
"""The alpha from which a pixel belongs to a patch, and the range in which colours are mixed."""
_STEPS = 6
"""Fixed-point iterations for a bulging surface; each reduces the error to a third or less."""


class Reflection(NamedTuple):
    """What a shiny surface mirrors; it lies behind the surface and so has another disparity.

    Attributes:
        texture: the mirrored texture, over the whole patch.
        shift: how much further right it is in the right view, as a share of the patch's width.
        share: the share of the light that comes from it, 0 to 1.
    """

    texture: Texture
    shift: float
    share: float


@dataclass(frozen=True)
class Patch:
    """A textured parallelogram; with `bulge` it bulges towards its normal.

    Attributes:
        origin: (3,) corner at u = v = 0.
        along: (3,) edge of u.
        down: (3,) edge of v.
        texture: the colour, and the alpha that cuts out its shape.
        bulge: the height of its middle above the plane, in the scene's unit, along down x along,
            which points to the camera if the patch is seen from its front.
        round_v: whether the bulge decreases along v too (a pillow), or not (a cylinder).
        gloss: (du, dv, strength): the shift of a highlight between the views, and its grey levels.
        reflection: what it mirrors, if it is shiny.
        endless: whether the plane continues beyond 0..1, with its texture mirrored again and
            again, for grounds and walls; it does not bulge and its alpha is ignored.
    """

    origin: np.ndarray
    along: np.ndarray
    down: np.ndarray
    texture: Texture
    bulge: float = 0.0
    round_v: bool = True
    gloss: tuple[float, float, float] | None = None
    reflection: Reflection | None = None
    endless: bool = False

    def seen_from(self, shift: float) -> Patch:
        """Return the patch in the coordinates of a camera that is `shift` further right."""
        return replace(self, origin=self.origin - np.array([shift, 0, 0]))


class View(NamedTuple):
    """What one camera sees.

    Attributes:
        image: uint8 (H, W, 4); the last channel has no meaning.
        disparity: float32 (H, W), focal * baseline / depth; 0 where there is nothing.
        patch: int16 (H, W), the number of the patch; -1 where there is nothing.
    """

    image: np.ndarray
    disparity: np.ndarray
    patch: np.ndarray


def draw_pair(
    patches: list[Patch], rig: StereoCamera, misalignment: np.ndarray | None = None
) -> tuple[View, View]:
    """Draw patches as the two cameras of a stereo pair see them.

    Args:
        patches: from far to near, which matters for soft edges; depth decides what is hidden.
        rig: the cameras, which have equal principal points.
        misalignment: (3, 3) from the correct position of a right pixel to its real position.
    """
    return draw(patches, rig), draw(patches, rig, rig.baseline, misalignment)


def draw(
    patches: list[Patch],
    rig: StereoCamera,
    shift: float = 0.0,
    misalignment: np.ndarray | None = None,
) -> View:
    """Draw patches as one camera of a stereo pair sees them.

    Args:
        patches: see `draw_pair`.
        rig: see `draw_pair`.
        shift: how far to the right of the left camera the camera is.
        misalignment: (3, 3) from the correct position of a pixel to its real position.
    """
    matrix = camera_matrix(rig.left)
    if misalignment is not None:
        matrix = misalignment @ matrix
    shape = rig.left.height, rig.left.width
    view = View(
        np.zeros((*shape, 4), np.uint8),
        np.zeros(shape, np.float32),
        np.full(shape, -1, np.int16),
    )
    for number, patch in enumerate(patches):
        _draw_patch(view, number, patch.seen_from(shift), matrix, rig.focal_baseline, shift > 0)
    return view


def camera_matrix(camera: PinholeCamera) -> np.ndarray:
    """The matrix (3, 3) from rays to pixels."""
    return np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])


def occlusion(left: View, right: View) -> np.ndarray:
    """Find left pixels (H, W) whose point is outside the right image or hidden there."""
    height, width = left.disparity.shape
    columns = np.arange(width, dtype=np.float32) - left.disparity
    nearest = np.rint(columns).astype(np.int32)
    inside = (columns >= 0) & (columns <= width - 1)
    rows = np.arange(height)[:, None]
    found = right.disparity[rows, nearest.clip(0, width - 1)]
    other = right.patch[rows, nearest.clip(0, width - 1)] != left.patch
    return ~inside | (other & (found > left.disparity + 0.5))


def _draw_patch(
    view: View,
    number: int,
    patch: Patch,
    intrinsics: np.ndarray,
    focal_baseline: float,
    right: bool,
) -> None:
    to_pixel = intrinsics @ _frame(patch)
    box = _bounds(patch, to_pixel, intrinsics, view.disparity.shape)
    if box is None:
        return
    top, bottom, left, right_edge = box
    to_patch = shifted(cv2.invert(to_pixel)[1], left, top)  # pixel -> (u, v, 1) / depth
    size = right_edge - left, bottom - top
    columns = np.arange(size[0], dtype=np.float32)
    rows = np.arange(size[1], dtype=np.float32)[:, None]
    if patch.bulge:
        u, v, inverse = _bulging(patch, intrinsics, columns + left, rows + top)
    else:
        a, b, c = to_patch[2].astype(np.float32)
        inverse = a * columns + (b * rows + c)
    disparity = np.float32(focal_baseline) * inverse
    window = slice(top, bottom), slice(left, right_edge)
    front = cv2.compare(disparity, view.disparity[window], cv2.CMP_GT)
    if not cv2.countNonZero(front):
        return

    def seen(texture: Texture, shift: float = 0.0) -> np.ndarray:
        if patch.bulge:
            return texture.at(u - np.float32(shift), v)
        return texture.plane(to_patch - shift * np.outer((1, 0, 0), to_patch[2]), size)

    colour = patch.texture.endless(to_patch, front) if patch.endless else seen(patch.texture)
    if patch.reflection is not None:
        mirrored = seen(patch.reflection.texture, right * patch.reflection.shift)
        colour = _mirror(colour, mirrored, patch.reflection.share)
    if patch.gloss is not None:
        colour = _highlight(colour, patch.gloss, right)
    _composite(View(*(plane[window] for plane in view)), number, colour, disparity, front)


def _composite(
    view: View,
    number: int,
    colour: np.ndarray,
    disparity: np.ndarray,
    front: np.ndarray,
) -> None:
    """Draw coloured pixels (h, w, 4) where they are in front of what was drawn before."""
    alpha = cv2.extractChannel(colour, 3)
    solid = cv2.bitwise_and(front, cv2.inRange(alpha, _SOLID, 255))
    if not cv2.countNonZero(solid):
        return
    edge = cv2.bitwise_and(front, cv2.inRange(alpha, *_EDGE))
    places = cv2.findNonZero(edge)
    if places is not None:
        columns, rows = places[:, 0].T
        share = alpha[rows, columns, None] * np.float32(1 / 255)
        mixed = colour[rows, columns] * share + view.image[rows, columns] * (1 - share)
        colour[rows, columns] = mixed.astype(np.uint8)
    cv2.copyTo(colour, cv2.bitwise_or(solid, edge), view.image)
    cv2.copyTo(disparity, solid, view.disparity)
    np.copyto(view.patch, number, where=solid > 0)


def _frame(patch: Patch) -> np.ndarray:
    """The matrix (3, 3) from (u, v, 1) to points in space."""
    return np.array((patch.along, patch.down, patch.origin)).T


def _bounds(
    patch: Patch, to_pixel: np.ndarray, intrinsics: np.ndarray, shape: tuple[int, ...]
) -> tuple[int, int, int, int] | None:
    """Rows and columns (top, bottom, left, right) that the patch may cover; None if it is outside.

    Args:
        patch: the patch.
        to_pixel: (3, 3) from (u, v, 1) to pixels times depth.
        intrinsics: (3, 3) from points to pixels times depth.
        shape: the shape of the image.
    """
    height, width = shape
    if patch.endless:
        return 0, height, 0, width
    columns, rows, depths = (
        (c, a + c, b + c, a + b + c)
        for a, b, c in to_pixel.tolist()  # at the four corners
    )
    if patch.bulge:
        lift = (intrinsics @ (patch.bulge * normal(patch))).tolist()
        columns, rows, depths = (
            (*at, *(value + more for value in at))
            for at, more in zip((columns, rows, depths), lift, strict=True)
        )
    if max(depths) < NEAREST:
        return None
    if min(depths) < NEAREST:
        return 0, height, 0, width
    x = [value / depth for value, depth in zip(columns, depths, strict=True)]
    y = [value / depth for value, depth in zip(rows, depths, strict=True)]
    left, top = max(math.floor(min(x)), 0), max(math.floor(min(y)), 0)
    right, bottom = min(math.ceil(max(x)) + 1, width), min(math.ceil(max(y)) + 1, height)
    return (top, bottom, left, right) if right - left > 1 and bottom - top > 1 else None


def may_be_seen(
    origin: np.ndarray, along: np.ndarray, down: np.ndarray, bulge: float, rig: StereoCamera
) -> bool:
    """Tell whether one of the cameras may see a parallelogram."""
    patch = Patch(origin, along, down, _NO_TEXTURE, bulge)
    views = (patch.seen_from(shift) for shift in (0.0, rig.baseline))
    matrix, shape = camera_matrix(rig.left), (rig.left.height, rig.left.width)
    return any(_bounds(view, matrix @ _frame(view), matrix, shape) is not None for view in views)


def normal(patch: Patch) -> np.ndarray:
    """The unit vector (3,) in the direction in which the patch bulges."""
    across = np.cross(patch.down, patch.along)
    return across / np.linalg.norm(across)


def _bulging(
    patch: Patch, intrinsics: np.ndarray, columns: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find where rays meet the bulging patch: u, v and inverse depth, each (h, w) float32."""
    basis = np.linalg.inv(np.column_stack((patch.along, patch.down, normal(patch))))
    eye = (basis @ -patch.origin).astype(np.float32)
    ray = (basis @ np.linalg.inv(intrinsics)).astype(np.float32)
    du, dv, dn = (row[0] * columns + (row[1] * rows + row[2]) for row in ray)
    height = np.float32(patch.bulge)
    with np.errstate(divide='ignore', invalid='ignore', over='ignore'):
        depth = -eye[2] / dn
        for _ in range(_STEPS):
            u = (eye[0] + depth * du).clip(0, 1)
            lift = height * 4 * u * (1 - u)
            if patch.round_v:
                v = (eye[1] + depth * dv).clip(0, 1)
                lift *= 4 * v * (1 - v)
            depth = (lift - eye[2]) / dn
        u, v = eye[0] + depth * du, eye[1] + depth * dv
        inverse = np.where((depth > 0) & np.isfinite(depth), 1 / depth, -1).astype(np.float32)
    return u, v, inverse


def _highlight(colour: np.ndarray, gloss: tuple[float, float, float], right: bool) -> np.ndarray:
    """Add a soft highlight; in the right view it is at another place of the surface."""
    height, width = colour.shape[:2]
    x, y, strength = gloss
    x += 0.08 if right else 0.0
    across = np.exp(-np.square((np.arange(width, dtype=np.float32) / width - x) * 5))
    along = np.exp(-np.square((np.arange(height, dtype=np.float32) / height - y) * 5))
    spot = (np.float32(strength) * along[:, None] * across).astype(np.uint8)
    return cv2.add(colour, cv2.merge((spot, spot, spot, np.zeros_like(spot))))


def _mirror(colour: np.ndarray, mirrored: np.ndarray, share: float) -> np.ndarray:
    """Mix the light of a surface with what it mirrors; its outline stays the same."""
    mixed = cv2.addWeighted(colour, 1 - share, mirrored, share, 0)
    cv2.insertChannel(cv2.extractChannel(colour, 3), mixed, 3)
    return mixed
