"""Finds the bags that arguments name, here or in a remote store, and gives each a name."""

from __future__ import annotations

import glob
import hashlib
import importlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from nndepth_core.cli.compare import BAG_SUFFIXES
from nndepth_core.files.writing import replaced_at_once, sha256_of
from nndepth_ros.bag import METADATA_NAME, named_files
from nndepth_ros.fleet.names import identity, known_names, unique_names

_COMMENT = '#'


@dataclass(frozen=True)
class Source:
    """A bag to read.

    Attributes:
        location: its absolute path, or its URL.
        name: what its result is called.
    """

    location: str
    name: str


def find_sources(
    arguments: Iterable[str], output: Path
) -> tuple[list[Source], list[tuple[str, str]]]:
    """Find bags; one that is named twice is taken once.

    Args:
        arguments: paths, quoted globs, URLs that fsspec knows, or @FILE with one of these a line.
            A folder with metadata.yaml is a bag; of another one all bags in it are taken, each
            file as a bag of its own.
        output: a folder in which nothing is looked for.

    Returns:
        The bags, and what names none with the reason.

    Raises:
        ValueError: a URL is given, and fsspec is not installed or does not know it; a list names
            nothing; the output folder is a bag or lies in one.
        OSError: a list cannot be read.
    """
    output = output.resolve()
    for folder in (output, *output.parents):
        if (folder / METADATA_NAME).exists():
            raise ValueError(f'--output {output} is the bag {folder}, or in it; give another one')
    locations: dict[str, str] = {}
    problems = []
    for argument in (it for named in arguments for it in _listed(named)):
        try:
            found = _remote(argument) if '://' in argument else _local(argument, output)
        except _NoBagError as error:
            problems.append((argument, str(error)))
        else:
            for where in found:
                locations.setdefault(identity(where), where)
    known = known_names(output, locations.keys())
    named = {where: known[it] for it, where in locations.items() if it in known}
    others = {it: name for it, name in known.items() if it not in locations}
    names = unique_names([*locations.values()], {**others, **named})
    return [Source(*pair) for pair in zip(locations.values(), names, strict=True)], problems


class _NoBagError(ValueError):
    """An argument names no bag."""


def _listed(argument: str) -> list[str]:
    """What an argument stands for: the lines of a list, or itself."""
    if not argument.startswith('@'):
        return [argument]
    file = argument[1:]
    text = Path(file).read_text(errors='surrogateescape')
    if '\0' in text:
        raise ValueError(f'{file} is no list: it holds no text; name a bag without @')
    lines = [it.strip() for it in text.splitlines()]
    if not (named := [it for it in lines if it and not it.startswith(_COMMENT)]):
        raise ValueError(f'{file} names no bag')
    return named


def _local(argument: str, output: Path) -> list[str]:
    path = Path(argument)
    if path.exists():
        return _bags_of(path, output)
    found = [Path(it) for it in sorted(glob.glob(argument, recursive=True))]
    inside = [it for it in found if not _within(it.resolve(), output)]
    bags = [it for it in inside if it.is_dir() or it.name.endswith(BAG_SUFFIXES)]
    if found and not inside:
        raise _NoBagError(_OWN)
    if not bags:
        raise _NoBagError('it does not exist, and as a glob it finds no bag')
    return [bag for path in bags for bag in _bags_of(path, output, needed=len(bags) == 1)]


def _bags_of(path: Path, output: Path, needed: bool = True) -> list[str]:
    path = Path(os.path.abspath(path))
    if not path.is_dir() or (path / METADATA_NAME).exists():
        return [str(path)]
    files = []
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(
            it for it in folders if not _within(Path(folder, it).resolve(), output)
        )
        files += [os.path.join(folder, name) for name in sorted(names)]
    bags = _bags_in(files)
    if needed and not bags and _within(path.resolve(), output):
        raise _NoBagError(_OWN)
    if needed and not bags:
        raise _NoBagError(f'the folder holds no bag: no {METADATA_NAME} and no {_SUFFIXES} file')
    return bags


