"""The arguments that say what is read of a bag."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import fields
from functools import partial

from nndepth_core import calibration
from nndepth_core.cli import model_options, options, wording
from nndepth_core.spec import Task
from nndepth_ros.bag_topics import MonoTopics, StereoTopics
from nndepth_ros.parameters.scale import SCALE_PARAMETERS, scale_settings
from nndepth_ros.replay.settings import ReplaySettings

STEREO_ARGUMENTS = (
    *(field.name for field in fields(StereoTopics)),
    'sync_tolerance',
    'min_baseline',
    'max_baseline',
    'disparity_sigma',
    'cloud_sigma',
    'cloud_voxel_sigmas',
)
MONO_ARGUMENTS = (
    *(field.name for field in fields(MonoTopics)),
    *(row.name for row in SCALE_PARAMETERS),
)


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Declare what is read of a bag whatever the task is, and what estimates."""
    add_reading(parser)
    model_options.add_estimator_arguments(parser)


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Declare what is read of a bag whatever the task is."""
    layouts = f'{calibration.LAYOUTS}; for single images also {calibration.SINGLE_LAYOUTS}'
    parser.add_argument(
        '--calibration', metavar='FILE', help=f"used instead of the bag's camera_info: {layouts}"
    )
    options.add_rectify(parser, 'camera_info or --calibration')
    add_number(parser, '--start', 0.0, 'leave out so much of the beginning of the bag')
    add_number(parser, '--duration', math.inf, 'process only so much; default: to the end')
    options.add_max_pixels(parser)


def add_stereo_selection(parser: argparse.ArgumentParser) -> None:
    """Declare which pairs are read of a bag."""
    group = parser.add_argument_group('stereo models')
    add = group.add_argument
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
    add_number(group, '--sync-tolerance', 0.0, 'largest difference of the stamps of a pair')
    options.add_baseline_arguments(group)


def add_single_images(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Declare which images are read of a bag; return the group of options."""
    group = parser.add_argument_group('models of single images')
    add = group.add_argument
    add(
        '--image',
        metavar='TOPIC',
        default='',
        help='images, raw or compressed; default: the only ones of a camera, or the left ones of '
        'a stereo camera',
    )
    add(
        '--camera-info',
        metavar='TOPIC',
        default='',
        help='default: camera_info beside the images',
    )
    return group


def add_mono_selection(parser: argparse.ArgumentParser) -> None:
    """Declare which images are read of a bag, and what tells their scale."""
    add = add_single_images(parser).add_argument
    for name, what in (
        ('depth', 'depth images in the frame of the images'),
        ('points', 'clouds in the frame of the images'),
        ('disparity', 'disparities of a stereo node on the same camera'),
    ):
        add(
            f'--scale-{name}',
            metavar='TOPIC',
            default='',
            help=f'{what}, which tell the scale; default: what --scale-source needs, if the bag '
            'holds one such topic',
        )
    for row in SCALE_PARAMETERS:
        add(
            wording.flag(row.name),
            type=type(row.default),
            default=row.default,
            choices=row.choices or None,
            metavar=None if row.choices else 'X',
            help=f'{row.description} Default: %(default)s',
        )


def selection(
    args: argparse.Namespace, task: Task, default: Callable[[str], object]
) -> ReplaySettings:
    """What the arguments say of the bag.

    Args:
        args: what the functions above have declared; those of another task may be missing.
        task: that of the model.
        default: the default of an argument.

    Raises:
        ValueError: an argument of another task is given, or a value is not allowed.
    """
    others = MONO_ARGUMENTS if task == 'stereo' else STEREO_ARGUMENTS
    for name in others:
        if getattr(args, name, default(name)) != default(name):
            what = 'models of single images' if task == 'stereo' else 'stereo models'
            raise ValueError(
                f'{wording.flag(name)} is for {what} and {args.model} is none; leave it out, or '
                'choose another --model'
            )
    common = {
        'start': args.start,
        'duration': args.duration,
        'max_pixels': args.max_pixels,
        'calibration': options.calibration_of(args, single=task == 'mono'),
        'rectify': args.rectify,
        'wording': partial(wording.as_flags, args=args),
    }
    if task == 'stereo':
        return ReplaySettings(
            StereoTopics(args.left, args.right, args.left_info, args.right_info),
            sync_tolerance=args.sync_tolerance,
            baseline=options.baseline_limits(args),
            **common,
        )
    topics = {field.name: getattr(args, field.name, '') for field in fields(MonoTopics)}
    return ReplaySettings(
        MonoTopics(**topics),
        scale=scale_settings({row.name: row.default for row in SCALE_PARAMETERS} | vars(args)),
        **common,
    )


def add_number(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup,
    name: str,
    default: float,
    text: str,
    unit: str = 'SECONDS',
) -> None:
    """Declare a number."""
    parser.add_argument(name, type=float, default=default, metavar=unit, help=text)
