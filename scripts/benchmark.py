#!/usr/bin/env python3
"""Measure speed: `models`, `survey`, `record`, `node`, `rigs`, `hop`, `filters`, `fleet`, ...

`survey` measures every network within limits of time and memory and can be ended and continued;
`record` keeps what it, or scripts/check_gpu.py, found for `nndepth models` and docs/models.md. Run
`node`, `rigs` and `hop` in a terminal where the built workspace is sourced (`. scripts/env.sh`);
the others need nothing but the library.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np
from tqdm import tqdm

from nndepth_core.benchmark.measure import (
    OFFICIAL,
    BenchmarkError,
    Case,
    describe_machine,
    engines_of,
    format_table,
    measure,
)
from nndepth_core.benchmark.rendering import rendering_rate
from nndepth_core.benchmark.survey import Limits, all_models, cases_of, survey
from nndepth_core.cli.options import image_size
from nndepth_core.cli.table import table
from nndepth_core.data.synthetic import render_sequence
from nndepth_core.engines import AUTO, DEVICES, MODELS, PRECISIONS
from nndepth_core.engines.memory import available_memory
from nndepth_core.estimator import StereoEstimator
from nndepth_core.spec import Task
from nndepth_core.weights.measured import FILE as MEASURED
from nndepth_core.weights.measured import Measured, write_measured

NODE_OUTPUTS = {
    'depth': ['disparity', 'depth/image', 'depth/camera_info'],
    'cloud': ['disparity', 'depth/image', 'depth/camera_info', 'points2', 'disparity/image_color'],
}


def main() -> int:
    """Parse, run, print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    models = commands.add_parser('models', help='latency and memory of models, one by one')
    models.set_defaults(run=_models)
    _declare_models(models.add_argument)
    _declare_survey(commands.add_parser('survey', help='every network, for the list of models'))
    record = commands.add_parser('record', help='keep figures for the list of models')
    record.set_defaults(run=_record)
    record.add_argument('report', type=Path, nargs='+', help='JSON of survey or check_gpu.py')
    node = commands.add_parser('node', help='milliseconds of each stage of stereo_node')
    node.set_defaults(run=_node)
    node.add_argument('--size', type=image_size, default=(1280, 720), metavar='WxH')
    node.add_argument('--frames', type=int, default=50)
    node.add_argument('--outputs', choices=NODE_OUTPUTS, nargs='*', default=list(NODE_OUTPUTS))
    node.add_argument('-p', '--parameter', action='append', default=[], metavar='NAME:=VALUE')
    node.add_argument('--json', action='store_true', help='print the figures as JSON only')
    _declare_rigs(commands.add_parser('rigs', help='rigs in one process against one for each'))
    hop = commands.add_parser('hop', help='what it costs to bring images to the node')
    hop.set_defaults(run=_hop)
    hop.add_argument('--size', type=image_size, default=(1280, 720), metavar='WxH')
    hop.add_argument('--frames', type=int, default=150)
    hop.add_argument('--rate', type=float, default=15.0, metavar='HZ')
    hop.add_argument('--json', action='store_true', help='print the figures as JSON only')
    filters = commands.add_parser('filters', help='cost of filters, and what they do to the demo')
    filters.set_defaults(run=_filters)
    filters.add_argument(
        '--models', type=_list, default=['nano_stereo', 'sgbm'], metavar='NAME,...'
    )
    filters.add_argument('--size', type=image_size, default=(1280, 720), metavar='WxH')
    filters.add_argument('--frames', type=int, default=40)
    filters.add_argument('--json', action='store_true', help='print the figures as JSON only')
    fleet = commands.add_parser('fleet', help='many bags, and one in pieces, on 1, 2 ... cores')
    fleet.set_defaults(run=_fleet)
    fleet.add_argument(
        '--cores', type=_counts, default=[1, 2], metavar='N,...', help='default: 1,2'
    )
    fleet.add_argument('--bags', type=int, default=4, metavar='N', help='default: %(default)s')
    fleet.add_argument('--frames', type=int, default=40, metavar='N', help='of each; %(default)s')
    fleet.add_argument('--model', default='nano_stereo', help='default: %(default)s')
    fleet.add_argument('--json', action='store_true', help='print the figures as JSON only')
    renderer = commands.add_parser('renderer', help='training pairs rendered a second')
    renderer.set_defaults(run=_renderer)
    renderer.add_argument('--size', type=image_size, default=(512, 320), metavar='WxH')
    renderer.add_argument('--pairs', type=int, default=200)
    renderer.add_argument('--processes', type=int, default=os.cpu_count(), metavar='N')
    renderer.add_argument('--json', action='store_true', help='print the figures as JSON only')
    arguments = parser.parse_args()
    return arguments.run(arguments)


