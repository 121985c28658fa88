"""Endless rendered samples for training: pairs with disparity, and images with depth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from nndepth_core.camera import PinholeCamera, StereoCamera
from nndepth_core.data.datasets.base import MonoSource, StereoSource
from nndepth_core.data.sample import MonoSample, StereoSample
from nndepth_core.data.synthetic.layouts import GROUNDED, LAYOUTS
from nndepth_core.data.synthetic.materials import MaterialBank
from nndepth_core.data.synthetic.patches import draw, draw_pair, occlusion
from nndepth_core.data.synthetic.sensor import CameraPair
from nndepth_core.data.synthetic.stage import Stage, log_uniform


@dataclass(frozen=True)
class ProceduralStereo(StereoSource):
    """Map-style data set of rendered pairs; sample i depends only on the seed and on i.

    Args:
        size: height and width, in pixels.
        length: the number of samples.
        seed: determines all samples.
        largest_disparity: the limit of the disparities in pixels; each scene draws its own limit
            below it.
        effects: whether cameras have noise, blur, different gains and misalignment, and surfaces
            shine. Without effects, warping the right image by the disparity gives the left one.
        misaligned: the share of the pairs whose rows do not correspond exactly, as with rigs whose
            calibration is out of date.
    """

    size: tuple[int, int] = (320, 512)
    length: int = 1_000_000
    seed: int = 0
    largest_disparity: float = 192.0
    effects: bool = True
    misaligned: float = 0.65
    name = 'procedural'

    def __len__(self) -> int:
        return self.length

    @cached_property
    def bank(self) -> MaterialBank:
        """The tiles for all surfaces."""
        return MaterialBank(self.seed)

    def __getitem__(self, index: int) -> StereoSample:
        """Render sample `index`.

        Raises:
            IndexError: it is not in 0..length - 1.
        """
        stage = self.stage(index)
        rng, rig = stage.rng, stage.rig
        cameras = (
            CameraPair.random(rng, self.size, self.misaligned) if self.effects else CameraPair()
        )
        left, right = draw_pair(stage.sorted_patches(), rig, cameras.misalignment)
        images = cameras.expose(left.image[..., :3], right.image[..., :3], rng)
        known = (left.patch >= 0) & (left.disparity <= self.largest_disparity)
        return StereoSample(
            *images,
            np.where(known, left.disparity, np.float32(np.nan)),
            occlusion(left, right),
            rig,
            f'{self.seed}-{index:07d}',
        )

    def stage(self, index: int, grounded: bool = False) -> Stage:
        """Arrange the scene of sample `index`.

        Args:
            index: in 0..length - 1.
            grounded: whether nothing hangs in the air.

        Raises:
            IndexError: it is not in 0..length - 1.
        """
        if not 0 <= index < self.length:
            raise IndexError(f'sample {index} of {self.length}; count from 0')
        rng = np.random.default_rng([self.seed, index])
        height, width = self.size
        focal = width * rng.uniform(0.7, 1.6)
        centre = (width - 1) / 2, (height - 1) / 2
        rig = StereoCamera(PinholeCamera(width, height, focal, focal, *centre), 1.0, centre[0])
        nearest = log_uniform(rng, min(14.0, self.largest_disparity / 2), self.largest_disparity)
        stage = Stage(rig, self.bank, rng, shiny=self.effects, floating=not grounded)
        layouts = GROUNDED if grounded else LAYOUTS
        chances = np.array([chance for chance, _ in layouts])
        layouts[rng.choice(len(layouts), p=chances / chances.sum())][1](stage, nearest)
        return stage


@dataclass(frozen=True)
class ProceduralMono(MonoSource):
    """Single images with depth in metres, of scenes like those of `ProceduralStereo`.

    Nothing hangs in the air, because a single image does not show how far such things are. A scene
    gets its size from one of its things: rooms are 2.3 to 3 m high, cameras are 1.2 to 1.9 m above
    the street, whose cars fit that height, stairs rise by 14 to 20 cm, shelves are 20 to 45 cm
    apart, and the nearest things on a table are 0.3 to 0.8 m away.

    Args:
        size: height and width, in pixels.
        length: the number of samples.
        seed: determines all samples.
        effects: whether the camera has noise, blur and gains, and surfaces shine.
    """

    size: tuple[int, int] = (320, 512)
    length: int = 1_000_000
    seed: int = 0
    effects: bool = True
    name = 'procedural images'

    def __len__(self) -> int:
        return self.length

    @cached_property
    def pairs(self) -> ProceduralStereo:
        """The pairs whose scenes these are."""
        return ProceduralStereo(self.size, self.length, self.seed, effects=self.effects)

    def __getitem__(self, index: int) -> MonoSample:
        """Render sample `index`.

        Raises:
            IndexError: it is not in 0..length - 1.
        """
        stage = self.pairs.stage(index, grounded=True)
        rng = stage.rng
        rig = replace(stage.rig, baseline=stage.rig.baseline * stage.metres(rng))
        cameras = CameraPair.random(rng, self.size) if self.effects else CameraPair()
        view = draw(stage.sorted_patches(), stage.rig)
        image = cameras.left.expose(view.image[..., :3], rng)
        depth = rig.disparity_to_depth(
            np.where(view.patch >= 0, view.disparity, np.float32(np.nan))
        )
        return MonoSample(image, depth, name=f'{self.seed}-{index:07d}', camera=rig.left)
