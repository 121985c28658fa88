"""`nndepth compare` of two models on a recorded bag."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nndepth_core.cli import command_parser, model_list, model_options, options, wording
from nndepth_core.cli.compare import add_folder, is_bag
from nndepth_core.cli.table import table
from nndepth_core.engines import common_task
from nndepth_core.files.writing import check_folder, check_writable, write_at_once
from nndepth_ros.allocator import keep_freed_memory
from nndepth_ros.replay.command import NOUNS, conclude, counted_in, interruption, losses
from nndepth_ros.replay.options import (
    add_reading,
    add_single_images,
    add_stereo_selection,
    selection,
)

DESCRIPTION = """
Runs two models on every pair, or every image of a camera, of a ROS bag and tells how far they
agree: the share of pixels that differ by at most 1 px, 3 px, or 5 % of the depth, the mean
difference, the density and the time of each. It writes pictures of some frames: the image, both
maps, and their difference.
"""
EPILOG = """
exit code: 0 if all is done; 1 if only a part is done or nothing could be compared; 2 for wrong
input or arguments; 130 or 143 if SIGINT or SIGTERM interrupted it (what was found is told).
"""


def main(arguments: Sequence[str]) -> int:
    """Compare and report the result."""
    from nndepth_ros.compare_bag import compare_bag

    parser = _parser()
    args = parser.parse_intermixed_args(arguments)
    bag, *texts = sorted(args.names, key=lambda name: not is_bag(name))
    if is_bag(texts[0]):
        raise ValueError(f'{bag} and {texts[0]} are both bags; give one bag and two models')
    if args.json not in ('', '-'):
        check_writable(Path(args.json))
    check_folder(args.output)
    keep_freed_memory()
    names = dict(zip('ab', texts, strict=True))
    common_task({model.upper(): text.partition(':')[0] for model, text in names.items()})
    with wording.naming_flags(args):
        models = {model: model_list.load_model(text, args) for model, text in names.items()}
        task = model_list.task_of({names[model]: of for model, of in models.items()})
        args.model = texts[0]
        settings = selection(args, task, parser.get_default)
    with interruption() as signals:
        report = compare_bag(
            Path(bag),
            models,
            names,
            settings,
            args.output,
            every=args.every,
            pictures=args.pictures,
            stopped=lambda: bool(signals),
        )
    rows = report.pop('table')
    text = json.dumps(report, indent=2)
    if args.json not in ('', '-'):
        write_at_once(Path(args.json), f'{text}\n')
    return conclude(report, signals, text if args.json == '-' else _summary(report, rows))


def _summary(report: dict[str, Any], rows: list[list[str]]) -> str:
    counted, compared = counted_in(report), report['comparison']
    counts = report[counted]
    lines = [f'{model.upper()}: {of["name"]}' for model, of in report['models'].items()]
    if compared['frames']:
        lines.append(table(rows))
    lines.append(
        f'{counts["processed"]} of {counts["found"]} {NOUNS[counted]} compared, '
        f'{counts["failed"]} failed, A alone answered {compared["only_a"]}, B '
        f'{compared["only_b"]}'
    )
    lines += losses(report)
    if compared['frames'] and report['output']:
        lines.append(f'pictures in {report["output"]}')
    return '\n'.join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser('compare')
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.usage = 'nndepth compare BAG A B [options]'
    add = parser.add_argument
    add(
        'names',
        nargs=3,
        metavar='BAG A B',
        help=f'a bag, as of `nndepth replay`, and two models: {model_list.HELP}',
    )
    add_folder(parser)
    add(
        '--pictures',
        type=options.count,
        default=12,
        metavar='N',
        help='how many frames are drawn, spread evenly over the bag; default: %(default)s',
    )
    add('--every', type=int, default=1, metavar='N', help='take every Nth pair or image only')
    add(
        '--json',
        default='',
        metavar='FILE',
        help='write all figures, also those of each frame, as JSON; - prints them instead of the '
        'table',
    )
    add_reading(parser)
    add_stereo_selection(parser)
    add_single_images(parser)
    model_options.add_settings(parser, align_rows=False)
    return parser
