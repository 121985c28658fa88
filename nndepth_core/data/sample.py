"""The samples that data sets hand out: images and their ground truth, as numpy arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from nndepth_core.camera import PinholeCamera, StereoCamera


class Sample(Protocol):
    """What loading and training need of a sample, whatever it is of."""

    @property
    def name(self) -> str:
        """What to call the sample in messages and file names; it is unique in its data set."""

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays to train on, by name.

        Returns:
            Images as uint8 (H, W, 3), maps as float32 (H, W), numbers as float32 ().
        """


@dataclass(frozen=True)
class StereoSample:
    """A rectified pair of images and its ground truth.

    Attributes:
        left: The left image, uint8 (H, W, 3) RGB.
        right: The right image, uint8 (H, W, 3) RGB.
        disparity: The disparity of the left image, float32 (H, W) in pixels, positive, and NaN
            where it is unknown.
        occluded: The left pixels whose surface point the right image does not show, bool (H, W);
            None where the data set does not say.
        camera: The stereo camera; None where the data set does not say.
        name: What to call the sample in messages and file names; unique in its data set.
        stamp: Nanoseconds since the start of the sequence; 0 where there is none.
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
        image: The image, uint8 (H, W, 3) RGB.
        depth: Its depth, float32 (H, W), NaN where unknown: metres along Z or, where `meaning` is
            'relative_inverse', inverse depth up to an unknown scale and shift.
        meaning: What `depth` holds.
        name: What to call the sample in messages and file names; unique in its data set.
        camera: The camera; None where the data set does not say.
    """

    image: np.ndarray
    depth: np.ndarray
    meaning: Literal['metric', 'relative_inverse'] = 'metric'
    name: str = ''
    camera: PinholeCamera | None = None

    def arrays(self) -> dict[str, np.ndarray]:
        """See `Sample`: image, depth and the focal length in pixels, NaN where it is unknown."""
        focal = np.array(self.camera.fx if self.camera else np.nan, np.float32)
        return {'image': self.image, 'depth': self.depth, 'focal': focal}


def spread(length: int, most: int = 0) -> list[int]:
    """Choose indices that are spread evenly over a data set.

    Args:
        length: The number of samples in the data set.
        most: How many to choose at most; 0 chooses all.
    """
    count = min(most, length) if most > 0 else length
    return np.linspace(0, length - 1, count).round().astype(int).tolist()
