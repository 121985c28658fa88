#!/usr/bin/env python3
"""Find out within minutes what a GPU makes of the networks, the most important things first.

Are results equal to the goldens, what do fp16 and bf16 change, how long does a run take and how
much memory does it need: eager, as a CUDA graph and compiled, for the authors' code too; how fast
is training. The JSON is written anew after each step, so that it holds all that is known if the
script is ended. The measurements can be kept by `scripts/benchmark.py record`.

It runs from a checkout and needs torch, numpy, OpenCV and PyYAML.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / 'tests' / 'core'
sys.path[:0] = [str(ROOT), str(TESTS)]

from nndepth_core.benchmark.plan import Outcome, Step, run_plan  # noqa: E402
from nndepth_core.cli.table import table  # noqa: E402
from nndepth_core.engines import DEFAULT_NETWORK, EngineError, split_model  # noqa: E402
from nndepth_core.files.values import number  # noqa: E402
from nndepth_core.files.writing import write_at_once  # noqa: E402
from nndepth_core.weights.catalogue import catalogue  # noqa: E402
from nndepth_core.weights.measured import today  # noqa: E402

SIZES = ((640, 480), (960, 576), (1280, 720))
TRAINING_SIZE = (640, 320)
TRAINING = {'batch': 4, 'precision': 'bf16'}
DRY_SIZES, DRY_TRAINING_SIZE = ((96, 64),), (96, 64)
DRY_NETWORKS = (f'{DEFAULT_NETWORK}-base', 'light_stereo-s')
WAYS = (('graph', 'fp16'), ('eager', 'fp16'), ('eager', 'fp32'))
_LARGEST_OFF_CPU = 0.01
"""The difference from the CPU that is allowed where there is no golden, in pixels or metres."""


def main() -> int:
    """Parse, run, print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add('--networks', metavar='NAME,...', help='such as light_stereo-m or raft_stereo; all')
    add('--minutes', type=float, default=9.0, help='the time for everything; %(default)s')
    add('--out', type=Path, default=Path('check_gpu.json'), help='%(default)s')
    add(
        '--official',
        action='append',
        default=[],
        metavar='NAME=PATH[:MODULE:CALLABLE]',
        help="checkout of the authors' code of a network; the callable makes their network, and "
        'need not be given where scripts/benchmark.py models --against knows it',
    )
    add('--dry', action='store_true', help='try the script: small sizes, on the CPU')
    args = parser.parse_args()
    try:
        number('minutes', args.minutes, 0.1, 10_000)
        if not args.out.absolute().parent.is_dir():
            raise ValueError(f'--out {args.out}: there is no folder {args.out.parent}')
        steps = plan(args)
    except (ValueError, EngineError) as error:
        print(error, file=sys.stderr)
        return 2
    if args.dry:
        os.environ['TORCHDYNAMO_DISABLE'] = '1'  # generating code takes a minute a network
    elif not _has_gpu():
        print('torch finds no GPU here; --dry tries the script on the CPU', file=sys.stderr)
        return 2
    report: dict[str, Any] = {'begun': today(), 'dry': args.dry}
    report |= {'machine': {}, 'steps': [], 'measurements': []}

    def keep(outcome: Outcome) -> None:
        record = outcome.record()
        if record['kind'] == 'machine':
            report['machine'] = record
        else:
            report['steps'].append(record)
        if record['kind'] == 'latency' and record['state'] == 'done' and not args.dry:
            report['measurements'].append(_measurement(record, report['machine']))
        write_at_once(args.out, json.dumps(report, indent=1))
        print(f'[{len(report["steps"])}/{len(steps) - 1}]', _line(record), file=sys.stderr)

    run_plan(steps, 60 * args.minutes, keep)
    print(format_report(report['steps']))
    wrong = [x for x in report['steps'] if x['state'] == 'failed' or not x.get('equal', True)]
    return int(bool(wrong))


def plan(args: argparse.Namespace) -> list[Step]:
    """List all steps, the most important ones first.

    Raises:
        ValueError, EngineError: a network is unknown, or an option is not written as it must be.
    """
    every = _variants(args)
    first = [name for name in every if name == _first_variant(name)] or every
    others = [name for name in every if name not in first]
    official = [_official(text) for text in args.official]
    make = _Steps(args.dry)
    compiled = [make.timing('compiled', make.precision, model, make.sizes[0]) for model in first]
    larger = [
        make.timing('compiled', make.precision, model, size)
        for size in make.sizes[1:]
        for model in first
    ]
    return [
        Step({'kind': 'machine'}, _describe),
        *(make.check('golden', golden, model) for model in every),
        *make.timings(first[:1], make.sizes[:1]),
        *(make.check('precision', precisions, model) for model in first),
        *make.timings(first[1:], make.sizes[:1]),
        *(step for model, place in official for step in make.official(model, place)),
        *make.timings(first, make.sizes[1:]),
        *(make.training(model) for model in first),
        *compiled,
        *make.timings(others, make.sizes),
        *(make.check('precision', precisions, model) for model in others),
        *larger,
    ]


