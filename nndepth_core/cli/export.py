"""`nndepth export`: a network and its weights to one ONNX file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from nndepth_core.cli import command_parser
from nndepth_core.cli.model_options import add_network_arguments, network_settings
from nndepth_core.cli.options import image_size
from nndepth_core.engines import DEVICES, EngineError, create_engine
from nndepth_core.engines.base import iterations_for
from nndepth_core.engines.request import find_request
from nndepth_core.files.writing import check_folder
from nndepth_core.weights.description import RANDOM
from nndepth_core.weights.licenses import check_commercial

if TYPE_CHECKING:
    from nndepth_core.export.onnx import ExportReport
    from nndepth_core.spec import ModelSpec


_CURE_OF_CACHE = 'give OUT.onnx, or set NNDEPTH_CACHE to a folder with write access'


def main(arguments: Sequence[str]) -> int:
    """Export the network, check the file against torch and report what was found."""
    args = _parser().parse_args(arguments)
    try:
        from nndepth_core.engines.torch import load_network
        from nndepth_core.export.onnx import ExportError, export_onnx
    except ModuleNotFoundError as error:
        raise EngineError(
            f'exporting needs {error.name}; pip install "nndepth[export]"'
        ) from error
    if args.output is not None:
        _check_output(args.output)
    asked = find_request(args.model, args.weights, network_settings(args))
    if args.commercial_only and asked.weights != RANDOM:
        check_commercial(asked.origin.license)
    network = load_network(asked.name, asked.variant, asked.weights, asked.settings, asked.origin)
    iterations = iterations_for(network.spec, args.iterations)
    iterations = iterations if iterations != network.spec.iterations else 0
    if args.output is None and (args.size is not None or network.one_size_graph):
        raise ValueError(
            f'the file of {network.spec.title} would be bound to one size, and such files are not '
            'kept in the cache; give OUT.onnx, and by --size the size of your images'
        )
    path = args.output or asked.export(args.precision, iterations)
    if args.output is None:
        _check_folder(path, _CURE_OF_CACHE)
    try:
        report = export_onnx(
            network,
            path,
            size=args.size and args.size[::-1],
            iterations=iterations,
            precision=args.precision,
            origin=asked.origin,
        )
    except ExportError as error:
        raise EngineError(str(error)) from error
    except OSError as error:
        raise EngineError(
            f'{path} cannot be written ({error.strerror or error}); make room, or '
            + ('give a file in another folder' if args.output else _CURE_OF_CACHE)
        ) from error
    if args.device != 'cpu':
        create_engine(str(report.path), device=args.device).self_test()
    print(
        json.dumps(asdict(report), default=str, indent=2)
        if args.json
        else _text(report, network.spec)
    )
    return 0


def _check_output(path: Path) -> None:
    """Refuse a file that cannot be written, or is no ONNX file by its name."""
    if path.is_dir():
        raise ValueError(
            f'{path} is a folder; give the file to write, as in {path / "model.onnx"}'
        )
    if path.suffix != '.onnx':
        raise ValueError(
            f'{path} does not end in .onnx, by which such files are known; give '
            f'{path.with_suffix(".onnx")}'
        )
    _check_folder(path, 'give a file in another folder')


def _check_folder(path: Path, cure: str) -> None:
    """Refuse a folder without write access before the export, which may take minutes."""
    try:
        check_folder(path.parent)
    except OSError as error:
        raise ValueError(
            f'{path} cannot be written, since {path.parent} takes no files ({error.strerror}); '
            f'{cure}'
        ) from error


def _parser() -> argparse.ArgumentParser:
    parser = command_parser('export')
    add = parser.add_argument
    add(
        'model',
        metavar='MODEL',
        help='a network, or a network with its variant, as in raft_stereo-realtime',
    )
    add(
        'output',
        metavar='OUT.onnx',
        type=Path,
        nargs='?',
        help='the file to write; default: one in the cache, where the engine auto finds it',
    )
    add_network_arguments(parser, ('fp32', 'fp16', 'int8'))
    add(
        '--size',
        type=image_size,
        metavar='WxH',
        help='bind the file to images of this size; default: it takes any size',
    )
    add(
        '--device',
        default='cpu',
        choices=DEVICES,
        help='the device on which the file is tested too; default: %(default)s',
    )
    add('--json', action='store_true', help='print JSON instead of text')
    return parser


def _text(report: ExportReport, spec: ModelSpec) -> str:
    size, steps, unit = report.fixed_size, report.iterations, spec.unit and f' {spec.unit}'
    lines = [
        f'{report.path}, {report.size / 1e6:.1f} MB, {report.precision}'
        + (f', {steps} iterations' if steps else ''),
        f'size: {size[1]}x{size[0]} only' if size else 'size: any, any batch',
    ]
    if report.reason:
        lines.append(f'  because {report.reason}')
    official = f" (the authors' code: {report.official_nodes})" if report.official_nodes else ''
    common = ', '.join(f'{count} {name}' for name, count in [*report.operators.items()][:5])
    lines.append(f'nodes: {report.nodes}{official}: {common} ...')
    for check in report.checks:
        count, height, width = check.shape
        lines.append(
            f'against torch at {width}x{height}, batch {count}: {spec.output.replace("_", " ")} '
            f'differs by {check.largest:.2g}{unit} at most, {check.mean:.2g}{unit} in the mean'
        )
    return '\n'.join(lines)
