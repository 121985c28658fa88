"""A stereo camera driving through a procedural scene."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from nndepth_core.camera import StereoCamera
from nndepth_core.data.sample import StereoSample
from nndepth_core.data.synthetic.render import StereoRenderer
from nndepth_core.data.synthetic.scene import drive_through, make_yard
from nndepth_core.data.synthetic.sensor import Camera, CameraPair

CAMERAS = CameraPair(Camera(noise=1.5), Camera(gain=(1.04, 1.04, 1.04), noise=1.5))
"""An ordinary pair: there is some noise, and the sensors are not equally bright."""


def render_sequence(
    seed: int, frames: int, rig: StereoCamera, fps: float, cameras: CameraPair = CAMERAS
) -> Iterator[StereoSample]:
    """Render a drive through a random yard; equal arguments give equal samples.

    Args:
        seed: determines the yard and the noise.
        frames: the number of pairs.
        rig: the stereo camera.
        fps: pairs per second.
        cameras: the flaws of the cameras; their misalignment is ignored.
    """
    renderer = StereoRenderer(make_yard(seed))
    for number in range(frames):
        picture = renderer.render(rig, drive_through(number / fps))
        rng = np.random.default_rng([seed, number])
        exposed = cv2.convertScaleAbs(picture.left), cv2.convertScaleAbs(picture.right)
        left, right = cameras.expose(*exposed, rng)
        stamp = round(number * 1e9 / fps)
        yield StereoSample(
            left, right, picture.disparity, picture.occluded, rig, f'{number:06d}', stamp
        )
