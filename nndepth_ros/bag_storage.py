"""The files that hold messages: their common interface, sqlite3, ROS 1, compressed files."""

from __future__ import annotations

import bz2
import shutil
import sqlite3
from abc import ABC, abstractmethod
from array import array
from collections import Counter
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import lz4.frame

# A larger chunk or message is not read.
LARGEST_BLOCK = 2**30
# A compressed file is unpacked to at most this many times its size, but always to a GiB.
_LARGEST_RATIO = 100
_SPARED_DISK = 2**30


class DamageError(Exception):
    """A part of a file cannot be read."""


class Damage(NamedTuple):
    """A part of a file that could not be read.

    Attributes:
        file: the name of the file.
        reason: where the damage is, and what it is.
        lost: the number of messages that are lost, None if it is unknown.
    """

    file: str
    reason: str
    lost: int | None

    def __str__(self) -> str:
        """Describe the damage in one sentence."""
        if self.lost == 0:
            return f'{self.file}: {self.reason}; no message is lost'
        lost = 'an unknown number of' if self.lost is None else self.lost
        return f'{self.file}: {self.reason}; {lost} messages are lost'


class Channel(NamedTuple):
    """A stream of messages in a file.

    Attributes:
        topic: the topic of all its messages.
        kind: their type, such as sensor_msgs/msg/Image, as far as it is known.
        encoding: how their bytes are encoded: cdr, ros1, json, protobuf ...
    """

    topic: str
    kind: str
    encoding: str


class Row(NamedTuple):
    """One message of a file: number of its channel, time in nanoseconds, bytes as stored."""

    channel: int
    time: int
    data: bytes | memoryview


class Storage(ABC):
    """A file of messages, as far as it can be read.

    Attributes:
        channels: the channels by their numbers.
        counts: the number of messages of each channel.
        damage: the damage by its place; reading the messages may find more.
        start_time: the time of the first message in nanoseconds; None if there is none.

    Args:
        path: the file.

    Raises:
        Exception: the file cannot be read; the class of the exception may be any.
    """

    def __init__(self, path: Path) -> None:
        self.channels: dict[int, Channel] = {}
        self.counts: Counter[int] = Counter()
        self.damage: dict[int, Damage] = {}
        self.start_time: int | None = None
        self._name = path.name

    @abstractmethod
    def messages(self, channels: Collection[int], start: int, stop: int) -> Iterator[Row]:
        """Yield the messages of some channels in start <= time < stop, in order of time."""

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    def _lose(self, place: int, reason: str, lost: int | None = None) -> None:
        """Note damage at a place, unless it is known already."""
        self.damage.setdefault(place, Damage(self._name, reason, lost))


def message_type(name: str) -> str:
    """Return the name of a ROS 2 message type; ROS 1 leaves out the part in the middle."""
    package, slash, rest = name.partition('/')
    return f'{package}/msg/{rest}' if slash and '/' not in rest else name