class _Steps:
    """Makes the steps, for a GPU or for the dry run on the CPU."""

    def __init__(self, dry: bool) -> None:
        self.dry = dry
        self.device = 'cpu' if dry else 'cuda'
        self.precision = 'fp32' if dry else 'fp16'
        self.sizes = DRY_SIZES if dry else SIZES

    def check(self, kind: str, call: Callable[..., dict[str, Any]], model: str) -> Step:
        arguments = {'model': model, 'device': self.device, 'size': self.sizes[0]}
        return Step({'kind': kind, 'model': model}, call, arguments, 30.0)

    def timing(
        self, mode: str, precision: str, model: str, size: tuple[int, int], checkout: str = ''
    ) -> Step:
        kind = 'official' if checkout else 'latency'
        labels = {'kind': kind, 'model': model, 'size': '{}x{}'.format(*size)}
        case = {'mode': mode, 'precision': precision}
        arguments = {'model': model, 'size': size, 'device': self.device, 'checkout': checkout}
        effort = {'runs': 3, 'seconds': 0.5} if self.dry else {'runs': 50, 'seconds': 4.0}
        budget = 120.0 if mode == 'compiled' else 20.0
        return Step({**labels, **case}, _latency, {**arguments, **case, **effort}, budget)

    def timings(self, models: list[str], sizes: Sequence[tuple[int, int]]) -> list[Step]:
        return [
            self.timing(mode, precision, model, size)
            for size in sizes
            for model in models
            for mode, precision in WAYS
        ]

    def official(self, model: str, place: str) -> list[Step]:
        return [
            self.timing('eager', precision, model, size, place)
            for precision in dict.fromkeys((self.precision, 'fp32'))
            for size in self.sizes
        ]

    def training(self, model: str) -> Step:
        name, variant = split_model(model)
        size = DRY_TRAINING_SIZE if self.dry else TRAINING_SIZE
        labels = {'kind': 'training', 'model': model, 'size': '{}x{}'.format(*size)}
        case = {'batch': 1, 'precision': 'fp32'} if self.dry else TRAINING
        arguments = {'name': name, 'variant': variant, 'device': self.device, 'size': size}
        arguments |= {'seconds': 0.2 if self.dry else 5.0}
        return Step({**labels, **case}, _training_rate, {**arguments, **case}, 30.0)


def _variants(args: argparse.Namespace) -> list[str]:
    """The networks with their variants, the default model first."""
    if args.networks:
        return ['-'.join(split_model(name)) for name in args.networks.split(',')]
    if args.dry:
        return list(DRY_NETWORKS)
    names = [f'{key}-{variant}' for key, net in catalogue().items() for variant in net.variants]
    return sorted(names, key=lambda name: not name.startswith(DEFAULT_NETWORK))


def _first_variant(model: str) -> str:
    return '-'.join(split_model(split_model(model)[0]))


def _official(text: str) -> tuple[str, str]:
    name, _, place = text.partition('=')
    if not place:
        raise ValueError(f'--official {text}: write NAME=PATH, or NAME=PATH:MODULE:CALLABLE')
    if not Path(place.partition(':')[0]).is_dir():
        raise ValueError(f'--official {text}: there is no folder {place.partition(":")[0]}')
    return '-'.join(split_model(name)), place


# --- steps, which run in a process of their own -------------------------------------------------


def _describe() -> dict[str, Any]:
    from nndepth_core.benchmark.gpu import describe_gpu

    return describe_gpu()


def _latency(**arguments: Any) -> dict[str, Any]:
    from nndepth_core.benchmark.gpu import latency

    return latency(**arguments)


def _training_rate(**arguments: Any) -> dict[str, Any]:
    from nndepth_core.benchmark.gpu import training_rate
    from nndepth_core.benchmark.plan import UnavailableError

    if catalogue()[arguments['name']].task != 'stereo':
        raise UnavailableError('the library trains networks for pairs only')
    return training_rate(**arguments)


