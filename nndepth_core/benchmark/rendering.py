"""Measures how fast training pairs are rendered."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import cv2

from nndepth_core.data.synthetic.procedural import ProceduralStereo


def rendering_rate(size: tuple[int, int], pairs: int, processes: int) -> float:
    """Measure how many pairs `ProceduralStereo` renders per second.

    Args:
        size: (width, height) of the images.
        pairs: the number of pairs to render.
        processes: the number of processes that render at the same time, with one thread each.
    """
    data = ProceduralStereo(size=size[::-1], length=pairs)
    shares = [range(first, pairs, processes) for first in range(processes)]
    context = get_context('spawn')
    with ProcessPoolExecutor(processes, context, cv2.setNumThreads, (1,)) as pool:
        return pairs / max(pool.map(_rendering_time, [data] * processes, shares))


def _rendering_time(data: ProceduralStereo, indices: Iterable[int]) -> float:
    """Seconds that rendering takes, without the time for making tiles and noise."""
    data[0]
    begun = time.perf_counter()
    for index in indices:
        data[index]
    return time.perf_counter() - begun