def _declare_models(add: Callable[..., object]) -> None:
    add('--models', type=_list, metavar='NAME,...', help='see nndepth models; default: all')
    add('--engines', type=_list, metavar='NAME,...', help='default: all that are installed')
    add('--sizes', type=_sizes, default=[(640, 320)], metavar='WxH,...', help='default: 640x320')
    add('--iterations', type=int, default=0, metavar='N', help="default: each network's own")
    add('--device', choices=DEVICES, default='cpu', help='default: %(default)s')
    add('--precision', choices=PRECISIONS[1:], default='fp32', help='default: %(default)s')
    add('--compile', action='store_true', help='engine torch: generate code')
    add('--cuda-graph', action='store_true', help='engine torch: record once, replay')
    add('--threads', type=int, default=0, metavar='N', help='default: one a physical core')
    add('--weights', default='random', metavar='FILE', help='default: random numbers')
    add('--against', metavar='PATH', help="checkout of the authors' code of the one model named")
    add('--runs', type=int, default=10, metavar='N', help='of each; default: %(default)s')
    add('--json', action='store_true', help='print the figures as JSON only')


def _declare_survey(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_survey)
    add = parser.add_argument
    add('--out', type=Path, default=Path('survey.json'), metavar='FILE', help='%(default)s')
    add('--models', type=_list, metavar='NAME,...', help='as nano_stereo-base; default: all')
    add('--task', choices=get_args(Task), help='of these models only; default: all')
    add('--engines', type=_list, default=[], metavar='NAME,...', help='default: all installed')
    sizes = [(640, 480), (1280, 720)]
    add('--sizes', type=_sizes, default=sizes, metavar='WxH,...', help='640x480,1280x720')
    add('--threads', type=int, default=0, metavar='N', help='default: one a physical core')
    add('--runs', type=int, default=10, metavar='N', help='at most; default: %(default)s')
    add('--run-seconds', type=float, default=60, metavar='S', help='for runs; %(default)s')
    add('--seconds', type=float, default=1200, metavar='S', help='for one case; %(default)s')
    add('--memory', type=float, default=0, metavar='MIB', help='default: 0.8 of what is free')
    add('--retry', action='store_true', help='try again what could not be measured')


def _declare_rigs(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_rigs)
    add = parser.add_argument
    add('--rigs', type=int, default=4, metavar='N', help='default: %(default)s')
    add('--size', type=image_size, default=(640, 480), metavar='WxH', help='640x480')
    add('--rate', type=float, default=10, metavar='HZ', help='of each camera; %(default)s')
    add('--seconds', type=float, default=20, metavar='S', help='of each round; %(default)s')
    add('--rounds', type=int, default=3, metavar='N', help='alternating; %(default)s')
    add('--outputs', type=_list, default=['disparity', 'depth/image'], metavar='TOPIC,...')
    add('-p', '--parameter', action='append', default=[], metavar='NAME:=VALUE')
    add('--json', action='store_true', help='print the figures as JSON only')


