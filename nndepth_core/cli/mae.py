"""`nndepth mae show`: what a masked autoencoder of pairs fills in."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nndepth_core import io
from nndepth_core.cli import command_parser
from nndepth_core.files.yaml_mapping import read_mapping
from nndepth_core.weights.settings import check_settings, parse_settings

if TYPE_CHECKING:
    from nndepth_core.models.masked_stereo import MaskedStereo


def main(arguments: Sequence[str]) -> int:
    """Draw input, mask, reconstruction and difference of a pair."""
    args = _parser().parse_args(arguments)
    if args.output.resolve() in (args.left.resolve(), args.right.resolve()):
        raise ValueError(f'{args.output} is an image to read; give another file by --output')
    left, right = io.read_pair(args.left, args.right)
    from nndepth_core.training.masked import draw_pair, fill_in

    network = load(args.weights, args.variant, args.set)
    io.write_image(
        args.output, draw_pair(fill_in(network, left, right, seed=args.seed), left, right)
    )
    print(f'{args.output}: {network.mask_ratio:.0%} of the patches removed, {network.masks} masks')
    return 0


def load(weights: Path, variant: str, texts: Sequence[str]) -> MaskedStereo:
    """Make the network that a checkpoint is of, in eval mode.

    Args:
        weights: a checkpoint file. The config.yaml of the run in whose folder it lies has
            the settings; without one the variant has them.
        variant: of the network.
        texts: settings that replace them, as 'mask_ratio=0.5'.

    Raises:
        CheckpointError: the file cannot be read or does not fit.
        ValueError: variant or settings are impossible.
    """
    from nndepth_core.models.masked_stereo import MaskedStereo
    from nndepth_core.training.checkpoints import config_of
    from nndepth_core.weights.loading import load_weights

    if variant not in MaskedStereo.variants:
        known = ', '.join(MaskedStereo.variants)
        raise ValueError(f'variant {variant!r} is unknown; choose one of {known}')
    settings: dict[str, Any] = dict(MaskedStereo.variants[variant])
    if config := config_of(weights):
        settings = _settings_in(config, settings)
    network = MaskedStereo(**{**settings, **parse_settings(MaskedStereo, texts)})
    load_weights(network, weights)
    return network.eval()


def _settings_in(config: Path, default: dict[str, Any]) -> dict[str, Any]:
    """The settings of the network in the configuration of a run.

    Raises:
        ValueError: the run is one of another network, or there are no such settings.
    """
    from nndepth_core.models.masked_stereo import MaskedStereo

    model = read_mapping(config).get('model')
    path = model.get('class_path') if isinstance(model, dict) else model
    name = str(path).rpartition('.')[2]
    if name != MaskedStereo.__name__:
        raise ValueError(
            f'{config} is of a run of {name}; give the weights of a pre-training, whose network '
            f'is {MaskedStereo.__name__}'
        )
    settings = model.get('init_args', default) if isinstance(model, dict) else default
    check_settings(MaskedStereo, settings)
    return settings


def _parser() -> argparse.ArgumentParser:
    parser = command_parser('mae')
    show = parser.add_subparsers(required=True, metavar='show').add_parser(
        'show', help='draw input, mask, reconstruction and difference of a pair'
    )
    add = show.add_argument
    add('weights', type=Path, metavar='WEIGHTS', help='a checkpoint of a pre-training')
    add('left', type=Path, metavar='LEFT', help='the left image')
    add('right', type=Path, metavar='RIGHT', help='the right image')
    add('--output', type=Path, default=Path('mae.png'), help='the picture; default: %(default)s')
    add(
        '--variant',
        default='spatial',
        help='of the network, where the weights do not lie in the folder of their run: spatial, '
        'spatial_tiny or authors; default: %(default)s',
    )
    add(
        '--set',
        action='append',
        default=[],
        metavar='NAME=VALUE',
        help='a setting of the network, such as mask_ratio=0.5 or resize=true',
    )
    add('--seed', type=int, default=0, help='decides what is removed; default: %(default)s')
    return parser
