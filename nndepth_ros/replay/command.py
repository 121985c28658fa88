"""`nndepth replay` reads a recorded bag and writes a bag with what a node would publish."""

from __future__ import annotations

import argparse
import importlib
import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from nndepth_core import clouds
from nndepth_core.cli import command_parser, model_options, options, tell, wording
from nndepth_core.clouds import CloudSettings
from nndepth_core.estimator import MonoEstimator, StereoEstimator, load_estimator
from nndepth_core.spec import Task, title_of
from nndepth_ros.allocator import keep_freed_memory
from nndepth_ros.depth_images import ENCODINGS, METRES
from nndepth_ros.outputs import MONO_OUTPUTS, OTHER_FORMS, STATS, STEREO_OUTPUTS, OutputSettings
from nndepth_ros.replay.options import (
    add_mono_selection,
    add_selection,
    add_stereo_selection,
    selection,
)
from nndepth_ros.replay.settings import ReplaySettings

FLEET = 'nndepth_ros.fleet.command'
"""What takes many bags; it is imported when it is used."""
KINDS_OF_BAGS = (
    'rosbag2 folder, or a file: MCAP, sqlite3 (.db3), either as .zst, or a .bag of ROS 1'
)
_OF_MANY = ('--workers', '--segment', '--ray', '--ray-cpus', '--ray-gpus')
NOUNS = {'pairs': 'pairs', 'frames': 'images'}
"""The entry of a report that counts what was processed -> what that is."""
OUTPUTS: dict[Task, tuple[str, ...]] = {
    'stereo': (*STEREO_OUTPUTS, STATS),
    'mono': (*MONO_OUTPUTS, STATS),
}

DESCRIPTION = """
Runs every stereo pair of a rosbag2 through the estimator, in order and without ROS, and writes
what stereo_node would publish: the same topics, in the namespace that holds left/, under the
stamps of the left images. With a model of single images it does so for every image of a camera,
as mono_node: in the namespace of the images, in metres where the model gives metres or
--scale-source tells the scale. The same input gives the same bytes, so that the times in the topic
`stats` are NaN and its counts 0. OUT/report.json lists rates, unpaired and failed images with
the reasons, density, scale, times and the findings of the calibration doctor.
"""
EPILOG = """
exit code: 0 if all is done; 1 if only a part is done (pairs or images failed, messages are damaged
or lost, or the scale was never known) or nothing could be processed; 2 for wrong input or
arguments; 130 or 143 if SIGINT or SIGTERM interrupted it (the present one is finished and OUT can
be read; a second signal ends it at once). OUT appears when it is whole. What a killed process has
written is in OUT.partial-.../OUT; so is the bag of an interrupted one if --overwrite would replace
an old OUT.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `nndepth replay`."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    add = parser.add_argument
    add(
        'bag',
        metavar='IN',
        type=options.path,
        help=f'{KINDS_OF_BAGS}; many at once: see `nndepth replay --output DIR --help`',
    )
    add('output', metavar='OUT', type=options.path, help='folder for the new MCAP bag')
    add('--overwrite', action='store_true', help='replace OUT if it is a bag')
    add_options(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what is done to a bag, and how it is told."""
    add = parser.add_argument
    add('--json', action='store_true', help='print the report instead of its summary')
    add_selection(parser)
    add_stereo_selection(parser)
    add_mono_selection(parser)
    add(
        '--topics',
        type=_outputs,
        metavar='OUTPUTS',
        default=(),
        help=f'comma-separated, of {", ".join(OUTPUTS["stereo"])}; of single images of '
        f'{", ".join(OUTPUTS["mono"])}; default: all that the model gives, without '
        f'{" and ".join(sorted(OTHER_FORMS))}',
    )
    add('--copy', action='store_true', help='write the input topics too')
    add(
        '--output-size',
        choices=('camera', 'processing'),
        default='camera',
        help='size of the outputs: that of the camera, or of the processing; default: %(default)s',
    )
    options.add_depth_arguments(parser)
    options.add_disparity_sigma(parser)
    add(
        '--depth-encoding',
        choices=ENCODINGS,
        default=METRES,
        help='of depth images: metres, or millimetres with 0 for unknown; default: %(default)s',
    )
    add('--cloud-sigma', action='store_true', help='give the points of points2 a field sigma')
    options.add_group(parser, 'cloud', CloudSettings, clouds.MEANING)


def main(arguments: Sequence[str]) -> int:
    """Process the bag, or many, and report the result."""
    if any(it.partition('=')[0] == '--output' for it in arguments):
        return importlib.import_module(FLEET).main(arguments)
    parser = command_parser('replay')
    add_arguments(parser)
    args, rest = parser.parse_known_args(arguments)
    _check_one(args.bag, rest)
    if rest:
        parser.error(f'unrecognized arguments: {" ".join(rest)}')
    with wording.naming_flags(args):
        return _replay(args, parser.get_default)


def _check_one(bag: Path, rest: Sequence[str]) -> None:
    """Refuse what only many bags have, but --output is missing.

    Args:
        bag: the first bag.
        rest: arguments that one bag has not.
    """
    many = [it for it in rest if not it.startswith('-') or it.partition('=')[0] in _OF_MANY]
    name = str(bag)
    if not many and not bag.exists() and (name[0] == '@' or {*'*?['} & {*name} or ':/' in name):
        many = [name]
    if many:
        raise ValueError(
            f'{many[0]}: many bags, stores and workers need --output DIR, as in `nndepth replay '
            'BAG ... --output DIR`; one bag is written to OUT, as in `nndepth replay IN OUT`'
        )


