"""Arrangements of patches: flying shapes, rooms, streets, tables and ledges.

Coordinates are those of the left camera: x right, y down, z forward.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nndepth_core.data.synthetic.ledges import ledges
from nndepth_core.data.synthetic.stage import Stage, any_colour, rotation
from nndepth_core.data.synthetic.streets import street


def flying(stage: Stage, nearest: float) -> None:
    """Shapes in the air in front of a slanted wall."""
    rng = stage.rng
    farthest = max(nearest * rng.uniform(0.02, 0.35), 0.3)
    _backdrop(stage, farthest)
    stage.clutter(int(rng.integers(12, 50)), farthest * 1.15, nearest)


def room(stage: Stage, nearest: float) -> None:
    """A room from inside: floor, ceiling, walls with things on them, furniture, flying shapes."""
    rng = stage.rng
    product = stage.rig.focal_baseline
    back = product / (nearest * rng.uniform(0.08, 0.4))
    unit = back * stage.width / stage.focal  # the width that the image shows at the back wall
    left, right = -unit * rng.uniform(0.3, 1.0), unit * rng.uniform(0.3, 1.0)
    top, floor = -unit * rng.uniform(0.25, 0.6), unit * rng.uniform(0.2, 0.45)
    turn = rotation(rng.normal(0, 0.08), rng.normal(0, 0.3), rng.normal(0, 0.03))
    x, y, z = turn.T
    width, height = right - left, floor - top
    stage.gauge(height, 2.3, 3.0)
    paint = any_colour(rng) if rng.random() < 0.4 else None  # the colour of plain walls

    def at(a: float, b: float, c: float) -> np.ndarray:
        return a * x + b * y + c * z

    for point, along, down in (
        (at(0, 0, back), x, y),
        (at(left, 0, 0), z, y),
        (at(right, 0, 0), z, y),
        (at(0, top, 0), x, z),
        (at(0, floor, 0), x, z),
    ):
        stage.plane(point, along, down, back, stage.alike(paint), shadows=rng.random() < 0.15)
    for _ in range(rng.integers(0, 7)):  # pictures, windows, doors
        w, h = width * rng.uniform(0.05, 0.35), height * rng.uniform(0.1, 0.5)
        a, b = rng.uniform(left, right - w), rng.uniform(top, floor - h)
        front = back * (1 - rng.uniform(0.005, 0.06))
        size = h * stage.focal / back, w * stage.focal / back
        colour = stage.alike(paint, 20) if rng.random() < 0.3 else None
        stage.add(at(a, b, front), w * x, h * y, size, cut=rng.random() < 0.3, colour=colour)
    behind = int(rng.integers(0, 9))
    for number in range(behind + rng.integers(1, 9)):
        place = back * rng.uniform(0.6, 0.97)
        if number >= behind:
            place = product / (nearest * rng.uniform(0.25, 0.9))
        w, h, d = unit * np.exp(rng.uniform(-3.2, -1.0, 3))
        foot = floor if rng.random() < 0.8 else rng.uniform(top, floor)
        colour = stage.alike(paint, 25) if rng.random() < 0.4 else None
        stage.crate(at(rng.uniform(-0.6, 0.6) * place, foot - h, place), (w, h, d), turn, colour)
    floaters = rng.integers(10, 31) if rng.random() < 0.6 else rng.integers(0, 6)
    stage.clutter(int(floaters), product / back * 1.2, nearest)


def table(stage: Stage, nearest: float) -> None:
    """Close things in front of a near wall: large disparities that differ little."""
    rng = stage.rng
    wall = nearest * rng.uniform(0.25, 0.6)
    _backdrop(stage, wall)
    product = stage.rig.focal_baseline
    stage.gauge(product / nearest, 0.3, 0.8)
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
        stage.crate(corner, (size[0], size[1], size[2]), spin)
    stage.clutter(int(rng.integers(6, 28)), wall * 1.1, nearest)


LAYOUTS: tuple[tuple[float, Callable[[Stage, float], None]], ...] = (
    (0.2, flying),
    (0.24, room),
    (0.25, street),
    (0.11, table),
    (0.2, ledges),
)
"""How often each layout occurs, and the function that builds it."""

GROUNDED = LAYOUTS[1:]
"""Those in which things stand on a ground."""


def _backdrop(stage: Stage, disparity: float) -> None:
    """A wall that fills the image; it is sometimes slanted."""
    rng = stage.rng
    centre = stage.point(stage.width / 2, stage.height / 2, disparity)
    tilt = rng.normal(0, (0.2, 0.35)).clip(-0.7, 0.7) if rng.random() < 0.7 else (0.0, 0.0)
    turn = rotation(tilt[0], tilt[1], 0)
    stage.plane(centre, turn[:, 0], turn[:, 1], centre[2])
