"""rosbag2 files in and out without ROS, by the rosbags library.

The camera messages have had one definition since the first ROS 2 release, so they are read with
those of Jazzy whatever the bag says of its types; an odd type beside them does no harm.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader, ReaderError, StoragePlugin, Writer, WriterError
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from nndepth_ros.conversions import ConversionError, MessageTypes

TYPES = get_typestore(Stores.ROS2_JAZZY)
REPORT_NAME = 'report.json'

# Humble writes version 5, Jazzy 9; 8 is read by all of them.
_METADATA_VERSION: Final = 8
_METADATA_NAME = 'metadata.yaml'
_STORAGE_SUFFIXES = ('.mcap', '.db3')


class BagError(ValueError):
    """A bag that cannot be read or written; the message names it and the cure."""


class Record(NamedTuple):
    """One recorded message.

    Attributes:
        topic: its topic.
        time: when it was recorded, nanoseconds.
        data: the message, serialised as CDR.
    """

    topic: str
    time: int
    data: bytes | memoryview


def bag_message_types(typestore: Typestore = TYPES) -> MessageTypes:
    """The message classes of the rosbags library."""
    types = typestore.types
    return MessageTypes(
        image=types['sensor_msgs/msg/Image'],
        camera_info=types['sensor_msgs/msg/CameraInfo'],
        region_of_interest=types['sensor_msgs/msg/RegionOfInterest'],
        disparity_image=types['stereo_msgs/msg/DisparityImage'],
        point_cloud=types['sensor_msgs/msg/PointCloud2'],
        point_field=types['sensor_msgs/msg/PointField'],
        with_data=lambda make, pixels, fields: make(
            **fields, data=np.ascontiguousarray(pixels).reshape(-1).view(np.uint8)
        ),
    )


class BagReader:
    """A rosbag2 to read: a folder, or a bare .mcap or .db3 file.

    Attributes:
        topics: message type by topic, of those that hold messages.
        counts: number of messages by topic.
        start_time: when the first message was recorded, nanoseconds.

    Args:
        path: the bag.

    Raises:
        BagError: it is not there, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise BagError(
                f'{path} does not exist; give a rosbag2 folder, or a .mcap or .db3 file'
            )
        try:
            self._reader = Reader(_storage(path))
            self._reader.open()
        except BagError:
            raise
        except Exception as error:  # a foreign or cut file breaks the library in many places
            raise BagError(
                f'{path} cannot be read: {_reason(error)}; it is truncated, damaged or no rosbag2 '
                '(sqlite3 or MCAP)'
            ) from error
        held = [item for item in self._reader.connections if item.msgcount]
        self.topics = {item.topic: item.msgtype for item in held}
        self.counts = dict.fromkeys(self.topics, 0)
        for item in held:
            self.counts[item.topic] += item.msgcount
        self.start_time = self._reader.start_time

    def messages(
        self, topics: Collection[str], start: int | None = None, stop: int | None = None
    ) -> Iterator[Record]:
        """Yield what was recorded on some topics in start <= time < stop, by time.

        Raises:
            BagError: the bag is damaged.
        """
        connections = [item for item in self._reader.connections if item.topic in topics]
        time = self.start_time
        try:
            for item, time, data in self._reader.messages(connections, start, stop):
                yield Record(item.topic, time, data)
        except Exception as error:  # damage shows itself as any error of several libraries
            seconds = (time - self.start_time) / 1e9
            raise BagError(
                f'{self.path} cannot be read beyond {seconds:.3f} s: {_reason(error)}; it is '
                'truncated or damaged: record it again, or shorten --duration to what comes before'
            ) from error

    def decode(self, record: Record) -> Any:
        """Deserialise a message.

        Raises:
            ConversionError: its bytes are not what its type says.
        """
        try:
            return TYPES.deserialize_cdr(memoryview(record.data), self.topics[record.topic])
        except SerdeError as error:
            raise ConversionError(f'{record.topic}: the message is damaged: {error}') from error

    def __enter__(self) -> BagReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()


