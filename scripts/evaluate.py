#!/usr/bin/env python3
"""Evaluate models on a data set: `nndepth evaluate` by another name."""

import sys

from nndepth_core.__main__ import command

if __name__ == '__main__':
    sys.exit(command('evaluate'))
