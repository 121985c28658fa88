"""`nndepth evaluate`: how good and how fast models are on a data set."""

from __future__ import annotations

import argparse
import os
import pickle
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import get_args

from nndepth_core import calibration
from nndepth_core.calibration import Calibration
from nndepth_core.cli import (
    command_parser,
    datasets,
    explain,
    model_list,
    model_options,
    options,
    wording,
    workers,
)
from nndepth_core.cli.table import table
from nndepth_core.evaluation import tables
from nndepth_core.evaluation.evaluate import Evaluation, evaluate
from nndepth_core.evaluation.measures import Measures
from nndepth_core.evaluation.mono import MonoMeasures
from nndepth_core.evaluation.mono_metrics import DEPTH_RANGE, Alignment
from nndepth_core.evaluation.names import (
    MONO_DEFAULT,
    MONO_TITLES,
    STEREO_DEFAULT,
    STEREO_TITLES,
    metric_key,
)
from nndepth_core.evaluation.parallel import Subjects, evaluate_by
from nndepth_core.evaluation.regions import ALL, EDGE_BANDS, REGIONS
from nndepth_core.evaluation.report import Gallery, report_html
from nndepth_core.evaluation.stereo import CONFIDENCE_METRICS, StereoMeasures
from nndepth_core.files.writing import check_writable, write_at_once


def main(arguments: Sequence[str]) -> int:
    """Evaluate the models; return 1 if samples had to be skipped."""
    settings, rest = datasets.split_settings(arguments)
    args = _parser().parse_intermixed_args(rest)
    with wording.naming_flags(args):
        return _evaluate(args, settings)


def _evaluate(args: argparse.Namespace, settings: Sequence[str]) -> int:
    check_outputs(args, args.csv, args.report)
    pictures = args.pictures if args.report else 0
    pool = workers.pool_of(args)
    if pool is not None:
        with closing(pool):
            job = pickle.dumps((args, tuple(settings), os.getcwd()))
            evaluation, gallery = evaluate_by(
                *(pool, subjects_of, job),
                limit=args.limit,
                strict=args.strict,
                pictures=pictures,
            )
    else:
        models, dataset, measures = _subjects(args, settings)
        gallery = Gallery(list(models), measures, pictures) if pictures else None
        evaluation = evaluate(
            models,
            dataset,
            measures,
            limit=args.limit,
            strict=args.strict,
            progress=True,
            observe=gallery,
        )
    name_flags(evaluation, args)
    measures = evaluation.measures
    rows = tables.summary(
        evaluation, args.metrics or measures.columns, args.regions or measures.regions
    )
    texts = {}
    if args.csv:
        texts[args.csv] = tables.csv_text(evaluation)
    if args.report:
        texts[args.report] = report_html(evaluation, rows, gallery)
    show(evaluation, args.json, rows, texts)
    return int(bool(evaluation.skipped))


def name_flags(evaluation: Evaluation, args: argparse.Namespace) -> None:
    """Let what was found and why samples were skipped name options; see `wording.as_flags`."""
    evaluation.findings = [
        (where, replace(finding, text=wording.as_flags(finding.text, args)))
        for where, finding in evaluation.findings
    ]
    for name, why in evaluation.skipped.items():
        evaluation.skipped[name] = wording.as_flags(why, args)


def _subjects(args: argparse.Namespace, settings: Sequence[str]) -> Subjects:
    models = model_list.load_estimators(args.models, args)
    task = model_list.task_of(models)
    measures = _stereo_measures(args) if task == 'stereo' else _mono_measures(args)
    return Subjects(models, datasets.load_dataset(args.data, settings, task), measures)


@lru_cache(maxsize=1)
def subjects_of(job: bytes) -> Subjects:
    """Make what is evaluated, in a worker, of the arguments that the command has pickled."""
    args, settings, folder = pickle.loads(job)
    workers.in_worker(args, folder)
    with wording.naming_flags(args):
        return _subjects(args, settings)


def _stereo_measures(args: argparse.Namespace) -> Measures:
    if args.alignment or args.depth_range or args.calibration:
        raise ValueError(
            '--alignment, --depth-range and --calibration are for models of single images'
        )
    _check_known('metric', args.metrics, STEREO_TITLES)
    return StereoMeasures(
        confidence=bool({*args.metrics} & {*CONFIDENCE_METRICS}),
        bands=bool({*args.regions} & {*EDGE_BANDS}),
    )


def _mono_measures(args: argparse.Namespace) -> Measures:
    _check_known('metric', args.metrics, MONO_TITLES)
    _check_known('region', args.regions, MonoMeasures.regions)
    return MonoMeasures(
        args.alignment, args.depth_range or DEPTH_RANGE, calibration=single_calibration(args)
    )


def single_calibration(args: argparse.Namespace) -> Calibration | None:
    """Read what `--calibration` of single images names."""
    return calibration.parse_single(args.calibration) if args.calibration else None


def _check_known(kind: str, names: Sequence[str], known: Collection[str]) -> None:
    """Refuse what is measured of models of the other task only."""
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f'these models have no {kind} {unknown[0]}; choose of {", ".join(known)}')


