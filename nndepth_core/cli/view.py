"""`nndepth view`: images, depth and points of files, a camera or a bag in a viewer."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Sequence

from tqdm import tqdm

from nndepth_core import calibration
from nndepth_core.calibrated import CalibratedImages, CalibratedPairs
from nndepth_core.camera import depth_limits
from nndepth_core.cli import command_parser, explain, model_options, options, wording
from nndepth_core.cli.compare import is_bag
from nndepth_core.cli.errors import EXPECTED_ERRORS
from nndepth_core.cli.infer_mono import check_map, check_single
from nndepth_core.cli.saying import say
from nndepth_core.cli.view_options import EPILOG, add_sink_arguments, sink_settings
from nndepth_core.clouds import CloudSettings
from nndepth_core.estimator import Estimator, MonoEstimator, StereoEstimator, load_estimator
from nndepth_core.filters import FilterSettings
from nndepth_core.plausibility import Finding, Once
from nndepth_core.view import Frame, check_sink, view
from nndepth_core.view.capture import is_live
from nndepth_core.view.source import Shot, Source, of_camera, of_files

Examine = Callable[[], list[Finding]]
MakeFrame = Callable[[Shot], tuple[Frame, Examine]]
BAGS = 'nndepth_ros.view_command'
"""What views a bag; it is imported when it is used."""
EXAMINED = 10
"""How many of the first images are examined."""
DESCRIPTION = """
Shows images, disparity, depth, confidence and the coloured points of files, of a camera, or of a
ROS bag, in the rerun viewer or in Foxglove, under the stamps of the images where they have any.
With --save it writes a recording that these open later.
"""
OF_BAGS = """
With a ROS bag in place of images all pairs, or all images of a camera, of it are shown: `nndepth
view BAG`; `nndepth view BAG --help` tells its options.
"""


def main(arguments: Sequence[str]) -> int:
    """Show everything; return 1 if some of the images failed."""
    if any(map(is_bag, without_recording(arguments))):
        if any(word.partition('=')[0] == '--camera' for word in arguments):
            raise ValueError('give a BAG or --camera, not both')
        return importlib.import_module(BAGS).main(arguments)
    args = _parser().parse_intermixed_args(arguments)
    with wording.naming_flags(args):
        return _view(args)


def without_recording(arguments: Sequence[str]) -> list[str]:
    """Leave out the file to write, which may be named like a bag."""
    behind = zip(('', *arguments), arguments, strict=False)
    return [word for before, word in behind if not (before + word).startswith('--sa')]


def _view(args: argparse.Namespace) -> int:
    _check_images(args)
    settings = sink_settings(args, live=bool(args.camera) and is_live(args.camera))
    check_sink(settings)
    filters = options.filter_settings(args, streams=bool(args.camera))
    cloud = options.cloud_settings(args, {'cloud'})
    estimator = model_options.load_estimator(args, load_estimator)
    source = _source(args, estimator)
    if isinstance(estimator, StereoEstimator):
        make_frame = _of_pairs(args, estimator, filters, cloud)
    else:
        assert isinstance(estimator, MonoEstimator)
        make_frame = _of_images(args, estimator, filters, cloud)
    once, failures = Once(), set[str]()

    def feed(show: Callable[[Frame], None]) -> None:
        with source.open() as shots:
            for number, shot in enumerate(tqdm(shots, total=source.total, disable=None)):
                try:
                    frame, examine = make_frame(shot)
                except EXPECTED_ERRORS as error:
                    text = wording.as_flags(explain(error), args)
                    if text not in failures:  # one bad calibration fails all images alike
                        say(f'error: {shot.name}: {text}')
                    failures.add(text)
                    continue
                for finding in once(examine()) if number < EXAMINED else ():
                    say(f'warning: {shot.name}: {wording.as_flags(finding.text, args)}')
                show(frame)

    view(settings, feed, say)
    return int(bool(failures))


def _check_images(args: argparse.Namespace) -> None:
    if bool(args.camera) == bool(args.images) or len(args.images) > 2:
        raise ValueError(
            'give LEFT and RIGHT, or one IMAGE, FOLDER or BAG, or --camera N; a folder or a '
            'quoted glob stands for several files'
        )
    options.check_rectify(args)


def _source(args: argparse.Namespace, estimator: Estimator) -> Source:
    task, title = estimator.task, estimator.engine.spec.title
    if args.camera:
        return of_camera(args.camera, task, title, args.split)
    return of_files(args.images, task, title, args.split, args.max_pixels)


def _of_pairs(
    args: argparse.Namespace,
    estimator: StereoEstimator,
    filters: FilterSettings,
    cloud: CloudSettings,
) -> MakeFrame:
    source = options.calibration_of(args)
    if source is None:
        say('without --calibration there is disparity, but neither depth nor points')
    limits, baselines = depth_limits(args.min_depth, args.max_depth), options.baseline_limits(args)
    spec = estimator.engine.spec
    confidence = args.confidence or spec.confidence is not None
    pairs = CalibratedPairs(estimator, source, filters, limits)

    def make_frame(shot: Shot) -> tuple[Frame, Examine]:
        left, right = shot.read()
        known = pairs(left, right, confidence, shot.stamp)

        def examine() -> list[Finding]:
            found = known.examine_images(baselines)
            return found + known.examine_disparity(spec.bounds[1], limits)

        return Frame.of_pair(known, cloud, shot.stamp), examine

    return make_frame


def _of_images(
    args: argparse.Namespace,
    estimator: MonoEstimator,
    filters: FilterSettings,
    cloud: CloudSettings,
) -> MakeFrame:
    source = options.calibration_of(args, single=True)
    limits, spec = depth_limits(args.min_depth, args.max_depth), estimator.engine.spec
    check_single(args)
    check_map(spec, args.confidence, filters, limits)
    if spec.output != 'depth':
        output = spec.output.replace('_', ' ')
        say(f'{spec.title} gives {output} without a scale, so that there are no points')
    elif source is None:
        say('without --calibration there is depth, but there are no points')
    images = CalibratedImages(estimator, source, filters, limits)

    def make_frame(shot: Shot) -> tuple[Frame, Examine]:
        (image,) = shot.read()
        known = images(image, spec.confidence is not None, shot.stamp)
        return Frame.of_image(known, cloud, shot.stamp), lambda: known.examine(limits)

    return make_frame


def _parser() -> argparse.ArgumentParser:
    parser = command_parser('view')
    parser.description, parser.epilog = DESCRIPTION, OF_BAGS + EPILOG
    parser.usage = 'nndepth view (LEFT RIGHT | IMAGE | FOLDER | BAG | --camera N) [options]'
    add = parser.add_argument
    add(
        'images',
        nargs='*',
        metavar='IMAGE',
        help='LEFT and RIGHT, the images of pairs, or one IMAGE for a model of single images, as '
        'of `nndepth infer`; a folder that holds the folders left and right is one of pairs',
    )
    add(
        '--camera',
        default='',
        metavar='N',
        help='show a camera live: its number, device or URL; of a video file all pictures',
    )
    add(
        '--split',
        action='store_true',
        help='left and right stand side by side in each picture, as stereo cameras on USB give it',
    )
    add(
        '--calibration',
        metavar='SOURCE',
        help=f'the calibration, without which there are no points, and no depth of pairs: '
        f'{calibration.LAYOUTS}; for single images also {calibration.SINGLE_LAYOUTS}',
    )
    options.add_rectify(parser, '--calibration')
    model_options.add_estimator_arguments(parser)
    options.add_baseline_arguments(parser)
    add_sink_arguments(parser)
    options.add_max_pixels(parser)
    return parser