_SUFFIXES = ', '.join(BAG_SUFFIXES)
_OWN = 'its bags lie in --output, where results are and inputs are not; give another --output'


def _within(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents


def _bags_in(files: Sequence[str]) -> list[str]:
    """Folders with metadata, and the files of bags that are in none of them."""
    folders = [os.path.dirname(it) for it in files if os.path.basename(it) == METADATA_NAME]
    known = {*folders}
    singles = [
        it for it in files if it.endswith(BAG_SUFFIXES) and os.path.dirname(it) not in known
    ]
    return sorted([*folders, *singles])


# --- remote stores ---------------------------------------------------------------------------


def _remote(url: str) -> list[str]:
    with _reading(url) as (system, path):
        bags = _bags_in_store(system, path)
    if not bags:
        raise _NoBagError('it does not exist there, or holds no bag')
    return bags


def _bags_in_store(system: Any, path: str) -> list[str]:
    found = sorted(system.glob(path)) if any(it in path for it in '*?[') else [path]
    bags = []
    for it in found:
        if system.isdir(it) and not system.exists(f'{it}/{METADATA_NAME}'):
            bags += _bags_in(system.find(it))
        elif system.exists(it):
            bags.append(it.rstrip('/'))
    return [system.unstrip_protocol(it) for it in bags]


@contextmanager
def _reading(url: str) -> Iterator[tuple[Any, str]]:
    """Give the file system of a URL and the path there; errors name the URL."""
    try:
        fsspec = importlib.import_module('fsspec')
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{url} is read by fsspec, which is not installed; pip install 'nndepth[fleet]'"
        ) from error
    try:
        yield fsspec.core.url_to_fs(url)
    except OSError:
        raise
    except Exception as error:  # every store has errors of its own
        raise ValueError(
            f'{url} cannot be read by fsspec: {type(error).__name__}: {error}'
        ) from error


def fetched(source: Source, folder: Path) -> Path:
    """The bag on this machine; one in a remote store is copied into a folder, once.

    Raises:
        OSError, ValueError: it cannot be copied.
    """
    if '://' not in source.location:
        return Path(source.location)
    with _reading(source.location) as (system, path):
        target = folder / PurePosixPath(path).name
        if not target.exists():
            with replaced_at_once(target, lasting=False) as temporary:
                system.get(path, str(temporary), recursive=system.isdir(path))
    return target


def fingerprint(source: Source) -> str:
    """What changes when a bag changes, found without reading it: names, sizes and times."""
    if '://' not in source.location:
        facts = [
            (name, file.stat().st_size, file.stat().st_mtime_ns)
            for name, file in files_of(Path(source.location))
        ]
        return json.dumps(facts)
    changing = ('size', 'mtime', 'ETag', 'etag', 'LastModified', 'updated', 'created')
    with _reading(source.location) as (system, path):
        paths = sorted(system.find(path)) if system.isdir(path) else [path]
        infos = [(it, system.info(it)) for it in paths]
    return json.dumps([(it, *(str(of.get(key)) for key in changing)) for it, of in infos])


def size_of(source: Source) -> int:
    """The bytes of a bag; 0 if it is not there."""
    try:
        if '://' not in source.location:
            return sum(file.stat().st_size for _, file in files_of(Path(source.location)))
        with _reading(source.location) as (system, path):
            return int(system.du(path))
    except (OSError, ValueError):
        return 0


def content_of(path: Path) -> str:
    """The hash of the files of a bag and of their names."""
    digest = hashlib.sha256()
    for name, file in files_of(path):
        digest.update(f'{sha256_of(file)} {name}\n'.encode('utf-8', 'surrogateescape'))
    return digest.hexdigest()


def files_of(path: Path) -> list[tuple[str, Path]]:
    """The files of a bag by their names, without those that its metadata does not name.

    A single file has no name, since it may be renamed.
    """
    if not path.is_dir():
        return [('', path)]
    there = [it for it in sorted(path.iterdir()) if it.is_file()]
    if names := named_files(path):
        there = [it for it in there if it.name in (METADATA_NAME, *names)]
    return [(it.name, it) for it in there]
