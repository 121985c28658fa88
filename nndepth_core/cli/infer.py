"""`nndepth infer`: from image pairs to disparities, depths, clouds and figures."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from nndepth_core import (
    StereoEstimator,
    StereoResult,
    calibration,
    io,
    plausibility,
    visualization,
)
from nndepth_core.calibration import Calibration
from nndepth_core.camera import StereoCamera
from nndepth_core.cli import command_parser, explain, options
from nndepth_core.cli.errors import EXPECTED_ERRORS
from nndepth_core.cli.table import table
from nndepth_core.data.sample import spread
from nndepth_core.evaluation.metrics import stereo_metrics
from nndepth_core.evaluation.tables import finite
from nndepth_core.files.writing import check_folder, write_at_once
from nndepth_core.plausibility import BaselineLimits, Finding, Once
from nndepth_core.plausibility.projections import examine_projections

FORMATS = ('pfm', 'kitti', 'npy', 'depth', 'color', 'ply')
CALIBRATED_FORMATS = ('depth', 'ply')
EXAMINED_PAIRS = 10
COLUMNS = {'epe': 'EPE', 'bad_1': 'bad-1', 'bad_2': 'bad-2', 'bad_3': 'bad-3', 'd1_all': 'D1-all'}


class Pair(NamedTuple):
    """The files of one pair."""

    name: str
    left: Path
    right: Path
    truth: Path | None


@dataclass(frozen=True)
class Picture:
    """What is known of one pair once it is through the estimator."""

    left: np.ndarray
    right: np.ndarray
    result: StereoResult
    truth: np.ndarray | None
    camera: StereoCamera | None
    depth: np.ndarray | None


def _parser() -> argparse.ArgumentParser:
    parser = command_parser('infer')
    add = parser.add_argument
    add('left', metavar='LEFT', help='rectified left image, a folder of them, or a quoted glob')
    add('right', metavar='RIGHT', help='the right images; matched by name, else by order')
    add('--calibration', metavar='SOURCE', help=f'{calibration.LAYOUTS}; needed for depth and ply')
    add(
        '--output',
        metavar='DIR',
        type=Path,
        default=Path('nndepth_output'),
        help='default: %(default)s',
    )
    add(
        '--formats',
        type=_formats,
        help=f'comma-separated, of {", ".join(FORMATS)}; kitti is a 16-bit PNG of 256 times the '
        'disparity, depth a float32 NPY in metres and a 16-bit PNG in millimetres; default: '
        'pfm,color, and depth where calibrated',
    )
    options.add_estimator_arguments(parser)
    options.add_baseline_arguments(parser)
    add('--confidence', action='store_true', help='write the confidence too, as an 8-bit picture')
    add('--truth', metavar='SOURCE', help='true disparities: a file, a folder or a quoted glob')
    add(
        '--truth-scale',
        type=options.positive,
        metavar='S',
        help='stored value of one pixel of disparity; 16-bit pictures default to 256',
    )
    options.add_max_pixels(parser)
    add('--json', action='store_true', help='print results.json instead of the table')
    return parser


def main(arguments: Sequence[str]) -> int:
    """Process every pair; 1 if one of them failed."""
    args = _parser().parse_args(arguments)
    pairs = _pairs(args)
    source = calibration.parse(args.calibration) if args.calibration else None
    formats = args.formats or ('pfm', 'color') + ('depth',) * bool(source)
    if source is None and (wanted := sorted(set(formats) & set(CALIBRATED_FORMATS))):
        raise ValueError(f'{" and ".join(wanted)} cannot be written without --calibration')
    limits = options.baseline_limits(args)
    check_folder(args.output)
    estimator = options.load_estimator(args)

    records: list[dict[str, Any]] = []
    findings: list[Finding] = []
    once, said = Once(), set[str]()
    examined = spread(len(pairs), EXAMINED_PAIRS)
    for index, pair in enumerate(tqdm(pairs, unit='pair', disable=len(pairs) < 2 or None)):
        try:
            picture = _estimate(pair, estimator, source, args)
            record = _measure(pair, picture)
            if index in examined:
                new = once(_examine(picture, estimator, source, limits))
                findings += new
                for finding in new:
                    _say('warning', pair, finding.text)
            record['files'] = _write(args.output, pair.name, picture, formats)
        except EXPECTED_ERRORS as error:
            record = {'name': pair.name, 'error': explain(error)}
            if record['error'] not in said:  # one bad calibration fails every pair alike
                _say('error', pair, record['error'])
            said.add(record['error'])
        records.append(record)
    _report(args, estimator, records, findings)
    return int(any('error' in record for record in records))


def _say(level: str, pair: Pair, text: str) -> None:
    tqdm.write(f'nndepth: {level}: pair {pair.name}: {text}', file=sys.stderr)


def _pairs(args: argparse.Namespace) -> list[Pair]:
    lists = [io.list_files(source) for source in (args.left, args.right)]
    if args.truth:
        lists.append(io.list_files(args.truth, io.DISPARITY_SUFFIXES))
    matched = io.match_files(*lists)
    names = io.distinct_names([files[0] for files in matched])
    return [
        Pair(name, files[0], files[1], files[2] if args.truth else None)
        for name, files in zip(names, matched, strict=True)
    ]


def _estimate(
    pair: Pair, estimator: StereoEstimator, source: Calibration | None, args: argparse.Namespace
) -> Picture:
    left, right = io.read_pair(pair.left, pair.right, args.max_pixels)
    size = (left.shape[1], left.shape[0])
    camera = source.camera(size) if source else None
    truth = (
        io.read_disparity(pair.truth, args.truth_scale, args.max_pixels) if pair.truth else None
    )
    result = estimator(left, right, confidence=args.confidence)
    depth = camera.disparity_to_depth(result.disparity) if camera else None
    return Picture(left, right, result, truth, camera, depth)


def _examine(
    picture: Picture,
    estimator: StereoEstimator,
    source: Calibration | None,
    limits: BaselineLimits,
) -> list[Finding]:
    left, right, camera = picture.left, picture.right, picture.camera
    disparity = picture.result.disparity
    found = plausibility.examine_levels(left, right)
    if camera is not None and source is not None:
        found += plausibility.examine_baseline(camera.baseline, camera.left.fx, limits)
        size = camera.left.width, camera.left.height
        found += examine_projections(source.p_left, source.p_right, *size)
    if picture.truth is not None and picture.truth.shape == disparity.shape:
        found += plausibility.examine_truth(left, right, picture.truth)
    largest = estimator.engine.spec.bounds[1]
    largest *= disparity.shape[1] / picture.result.processing_size[0]
    return found + plausibility.examine_estimate(left, right, disparity, camera, largest)


def _measure(pair: Pair, picture: Picture) -> dict[str, Any]:
    disparity = picture.result.disparity
    record: dict[str, Any] = {
        'name': pair.name,
        'left': str(pair.left),
        'right': str(pair.right),
        'width': disparity.shape[1],
        'height': disparity.shape[0],
        'milliseconds': picture.result.milliseconds,
        'density': 100 * plausibility.density(disparity, picture.camera),
    }
    if picture.truth is not None:
        record['metrics'] = stereo_metrics(disparity, picture.truth)
    return record


def _write(folder: Path, name: str, picture: Picture, formats: Sequence[str]) -> list[str]:
    """Write what was asked for and the side-by-side picture; return the names of the files."""
    disparity, confidence = picture.result.disparity, picture.result.confidence
    written: list[Path] = []

    def file(ending: str) -> Path:
        written.append(folder / f'{name}_{ending}')
        return written[-1]

    pictures = _pictures(picture)
    for kind, suffix in (('pfm', 'pfm'), ('kitti', 'png'), ('npy', 'npy')):
        if kind in formats:
            io.write_disparity(file(f'disparity.{suffix}'), disparity)
    if 'color' in formats:
        io.write_image(file('disparity_color.png'), pictures[1][1])
    if picture.depth is not None and 'depth' in formats:
        io.write_depth(file('depth.npy'), picture.depth)
        io.write_depth(file('depth.png'), picture.depth)
    if picture.camera is not None and picture.depth is not None and 'ply' in formats:
        points = picture.camera.left.points(picture.depth)
        io.write_ply(file('points.ply'), points, picture.left)
    if confidence is not None:
        io.write_image(file('confidence.png'), np.rint(255 * confidence).astype(np.uint8))
    io.write_image(file('panel.png'), visualization.panel(dict(pictures)))
    return [path.name for path in written]


def _pictures(picture: Picture) -> list[tuple[str, np.ndarray]]:
    """Title and picture of the left image, disparity, depth and error, where there are such."""
    disparity, truth, depth = picture.result.disparity, picture.truth, picture.depth
    low, high = visualization.value_range(disparity if truth is None else truth)
    pictures = [
        ('left image', picture.left),
        (
            f'disparity, {low:.1f} (blue) to {high:.1f} px (red)',
            visualization.colorize(disparity, low, high),
        ),
    ]
    if depth is not None:
        with np.errstate(divide='ignore'):
            log_depth = np.log(depth)
        near, far = visualization.value_range(log_depth, percentile=5)
        title = f'log depth, {math.exp(near):.2f} (red) to {math.exp(far):.2f} m (blue)'
        pictures.append((title, visualization.colorize(log_depth, far, near)))
    if truth is not None:
        pictures.append(
            (
                'error, 0 (blue) to 4 px (red), no estimate white',
                visualization.error_map(disparity, truth),
            )
        )
    return pictures


def _report(
    args: argparse.Namespace,
    estimator: StereoEstimator,
    records: list[dict[str, Any]],
    findings: Sequence[Finding],
) -> None:
    engine = estimator.engine
    mean = _mean([record['metrics'] for record in records if 'metrics' in record])
    results = {
        'model': engine.spec.name,
        'engine': engine.name,
        'device': engine.device,
        'pairs': records,
        'mean': mean,
        'findings': [finding.described() for finding in findings],
    }
    text = json.dumps(finite(results), indent=2)
    print(text if args.json else _table(records, mean))
    write_at_once(args.output / 'results.json', text + '\n')


def _table(records: list[dict[str, Any]], mean: dict[str, float]) -> str:
    shown = [*COLUMNS] if mean else []
    rows = [['pair', 'size', 'ms', 'density', *(COLUMNS[key] for key in shown)]]
    for record in records:
        if 'error' in record:
            rows.append([record['name'], 'failed', *[''] * (len(rows[0]) - 2)])
            continue
        size = f'{record["width"]}x{record["height"]}'
        total = sum(record['milliseconds'].values())
        figures = [f'{record["metrics"][key]:.3f}' for key in shown]
        rows.append([record['name'], size, f'{total:.1f}', f'{record["density"]:.2f}', *figures])
    if mean and len(records) > 1:
        rows.append(['mean', '', '', '', *(f'{mean[key]:.3f}' for key in shown)])
    return table(rows, right=range(1, len(rows[0])))


def _mean(metrics: list[dict[str, float]]) -> dict[str, float]:
    if not metrics:
        return {}
    return {key: float(np.mean([row[key] for row in metrics])) for key in metrics[0]}


def _formats(text: str) -> tuple[str, ...]:
    formats = tuple(part.strip() for part in text.split(','))
    if unknown := [part for part in formats if part not in FORMATS]:
        raise argparse.ArgumentTypeError(f'{unknown[0]!r} is none of {", ".join(FORMATS)}')
    return formats
