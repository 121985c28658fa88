"""Schedules of the learning rate, as factors of the largest rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

ScheduleName = Literal['one_cycle', 'one_cycle_cosine', 'cosine', 'plateau', 'constant']
"""one_cycle rises linearly to the largest rate within the warm-up and falls linearly to zero after
it; one_cycle_cosine does the same along half cosines. cosine rises linearly and falls along half a
cosine. plateau rises from 5 % to the largest rate within the warm-up, stays there until 60 % of
the steps, and falls linearly to 5 %. constant rises linearly and stays."""


def learning_rate_factor(schedule: ScheduleName, step: int, steps: int, warmup: float) -> float:
    """Compute the factor of the learning rate at a step.

    Args:
        schedule: The name of the schedule.
        step: The number of the step; the first one is 0.
        steps: The number of steps of the whole run.
        warmup: The part of the steps in which the rate rises.

    Returns:
        The factor, in 0..1.
    """
    return _SCHEDULES[schedule](step, steps, warmup)


def _one_cycle(step: int, steps: int, warmup: float, ease: Callable[[float], float]) -> float:
    """As torch.optim.lr_scheduler.OneCycleLR (Smith and Topin, arXiv 1708.07120)."""
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
    """As CREStereo was trained, whose rate changes with every epoch instead."""
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
