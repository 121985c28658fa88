"""A stereo camera driving through a procedural scene."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nndepth_core.camera import StereoCamera
from nndepth_core.data.sample import StereoSample
from nndepth_core.data.synthetic.render import StereoRenderer
from nndepth_core.data.synthetic.scene import drive_through, make_yard


@dataclass(frozen=True)
class Sensor:
    """How the two cameras differ from perfect ones.

    Attributes:
        right_gain: brightness of the right image over the left.
        noise: standard deviation of the noise of each channel, grey levels.
    """

    right_gain: float = 1.04
    noise: float = 1.5

    def expose(
        self, left: np.ndarray, right: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Turn float32 pictures 0..255 into uint8 images."""
        return self._image(left, 1.0, rng), self._image(right, self.right_gain, rng)

    def _image(self, picture: np.ndarray, gain: float, rng: np.random.Generator) -> np.ndarray:
        values = picture * np.float32(gain)
        if self.noise > 0:
            values += np.float32(self.noise) * rng.standard_normal(values.shape, np.float32)
        return np.clip(values + 0.5, 0, 255).astype(np.uint8)


def render_sequence(
    seed: int, frames: int, rig: StereoCamera, fps: float, sensor: Sensor | None = None
) -> Iterator[StereoSample]:
    """Render a drive through a random yard; equal arguments give equal samples.

    Args:
        seed: decides the yard and the noise.
        frames: number of pairs.
        rig: the stereo camera.
        fps: pairs per second.
        sensor: gain and noise; None for the usual ones.
    """
    sensor = sensor or Sensor()
    renderer = StereoRenderer(make_yard(seed))
    for number in range(frames):
        picture = renderer.render(rig, drive_through(number / fps))
        rng = np.random.default_rng([seed, number])
        left, right = sensor.expose(picture.left, picture.right, rng)
        stamp = round(number * 1e9 / fps)
        yield StereoSample(
            left, right, picture.disparity, picture.occluded, rig, f'{number:06d}', stamp
        )
