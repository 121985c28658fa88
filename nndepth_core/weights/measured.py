"""Latency and memory of models: what was measured (measured.yaml). Needs no torch.

`scripts/benchmark.py record` writes the file.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from nndepth_core.files.values import choice, integer, number, text
from nndepth_core.files.writing import write_at_once

FILE = Path(__file__).with_name('measured.yaml')
_HEAD = """\
# Measured latency and memory, written by `scripts/benchmark.py record`; do not edit by hand.
#   model        network and variant, under random weights at its default iterations
#   mode         eager; graph (CUDA graph) or compiled, by torch
#   size         width x height of the images, which some models want resized
#   threads      on the CPU
#   latency_ms   the median, from images to maps in main memory
#   memory_mib   the peak beyond the loaded model
#   nano_ms      the latency of nano_stereo by torch, which took turns with the model on the CPU
#   parameters_m millions of parameters
#   nodes        of the ONNX graph
#   export_difference  the largest difference of its output from torch
"""
OF_NETWORK = ('parameters_m', 'nodes', 'export_difference')
"""The figures that are of the network and its export, and not of a run."""

Device = Literal['cpu', 'gpu']


@dataclass(frozen=True)
class Measured:
    """One measurement; the fields are those of the YAML."""

    model: str
    device: Device
    engine: str
    precision: str
    mode: str
    size: str
    threads: int
    latency_ms: float
    memory_mib: float | None
    machine: str
    runtime: str
    date: str
    nano_ms: float | None = None
    parameters_m: float | None = None
    nodes: int | None = None
    export_difference: float | None = None

    def __post_init__(self) -> None:
        for name in ('model', 'engine', 'precision', 'mode', 'size', 'machine', 'runtime', 'date'):
            text(name, getattr(self, name))
        choice('device', self.device, get_args(Device))
        integer('threads', self.threads, 0, 4096)
        number('latency_ms', self.latency_ms, 0, 1e7)
        for name in ('memory_mib', 'nano_ms', *OF_NETWORK):
            if getattr(self, name) is not None:
                number(name, getattr(self, name), 0, 1e7)

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Measured:
        """Make a measurement of what JSON or YAML holds.

        Raises:
            ValueError: a field is missing, unknown or wrong.
        """
        try:
            return cls(**fields)
        except TypeError as error:
            raise ValueError(f'a measurement is not whole: {error}') from error

    @classmethod
    def of_report(cls, path: Path) -> list[Measured]:
        """Read the measurements of a report, JSON of `scripts/benchmark.py` or `check_gpu.py`.

        Raises:
            ValueError: the file is no such report.
        """
        try:
            return [cls.of(row) for row in json.loads(path.read_text('utf-8'))['measurements']]
        except (ValueError, LookupError, TypeError) as error:
            raise ValueError(f'{path} holds no measurements: {error}') from error

    @property
    def case(self) -> tuple[object, ...]:
        """What was measured and where; a newer measurement of the same takes its place."""
        kept = ('model', 'device', 'engine', 'precision', 'mode', 'size', 'threads', 'machine')
        return tuple(getattr(self, name) for name in kept)


@cache
def measured() -> tuple[Measured, ...]:
    """All measurements."""
    return read_measured(FILE)


def read_measured(path: Path) -> tuple[Measured, ...]:
    """Read a file that `write_measured` wrote."""
    rows = yaml.safe_load(path.read_text('utf-8')) or []
    return tuple(Measured.of(row) for row in rows)


def write_measured(path: Path, new: Iterable[Measured]) -> int:
    """Add measurements to a file, in place of older ones of the same case.

    Returns:
        The number of measurements that the file holds then.
    """
    old = read_measured(path) if path.exists() else ()
    rows = {row.case: row for row in (*old, *new)}
    ordered = sorted(rows.values(), key=lambda row: tuple(map(str, row.case)))
    lines = [f'- {_line(row)}\n' for row in ordered]
    write_at_once(path, _HEAD + ''.join(lines))
    return len(rows)


def _line(row: Measured) -> str:
    """The fields on one line, without those of the network where they are unknown."""
    told = {k: v for k, v in asdict(row).items() if v is not None or k not in OF_NETWORK}
    # JSON of a flat mapping is YAML too, but for numbers like 1e-05, which need a point there
    return re.sub(r'(: \d+)(e-\d+[,}])', r'\1.0\2', json.dumps(told, ensure_ascii=False))


def today() -> str:
    """The date, as measurements hold it."""
    return datetime.date.today().isoformat()
