"""Boards, shelves, table tops and steps: depth edges along the rows between similar surfaces.

Matching cannot find such an edge, so that it must be found in the left image.
"""

from __future__ import annotations

import numpy as np

from nndepth_core.data.synthetic.stage import Stage, any_colour, log_uniform, rotation


def ledges(stage: Stage, nearest: float) -> None:
    """Almost plain boards or steps of similar colours in front of a wall, with things on them."""
    rng = stage.rng
    product = stage.rig.focal_baseline
    back = product / (nearest * rng.uniform(0.15, 0.65))
    tall = back * stage.height / stage.focal  # the height that the image shows at the wall
    turn = np.eye(3)  # edges along the rows
    if rng.random() < 0.5:  # slightly slanted edges
        turn = rotation(0, rng.normal(0, 0.25), rng.normal(0, 0.03))
    turn = turn @ rotation(rng.normal(0, 0.06), 0, 0)
    x, y, z = turn.T
    paint = any_colour(rng)
    plain = paint if rng.random() < 0.8 else None
    stage.plane(back * z, x, y, back, stage.alike(plain))
    if rng.random() < 0.7:
        floor = stage.alike(paint, 15) if rng.random() < 0.6 else None
        stage.plane(tall * rng.uniform(0.35, 0.8) * y, x, z, back, floor)
    build = _shelves if rng.random() < 0.65 else _steps
    build(stage, turn, paint, back, product / nearest)
    if rng.random() < 0.4:
        stage.clutter(int(rng.integers(3, 20)), product / back * 1.1, nearest)


def _shelves(stage: Stage, turn: np.ndarray, paint: np.ndarray, back: float, close: float) -> None:
    """Add boards one above the other, some with sides, or a single table top."""
    rng = stage.rng
    tall, wide = back * stage.height / stage.focal, back * stage.width / stage.focal
    count = int(rng.integers(1, 7))
    front = rng.uniform(close, 0.9 * back)
    end = back if rng.random() < 0.7 else rng.uniform(front, back)
    left, right = -wide * rng.uniform(0.15, 0.8), wide * rng.uniform(0.15, 0.8)
    levels = np.linspace(-0.6, 0.6, count + 2)[1:-1] * front / back + rng.normal(0, 0.06, count)
    thick = tall * log_uniform(rng, 0.006, 0.06)
    gap = 1.1 * tall / (count + 1) * front / back
    stage.gauge(gap, 0.2, 0.45)
    for level in np.sort(levels) * tall:
        colour = stage.alike(paint)
        corner = turn @ (left, level, front)
        stage.solid(corner, (right - left, thick, end - front), turn, colour)
        for _ in range(rng.integers(0, 9)):
            _thing(stage, turn, (left, right), level, (front, end), gap, paint)
    for _ in range(rng.integers(0, 4) if count > 1 else 0):
        corner = turn @ (rng.uniform(left, right), -0.6 * tall, front)
        stage.solid(corner, (thick, 1.2 * tall, end - front), turn, stage.alike(paint))


def _steps(stage: Stage, turn: np.ndarray, paint: np.ndarray, back: float, close: float) -> None:
    """Add stairs that rise towards the wall, or a kerb if there is only one step."""
    rng = stage.rng
    tall, wide = back * stage.height / stage.focal, back * stage.width / stage.focal
    count = int(rng.integers(1, 8))
    front = rng.uniform(close, 0.8 * back)
    tread = (back - front) / count
    low = tall * rng.uniform(0.1, 0.5)
    rise = tall * rng.uniform(0.2, 1.0) / count
    stage.gauge(rise, 0.14, 0.2 if count > 2 else 0.75)  # stairs, or a bench
    left, right = -wide * rng.uniform(0.2, 1.2), wide * rng.uniform(0.2, 1.2)
    for number in range(count):
        place, level = front + number * tread, low - number * rise
        size = right - left, max(2 * tall - level, rise), back - place
        stage.solid(turn @ (left, level, place), size, turn, stage.alike(paint, 6))
        for _ in range(rng.integers(0, 4)):
            _thing(stage, turn, (left, right), level, (place, place + tread), rise + low, paint)


def _thing(
    stage: Stage,
    turn: np.ndarray,
    across: tuple[float, float],
    level: float,
    depth: tuple[float, float],
    room: float,
    paint: np.ndarray,
) -> None:
    """Put a box, a can, a row of books or a cut-out on a ledge.

    Args:
        stage: the stage of the scene.
        turn: (3, 3) rotation of the ledge.
        across: the left and right end of the ledge.
        level: the height of its upper side.
        depth: the depth of its front and back edge.
        room: the largest height of the thing.
        paint: (3,) colour of the ledge, which some things have too.
    """
    rng = stage.rng
    x, y, _ = turn.T
    high = room * rng.uniform(0.15, 0.95)
    wide = high * log_uniform(rng, 0.2, 2.5)
    place = rng.uniform(*depth)
    corner = turn @ (rng.uniform(across[0], max(across[1] - wide, across[0])), level - high, place)
    colour = stage.alike(paint, 14) if rng.random() < 0.3 else None
    unit = stage.focal / max(place, 1e-3)
    texels = high * unit, wide * unit
    kind = rng.integers(4)
    if kind == 0:
        deep = min(wide * rng.uniform(0.3, 1.2), depth[1] - place)
        stage.crate(corner, (wide, high, deep), turn, colour)
    elif kind == 1:  # a can
        stage.add(corner, wide * x, high * y, texels, bulge=0.4 * wide, colour=colour)
    elif kind == 2:  # books
        for number in range(rng.integers(2, 9)):
            thin, lower = high * rng.uniform(0.08, 0.3), high * rng.uniform(0, 0.3)
            start = corner + number * 0.2 * high * x + lower * y
            shade = stage.alike(paint, 40) if rng.random() < 0.6 else None
            stage.solid(start, (thin, high - lower, 0.7 * high), turn, shade)
    else:
        lean = rotation(0, 0, rng.normal(0, 0.15)) @ turn
        stage.add(corner, wide * lean[:, 0], high * lean[:, 1], texels, cut=True, colour=colour)
