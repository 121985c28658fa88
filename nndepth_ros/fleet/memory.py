"""What a processor remembers of the moments before, so that another one can go on from there.

The mean over time, the scale of single images and the rows of a rig follow from all maps before;
bags are not cut where they are used, see `carries_maps`. All else is a few numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from nndepth_core.estimator import Estimator
from nndepth_ros.pipeline import EXAMINED
from nndepth_ros.replay.processor import EXAMINE_EVERY, Processor
from nndepth_ros.replay.settings import ReplaySettings

Memory = dict[str, Any]
"""As JSON has it, so that memories can be stored and compared."""


def carries_maps(settings: ReplaySettings, estimator: Estimator) -> str:
    """With which option a result depends on the maps before it; '' if it does not."""
    if estimator.align_rows:
        return 'unless with --align-rows off'
    if settings.messages.filters.smoothing:
        return 'with --filter-smoothing'
    return 'with --scale-source' if settings.scale.applies_to(estimator.engine.spec) else ''


def remembered(processor: Processor) -> Memory:
    """What a processor knows of the moments that it has processed."""
    pipeline = processor.pipeline
    return {
        'calibration': _plain(pipeline.calibration[0]) if pipeline.calibration else None,
        'to_examine': pipeline.to_examine,
        'next_examination': pipeline.next_examination,
        'largest': pipeline.used_bits.largest,
        'size': _plain(pipeline.cameras.size),
    }


def recall(processor: Processor, memory: Memory) -> None:
    """Let a processor that has processed nothing go on from what another one remembered."""
    pipeline = processor.pipeline
    if memory['calibration'] is not None:
        pipeline.calibration = _tuples(memory['calibration']), processor.limits()
    pipeline.to_examine = memory['to_examine']
    pipeline.next_examination = memory['next_examination']
    pipeline.used_bits.see(memory['largest'])
    pipeline.cameras.size = _tuples(memory['size'])


def foreseen(memory: Memory, times: Iterable[int]) -> Memory:
    """What will be remembered behind moments, if all can be read and the calibration stays.

    Args:
        memory: of a processor that has processed one moment.
        times: when the moments were recorded, from the first one of the bag on.
    """
    to_examine, due = EXAMINED, 0
    for time in times:
        second = time - time % EXAMINE_EVERY
        if to_examine or second >= due:
            to_examine, due = max(0, to_examine - 1), second + EXAMINE_EVERY
    return {**memory, 'to_examine': to_examine, 'next_examination': due}


def _plain(value: Any) -> Any:
    """Turn tuples and numbers of numpy into what JSON gives back."""
    return json.loads(json.dumps(value, default=_number))


def _number(value: Any) -> Any:
    assert isinstance(value, np.generic)
    return value.item()


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
