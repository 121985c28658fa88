"""`nndepth data inspect`: samples of a data set as pictures, and whether their truth is right."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from nndepth_core import io
from nndepth_core.cli import command_parser, datasets, options
from nndepth_core.cli.table import table
from nndepth_core.data.datasets.base import Dataset, DatasetError, MonoSource, StereoSource
from nndepth_core.data.datasets.mixture import Mixture
from nndepth_core.data.inspect import TRUTH, TruthCheck, check_truth, picture
from nndepth_core.data.inspect_depth import AS_IT_IS, DepthCheck, check_depth
from nndepth_core.data.sample import MonoSample, StereoSample, spread
from nndepth_core.files.writing import check_folder
from nndepth_core.spec import Task

HEADINGS: dict[Task, tuple[str, ...]] = {
    'stereo': ('disparity px', 'error at truth', 'least elsewhere'),
    'mono': ('depth', 'edges at its steps', 'most if turned'),
}


def main(arguments: Sequence[str]) -> int:
    """Inspect the samples; return 1 if one looks wrong or cannot be read."""
    settings, rest = datasets.split_settings(arguments)
    args = _parser().parse_args(rest)
    task = datasets.task_of(args.data)
    dataset = datasets.load_dataset(args.data, settings, task)
    indices = spread(len(dataset), args.samples)
    if not indices:
        raise DatasetError(f'{dataset.name} has no samples')
    if args.output:
        check_folder(args.output)
    rows: list[Sequence[str]] = [('sample', 'known %', *HEADINGS[task], 'verdict')]
    problems: list[str] = []
    for index in tqdm(indices, unit='sample', disable=None, leave=False):
        try:
            sample = dataset[index]
        except DatasetError as error:
            problems.append(str(error))
            continue
        check, row = _checked(sample, args.shift)
        rows.append(row)
        if check.problem:
            problems.append(f'{check.name}: {check.problem}{_files(dataset, index)}')
        if args.output:
            io.write_image(args.output / f'{index:06d}_{check.name}.png', picture(sample))
    print(table(rows, right=range(1, 5)))
    for problem in problems:
        print(f'nndepth: {problem}')
    print(f'{dataset.name}: {len(problems)} of {len(indices)} samples look wrong')
    return int(bool(problems))


def _checked(
    sample: StereoSample | MonoSample, shift: float
) -> tuple[TruthCheck | DepthCheck, tuple[str, ...]]:
    """Check a sample; return what was found, and its row of the table."""
    if isinstance(sample, MonoSample):
        depth = check_depth(sample)
        return depth, _row(depth, depth.contrasts, AS_IT_IS, max)
    truth = check_truth(sample, shift)
    return truth, _row(truth, truth.errors, TRUTH, min)


def _row(
    check: TruthCheck | DepthCheck,
    figures: Mapping[str, float],
    truth: str,
    best_of: Callable[..., str],
) -> tuple[str, ...]:
    others = {name: figure for name, figure in figures.items() if name != truth}
    best = best_of(others, key=others.__getitem__, default='')
    return (
        check.name,
        f'{100 * check.density:.1f}',
        f'{check.low:.1f}..{check.high:.1f}',
        f'{figures[truth]:.3f}' if figures else '-',
        f'{others[best]:.3f} ({best})' if best else '-',
        'wrong?' if check.problem else 'good',
    )


def _files(dataset: StereoSource | MonoSource, index: int) -> str:
    """Name the files of a sample, each in a line of its own."""
    files = dataset.files(index) if isinstance(dataset, (Dataset, Mixture)) else {}
    return ''.join(f'\n    {kind}: {path}' for kind, path in files.items())


def _parser() -> argparse.ArgumentParser:
    parser = command_parser('data')
    commands = parser.add_subparsers(dest='action', required=True, metavar='ACTION')
    add = commands.add_parser('inspect', help=__doc__, description=__doc__).add_argument
    add('--data', required=True, metavar='DATA', help=datasets.HELP)
    add(
        '--samples',
        type=options.count,
        default=20,
        metavar='N',
        help='how many samples are looked at, spread evenly over the data set; 0 stands for all; '
        'default: %(default)s',
    )
    add('--output', type=Path, metavar='FOLDER', help='write a picture of each sample to it')
    add(
        '--shift',
        type=options.positive,
        default=2.0,
        metavar='PX',
        help='by how many pixels disparities are moved to see whether they then fit better; '
        'default: %(default)s',
    )
    return parser
