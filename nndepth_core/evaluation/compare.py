"""Two models side by side on the same images, with or without truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nndepth_core import io
from nndepth_core.data.sample import StereoSample
from nndepth_core.estimator import StereoResult
from nndepth_core.evaluation.evaluate import SampleScore
from nndepth_core.visualization import colorize, error_map, panel, value_range


class ImagePairs:
    """Pairs of image files, with or without truth, as a data set.

    Args:
        left: rectified left image, a folder of them, or a glob.
        right: the right images; matched by name, else by order.
        truth: true disparities, '' for none.
        truth_scale: see `io.read_disparity`.

    Raises:
        ValueError: nothing is there, or the files do not match.
    """

    name = 'pairs'

    def __init__(
        self, left: str, right: str, truth: str = '', truth_scale: float | None = None
    ) -> None:
        lists = [io.list_files(source) for source in (left, right)]
        if truth:
            lists.append(io.list_files(truth, io.DISPARITY_SUFFIXES))
        self._files = io.match_files(*lists)
        self._names = io.distinct_names([files[0] for files in self._files])
        self._truth_scale = truth_scale

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> StereoSample:
        """Read one pair; all of its disparity is unknown if there is no truth."""
        left, right, *truth = self._files[index]
        image, other = io.read_pair(left, right)
        disparity = (
            io.read_disparity(truth[0], self._truth_scale)
            if truth
            else np.full(image.shape[:2], np.nan, np.float32)
        )
        return StereoSample(image, other, disparity, name=self._names[index])


def agreement(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """How far two disparity maps (H, W) agree, where both are known.

    Returns:
        mean_difference, median_difference: of |a - b|, pixels; NaN where both are nowhere known;
        differ_1, differ_3: percentage that differs by more than so many pixels;
        only_a, only_b: percentage of all pixels that one alone knows.
    """
    known_a, known_b = np.isfinite(a), np.isfinite(b)
    both = known_a & known_b
    differences = np.abs(a[both] - b[both]).astype(np.float64)
    names = ('mean_difference', 'median_difference', 'differ_1', 'differ_3')
    figures = dict.fromkeys(names, float('nan'))
    if differences.size:
        values = (np.mean(differences), np.median(differences))
        shares = (100 * np.mean(differences > limit) for limit in (1, 3))
        figures = dict(zip(names, map(float, (*values, *shares)), strict=True))
    return {
        **figures,
        'only_a': 100 * float(np.mean(known_a & ~known_b)),
        'only_b': 100 * float(np.mean(known_b & ~known_a)),
    }


def closer(a: np.ndarray, b: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Percentages of the pixels of known truth at which one map is closer to it.

    A missing estimate is farther than any other.

    Returns:
        a_closer, b_closer; NaN without truth.
    """
    known = np.isfinite(truth)
    if not known.any():
        return {'a_closer': float('nan'), 'b_closer': float('nan')}
    of_a, of_b = (
        np.nan_to_num(np.abs(values[known] - truth[known]), nan=np.inf) for values in (a, b)
    )
    return {
        'a_closer': 100 * float(np.mean(of_a < of_b)),
        'b_closer': 100 * float(np.mean(of_b < of_a)),
    }


@dataclass
class SideBySide:
    """Compares the results of two models on every sample; an `Observer`.

    Attributes:
        models: what to call them.
        folder: where to write a picture of each sample; None for nowhere.
        worst: difference and error shown in red, pixels.
        differences: sample -> what `agreement` and `closer` find.
        pictures: sample -> name of its picture in the folder.
    """

    models: Sequence[str]
    folder: Path | None = None
    worst: float = 4.0
    differences: dict[str, dict[str, float]] = field(default_factory=dict)
    pictures: dict[str, str] = field(default_factory=dict)

    def __call__(
        self,
        sample: StereoSample,
        results: Sequence[StereoResult],
        scores: Sequence[SampleScore],
    ) -> None:
        """Measure, and write the picture."""
        a, b = (result.disparity for result in results)
        name = scores[0].name
        self.differences[name] = {**agreement(a, b), **closer(a, b, sample.disparity)}
        if self.folder is not None:
            path = self.folder / f'{name.replace("/", "_")}.png'
            while path.name in self.pictures.values():  # of a/b where this one is a_b
                path = path.with_stem(f'{path.stem}_')
            io.write_image(path, panel(self._pictures(sample, a, b)))
            self.pictures[name] = path.name

    def mean(self) -> dict[str, float]:
        """Mean of the differences over the samples."""
        rows = list(self.differences.values())
        return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}

    def _pictures(
        self, sample: StereoSample, a: np.ndarray, b: np.ndarray
    ) -> Mapping[str, np.ndarray]:
        """Left, both disparities and their difference; below them truth and errors."""
        truth = sample.disparity
        known = np.isfinite(truth).any()
        low, high = value_range(truth if known else np.stack([a, b]))
        difference = error_map(a, b, self.worst)
        difference[np.isfinite(a) & ~np.isfinite(b)] = 255
        pictures = {
            'left image': sample.left,
            f'A: {self.models[0]}, {low:.1f} to {high:.1f} px': colorize(a, low, high),
            f'B: {self.models[1]}, {low:.1f} to {high:.1f} px': colorize(b, low, high),
            f'A - B, 0 (blue) to {self.worst:g} px (red)': difference,
        }
        if known:
            pictures |= {
                f'truth, {low:.1f} to {high:.1f} px': colorize(truth, low, high),
                f'error of A, 0 to {self.worst:g} px': error_map(a, truth, self.worst),
                f'error of B, 0 to {self.worst:g} px': error_map(b, truth, self.worst),
            }
        return pictures
