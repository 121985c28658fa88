"""The precision in which a machine trains fastest."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Literal

import torch

from nndepth_core.training import TrainingError

Precision = Literal['fp32', 'bf16', 'fp16']

_log = logging.getLogger(__name__)
_BF16_FLAGS = ('amx_bf16', 'avx512_bf16', 'bf16')
"""What /proc/cpuinfo calls arithmetic in bfloat16: the first two on x86, the last on ARM."""


def choose_precision(
    wanted: Literal['auto'] | Precision, device: Literal['auto', 'cpu']
) -> Precision:
    """Choose the precision to train in; for 'auto' the log says what was chosen and why.

    Args:
        wanted: A precision, or 'auto' for bf16 where the processor computes in it. Elsewhere bf16
            would be emulated, which takes several times as long, and fp32 is chosen.
        device: See `TrainerSettings`.

    Raises:
        TrainingError: fp16 is wanted without a GPU.
    """
    on_gpu = device == 'auto' and torch.cuda.is_available()
    if wanted == 'fp16' and not on_gpu:
        raise TrainingError('precision fp16 needs a GPU; choose auto, bf16 or fp32')
    if wanted != 'auto':
        return wanted
    if on_gpu:
        has_it = torch.cuda.is_bf16_supported(including_emulation=False)
        precision, reason = _bf16_if(has_it, 'the GPU')
    else:
        precision, reason = precision_of_cpu(_cpu_flags())
    _log.info('precision %s: %s', precision, reason)
    return precision


def precision_of_cpu(flags: Collection[str]) -> tuple[Precision, str]:
    """The precision for a CPU that has these flags in /proc/cpuinfo, and the reason for it."""
    found = next((flag for flag in _BF16_FLAGS if flag in flags), None)
    return _bf16_if(found is not None, f'the CPU ({found or "no " + " or ".join(_BF16_FLAGS)})')


def _bf16_if(has_it: bool, processor: str) -> tuple[Precision, str]:
    if has_it:
        return 'bf16', f'{processor} computes in bf16'
    return 'fp32', f'{processor} does not compute in bf16'


def _cpu_flags() -> set[str]:
    """The flags of the first processor; empty where the system does not tell them."""
    try:
        lines = Path('/proc/cpuinfo').read_text('utf-8').splitlines()
    except OSError:
        return set()
    for name, _, values in (line.partition(':') for line in lines):
        if name.strip() in ('flags', 'Features'):
            return set(values.split())
    return set()
