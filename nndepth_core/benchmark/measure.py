"""How fast models are and how much memory they take, each in a fresh process of its own.

Cases that are measured together take turns, run by run, so that whatever else the machine does
slows them all.
"""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import cv2
import numpy as np

from nndepth_core.cli.table import table
from nndepth_core.data.synthetic.procedural import ProceduralStereo
from nndepth_core.engines import Engine, create_engine, split_model
from nndepth_core.engines.reference import textured_inputs

OFFICIAL = 'official'
"""Stands for the authors' code among the engines."""

_MIB = 2**20
_HEADINGS = {
    'model': 'MODEL',
    'engine': 'ENGINE',
    'size': 'SIZE',
    'p50_ms': 'P50 MS',
    'p95_ms': 'P95 MS',
    'cpu_ms': 'CPU MS',
    'per_second': 'PER S',
    'memory_mib': 'MEMORY MIB',
    'p50_ratio': 'P50 x',
    'cpu_ratio': 'CPU x',
    'memory_ratio': 'MEMORY x',
    'difference_px': 'MAX DIFF PX',
}


class BenchmarkError(RuntimeError):
    """A case that cannot be measured; the message says why."""


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        model: see `create_engine`.
        engine: 'opencv', 'onnxruntime', 'torch', or OFFICIAL for the authors' code.
        size: (width, height) of the images, rounded up to what the model takes.
        device: see `create_engine`, like the following ones.
        precision: 'fp32', 'fp16' or 'bf16'.
        iterations: 0 for the network's default.
        threads: 0 for one a physical core.
        weights: a checkpoint file, or 'random'.
        compile: see `TorchEngine`; for torch alone.
        cuda_graph: the same.
        checkout: folder of the authors' code; for OFFICIAL alone.
    """

    model: str
    engine: str
    size: tuple[int, int] = (640, 320)
    device: str = 'cpu'
    precision: str = 'fp32'
    iterations: int = 0
    threads: int = 0
    weights: str = 'random'
    compile: bool = False
    cuda_graph: bool = False
    checkout: str = ''


@dataclass
class Measurement:
    """What was found.

    Attributes:
        case: what was measured.
        size: (width, height) that was computed at.
        wall_ms: duration of every run.
        cpu_ms: the same in time of all processors together.
        memory: largest need of bytes beyond the loaded model's; None where unknown.
        disparity: (1, height, width), of the last run.
    """

    case: Case
    size: tuple[int, int]
    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    memory: int | None = None
    disparity: np.ndarray = field(default_factory=lambda: np.empty(0))

    def figures(self, base: Measurement | None = None) -> dict[str, Any]:
        """Everything that was found by name, times in ms and memory in MiB.

        Args:
            base: what to compare with; adds the ratios to its figures and the largest difference
                of the disparities in pixels.
        """
        figures: dict[str, Any] = {
            'model': self.case.model,
            'engine': self.case.engine,
            'size': '{}x{}'.format(*self.size),
            'p50_ms': float(np.percentile(self.wall_ms, 50)),
            'p95_ms': float(np.percentile(self.wall_ms, 95)),
            'cpu_ms': float(np.percentile(self.cpu_ms, 50)),
            'per_second': 1000 / float(np.mean(self.wall_ms)),
            'memory_mib': None if self.memory is None else self.memory / _MIB,
        }
        if base is not None:
            others = base.figures()
            for name in ('p50_ms', 'cpu_ms', 'memory_mib'):
                ratio = figures[name] / others[name] if figures[name] and others[name] else None
                figures[f'{name.rpartition("_")[0]}_ratio'] = ratio
            figures['difference_px'] = float(np.abs(self.disparity - base.disparity).max())
        return figures


def engines_of(model: str) -> tuple[str, ...]:
    """Engines that execute a model, of those whose packages are installed."""
    if model == 'sgbm':
        return ('opencv',)
    engines = ('onnxruntime',) if model.endswith('.onnx') else ('torch', 'onnxruntime')
    return tuple(engine for engine in engines if find_spec(engine))


def measure(cases: Sequence[Case], runs: int = 10, warm_up: int = 1) -> list[Measurement]:
    """Measure cases by turns.

    Args:
        cases: an OFFICIAL one stands first and hands its weights to those that have none.
        runs: of each case.
        warm_up: runs before, which count for the memory alone.

    Raises:
        BenchmarkError: a case cannot be measured.
    """
    with TemporaryDirectory() as folder, ExitStack() as stack:
        weights, exported = Path(folder, 'official.pth'), Path(folder, 'exported.onnx')
        workers, results = [], []
        for case in cases:
            ready = case
            if weights.exists() and case.weights == 'random':
                ready = replace(case, weights=str(weights))
            if case.engine == 'onnxruntime' and not case.model.endswith('.onnx'):
                with _Worker(case) as exporter:
                    exporter(_export, ready, exported)
                ready = replace(case, model=str(exported))
            workers.append(stack.enter_context(_Worker(case)))
            results.append(Measurement(case, workers[-1](_load, ready)))
            if case.engine == OFFICIAL:
                workers[-1](_save_official, weights)
            for _ in range(warm_up):
                workers[-1](_run)
        for _ in range(runs):
            for worker, result in zip(workers, results, strict=True):
                wall, cpu = worker(_run)
                result.wall_ms.append(wall)
                result.cpu_ms.append(cpu)
        for worker, result in zip(workers, results, strict=True):
            result.memory, result.disparity = worker(_findings)
    return results


def rendering_rate(size: tuple[int, int], pairs: int, processes: int) -> float:
    """Pairs that `ProceduralStereo` renders a second.

    Args:
        size: (width, height).
        pairs: how many are rendered.
        processes: that render at once, one thread each.
    """
    data = ProceduralStereo(size=size[::-1], length=pairs)
    shares = [range(first, pairs, processes) for first in range(processes)]
    context = get_context('spawn')
    with ProcessPoolExecutor(processes, context, cv2.setNumThreads, (1,)) as pool:
        return pairs / max(pool.map(_rendering_time, [data] * processes, shares))


def _rendering_time(data: ProceduralStereo, indices: Iterable[int]) -> float:
    """Seconds that samples take, once tiles and noise are there."""
    data[0]
    begun = time.perf_counter()
    for index in indices:
        data[index]
    return time.perf_counter() - begun


def describe_machine() -> dict[str, Any]:
    """Processor, cores, load (processes that run or wait, mean of a minute) and versions."""
    cpuinfo = Path('/proc/cpuinfo')
    text = cpuinfo.read_text() if cpuinfo.exists() else ''
    processor = re.search(r'^model name\s*: (.+)$', text, re.MULTILINE)
    machine = {
        'processor': processor[1] if processor else platform.machine(),
        'cores': os.cpu_count(),
        'load': round(os.getloadavg()[0], 2),
    }
    for package in ('torch', 'onnxruntime'):
        try:
            machine[package] = version(package)
        except PackageNotFoundError:
            machine[package] = None
    return machine


def format_table(figures: Sequence[Mapping[str, Any]]) -> str:
    """Lay out what `Measurement.figures` gives, a row each."""
    columns = [name for name in _HEADINGS if any(name in row for row in figures)]
    rows = [[_cell(row.get(name)) for name in columns] for row in figures]
    return table([[_HEADINGS[name] for name in columns], *rows], right=range(3, len(columns)))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f'{value:.0f}' if abs(value) >= 100 else f'{value:.3g}'
    return '-' if value is None else str(value)


class _Worker:
    """A fresh process that calls functions of this module for a case."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._pool = ProcessPoolExecutor(1, get_context('spawn'))

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def __call__(self, function: Callable, *arguments: Any) -> Any:
        try:
            return self._pool.submit(function, *arguments).result()
        except Exception as error:  # others' code may raise anything
            raise BenchmarkError(
                f'{self._case.model} on {self._case.engine} cannot be measured: '
                f'{str(error) or repr(error)}'
            ) from error


