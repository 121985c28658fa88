"""`nndepth pseudo-label` turns a bag's stereo pairs into images with depth to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nndepth_core.cli import command_parser, model_options, options, wording
from nndepth_core.estimator import StereoEstimator
from nndepth_ros.allocator import keep_freed_memory
from nndepth_ros.outputs import OutputSettings
from nndepth_ros.replay.command import conclude, interruption, told
from nndepth_ros.replay.options import add_selection, add_stereo_selection, selection

DESCRIPTION = """
Estimates the depth of the stereo pairs of a rosbag2 and writes it beside the left images, as truth
from which a network of single images can learn: OUT/image/STAMP.png and OUT/depth/STAMP.png, of
16-bit millimetres, 0 where it is unknown, less confident than --confidence-threshold, removed by a
filter, outside of --min-depth and --max-depth, or beyond 65.535 m. Train on it by
`--data.train FolderDepth --data.train.root OUT`.
"""
EPILOG = """
exit code: 0 if all is done; 1 if only a part is done or no pair could be processed; 2 for wrong
input or arguments; 130 or 143 if SIGINT or SIGTERM interrupted it (what is written can be used).
"""


def main(arguments: Sequence[str]) -> int:
    """Write images and depth, and report the result."""
    from nndepth_ros.pseudo_label import pseudo_label

    parser = command_parser('pseudo-label')
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    add = parser.add_argument
    add('bag', metavar='IN', type=Path, help='a bag, as of `nndepth replay`')
    add('output', metavar='OUT', type=Path, help='folder to make')
    add('--every', type=int, default=1, metavar='N', help='take every Nth pair only')
    add('--json', action='store_true', help='print the report instead of its summary')
    add_selection(parser)
    add_stereo_selection(parser)
    options.add_depth_arguments(parser)
    parser.set_defaults(confidence_threshold=0.5)
    args = parser.parse_args(arguments)
    keep_freed_memory()
    with wording.naming_flags(args):
        estimator = model_options.load_estimator(args, StereoEstimator.load)
        filters = options.filter_settings(args)
        settings = replace(
            selection(args, 'stereo', parser.get_default),
            messages=OutputSettings(args.min_depth, args.max_depth, filters=filters),
        )
    with interruption() as signals:
        report = pseudo_label(
            args.bag, args.output, estimator, settings, args.every, lambda: bool(signals)
        )
    return conclude(report, signals, told(args, report, 'images, depth'))
