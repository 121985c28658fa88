"""The samples that data sets hand out: images and their ground truth, as numpy arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from nndepth_core.camera import StereoCamera


class Sample(Protocol):
    """What loading and training need of a sample, whatever it is of."""

    @property
    def name(self) -> str:
        """What to call the sample in messages and file names; it is unique in its data set."""

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays to train on, by name.

        Returns:
            Images as uint8 (H, W, 3), maps as float32 (H, W).
        """


@dataclass(frozen=True)
class StereoSample:
    """A rectified pair of images and its ground truth.

    Attributes:
        left: uint8 (H, W, 3) RGB.
        right: uint8 (H, W, 3) RGB.
        disparity: float32 (H, W) pixels, positive, left-referenced, NaN where unknown.
        occluded: bool (H, W), left pixels whose surface point the right image does not show;
            None where the data set does not say.
        camera: the rig; None where the data set does not say.
        name: what to call it in messages and file names, unique in its data set.
        stamp: nanoseconds since the start of its sequence, 0 where there is none.
    """

    left: np.ndarray
    right: np.ndarray
    disparity: np.ndarray
    occluded: np.ndarray | None = None
    camera: StereoCamera | None = None
    name: str = ''
    stamp: int = 0

    def arrays(self) -> dict[str, np.ndarray]:
        """See `Sample`: left, right and disparity."""
        return {'left': self.left, 'right': self.right, 'disparity': self.disparity}


@dataclass(frozen=True)
class MonoSample:
    """An image and its depth.

    Attributes:
        image: uint8 (H, W, 3) RGB.
        depth: float32 (H, W), NaN where unknown: metres along Z, or, where `meaning` is
            'relative_inverse', inverse depth up to an unknown scale and shift.
        meaning: what `depth` holds.
        name: what to call it in messages and file names, unique in its data set.
    """

    image: np.ndarray
    depth: np.ndarray
    meaning: Literal['metric', 'relative_inverse'] = 'metric'
    name: str = ''

    def arrays(self) -> dict[str, np.ndarray]:
        """See `Sample`: image and depth."""
        return {'image': self.image, 'depth': self.depth}


def spread(length: int, most: int = 0) -> list[int]:
    """Choose indices that are spread evenly over a data set.

    Args:
        length: of the data set.
        most: how many to choose at the most; 0 for all.
    """
    count = min(most, length) if most > 0 else length
    return np.linspace(0, length - 1, count).round().astype(int).tolist()
