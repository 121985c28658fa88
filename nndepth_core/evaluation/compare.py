"""Comparing two models on the same images, with or without truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nndepth_core import io
from nndepth_core.evaluation.evaluate import SampleScore
from nndepth_core.evaluation.measures import Measures, View
from nndepth_core.visualization import panel


def agreement(a: np.ndarray, b: np.ndarray, limits: Sequence[float] = (1, 3)) -> dict[str, float]:
    """Measure how far two maps (H, W) of one unit agree where both are known.

    Returns:
        mean_difference, median_difference: of |a - b|; NaN where both are nowhere known;
        differ_1, differ_3: percentage that differs by more than the limits, which name them;
        only_a, only_b: percentage of all pixels for which one map alone has an estimate.
    """
    known_a, known_b = np.isfinite(a), np.isfinite(b)
    both = known_a & known_b
    differences = np.abs(a[both] - b[both]).astype(np.float64)
    names = ('mean_difference', 'median_difference', *(f'differ_{limit}' for limit in limits))
    figures = dict.fromkeys(names, float('nan'))
    if differences.size:
        values = (np.mean(differences), np.median(differences))
        shares = (100 * np.mean(differences > limit) for limit in limits)
        figures = dict(zip(names, map(float, (*values, *shares)), strict=True))
    return {
        **figures,
        'only_a': 100 * float(np.mean(known_a & ~known_b)),
        'only_b': 100 * float(np.mean(known_b & ~known_a)),
    }


def closer(a: np.ndarray, b: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Measure at how many of the pixels of known truth one map is closer to it than the other.

    A missing estimate counts as farther away than any other.

    Returns:
        a_closer, b_closer: percentages; NaN without truth.
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
    """Compares the results of two models on every sample; it is an `Observer`.

    Attributes:
        models: what to call them.
        measures: of their task.
        folder: where to write a picture of each sample; None for nowhere.
        differences: sample -> what `agreement` and `closer` find.
        pictures: sample -> name of its picture in the folder.
    """

    models: Sequence[str]
    measures: Measures
    folder: Path | None = None
    differences: dict[str, dict[str, float]] = field(default_factory=dict)
    pictures: dict[str, str] = field(default_factory=dict)

    def __call__(self, view: View, scores: Sequence[SampleScore]) -> None:
        """Measure the differences and write the picture."""
        a, b = view.maps
        name = scores[0].name
        self.differences[name] = {
            **agreement(*view.comparable(a, b), self.measures.difference_limits),
            **closer(a, b, view.truth),
        }
        if self.folder is not None:
            path = self.folder / f'{name.replace("/", "_")}.png'
            while path.name in self.pictures.values():  # of a/b where this one is a_b
                path = path.with_stem(f'{path.stem}_')
            io.write_image(path, panel(self._pictures(view)))
            self.pictures[name] = path.name

    def mean(self) -> dict[str, float]:
        """Average each difference over the samples where it is known; NaN if it never is."""
        rows = list(self.differences.values())
        known = {key: [row[key] for row in rows if not np.isnan(row[key])] for key in rows[0]}
        return {key: float(np.mean(values or [np.nan])) for key, values in known.items()}

    def apart(self) -> dict[str, str]:
        """Sample -> why its maps cannot be compared, for those that have no pixel in common."""
        return {
            name: 'no pixel has a finite estimate of both models '
            f'(of A alone {row["only_a"]:.0f} %, of B alone {row["only_b"]:.0f} %), so that there '
            'is nothing to compare'
            for name, row in self.differences.items()
            if np.isnan(row['mean_difference'])
        }

    def _pictures(self, view: View) -> Mapping[str, np.ndarray]:
        """Show the image, both maps and their difference, and below them truth and errors."""
        (a, b), worst = view.maps, self.measures.worst
        unit = self.measures.difference_unit
        low, high = view.limits()
        span = f'{low:.1f} to {high:.1f} {view.unit}'
        difference = view.difference(a, b, worst)
        difference[np.isfinite(a) & ~np.isfinite(b)] = 255
        pictures = {
            view.title: view.image,
            f'A: {self.models[0]}, {span}': view.colored(a),
            f'B: {self.models[1]}, {span}': view.colored(b),
            f'A - B, 0 (blue) to {worst:g} {unit} (red)': difference,
        }
        if view.truth_known:
            pictures |= {
                f'truth, {span}': view.colored(view.truth),
                f'error of A, 0 to {worst:g} {unit}': view.difference(a, view.truth, worst),
                f'error of B, 0 to {worst:g} {unit}': view.difference(b, view.truth, worst),
            }
        return pictures
