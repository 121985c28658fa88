"""`nndepth weights`: list, import, fetch and locate weights."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from nndepth_core.cli.table import table
from nndepth_core.weights.catalogue import Checkpoint, catalogue, find_checkpoint, find_network
from nndepth_core.weights.download import fetch_weights
from nndepth_core.weights.store import (
    StoredWeights,
    cache_folder,
    list_stored,
    store_weights,
    stored_weights,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `nndepth weights`."""
    actions = parser.add_subparsers(dest='action', required=True, metavar='ACTION')
    add = actions.add_parser('list', help='known and stored weights').add_argument
    add('--json', action='store_true', help='print JSON instead')
    add = actions.add_parser(
        'import', help='check, convert and store a checkpoint file'
    ).add_argument
    add('file', metavar='FILE', type=Path, help='an official checkpoint or one of ours')
    add('--model', required=True, help='the network it is for, of `nndepth models`')
    add('--variant', help='its variant; default: the one that fits')
    add('--name', help="how to call it; default: the catalogue's name, else the file's")
    for action, summary in (
        ('fetch', 'download published weights and store them'),
        ('path', 'print where stored weights lie'),
    ):
        add = actions.add_parser(action, help=summary).add_argument
        add('name', metavar='NAME', help='MODEL/NAME as in the list, e.g. raft_stereo/middlebury')


def run(args: argparse.Namespace) -> int:
    """Do what was asked for."""
    if args.action == 'list':
        _list(args.json)
    elif args.action == 'import':
        _report(store_weights(args.file, args.model, args.variant, args.name))
    elif args.action == 'fetch':
        _report(fetch_weights(args.name))
    else:
        print(_path(args.name))
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
    fits = ', '.join(checkpoint.variants)
    return [checkpoint.id, fits, checkpoint.file, size, checkpoint.license, state]


def _stored_row(entry: StoredWeights) -> list[str]:
    about = entry.description
    size = _megabytes(entry.path.stat().st_size)
    fits = ', '.join(about.variants)
    return [entry.id, fits, about.source, size, about.license or 'unknown', 'stored']


def _megabytes(size: int) -> str:
    return f'{size / 1e6:.1f}'


def _report(path: Path) -> None:
    entry = next(entry for entry in list_stored() if entry.path == path)
    about = entry.description
    print(f'{entry.id} is stored, made from {about.source}')
    print(f'  fits {about.model} {", ".join(about.variants)}')
    if about.checkpoint:
        known = find_checkpoint(f'{about.model}/{about.checkpoint}')
        print(f'  known file, trained on {known.trained_on}; weights licence: {about.license}')
    else:
        print('  not in the catalogue; its licence and training are unknown')
    print(f'  {path}')


def _path(name: str) -> Path:
    model, _, own = name.partition('/')
    path = stored_weights(model, name=own or None)
    if path is None:
        known = own in find_network(model).checkpoints
        cure = f'run `nndepth weights fetch {name}`' if known else 'see `nndepth weights list`'
        raise ValueError(f'{name} is not in the store; {cure}')
    return path
