"""`nndepth view` of a recorded bag."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from nndepth_core.cli import command_parser, model_options, options, wording
from nndepth_core.cli.view_options import (
    EPILOG,
    add_sink_arguments,
    sink_settings,
)
from nndepth_core.estimator import load_estimator
from nndepth_core.view import check_sink
from nndepth_ros.allocator import keep_freed_memory
from nndepth_ros.outputs import OutputSettings
from nndepth_ros.replay.command import conclude, counted_in, losses
from nndepth_ros.replay.options import (
    add_mono_selection,
    add_selection,
    add_stereo_selection,
    selection,
)

DESCRIPTION = """
Shows every pair, or every image of a camera, of a ROS bag in the rerun viewer or in Foxglove:
images, disparity, depth, confidence and coloured points, under the stamps of the images. With
--save it writes a recording that these open later.
"""


def main(arguments: Sequence[str]) -> int:
    """Show the bag and report what could not be shown."""
    parser = _parser()
    args = parser.parse_args(arguments)
    with wording.naming_flags(args):
        return _view(args, parser.get_default)


def _view(args: argparse.Namespace, default: Callable[[str], object]) -> int:
    from nndepth_ros.view_bag import view_bag

    shown = sink_settings(args)
    check_sink(shown)
    cloud = options.cloud_settings(args, {'cloud'})
    keep_freed_memory()
    estimator = model_options.load_estimator(args, load_estimator)
    filters = options.filter_settings(args)
    messages = OutputSettings(args.min_depth, args.max_depth, filters=filters)
    settings = replace(selection(args, estimator.task, default), messages=messages)
    report = view_bag(args.bag, estimator, settings, shown, cloud, args.confidence)
    counts = report[counted_in(report)]
    text = f'{counts["processed"]} of {counts["found"]} shown, {counts["failed"]} failed'
    return conclude(report, (), '\n'.join([text, *losses(report)]))


def _parser() -> argparse.ArgumentParser:
    parser = command_parser('view')
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.usage = 'nndepth view BAG [options]'
    parser.add_argument('bag', metavar='BAG', type=Path, help='a bag, as of `nndepth replay`')
    add_selection(parser)
    add_stereo_selection(parser)
    add_mono_selection(parser)
    add_sink_arguments(parser)
    return parser
