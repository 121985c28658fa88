"""What the results of bags are called."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from nndepth_core.cli.compare import BAG_SUFFIXES
from nndepth_ros.bag_writer import ORIGIN_NAME

_RESERVED = {'report.json', 'report.html'}


def unique_names(locations: Sequence[str], known: Mapping[str, str] | None = None) -> list[str]:
    """Name each location by its last part, without the suffix of a bag.

    Files of one folder that differ in their suffix alone keep it, as in run_mcap and run_db3.
    Names that are equal otherwise, also but for upper and lower case, get the names of their
    parent folders in front, as in monday_run and tuesday_run, until they differ.

    Args:
        locations: paths or URLs.
        known: location -> the name that it has already; nothing else gets that name.
    """
    known = known or {}
    taken = {*_RESERVED, *(name.casefold() for name in known.values())}
    parts = [[it for it in PurePosixPath(where).parts if it.strip('/')] for where in locations]
    lasts = _last_parts(parts)
    depths = [1] * len(parts)
    while True:
        names = [
            known.get(where) or '_'.join([*of[-depth:-1], last])
            for where, of, depth, last in zip(locations, parts, depths, lasts, strict=True)
        ]
        keys = [name.casefold() for name in names]
        counts = Counter(keys)
        growing = [
            at
            for at, key in enumerate(keys)
            if (counts[key] > 1 or key in taken or key.startswith('.'))
            and depths[at] < len(parts[at])
            and locations[at] not in known
        ]
        if not growing:
            return _numbered(names)
        for at in growing:
            depths[at] += 1


def _last_parts(parts: Sequence[Sequence[str]]) -> list[str]:
    """The last part of each location, with its suffix only where others beside have its name."""
    split = [_split(of[-1]) for of in parts]
    places = [(*of[:-1], stem.casefold()) for of, (stem, _) in zip(parts, split, strict=True)]
    counts = Counter(places)
    return [
        stem + suffix.replace('.', '_') if counts[place] > 1 else stem
        for place, (stem, suffix) in zip(places, split, strict=True)
    ]


def _split(name: str) -> tuple[str, str]:
    """The name of a bag without its suffix, and the suffix."""
    suffix = next((it for it in sorted(BAG_SUFFIXES, key=len)[::-1] if name.endswith(it)), '')
    stem = name.removesuffix(suffix)
    return (stem, suffix) if stem else (name, '')


def known_names(output: Path, given: Collection[str]) -> dict[str, str]:
    """Where the results in a folder are from, and what they are called.

    One whose bag is no longer there is left out: that bag was perhaps moved, and then has its old
    name by itself.
    """
    known: dict[str, str] = {}
    for file in sorted(output.glob(f'*/{ORIGIN_NAME}')):
        try:
            where = identity(str(json.loads(file.read_text())['source']))
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if where in given or os.path.exists(where):
            known.setdefault(where, file.parent.name)
    return known


def identity(location: str) -> str:
    """What is the same for all paths to a bag."""
    return location if '://' in location else os.path.realpath(location)


def _numbered(names: Iterable[str]) -> list[str]:
    """Tell names apart that are equal in spite of all folders, as run.mcap and run.db3."""
    seen: dict[str, int] = {}
    numbered = []
    for name in names:
        key = name.casefold()
        seen[key] = seen.get(key, 0) + 1
        numbered.append(name if seen[key] == 1 else f'{name}_{seen[key]}')
    return numbered