# --- what workers call, in their processes -------------------------------------------------------


class _Contender:
    """A loaded model with images for it."""

    def __init__(self, case: Case) -> None:
        self.engine = _load_engine(case)
        width, height = case.size
        above, below, left, right = self.engine.spec.margins(height, width)
        self.size = (left + width + right, above + height + below)
        self.inputs = textured_inputs(self.engine.spec, *self.size[::-1])
        self.output = np.empty(0)
        self.needed_memory = _watch_memory(self.engine)


_contender: _Contender


def _load(case: Case) -> tuple[int, int]:
    global _contender
    sys.stdout = sys.stderr  # whatever the code of others prints is no part of the results
    _contender = _Contender(case)
    return _contender.size


def _run() -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    engine = _contender.engine
    _contender.output = engine.run(_contender.inputs)[engine.spec.output]
    return 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)


def _findings() -> tuple[int | None, np.ndarray]:
    return _contender.needed_memory(), _contender.output


def _load_engine(case: Case) -> Engine:
    settings: dict[str, Any] = {
        'device': case.device,
        'weights': case.weights,
        'precision': case.precision,
        'iterations': case.iterations,
        'threads': case.threads,
    }
    if case.engine == OFFICIAL:
        from nndepth_core.benchmark.official import OfficialEngine

        return OfficialEngine(*split_model(case.model), case.checkout, **settings)
    if case.engine == 'torch':
        settings |= {'compile': case.compile, 'cuda_graph': case.cuda_graph}
    return create_engine(case.model, case.engine, **settings)


def _save_official(path: Path) -> None:
    import torch

    from nndepth_core.benchmark.official import OfficialEngine

    torch.save(cast(OfficialEngine, _contender.engine).network.state_dict(), path)


def _export(case: Case, path: Path) -> None:
    from nndepth_core.engines.torch import load_network
    from nndepth_core.export.onnx import export_onnx

    network = load_network(*split_model(case.model), case.weights)
    export_onnx(network, path, iterations=case.iterations, precision=case.precision)


def _watch_memory(engine: Engine) -> Callable[[], int | None]:
    """Begin to watch the peak of memory; the result tells by how many bytes it rose since."""
    if engine.device != 'cpu':
        if engine.name == 'onnxruntime':
            return lambda: None
        import torch

        torch.cuda.reset_peak_memory_stats()
        loaded = torch.cuda.memory_allocated()
        return lambda: torch.cuda.max_memory_allocated() - loaded

    status = Path('/proc/self/status')
    if not status.exists():
        return lambda: None

    def resident(entry: str) -> int:
        return 1024 * int(status.read_text().partition(f'{entry}:')[2].split()[0])

    Path('/proc/self/clear_refs').write_text('5')  # forget the peak of loading
    loaded = resident('VmRSS')
    return lambda: resident('VmHWM') - loaded
