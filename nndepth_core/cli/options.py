"""Arguments that several subcommands share: images, calibrations, filters, depths and clouds."""

from __future__ import annotations

import argparse
import math
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

from nndepth_core import calibration
from nndepth_core.calibration import SINGLE_LAYOUTS, AnyCalibration
from nndepth_core.cli.wording import flag
from nndepth_core.clouds import CloudSettings
from nndepth_core.files.picture import MAX_PIXELS
from nndepth_core.filters import FilterSettings
from nndepth_core.filters.settings import MEANING
from nndepth_core.plausibility import BaselineLimits

SettingsT = TypeVar('SettingsT')


def add_max_pixels(parser: argparse.ArgumentParser) -> None:
    """Declare `--max-pixels`."""
    parser.add_argument(
        '--max-pixels',
        type=int,
        default=MAX_PIXELS,
        metavar='N',
        help='images with more pixels, width times height, are refused before they are decoded; '
        'default: %(default)s',
    )


def add_rectify(parser: argparse.ArgumentParser, source: str) -> None:
    """Declare `--rectify`.

    Args:
        parser: where to declare it.
        source: what tells how to rectify.
    """
    parser.add_argument(
        '--rectify',
        action='store_true',
        help=f'the images are raw: rectify them first, by {source}; --calibration is then '
        f'{calibration.RAW_LAYOUTS}, and one file for a single camera',
    )


def check_rectify(args: argparse.Namespace) -> None:
    """Refuse `--rectify` of files without `--calibration`, which alone tells how."""
    if args.rectify and not args.calibration:
        raise ValueError('--rectify needs the calibration of the raw cameras; give --calibration')


def calibration_of(args: argparse.Namespace, single: bool = False) -> AnyCalibration | None:
    """Read what `--calibration` names, of raw cameras with `--rectify`; None without it.

    Args:
        args: the arguments.
        single: whether one camera is enough.

    Raises:
        FileNotFoundError: there is no such file.
        CalibrationError: it cannot be used.
    """
    if not args.calibration:
        return None
    return calibration.parse_for(args.calibration, single, args.rectify)


def add_truth_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `--truth` and `--truth-scale`."""
    add = parser.add_argument
    add(
        '--truth',
        default='',
        metavar='SOURCE',
        help='the true disparities of the pairs, or the true depths of single images: a file, a '
        'folder or a quoted glob',
    )
    add(
        '--truth-scale',
        type=positive,
        metavar='S',
        help='the stored value that stands for one pixel of disparity or for one metre of depth; '
        'default: 256 and 1000 in 16-bit pictures',
    )


def add_depth_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the limits of depth and the filters."""
    for end, which, value in (('min', 'nearer', '-inf'), ('max', 'farther', '+inf')):
        parser.add_argument(
            f'--{end}-depth',
            type=float,
            default=0.0,
            metavar='METRES',
            help=f'{which} points are {value} in depth images; 0: no limit',
        )
    add_group(parser, 'filter', FilterSettings, MEANING)


def add_disparity_sigma(parser: argparse.ArgumentParser) -> None:
    """Declare `--disparity-sigma`."""
    parser.add_argument(
        '--disparity-sigma',
        type=float,
        default=0.0,
        metavar='PIXELS',
        help='the standard deviation of disparities, in pixels of the processed image, from which '
        'that of depths follows; default: by the confidence of models where it is calibrated',
    )


def filter_settings(args: argparse.Namespace, streams: bool = True) -> FilterSettings:
    """Return the settings of the filters; a ValueError says what is not allowed.

    Args:
        args: what `add_depth_arguments` has declared.
        streams: whether images have a time, which the mean over time needs.
    """
    settings = group_of(args, 'filter', FilterSettings)
    if settings.smoothing and not streams:
        raise ValueError(
            f'--filter-smoothing is {settings.smoothing:g}, but files have no time; leave it out, '
            'or give a bag to nndepth replay'
        )
    return settings


def cloud_settings(args: argparse.Namespace, formats: Collection[str]) -> CloudSettings:
    """Return which points a cloud in a file keeps; a ValueError says what is not allowed."""
    settings = group_of(args, 'cloud', CloudSettings)
    if settings != CloudSettings() and 'cloud' not in formats:
        raise ValueError('--cloud-... say which points cloud keeps; add it to --formats')
    try:
        settings.check_limits(args.max_depth)
    except ValueError as error:
        raise ValueError(flag(f'cloud_{error}')) from error
    return settings


def add_group(
    parser: argparse.ArgumentParser, prefix: str, make: type, meaning: Mapping[str, str]
) -> None:
    """Declare `--PREFIX-NAME` for the fields with a meaning of a dataclass of numbers."""
    for field in fields(make):
        if field.name not in meaning:
            continue
        parser.add_argument(
            flag(f'{prefix}_{field.name}'),
            type=type(field.default),
            default=field.default,
            metavar=field.name.rpartition('_')[2].upper(),
            help=f'{meaning[field.name]}; default: %(default)s',
        )


def group_of(args: argparse.Namespace, prefix: str, make: type[SettingsT]) -> SettingsT:
    """Make a dataclass of what `add_group` has declared; a ValueError names the option."""
    names = [field.name for field in fields(make)]  # type: ignore[arg-type]
    try:
        return make(**{name: getattr(args, f'{prefix}_{name}') for name in names})
    except ValueError as error:
        raise ValueError(flag(f'{prefix}_{error}')) from error


def add_single_calibration(parser: argparse.ArgumentParser) -> None:
    """Declare `--calibration` of single images."""
    parser.add_argument(
        '--calibration',
        metavar='SOURCE',
        help='the camera of single images, for models that need it or gain by it and data that '
        f'do not tell it: {SINGLE_LAYOUTS}, or that of a pair, whose left camera is taken',
    )


def add_baseline_arguments(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Declare `--min-baseline` and `--max-baseline`."""
    for end, default, which in (
        ('min', BaselineLimits.low, 'shorter'),
        ('max', BaselineLimits.high, 'longer'),
    ):
        parser.add_argument(
            f'--{end}-baseline',
            type=float,
            default=default,
            metavar='METRES',
            help=f'{which} baselines than this are reported as implausible; default: %(default)s',
        )


def baseline_limits(args: argparse.Namespace) -> BaselineLimits:
    """Return the plausible baselines that were given; a ValueError says what is not allowed."""
    return BaselineLimits(args.min_baseline, args.max_baseline)


def positive(text: str) -> float:
    """Read a finite number that is larger than 0."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f'{text} is not allowed; give a number larger than 0')
    return value


def text(given: str) -> str:
    """Read text that is not empty."""
    if not given.strip():
        raise argparse.ArgumentTypeError('it is empty; give a value')
    return given


def path(given: str) -> Path:
    """Read a path that is not empty."""
    return Path(text(given))


def count(text: str) -> int:
    """Read a whole number that is 0 or larger."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f'{text} is not allowed; give 0 or more')
    return value


def image_size(text: str) -> tuple[int, int]:
    """Read a size that is given as WxH."""
    width, _, height = text.lower().partition('x')
    if not (width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f'{text!r} is no size; give WIDTHxHEIGHT, e.g. 640x480')
    return int(width), int(height)
