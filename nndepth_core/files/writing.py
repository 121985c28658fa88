"""Writes files and folders whole or not at all, and removes what killed processes left behind."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = '.unfinished-'
_count = itertools.count()


@contextmanager
def replaced_at_once(path: Path, lasting: bool = True) -> Iterator[Path]:
    """Give a path to write a file or folder to; it becomes `path` when all of it is written.

    If the block fails, what it wrote is removed and what was at `path` stays.

    Args:
        path: the file or folder.
        lasting: wait until it is on the disk, and remove what killed processes left in the
            folder. Where many files are written one after the other, use False: the system then
            decides when they reach the disk, and the folder is cleaned later.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _unfinished(path.parent, sweep=lasting) as temporary, _told_as(path, temporary):
        yield temporary
        if lasting:
            for written in (*temporary.rglob('*'), temporary):
                _sync(written)
        temporary.replace(path)
        if lasting:
            _sync(path.parent)


def write_at_once(path: str | Path, content: str | bytes, lasting: bool = True) -> None:
    """Write a file whole or not at all; symbolic links and pipes stay what they are.

    Args:
        path: the file.
        content: bytes or text. Characters that UTF-8 cannot hold, such as bytes in the names of
            files, are written as their numbers.
        lasting: see `replaced_at_once`.
    """
    data = content.encode('utf-8', 'backslashreplace') if isinstance(content, str) else content
    target = Path(path).resolve()
    with _told_as(Path(path), target):
        if target.exists() and not target.is_file():  # a pipe or a terminal
            target.write_bytes(data)
        else:
            with replaced_at_once(target, lasting) as temporary:
                temporary.write_bytes(data)


def check_writable(*paths: Path) -> None:
    """Refuse files that could not be written, before a long computation begins.

    Raises:
        ValueError: two are the same file, or a file to replace holds no text, so no old result.
        OSError: the system does not allow writing one of them.
    """
    owners: dict[Path, Path] = {}
    for path in paths:
        target = path.resolve()
        if target in owners:
            raise ValueError(f'{path} is named twice as a file to write; give two names')
        owners[target] = path
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if target.is_file() and _is_binary(target):
            raise ValueError(
                f'{path} holds something else than the text that would replace it; give another '
                'name, or remove it'
            )
        if not target.exists() or target.is_file():
            with _told_as(path, target.parent):
                check_folder(target.parent)


def check_folder(folder: Path) -> None:
    """Make a folder if there is none, and check that files can be written there.

    Raises:
        OSError: they cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, 'is a file; name a folder', str(folder))
    with _told_as(folder, folder):
        folder.mkdir(parents=True, exist_ok=True)
        with _unfinished(folder) as temporary:
            temporary.touch()


def _is_binary(path: Path) -> bool:
    with path.open('rb') as file:
        return b'\0' in file.read(1 << 12)


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Give an empty folder and remove it afterwards, or after a kill when the next is made."""
    parent.mkdir(parents=True, exist_ok=True)
    with _unfinished(parent) as folder:
        folder.mkdir()
        yield folder


def remove_at_once(folder: Path) -> None:
    """Remove a folder in such a way that a kill leaves no part of it under its name."""
    with _unfinished(folder.parent) as doomed:
        folder.rename(doomed)


def sha256_of(path: str | Path) -> str:
    """Compute the hash of a file's content, which is read in blocks."""
    digest = hashlib.sha256()
    with Path(path).open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def _unfinished(folder: Path, sweep: bool = True) -> Iterator[Path]:
    """Give a temporary name that holds the process, and remove what has this name at the end."""
    if sweep:
        _sweep(folder)
    path = folder / _own_name()
    try:
        yield path
    finally:
        _remove(path)


@contextmanager
def _told_as(path: Path, temporary: Path) -> Iterator[None]:
    """Let errors of the system name the path that the caller asked for."""
    try:
        yield
    except OSError as error:
        unnamed = error.errno is not None and error.filename is None
        if unnamed or str(error.filename).startswith(str(temporary)):
            error.filename = str(path)
        raise


def _sweep(folder: Path) -> None:
    """Remove what processes of this machine that no longer run have left behind."""
    prefix = _own_prefix()
    for leftover in folder.glob(f'{_PREFIX}*'):
        process = leftover.name.removeprefix(prefix).partition('-')[0]
        if leftover.name.startswith(prefix) and process.isdecimal() and not _lives(int(process)):
            _remove(leftover)


def _own_prefix() -> str:
    # Other machines may write to the same folder; which of their processes run is not known here.
    return f'{_PREFIX}{socket.gethostname()[:64]}-'


def _own_name() -> str:
    return f'{_own_prefix()}{os.getpid()}-{next(_count)}'


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it belongs to another user
        return True
    return True


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)  # goes on where another one removes too
        else:
            path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Write a file's content, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