def _survey(arguments: argparse.Namespace) -> int:
    memory = arguments.memory or 0.8 * (available_memory() or 2**40) / 2**20
    limits = Limits(arguments.runs, arguments.run_seconds, arguments.seconds, memory)
    models = arguments.models or all_models(arguments.task)
    cases = cases_of(models, arguments.sizes, arguments.engines, arguments.threads)
    with tqdm(total=len(cases), desc='survey') as bar:

        def progress(case: Case, reason: str) -> None:
            if reason:
                bar.write(f'{case.model} {case.engine} {case.size}: {reason}', file=sys.stderr)
            bar.update()

        report = survey(cases, arguments.out, limits, arguments.retry, progress)
    found, missing = len(report['measurements']), len(report['skipped'])
    print(f'{arguments.out}: {found} measured, {missing} skipped')
    return int(missing > 0)


def _record(arguments: argparse.Namespace) -> int:
    try:
        rows = [row for path in arguments.report for row in Measured.of_report(path)]
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f'{MEASURED} holds {write_measured(MEASURED, rows)} measurements')
    return 0


def _models(arguments: argparse.Namespace) -> int:
    models = arguments.models or [name for name in MODELS if name != AUTO]
    if arguments.against and len(models) != 1:
        print('--against compares one model; name it by --models', file=sys.stderr)
        return 2
    machine, figures, failed = describe_machine(), [], False
    for model, size in product(models, arguments.sizes):
        try:
            results = measure(_cases(model, size, arguments), arguments.runs)
        except BenchmarkError as error:
            print(error, file=sys.stderr)
            failed = True
            continue
        base = results[0] if arguments.against else None
        figures += [result.figures(base) for result in results]
    if not figures and not failed:
        print(f'no engine that was named runs {", ".join(models)}', file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps({'machine': machine, 'measurements': figures}, indent=2))
    elif figures:
        print(', '.join(f'{name} {value}' for name, value in machine.items()))
        print(format_table(figures))
    return int(failed)


def _cases(model: str, size: tuple[int, int], arguments: argparse.Namespace) -> list[Case]:
    """A model and size on every engine that has it and is wanted, the authors' code first."""
    engines = [x for x in engines_of(model) if x in (arguments.engines or engines_of(model))]
    if arguments.against:
        engines.insert(0, OFFICIAL)
    names = ('device', 'precision', 'iterations', 'threads', 'weights', 'compile', 'cuda_graph')
    settings = {name: getattr(arguments, name) for name in names}
    return [
        Case(model, engine, size, checkout=arguments.against or '', **settings)
        for engine in engines
    ]


def _node(arguments: argparse.Namespace) -> int:
    from nndepth_ros.node_benchmark import measure_node

    report = {}
    for name in arguments.outputs:
        stages = measure_node(
            arguments.size, NODE_OUTPUTS[name], arguments.frames, arguments.parameter
        )
        report[name] = {
            stage: [round(float(np.percentile(ms, p)), 2) for p in (50, 95)]
            for stage, ms in stages.items()
        }
    if arguments.json:
        print(json.dumps(report, indent=2))
        return 0
    for name, stages in report.items():
        print(f'{", ".join(NODE_OUTPUTS[name])} at {"x".join(map(str, arguments.size))}')
        for stage, (p50, p95) in stages.items():
            print(f'  {stage:12} p50 {p50:8.2f} ms   p95 {p95:8.2f} ms')
        ratio = stages['outside'][0] / stages['copy'][0]
        print(f'  outside is {ratio:.1f} times a copy of the bytes of all outputs')
    return 0


def _hop(arguments: argparse.Namespace) -> int:
    from nndepth_ros.hop_benchmark import as_json, measure_hops, report

    found = measure_hops(arguments.size, arguments.frames, arguments.rate)
    print(json.dumps(as_json(*found), indent=2) if arguments.json else report(*found))
    return 0


