#!/usr/bin/env python3
"""Measure speed: `benchmark.py node` for the cost of the ROS node beside its engine.

Run it in a terminal where the built workspace is sourced (`. scripts/env.sh`).
"""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np

NODE_OUTPUTS = {
    'depth': ['disparity', 'depth/image', 'depth/camera_info'],
    'cloud': ['disparity', 'depth/image', 'depth/camera_info', 'points2', 'disparity/image_color'],
}


def main() -> int:
    """Parse, run, print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True)
    node = commands.add_parser('node', help='milliseconds of each stage of stereo_node')
    node.add_argument('--size', type=_size, default=(1280, 720), metavar='WxH')
    node.add_argument('--frames', type=int, default=50)
    node.add_argument('--outputs', choices=NODE_OUTPUTS, nargs='*', default=list(NODE_OUTPUTS))
    node.add_argument('-p', '--parameter', action='append', default=[], metavar='NAME:=VALUE')
    node.add_argument('--json', action='store_true', help='print the figures as JSON only')
    arguments = parser.parse_args()
    return _node(arguments)


def _node(arguments: argparse.Namespace) -> int:
    from nndepth_ros.benchmark import measure_node

    report = {}
    for name in arguments.outputs:
        stages = measure_node(
            arguments.size, NODE_OUTPUTS[name], arguments.frames, arguments.parameter
        )
        report[name] = {
            stage: [round(float(np.percentile(ms, p)), 2) for p in (50, 95)]
            for stage, ms in stages.items()
        }
    if arguments.json:
        print(json.dumps(report, indent=2))
        return 0
    for name, stages in report.items():
        print(f'{", ".join(NODE_OUTPUTS[name])} at {"x".join(map(str, arguments.size))}')
        for stage, (p50, p95) in stages.items():
            print(f'  {stage:12} p50 {p50:8.2f} ms   p95 {p95:8.2f} ms')
    return 0


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = map(int, text.lower().split('x'))
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is not WxH, e.g. 1280x720') from None
    return width, height


if __name__ == '__main__':
    sys.exit(main())
