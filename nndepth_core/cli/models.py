"""`nndepth models`: the networks, what is published of them and which weights are at hand."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, get_args

from nndepth_core.cli import command_parser
from nndepth_core.cli.models_fitting import show
from nndepth_core.cli.options import image_size
from nndepth_core.cli.table import table
from nndepth_core.files.values import number
from nndepth_core.spec import split_title
from nndepth_core.weights.catalogue import BENCHMARKS, Checkpoint, Network, catalogue, find_network
from nndepth_core.weights.choice import DEFAULT_SIZE, choose
from nndepth_core.weights.measured import Device, measured
from nndepth_core.weights.settings import show_settings
from nndepth_core.weights.store import StoredWeights, list_stored

_UNKNOWN = '-'
_FOOTER = """\
GMACs are billions of multiply-accumulate operations for one 640x480 input at the default number of
iterations. The figures are those that were published, each for the checkpoint that was trained for
that benchmark: EPE in px, all others in per cent of the pixels. "code" is the licence of the
authors' code. Weights with a * are in the store; `nndepth weights fetch` or `import` brings the
others. `nndepth models NAME` says more; `nndepth models --for cpu` lists by latency what fits."""


def main(arguments: Sequence[str]) -> int:
    """Print what is known of the networks."""
    parser = command_parser('models')
    parser.add_argument(
        'name', nargs='?', metavar='NAME', help='show everything that is known of this network'
    )
    parser.add_argument('--json', action='store_true', help='print JSON instead of the table')
    _declare_choice(parser)
    args = parser.parse_args(arguments)
    if args.device or args.license or args.size or args.max_ms is not None:
        _show_fitting(args)
        return 0
    networks = [_named(args.name)] if args.name else [*catalogue().values()]
    stored = list_stored()
    if args.json:
        print(json.dumps([_record(network, stored) for network in networks], indent=2))
    elif args.name:
        print(_overview(networks, stored), *_details(networks[0], stored), sep='\n')
    else:
        print(_overview(networks, stored), _FOOTER, sep='\n\n')
    return 0


def _named(text: str) -> Network:
    """Find a network by its name; with a variant, as in las2-s, what concerns that one."""
    name, variant = split_title(text)
    network = find_network(name)
    if variant is None:
        return network
    if variant not in network.variants:
        raise ValueError(
            f'{name} has no variant {variant!r}; choose one of {", ".join(network.variants)}'
        )
    fitting = {entry.name: entry for entry in network.checkpoints_of(variant)}
    variants = {variant: network.variants[variant]}
    return replace(network, variants=variants, checkpoints=fitting)


def _declare_choice(parser: ArgumentParser) -> None:
    group = parser.add_argument_group('which models fit')
    group.add_argument(
        '--for', dest='device', choices=get_args(Device), help='list what fits this device'
    )
    group.add_argument(
        '--license', choices=['commercial'], help='of the weights; what is not stated does not fit'
    )
    group.add_argument('--max-ms', type=float, metavar='MS', help='the largest latency')
    group.add_argument(
        '--size',
        type=image_size,
        metavar='WxH',
        help=f'of measured latencies; default: {DEFAULT_SIZE}',
    )


def _show_fitting(args: Namespace) -> None:
    if not args.device:
        raise ValueError('--license, --max-ms and --size need --for cpu or --for gpu')
    if args.name:
        raise ValueError(f'--for lists models; leave out {args.name}, or --for')
    if args.max_ms is not None:
        number('max-ms', args.max_ms, 0, 1e9)
    size = '{}x{}'.format(*args.size) if args.size else DEFAULT_SIZE
    sizes = sorted({row.size for row in measured()})
    if args.size and size not in sizes:
        known = f'choose one of {", ".join(sizes)}' if sizes else 'leave it out'
        raise ValueError(f'size {size} was not measured; {known}')
    show(*choose(args.device, args.license is not None, args.max_ms, size), args.json)


def _record(network: Network, stored: Sequence[StoredWeights]) -> dict[str, Any]:
    checkpoints = {name: entry.record() for name, entry in network.checkpoints.items()}
    record = {**asdict(network), 'checkpoints': checkpoints}
    for name, variant in record['variants'].items():
        variant['figures'] = network.figures(name)
        variant['stored'] = [entry.record() for entry in _fitting(network.name, name, stored)]
    return record


def _overview(networks: Sequence[Network], stored: Sequence[StoredWeights]) -> str:
    headings = ['model', 'variant', 'params', 'GMACs', *BENCHMARKS.values()]
    rows = [[*headings, 'code', 'weights licence', 'commercial use', 'weights']]
    for network in networks:
        rows += [_row(network, name, stored) for name in network.variants or (_UNKNOWN,)]
    return table(rows, right=range(2, len(headings)))


def _row(network: Network, name: str, stored: Sequence[StoredWeights]) -> list[str]:
    variant = network.variants.get(name)
    figures = network.figures(name)
    published = network.checkpoints_of(name)
    licences = [*dict.fromkeys(entry.license for entry in published)]
    use = [*dict.fromkeys(entry.commercial_use for entry in published)]
    return [
        network.name,
        name,
        f'{variant.parameters / 1e6:.2f} M' if variant else _UNKNOWN,
        f'{variant.macs / 1e9:.1f}' if variant and variant.macs else _UNKNOWN,
        *(f'{figures[key]:.2f}' if key in figures else _UNKNOWN for key in BENCHMARKS),
        network.code_license,
        ', '.join(licences) or network.weights_license or _UNKNOWN,
        ', '.join(use) or _UNKNOWN,
        _weights(network, name, stored) or _UNKNOWN,
    ]


def _weights(network: Network, variant: str, stored: Sequence[StoredWeights]) -> str:
    """Name the known and the stored weights, and mark the stored ones."""
    present = [entry.path.stem for entry in _fitting(network.name, variant, stored)]
    known = [checkpoint.name for checkpoint in network.checkpoints_of(variant)]
    return ' '.join(
        f'{name}*' if name in present else name for name in dict.fromkeys([*known, *present])
    )


def _fitting(model: str, variant: str, stored: Sequence[StoredWeights]) -> list[StoredWeights]:
    return [
        entry
        for entry in stored
        if entry.description.model == model and variant in entry.description.variants
    ]


def _details(network: Network, stored: Sequence[StoredWeights]) -> list[str]:
    lines = ['', network.title, f'paper: {network.paper}', f'code: {network.code}']
    paths = {
        entry.id: entry.path
        for variant in network.variants
        for entry in _fitting(network.name, variant, stored)
    }
    for checkpoint in network.checkpoints.values():
        lines += ['', f'{checkpoint.id}: {checkpoint.file}', *checkpoint_facts(checkpoint)]
        lines.append(f'  stored: {paths.pop(checkpoint.id, "no")}')
    return [*lines, '', *(f'{name}: stored in {path}' for name, path in paths.items())]


def checkpoint_facts(checkpoint: Checkpoint) -> list[str]:
    """What the catalogue says of published weights, one fact a line."""
    figures = ', '.join(f'{BENCHMARKS[key]} {value}' for key, value in checkpoint.metrics.items())
    facts = {
        'fits': ', '.join(checkpoint.variants),
        'trained on': checkpoint.trained_on,
        'published': figures,
        'settings': show_settings(checkpoint.settings),
        'weights licence': checkpoint.license,
        'commercial use': checkpoint.commercial_use,
        'note': checkpoint.note,
        'caution': checkpoint.caution if checkpoint.commercial else '',
        'size': f'{checkpoint.size} bytes' if checkpoint.size else '',
        'sha256': checkpoint.sha256 and f'{checkpoint.sha256} ({checkpoint.sha256_source})',
        'from': _place(checkpoint),
    }
    return [f'  {name}: {fact}' for name, fact in facts.items() if fact]


def _place(checkpoint: Checkpoint) -> str:
    if checkpoint.hub:
        return f'{" or ".join(map(str, checkpoint.hub))} on the Hugging Face hub'
    by_hand = f'{checkpoint.page} (by hand)' if checkpoint.page else 'the package'
    return checkpoint.url or by_hand
