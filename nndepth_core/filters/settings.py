"""What the filters shall do; by default nothing."""

from __future__ import annotations

from dataclasses import dataclass

from nndepth_core.files.values import within

MEANING = {
    'border': 'estimates nearer than so many pixels to the border are removed, of a pair also '
    'those that the other image does not show; 0: none',
    'flying': 'width in pixels of the veil of flying pixels that is removed between two surfaces; '
    '0: none',
    'speckle_size': 'regions of at most so many pixels are removed; 0: none',
    'smoothing': 'time constant of the mean over time of what does not move, seconds; 0: no mean',
    'fill_holes': 'gaps in a row of at most so many pixels are filled from the background; 0: '
    'none',
    'step': 'share of the depth by which estimates differ that belong to two surfaces, for '
    'flying, speckle_size and smoothing',
}
"""What each setting does, in the words of options and parameters."""
LOWEST = {'step': 0.005}
HIGHEST = {
    'border': 16384,
    'flying': 100,
    'speckle_size': 2**30,
    'smoothing': 60.0,
    'fill_holes': 16384,
    'step': 1.0,
}
"""The smallest values that are not 0, and the largest ones."""


@dataclass(frozen=True)
class FilterSettings:
    """The settings of the filters, in the order in which these run; 0 switches one off.

    Attributes:
        border: the width of the border that is removed, pixels; see `remove_border`.
        flying: how wide a veil between two surfaces is removed, pixels; see `flying_pixels`.
        speckle_size: the size of the largest region that is removed, pixels; see `speckles`.
        smoothing: the time constant of the mean over time, seconds; see `TemporalMean`.
        fill_holes: the width of the widest gap that is filled, pixels; see `fill_holes`.
        step: the share of the depth that is a step between surfaces; see `tolerance`.
    """

    border: int = 0
    flying: int = 0
    speckle_size: int = 0
    smoothing: float = 0.0
    fill_holes: int = 0
    step: float = 0.05

    def __post_init__(self) -> None:
        within(self, LOWEST, HIGHEST)

    @property
    def any(self) -> bool:
        """Whether one of the filters is on."""
        sizes = self.border, self.flying, self.speckle_size, self.fill_holes
        return any(sizes) or self.smoothing > 0