def check_outputs(args: argparse.Namespace, *others: Path | None) -> None:
    """Refuse outputs that could not be written, before hours are spent on them."""
    paths = (Path(args.json) if args.json not in ('', '-') else None, *others)
    check_writable(*(path for path in paths if path))


def show(
    evaluation: Evaluation,
    json: str,
    rows: Sequence[Sequence[str]],
    files: Mapping[Path, str] = MappingProxyType({}),
    **more: object,
) -> None:
    """Print the table and what was skipped; write JSON to a file, or '-' in place of the table.

    Args:
        evaluation: what was found.
        json: the name of the JSON file, '-' for standard output, '' for none.
        rows: the table, its headings first.
        files: the path of each further file -> its text.
        more: further entries of the JSON.

    Raises:
        OSError: a file could not be written; everything else was.
    """
    text = tables.json_text(evaluation, **more) if json else ''
    print(text if json == '-' else table(rows, right=range(2, len(rows[0]))))
    if json != '-' and (remark := tables.about_times(evaluation)):
        print(remark)
    for where, finding in evaluation.findings:
        print(f'nndepth: warning: {where}: {finding.text}', file=sys.stderr)
    for name, why in evaluation.skipped.items():
        print(f'nndepth: skipped {name}: {why}', file=sys.stderr)
    if evaluation.skipped:
        count = len(evaluation.skipped)
        total = count + len(evaluation.models[0].samples)
        print(f'nndepth: {count} of {total} samples skipped', file=sys.stderr)
    _write({**({} if json in ('', '-') else {Path(json): text + '\n'}), **files})


def _write(texts: Mapping[Path, str]) -> None:
    problems = []
    for path, text in texts.items():
        try:
            write_at_once(path, text)
        except OSError as error:
            problems.append(explain(error))
    if problems:
        raise OSError('; '.join(problems))


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that evaluating and comparing share."""
    add = parser.add_argument
    add(
        '--limit',
        type=options.count,
        default=0,
        metavar='N',
        help='how many samples are used at most, spread evenly over all; default: every sample',
    )
    add('--strict', action='store_true', help='stop at the first sample that cannot be used')
    add(
        '--json',
        default='',
        metavar='FILE',
        help='write all figures as JSON; - prints them instead of the table',
    )


def _parser() -> argparse.ArgumentParser:
    parser = command_parser('evaluate')
    add = parser.add_argument
    add('models', nargs='+', metavar='MODEL', help=model_list.HELP)
    add('--data', required=True, metavar='DATA', help=datasets.HELP)
    add(
        '--metrics',
        type=_metrics,
        default=(),
        metavar='NAME,...',
        help=f'the columns of the table, out of {", ".join(STEREO_TITLES)}, kitti-d1; '
        f'{", ".join(CONFIDENCE_METRICS)} judge the confidence; '
        f'default: {",".join(STEREO_DEFAULT)}; models of single images have '
        f'{", ".join(MONO_TITLES)}, and the default is {",".join(MONO_DEFAULT)}',
    )
    add(
        '--regions',
        type=_regions,
        default=(),
        metavar='NAME,...',
        help=f'the rows of the table, out of {", ".join((*REGIONS, *EDGE_BANDS))}; those with a '
        'number lie at most so many pixels from depth edges that run along rows or columns; '
        f'default: {",".join(REGIONS)}; models of single images have {ALL} alone',
    )
    add(
        '--alignment',
        choices=get_args(Alignment),
        help='how a depth map of a single image is brought to the truth before it is measured; '
        'default: scale_shift, in inverse depth for a model that gives that, and none for one '
        'that gives metres',
    )
    add(
        '--depth-range',
        type=_depth_range,
        metavar='NEAR,FAR',
        help='the true depths in metres that count for models of single images; default: '
        f'{DEPTH_RANGE[0]:g},{DEPTH_RANGE[1]:g}, while NYUv2 is usually measured up to 10',
    )
    options.add_single_calibration(parser)
    add_output_arguments(parser)
    add('--csv', type=Path, metavar='FILE', help='write a row for each model, sample and region')
    add(
        '--report', type=Path, metavar='FILE.html', help='write a page with the table and pictures'
    )
    add(
        '--pictures',
        type=options.count,
        default=12,
        metavar='N',
        help='how many samples the page shows, which are those with the largest errors; default: '
        '%(default)s',
    )
    model_options.add_settings(parser, align_rows=False)
    workers.add_pool_arguments(parser, 'this one alone')
    return parser


def _metrics(text: str) -> tuple[str, ...]:
    try:
        return tuple(metric_key(name, STEREO_TITLES | MONO_TITLES) for name in text.split(','))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _depth_range(text: str) -> tuple[float, float]:
    near, _, far = text.partition(',')
    limits = options.positive(near), options.positive(far)
    if limits[0] >= limits[1]:
        raise argparse.ArgumentTypeError(f'{text} is empty; give the smaller depth first')
    return limits


def _regions(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(','))
    known = (*REGIONS, *EDGE_BANDS)
    if unknown := [name for name in names if name not in known]:
        raise argparse.ArgumentTypeError(f'{unknown[0]!r} is none of {", ".join(known)}')
    return names
