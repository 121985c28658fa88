"""`nndepth infer`: from image pairs or single images to maps, clouds and figures."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from nndepth_core import calibration, clouds
from nndepth_core.cli import command_parser, explain, model_options, options, wording
from nndepth_core.cli.errors import EXPECTED_ERRORS
from nndepth_core.cli.infer_mono import MonoInference
from nndepth_core.cli.infer_stereo import StereoInference
from nndepth_core.cli.saying import say
from nndepth_core.cli.table import table
from nndepth_core.clouds import CloudSettings
from nndepth_core.data.sample import spread
from nndepth_core.engines.source import settings_of_engine
from nndepth_core.evaluation.tables import finite
from nndepth_core.files.writing import check_folder, write_at_once
from nndepth_core.plausibility import Finding, Once

FORMATS = ('pfm', 'kitti', 'npy', 'depth', 'color', 'ply', 'cloud', 'sigma')
EXAMINED_SAMPLES = 10

Inference = StereoInference | MonoInference


def main(arguments: Sequence[str]) -> int:
    """Process every pair or image; return 1 if one of them failed."""
    args = _parser().parse_intermixed_args(arguments)
    with wording.naming_flags(args):
        return _infer(args)


def _infer(args: argparse.Namespace) -> int:
    if len(args.images) > 2:
        raise ValueError(
            f'{len(args.images)} images are given; give LEFT and RIGHT, or one IMAGE; a folder or '
            'a quoted glob stands for several files'
        )
    options.check_rectify(args)
    inference = StereoInference(args) if len(args.images) == 2 else MonoInference(args)
    check_folder(args.output)
    inference.load(args)

    records: list[dict[str, Any]] = []
    findings: list[Finding] = []
    once, said = Once(), set[str]()
    names = inference.images.names
    examined = spread(len(names), EXAMINED_SAMPLES)
    bar = tqdm(names, unit=inference.noun, disable=len(names) < 2 or None)
    for index, name in enumerate(bar):
        where = f'{inference.noun} {name}'
        try:
            picture = inference(index)
            record = picture.record()
            if index in examined:
                new = once(picture.examine())
                findings += new
                for finding in new:
                    say(f'warning: {where}: {wording.as_flags(finding.text, args)}')
            record['files'] = picture.write(args.output, inference.formats)
        except EXPECTED_ERRORS as error:
            record = {'name': name, 'error': wording.as_flags(explain(error), args)}
            if record['error'] not in said:  # one bad calibration fails every pair alike
                say(f'error: {where}: {record["error"]}')
            said.add(record['error'])
        records.append(record)
    _report(args, inference, records, findings)
    return int(any('error' in record for record in records))


def _parser() -> argparse.ArgumentParser:
    parser = command_parser('infer')
    add = parser.add_argument
    add(
        'images',
        metavar='IMAGE',
        nargs='+',
        help='LEFT and RIGHT, the images of pairs, which are rectified unless --rectify is given '
        'and are matched by their names or else by their order; or one IMAGE for a model of '
        'single images; each of them is a file, a folder of such files, or a quoted glob',
    )
    add(
        '--calibration',
        metavar='SOURCE',
        help=f'the calibration: {calibration.LAYOUTS}; for single images also '
        f'{calibration.SINGLE_LAYOUTS}; pairs need it for depth, ply and cloud, single images for '
        'ply and cloud',
    )
    options.add_rectify(parser, '--calibration')
    add(
        '--output',
        metavar='DIR',
        type=Path,
        default=Path('nndepth_output'),
        help='the folder that all files are written to; default: %(default)s',
    )
    add(
        '--formats',
        type=_formats,
        help=f'what is written, separated by commas, out of {", ".join(FORMATS)}; kitti is a '
        '16-bit PNG of 256 times the disparity, depth is a float32 NPY in metres and a 16-bit PNG '
        'in millimetres, sigma a float32 NPY of how precise it is, in metres; ply are all points '
        'and cloud those that the options --cloud-... keep; a model that gives no metres has none '
        'of these; default: '
        'pfm,color, and depth where it is known in metres',
    )
    model_options.add_estimator_arguments(parser)
    options.add_baseline_arguments(parser)
    options.add_depth_arguments(parser)
    options.add_disparity_sigma(parser)
    options.add_group(parser, 'cloud', CloudSettings, clouds.MEANING)
    add('--confidence', action='store_true', help='write the confidence too, as an 8-bit picture')
    options.add_truth_arguments(parser)
    options.add_max_pixels(parser)
    add('--json', action='store_true', help='print results.json instead of the table')
    return parser


def _report(
    args: argparse.Namespace,
    inference: Inference,
    records: list[dict[str, Any]],
    findings: Sequence[Finding],
) -> None:
    engine = inference.estimator.engine
    mean = _mean([record['metrics'] for record in records if 'metrics' in record])
    results = {
        'model': engine.spec.title,
        'network_settings': settings_of_engine(engine),
        'engine': engine.name,
        'device': engine.device,
        'refined': inference.estimator.refines,
        f'{inference.noun}s': records,
        'mean': mean,
        'findings': [finding.described() for finding in findings],
    }
    text = json.dumps(finite(results), indent=2)
    print(text if args.json else _table(inference, records, mean))
    write_at_once(args.output / 'results.json', text + '\n')


def _table(inference: Inference, records: list[dict[str, Any]], mean: dict[str, float]) -> str:
    shown = inference.columns if mean else {}
    rows = [[inference.noun, 'size', 'ms', 'finite %', *shown.values()]]
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
    text = table(rows, right=range(1, len(rows[0])))
    return f'{text}\n{inference.note}' if mean and inference.note else text


def _mean(metrics: list[dict[str, float]]) -> dict[str, float]:
    if not metrics:
        return {}
    return {key: float(np.mean([row[key] for row in metrics])) for key in metrics[0]}


def _formats(text: str) -> tuple[str, ...]:
    formats = tuple(part.strip() for part in text.split(','))
    if unknown := [part for part in formats if part not in FORMATS]:
        raise argparse.ArgumentTypeError(f'{unknown[0]!r} is none of {", ".join(FORMATS)}')
    return formats
