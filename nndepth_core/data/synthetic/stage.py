"""A stage, on which layouts.py builds a scene patch by patch.

Coordinates are those of the left camera: x right, y down, z forward.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from nndepth_core.camera import StereoCamera
from nndepth_core.data.synthetic.materials import MaterialBank
from nndepth_core.data.synthetic.mipmap import Texture
from nndepth_core.data.synthetic.patches import NEAREST, Patch, Reflection, may_be_seen

_MOST_TEXELS = 512
"""The longest side of a texture; larger patches use such a texture and look blurred."""


class Stage:
    """Builds the patches of one scene.

    Args:
        rig: the cameras.
        bank: the source of textures.
        rng: the source of randomness.
        shiny: whether some things shine and mirror; what they show does not fit their disparity.
        floating: whether `clutter` adds anything.
    """

    def __init__(
        self,
        rig: StereoCamera,
        bank: MaterialBank,
        rng: np.random.Generator,
        shiny: bool = True,
        floating: bool = True,
    ) -> None:
        self.rig, self.bank, self.rng = rig, bank, rng
        self.shiny, self.floating = shiny, floating
        self.width, self.height, self.focal = rig.left.width, rig.left.height, rig.left.fx
        self.patches: list[tuple[float, Patch]] = []
        self.known = 1.0, (1.0, 1.0)

    def gauge(self, length: float, low: float, high: float) -> None:
        """Say that a length in the scene's unit is such a thing as measures low to high metres."""
        self.known = length, (low, high)

    def metres(self, rng: np.random.Generator) -> float:
        """Draw the length of the scene's unit in metres, from what `gauge` said."""
        length, (low, high) = self.known
        return log_uniform(rng, low, high) / length

    def add(
        self,
        origin: np.ndarray,
        along: np.ndarray,
        down: np.ndarray,
        texels: tuple[float, float],
        cut: bool = False,
        bulge: float = 0.0,
        colour: np.ndarray | None = None,
        shine: float = 0.12,
    ) -> None:
        """Add a patch with a new texture.

        Args:
            origin: (3,) its corner.
            along: (3,) edge of u.
            down: (3,) edge of v.
            texels: the height and width of its texture, roughly the pixels that it covers.
            cut: whether a random shape is cut out of it.
            bulge: the height of its middle.
            colour: (3,) mean of an almost plain texture; None for any texture.
            shine: the probability that it mirrors something.
        """
        rng = self.rng
        if not may_be_seen(origin, along, down, bulge, self.rig):
            return
        sharpness = rng.uniform(0.6, 1.2)  # no lens has everything in focus
        height, width = (int(np.clip(sharpness * x, 6, _MOST_TEXELS)) for x in texels)
        texture = self.bank.bake(rng, height, width, colour)
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
            self.reflection(depth, texels[1]) if self.shiny and rng.random() < shine else None,
        )
        self.patches.append((depth, patch))

    def reflection(self, depth: float, width: float) -> Reflection:
        """Make what a shiny thing mirrors, such as car paint or a window.

        Args:
            depth: the depth of the thing.
            width: the width of the thing in pixels.
        """
        rng = self.rng
        sides = rng.integers(16, _MOST_TEXELS // 2, 2).tolist()
        disparity = self.rig.focal_baseline / max(depth, NEAREST)
        behind = disparity * rng.uniform(0.1, 0.7)  # what is mirrored has less disparity by this
        shift = min(behind / max(width, 1.0), 0.5)
        share = rng.uniform(0.1, 0.6)
        return Reflection(_texture(self.bank.bake(rng, *sides)), shift, share)

    def plane(
        self,
        point: np.ndarray,
        along: np.ndarray,
        down: np.ndarray,
        depth: float,
        colour: np.ndarray | None = None,
        shadows: bool = False,
    ) -> None:
        """Add an endless plane with a new texture.

        Args:
            point: (3,) one of its points.
            along: (3,) a unit vector in the plane.
            down: (3,) another one.
            depth: the depth at which a texel of its texture covers about a pixel.
            colour: (3,) mean of an almost plain texture; None for any texture.
            shadows: whether things outside the image cast shadows on it.
        """
        rng = self.rng
        texels = min(_MOST_TEXELS, int(0.75 * self.width))
        side = texels * depth / self.focal * log_uniform(rng, 0.7, 2.5)
        texture = self.bank.bake(rng, texels, texels, colour)
        if shadows:
            self.bank.cast_shadows(rng, texture)
        origin = point - side * (rng.random() * along + rng.random() * down)
        endless = Patch(origin, side * along, side * down, _texture(texture), endless=True)
        self.patches.append((math.inf, endless))

    def sorted_patches(self) -> list[Patch]:
        """The patches from far to near."""
        return [patch for _, patch in sorted(self.patches, key=lambda item: -item[0])]

    def point(self, x: float, y: float, disparity: float) -> np.ndarray:
        """The point (3,) that is seen at pixel (x, y) with a disparity."""
        camera = self.rig.left
        ray = np.array([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy, 1])
        return self.rig.focal_baseline / disparity * ray

    def shape(self, x: float, y: float, disparity: float, size: tuple[float, float]) -> None:
        """Add a cut-out shape at (x, y) of `size` (width, height) pixels, with a random tilt."""
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

    def solid(
        self,
        corner: np.ndarray,
        size: tuple[float, float, float],
        turn: np.ndarray,
        colour: np.ndarray | None = None,
        shine: float = 0.12,
    ) -> None:
        """Add the sides of a box that the camera can see.

        Args:
            corner: (3,) its upper left front corner.
            size: width, height and depth.
            turn: (3, 3) rotation about the corner.
            colour: (3,) of an almost plain box, whose sides have different light; None for any.
            shine: the probability that a side mirrors something.
        """
        edges = turn * np.array(size)
        pixels = np.array(size) * self.focal / max(corner[2], NEAREST)
        centre = corner + edges.sum(1) / 2
        for axis in range(3):
            first, second = (axis + 1) % 3, (axis + 2) % 3
            for far in (0, 1):
                origin = corner + far * edges[:, axis]
                middle = origin + (edges[:, first] + edges[:, second]) / 2
                if (middle - centre) @ middle < 0:
                    self.add(
                        origin,
                        edges[:, first],
                        edges[:, second],
                        (pixels[second], pixels[first]),
                        colour=self.alike(colour),
                        shine=shine,
                    )

    def crate(
        self,
        corner: np.ndarray,
        size: tuple[float, float, float],
        turn: np.ndarray,
        colour: np.ndarray | None = None,
    ) -> None:
        """Add a box as `solid` does, with a random rotation about its upright axis."""
        self.solid(corner, size, turn @ rotation(0, self.rng.uniform(-0.7, 0.7), 0), colour)

    def alike(self, colour: np.ndarray | None, spread: float = 9.0) -> np.ndarray | None:
        """A colour (3,) similar to another one, as in another light; None stays None."""
        if colour is None:
            return None
        rng = self.rng
        return (colour + rng.normal(0, spread) + rng.normal(0, spread / 4, 3)).clip(2, 253)

    def clutter(self, count: int, low: float, high: float) -> None:
        """Add shapes and boxes all over the image with disparities between low and high."""
        rng = self.rng
        for _ in range(count if self.floating else 0):
            share = rng.random() ** rng.choice([1.0, 2.0])
            disparity = low + (high - low) * share
            size = log_uniform(rng, 14, 0.6 * self.height)
            aspect = math.exp(rng.normal(0, 0.8))
            wide, tall = size * math.sqrt(aspect), size / math.sqrt(aspect)
            x, y = rng.uniform(-0.05, 1.05) * self.width, rng.uniform(-0.05, 1.05) * self.height
            if rng.random() < 0.8:
                self.shape(x, y, disparity, (wide, tall))
                continue
            corner = self.point(x, y, disparity)
            sides = 0.7 * corner[2] / self.focal * np.array([wide, tall, math.sqrt(wide * tall)])
            turn = rotation(rng.normal(0, 0.5), rng.normal(0, 0.7), rng.normal(0, 0.4))
            self.solid(corner, (sides[0], sides[1], sides[2]), turn)


def rotation(pitch: float, yaw: float, roll: float) -> np.ndarray:
    """The rotation matrix (3, 3) for angles about x, y and z, in radians."""
    matrices = [
        cv2.Rodrigues(np.array(axis, float))[0]
        for axis in ((0, yaw, 0), (pitch, 0, 0), (0, 0, roll))
    ]
    return matrices[0] @ matrices[1] @ matrices[2]


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number whose logarithm is uniform."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def any_colour(rng: np.random.Generator) -> np.ndarray:
    """Draw a colour (3,) of walls and furniture, 0 to 255."""
    return rng.uniform(25, 215) + rng.normal(0, 20, 3)


def _texture(colour: np.ndarray, alpha: np.ndarray | None = None) -> Texture:
    """Make a texture of a colour (h, w, 3), cut out by an alpha (h, w) if there is one."""
    whole = np.full_like(colour[..., 0], 255) if alpha is None else alpha
    return Texture(cv2.merge((colour, whole)))
