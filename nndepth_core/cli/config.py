"""`nndepth config`: the settings of a class as commented YAML."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `nndepth config`."""
    parser.add_argument(
        'name',
        metavar='CLASS',
        help='a network, data set, loss or trainer, e.g. RaftStereo or StereoTrainer, or the '
        'dotted path of a class of yours',
    )


def run(args: argparse.Namespace) -> int:
    """Print the YAML."""
    from nndepth_core.config.training import class_yaml

    print(class_yaml(args.name), end='')
    return 0
