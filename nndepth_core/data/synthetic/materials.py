"""Textures for patches: a bank of seamless tiles, and shapes that cut out parts."""

from __future__ import annotations

import math
import string

import cv2
import numpy as np

TILE = 512
"""The side of the bank's tiles, in texels."""
_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_SCRIPT_COMPLEX)
_FRACTAL_POOL = 16


class MaterialBank:
    """Seamless tiles that are drawn once, and combined and recoloured again and again.

    Args:
        seed: determines the tiles.
        size: the number of tiles.
    """

    def __init__(self, seed: int, size: int = 96) -> None:
        rng = np.random.default_rng([seed, 0xBA2C])
        self.noise = [power_noise(rng, rng.uniform(0.8, 2.2)) for _ in range(_FRACTAL_POOL)]
        self._doubled = [np.tile(noise, (2, 2)) for noise in self.noise]  # so windows need no wrap
        makers = (
            self._leaves,
            self._leaves,
            self._leaves,
            self._cloudy,
            self._pattern,
            self._text,
        )
        self.pyramids = [_halvings(makers[n % len(makers)](rng)) for n in range(size)]

    def bake(
        self,
        rng: np.random.Generator,
        height: int,
        width: int,
        colour: np.ndarray | None = None,
    ) -> np.ndarray:
        """Make a texture, uint8 (height, width, 3), by mixing and recolouring tiles.

        A third of the textures are almost plain, like walls, paint and sky; half have grain.

        Args:
            rng: the source of randomness.
            height: the height of the texture.
            width: the width of the texture.
            colour: (3,) mean of an almost plain texture; None for any texture.
        """
        picture = self._window(rng, height, width)
        if rng.random() < 0.3:
            other = self._window(rng, height, width)
            picture = _blend(picture, other, self._mask(rng, height, width), rng)
        plain = colour is not None or rng.random() < 0.35
        contrast = math.exp(rng.uniform(-4.0, -1.5)) if plain else rng.uniform(0.3, 1.3)
        picture = _recolour(picture, contrast, rng, colour)
        if rng.random() < (0.3 if plain else 0.6):
            picture = self._roughen(picture, rng)
        return self._shade(picture, rng)

    def shape(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        """Make alpha (height, width) uint8 of a random outline; some are thin or have holes."""
        draw = (_polygon, _ellipse, self._blob, _frame, _fence, _branches, _blades, _lettering)
        weights = (0.24, 0.18, 0.18, 0.06, 0.07, 0.12, 0.1, 0.05)
        return draw[rng.choice(len(draw), p=weights)](rng, height, width)

    def cast_shadows(self, rng: np.random.Generator, picture: np.ndarray) -> None:
        """Darken random outlines of a texture in place, like shadows of things out of sight."""
        for _ in range(rng.integers(1, 6)):
            height, width = (int(side * rng.uniform(0.1, 0.7)) for side in picture.shape[:2])
            top, left = (
                int(rng.integers(whole - part + 1))
                for whole, part in zip(picture.shape, (height, width), strict=False)
            )
            outline = self.shape(rng, height, width)
            if rng.random() < 0.5:
                outline = cv2.GaussianBlur(outline, (0, 0), rng.uniform(0.5, 3))
            light = 1 - outline * np.float32(rng.uniform(0.25, 0.75) / 255)
            part = picture[top : top + height, left : left + width]
            part[:] = cv2.multiply(part, cv2.merge((light, light, light)), dtype=cv2.CV_8U)

    def _window(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        """Cut a window of a random tile at a random scale and angle; small tiles are repeated."""
        scale = math.exp(rng.uniform(-1.2, 0.9))  # texels of the tile per texel of the result
        level = int(scale > 1.4)
        tile = self.pyramids[rng.integers(len(self.pyramids))][level]
        scale /= 2**level
        angle = (
            rng.uniform(0, 2 * math.pi) if rng.random() < 0.5 else rng.integers(4) * math.pi / 2
        )
        cos, sin = scale * math.cos(angle), scale * math.sin(angle)
        return _wrapped_window(tile, np.array([[cos, -sin], [sin, cos]]), (width, height), rng)

    def _roughen(self, picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Add fine grain, which even plain surfaces show from a short distance."""
        height, width = picture.shape[:2]
        noise = self._doubled[rng.integers(len(self._doubled))]
        top, left = rng.integers(0, TILE, 2)
        grain = noise[top : top + height, left : left + width]
        grain = grain * np.float32(math.exp(rng.uniform(0, 2.5)))
        return cv2.add(picture, cv2.merge((grain, grain, grain)), dtype=cv2.CV_8U)

    def _mask(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        """Cut a window of random noise, (height, width) float32."""
        noise = self._doubled[rng.integers(len(self._doubled))]
        top, left = rng.integers(0, TILE, 2)
        side = max(8, int(TILE * math.exp(rng.uniform(-2.0, 0))))
        return cv2.resize(noise[top : top + side, left : left + side], (width, height))

    def _shade(self, picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Add uneven light: a gradient and sometimes soft shadows."""
        height, width = picture.shape[:2]
        corners = rng.uniform(-1, 1, (2, 2)).astype(np.float32)
        light = cv2.resize(corners, (width, height)) * np.float32(rng.uniform(0, 0.35)) + 1
        if rng.random() < 0.3:
            soft = cv2.resize(self._mask(rng, 12, 12), (width, height))
            light += np.float32(rng.uniform(0.03, 0.2)) * np.tanh(soft)
        if rng.random() < 0.15:
            edge = np.tanh(self._mask(rng, height, width) * np.float32(rng.uniform(4, 40)))
            light *= 1 - np.float32(rng.uniform(0.05, 0.3)) * (edge > 0)
        return cv2.multiply(picture, cv2.merge((light, light, light)), dtype=cv2.CV_8U)

    def _blob(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        """Make a ragged outline from noise that decreases towards the border."""
        noise = self._mask(rng, height, width)
        x = np.linspace(-1, 1, width, dtype=np.float32)
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        inside = 0.8 - (x * x + y * y) + np.float32(rng.uniform(0.05, 0.4)) * noise
        return (inside * 1000 + 128).clip(0, 255).astype(np.uint8)

    def _leaves(self, rng: np.random.Generator) -> np.ndarray:
        """Draw dead leaves: discs, boxes and polygons of power-law sizes that hide each other."""
        tile = self._cloudy(rng)
        smallest, exponent = rng.uniform(2, 8), rng.uniform(1.3, 3)
        largest = rng.uniform(30, 160)
        palette = rng.integers(0, 256, (rng.integers(2, 14), 3))
        spread = rng.uniform(0, 40)
        for _ in range(rng.integers(150, 1800)):
            share = rng.random()
            power = 1 - exponent
            low, high = smallest**power, largest**power
            radius = (low + share * (high - low)) ** (1 / power)
            colour = palette[rng.integers(len(palette))] + spread * rng.standard_normal(3)
            x, y = rng.uniform(0, TILE, 2)
            _leaf(tile, x, y, radius, colour.clip(0, 255).tolist(), rng)
        if rng.random() < 0.5:
            grain = self.noise[rng.integers(len(self.noise))][..., None] * rng.uniform(1, 16)
            tile = (tile + grain).clip(0, 255).astype(np.uint8)
        return tile

    def _cloudy(self, rng: np.random.Generator) -> np.ndarray:
        """Make noise in correlated colours with the power spectrum of photographs."""
        chosen = rng.integers(len(self.noise), size=3)
        value = np.stack([np.roll(self.noise[n], rng.integers(TILE), 0) for n in chosen], -1)
        mixing = rng.normal(0, 0.25, (3, 3)) + np.array([[1], [0], [0]])
        value = 128 + rng.uniform(10, 60) * (value @ mixing)
        return value.clip(0, 255).astype(np.uint8)

    def _pattern(self, rng: np.random.Generator) -> np.ndarray:
        """Make a pattern that repeats: stripes, checks, bricks, dots, planks."""
        rows, columns = 2 ** rng.integers(1, 7, 2)
        v, u = np.mgrid[0:TILE, 0:TILE].astype(np.float32) / TILE
        row = np.floor(v * rows)
        along = u * columns + rng.choice([0, 0.5]) * (row % 2)
        column = np.floor(along) % columns
        colours = rng.integers(0, 256, (2, 3)).astype(np.float32)
        kind = rng.integers(4)
        if kind == 0:  # stripes
            share = (row % 2).astype(np.float32)
        elif kind == 1:  # checks
            share = ((row + column) % 2).astype(np.float32)
        else:  # bricks or dots, each a little different
            x, y = along - np.floor(along) - 0.5, v * rows - row - 0.5
            margin = np.float32(rng.uniform(0.03, 0.25))
            distance = np.hypot(x, y) if kind == 2 else np.maximum(np.abs(x), np.abs(y))
            tone = rng.uniform(0.5, 1, (int(rows), int(columns))).astype(np.float32)
            share = (distance < 0.5 - margin) * tone[row.astype(int), column.astype(int)]
        picture = colours[0] + share[..., None] * (colours[1] - colours[0])
        grain = self.noise[rng.integers(len(self.noise))][..., None] * rng.uniform(0, 14)
        return (picture + grain).clip(0, 255).astype(np.uint8)

    def _text(self, rng: np.random.Generator) -> np.ndarray:
        """Draw lines of letters, as on posters, labels and books."""
        paper, ink = rng.integers(0, 256, (2, 3))
        tile = np.full((TILE, TILE, 3), paper, np.uint8)
        scale = math.exp(rng.uniform(-0.9, 1.0))
        step = int(32 * scale) + 2
        for y in range(step, TILE + step, step):
            words = ''.join(rng.choice(list(string.ascii_letters + '    .,'), 60))
            font, weight = int(rng.choice(_FONTS)), max(1, int(2 * scale))
            x = int(rng.integers(-80, 20))
            cv2.putText(tile, words, (x, y), font, scale, ink.tolist(), weight, cv2.LINE_AA)
        return tile


def _wrapped_window(
    tile: np.ndarray, turn: np.ndarray, size: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """Cut a window of (width, height) at a random place out of a plane covered with a tile.

    Enough tiles are put side by side first, since OpenCV is several times slower if it must wrap.

    Args:
        tile: uint8 (side, side, 3).
        turn: (2, 2) from pixels of the window to texels.
        size: the width and height of the window.
        rng: the source of randomness.
    """
    side = len(tile)
    corners = turn @ np.array([[0, size[0], 0, size[0]], [0, 0, size[1], size[1]]])
    low, extent = corners.min(1), np.ptp(corners, 1)
    room = side - np.ceil(extent) - 2
    place = rng.uniform(0, np.where(room > 0, room, side))
    right, below = np.ceil(place - room).clip(0, None).astype(int).tolist()
    plane = tile
    if right or below:
        plane = cv2.copyMakeBorder(tile, 0, below, 0, right, cv2.BORDER_WRAP)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(plane, np.column_stack((turn, place - low)), size, flags=flags)


def _halvings(tile: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the tile, and the tile at half the size."""
    return tile, cv2.resize(tile, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def power_noise(rng: np.random.Generator, exponent: float) -> np.ndarray:
    """Seamless noise (TILE, TILE) float32 of unit variance with amplitude 1 / f ** exponent."""
    fy, fx = np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)
    frequency = np.hypot(fy, fx)
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((TILE, TILE))) / frequency**exponent
    value = np.fft.irfft2(spectrum, (TILE, TILE))
    return (value / value.std()).astype(np.float32)


def _leaf(
    tile: np.ndarray,
    x: float,
    y: float,
    radius: float,
    colour: list[float],
    rng: np.random.Generator,
) -> None:
    """Draw one shape on the torus of the tile."""
    kind, angle = rng.integers(3), rng.uniform(0, 360)
    stretch = math.exp(rng.uniform(-1, 0))
    reach = radius * 1.5
    for dx in (-TILE, 0, TILE) if x < reach or x > TILE - reach else (0,):
        for dy in (-TILE, 0, TILE) if y < reach or y > TILE - reach else (0,):
            centre = int(16 * (x + dx)), int(16 * (y + dy))
            if kind == 0:
                axes = int(16 * radius), int(16 * radius * stretch)
                cv2.ellipse(tile, centre, axes, angle, 0, 360, colour, -1, cv2.LINE_AA, 4)
                continue
            box = cv2.boxPoints(((x + dx, y + dy), (2 * radius, 2 * radius * stretch), angle))
            points = box if kind == 1 else box[:3]
            cv2.fillConvexPoly(tile, (16 * points).astype(np.int32), colour, cv2.LINE_AA, 4)


def _blend(
    first: np.ndarray, second: np.ndarray, mask: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Two textures, either mixed all over or split along a ragged line."""
    hardness = rng.choice([0.0, 3.0, 30.0])
    share = (mask * np.float32(hardness) + np.float32(rng.uniform(0.3, 0.7))).clip(0, 1)
    share = cv2.merge((share, share, share))
    return (first + (second.astype(np.float32) - first) * share).astype(np.uint8)


def _recolour(
    picture: np.ndarray, contrast: float, rng: np.random.Generator, colour: np.ndarray | None
) -> np.ndarray:
    """Random colour mixing about a mean, random if None; contrast 1 keeps the picture's own."""
    saturation = rng.uniform(0.1, 1)
    mixing = np.eye(3) * saturation + (1 - saturation) / 3
    mixing = (mixing + rng.normal(0, 0.15, (3, 3))) * contrast
    base = rng.uniform(25, 230) + rng.normal(0, 28, 3) if colour is None else colour
    mean = np.array(cv2.mean(picture)[:3])
    offset = base - mixing @ mean
    return cv2.transform(picture, np.column_stack((mixing, offset)))


def _polygon(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Three to nine corners around the middle; half of them plain rectangles."""
    mask = np.zeros((height, width), np.uint8)
    if rng.random() < 0.4:
        mask[:] = 255
        return mask
    angles = np.sort(rng.uniform(0, 2 * math.pi, rng.integers(3, 10)))
    reach = rng.uniform(0.5, 1, len(angles))
    points = 0.5 + 0.5 * np.column_stack((reach * np.cos(angles), reach * np.sin(angles)))
    points = (points * (width - 1, height - 1) * 16).astype(np.int32)
    cv2.fillPoly(mask, [points], 255, cv2.LINE_AA, 4)
    return mask


def _ellipse(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    centre, axes = (8 * width, 8 * height), (8 * width - 16, 8 * height - 16)
    cv2.ellipse(
        mask, centre, (max(axes[0], 8), max(axes[1], 8)), 0, 0, 360, 255, -1, cv2.LINE_AA, 4
    )
    return mask


def _frame(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A frame or ring with a hole."""
    mask = (
        _ellipse(rng, height, width)
        if rng.random() < 0.5
        else np.full((height, width), 255, np.uint8)
    )
    share = rng.uniform(0.5, 0.92)
    inner = _ellipse(rng, max(4, int(height * share)), max(4, int(width * share)))
    if rng.random() < 0.5:
        inner[:] = 255
    top, left = (height - inner.shape[0]) // 2, (width - inner.shape[1]) // 2
    mask[top : top + inner.shape[0], left : left + inner.shape[1]] &= 255 - inner
    return mask


def _fence(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Bars along v and, mostly, a few across."""
    mask = np.zeros((height, width), np.uint8)
    bars, thick = rng.integers(2, 9), rng.uniform(0.08, 0.4)
    for count, size, across in ((bars, width, False), (rng.integers(0, 4), height, True)):
        for number in range(count):
            middle = (number + 0.5) / count * size
            half = max(1.0, thick * size / bars / 2)
            low, high = int(middle - half), int(middle + half) + 1
            if across:
                mask[low:high] = 255
            else:
                mask[:, low:high] = 255
    return mask


def _branches(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Thin crooked strokes: twigs, cables, legs of furniture."""
    mask = np.zeros((height, width), np.uint8)
    for _ in range(rng.integers(1, 7)):
        start = rng.uniform(0, 1, 2)
        steps = rng.normal(0, 0.18, (rng.integers(2, 6), 2))
        points = np.vstack((start, start + np.cumsum(steps, 0))) * (width, height) * 16
        thick = int(rng.integers(1, max(3, min(9, width // 10))))
        cv2.polylines(mask, [points.astype(np.int32)], False, 255, thick, cv2.LINE_AA, 4)
    return mask


def _blades(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Leaves of a plant: bent strips that grow out of one root and end in a tip."""
    mask = np.zeros((height, width), np.uint8)
    root = np.array([rng.uniform(0.3, 0.7), rng.uniform(0.6, 1.0)])
    along = np.linspace(0, 1, 12)[:, None]
    for _ in range(rng.integers(3, 14)):
        tip = rng.uniform(0, 1, 2)
        bend = (root + tip) / 2 + rng.normal(0, 0.15, 2)
        middle = (1 - along) ** 2 * root + 2 * along * (1 - along) * bend + along**2 * tip
        across = np.gradient(middle, axis=0)[:, ::-1] * (-1, 1)
        across /= np.linalg.norm(across, axis=1, keepdims=True) + 1e-6
        across *= rng.uniform(0.01, 0.07) * (1 - along) ** rng.uniform(0.4, 1.2)
        outline = np.vstack((middle + across, (middle - across)[::-1])) * (width, height) * 16
        cv2.fillPoly(mask, [outline.astype(np.int32)], 255, cv2.LINE_AA, 4)
    return mask


def _lettering(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """One to three large letters."""
    mask = np.zeros((height, width), np.uint8)
    word = ''.join(rng.choice(list(string.ascii_uppercase), rng.integers(1, 4)))
    scale = height / 30
    thick = max(1, int(scale * rng.uniform(1, 4)))
    cv2.putText(mask, word, (2, int(height * 0.85)), _FONTS[0], scale, 255, thick, cv2.LINE_AA)
    return mask
