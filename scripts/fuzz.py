#!/usr/bin/env python3
"""Feed random and damaged inputs to all that reads other people's files and messages.

`fuzz.py --seconds 600` tries every target in turn; the exit code is 1 if any has a fault.
"""

from __future__ import annotations

import argparse
import sys
from collections import deque
from pathlib import Path

from tqdm import tqdm

from nndepth_core.testing.fuzzing import Findings, core_targets, fuzz, report
from nndepth_ros.fuzzing import conversion_target


def main() -> int:
    """Parse, run, print; return the exit code."""
    targets = {**core_targets(), 'conversions': conversion_target()}
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add('targets', nargs='*', metavar='TARGET', help=f'of {", ".join(targets)}; default: all')
    add('--count', type=int, default=0, metavar='N', help='inputs of each target')
    add('--seconds', type=float, default=0.0, metavar='S', help='of each target; default: 10')
    add('--seed', type=int, default=0, metavar='N', help='the same gives the same inputs')
    add('--keep', type=Path, metavar='FOLDER', help='keep an input of each fault there')
    add('--json', action='store_true', help='print the figures as JSON only')
    args = parser.parse_args()
    if unknown := [name for name in args.targets if name not in targets]:
        parser.error(f'target {unknown[0]!r} is unknown; choose of {", ".join(targets)}')
    seconds = args.seconds if args.count or args.seconds else 10.0
    results: list[Findings] = []
    for name in args.targets or targets:
        runs = fuzz(name, targets[name], args.seed, args.count, seconds, args.keep)
        bar = tqdm(runs, name, args.count or None, unit=' inputs', disable=args.json or None)
        results += deque(bar, maxlen=1)
        if not args.json:
            print(results[-1])
    if args.json:
        print(report(results))
    return int(any(found.faults for found in results))


if __name__ == '__main__':
    sys.exit(main())
