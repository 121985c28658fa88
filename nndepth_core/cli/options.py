"""Arguments that subcommands share: which estimator, and what it works at."""

from __future__ import annotations

import argparse
import math
from typing import Any

from nndepth_core.engines import DEVICES, ENGINES, MODELS
from nndepth_core.estimator import StereoEstimator


def add_estimator_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `load_estimator` reads."""
    add = parser.add_argument
    add('--model', default=MODELS[0], help=f'one of {", ".join(MODELS)}; default: %(default)s')
    add('--engine', default='auto', help=f'one of {", ".join(ENGINES)}; default: %(default)s')
    add('--device', default='auto', help=f'one of {", ".join(DEVICES)}; default: %(default)s')
    add(
        '--max-disparity',
        type=int,
        metavar='N',
        help='largest disparity searched, in pixels of the processed image; sgbm rounds it up to '
        'a multiple of 16',
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


def load_estimator(args: argparse.Namespace, **settings: Any) -> StereoEstimator:
    """Make the estimator that was asked for; `settings` are further ones of StereoEstimator.

    Raises:
        ValueError, EngineError: an argument is not allowed; the message says which and what is.
    """
    options = {}
    if args.max_disparity is not None:
        options['num_disparities'] = 16 * math.ceil(args.max_disparity / 16)
    return StereoEstimator.load(
        args.model,
        args.engine,
        args.device,
        options,
        processing_size=args.processing_size,
        confidence_threshold=args.confidence_threshold,
        **settings,
    )


def image_size(text: str) -> tuple[int, int]:
    """Read WxH."""
    width, _, height = text.lower().partition('x')
    if not (width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f'{text!r} is no size; give WIDTHxHEIGHT, e.g. 640x480')
    return int(width), int(height)
