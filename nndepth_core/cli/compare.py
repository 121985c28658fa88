"""`nndepth compare`: two models side by side on the same images, or on a bag."""

from __future__ import annotations

import argparse
import importlib
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from nndepth_core.cli import command_parser, datasets, model_list, model_options, options, wording
from nndepth_core.cli.evaluate import (
    add_output_arguments,
    check_outputs,
    name_flags,
    show,
    single_calibration,
)
from nndepth_core.data.image_files import ImagePairs, SingleImages
from nndepth_core.engines import MODELS
from nndepth_core.evaluation.compare import SideBySide
from nndepth_core.evaluation.evaluate import Evaluation, ModelScore, evaluate
from nndepth_core.evaluation.measures import Measures
from nndepth_core.evaluation.mono import MonoMeasures
from nndepth_core.evaluation.regions import ALL
from nndepth_core.evaluation.stereo import StereoMeasures
from nndepth_core.files.writing import check_folder
from nndepth_core.spec import Task

CLOSER = {'a_closer': 'A closer %', 'b_closer': 'B closer %'}
IMAGES = {
    'stereo': 'give LEFT and RIGHT images behind the models, or --data',
    'mono': 'give one IMAGE, a folder or a quoted glob behind the models, or --data',
}


BAGS = 'nndepth_ros.compare_command'
"""What compares models on a bag; it is imported when it is used."""
BAG_SUFFIXES = ('.mcap', '.db3', '.bag', '.mcap.zst', '.db3.zst')


def main(arguments: Sequence[str]) -> int:
    """Compare the models; return 1 if samples had to be skipped."""
    if any(map(is_bag, arguments)):
        return importlib.import_module(BAGS).main(arguments)
    settings, rest = datasets.split_settings(arguments)
    args = _parser().parse_intermixed_args(rest)
    with wording.naming_flags(args):
        return _compare(args, settings)


def _compare(args: argparse.Namespace, settings: Sequence[str]) -> int:
    check_outputs(args)
    check_folder(args.output)
    images = _images(args)
    models = model_list.load_estimators([args.a, args.b], args)
    task = model_list.task_of(models)
    if images is not None and isinstance(images, ImagePairs) != (task == 'stereo'):
        raise ValueError(f'the models are of the task {task}; {IMAGES[task]}')
    dataset = datasets.load_dataset(args.data, settings, task) if images is None else images
    measures = _measures(args, task)
    side_by_side = SideBySide(list(models), measures, args.output)
    evaluation = evaluate(
        models,
        dataset,
        measures,
        limit=args.limit,
        strict=args.strict,
        progress=True,
        observe=side_by_side,
    )
    name_flags(evaluation, args)
    rows = _rows(evaluation, side_by_side)
    if args.json != '-':
        for letter, model in zip('AB', evaluation.models, strict=True):
            print(f'{letter}: {model.model}{_brought(evaluation, model)}')
        print(f'pictures in {args.output}')
    for name, why in side_by_side.apart().items():
        print(f'nndepth: warning: {name}: {why}', file=sys.stderr)
    show(evaluation, args.json, rows, differences=side_by_side.differences)
    return int(bool(evaluation.skipped))


def is_bag(name: str) -> bool:
    """Tell whether an argument names a bag: by its suffix, or by what is in the folder."""
    if name.endswith(BAG_SUFFIXES):
        return True
    folder = Path(name)
    return folder.is_dir() and any(
        path.name == 'metadata.yaml' or path.name.endswith(BAG_SUFFIXES)
        for path in folder.iterdir()
    )


