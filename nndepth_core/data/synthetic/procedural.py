"""Endless rendered samples for training: pairs with disparity, and images with depth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from nndepth_core.camera import PinholeCamera, StereoCamera
from nndepth_core.data.datasets.base import MonoSource, StereoSource
from nndepth_core.data.sample import MonoSample, StereoSample
from nndepth_core.data.synthetic.layouts import LAYOUTS
from nndepth_core.data.synthetic.materials import MaterialBank
from nndepth_core.data.synthetic.patches import draw_pair, occlusion
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
    """

    size: tuple[int, int] = (320, 512)
    length: int = 1_000_000
    seed: int = 0
    largest_disparity: float = 192.0
    effects: bool = True
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
        if not 0 <= index < self.length:
            raise IndexError(f'sample {index} of {self.length}; count from 0')
        rng = np.random.default_rng([self.seed, index])
        height, width = self.size
        focal = width * rng.uniform(0.7, 1.6)
        centre = (width - 1) / 2, (height - 1) / 2
        rig = StereoCamera(PinholeCamera(width, height, focal, focal, *centre), 1.0, centre[0])
        nearest = log_uniform(rng, min(14.0, self.largest_disparity / 2), self.largest_disparity)
        stage = Stage(rig, self.bank, rng, shiny=self.effects)
        chances = [chance for chance, _ in LAYOUTS]
        LAYOUTS[rng.choice(len(LAYOUTS), p=chances)][1](stage, nearest)
        patches = stage.sorted_patches()
        cameras = CameraPair.random(rng, self.size) if self.effects else CameraPair()
        left, right = draw_pair(patches, rig, cameras.misalignment)
        images = cameras.expose(left.image[..., :3], right.image[..., :3], rng)
        known = (left.patch >= 0) & (left.disparity <= self.largest_disparity)
        return StereoSample(
            *images,
            np.where(known, left.disparity, np.float32(np.nan)),
            occlusion(left, right),
            rig,
            f'{self.seed}-{index:07d}',
        )


@dataclass(frozen=True)
class ProceduralMono(MonoSource):
    """The left images of `ProceduralStereo` with their depth.

    The scenes have no size of their own; the baseline decides how many metres they measure.

    Args:
        size: height and width, in pixels.
        length: the number of samples.
        seed: determines all samples.
        baseline: that of the rendered pairs, metres.
        effects: see `ProceduralStereo`.
    """

    size: tuple[int, int] = (320, 512)
    length: int = 1_000_000
    seed: int = 0
    baseline: float = 0.1
    effects: bool = True
    name = 'procedural images'

    def __post_init__(self) -> None:
        if not 0 < self.baseline < float('inf'):
            raise ValueError(f'baseline is {self.baseline}; give metres, more than 0')

    def __len__(self) -> int:
        return self.length

    @cached_property
    def pairs(self) -> ProceduralStereo:
        """The pairs whose left images these are."""
        return ProceduralStereo(self.size, self.length, self.seed, effects=self.effects)

    def __getitem__(self, index: int) -> MonoSample:
        """Render sample `index`.

        Raises:
            IndexError: it is not in 0..length - 1.
        """
        pair = self.pairs[index]
        assert pair.camera is not None
        camera = replace(pair.camera, baseline=self.baseline)
        return MonoSample(pair.left, camera.disparity_to_depth(pair.disparity), name=pair.name)
