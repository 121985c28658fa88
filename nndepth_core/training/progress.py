"""How far a run is: the bar on the terminal, and the figures since the last line of the log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from nndepth_core.data.loader import Batch

_log = logging.getLogger(__name__)


class Progress:
    """Counts the steps of a run.

    Args:
        bar: Shows the steps.
        skipped: The number of samples that were skipped before a resume.
    """

    def __init__(self, bar: tqdm, skipped: int) -> None:
        self.bar = bar
        self.skipped = skipped
        self.losses: list[float] = []
        self.clock = time.perf_counter()

    def advance(self, passes: Sequence[Batch], loss: float) -> None:
        """Count a step, and warn of the samples that were skipped in it."""
        for reason in (reason for batch in passes for reason in batch['skipped']):
            self.skipped += 1
            _log.warning('sample skipped, %d so far: %s', self.skipped, reason)
        self.losses.append(loss)
        self.bar.update()

    def figures(self, learning_rate: float) -> dict[str, float]:
        """The figures of the steps since this was last called."""
        figures = {
            'train/loss': float(np.mean(self.losses)),
            'train/learning_rate': learning_rate,
            'train/skipped_samples': self.skipped,
            'train/steps_per_second': len(self.losses) / (time.perf_counter() - self.clock),
        }
        self.losses.clear()
        self.clock = time.perf_counter()
        self.bar.set_postfix(loss=f'{figures["train/loss"]:.4g}', refresh=False)
        return figures


@contextmanager
def shown(name: str, step: int, steps: int, skipped: int, visible: bool) -> Iterator[Progress]:
    """Show a bar with the rate and the remaining time.

    Args:
        name: The name of the run.
        step: The number of steps that are done.
        steps: The number of steps of the whole run.
        skipped: See `Progress`.
        visible: Whether this process shows the bar.
    """
    with (
        logging_redirect_tqdm(),
        tqdm(
            total=steps,
            initial=step,
            unit='step',
            desc=name,
            disable=not visible,
            mininterval=0.5 if sys.stderr.isatty() else 60,  # rarely where no one watches it move
        ) as bar,
    ):
        yield Progress(bar, skipped)
