"""How far two models agree on a stream of images: differences, statistics and a picture.

A running node and `nndepth compare` of a bag both use this. Shares are of pixels, and every pixel
has the same weight, so that the figures of a stream follow from the sums over its frames.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, TypeVar

import cv2
import numpy as np

from nndepth_core.engines.maps import resampled, resampled_map
from nndepth_core.plausibility import Finding, Level
from nndepth_core.spec import Output
from nndepth_core.visualization import colorize, panel, value_range, written

if TYPE_CHECKING:
    from typing_extensions import Self

SHARE = 0.05
"""The difference of depths that counts as agreement, a share of the smaller one."""
UNITS: Mapping[str, str] = {'disparity': 'px', 'depth': 'm'}
"""The outputs that can be compared -> the unit of their difference."""
PARTS: Mapping[str, str] = MappingProxyType({'window': 'last {} frames', 'total': 'all {} frames'})
"""The parts of the statistics -> their headings."""
_WORST = {'px': 4.0, 'm': 25.0}
"""What pictures show in red: pixels, or per cent of the smaller depth."""
_NARROWEST, _WIDEST = 320, 640
"""The width of one of the four parts of a picture, pixels."""
_SAMPLES = 100
"""The most rows and columns that the range of the colours is found with."""


@dataclass(frozen=True)
class _Sums:
    """Numbers that are added up one by one."""

    def __add__(self, other: Self) -> Self:
        return type(self)(*map(sum, zip(astuple(self), astuple(other), strict=True)))


SumsT = TypeVar('SumsT', bound=_Sums)


@dataclass(frozen=True)
class Tally(_Sums):
    """Numbers of pixels in frames that both models answered.

    Attributes:
        frames: the number of these frames.
        pixels: all pixels.
        known_a, known_b: those with a finite estimate of A, of B.
        common: those with finite estimates of both.
        within_1, within_3: those of `common` that differ by at most so many pixels.
        within_share: those of `common` whose depths differ by at most SHARE.
        difference: the sum of |A - B| over `common`.
    """

    frames: int = 0
    pixels: int = 0
    known_a: int = 0
    known_b: int = 0
    common: int = 0
    within_1: int = 0
    within_3: int = 0
    within_share: int = 0
    difference: float = 0.0

    def figures(self, unit: str) -> dict[str, float]:
        """Shares in 0..1 and the mean of |A - B|, NaN where nothing is known.

        Args:
            unit: of the maps, one of UNITS; shares within pixels are for 'px' alone.
        """
        in_pixels = self.common if unit == 'px' else 0
        return {
            'density_a': _ratio(self.known_a, self.pixels),
            'density_b': _ratio(self.known_b, self.pixels),
            'within_1px': _ratio(self.within_1, in_pixels),
            'within_3px': _ratio(self.within_3, in_pixels),
            'within_5_percent': _ratio(self.within_share, self.common),
            'mean_difference': _ratio(self.difference, self.common),
        }


@dataclass(frozen=True)
class Times(_Sums):
    """The milliseconds of one model for `count` frames."""

    count: int = 0
    inference: float = 0.0
    total: float = 0.0

    def figures(self, model: str) -> dict[str, float]:
        """The means, NaN without frames; `model` ends their names."""
        return {
            f'inference_ms_{model}': _ratio(self.inference, self.count),
            f'total_ms_{model}': _ratio(self.total, self.count),
        }


class Running(Generic[SumsT]):
    """Adds up the newest sums, and all since the start.

    Args:
        zero: the sums of nothing.
        window: how many sums are the newest.
    """

    def __init__(self, zero: SumsT, window: int) -> None:
        self._zero = zero
        self._newest: deque[SumsT] = deque(maxlen=window)
        self.total = zero

    def add(self, sums: SumsT) -> None:
        """Add those of one frame."""
        self._newest.append(sums)
        self.total += sums

    def limit(self, window: int) -> None:
        """Change how many are the newest."""
        self._newest = deque(self._newest, window)

    @property
    def window(self) -> SumsT:
        """The newest sums together."""
        return sum(self._newest, self._zero)


class Comparison:
    """The running statistics of two models, called a and b.

    Args:
        output: what their maps hold, one of UNITS.
        window: the number of frames in the window.
        names: what the models are called, as far as that is known.
    """

    def __init__(
        self, output: Output, window: int = 100, names: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.output = output
        self.unit = UNITS[output]
        self.names = dict(names)
        self._tallies = Running(Tally(), window)
        self._times = {model: Running(Times(), window) for model in 'ab'}
        self._found: dict[str, Finding] = {}
        self._size: tuple[int, int] | None = None

    def add(self, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Add the maps of one frame, (H, W), NaN or infinite where unknown.

        Returns:
            Both maps at the size of the larger one, at which they were compared.
        """
        self._examine(a, b)
        a, b = at_one_size(a, b, self.output)
        self._tallies.add(tally_of(a, b))
        return a, b

    def add_times(self, model: str, inference: float, total: float) -> None:
        """Add the milliseconds that one model, 'a' or 'b', took for a frame."""
        self._times[model].add(Times(1, inference, total))

    def limit(self, window: int) -> None:
        """Change the number of frames in the window."""
        self._tallies.limit(window)
        for times in self._times.values():
            times.limit(window)

    @property
    def total(self) -> Tally:
        """The sums since the start."""
        return self._tallies.total

    @property
    def identical(self) -> bool:
        """Whether both models gave the same everywhere so far, which is rarely by chance."""
        total = self.total
        same = total.known_a == total.known_b == total.common > 0
        return same and total.difference == 0

    @property
    def findings(self) -> list[Finding]:
        """What one has to know to read the figures."""
        found = [*self._found.values()]
        if self.identical and self.names and self.names.get('a') == self.names.get('b'):
            text = (
                f'A and B are the same model, {self.names["a"]}, and give the same everywhere: '
                'the agreement is 100 %'
            )
            found.append(Finding('same_model', Level.INFO, text))
        return found

    def _examine(self, a: np.ndarray, b: np.ndarray) -> None:
        """Find maps of different sizes, and sizes that change in the middle."""
        height, width = max(a.shape, b.shape, key=math.prod)
        if a.shape != b.shape:
            text = (
                f'A gave {a.shape[1]}x{a.shape[0]} and B {b.shape[1]}x{b.shape[0]} in a '
                f'frame; such ones are compared at {width}x{height}, in pixels of that size'
            )
            self._found['resampled'] = Finding('resampled', Level.INFO, text)
        before, self._size = self._size, (width, height)
        if before is not None and before != self._size:
            text = (
                f'the size has changed from {before[0]}x{before[1]} to {width}x{height} in the '
                'middle: the statistics are over both, in pixels of either'
            )
            self._found['resized'] = Finding('resized', Level.WARN, text)

    def figures(self, part: str) -> dict[str, float]:
        """All figures of a part, 'window' or 'total': 'frames', and what the sums give."""
        tally = getattr(self._tallies, part)
        figures = {'frames': tally.frames, **tally.figures(self.unit)}
        for model, times in self._times.items():
            figures |= getattr(times, part).figures(model)
        return figures

    def table(self, parts: Mapping[str, str] = PARTS) -> list[list[str]]:
        """The figures as rows of text, each with its title.

        Args:
            parts: what to show, 'window' or 'total' -> its heading, with {} for the number of
                frames.
        """
        figures = [self.figures(part) for part in parts]
        heads = zip(parts.values(), figures, strict=True)
        rows = [['', *(head.format(of['frames']) for head, of in heads)]]
        for title, names, scale, unit in (
            ('within 1 px', ['within_1px'], 100, '%'),
            ('within 3 px', ['within_3px'], 100, '%'),
            ('within 5 % of depth', ['within_5_percent'], 100, '%'),
            ('mean |A - B|', ['mean_difference'], 1, self.unit),
            ('density A / B', ['density_a', 'density_b'], 100, '%'),
            ('inference A / B', ['inference_ms_a', 'inference_ms_b'], 1, 'ms'),
            ('total A / B', ['total_ms_a', 'total_ms_b'], 1, 'ms'),
        ):
            if self.unit == 'px' or not title.endswith('px'):
                digits = 3 if names == ['mean_difference'] else 1
                cells = [[_text(of[name] * scale, digits) for name in names] for of in figures]
                rows.append([title, *(f'{" / ".join(values)} {unit}' for values in cells)])
        return rows


