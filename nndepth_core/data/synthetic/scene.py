"""Objects, the sun, and a random yard that a camera can drive through."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nndepth_core.data.synthetic.geometry import Box, Cylinder, Pose, Rectangle, Shape, Sphere
from nndepth_core.data.synthetic.textures import (
    Texture,
    clouds,
    facade,
    masonry,
    mosaic,
    plain,
    planks,
)


@dataclass(frozen=True)
class SceneObject:
    """A primitive with its pose and its texture."""

    shape: Shape
    pose: Pose
    texture: Texture


@dataclass(frozen=True)
class Light:
    """A sun and the light of the sky.

    Attributes:
        direction: (3,) unit vector towards the sun.
        sun: (3,) the share of the albedo, in RGB, that the sun adds at normal incidence.
        sky: (3,) the share, in RGB, that reaches every surface facing up, even in the shade.
    """

    direction: np.ndarray
    sun: np.ndarray
    sky: np.ndarray


@dataclass(frozen=True)
class Scene:
    """A static world: x forward, y left, z up, metres.

    Attributes:
        objects: the surfaces.
        light: the light that shines on them.
        sky: clouds on a plane one metre above the eye, wherever the eye is.
        centre: (3,) the centre of the ball inside which shadows are drawn.
        radius: the radius of that ball.
    """

    objects: tuple[SceneObject, ...]
    light: Light
    sky: Texture
    centre: np.ndarray
    radius: float


def make_yard(seed: int) -> Scene:
    """Make a yard between walls with crates, barrels, balls and poles; the seed determines it.

    The strip |y| < 0.4 m, x < 3.1 m stays free for the camera; an object is at its end.
    """
    rng = np.random.default_rng(seed)
    azimuth, elevation = rng.uniform(2.0, 2.7) * rng.choice([-1, 1]), rng.uniform(0.65, 0.9)
    direction = np.array(
        [
            math.cos(elevation) * math.cos(azimuth),
            math.cos(elevation) * math.sin(azimuth),
            math.sin(elevation),
        ]
    )
    light = Light(
        direction,
        sun=np.array([0.78, 0.72, 0.60], np.float32),
        sky=np.array([0.50, 0.54, 0.61], np.float32),
    )
    objects = [*_buildings(rng), *_furniture(rng)]
    return Scene(tuple(objects), light, clouds(rng, metres=6), np.array([4.5, 0, 0]), 6.5)


def drive_through(time: float) -> Pose:
    """The pose of a left camera that drives smoothly to and fro in the yard; time in seconds."""
    position = np.array(
        [
            1.3 * (1 - math.cos(0.75 * time)),
            0.25 * math.sin(0.6 * time),
            0.75 + 0.02 * math.sin(2.3 * time),
        ]
    )
    yaw, pitch = 0.10 * math.sin(0.5 * time + 0.4), -0.10 + 0.01 * math.sin(1.9 * time)
    return Pose.looking(position, np.array([math.cos(yaw), math.sin(yaw), math.tan(pitch)]))


def _buildings(rng: np.random.Generator) -> list[SceneObject]:
    """Make the ground, the walls at the sides and behind, and a poster."""
    brick = masonry(rng, (0.72, 0.42, 0.33), rows=20, columns=6, metres=1.6, joint=0.62)
    paving = masonry(rng, (0.66, 0.63, 0.58), rows=6, columns=6, metres=2.4, joint=0.35)
    plaster = plain(rng, (0.86, 0.80, 0.68), stains=0.03, grain=0.015, metres=4)
    house = facade(rng, (0.88, 0.80, 0.64), metres=1.3)
    cladding = planks(rng, (0.42, 0.52, 0.56), count=10, metres=2)
    level = np.eye(3)
    facing_right = np.array([[1.0, 0, 0], [0, 0, 1], [0, 1, 0]])  # u along x, v up
    left, right = rng.uniform(2.2, 2.8), -rng.uniform(2.3, 3.0)
    end = rng.uniform(9, 11)
    return [
        SceneObject(Rectangle(60, 60), Pose(np.array([20.0, 0, 0]), level), paving),
        SceneObject(Box(9, 0.25, 2.4), Pose.upright(3.5, left + 0.12, 1.2), brick),
        SceneObject(Box(4.5, 0.2, 1.9), Pose.upright(2.6, right - 0.1, 0.95), plaster),
        SceneObject(Box(4, 3.5, 3.2), Pose.upright(8.2, right - 2.2, 1.6, 0.06), cladding),
        SceneObject(Box(3, 7, 2.6), Pose.upright(end + 1.5, 2.2, 1.3, -0.08), house),
        SceneObject(Box(0.3, 20, 1.5), Pose.upright(end + 4, -4, 0.75, 0.15), brick),
        SceneObject(
            Rectangle(1.2, 0.8),
            Pose(np.array([rng.uniform(5, 6.5), left - 0.01, 1.3]), facing_right),
            mosaic(rng, 150, 1.2),
        ),
    ]


def _furniture(rng: np.random.Generator) -> list[SceneObject]:
    """Make objects in the yard, none of them in the way of the camera."""
    crate = planks(rng, (0.72, 0.55, 0.36), count=6, metres=0.8)
    card = plain(rng, (0.70, 0.56, 0.40), stains=0.06, grain=0.03, metres=1)
    paints = [
        plain(rng, colour, stains=0.10, grain=0.05, metres=1)
        for colour in ((0.20, 0.42, 0.62), (0.70, 0.24, 0.18), (0.30, 0.50, 0.30))
    ]
    metal = plain(rng, (0.55, 0.56, 0.58), stains=0.08, grain=0.10, metres=0.5)
    leaves = plain(rng, (0.30, 0.46, 0.20), stains=0.30, grain=0.35, metres=1)
    ball = mosaic(rng, 60, 0.8)

    objects = []
    for x, y in _places(rng, 13):
        yaw = rng.uniform(-0.8, 0.8)
        kind = rng.choice(['crate', 'stack', 'barrel', 'ball', 'pole', 'bush'])
        side = rng.uniform(0.35, 0.6)
        if kind in ('crate', 'stack'):
            objects.append(
                SceneObject(Box(side, side, side), Pose.upright(x, y, side / 2, yaw), crate)
            )
        if kind == 'stack':
            top = 0.6 * side
            pose = Pose.upright(x, y, side + top / 2, yaw + 0.5)
            objects.append(SceneObject(Box(top, 0.8 * top, top), pose, card))
        elif kind == 'barrel':
            shape = Cylinder(rng.uniform(0.2, 0.3), rng.uniform(0.6, 0.9))
            pose = Pose.upright(x, y, shape.height / 2, yaw)
            objects.append(SceneObject(shape, pose, paints[rng.integers(len(paints))]))
        elif kind == 'ball':
            radius = rng.uniform(0.15, 0.3)
            objects.append(SceneObject(Sphere(radius), Pose.upright(x, y, radius, yaw), ball))
        elif kind == 'pole':
            shape = Cylinder(rng.uniform(0.02, 0.035), rng.uniform(1.6, 2.4))
            objects.append(SceneObject(shape, Pose.upright(x, y, shape.height / 2), metal))
        elif kind == 'bush':
            radius = rng.uniform(0.35, 0.5)
            trunk = Cylinder(0.04, 0.9)
            objects.append(SceneObject(trunk, Pose.upright(x, y, 0.45), crate))
            objects.append(
                SceneObject(Sphere(radius), Pose.upright(x, y, 0.7 + radius, yaw), leaves)
            )
    return objects


def _places(rng: np.random.Generator, count: int) -> list[tuple[float, float]]:
    """Places on the ground at least 0.8 m apart, one at the end of the camera's strip."""
    places = [(3.55, rng.uniform(-0.3, 0.3))]
    while len(places) < count:
        x, y = rng.uniform(1.6, 8), rng.uniform(-2.1, 1.9)
        clear = abs(y) > 0.8 or x > 4.5
        if clear and all(math.hypot(x - a, y - b) > 0.8 for a, b in places):
            places.append((x, y))
    return places
