"""The flaws of two real cameras, in comparison with two perfect ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import cv2
import numpy as np

_NOISE_SIDE = 1280


@dataclass(frozen=True)
class Camera:
    """The flaws of one camera.

    Attributes:
        gain: (3,) the factor of each channel, for exposure and white balance.
        gamma: the exponent of the response.
        blur: the standard deviation of the blur, in pixels.
        noise: the standard deviation of the noise at mid-grey, in grey levels.
        vignette: the share of the light that is missing in the corners.
        jpeg: the quality of its JPEG compression; 0 if there is none.
    """

    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    blur: float = 0.0
    noise: float = 0.0
    vignette: float = 0.0
    jpeg: int = 0

    def expose(self, picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Turn a perfect picture, uint8 (H, W, 3), into the image of this camera."""
        if self.blur > 0.2:
            picture = cv2.GaussianBlur(picture, (0, 0), self.blur)
        level = np.arange(256) / 255
        curves = np.stack(
            [255 * (gain * level).clip(0, 1) ** self.gamma for gain in self.gain], -1
        )
        picture = cv2.LUT(picture, curves.clip(0, 255).round().astype(np.uint8)[None])
        if self.vignette > 0:
            picture = cv2.multiply(
                picture, _vignette(picture.shape, self.vignette), dtype=cv2.CV_8U
            )
        if self.noise > 0:
            picture = _add_noise(picture, self.noise, rng)
        if self.jpeg:
            coded = cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, self.jpeg])[1]
            picture = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
        return picture


@dataclass(frozen=True)
class CameraPair:
    """Two cameras, and the remaining error of their rectification.

    Attributes:
        left: the left camera.
        right: the right camera.
        misalignment: (3, 3) from the correct position of a right pixel to its real position.
    """

    left: Camera = Camera()
    right: Camera = Camera()
    misalignment: np.ndarray = field(default_factory=lambda: np.eye(3))

    @staticmethod
    def random(
        rng: np.random.Generator, size: tuple[int, int], misaligned: float = 0.65
    ) -> CameraPair:
        """Draw a pair like those of real rigs: mostly similar cameras, seldom quite different.

        Args:
            rng: the source of randomness.
            size: height and width of the images.
            misaligned: how likely rows do not correspond exactly.
        """
        shared = rng.normal(1, 0.12) * rng.normal(1, 0.04, 3)
        gamma, noise = rng.uniform(0.75, 1.35), abs(rng.normal(0, rng.choice([0.8, 3.0])))
        blur = rng.choice([0.0, rng.uniform(0.3, 1.0)], p=[0.7, 0.3])
        differ = rng.choice([0.2, 1.0])
        jpeg = int(rng.integers(55, 97)) if rng.random() < 0.25 else 0
        vignette = rng.choice([0.0, rng.uniform(0.05, 0.35)])

        def camera() -> Camera:
            gain = shared * rng.normal(1, 0.06 * differ) * rng.normal(1, 0.03 * differ, 3)
            return Camera(
                tuple(gain.clip(0.5, 1.6)),
                float(gamma * rng.normal(1, 0.05 * differ)),
                float(blur * rng.uniform(0.8, 1.2)),
                float(noise * rng.uniform(0.8, 1.2)),
                float(vignette),
                jpeg,
            )

        aligned = rng.random() < 1 - misaligned
        return CameraPair(camera(), camera(), np.eye(3) if aligned else _misalignment(rng, size))

    def expose(
        self, left: np.ndarray, right: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Turn perfect pictures into the images of these cameras."""
        return self.left.expose(left, rng), self.right.expose(right, rng)


def _misalignment(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Shift, rotate and stretch rows about the middle: mostly a little, seldom by pixels.

    Columns stay where they are, so that the true disparity stays true.
    """
    deviation = np.exp(rng.uniform(np.log(0.08), np.log(1.6)))
    shift, turn, stretch = deviation * rng.normal(0, (1, 0.7, 0.4)).clip(-2, 2)
    middle = (np.array(size) - 1) / 2
    across, down = turn / middle[1], stretch / middle[0]
    rows = [across, 1 + down, shift - across * middle[1] - down * middle[0]]
    return np.array([[1, 0, 0], rows, [0, 0, 1]])


@cache
def _noise(down: int, across: int) -> np.ndarray:
    """A field of noise, (_NOISE_SIDE, _NOISE_SIDE, 3) float32, repeated so many times."""
    once = np.random.default_rng(0).standard_normal((_NOISE_SIDE, _NOISE_SIDE, 3))
    return np.tile(once.astype(np.float32), (down, across, 1))


def _vignette(shape: tuple[int, ...], share: float) -> np.ndarray:
    """Factors (H, W, 3) that decrease by `share` towards the corners."""
    x = np.linspace(-1, 1, shape[1], dtype=np.float32)
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    factor = 1 - np.float32(share / 2) * (x * x + y * y)
    return cv2.merge((factor, factor, factor))


def _add_noise(picture: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """Add a random window of noise that is drawn once; drawing is slower than rendering."""
    height, width = picture.shape[:2]
    noise = _noise(height // _NOISE_SIDE + 1, width // _NOISE_SIDE + 1)
    top = rng.integers(noise.shape[0] - height + 1)
    left = rng.integers(noise.shape[1] - width + 1)
    window = noise[top : top + height, left : left + width]
    return cv2.addWeighted(picture, 1, window, deviation, 0, dtype=cv2.CV_8U)
