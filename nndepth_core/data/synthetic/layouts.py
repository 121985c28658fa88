"""Where things stand: flying shapes, rooms, streets and close-up tables, all from patches.

Coordinates are those of the left camera: x right, y down, z forward.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

from nndepth_core.camera import StereoCamera
from nndepth_core.data.synthetic.materials import MaterialBank
from nndepth_core.data.synthetic.mipmap import Texture
from nndepth_core.data.synthetic.patches import NEAREST, Patch, Reflection, may_be_seen

_MOST_TEXELS = 512
"""Longest side of a baked texture; larger patches are drawn from this and look blurred."""


class Stage:
    """Builds the patches of one scene.

    Args:
        rig: the cameras.
        bank: what things are covered with.
        rng: decides everything.
        shiny: whether some things shine and mirror, which does not move as their disparity says.
    """

    def __init__(
        self,
        rig: StereoCamera,
        bank: MaterialBank,
        rng: np.random.Generator,
        shiny: bool = True,
    ) -> None:
        self.rig, self.bank, self.rng, self.shiny = rig, bank, rng, shiny
        self.width, self.height, self.focal = rig.left.width, rig.left.height, rig.left.fx
        self.patches: list[tuple[float, Patch]] = []

    def add(
        self,
        origin: np.ndarray,
        along: np.ndarray,
        down: np.ndarray,
        texels: tuple[float, float],
        cut: bool = False,
        bulge: float = 0.0,
    ) -> None:
        """Put up a patch with a new texture.

        Args:
            origin: (3,) its corner.
            along: (3,) edge of u.
            down: (3,) edge of v.
            texels: height and width its texture should have, roughly the pixels it covers.
            cut: whether a random shape is cut out of it.
            bulge: height of its middle.
        """
        rng = self.rng
        if not may_be_seen(origin, along, down, bulge, self.rig):
            return
        sharpness = rng.uniform(0.6, 1.2)  # no lens shows everything in focus
        height, width = (int(np.clip(sharpness * x, 6, _MOST_TEXELS)) for x in texels)
        texture = self.bank.bake(rng, height, width)
        alpha = self.bank.shape(rng, height, width) if cut else None
        gloss = None
        if self.shiny and rng.random() < 0.12:
            gloss = (rng.uniform(), rng.uniform(), rng.uniform(20, 120))
        depth = float((origin + (along + down) / 2)[2])
        patch = Patch(
            origin,
            along,
            down,
            _texture(texture, alpha),
            bulge,
            bool(rng.random() < 0.6),
            gloss,
            self.reflection(depth, texels[1]) if self.shiny and rng.random() < 0.12 else None,
        )
        self.patches.append((depth, patch))

    def reflection(self, depth: float, width: float) -> Reflection:
        """What a shiny thing mirrors, as car paint and windows do.

        Args:
            depth: of the thing.
            width: of the thing, pixels.
        """
        rng = self.rng
        sides = rng.integers(16, _MOST_TEXELS // 2, 2).tolist()
        disparity = self.rig.focal_baseline / max(depth, NEAREST)
        behind = disparity * rng.uniform(0.1, 0.7)  # by which what is mirrored has less of it
        shift = min(behind / max(width, 1.0), 0.5)
        share = rng.uniform(0.1, 0.6)
        return Reflection(_texture(self.bank.bake(rng, *sides)), shift, share)

    def plane(self, point: np.ndarray, along: np.ndarray, down: np.ndarray, depth: float) -> None:
        """Put up an endless plane with a new texture.

        Args:
            point: (3,) one of its points.
            along: (3,) unit vector in it.
            down: (3,) another one.
            depth: where a texel of its texture covers about a pixel.
        """
        rng = self.rng
        texels = min(_MOST_TEXELS, int(0.75 * self.width))
        side = texels * depth / self.focal * log_uniform(rng, 0.7, 2.5)
        texture = self.bank.bake(rng, texels, texels)
        origin = point - side * (rng.random() * along + rng.random() * down)
        endless = Patch(origin, side * along, side * down, _texture(texture), endless=True)
        self.patches.append((math.inf, endless))

    def sorted_patches(self) -> list[Patch]:
        """The patches from far to near."""
        return [patch for _, patch in sorted(self.patches, key=lambda item: -item[0])]

    def point(self, x: float, y: float, disparity: float) -> np.ndarray:
        """The point (3,) seen at pixel (x, y) with a disparity."""
        camera = self.rig.left
        ray = np.array([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy, 1])
        return self.rig.focal_baseline / disparity * ray

    def shape(self, x: float, y: float, disparity: float, size: tuple[float, float]) -> None:
        """A cut-out seen at (x, y), `size` (width, height) pixels large, tilted somehow."""
        rng = self.rng
        centre = self.point(x, y, disparity)
        unit = centre[2] / self.focal
        tilt = rng.normal(0, 0.35, 2).clip(-1.0, 1.0) if rng.random() < 0.7 else np.zeros(2)
        turn = rotation(tilt[0], tilt[1], rng.normal(0, 0.5))
        along, down = turn[:, 0] * size[0] * unit, turn[:, 1] * size[1] * unit
        bulge = 0.0
        if rng.random() < 0.25:
            bulge = float(min(size) * unit * rng.uniform(0.08, 0.3) * rng.choice([-1, 1]))
        origin = centre - (along + down) / 2
        self.add(origin, along, down, (size[1], size[0]), cut=rng.random() < 0.9, bulge=bulge)

    def box(self, corner: np.ndarray, edges: np.ndarray, pixels: np.ndarray) -> None:
        """The sides of a box (edges in columns, (3, 3)) that the camera can see."""
        centre = corner + edges.sum(1) / 2
        for axis in range(3):
            first, second = (axis + 1) % 3, (axis + 2) % 3
            for far in (0, 1):
                origin = corner + far * edges[:, axis]
                middle = origin + (edges[:, first] + edges[:, second]) / 2
                if (middle - centre) @ middle < 0:
                    size = pixels[second], pixels[first]
                    self.add(origin, edges[:, first], edges[:, second], size)

    def clutter(self, count: int, low: float, high: float) -> None:
        """Shapes all over the picture with disparities between low and high."""
        rng = self.rng
        for _ in range(count):
            share = rng.random() ** rng.choice([1.0, 2.0])
            disparity = low + (high - low) * share
            size = log_uniform(rng, 14, 0.6 * self.height)
            aspect = math.exp(rng.normal(0, 0.8))
            wide, tall = size * math.sqrt(aspect), size / math.sqrt(aspect)
            x, y = rng.uniform(-0.05, 1.05) * self.width, rng.uniform(-0.05, 1.05) * self.height
            self.shape(x, y, disparity, (wide, tall))


def flying(stage: Stage, nearest: float) -> None:
    """Shapes in the air before a slanted wall."""
    rng = stage.rng
    farthest = max(nearest * rng.uniform(0.02, 0.35), 0.3)
    _backdrop(stage, farthest)
    stage.clutter(int(rng.integers(12, 50)), farthest * 1.15, nearest)


def room(stage: Stage, nearest: float) -> None:
    """A room seen from inside: floor, ceiling, walls, things hung on them, furniture."""
    rng = stage.rng
    product = stage.rig.focal_baseline
    back = product / (nearest * rng.uniform(0.08, 0.4))
    unit = back * stage.width / stage.focal  # what the picture spans at the back wall
    left, right = -unit * rng.uniform(0.3, 1.0), unit * rng.uniform(0.3, 1.0)
    top, floor = -unit * rng.uniform(0.25, 0.6), unit * rng.uniform(0.2, 0.45)
    turn = rotation(rng.normal(0, 0.08), rng.normal(0, 0.3), rng.normal(0, 0.03))
    x, y, z = turn.T
    width, height = right - left, floor - top

    def at(a: float, b: float, c: float) -> np.ndarray:
        return a * x + b * y + c * z

    for point, along, down in (
        (at(0, 0, back), x, y),
        (at(left, 0, 0), z, y),
        (at(right, 0, 0), z, y),
        (at(0, top, 0), x, z),
        (at(0, floor, 0), x, z),
    ):
        stage.plane(point, along, down, back)
    for _ in range(rng.integers(0, 7)):  # pictures, windows, doors
        w, h = width * rng.uniform(0.05, 0.35), height * rng.uniform(0.1, 0.5)
        a, b = rng.uniform(left, right - w), rng.uniform(top, floor - h)
        front = back * (1 - rng.uniform(0.005, 0.06))
        size = h * stage.focal / back, w * stage.focal / back
        stage.add(at(a, b, front), w * x, h * y, size, cut=rng.random() < 0.3)
    for _ in range(rng.integers(1, 9)):
        place = product / (nearest * rng.uniform(0.25, 0.9))
        w, h, d = unit * np.exp(rng.uniform(-3.2, -1.0, 3))
        foot = floor if rng.random() < 0.8 else rng.uniform(top, floor)
        _crate(stage, at(rng.uniform(-0.6, 0.6) * place, foot - h, place), (w, h, d), turn)
    stage.clutter(int(rng.integers(4, 22)), product / back * 1.2, nearest)


def street(stage: Stage, nearest: float) -> None:
    """A road to the horizon between facades, with boxes, poles and bushes on it."""
    rng = stage.rng
    product = stage.rig.focal_baseline
    turn = rotation(rng.normal(0, 0.05), rng.normal(0, 0.12), rng.normal(0, 0.02))
    x, y, z = turn.T
    close = product / nearest
    high = close * rng.uniform(0.25, 0.6) * stage.height / stage.focal * 2
    far = product / rng.uniform(0.2, 1.5)
    sky = far * 2
    wide = sky * stage.width / stage.focal * 3
    sky_origin = sky * z - wide / 2 * x - wide / 2 * y
    stage.add(sky_origin, wide * x, wide * y, (stage.height / 2, stage.width / 2))
    stage.plane(high * y, x, z, close * 2)
    for side in (-1, 1):
        if rng.random() < 0.75:
            across = side * high * rng.uniform(1.2, 6)
            tall = high * rng.uniform(1.5, 8)
            start = close * rng.uniform(0, 2)
            while start < far * 0.8:
                length = start * 0.3 + high * rng.uniform(2, 8)
                origin = across * x + (high - tall) * y + start * z
                stage.add(origin, length * z, tall * y, (stage.height * 0.8, stage.width * 0.6))
                start += length * rng.uniform(1, 1.3)
                across *= rng.uniform(0.9, 1.2)
                tall *= rng.uniform(0.7, 1.4)
    for _ in range(rng.integers(5, 20)):
        place = close / rng.uniform(0.04, 0.8)
        a = rng.normal(0, 0.35) * place * stage.width / stage.focal
        ground = high * y + place * z + a * x
        unit = stage.focal / place
        kind = rng.integers(3)
        if kind == 0:
            size = high * np.exp(rng.normal(0, 0.4, 3)) * (1.1, 0.9, 1.6)
            _crate(stage, ground - size[1] * y, (size[0], size[1], size[2]), turn)
            continue
        tall = high * log_uniform(rng, 0.8, 4)
        w = high * (log_uniform(rng, 0.03, 0.15) if kind == 1 else log_uniform(rng, 0.4, 2))
        texels = tall * unit, max(w * unit, 6)
        stage.add(ground - tall * y, w * x, tall * y, texels, cut=kind == 2)


def table(stage: Stage, nearest: float) -> None:
    """Close things before a wall near by: large disparities that differ little."""
    rng = stage.rng
    wall = nearest * rng.uniform(0.25, 0.6)
    _backdrop(stage, wall)
    product = stage.rig.focal_baseline
    unit = product / nearest / stage.focal
    turn = rotation(rng.normal(0, 0.1), rng.normal(0, 0.25), rng.normal(0, 0.04))
    x, y, z = turn.T
    low = stage.height * rng.uniform(0.5, 0.9) * unit
    if rng.random() < 0.7:
        stage.plane(low * y, x, z, product / wall)
    for _ in range(rng.integers(2, 9)):
        place = product / rng.uniform(wall * 1.1, nearest)
        size = stage.height * unit * np.exp(rng.uniform(-2.3, -0.3, 3))
        spin = turn @ rotation(0, rng.uniform(-1, 1), 0)
        corner = low * y - size[1] * y + place * z + rng.uniform(-0.5, 0.5) * place * x
        _crate(stage, corner, (size[0], size[1], size[2]), spin)
    stage.clutter(int(rng.integers(6, 28)), wall * 1.1, nearest)


LAYOUTS: tuple[tuple[float, Callable[[Stage, float], None]], ...] = (
    (0.28, flying),
    (0.24, room),
    (0.3, street),
    (0.18, table),
)
"""How often each layout comes, and what builds it."""


def rotation(pitch: float, yaw: float, roll: float) -> np.ndarray:
    """Rotation matrix (3, 3) from angles about x, y and z, radians."""
    matrices = [
        cv2.Rodrigues(np.array(axis, float))[0]
        for axis in ((0, yaw, 0), (pitch, 0, 0), (0, 0, roll))
    ]
    return matrices[0] @ matrices[1] @ matrices[2]


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A draw whose logarithm is uniform."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _backdrop(stage: Stage, disparity: float) -> None:
    """A wall that fills the picture, slanted at times."""
    rng = stage.rng
    centre = stage.point(stage.width / 2, stage.height / 2, disparity)
    tilt = rng.normal(0, (0.2, 0.35)).clip(-0.7, 0.7) if rng.random() < 0.7 else (0.0, 0.0)
    turn = rotation(tilt[0], tilt[1], 0)
    stage.plane(centre, turn[:, 0], turn[:, 1], centre[2])


def _crate(
    stage: Stage, corner: np.ndarray, size: tuple[float, float, float], turn: np.ndarray
) -> None:
    """A box with its upper left front corner given, turned about its upright axis."""
    spin = turn @ rotation(0, stage.rng.uniform(-0.7, 0.7), 0)
    edges = spin * np.array(size)
    depth = max(corner[2], 1e-3)
    pixels = np.array(size) * stage.focal / depth
    stage.box(corner, edges, pixels)


def _texture(colour: np.ndarray, alpha: np.ndarray | None = None) -> Texture:
    """A texture of a colour (h, w, 3), cut out by an alpha (h, w) if there is one."""
    whole = np.full_like(colour[..., 0], 255) if alpha is None else alpha
    return Texture(cv2.merge((colour, whole)))
