"""Files and folders that are whole or not there at all, and what a kill left of them."""

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
    """Give a name to write a file or folder to, which becomes `path` when all of it is written.

    If the block fails, what it wrote is removed and what was at `path` stays.

    Args:
        path: the file or folder.
        lasting: wait until it is on the disk, and remove what processes that were killed have
            left in the folder. Where many files are written one after the other, False leaves
            the first to the system and the second to later.
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
    """Write a file that is whole or not there at all; links and pipes stay what they are.

    Args:
        path: the file.
        content: bytes, or text; what UTF-8 cannot hold, as bytes in the names of files, is
            written as its number.
        lasting: as in `replaced_at_once`.
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
    """Refuse files that could not be written, before the work for them begins.

    Raises:
        ValueError: two are the same file, or one replaces what is no text and thus no old result.
        OSError: the system does not let one be written.
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
    """Make a folder if there is none, and see whether files can be written there.

    Raises:
        OSError: they cannot.
    """
    with _told_as(folder, folder):
        folder.mkdir(parents=True, exist_ok=True)
        with _unfinished(folder) as temporary:
            temporary.touch()


def _is_binary(path: Path) -> bool:
    with path.open('rb') as file:
        return b'\0' in file.read(1 << 12)


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Give an empty folder that is removed afterwards; after a kill, when the next one is made."""
    parent.mkdir(parents=True, exist_ok=True)
    with _unfinished(parent) as folder:
        folder.mkdir()
        yield folder


def remove_at_once(folder: Path) -> None:
    """Remove a folder so that a kill leaves nothing under its name."""
    with _unfinished(folder.parent) as doomed:
        folder.rename(doomed)


def sha256_of(path: str | Path) -> str:
    """The hash of a file's content, read in blocks."""
    digest = hashlib.sha256()
    with Path(path).open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def _unfinished(folder: Path, sweep: bool = True) -> Iterator[Path]:
    """Give a name that tells whose it is; whatever has it is removed at the end."""
    if sweep:
        _sweep(folder)
    path = folder / _own_name()
    try:
        yield path
    finally:
        _remove(path)


@contextmanager
def _told_as(path: Path, temporary: Path) -> Iterator[None]:
    """Let errors of the system name the path that was asked for."""
    try:
        yield
    except OSError as error:
        unnamed = error.errno is not None and error.filename is None
        if unnamed or str(error.filename).startswith(str(temporary)):
            error.filename = str(path)
        raise


def _sweep(folder: Path) -> None:
    """Remove what processes of this machine that are no more have left."""
    prefix = _own_prefix()
    for leftover in folder.glob(f'{_PREFIX}*'):
        process = leftover.name.removeprefix(prefix).partition('-')[0]
        if leftover.name.startswith(prefix) and process.isdecimal() and not _lives(int(process)):
            _remove(leftover)


def _own_prefix() -> str:
    # Other machines may write to the same folder; which of their processes live is not known here.
    return f'{_PREFIX}{socket.gethostname()[:64]}-'


def _own_name() -> str:
    return f'{_own_prefix()}{os.getpid()}-{next(_count)}'


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Bring a file's content, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