def golden(model: str, device: str, size: tuple[int, int]) -> dict[str, Any]:
    """Compare with the golden in fp32, or with the CPU where there is none."""
    import numpy as np
    import torch
    from fill import load_golden
    from probe import run_golden

    from nndepth_core.benchmark.gpu import allow_tf32
    from nndepth_core.engines.reference import textured_inputs
    from nndepth_core.engines.torch import ModuleEngine

    allow_tf32(False)
    network, weights = _network(model)
    network.to(device)
    if weights == 'golden':
        facts, arrays = load_golden(model.replace('-', '_'))
        with torch.inference_mode():
            found = run_golden(network, facts, arrays, device).cpu().numpy()
        expected, allowed = arrays['output'], facts['tolerance']
    else:
        inputs = textured_inputs(network.spec, *network.spec.padded_size(96, 160))
        found = ModuleEngine(network, network.spec, device).run(inputs)[network.spec.output]
        network.to('cpu')
        expected = ModuleEngine(network, network.spec).run(inputs)[network.spec.output]
        weights, allowed = f'{weights}, against the CPU', _LARGEST_OFF_CPU
    off = np.abs(found - expected)
    figures = {'largest': float(off.max()), 'mean': float(off.mean()), 'allowed': allowed}
    equal = bool(off.max() <= allowed)
    return {**figures, 'equal': equal, 'weights': weights}


def precisions(model: str, device: str, size: tuple[int, int]) -> dict[str, Any]:
    """Compare TF32, fp16 and bf16 with fp32."""
    from nndepth_core.benchmark.gpu import compare_precisions

    network, weights = _network(model)
    size = network.spec.padded_size(*size[::-1])[::-1]
    return {
        'weights': weights,
        **compare_precisions(*split_model(model), network, device, size),
    }


def _network(model: str) -> tuple[Any, str]:
    """A network and the origin of its weights: of the package, those of its golden, or random."""
    from fill import GOLDEN, load_golden
    from probe import official_state

    from nndepth_core.engines.torch import load_network
    from nndepth_core.weights import load_official, stored_weights
    from nndepth_core.weights.description import RANDOM

    name, variant = split_model(model)
    network = load_network(name, variant, RANDOM)
    if (GOLDEN / f'{name}_{variant}.npz').is_file():
        facts, arrays = load_golden(f'{name}_{variant}')
        if 'output' in arrays and facts.get('entries'):
            load_official(network, official_state(facts))
            return network, 'golden'
    if name == DEFAULT_NETWORK and find_spec('safetensors'):
        return load_network(name, variant, stored_weights(name)), 'default'
    return network, RANDOM


# --- results -----------------------------------------------------------------------------------


def _measurement(record: dict[str, Any], machine: dict[str, Any]) -> dict[str, Any]:
    """A latency as `scripts/benchmark.py record` takes it."""
    return {
        'model': record['model'],
        'device': 'gpu',
        'engine': 'torch',
        'precision': record['precision'],
        'mode': record['mode'],
        'size': record['size'],
        'threads': 0,
        'latency_ms': record['p50_ms'],
        'memory_mib': record['memory_mib'],
        'machine': machine.get('gpu', 'unknown'),
        'runtime': f'torch {machine.get("torch")}',
        'date': today(),
    }


def format_report(records: list[dict[str, Any]]) -> str:
    """Lay out the figures as a table for each kind of step, then name what is missing and why."""
    parts = []
    for kind in dict.fromkeys(record['kind'] for record in records):
        done = [x for x in records if x['kind'] == kind and x['state'] == 'done']
        hidden = {'kind', 'state', 'seconds'}
        columns = [
            name for name in dict.fromkeys(k for x in done for k in x) if name not in hidden
        ]
        rows = [[_cell(record.get(name)) for name in columns] for record in done]
        if done:
            parts.append(f'{kind}\n{table([columns, *rows])}')
    missing = [record for record in records if record['state'] != 'done']
    parts += ['\n'.join(_line(record) for record in missing)] if missing else []
    return '\n\n'.join(parts)


def _line(record: dict[str, Any]) -> str:
    keys = ('kind', 'model', 'size', 'mode', 'precision')
    words = [str(record[key]) for key in keys if key in record]
    reason = f': {record["reason"]}' if 'reason' in record else ''
    return f'{" ".join(words)} {record["state"]} after {record["seconds"]:.1f} s{reason}'


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f'{value:.1f}' if abs(value) >= 10 else f'{value:.3g}'
    return '-' if value is None else str(value)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


if __name__ == '__main__':
    sys.exit(main())
