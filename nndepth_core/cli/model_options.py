"""Arguments of all subcommands that run a model: which one, on what, and at which size."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from nndepth_core.cli.options import image_size
from nndepth_core.cli.wording import flag
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
from nndepth_core.files.values import integer

EstimatorT = TypeVar('EstimatorT', bound=Estimator)

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
        help='for pairs: make disparities more precise by the colours and gradients of the '
        'images; auto, the default, does so for the models that gain by it (nano_stereo)',
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
