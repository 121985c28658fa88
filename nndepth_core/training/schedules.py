"""Learning rates by step, as factors of the largest one."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

ScheduleName = Literal['one_cycle', 'one_cycle_cosine', 'cosine', 'plateau', 'constant']
"""one_cycle: linear to the largest rate within the warm-up, linear to nothing after it;
one_cycle_cosine: the same by half cosines; cosine: linear warm-up, then half a cosine to nothing;
plateau: 5 % to full within the warm-up, full until 60 % of the steps, linear to 5 % at the end;
constant: full after a linear warm-up."""


def learning_rate_factor(schedule: ScheduleName, step: int, steps: int, warmup: float) -> float:
    """Factor of the learning rate.

    Args:
        schedule: its course.
        step: 0 for the first one.
        steps: of the whole run.
        warmup: part of the steps in which the rate rises.

    Returns:
        0 to 1.
    """
    return _SCHEDULES[schedule](step, steps, warmup)


def _one_cycle(step: int, steps: int, warmup: float, ease: Callable[[float], float]) -> float:
    """Figures as in torch.optim.lr_scheduler.OneCycleLR (Smith and Topin, arXiv 1708.07120)."""
    start, end = 1 / 25, 1 / 25e4
    peak, last = warmup * steps - 1, steps - 1
    if step <= peak:
        return start + (1 - start) * ease(step / peak if peak > 0 else 1)
    return 1 + (end - 1) * ease((step - peak) / (last - peak))


def _cosine(step: int, steps: int, warmup: float) -> float:
    rising = warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    return 1 - _half_cosine((step - rising) / (steps - rising))


def _plateau(step: int, steps: int, warmup: float) -> float:
    """As CREStereo was trained, there by epoch."""
    low, fall, progress = 0.05, 0.6, step / steps
    if progress < warmup:
        return low + (1 - low) * progress / warmup
    return 1 - (1 - low) * max(0.0, progress - fall) / (1 - fall)


def _constant(step: int, steps: int, warmup: float) -> float:
    return min(1.0, (step + 1) / (warmup * steps + 1))


def _linear(progress: float) -> float:
    return progress


def _half_cosine(progress: float) -> float:
    return (1 - math.cos(math.pi * progress)) / 2


_SCHEDULES: dict[str, Callable[[int, int, float], float]] = {
    'one_cycle': partial(_one_cycle, ease=_linear),
    'one_cycle_cosine': partial(_one_cycle, ease=_half_cosine),
    'cosine': _cosine,
    'plateau': _plateau,
    'constant': _constant,
}
