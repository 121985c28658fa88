"""`nndepth weights`: list, import, fetch, locate and remove weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nndepth_core.cli import command_parser
from nndepth_core.cli.table import table
from nndepth_core.weights.catalogue import Checkpoint, catalogue, find_checkpoint
from nndepth_core.weights.download import fetch_weights
from nndepth_core.weights.find import locate_weights
from nndepth_core.weights.importing import import_weights
from nndepth_core.weights.settings import show_settings
from nndepth_core.weights.store import (
    StoredWeights,
    cache_folder,
    list_stored,
    remove_weights,
)


def main(arguments: Sequence[str]) -> int:
    """Do what the chosen action says."""
    parser = command_parser('weights')
    actions = parser.add_subparsers(dest='action', required=True, metavar='ACTION')
    add = actions.add_parser('list', help='known and stored weights').add_argument
    add('--json', action='store_true', help='print JSON instead of the table')
    add = actions.add_parser(
        'import', help='check, convert and store a checkpoint file'
    ).add_argument
    add(
        'file',
        metavar='FILE',
        type=Path,
        help='an official checkpoint, one of ours, or a folder that transformers saved',
    )
    add(
        '--model',
        help='the network that the file is for, with or without its variant, as in '
        'raft_stereo-realtime; default: the one that fits',
    )
    add('--variant', help='the variant of the network; default: the one that fits')
    add(
        '--name',
        help='the name for the weights; default: that of the catalogue, or else that of the file',
    )
    add(
        '--set',
        dest='settings',
        action='append',
        default=[],
        metavar='NAME=VALUE',
        help='a setting of the network that these weights need and that neither the catalogue nor '
        'the file tells, such as max_depth=20; it may be given several times',
    )
    for action, summary in (
        ('fetch', 'download published weights and store them'),
        ('path', 'print where stored weights lie'),
        ('remove', 'remove weights from the store'),
    ):
        add = actions.add_parser(action, help=summary).add_argument
        add('name', metavar='NAME', help='MODEL/NAME as in the list, e.g. raft_stereo/middlebury')
    args = parser.parse_args(arguments)
    if args.action == 'list':
        _list(args.json)
    elif args.action == 'import':
        model, _, variant = (args.model or '').partition('-')
        if variant and args.variant not in (None, variant):
            raise ValueError(
                f'--model says variant {variant} and --variant {args.variant}; give one of them'
            )
        variant = variant or args.variant
        _report(
            import_weights(args.file, model or None, variant, args.name, settings=args.settings)
        )
    elif args.action == 'fetch':
        _report(fetch_weights(args.name))
    elif args.action == 'path':
        print(locate_weights(args.name))
    else:
        print(f'{args.name} is removed from the store\n  {remove_weights(args.name)}')
    return 0


def _list(as_json: bool) -> None:
    known = {
        checkpoint.id: checkpoint
        for network in catalogue().values()
        for checkpoint in network.checkpoints.values()
    }
    stored = {entry.id: entry for entry in list_stored()}
    if as_json:
        records = {
            'folder': str(cache_folder() / 'weights'),
            'known': [asdict(checkpoint) for checkpoint in known.values()],
            'stored': [{**asdict(entry), 'path': str(entry.path)} for entry in stored.values()],
        }
        print(json.dumps(records, indent=2))
        return
    rows = {name: _known_row(checkpoint) for name, checkpoint in known.items()}
    rows |= {name: _stored_row(entry) for name, entry in stored.items()}
    headings = ['name', 'fits', 'made from', 'MB', 'weights licence', 'state']
    print(table([headings, *(rows[name] for name in sorted(rows))], right=[3]))
    print(f'\nstore: {cache_folder() / "weights"}')


def _known_row(checkpoint: Checkpoint) -> list[str]:
    size = _megabytes(checkpoint.size) if checkpoint.size else '-'
    state = 'fetch' if checkpoint.url else 'by hand'
    fits = _fits(checkpoint.variants, checkpoint.settings)
    return [checkpoint.id, fits, checkpoint.file, size, checkpoint.license, state]


def _stored_row(entry: StoredWeights) -> list[str]:
    about = entry.description
    size = _megabytes(entry.path.stat().st_size)
    fits = _fits(about.variants, about.settings)
    return [entry.id, fits, about.source, size, about.license or 'unknown', 'stored']


def _fits(variants: Sequence[str], settings: Mapping[str, Any]) -> str:
    told = f' ({show_settings(settings)})' if settings else ''
    return ', '.join(variants) + told


def _megabytes(size: int) -> str:
    return f'{size / 1e6:.1f}'


def _report(path: Path) -> None:
    entry = next(entry for entry in list_stored() if entry.path == path)
    about = entry.description
    print(f'{entry.id} is stored, made from {about.source}')
    print(f'  fits {about.model} {_fits(about.variants, about.settings)}')
    if about.checkpoint:
        known = find_checkpoint(f'{about.model}/{about.checkpoint}')
        print(f'  known file, trained on {known.trained_on}; weights licence: {about.license}')
    else:
        published = catalogue()[about.model].checkpoints.values()
        same = ' and '.join(entry.id for entry in published if entry.file == about.source)
        told = f'called like {same}, but another file' if same else 'not in the catalogue'
        print(f'  {told}; its licence and training are unknown')
    print(f'  {path}')
