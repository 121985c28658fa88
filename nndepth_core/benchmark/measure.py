"""Measures how fast models are and how much memory they take, each in a process of its own.

Cases that are measured together take turns, run by run, so that other load on the machine slows
all of them alike.
"""

from __future__ import annotations

import ctypes
import math
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, suppress
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
from nndepth_core.engines import Engine, create_engine, split_model
from nndepth_core.engines.reference import textured_inputs
from nndepth_core.spec import ModelSpec

OFFICIAL = 'official'
"""The name that stands for the authors' code among the engines."""

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
    'parameters_m': 'M PARAMETERS',
    'nodes': 'NODES',
    'export_difference': 'EXPORT DIFF',
    'p50_ratio': 'P50 x',
    'cpu_ratio': 'CPU x',
    'memory_ratio': 'MEMORY x',
    'difference_px': 'MAX DIFF PX',
}


class BenchmarkError(RuntimeError):
    """A case cannot be measured; the message says why."""


@dataclass(frozen=True)
class Case:
    """What to measure.

    Attributes:
        model: see `create_engine`.
        engine: 'opencv', 'onnxruntime', 'torch', or OFFICIAL for the authors' code.
        size: (width, height) of the images; they are measured at the size to which the model
            wants them resized, rounded up to one that it takes.
        device: see `create_engine`.
        precision: 'fp32', 'fp16' or 'bf16'.
        iterations: the steps of an iterative network; 0 takes its default.
        threads: the number of threads; 0 takes one per physical core.
        weights: a checkpoint file, or 'random'.
        compile: for torch only, see `TorchEngine`.
        cuda_graph: for torch only, see `TorchEngine`.
        checkout: for OFFICIAL only, the folder of the authors' code, or a place in it as
            `CallableEngine` takes it.
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
    """What was measured.

    Attributes:
        case: the case.
        size: (width, height) of the images that were computed.
        wall_ms: the duration of every run.
        cpu_ms: the time of every run that all processors together spent on it.
        memory: the most bytes that were needed in addition to the loaded model; None if unknown.
        disparity: (1, height, width), the output of the last run.
        network: of a network that was exported for this: millions of parameters, nodes of the
            graph, and the largest difference of its output from torch.
    """

    case: Case
    size: tuple[int, int]
    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    memory: int | None = None
    disparity: np.ndarray = field(default_factory=lambda: np.empty(0))
    network: dict[str, Any] = field(default_factory=dict)

    def figures(self, base: Measurement | None = None) -> dict[str, Any]:
        """Return all figures by name, times in ms and memory in MiB.

        Args:
            base: a measurement to compare with; the ratios of our figures to its figures are
                added, and the largest difference of the disparities in pixels.
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
            **self.network,
        }
        if base is not None:
            others = base.figures()
            for name in ('p50_ms', 'cpu_ms', 'memory_mib'):
                ratio = figures[name] / others[name] if figures[name] and others[name] else None
                figures[f'{name.rpartition("_")[0]}_ratio'] = ratio
            figures['difference_px'] = float(np.abs(self.disparity - base.disparity).max())
        return figures


def engines_of(model: str) -> tuple[str, ...]:
    """List the engines that can execute a model and whose packages are installed."""
    if model == 'sgbm':
        return ('opencv',)
    engines = ('onnxruntime',) if model.endswith('.onnx') else ('torch', 'onnxruntime')
    return tuple(engine for engine in engines if find_spec(engine))


