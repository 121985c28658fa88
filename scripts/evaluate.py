#!/usr/bin/env python3
"""Evaluate models on a data set: `nndepth evaluate` by another name."""

import sys

from nndepth_core.cli import main

if __name__ == '__main__':
    sys.exit(main(['evaluate', *sys.argv[1:]]))
