"""Writes bags without ROS: MCAP rosbag2 that appear in their place only when they are whole."""

from __future__ import annotations

import ctypes
import glob
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError

from nndepth_ros.bag import METADATA_NAME, TYPES, BagError, Record

REPORT_NAME, ORIGIN_NAME = 'report.json', 'origin.json'

# Humble writes version 5 and Jazzy 9; all of them read 8.
_METADATA_VERSION: Final = 8
_STORAGE_SUFFIXES = ('.mcap', '.db3')
_BESIDE = (METADATA_NAME, REPORT_NAME, ORIGIN_NAME)


class BagWriter:
    """Writes an MCAP rosbag2 next to its final place, and moves it there when it is whole.

    If the context ends with an error or without any message, nothing is left and an old bag stays
    as it is. A process that is killed leaves a folder NAME.partial-... with NAME/NAME.mcap, which
    holds what was written so far; BagReader can read it.

    Attributes:
        path: where the bag will be.
        counts: the number of messages written to each topic.

    Args:
        path: the folder to make.
        overwrite: whether to replace an old bag.
        origin: takes the folder of the new bag when all messages are in it, and returns what the
            bag is made from, which is written to ORIGIN_NAME beside the messages; if it raises an
            error, there is no new bag. None: nothing is written.

    Raises:
        BagError: the bag cannot be written; every method may raise it.
    """

    def __init__(
        self, path: Path, overwrite: bool = False, origin: Callable[[Path], str] | None = None
    ) -> None:
        self.path = path
        self.counts: dict[str, int] = {}
        self._overwrite = overwrite
        self._origin = origin
        self._report = ''
        self._connections: dict[str, Connection] = {}

    def write(self, topic: str, time: int, message: Any) -> None:
        """Write a message of the rosbags library's classes."""
        kind = message.__msgtype__
        self.copy(kind, Record(topic, time, TYPES.serialize_cdr(message, kind)))

    def copy(self, kind: str, record: Record) -> None:
        """Write a message of type `kind` that is already serialised."""
        topic = record.topic
        with self._told():
            if topic not in self._connections:
                connection = self._writer.add_connection(topic, kind, typestore=TYPES)
                self._connections[topic] = connection
            self._writer.write(self._connections[topic], record.time, record.data)
        self.counts[topic] = self.counts.get(topic, 0) + 1

    def report(self, text: str) -> None:
        """Write a report next to the messages."""
        self._report = text

    def stay_beside(self) -> None:
        """Complete the bag where it is, since it is not what was asked for."""
        self.path = self._new

    def discard(self) -> None:
        """Leave no bag behind, whatever has been written."""
        self.counts.clear()

    def __enter__(self) -> BagWriter:
        if not self._overwrite and self.path.exists():
            raise BagError(f'{self.path} exists already; choose another name')
        with self._told():
            parent = self.path.parent
            if not parent.exists():
                parent.mkdir(parents=True)
            self._folder = Path(tempfile.mkdtemp(prefix=f'{self.path.name}.partial-', dir=parent))
            try:
                self._new = self._folder / self.path.name
                self._writer = Writer(
                    self._new, version=_METADATA_VERSION, storage_plugin=StoragePlugin.MCAP
                )
                self._writer.open()
            except BaseException:
                shutil.rmtree(self._folder, ignore_errors=True)
                raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        beside = False
        try:
            if kind is None and self.counts:
                with self._told():
                    self._writer.close()
                    origin = self._origin(self._new) if self._origin else ''
                    for name, text in ((ORIGIN_NAME, origin), (REPORT_NAME, self._report)):
                        if text:
                            (self._new / name).write_text(text)
                    beside = self.path == self._new
                    if not beside:
                        self._place()
        finally:
            with suppress(OSError):
                self._writer.abort()
            if not beside:
                shutil.rmtree(self._folder, ignore_errors=True)

    def _place(self) -> None:
        """Move the new bag to its place; an old bag is moved to where the new one was."""
        if not self.path.exists() and not self.path.is_symlink():
            self._new.rename(self.path)
            return
        if not self._overwrite:
            raise BagError(f'{self.path} was made by another program meanwhile')
        _check_bag(self.path)
        if not _exchange(self._new, self.path):
            old = self._folder / 'old'
            self.path.rename(old)
            try:
                self._new.rename(self.path)
            except OSError:
                old.rename(self.path)
                raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (OSError, WriterError) as error:
            reason = getattr(error, 'strerror', None) or error
            raise BagError(f'{self.path} cannot be written: {reason}') from error


def check_target(path: Path, source: Path, overwrite: bool) -> None:
    """Check that a bag can be written to `path`, and that a bag there may be deleted.

    Args:
        path: folder of the new bag.
        source: the bag that is read.
        overwrite: whether an old bag at `path` may be replaced.

    Raises:
        BagError: there is something at `path` that must not be deleted.
    """
    if not path.exists() and not path.is_symlink():
        return
    if not overwrite:
        raise BagError(f'{path} exists already; choose another name, or give --overwrite')
    if path.resolve() in (source.resolve(), *source.resolve().parents):
        raise BagError(f'{path} is or holds the bag that is read; choose another name')
    _check_bag(path)


def leftovers(path: Path) -> list[Path]:
    """Folders of processes that were killed while they wrote to `path`, or that still write."""
    return sorted(path.parent.glob(f'{glob.escape(path.name)}.partial-*'))


def _exchange(first: Path, second: Path) -> bool:
    """Exchange the names of two folders in one step; False if the system cannot do this."""
    rename = getattr(ctypes.CDLL(None), 'renameat2', None)
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    names = os.fsencode(first), os.fsencode(second)
    return rename is not None and rename(here, names[0], here, names[1], exchange) == 0


def _check_bag(path: Path) -> None:
    """Raise BagError if a folder is not exactly a rosbag2 and the report in it."""
    metadata, unfinished = path / METADATA_NAME, path / f'{path.name}.mcap'
    if path.is_symlink() or not (metadata.is_file() or unfinished.is_file()):
        raise BagError(f'{path} is not deleted: it is no rosbag2 folder; choose another name')
    foreign = [file.name for file in path.iterdir() if not _belongs_to_bag(file)]
    if foreign:
        raise BagError(
            f'{path} is not deleted: {foreign[0]} in it is no part of a rosbag2; choose another '
            'name'
        )


def _belongs_to_bag(file: Path) -> bool:
    known = file.suffix in _STORAGE_SUFFIXES or file.name in _BESIDE
    return known and file.is_file()