def measure(
    cases: Sequence[Case], runs: int = 10, warm_up: int = 1, seconds: float = math.inf
) -> list[Measurement]:
    """Measure several cases, which take turns.

    Args:
        cases: an OFFICIAL case must be the first; it gives its weights to cases without any.
        runs: the number of runs of each case.
        warm_up: the number of runs before; they count only for the memory.
        seconds: no turn begins later than this after the first one; there is at least one.

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
            network = {}
            if case.engine == 'onnxruntime' and not case.model.endswith('.onnx'):
                with _Worker(case) as exporter:
                    network = exporter(_export, ready, exported)
                ready = replace(case, model=str(exported))
            workers.append(stack.enter_context(_Worker(case)))
            results.append(Measurement(case, workers[-1](_load, ready), network=network))
            if case.engine == OFFICIAL:
                workers[-1](_save_official, weights)
            for _ in range(warm_up):
                workers[-1](_run)
        end = time.monotonic() + seconds
        for turn in range(runs):
            if turn and time.monotonic() > end:
                break
            for worker, result in zip(workers, results, strict=True):
                wall, cpu = worker(_run)
                result.wall_ms.append(wall)
                result.cpu_ms.append(cpu)
        for worker, result in zip(workers, results, strict=True):
            result.memory, result.disparity = worker(_findings)
    return results


def size_of_run(spec: ModelSpec, size: tuple[int, int]) -> tuple[int, int]:
    """The (width, height) at which a model is run for images of a size."""
    if spec.fixed_size is not None:
        return spec.fixed_size[::-1]
    width, height = spec.working_size(*size)
    return spec.padded_size(height, width)[::-1]


def measure_here(case: Case, runs: int, warm_up: int, seconds: float) -> Measurement:
    """Measure a case in this process.

    Args:
        case: its model is a network, which needs no package but torch, or what `measure` takes.
        runs: the largest number of runs.
        warm_up: the number of runs before; they count only for the memory.
        seconds: no run begins later than this after the first one; there is at least one.
    """
    contender = _Contender(case)
    for _ in range(warm_up):
        contender.run()
    result = Measurement(case, contender.size)
    end = time.monotonic() + seconds
    while not result.wall_ms or (len(result.wall_ms) < runs and time.monotonic() < end):
        wall, cpu = contender.run()
        result.wall_ms.append(wall)
        result.cpu_ms.append(cpu)
    result.memory, result.disparity = contender.needed_memory(), contender.output
    return result


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
    """Format what `Measurement.figures` returns as a table with one row each."""
    columns = [name for name in _HEADINGS if any(name in row for row in figures)]
    rows = [[_cell(row.get(name)) for name in columns] for row in figures]
    return table([[_HEADINGS[name] for name in columns], *rows], right=range(3, len(columns)))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f'{value:.0f}' if abs(value) >= 100 else f'{value:.3g}'
    return '-' if value is None else str(value)


class _Worker:
    """A new process that calls functions of this module for one case."""

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
        except Exception as error:  # the code of others may raise anything
            raise BenchmarkError(
                f'{self._case.model} on {self._case.engine} cannot be measured: '
                f'{str(error) or repr(error)}'
            ) from error


# --- functions that workers call in their processes ----------------------------------------------


class _Contender:
    """A loaded model together with images for it."""

    def __init__(self, case: Case) -> None:
        if case.engine == 'opencv' and case.threads:
            cv2.setNumThreads(case.threads)
        self.engine = _load_engine(case)
        self.size = size_of_run(self.engine.spec, case.size)
        self.inputs = textured_inputs(self.engine.spec, *self.size[::-1])
        self.output = np.empty(0)
        self.needed_memory = _watch_memory(self.engine)

    def run(self) -> tuple[float, float]:
        """Run once; return the duration and the time of all processors, in ms."""
        wall, cpu = time.perf_counter(), time.process_time()
        self.output = self.engine.run(self.inputs)[self.engine.spec.output]
        return 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)


_contender: _Contender


def _load(case: Case) -> tuple[int, int]:
    global _contender
    sys.stdout = sys.stderr  # what the code of others prints must not mix with the results
    _contender = _Contender(case)
    return _contender.size


def _run() -> tuple[float, float]:
    return _contender.run()


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
        from nndepth_core.benchmark.official import CallableEngine, OfficialEngine

        name, variant = split_model(case.model)
        if ':' in case.checkout:
            del settings['weights'], settings['iterations']
            return CallableEngine(name, variant, case.checkout, **settings)
        return OfficialEngine(name, variant, case.checkout, **settings)
    if case.engine == 'torch':
        settings |= {'compile': case.compile, 'cuda_graph': case.cuda_graph}
    return create_engine(case.model, case.engine, **settings)


def _save_official(path: Path) -> None:
    import torch

    from nndepth_core.benchmark.official import OfficialEngine

    torch.save(cast(OfficialEngine, _contender.engine).network.state_dict(), path)


def _export(case: Case, path: Path) -> dict[str, Any]:
    """Export a network and return its figures; see `Measurement`."""
    from nndepth_core.engines.torch import load_network
    from nndepth_core.export.onnx import export_onnx

    network = load_network(*split_model(case.model), case.weights)
    size = size_of_run(network.spec, case.size)[::-1] if network.one_size_graph else None
    report = export_onnx(
        network, path, size=size, iterations=case.iterations, precision=case.precision
    )
    return {
        'parameters_m': round(sum(x.numel() for x in network.parameters()) / 1e6, 2),
        'nodes': report.nodes,
        'export_difference': max(check.largest for check in report.checks),
    }


def _watch_memory(engine: Engine) -> Callable[[], int | None]:
    """Begin to watch the peak of memory; the result tells by how many bytes it has risen since."""
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

    with suppress(AttributeError):  # free memory that loading has left would hide what a run needs
        ctypes.CDLL(None).malloc_trim(0)
    Path('/proc/self/clear_refs').write_text('5')  # resets the peak, which loading has raised
    loaded = resident('VmRSS')
    return lambda: resident('VmHWM') - loaded
