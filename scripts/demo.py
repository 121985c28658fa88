#!/usr/bin/env python3
"""Play a rendered stereo sequence to the stereo node and report speed, latency and errors.

Run it in a terminal where the built workspace is sourced (`make demo` does).
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from nndepth_core.cli import signals
from nndepth_core.engines import DEFAULT_NETWORK
from nndepth_ros.demo import DemoError
from nndepth_ros.demo.report import table
from nndepth_ros.demo.run import run_demo
from nndepth_ros.demo.sequence import SequenceSettings


def main() -> int:
    """Parse, run, print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('models', nargs='*', default=[DEFAULT_NETWORK, 'sgbm'], help='run in turn')
    parser.add_argument(
        '--frames', type=int, default=SequenceSettings.frames, help='pairs in the sequence'
    )
    parser.add_argument('--fps', type=float, default=SequenceSettings.fps, help='pairs per second')
    parser.add_argument(
        '--seed', type=int, default=SequenceSettings.seed, help='decides the scene'
    )
    parser.add_argument('--folder', type=Path, default=Path('.demo'), help='where results go')
    parser.add_argument(
        '-p',
        '--parameter',
        action='append',
        default=[],
        metavar='NAME:=VALUE',
        help='further parameter of the node; may be repeated',
    )
    parser.add_argument('--timeout', type=float, default=60.0, help='seconds to the first output')
    parser.add_argument(
        '--domain-id', type=int, help="ROS_DOMAIN_ID; default: one of the demo's own"
    )
    parser.add_argument('--json', action='store_true', help='print the figures as JSON only')
    arguments = parser.parse_args()
    with signals.interruptible() as interruption:
        interruption.orderly = True
        try:
            return _run(arguments)
        except (Exception, KeyboardInterrupt) as error:
            if not interruption.number and isinstance(error, Exception):
                raise
            print('demo: interrupted', file=sys.stderr)
            return interruption.exit_code


def _run(arguments: argparse.Namespace) -> int:
    try:
        reports = run_demo(
            arguments.models,
            arguments.folder,
            SequenceSettings(arguments.seed, arguments.frames, arguments.fps),
            arguments.parameter,
            arguments.timeout,
            arguments.domain_id,
        )
    except DemoError as error:
        print(f'demo failed: {error}', file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps([{**asdict(r), 'dropped': r.dropped} for r in reports], indent=2))
        return 0
    print(table(reports))
    for report in reports:
        answered = f'{report.pairs_out} of {report.pairs_in} pairs answered at {report.size}'
        print(f'{report.model}: {answered}' + (f'; {report.reason}' if report.reason else ''))
        print(f'{report.model}: {report.picture}  {report.cloud}  {report.bag}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