class SqliteFile(Storage):
    """A sqlite3 database of rosbag2, as far as sqlite can read it; its channels are topics."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._unreadable: set[int] = set()
        # The log beside the file holds messages of a recorder that was killed.
        how = 'mode=ro' if Path(f'{path}-wal').exists() else 'immutable=1'
        self._database = sqlite3.connect(f'file:{quote(str(path))}?{how}', uri=True)
        try:
            # Otherwise a file that is shorter than its header says would be refused.
            self._database.execute('PRAGMA writable_schema=ON')
            self._read_topics()
            self._ids, self._topics, self._times = array('q'), array('q'), array('q')
            self._scan()
        except sqlite3.Error:
            self._database.close()
            raise
        self._order = sorted(range(len(self._ids)), key=self._times.__getitem__)
        if self._order:
            self.start_time = self._times[self._order[0]]

    def messages(self, channels: Collection[int], start: int, stop: int) -> Iterator[Row]:
        """Yield the messages of some topics in start <= time < stop, in order of time."""
        for at in self._order:
            number, topic, time = self._ids[at], self._topics[at], self._times[at]
            if topic not in channels or not start <= time < stop:
                continue
            query = 'SELECT data FROM messages WHERE id = ?'
            try:
                (data,) = self._database.execute(query, (number,)).fetchone() or (None,)
                if not isinstance(data, bytes):
                    raise DamageError('a message is no bytes')
            except (sqlite3.Error, DamageError) as error:
                self._unreadable.add(number)
                lost = len(self._unreadable)
                self.damage[-1] = Damage(self._name, f'some messages: {error}', lost)
                continue
            yield Row(topic, time, data)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _read_topics(self) -> None:
        query = 'SELECT id, name, type, serialization_format FROM topics'
        for number, topic, kind, encoding in self._database.execute(query):
            if isinstance(number, int):
                self.channels[number] = Channel(str(topic), str(kind), str(encoding))

    def _scan(self) -> None:
        """Find all messages; after a damaged page, try to continue at growing distances."""
        query = 'SELECT id, topic_id, timestamp FROM messages WHERE id > ? ORDER BY id'
        last, skipped = -1, 0
        while skipped < 2**40:
            try:
                for number, topic, time in self._database.execute(query, (last + skipped,)):
                    last, skipped = number, 0
                    if topic in self.channels and isinstance(time, int):
                        self._ids.append(number)
                        self._topics.append(topic)
                        self._times.append(time)
                        self.counts[topic] += 1
                return
            except sqlite3.Error as error:
                if last < 0 and not self.damage and 'no such' in str(error):
                    raise
                self._lose(0, f'it is cut off or damaged behind message {max(last, 0)}: {error}')
                skipped = 2 * skipped or 1


class Ros1File(Storage):
    """A ROS 1 bag; its channels are connections."""

    def __init__(self, path: Path) -> None:
        from rosbags.rosbag1 import Reader

        super().__init__(path)
        self._reader = Reader(path)
        self._reader.open()
        compressions = {bz2.decompress: 'bz2', lz4.frame.decompress: 'lz4'}
        for place, chunk in self._reader.chunks.items():
            # The functions of the library do not limit the size.
            if compression := compressions.get(chunk.decompressor):
                bounded = partial(unpack, compression=compression)
                self._reader.chunks[place] = chunk._replace(decompressor=bounded)
        for connection in self._reader.connections:
            self.channels[connection.id] = Channel(connection.topic, connection.msgtype, 'ros1')
            self.counts[connection.id] = connection.msgcount
        if self.counts.total():
            self.start_time = self._reader.start_time

    def messages(self, channels: Collection[int], start: int, stop: int) -> Iterator[Row]:
        """Yield the messages of some connections in start <= time < stop, in order of time."""
        connections = [it for it in self._reader.connections if it.id in channels]
        if not connections:
            return
        # For a part of the time it is not known how many messages there should be.
        whole = start <= self._reader.start_time and stop >= self._reader.end_time
        missing = sum(it.msgcount for it in connections)
        try:
            for connection, time, data in self._reader.messages(connections, start, stop):
                missing -= 1
                yield Row(connection.id, time, data)
        except Exception as error:  # damage leads to all kinds of errors in the libraries
            reason = f'it cannot be read to its end: {type(error).__name__}: {error}'
            self._lose(0, reason, missing if whole else None)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()


def zstd() -> Any:
    """Return the module that unpacks Zstandard; rosbags installs it."""
    try:
        from compression import zstd
    except ImportError:
        from backports import zstd
    return zstd


def unpack(data: bytes | memoryview, compression: str) -> bytes:
    """Unpack zstd, lz4 or bz2; from data that is cut off, unpack what is there.

    Raises:
        DamageError: the data are damaged, packed in another way, or larger than LARGEST_BLOCK.
    """
    try:
        content = _decompressor(compression).decompress(data, LARGEST_BLOCK + 1)
    except Exception as error:  # from several libraries
        raise DamageError(str(error)) from error
    if len(content) > LARGEST_BLOCK:
        raise DamageError(f'unpacked it has more than {LARGEST_BLOCK} bytes')
    return content


def _decompressor(compression: str) -> Any:
    if compression == 'zstd':
        return zstd().ZstdDecompressor()
    if compression == 'lz4':
        return lz4.frame.LZ4FrameDecompressor()
    if compression == 'bz2':
        return bz2.BZ2Decompressor()
    raise DamageError(f'its compression {compression!r} is unknown')


def unpack_file(path: Path, target: Path) -> Damage | None:
    """Unpack a .zst file as far as it is whole; return the damage, if any.

    Raises:
        DamageError: it becomes much larger than recordings do, or the disk is too full for it.
        OSError: `target` cannot be written.
    """
    limit = max(2**30, _LARGEST_RATIO * path.stat().st_size)
    limit = min(limit, shutil.disk_usage(target.parent).free - _SPARED_DISK)
    written = 0
    with zstd().ZstdFile(path) as packed, target.open('wb') as unpacked:
        try:
            while block := packed.read1(2**20):
                written += len(block)
                if written > limit:
                    raise DamageError(
                        f'it unpacks to more than {max(limit, 0) // 2**20} MiB, too much for '
                        f'{target.parent}; unpack it yourself by `zstd -d`, or set TMPDIR to a '
                        'larger disk'
                    )
                unpacked.write(block)
        except (zstd().ZstdError, EOFError) as error:
            return Damage(path.name, f'it is cut off or damaged: {error}', None)
    return None
