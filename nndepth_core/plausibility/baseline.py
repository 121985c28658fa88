"""Checks whether the baseline of a stereo rig can be true."""

from __future__ import annotations

from dataclasses import dataclass

from nndepth_core.plausibility.findings import Finding, Level


@dataclass(frozen=True)
class BaselineLimits:
    """The baselines that are plausible, in metres."""

    low: float = 0.005
    high: float = 5.0

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high:
            raise ValueError(
                f'min_baseline is {self.low} and max_baseline {self.high}; both must be positive '
                'metres and max_baseline the larger'
            )

    def __contains__(self, baseline: float) -> bool:
        return self.low <= baseline <= self.high


def examine_baseline(baseline: float, fx: float, limits: BaselineLimits) -> list[Finding]:
    """Check the baseline of a rig.

    Args:
        baseline: in metres, as P[3] gives it.
        fx: P[0], in pixels of the image that P is for.
        limits: the baselines that are plausible.
    """
    if baseline in limits:
        return []
    readings = {
        'P[3] in pixels times millimetres': baseline / 1000,
        'P[3] = -baseline, without fx': baseline * fx,
    }
    fitting = [f'{name} would mean {b:.4g} m' for name, b in readings.items() if b in limits]
    text = (
        f'the baseline is {baseline:.4g} m (P[3] = -fx * baseline, fx = {fx:.6g}), outside of '
        f'{limits.low:g} to {limits.high:g} m'
        + ''.join(f'; {reading}' for reading in fitting)
        + ': correct the calibration, or, if the rig is like that, set min_baseline or '
        'max_baseline'
    )
    return [Finding('baseline', Level.ERROR, text)]
