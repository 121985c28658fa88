"""`nndepth evaluate`: how good and how fast models are on a data set."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from nndepth_core.cli import command_parser, datasets, explain, model_list, options
from nndepth_core.cli.table import table
from nndepth_core.evaluation import tables
from nndepth_core.evaluation.evaluate import Evaluation, evaluate_stereo
from nndepth_core.evaluation.names import STEREO_DEFAULT, STEREO_TITLES, metric_key
from nndepth_core.evaluation.regions import EDGE_BANDS, REGIONS
from nndepth_core.evaluation.report import Gallery, report_html
from nndepth_core.files.writing import check_writable, write_at_once

CONFIDENCE_METRICS = ('ause', 'ause_normalized', 'aurg')


def main(arguments: Sequence[str]) -> int:
    """Evaluate; 1 if samples had to be skipped."""
    settings, rest = datasets.split_settings(arguments)
    args = _parser().parse_intermixed_args(rest)
    check_outputs(args, args.csv, args.report)
    models = model_list.load_estimators(args.models, args)
    dataset = datasets.load_dataset(args.data, settings)
    gallery = Gallery(list(models), args.pictures) if args.report and args.pictures else None
    evaluation = evaluate_stereo(
        models,
        dataset,
        confidence=bool(set(args.metrics) & set(CONFIDENCE_METRICS)),
        bands=bool(set(args.regions) & set(EDGE_BANDS)),
        limit=args.limit,
        strict=args.strict,
        progress=True,
        observe=gallery,
    )
    rows = tables.summary(evaluation, STEREO_TITLES, args.metrics, args.regions)
    texts = {}
    if args.csv:
        texts[args.csv] = tables.csv_text(evaluation)
    if args.report:
        texts[args.report] = report_html(evaluation, rows, gallery)
    show(evaluation, args.json, rows, texts)
    return int(bool(evaluation.skipped))


def check_outputs(args: argparse.Namespace, *others: Path | None) -> None:
    """Refuse outputs that could not be written, before hours are spent on them."""
    paths = (Path(args.json) if args.json not in ('', '-') else None, *others)
    check_writable(*(path for path in paths if path))


def show(
    evaluation: Evaluation,
    json: str,
    rows: Sequence[Sequence[str]],
    files: Mapping[Path, str] = MappingProxyType({}),
    **more: object,
) -> None:
    """Print the table and what was skipped; write JSON to a file, or '-' in place of the table.

    Args:
        evaluation: what was found.
        json: name of the JSON file, '-' for standard output, '' for none.
        rows: the table.
        files: path -> text of further files.
        more: entries of the JSON.

    Raises:
        OSError: a file could not be written; everything else was.
    """
    text = tables.json_text(evaluation, **more) if json else ''
    print(text if json == '-' else table(rows, right=range(2, len(rows[0]))))
    for where, finding in evaluation.findings:
        print(f'nndepth: warning: {where}: {finding.text}', file=sys.stderr)
    for name, why in evaluation.skipped.items():
        print(f'nndepth: skipped {name}: {why}', file=sys.stderr)
    if evaluation.skipped:
        count = len(evaluation.skipped)
        total = count + len(evaluation.models[0].samples)
        print(f'nndepth: {count} of {total} samples skipped', file=sys.stderr)
    _write({**({} if json in ('', '-') else {Path(json): text + '\n'}), **files})


def _write(texts: Mapping[Path, str]) -> None:
    problems = []
    for path, text in texts.items():
        try:
            write_at_once(path, text)
        except OSError as error:
            problems.append(explain(error))
    if problems:
        raise OSError('; '.join(problems))


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what evaluating and comparing share."""
    add = parser.add_argument
    add(
        '--limit',
        type=options.count,
        default=0,
        metavar='N',
        help='samples at the most, spread evenly; 0, the default, for all',
    )
    add('--strict', action='store_true', help='stop at a sample that cannot be used')
    add('--json', default='', metavar='FILE', help='write all figures; - prints them instead')


def _parser() -> argparse.ArgumentParser:
    parser = command_parser('evaluate')
    add = parser.add_argument
    add('models', nargs='+', metavar='MODEL', help=model_list.HELP)
    add('--data', required=True, metavar='DATA', help=datasets.HELP)
    add(
        '--metrics',
        type=_metrics,
        default=STEREO_DEFAULT,
        metavar='NAME,...',
        help=f'columns of the table, of {", ".join(STEREO_TITLES)}, kitti-d1; '
        f'{", ".join(CONFIDENCE_METRICS)} judge the confidence; '
        f'default: {",".join(STEREO_DEFAULT)}',
    )
    add(
        '--regions',
        type=_regions,
        default=REGIONS,
        metavar='NAME,...',
        help=f'rows of the table, of {", ".join((*REGIONS, *EDGE_BANDS))}; the latter are so many '
        'pixels from depth edges that run along rows or columns; '
        f'default: {",".join(REGIONS)}',
    )
    add_output_arguments(parser)
    add('--csv', type=Path, metavar='FILE', help='write a row for each sample and region')
    add('--report', type=Path, metavar='FILE.html', help='write a page with pictures')
    add(
        '--pictures',
        type=options.count,
        default=12,
        metavar='N',
        help='samples that the page shows, those with the largest errors; default: %(default)s',
    )
    options.add_settings(parser)
    return parser


def _metrics(text: str) -> tuple[str, ...]:
    try:
        return tuple(metric_key(name, STEREO_TITLES) for name in text.split(','))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _regions(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(','))
    known = (*REGIONS, *EDGE_BANDS)
    if unknown := [name for name in names if name not in known]:
        raise argparse.ArgumentTypeError(f'{unknown[0]!r} is none of {", ".join(known)}')
    return names