def _rigs(arguments: argparse.Namespace) -> int:
    from nndepth_ros.rigs_benchmark import ARRANGEMENTS, Load, measure_rigs

    counts = {name: getattr(arguments, name) for name in ('rigs', 'rounds', 'rate', 'seconds')}
    if wrong := [f'--{name} is {value:g}' for name, value in counts.items() if not value > 0]:
        print(f'{", ".join(wrong)}; give more than 0', file=sys.stderr)
        return 2
    load = Load(
        arguments.rigs,
        arguments.size,
        arguments.rate,
        arguments.seconds,
        tuple(arguments.outputs),
        tuple(arguments.parameter),
    )
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in ARRANGEMENTS}
    for _, name in tqdm(product(range(arguments.rounds), ARRANGEMENTS), 'rigs', leave=False):
        rounds[name].append(measure_rigs(load, name))
    if arguments.json:
        print(json.dumps({'machine': describe_machine(), **rounds}, indent=2))
        return 0
    rows = [
        [name, *(f'{np.median([one[column] for one in found]):.4g}' for column in found[0])]
        for name, found in rounds.items()
    ]
    columns = list(rounds[ARRANGEMENTS[0]][0])
    print(f'{arguments.rigs} rigs, medians of {arguments.rounds} rounds')
    print(table([['', *columns], *rows], right=range(1, len(columns) + 1)))
    return 0


def _filters(arguments: argparse.Namespace) -> int:
    from nndepth_core.benchmark.filters import measure_filters
    from nndepth_ros.allocator import keep_freed_memory
    from nndepth_ros.demo.sequence import RIG, SequenceSettings

    keep_freed_memory()
    demo = SequenceSettings(frames=arguments.frames)
    moving = list(render_sequence(demo.seed, demo.frames, RIG, demo.fps))
    static = list(render_sequence(demo.seed, demo.frames, RIG, math.inf))
    report = {
        model: measure_filters(StereoEstimator.load(model), moving, static, arguments.size)
        for model in arguments.models
    }
    if arguments.json:
        print(json.dumps({'machine': describe_machine(), **report}, indent=2))
        return 0
    for model, tables in report.items():
        for title, rows in tables.items():
            columns = list(next(iter(rows.values())))
            cells = [
                [name, *(f'{row[column]:.3g}' for column in columns)] for name, row in rows.items()
            ]
            print(f'\n{model}: {title}')
            print(table([['', *columns], *cells], right=range(1, len(columns) + 1)))
    return 0


def _fleet(arguments: argparse.Namespace) -> int:
    from nndepth_ros.fleet.benchmark import measure_fleet

    options = ['--model', arguments.model]
    report = measure_fleet(arguments.cores, arguments.bags, arguments.frames, options)
    if arguments.json:
        print(json.dumps({'machine': describe_machine(), **report}, indent=2))
        return 0
    rates = report.pop('pairs_per_second')
    rows = [[name, *(f'{rate:.2f}' for rate in found.values())] for name, found in rates.items()]
    print('pairs a second by the number of cores')
    print(table([['', *map(str, arguments.cores)], *rows], right=range(1, len(rows[0]))))
    print(json.dumps(report, indent=2))
    return 0


def _renderer(arguments: argparse.Namespace) -> int:
    if min(arguments.pairs, arguments.processes) < 1:
        counts = f'{arguments.pairs} and {arguments.processes}'
        print(f'--pairs and --processes are {counts}; give at least 1', file=sys.stderr)
        return 2
    rate = rendering_rate(arguments.size, arguments.pairs, arguments.processes)
    if arguments.json:
        print(json.dumps({'machine': describe_machine(), 'pairs_per_second': rate}, indent=2))
    else:
        size = 'x'.join(map(str, arguments.size))
        print(f'{rate:.1f} pairs of {size} a second by {arguments.processes} processes')
    return 0


def _list(text: str) -> list[str]:
    return text.split(',')


def _counts(text: str) -> list[int]:
    return [int(part) for part in text.split(',')]


def _sizes(text: str) -> list[tuple[int, int]]:
    return [image_size(part) for part in text.split(',')]


if __name__ == '__main__':
    sys.exit(main())
