#!/usr/bin/env python3
"""Train the default model from nothing, or go on from the weights that come with the package.

Small pictures first, which teach matching quickly, then large ones. Killed at any moment, the
same command goes on. On several GPUs or CPU cores:
torchrun --nproc_per_node 2 scripts/train_default.py
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from nndepth_core.config.training import read_run
from nndepth_core.engines import DEFAULT_NETWORK
from nndepth_core.weights.store import stored_weights

CONFIG = Path(__file__).resolve().parents[1] / 'config'
STAGES = {
    'small': (
        '--data.train.size', '[192, 384]',
        '--data.augmentation.crop', '[192, 384]',
        '--data.train.largest_disparity', '128',
    ),
    'large': (),
}  # fmt: skip
"""What the stages change of config/data/default_model.yaml, in order."""


def main() -> int:
    """Run the stages; further arguments override settings of every stage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--folder', type=Path, default=Path('runs/default_model'))
    parser.add_argument(
        '--go-on', action='store_true', help='begin large, from the weights of the package'
    )
    args, overrides = parser.parse_known_args()
    logging.basicConfig(level=logging.INFO, format='%(levelname)s: %(message)s')
    stages = ['large'] if args.go_on else list(STAGES)
    weights = stored_weights(DEFAULT_NETWORK) if args.go_on else None
    for stage in stages:
        arguments = [
            '--model', DEFAULT_NETWORK,
            '--data', str(CONFIG / 'data/default_model.yaml'),
            '--trainer.folder', str(args.folder / stage),
            '--trainer.resume', 'true',
            *(('--trainer.weights', str(weights)) if weights else ()),
            *STAGES[stage],
            *overrides,
        ]  # fmt: skip
        weights = read_run(arguments, 'train_default.py').train()
    print(f'trained; nndepth weights import {weights} --model {DEFAULT_NETWORK}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
