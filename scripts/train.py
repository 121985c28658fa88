#!/usr/bin/env python3
"""Train or fine-tune a network: `nndepth train` by another name.

On several GPUs: `torchrun --nproc_per_node 4 scripts/train.py ...`, or `accelerate launch`.
"""

import sys

from nndepth_core.__main__ import command

if __name__ == '__main__':
    sys.exit(command('train'))
