"""What it takes to judge the models of one task; evaluating, comparing and reporting share it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np

from nndepth_core.data.sample import Sample
from nndepth_core.plausibility import Finding
from nndepth_core.visualization import colorize, error_map, value_range

SampleT = TypeVar('SampleT', bound=Sample)
ModelT = TypeVar('ModelT')
ResultT = TypeVar('ResultT', bound='Result')

Metrics = dict[str, dict[str, float]]
"""Region -> measure -> value."""


class Result(Protocol):
    """What every estimator returns."""

    @property
    def milliseconds(self) -> Mapping[str, float]:
        """Time of each of its stages."""
        ...


@dataclass(frozen=True)
class View:
    """A sample and what the models made of it, as maps of one size and unit.

    Attributes:
        image: uint8 RGB (H, W, 3), which the maps describe.
        title: the caption of the image.
        kind: what the maps hold.
        unit: the unit of the maps.
        truth: float (H, W), NaN where unknown.
        maps: the result of each model, float (H, W), NaN where there is none.
        confidences: of each model, float (H, W) in 0..1; None where there is none.
        near_is_high: whether near points have the larger values.
        relative: whether the difference of two maps is told in per cent of the second.
    """

    image: np.ndarray
    title: str
    kind: str
    unit: str
    truth: np.ndarray
    maps: Sequence[np.ndarray]
    confidences: Sequence[np.ndarray | None]
    near_is_high: bool = True
    relative: bool = False

    @property
    def truth_known(self) -> bool:
        """Tell whether any truth is known."""
        return bool(np.isfinite(self.truth).any())

    def limits(self) -> tuple[float, float]:
        """Return the smallest and the largest value that pictures show; outliers lie beyond."""
        return value_range(self.truth if self.truth_known else np.stack(self.maps))

    def colored(self, values: np.ndarray) -> np.ndarray:
        """Colour a map, uint8 RGB (H, W, 3): near is red, unknown is black."""
        low, high = self.limits()
        return colorize(values, *((low, high) if self.near_is_high else (high, low)))

    def difference(self, a: np.ndarray, b: np.ndarray, worst: float) -> np.ndarray:
        """Make a picture of the difference of two maps, see `error_map`."""
        return error_map(*self.comparable(a, b), worst)

    def comparable(self, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bring both maps to the unit of their difference: their own, or per cent of `b`."""
        if not self.relative:
            return a, b
        with np.errstate(divide='ignore', invalid='ignore'):
            return 100 * a / b, 100 * b / b


class Measures(ABC, Generic[SampleT, ModelT, ResultT]):
    """How models of one task are run on a sample, judged and shown.

    Attributes:
        titles: every measure -> its heading.
        columns: the measures that a table shows by default.
        regions: the regions that a table shows for each model by default.
        brief: the few measures that a list of samples shows -> their headings; samples are ranked
            by the first.
        caption: the format of the measures in the caption of a picture.
        note: a sentence that says how the means are made.
        difference_titles: the figures of `agreement` that are shown -> their headings.
        difference_limits: the limits of `agreement`, in `difference_unit`.
        difference_unit: the unit of errors and of differences of two maps.
        worst: the error that pictures show in red, in the same unit.
    """

    titles: ClassVar[Mapping[str, str]]
    columns: ClassVar[Sequence[str]]
    regions: ClassVar[Sequence[str]]
    brief: ClassVar[Mapping[str, str]]
    caption: ClassVar[str]
    note: ClassVar[str]
    difference_titles: ClassVar[Mapping[str, str]]
    difference_limits: ClassVar[Sequence[int]]
    difference_unit: ClassVar[str]
    worst: ClassVar[float]

    @abstractmethod
    def check(self, sample: SampleT) -> None:
        """Raise ValueError if the sample cannot be used; the message says why."""

    @abstractmethod
    def estimate(self, model: ModelT, sample: SampleT) -> ResultT:
        """Run a model on the sample."""

    @abstractmethod
    def view(self, sample: SampleT, results: Sequence[ResultT]) -> View:
        """Bring the results of all models to one unit."""

    @abstractmethod
    def metrics(self, sample: SampleT, view: View) -> list[Metrics]:
        """Measure the map of each model; empty where there is no truth."""

    def about(self, model: ModelT) -> dict[str, Any]:
        """Return what JSON says about how a model is judged."""
        return {}

    def examine(self, sample: SampleT, closely: bool) -> list[Finding]:
        """Examine whether the sample can be true; `closely` is set for the first samples only."""
        return []

    def examine_result(self, model: ModelT, sample: SampleT, result: ResultT) -> list[Finding]:
        """Examine whether the result of a model can be true."""
        return []
