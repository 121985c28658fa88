"""Arguments that subcommands share: which estimator, and what it works at."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any, TypeVar

from nndepth_core.config.checks import integer
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
from nndepth_core.estimator import DEFAULT_MODEL, Estimator
from nndepth_core.files.picture import MAX_PIXELS
from nndepth_core.plausibility import BaselineLimits

EstimatorT = TypeVar('EstimatorT', bound=Estimator)

MODEL_HELP = (
    f'one of {", ".join(MODELS)}, with a variant as in raft_stereo-realtime, or an .onnx file'
)


def add_estimator_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `load_estimator` reads."""
    parser.add_argument(
        '--model', default=DEFAULT_MODEL, help=f'{MODEL_HELP}; default: %(default)s'
    )
    add_settings(parser)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Declare what `load_estimator` reads beside the model."""
    add = parser.add_argument
    add('--engine', default='auto', help=f'one of {", ".join(ENGINES)}; default: %(default)s')
    add('--device', default='auto', help=f'one of {", ".join(DEVICES)}; default: %(default)s')
    add('--weights', default='', metavar='FILE', help='of a network, or their name in the store')
    add(
        '--precision',
        default='auto',
        help=f'of a network, one of {", ".join(PRECISIONS)}; default: %(default)s',
    )
    add('--iterations', type=int, default=0, metavar='N', help='steps of an iterative network')
    add('--threads', type=int, default=0, metavar='N', help='of a network on the CPU')
    for name, meaning in CONTRACT_OPTIONS.items():
        help_text = f'of an .onnx file that nndepth did not export: {meaning}'
        add(_flag(name), default='', metavar=name.rpartition('_')[2].upper(), help=help_text)
    add(
        '--max-disparity',
        type=int,
        metavar='N',
        help='largest disparity sgbm searches, in pixels of the processed image, rounded up to a '
        'multiple of 16',
    )
    add(
        '--processing-size',
        type=image_size,
        default=(0, 0),
        metavar='WxH',
        help='resample to this first; one of both may be 0 and follows from the other',
    )
    add(
        '--confidence-threshold',
        type=float,
        default=0.0,
        metavar='C',
        help='drop estimates less confident than this, 0..1',
    )


def add_max_pixels(parser: argparse.ArgumentParser) -> None:
    """Declare `--max-pixels`."""
    parser.add_argument(
        '--max-pixels',
        type=int,
        default=MAX_PIXELS,
        metavar='N',
        help='refuse larger images, width times height, before they are decoded; default: '
        '%(default)s',
    )


def add_truth_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `--truth` and `--truth-scale`."""
    add = parser.add_argument
    add(
        '--truth',
        default='',
        metavar='SOURCE',
        help='true disparities of the pairs, or true depths of single images: a file, a folder or '
        'a quoted glob',
    )
    add(
        '--truth-scale',
        type=positive,
        metavar='S',
        help='stored value of one pixel of disparity, which is 256 in 16-bit pictures by default, '
        'or of one metre of depth, which is 1000',
    )


def add_baseline_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `baseline_limits` reads."""
    for end, default, which in (
        ('min', BaselineLimits.low, 'shorter'),
        ('max', BaselineLimits.high, 'longer'),
    ):
        parser.add_argument(
            f'--{end}-baseline',
            type=float,
            default=default,
            metavar='METRES',
            help=f'{which} baselines are reported as implausible; default: %(default)s',
        )


def baseline_limits(args: argparse.Namespace) -> BaselineLimits:
    """Baselines that are plausible; ValueError says what is not allowed."""
    return BaselineLimits(args.min_baseline, args.max_baseline)


def load_estimator(
    args: argparse.Namespace, load: Callable[..., EstimatorT], **settings: Any
) -> EstimatorT:
    """Make and test the estimator that was asked for.

    Args:
        args: what `add_estimator_arguments` has declared.
        load: `estimator.load_estimator`, or `load` of the one kind of estimator that will do.
        settings: more of the estimator.

    Raises:
        ValueError, EngineError: an argument is not allowed; the message says which and what is.
    """
    check_names(args.model, args.engine, args.device, args.precision)
    model = resolve_model(args.model, args.engine)
    if args.max_disparity is not None and model != 'sgbm':
        raise ValueError(
            f'--max-disparity is for sgbm; {model} has its own range: leave it out, or give '
            '--model sgbm'
        )
    given = _given(args)
    options = options_for(model, given)
    if unfit := [name for name in given if name not in options]:
        flags = ', '.join(map(_flag, unfit))
        raise ValueError(f'{model} takes no {flags}; leave that out, or give another model')
    estimator = load(
        model,
        args.engine,
        args.device,
        options,
        processing_size=args.processing_size,
        confidence_threshold=args.confidence_threshold,
        **settings,
    )
    estimator.self_test()
    return estimator


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """The engine's options that are not left at their defaults."""
    values = {name: getattr(args, name) for name in (*NETWORK_OPTIONS, *CONTRACT_OPTIONS)}
    given = {name: value for name, value in values.items() if value not in ('', 0, 'auto')}
    if args.max_disparity is not None:
        most = RANGES['num_disparities']['high']
        disparities = integer('--max-disparity', args.max_disparity, 1, most)
        given['num_disparities'] = -(-disparities // 16) * 16
    return given


def _flag(name: str) -> str:
    return f'--{name.replace("_", "-")}'


def positive(text: str) -> float:
    """Read a number that is larger than 0 and finite."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f'{text} is not allowed; give a number larger than 0')
    return value


def count(text: str) -> int:
    """Read a whole number, 0 or larger."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f'{text} is not allowed; give 0 or more')
    return value


def image_size(text: str) -> tuple[int, int]:
    """Read WxH."""
    width, _, height = text.lower().partition('x')
    if not (width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f'{text!r} is no size; give WIDTHxHEIGHT, e.g. 640x480')
    return int(width), int(height)
