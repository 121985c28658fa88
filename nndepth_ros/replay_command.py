"""`nndepth replay` reads a recorded bag and writes a bag with what the stereo node publishes."""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nndepth_core import calibration
from nndepth_core.cli import command_parser, options
from nndepth_core.estimator import StereoEstimator
from nndepth_ros.allocator import keep_freed_memory
from nndepth_ros.outputs import SIGMA, STEREO_OUTPUTS, USUAL_OUTPUTS, OutputSettings

if TYPE_CHECKING:
    from nndepth_ros.replay import ReplaySettings

DESCRIPTION = """
Runs every stereo pair of a rosbag2 through the estimator, in order and without ROS, and writes
what stereo_node would publish: the same topics, in the namespace that holds left/, under the
stamps of the left images. The same input gives the same bytes; the topic `stats` is left out,
because it holds times of the clock. OUT/report.json lists rates, unpaired and failed images with
the reasons, density, times and the findings of the calibration doctor.
"""
EPILOG = """
exit code: 0 if all is done; 1 if only a part is done (pairs failed, or messages are damaged or
lost) or no pair could be processed; 2 for wrong input or arguments; 130 or 143 if SIGINT or
SIGTERM interrupted it (the present pair is finished and OUT can be read; a second signal ends it
at once). OUT appears when it is whole. What a killed process has written is in
OUT.partial-.../OUT; so is the bag of an interrupted one if --overwrite would replace an old OUT.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `nndepth replay`."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    add = parser.add_argument
    add(
        'bag',
        metavar='IN',
        type=Path,
        help='rosbag2 folder, or a file: MCAP, sqlite3 (.db3), either as .zst, or a .bag of ROS 1',
    )
    add('output', metavar='OUT', type=Path, help='folder for the new MCAP bag')
    add('--overwrite', action='store_true', help='replace OUT if it is a bag')
    add('--json', action='store_true', help='print the report instead of its summary')
    add_selection(parser)
    add(
        '--topics',
        type=_outputs,
        metavar='OUTPUTS',
        default=USUAL_OUTPUTS,
        help=f'comma-separated, of {", ".join(STEREO_OUTPUTS)}; default: all but {SIGMA}',
    )
    add('--copy', action='store_true', help='write the input topics too')
    add(
        '--output-size',
        choices=('camera', 'processing'),
        default='camera',
        help='size of the outputs: that of the camera, or of the processing; default: %(default)s',
    )
    options.add_depth_arguments(parser)
    add('--cloud-sigma', action='store_true', help='give the points of points2 a field sigma')


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Declare what is read of a bag, and what estimates."""
    add = parser.add_argument
    for side in ('left', 'right'):
        add(
            f'--{side}',
            metavar='TOPIC',
            default='',
            help=f'{side} images, raw or compressed; default: the first that is there of '
            f'{side}/image_rect, {side}/image_rect_color ... {side}/image_raw, in any namespace',
        )
    for side in ('left', 'right'):
        add(
            f'--{side}-info',
            metavar='TOPIC',
            default='',
            help='default: camera_info beside the images',
        )
    add(
        '--calibration',
        metavar='FILE',
        help=f"used instead of the bag's camera_info: {calibration.LAYOUTS}",
    )
    _add_number(parser, '--start', 0.0, 'leave out so much of the beginning of the bag')
    _add_number(parser, '--duration', math.inf, 'process only so much; default: to the end')
    _add_number(parser, '--sync-tolerance', 0.0, 'largest difference of the stamps of a pair')
    options.add_max_pixels(parser)
    options.add_estimator_arguments(parser)
    options.add_baseline_arguments(parser)


def main(arguments: Sequence[str]) -> int:
    """Process the bag and report the result."""
    parser = command_parser('replay')
    add_arguments(parser)
    return run(parser.parse_args(arguments))


def run(args: argparse.Namespace) -> int:
    """Process the bag and report the result."""
    from nndepth_ros.replay import replay as process

    settings = replace(
        selection(args),
        outputs=args.topics,
        messages=OutputSettings(
            args.min_depth,
            args.max_depth,
            filters=options.filter_settings(args),
            disparity_sigma=args.disparity_sigma,
            cloud_sigma=args.cloud_sigma,
        ),
        copy_inputs=args.copy,
    )
    keep_freed_memory()
    estimator = options.load_estimator(args, StereoEstimator.load, output=args.output_size)
    with interruption() as signals:
        report = process(
            args.bag, args.output, estimator, settings, args.overwrite, lambda: bool(signals)
        )
    return conclude(args, report, signals, 'bag')


def conclude(
    args: argparse.Namespace, report: dict[str, Any], signals: Sequence[int], made: str
) -> int:
    """Print the report or its summary, and return the exit code.

    Args:
        args: the arguments.
        report: what `replay` or `pseudo_label` returned.
        signals: those that came meanwhile.
        made: what was made, in a word.
    """
    print(json.dumps(report, indent=2) if args.json else _summary(report, made))
    if report['interrupted']:
        print('nndepth: interrupted', file=sys.stderr)
        return 128 + signals[0]
    if report['problem']:
        print(f'nndepth: error: {report["problem"]}', file=sys.stderr)
    lost = any(damage['lost'] != 0 for damage in report['damage'])
    incomplete = report['pairs']['failed'] or report['damaged_messages'] or lost
    return 1 if report['problem'] or incomplete else 0


def selection(args: argparse.Namespace) -> ReplaySettings:
    """What the arguments of `add_selection` say of the bag."""
    from nndepth_ros.bag_survey import StereoTopics
    from nndepth_ros.replay import ReplaySettings

    return ReplaySettings(
        StereoTopics(args.left, args.right, args.left_info, args.right_info),
        sync_tolerance=args.sync_tolerance,
        start=args.start,
        duration=args.duration,
        max_pixels=args.max_pixels,
        baseline=options.baseline_limits(args),
        calibration=calibration.parse(args.calibration) if args.calibration else None,
    )


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
    from nndepth_ros.bag_storage import Damage

    pairs, model = report['pairs'], report['model']
    lines = [
        f'{pairs["processed"]} of {pairs["found"]} pairs processed, {pairs["failed"]} failed; '
        f'{report["pairs_per_second"]:.1f} pairs a second by {model["name"]} on {model["device"]}'
    ]
    for side, images in report['images'].items():
        for reason, count in images['unpaired'].items():
            lines.append(f'{count} of {images["count"]} {side} images without partner: {reason}')
    for reason, count in report['damaged_messages'].items():
        lines.append(f'{count} messages cannot be read: {reason}')
    lines += [str(Damage(**damage)) for damage in report['damage']]
    lines += [f'{topic} is left out: {kind}' for topic, kind in report['left_out'].items()]
    if report['output']:
        density = 100 * report['density']['mean']
        lines.append(f'density {density:.1f} %; {made} and report.json are in {report["output"]}')
    return '\n'.join(lines)


def _outputs(text: str) -> tuple[str, ...]:
    outputs = tuple(part.strip() for part in text.split(','))
    if unknown := [part for part in outputs if part not in STEREO_OUTPUTS]:
        raise argparse.ArgumentTypeError(f'{unknown[0]!r} is none of {", ".join(STEREO_OUTPUTS)}')
    return outputs


def _add_number(
    parser: argparse.ArgumentParser, name: str, default: float, text: str, unit: str = 'SECONDS'
) -> None:
    parser.add_argument(name, type=float, default=default, metavar=unit, help=text)
