"""`nndepth weights`: list, show, import, fetch, locate and remove weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nndepth_core.cli import command_parser
from nndepth_core.cli.models import checkpoint_facts
from nndepth_core.cli.table import table
from nndepth_core.spec import split_title
from nndepth_core.weights.catalogue import Checkpoint, catalogue, find_checkpoint
from nndepth_core.weights.download import fetch_weights
from nndepth_core.weights.find import locate_weights
from nndepth_core.weights.importing import import_weights
from nndepth_core.weights.licenses import commercial_use
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
        'source',
        metavar='SOURCE',
        help='an official checkpoint, one of ours, a folder that transformers or save_pretrained '
        'wrote, or where such weights lie on the Hugging Face hub: OWNER/NAME[@REVISION][/FILE]',
    )
    add(
        '--revision',
        help='the branch, tag or commit of a repository on the hub; default: main',
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
    add(
        '--license',
        metavar='NAME',
        help='the licence of the weights, such as MIT, where neither the catalogue nor the source '
        'states it',
    )
    add('--json', action='store_true', help='print JSON instead of text')
    for action, summary in (
        ('fetch', 'download published weights and store them'),
        ('show', 'print licence, hash and origin of weights'),
        ('path', 'print where stored weights lie'),
        ('remove', 'remove weights from the store'),
    ):
        add = actions.add_parser(action, help=summary).add_argument
        on_hub = ', or OWNER/NAME on the Hugging Face hub' if action == 'fetch' else ''
        add(
            'name',
            metavar='NAME',
            help=f'MODEL/NAME as in the list, e.g. raft_stereo/middlebury{on_hub}',
        )
        if action in ('fetch', 'show'):
            add('--json', action='store_true', help='print JSON instead of text')
    args = parser.parse_args(arguments)
    if args.action == 'list':
        _list(args.json)
    elif args.action == 'import':
        model, variant = split_title(args.model or '')
        if variant and args.variant not in (None, variant):
            raise ValueError(
                f'--model says variant {variant} and --variant {args.variant}; give one of them'
            )
        variant = variant or args.variant
        path = import_weights(
            args.source,
            model or None,
            variant,
            args.name,
            settings=args.settings,
            revision=args.revision,
            license=args.license,
        )
        _report(path, args.json)
    elif args.action == 'fetch':
        _report(fetch_weights(args.name), args.json)
    elif args.action == 'show':
        _show(args.name, args.json)
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
            'known': [checkpoint.record() for checkpoint in known.values()],
            'stored': [entry.record() for entry in stored.values()],
        }
        print(json.dumps(records, indent=2))
        return
    rows = {name: _known_row(checkpoint) for name, checkpoint in known.items()}
    rows |= {name: _stored_row(entry) for name, entry in stored.items()}
    headings = ['name', 'fits', 'made from', 'MB', 'weights licence', 'commercial use', 'sha256']
    headings += ['state']
    print(table([headings, *(rows[name] for name in sorted(rows))], right=[3]))
    print(f'\nstore: {cache_folder() / "weights"}')


def _known_row(checkpoint: Checkpoint) -> list[str]:
    size = _megabytes(checkpoint.size) if checkpoint.size else '-'
    state = 'fetch' if checkpoint.url or checkpoint.hub else 'by hand'
    fits = _fits(checkpoint.variants, checkpoint.settings)
    about = [checkpoint.license, checkpoint.commercial_use, _short(checkpoint.sha256)]
    return [checkpoint.id, fits, checkpoint.file, size, *about, state]


def _stored_row(entry: StoredWeights) -> list[str]:
    about = entry.description
    size = _megabytes(entry.path.stat().st_size)
    fits = _fits(about.variants, about.settings)
    licence = [about.license or 'unknown', commercial_use(about.license)]
    return [entry.id, fits, about.source, size, *licence, _short(about.source_sha256), 'stored']


def _short(sha256: str | None) -> str:
    return sha256[:12] if sha256 else '-'


def _fits(variants: Sequence[str], settings: Mapping[str, Any]) -> str:
    told = f' ({show_settings(settings)})' if settings else ''
    return ', '.join(variants) + told


def _megabytes(size: int) -> str:
    return f'{size / 1e6:.1f}'


def _report(path: Path, as_json: bool) -> None:
    """Say what was stored."""
    entry = next(entry for entry in list_stored() if entry.path == path)
    if as_json:
        print(json.dumps(entry.record(), indent=2))
        return
    print(f'{entry.id} is stored, made from {entry.description.source}')
    print(*_facts(entry), sep='\n')


def _show(name: str, as_json: bool) -> None:
    """Say what is known of weights, those in the store first."""
    entry = next((entry for entry in list_stored() if entry.id == name), None)
    if entry is None:
        known = find_checkpoint(name)
        print(json.dumps(known.record(), indent=2) if as_json else known.id)
        if not as_json:
            print(*checkpoint_facts(known), '  stored: no', sep='\n')
    elif as_json:
        print(json.dumps(entry.record(), indent=2))
    else:
        print(entry.id, f'  made from: {entry.description.source}', *_facts(entry), sep='\n')


def _facts(entry: StoredWeights) -> list[str]:
    about = entry.description
    known = find_checkpoint(f'{about.model}/{about.checkpoint}') if about.checkpoint else None
    facts = {
        'fits': f'{about.model} {_fits(about.variants, about.settings)}',
        'known file': f'trained on {known.trained_on}' if known else _unknown(entry),
        'weights licence': about.license or 'unknown',
        'commercial use': commercial_use(about.license),
        'caution': known.caution if known else '',
        'sha256': about.source_sha256,
        'from the hub': about.hub,
        'path': str(entry.path),
    }
    return [f'  {name}: {fact}' for name, fact in facts.items() if fact]


def _unknown(entry: StoredWeights) -> str:
    """Say why weights count as none of the catalogue."""
    about = entry.description
    network = catalogue().get(about.model)  # none for networks of others
    published = network.checkpoints.values() if network else ()
    same = ' and '.join(entry.id for entry in published if entry.file == about.source)
    return f'no, though called like {same}' if same else 'no, it is not in the catalogue'
