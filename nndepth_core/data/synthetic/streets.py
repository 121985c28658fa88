"""Streets: a painted road, facades, cars, poles and bushes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nndepth_core.data.synthetic.stage import Stage, any_colour, log_uniform, rotation

_LIFT = 5e-4
"""The height of paint above the road, as a share of the camera's height."""


def street(stage: Stage, nearest: float) -> None:
    """A road to the horizon between facades, with cars, boxes, poles and bushes on it."""
    rng = stage.rng
    product = stage.rig.focal_baseline
    turn = rotation(rng.normal(0, 0.05), rng.normal(0, 0.12), rng.normal(0, 0.02))
    x, y, z = turn.T
    close = product / nearest
    high = close * rng.uniform(0.25, 0.6) * stage.height / stage.focal * 2
    stage.gauge(high, 1.2, 1.9)  # cars are 1.1 times as wide
    far = product / rng.uniform(0.2, 1.5)
    sky = far * 2
    wide = sky * stage.width / stage.focal * 3
    sky_origin = sky * z - wide / 2 * x - wide / 2 * y
    texels = stage.height / 2, stage.width / 2
    stage.add(sky_origin, wide * x, wide * y, texels, colour=_plain(stage, 0.4))
    asphalt = rng.uniform(40, 190) + rng.normal(0, 6, 3) if rng.random() < 0.6 else None
    stage.plane(high * y, x, z, close * 2, asphalt, shadows=rng.random() < 0.5)
    if rng.random() < 0.7:
        paint_road(stage, turn, high, (close, far))
    for side in (-1, 1):
        if rng.random() < 0.75:
            across = side * high * rng.uniform(1.2, 6)
            tall = high * rng.uniform(1.5, 8)
            start = close * rng.uniform(0, 2)
            while start < far * 0.8:
                length = start * 0.3 + high * rng.uniform(2, 8)
                origin = across * x + (high - tall) * y + start * z
                texels = stage.height * 0.8, stage.width * 0.6
                stage.add(origin, length * z, tall * y, texels, colour=_plain(stage, 0.3))
                start += length * rng.uniform(1, 1.3)
                across *= rng.uniform(0.9, 1.2)
                tall *= rng.uniform(0.7, 1.4)
    for _ in range(rng.integers(5, 20)):
        place = close / rng.uniform(0.04, 0.8)
        a = rng.normal(0, 0.35) * place * stage.width / stage.focal
        ground = high * y + place * z + a * x
        unit = stage.focal / place
        kind = rng.integers(4)
        if kind == 0:
            size = high * np.exp(rng.normal(0, 0.4, 3)) * (1.1, 0.9, 1.6)
            stage.crate(ground - size[1] * y, (size[0], size[1], size[2]), turn)
            continue
        if kind == 3:
            _car(stage, ground, high, turn)
            continue
        tall = high * log_uniform(rng, 0.8, 4)
        w = high * (log_uniform(rng, 0.03, 0.15) if kind == 1 else log_uniform(rng, 0.4, 2))
        texels = tall * unit, max(w * unit, 6)
        stage.add(ground - tall * y, w * x, tall * y, texels, cut=kind == 2)
    if rng.random() < 0.15:
        stage.clutter(int(rng.integers(5, 20)), 0.1 * nearest, nearest)


def _plain(stage: Stage, chance: float) -> np.ndarray | None:
    """Any colour with this probability, otherwise None."""
    return any_colour(stage.rng) if stage.rng.random() < chance else None


def _car(stage: Stage, ground: np.ndarray, high: float, turn: np.ndarray) -> None:
    """Add a cabin on a body whose bonnet the camera looks down on; half of the cars are black.

    Args:
        stage: the stage of the scene.
        ground: (3,) the place of its left front wheel.
        high: the height of the camera above the road.
        turn: (3, 3) rotation of the road.
    """
    rng = stage.rng
    colour = rng.uniform(3, 40) + rng.normal(0, 3, 3) if rng.random() < 0.5 else any_colour(rng)
    spin = turn @ rotation(0, rng.normal(0, 0.15) + rng.choice([0, math.pi / 2], p=[0.8, 0.2]), 0)
    wide, tall, long = high * np.array([1.1, 0.55, 2.6]) * np.exp(rng.normal(0, 0.12, 3))
    stage.solid(ground - tall * spin[:, 1], (wide, tall, long), spin, colour, shine=0.5)
    inset, roof = 0.06 * wide, tall * rng.uniform(0.6, 1.0)
    corner = ground + spin @ (inset, -tall - roof, long * rng.uniform(0.05, 0.35))
    glass = stage.alike(colour, 30)
    stage.solid(corner, (wide - 2 * inset, roof, 0.55 * long), spin, glass, shine=0.5)


def paint_road(stage: Stage, turn: np.ndarray, high: float, reach: tuple[float, float]) -> None:
    """Paint lines, dashes, rails, stripes and stains on the road: texture without depth.

    Args:
        stage: the stage of the scene.
        turn: (3, 3) rotation of the road.
        high: the height of the camera above the road.
        reach: the depths of the nearest and the farthest things.
    """
    rng = stage.rng
    close, far = reach

    def paint(a: float, c: float, wide: float, long: float, **settings: Any) -> None:
        """Paint a rectangle whose left near corner is at (a, c)."""
        pixels = high * stage.focal * (1 / c - 1 / (c + long)), wide * stage.focal / c
        corner = turn @ (a, high * (1 - _LIFT), c + long)
        stage.add(corner, wide * turn[:, 0], -long * turn[:, 2], pixels, **settings)

    bright = rng.uniform(170, 250) if rng.random() < 0.75 else rng.uniform(5, 70)
    colour = bright + rng.normal(0, 10, 3)
    lane, wide = high * log_uniform(rng, 0.4, 3), high * log_uniform(rng, 0.03, 0.15)
    shift = high * rng.normal(0, 1)
    for number in range(rng.integers(1, 6)):
        dashed, c = rng.random() < 0.5, close * rng.uniform(0.3, 0.8)
        while c < 0.5 * far:
            long = high * 1.2 if dashed else 0.6 * c  # short parts, whose texture can be sharp
            paint(shift + (number - 2) * lane, c, wide, 1.02 * long, colour=colour, shine=0.0)
            c += long * (3 if dashed else 1)
    if rng.random() < 0.3:  # a pedestrian crossing
        c, wide, long = close * rng.uniform(0.8, 4), high * 0.3, high * rng.uniform(0.6, 2)
        for number in range(-8, 9):
            paint(2 * wide * number, c, wide, long, colour=colour, shine=0.0)
    for _ in range(rng.integers(0, 6)):  # stains, covers, letters
        c = close * log_uniform(rng, 0.7, 5)
        wide, long = high * np.exp(rng.normal(-0.5, 0.6, 2))
        paint(rng.normal(0, 0.3) * c, c, wide, long, cut=True, colour=_plain(stage, 0.6))