def at_one_size(a: np.ndarray, b: np.ndarray, output: Output) -> tuple[np.ndarray, np.ndarray]:
    """Bring the smaller of two maps (H, W) to the size of the larger one; see `resampled_map`."""
    if a.shape == b.shape:
        return a, b
    height, width = max(a.shape, b.shape, key=math.prod)
    larger, other = (
        values
        if values.shape == (height, width)
        else resampled_map(np.ascontiguousarray(values), width, height, output)
        for values in (a, b)
    )
    return larger, other


def difference_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A - B of two maps (H, W), float32, NaN where one of them is not finite."""
    with np.errstate(invalid='ignore', over='ignore'):
        difference = np.subtract(a, b, dtype=np.float32)
    difference[~np.isfinite(difference)] = np.nan
    return difference


def tally_of(a: np.ndarray, b: np.ndarray) -> Tally:
    """Count how two maps (H, W) agree where both are finite.

    Depths that are f T / d differ by the same share as their disparities d, so that SHARE is
    measured in the same way for either.
    """
    known_a, known_b = np.isfinite(a), np.isfinite(b)
    common = known_a & known_b
    with np.errstate(all='ignore'):  # where one is unknown, no comparison holds
        difference = np.abs(np.subtract(a, b, dtype=np.float32))
        allowed = np.float32(SHARE) * np.minimum(np.abs(a), np.abs(b))
        within_1, within_3, within_share = (
            _count(difference <= limit) for limit in (1, 3, allowed)
        )
    difference[~common] = 0
    return Tally(
        frames=1,
        pixels=a.size,
        known_a=_count(known_a),
        known_b=_count(known_b),
        common=_count(common),
        within_1=within_1,
        within_3=within_3,
        within_share=within_share,
        difference=float(difference.sum(dtype=np.float64)),
    )


def picture(
    image: np.ndarray | None,
    a: np.ndarray,
    b: np.ndarray,
    comparison: Comparison,
    table: Sequence[Sequence[str]],
) -> np.ndarray:
    """Draw the image, both maps and their difference, and the statistics below them.

    Args:
        image: uint8 RGB (H, W, 3) of any size; None if it is not known.
        a: the map of model A, float32 (H, W).
        b: that of model B, of the same size.
        comparison: what they were added to, which tells unit and names.
        table: rows of text for the statistics.

    Returns:
        uint8 RGB; its four parts have the aspect of the maps, and are 320 to 640 pixels wide.
    """
    unit, (height, width) = comparison.unit, a.shape
    shown = min(max(width, _NARROWEST), _WIDEST)
    size = shown, max(1, round(height * shown / width))
    if image is None:
        image, title = np.full((size[1], size[0], 3), 64, np.uint8), 'image of this stamp is lost'
    else:
        image, title = resampled(image, size), 'left image' if unit == 'px' else 'image'
    a, b = (cv2.resize(values, size, interpolation=cv2.INTER_NEAREST) for values in (a, b))
    some = np.s_[:: max(1, size[1] // _SAMPLES), :: max(1, size[0] // _SAMPLES)]
    low, high = value_range(np.stack([a[some], b[some]]))
    ends = (low, high) if unit == 'px' else (high, low)
    span = f'{low:.1f} to {high:.1f} {unit}'
    titles = {model: f'{model.upper()}: {comparison.names.get(model, "")}' for model in 'ab'}
    worst, what = _WORST[unit], 'px' if unit == 'px' else '% of the depth'
    tiles = {
        title: image,
        f'{titles["a"]}, {span}': colorize(a, *ends),
        f'|A - B|, blue 0, red {worst:g} {what}; grey: one alone': _colored(a, b, unit),
        f'{titles["b"]}, {span}': colorize(b, *ends),
    }
    whole = panel(tiles)
    return np.vstack([whole, written(table, whole.shape[1])])


def _colored(a: np.ndarray, b: np.ndarray, unit: str) -> np.ndarray:
    difference = np.abs(difference_of(a, b))
    if unit == 'm':
        with np.errstate(all='ignore'):
            difference = 100 * difference / np.minimum(np.abs(a), np.abs(b))
    colored = colorize(difference, 0, _WORST[unit])
    colored[np.isfinite(a) ^ np.isfinite(b)] = 128
    return colored


def _count(which: np.ndarray) -> int:
    return int(np.count_nonzero(which))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _text(value: float, digits: int) -> str:
    return '-' if math.isnan(value) else f'{value:.{digits}f}'
