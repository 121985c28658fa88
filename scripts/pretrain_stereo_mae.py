#!/usr/bin/env python3
"""Pre-train the encoder of StereoMAE: `nndepth train` with config/pretraining/stereo_mae.yaml.

Settings are given as in `training.batch_size=16 model.mask_ratio=0.75`, or as
`--data.batch_size 16 --model.mask_ratio 0.75`; --config names another file. On several GPUs:
`torchrun --nproc_per_node 4 scripts/pretrain_stereo_mae.py ...`, or `accelerate launch`.
"""

import sys
from pathlib import Path

from nndepth_core.__main__ import command

CONFIG = Path(__file__).resolve().parents[1] / 'config/pretraining/stereo_mae.yaml'

if __name__ == '__main__':
    if not any(argument.partition('=')[0] == '--config' for argument in sys.argv[1:]):
        sys.argv[1:1] = ['--config', str(CONFIG)]
    sys.exit(command('train'))