class BagWriter:
    """Writes an MCAP rosbag2 that is complete once the context is left, or not there at all.

    It is taken away again if the context ends by an error, or without a message written.

    Attributes:
        counts: number of messages written by topic.

    Args:
        path: folder to be made.

    Raises:
        BagError: it cannot be written; every method may say so.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: dict[str, int] = {}
        self._connections: dict[str, Connection] = {}

    def write(self, topic: str, time: int, message: Any) -> None:
        """Write a message of the rosbags library's classes."""
        kind = message.__msgtype__
        self.copy(kind, Record(topic, time, TYPES.serialize_cdr(message, kind)))

    def copy(self, kind: str, record: Record) -> None:
        """Write a message of type `kind` that is serialised already."""
        topic = record.topic
        with self._told():
            if topic not in self._connections:
                connection = self._writer.add_connection(topic, kind, typestore=TYPES)
                self._connections[topic] = connection
            self._writer.write(self._connections[topic], record.time, record.data)
        self.counts[topic] = self.counts.get(topic, 0) + 1

    def discard(self) -> None:
        """Leave no bag behind, whatever was written."""
        self.counts.clear()

    def __enter__(self) -> BagWriter:
        with self._told():
            self._writer = Writer(
                self.path, version=_METADATA_VERSION, storage_plugin=StoragePlugin.MCAP
            )
            try:
                self._writer.open()
            except OSError:
                with suppress(OSError):
                    self.path.rmdir()
                raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        complete = False
        try:
            if kind is None and self.counts:
                with self._told():
                    self._writer.close()
                complete = True
        finally:
            if not complete:
                with suppress(OSError):
                    self._writer.abort()
                remove_bag(self.path)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (OSError, WriterError) as error:
            reason = getattr(error, 'strerror', None) or error
            raise BagError(f'{self.path} cannot be written: {reason}') from error


def check_target(path: Path, source: Path, overwrite: bool) -> None:
    """Check that a bag can be written to `path`, where an old one may be given up.

    Args:
        path: folder of the new bag.
        source: the bag that is read.
        overwrite: whether an old bag at `path` may be deleted.

    Raises:
        BagError: something is there that must not be deleted.
    """
    if not path.exists() and not path.is_symlink():
        return
    if not overwrite:
        raise BagError(f'{path} exists already; choose another name, or give --overwrite')
    if path.resolve() in (source.resolve(), *source.resolve().parents):
        raise BagError(f'{path} is or holds the bag that is read; choose another name')
    _files_of_bag(path)


def remove_bag(path: Path) -> None:
    """Delete a rosbag2 folder and the report in it.

    Raises:
        BagError: it is no such folder, or holds anything else; nothing is deleted then.
    """
    for file in _files_of_bag(path):
        file.unlink()
    path.rmdir()


def _files_of_bag(path: Path) -> list[Path]:
    metadata, unfinished = path / _METADATA_NAME, path / f'{path.name}.mcap'
    if path.is_symlink() or not (metadata.is_file() or unfinished.is_file()):
        raise BagError(f'{path} is not deleted: it is no rosbag2 folder; choose another name')
    files = list(path.iterdir())
    foreign = [file.name for file in files if not _belongs_to_bag(file)]
    if foreign:
        raise BagError(
            f'{path} is not deleted: {foreign[0]} in it is no part of a rosbag2; choose another '
            'name'
        )
    return files


def _belongs_to_bag(file: Path) -> bool:
    known = file.suffix in _STORAGE_SUFFIXES or file.name in (_METADATA_NAME, REPORT_NAME)
    return known and file.is_file()


def _storage(path: Path) -> Path:
    """What to open: the path itself, or the only file of a folder without metadata.yaml."""
    if path.is_file() or (path / _METADATA_NAME).exists():
        return path
    found = [file for file in path.iterdir() if file.suffix in _STORAGE_SUFFIXES]
    if len(found) != 1:
        raise BagError(
            f'{path} is no rosbag2: it holds no {_METADATA_NAME} and {len(found)} .mcap or .db3 '
            'files; give the folder that `ros2 bag record` made (`ros2 bag reindex` completes it)'
        )
    return found[0]


def _reason(error: Exception) -> str:
    name = '' if isinstance(error, ReaderError) else type(error).__name__
    return ': '.join(part for part in (name, str(error).rstrip('.')) if part)