def _replay(args: argparse.Namespace, default: Callable[[str], object]) -> int:
    from nndepth_ros.replay import replay as process

    keep_freed_memory()
    estimator, settings = equipment(args, default)
    with interruption() as signals:
        report = process(
            args.bag, args.output, estimator, settings, args.overwrite, lambda: bool(signals)
        )
    return conclude(report, signals, told(args, report, 'bag'))


def equipment(
    args: argparse.Namespace, default: Callable[[str], object]
) -> tuple[StereoEstimator | MonoEstimator, ReplaySettings]:
    """Make what the options ask for.

    Args:
        args: what `add_options` has declared.
        default: the default of an argument.

    Raises:
        ValueError, EngineError: a value is not allowed, or does not fit the model.
    """
    estimator = model_options.load_estimator(args, load_estimator, output=args.output_size)
    _check_outputs(args.topics, estimator.task)
    settings = replace(
        selection(args, estimator.task, default),
        outputs=args.topics,
        messages=OutputSettings(
            args.min_depth,
            args.max_depth,
            filters=options.filter_settings(args),
            disparity_sigma=args.disparity_sigma,
            cloud_sigma=args.cloud_sigma,
            cloud=options.group_of(args, 'cloud', CloudSettings),
            depth_encoding=args.depth_encoding,
        ),
        copy_inputs=args.copy,
    )
    return estimator, settings


def told(args: argparse.Namespace, report: dict[str, Any], made: str) -> str:
    """The report as JSON where that is asked for, or its summary.

    Args:
        args: the arguments.
        report: what `replay` or `pseudo_label` returned.
        made: what was made, in a word.
    """
    return json.dumps(report, indent=2) if args.json else _summary(report, made)


def conclude(report: dict[str, Any], signals: Sequence[int], text: str) -> int:
    """Print what there is to tell of a report, and return the exit code.

    Args:
        report: what was made of a bag.
        signals: those that came meanwhile.
        text: what to print.
    """
    tell(text)
    if report['interrupted']:
        print('nndepth: interrupted', file=sys.stderr)
        return 128 + signals[0]
    if report['problem']:
        print(f'nndepth: error: {report["problem"]}', file=sys.stderr)
    return 1 if report['problem'] or incomplete(report) else 0


def incomplete(report: dict[str, Any]) -> bool:
    """Whether only a part of a bag could be used."""
    lost = any(damage['lost'] != 0 for damage in report['damage'])
    scaled = report.get('scale', {}).get('known', 1) > 0
    failed = report[counted_in(report)]['failed']  # what never came is among them
    return bool(failed or report['damaged_messages'] or lost or not scaled)


@contextmanager
def interruption() -> Iterator[list[int]]:
    """Hold the first SIGINT or SIGTERM in a list; the second one has its usual effect."""
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def interrupt(number: int, _: object) -> None:
        came.append(number)
        restore()

    for number in numbers:
        signal.signal(number, interrupt)
    try:
        yield came
    finally:
        restore()


def _summary(report: dict[str, Any], made: str) -> str:
    counted = counted_in(report)
    counts, model, noun = report[counted], report['model'], NOUNS[counted]
    lines = [
        f'{counts["processed"]} of {counts["found"]} {noun} processed, {counts["failed"]} failed; '
        f'{report[f"{counted}_per_second"]:.1f} {noun} a second by '
        f'{title_of(model["name"], model["variant"])} on {model["device"]}'
    ]
    if scale := report.get('scale'):
        known = f'{scale["known"]} of {counts["processed"]} {noun}'
        lines.append(f'the scale is known in {known}, from {scale["source"]}')
    lines += losses(report)
    if report['output']:
        density = 100 * report['density']['mean']
        lines.append(f'density {density:.1f} %; {made} and report.json are in {report["output"]}')
    return '\n'.join(lines)


def losses(report: dict[str, Any]) -> list[str]:
    """Say what of a bag could not be used, in lines."""
    from nndepth_ros.bag_storage import Damage

    lines = []
    for side, images in report['images'].items():
        for reason, count in images['unpaired'].items():
            lines.append(f'{count} of {images["count"]} {side} images without partner: {reason}')
    for reason, count in report['damaged_messages'].items():
        lines.append(f'{count} messages cannot be read: {reason}')
    lines += [str(Damage(**damage)) for damage in report['damage']]
    lines += [f'{topic} is left out: {kind}' for topic, kind in report['left_out'].items()]
    return lines


def counted_in(report: dict[str, Any]) -> str:
    """The entry of a report that counts what was processed."""
    return next(name for name in NOUNS if name in report)


def _outputs(text: str) -> tuple[str, ...]:
    outputs = tuple(part.strip() for part in text.split(','))
    known = dict.fromkeys(name for names in OUTPUTS.values() for name in names)
    if unknown := [part for part in outputs if part not in known]:
        raise argparse.ArgumentTypeError(f'{unknown[0]!r} is none of {", ".join(known)}')
    return outputs


def _check_outputs(outputs: Sequence[str], task: Task) -> None:
    """Refuse outputs of the other node."""
    if unknown := [name for name in outputs if name not in OUTPUTS[task]]:
        raise ValueError(
            f'{unknown[0]} is no output of a {task} model; choose from {", ".join(OUTPUTS[task])}'
        )
