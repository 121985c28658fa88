"""Arguments that several subcommands share: which model runs, on what, and at which size."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from nndepth_core import calibration
from nndepth_core.calibration import SINGLE_LAYOUTS, AnyCalibration
from nndepth_core.cli.wording import flag
from nndepth_core.clouds import CloudSettings
from nndepth_core.engines import (
    DEVICES,
    ENGINES,
    MODELS,
    PRECISIONS,
    check_names,
    resolve_model,
)
from nndepth_core.engines.contract import OPTIONS as CONTRACT_OPTIONS
from nndepth_core.engines.options import NETWORK_OPTIONS, options_for
from nndepth_core.engines.sgbm import RANGES
from nndepth_core.estimator import DEFAULT_MODEL, REFINE, Estimator
from nndepth_core.files.picture import MAX_PIXELS
from nndepth_core.files.values import integer
from nndepth_core.filters import FilterSettings
from nndepth_core.filters.settings import MEANING
from nndepth_core.plausibility import BaselineLimits

EstimatorT = TypeVar('EstimatorT', bound=Estimator)
SettingsT = TypeVar('SettingsT')

MODEL_HELP = (
    f'one of {", ".join(MODELS)}, a network with its variant as in raft_stereo-realtime, or the '
    'path of an .onnx file'
)


def add_estimator_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare all arguments that `load_estimator` reads."""
    parser.add_argument(
        '--model', default=DEFAULT_MODEL, help=f'{MODEL_HELP}; default: %(default)s'
    )
    add_settings(parser)


def add_settings(parser: argparse.ArgumentParser, align_rows: bool = True) -> None:
    """Declare the arguments that `load_estimator` reads, except `--model`.

    Args:
        parser: where to declare them.
        align_rows: what `load_estimator` is called with.
    """
    add = parser.add_argument
    add(
        '--engine',
        default='auto',
        help=f'what executes the model: one of {", ".join(ENGINES)}; default: %(default)s',
    )
    add(
        '--device',
        default='auto',
        help=f'where the model runs: one of {", ".join(DEVICES)}; default: %(default)s',
    )
    add_network_arguments(parser, PRECISIONS)
    add(
        '--threads',
        type=int,
        default=0,
        metavar='N',
        help='how many threads a network uses on the CPU; default: one for each core',
    )
    for name, meaning in CONTRACT_OPTIONS.items():
        help_text = f'for an .onnx file that nndepth did not export: {meaning}'
        add(flag(name), default='', metavar=name.rpartition('_')[2].upper(), help=help_text)
    add(
        '--processing-size',
        type=image_size,
        default=(0, 0),
        metavar='WxH',
        help='the size to which images are resampled first; one of both numbers may be 0 and '
        'then follows from the other',
    )
    add(
        '--align-rows',
        choices=('on', 'off'),
        help='for pairs: find rows of the right image that are slightly off, and move them back; '
        f'default: {"on" if align_rows else "off"}',
    )
    add(
        '--refine',
        choices=tuple(REFINE),
        default='auto',
        help='for pairs: make disparities more precise by the gradients of both images; auto, the '
        'default, does so for the models that gain by it (nano_stereo)',
    )
    add(
        '--confidence-threshold',
        type=float,
        default=0.0,
        metavar='C',
        help='estimates with a smaller confidence than this, 0..1, are dropped',
    )


def add_network_arguments(parser: argparse.ArgumentParser, precisions: Sequence[str]) -> None:
    """Declare the weights, precision (by default the first one) and iterations of a network."""
    add = parser.add_argument
    add(
        '--weights',
        default='',
        metavar='FILE',
        help='a checkpoint file for the network, a folder that save_pretrained wrote, or the name '
        'of stored weights; default: those that were stored last',
    )
    add(
        '--commercial-only',
        action='store_true',
        help='refuse weights whose stated licence does not allow commercial use',
    )
    add(
        '--set',
        dest='network_settings',
        action='append',
        default=[],
        metavar='NAME=VALUE',
        help='a setting of the network in place of its own, such as num_tokens=1200, with which '
        'moge2 is faster and less precise; it may be given several times',
    )
    add(
        '--max-disparity',
        type=int,
        metavar='N',
        help='the range of disparities in pixels of the processed image: of sgbm, rounded up to a '
        'multiple of 16, and of networks with such a setting, a multiple of 64 for nano_stereo',
    )
    add(
        '--precision',
        default=precisions[0],
        help=f'the arithmetic of a network: one of {", ".join(precisions)}; default: %(default)s',
    )
    add(
        '--iterations',
        type=int,
        default=0,
        metavar='N',
        help='how many steps an iterative network takes; default: as many as its authors chose',
    )


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


def load_estimator(
    args: argparse.Namespace,
    load: Callable[..., EstimatorT],
    align_rows: bool = True,
    **settings: Any,
) -> EstimatorT:
    """Make and test the estimator that was asked for.

    Args:
        args: what `add_estimator_arguments` has declared.
        load: `estimator.load_estimator`, or `StereoEstimator.load` where only that will do.
        align_rows: whether rows are aligned where `--align-rows` is not given.
        settings: more of the estimator.

    Raises:
        ValueError, EngineError: an argument is not allowed; the message says which and what is.
    """
    check_names(args.model, args.engine, args.device, args.precision)
    model = resolve_model(args.model, args.engine)
    given = _given(args, model)
    options = options_for(model, given)
    if unfit := [name for name in given if name not in options]:
        flags = ', '.join(map(flag, unfit))
        raise ValueError(f'{model} takes no {flags}; leave that out, or give another model')
    share = {'threads': getattr(args, 'worker_threads', 0)}  # which --threads goes before
    options = {**(options_for(model, share) if share['threads'] else {}), **options}
    estimator = load(
        model,
        args.engine,
        args.device,
        options,
        processing_size=args.processing_size,
        confidence_threshold=args.confidence_threshold,
        align_rows=args.align_rows == 'on' if args.align_rows else align_rows,
        refine=REFINE[args.refine],
        **settings,
    )
    for name, is_given in (('align_rows', args.align_rows), ('refine', args.refine != 'auto')):
        if is_given and estimator.task != 'stereo':
            title = estimator.engine.spec.title
            raise ValueError(f'{flag(name)} is for pairs, and {title} takes single images')
    estimator.self_test()
    return estimator


def _given(args: argparse.Namespace, model: str) -> dict[str, Any]:
    """The engine's options that are not left at their defaults."""
    values = {name: getattr(args, name) for name in (*NETWORK_OPTIONS, *CONTRACT_OPTIONS)}
    if model == 'sgbm' and (largest := args.max_disparity) is not None:
        integer('--max-disparity', largest, 1, RANGES['num_disparities']['high'])
        values['num_disparities'] = -(-largest // 16) * 16
        values['network_settings'] = ' '.join(args.network_settings)
    else:
        if args.max_disparity is not None and model.endswith('.onnx'):
            raise ValueError(
                f'{model} has its own range of disparities; leave --max-disparity out'
            )
        values['network_settings'] = network_settings(args)
    return {name: value for name, value in values.items() if value not in ('', 0, 'auto')}


def network_settings(args: argparse.Namespace) -> str:
    """The settings of a network that `add_network_arguments` has declared."""
    largest = args.max_disparity
    own = [] if largest is None else [f'max_disparity={largest}']
    return ' '.join([*args.network_settings, *own])


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
