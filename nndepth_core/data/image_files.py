"""Image files that are named on the spot, as data sets: pairs or single images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nndepth_core import io
from nndepth_core.data.sample import MonoSample, StereoSample
from nndepth_core.files.picture import MAX_PIXELS


class _Files:
    """Files of several kinds, those of a sample under one index.

    Args:
        images: the sources of the images, each a file, a folder or a glob.
        truth: the source of the true maps, '' for none.
        suffixes: the suffixes of the files of true maps.

    Attributes:
        names: of the samples, all different.
        files: of the samples: the images, and the truth behind them where there is one.

    Raises:
        ValueError, FileNotFoundError: nothing is there, or the files do not match.
    """

    def __init__(self, images: Sequence[str], truth: str, suffixes: Sequence[str]) -> None:
        lists = [io.list_files(source) for source in images]
        if truth:
            lists.append(io.list_files(truth, suffixes))
        self.files = io.match_files(*lists)
        self.names = io.distinct_names([files[0] for files in self.files])

    def __len__(self) -> int:
        return len(self.files)


class ImagePairs(_Files):
    """Pairs of image files, with or without truth.

    Args:
        left: rectified left image, a folder of them, or a glob.
        right: the right images; matched by name, else by order.
        truth: true disparities, '' for none.
        truth_scale: see `io.read_disparity`.
        max_pixels: larger files are refused before they are decoded.

    Raises:
        ValueError, FileNotFoundError: nothing is there, or the files do not match.
    """

    name = 'pairs'

    def __init__(
        self,
        left: str,
        right: str,
        truth: str = '',
        truth_scale: float | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        super().__init__((left, right), truth, io.DISPARITY_SUFFIXES)
        self._truth_scale, self._max_pixels = truth_scale, max_pixels

    def __getitem__(self, index: int) -> StereoSample:
        """Read one pair; all of its disparity is unknown if there is no truth."""
        left, right, *truth = self.files[index]
        image, other = io.read_pair(left, right, self._max_pixels)
        disparity = np.full(image.shape[:2], np.nan, np.float32)
        if truth:
            disparity = io.read_disparity(truth[0], self._truth_scale, self._max_pixels)
        return StereoSample(image, other, disparity, name=self.names[index])


class SingleImages(_Files):
    """Image files, with or without the true depth.

    Args:
        images: an image, a folder of them, or a glob.
        truth: true depths, '' for none; matched by name, else by order.
        truth_scale: stored value of one metre in a picture of 16 bits, see `io.read_depth`.
        max_pixels: larger images are refused before they are decoded.

    Raises:
        ValueError, FileNotFoundError: nothing is there, or the files do not match.
    """

    name = 'images'

    def __init__(
        self,
        images: str,
        truth: str = '',
        truth_scale: float | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        super().__init__((images,), truth, io.DEPTH_SUFFIXES)
        self._truth_scale, self._max_pixels = truth_scale or 1000, max_pixels

    def __getitem__(self, index: int) -> MonoSample:
        """Read one image; all of its depth is unknown if there is no truth."""
        path, *truth = self.files[index]
        (image,) = io.read_images(path, max_pixels=self._max_pixels)
        depth = np.full(image.shape[:2], np.nan, np.float32)
        if truth:
            depth = io.read_depth(truth[0], self._truth_scale)
        return MonoSample(image, depth, name=self.names[index])
