"""`nndepth compare`: two models side by side on the same images."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from nndepth_core.cli import command_parser, datasets, model_list, options
from nndepth_core.cli.evaluate import add_output_arguments, check_outputs, show
from nndepth_core.data.datasets import StereoSource
from nndepth_core.evaluation.compare import ImagePairs, SideBySide
from nndepth_core.evaluation.evaluate import Evaluation, evaluate_stereo
from nndepth_core.evaluation.regions import ALL
from nndepth_core.files.writing import check_folder

COLUMNS = {
    'mean_difference': 'mean |A-B| px',
    'differ_1': '>1 px %',
    'differ_3': '>3 px %',
    'a_closer': 'A closer %',
    'b_closer': 'B closer %',
}


def main(arguments: Sequence[str]) -> int:
    """Compare; 1 if pairs had to be skipped."""
    settings, rest = datasets.split_settings(arguments)
    args = _parser().parse_intermixed_args(rest)
    check_outputs(args)
    check_folder(args.output)
    dataset = _inputs(args, settings)
    models = model_list.load_estimators([args.a, args.b], args)
    side_by_side = SideBySide(list(models), args.output)
    evaluation = evaluate_stereo(
        models,
        dataset,
        truth=False,
        limit=args.limit,
        strict=args.strict,
        progress=True,
        observe=side_by_side,
    )
    rows = _rows(evaluation, side_by_side)
    if args.json != '-':
        print(f'A: {args.a}\nB: {args.b}\npictures in {args.output}')
    show(evaluation, args.json, rows, differences=side_by_side.differences)
    return int(bool(evaluation.skipped))


def _parser() -> argparse.ArgumentParser:
    parser = command_parser('compare')
    add = parser.add_argument
    add('a', metavar='A', help=model_list.HELP)
    add('b', metavar='B', help='the other one')
    add(
        'images',
        nargs='*',
        metavar='LEFT RIGHT',
        help='rectified images: files, folders or quoted globs, matched by name, else by order',
    )
    add('--data', metavar='DATA', help=f'in place of images: {datasets.HELP}')
    add('--truth', default='', metavar='SOURCE', help='true disparities of the images')
    add(
        '--truth-scale',
        type=options.positive,
        metavar='S',
        help='stored value of one pixel of disparity; 16-bit pictures default to 256',
    )
    add(
        '--output',
        type=Path,
        default=Path('nndepth_comparison'),
        metavar='DIR',
        help='where the pictures go; default: %(default)s',
    )
    add_output_arguments(parser)
    options.add_settings(parser)
    return parser


def _inputs(args: argparse.Namespace, settings: Sequence[str]) -> StereoSource:
    if args.data and not args.images:
        return datasets.load_dataset(args.data, settings)
    if args.data or len(args.images) != 2:
        raise ValueError('give LEFT and RIGHT images behind the models, or --data')
    left, right = args.images
    return ImagePairs(left, right, args.truth, args.truth_scale)


def _rows(evaluation: Evaluation, side_by_side: SideBySide) -> list[list[str]]:
    """A row for each pair and their mean."""
    shown = [key for key in COLUMNS if not math.isnan(side_by_side.mean()[key])]
    models = evaluation.models
    known = any(sample.metrics for sample in models[0].samples)
    measures = [('epe', 'EPE'), ('d1_all', 'D1 %')] if known else []
    heads = [f'{title} {x}' for _, title in measures for x in 'AB']
    rows = [['PAIR', 'SIZE', 'ms A', 'ms B', *heads, *(COLUMNS[key] for key in shown)]]
    for scores in zip(*(model.samples for model in models), strict=True):
        metrics = [score.metrics.get(ALL, {}) for score in scores]
        figures = [of.get(key, math.nan) for key, _ in measures for of in metrics]
        figures += [side_by_side.differences[scores[0].name][key] for key in shown]
        times = [f'{score.milliseconds:.1f}' for score in scores]
        size = '{}x{}'.format(*scores[0].size)
        rows.append([scores[0].name, size, *times, *(f'{value:.3f}' for value in figures)])
    if len(rows) > 2:
        means = [model.mean().get(ALL, {}) for model in models]
        figures = [of.get(key, math.nan) for key, _ in measures for of in means]
        figures += [side_by_side.mean()[key] for key in shown]
        times = [f'{model.speed()["p50"]:.1f}' for model in models]
        rows.append(['mean, p50', '', *times, *(f'{value:.3f}' for value in figures)])
    return rows