def _measures(args: argparse.Namespace, task: Task) -> Measures:
    if task == 'mono':
        return MonoMeasures(truth=False, calibration=single_calibration(args))
    if args.calibration:
        raise ValueError('--calibration is for models of single images')
    return StereoMeasures(truth=False)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser('compare')
    parser.epilog = (
        'With a ROS bag, in place of images or before the models, all pairs or images of it are '
        'compared: `nndepth compare BAG A B`; `nndepth compare BAG --help` tells its options.'
    )
    add = parser.add_argument
    add('a', metavar='A', help=model_list.HELP)
    add('b', metavar='B', help='the other model, of the same task')
    add(
        'images',
        nargs='*',
        metavar='IMAGE',
        help='rectified left and right images for stereo models, which are matched by their names '
        'or else by their order, or single images: files, folders or quoted globs',
    )
    add('--data', metavar='DATA', help=f'a data set in place of images: {datasets.HELP}')
    options.add_truth_arguments(parser)
    options.add_single_calibration(parser)
    add_folder(parser)
    add_output_arguments(parser)
    model_options.add_settings(parser, align_rows=False)
    return parser


def add_folder(parser: argparse.ArgumentParser) -> None:
    """Declare `--output`, the folder of the pictures."""
    parser.add_argument(
        '--output',
        type=Path,
        default=Path('nndepth_comparison'),
        metavar='DIR',
        help='the folder that the pictures are written to; default: %(default)s',
    )


def _images(args: argparse.Namespace) -> ImagePairs | SingleImages | None:
    """List the images that were named; None if a data set was named instead."""
    if args.data and not args.images:
        return None
    if args.data or len(args.images) not in (1, 2):
        raise ValueError(f'{IMAGES["stereo"]}; for models of single images, {IMAGES["mono"]}')
    first, *others = args.images
    if not others and first.partition(':')[0].partition('-')[0] in MODELS:
        raise ValueError(
            f'{args.a} is no bag that is there, and {first} is a model; give a bag and two '
            'models, or two models and images'
        )
    if others:
        return ImagePairs(first, others[0], args.truth, args.truth_scale)
    return SingleImages(first, args.truth, args.truth_scale)


def _brought(evaluation: Evaluation, model: ModelScore) -> str:
    """Say what was done to the maps of a model before they were compared, '' for nothing."""
    if any(sample.metrics for sample in model.samples):
        fitted = model.about.get('fitted', '')
        return f', {fitted} fitted to the truth' if fitted else ''
    outputs = [other.about.get('output', 'depth') for other in evaluation.models]
    if {*outputs} == {'depth'}:
        return ''
    return ', in per cent of the range that each of its maps spans'


def _rows(evaluation: Evaluation, side_by_side: SideBySide) -> list[list[str]]:
    """Make a row for each sample and one for their mean."""
    titles = {**evaluation.measures.difference_titles, **CLOSER}
    shown = [key for key in titles if not math.isnan(side_by_side.mean()[key])]
    models = evaluation.models
    known = any(sample.metrics for sample in models[0].samples)
    brief = evaluation.measures.brief if known else {}
    first = 'IMAGE' if isinstance(evaluation.measures, MonoMeasures) else 'PAIR'
    heads = [f'{title} {x}' for title in brief.values() for x in 'AB']
    rows = [[first, 'SIZE', 'ms A', 'ms B', *heads, *(titles[key] for key in shown)]]
    for scores in zip(*(model.samples for model in models), strict=True):
        metrics = [score.metrics.get(ALL, {}) for score in scores]
        figures = [of.get(key, math.nan) for key in brief for of in metrics]
        figures += [side_by_side.differences[scores[0].name][key] for key in shown]
        times = [f'{score.milliseconds:.1f}' for score in scores]
        size = '{}x{}'.format(*scores[0].size)
        rows.append([scores[0].name, size, *times, *(f'{value:.3f}' for value in figures)])
    if len(rows) > 2:
        means = [model.mean().get(ALL, {}) for model in models]
        figures = [of.get(key, math.nan) for key in brief for of in means]
        figures += [side_by_side.mean()[key] for key in shown]
        times = [f'{model.speed()["p50"]:.1f}' for model in models]
        rows.append(['mean, p50', '', *times, *(f'{value:.3f}' for value in figures)])
    return rows
