"""`nndepth config`: the settings of a class as commented YAML."""

from __future__ import annotations

from collections.abc import Sequence

from nndepth_core.cli import command_parser


def main(arguments: Sequence[str]) -> int:
    """Print the settings of the class as YAML."""
    parser = command_parser('config')
    parser.add_argument(
        'name',
        metavar='CLASS',
        help='a network, data set, loss or trainer, e.g. RaftStereo or StereoTrainer, or the '
        'dotted path of a class of yours',
    )
    args = parser.parse_args(arguments)

    from nndepth_core.config.training import class_yaml

    print(class_yaml(args.name), end='')
    return 0
