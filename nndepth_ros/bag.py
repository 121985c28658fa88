"""Reads bags without ROS: rosbag2 (MCAP, sqlite3) and ROS 1, recognised by their first bytes.

The definitions of the camera messages have not changed since the first ROS 2 release, so they are
read with those of Jazzy, whatever the bag says of its types. Messages of ROS 1 differ only in
their bytes and in a header's seq, so they are converted to CDR when they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import numpy as np
import yaml
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from nndepth_ros import mcap
from nndepth_ros.bag_storage import (
    Channel,
    Damage,
    DamageError,
    Ros1File,
    SqliteFile,
    Storage,
    unpack,
    unpack_file,
)
from nndepth_ros.conversions import ConversionError, MessageTypes, data_holder

STATS_TYPE = 'nndepth/msg/InferenceStats'


def _known_types() -> Typestore:
    """The messages of Jazzy, and those of this package that bags hold."""
    types, package = get_typestore(Stores.ROS2_JAZZY), Path(__file__).resolve().parent
    folders = (package.parent, *(folder / 'share/nndepth' for folder in package.parents))
    for folder in folders:  # a checkout, or what an installation shares
        if (path := folder / 'msg/InferenceStats.msg').is_file():
            types.register(get_types_from_msg(path.read_text('utf-8'), STATS_TYPE))
            break
    return types


TYPES = _known_types()
METADATA_NAME = 'metadata.yaml'

_LAST_TIME: Final = 2**63 - 1
_ZSTD = b'\x28\xb5\x2f\xfd'
_STORAGES: dict[bytes, Callable[[Path], Storage]] = {
    mcap.MAGIC: mcap.McapFile,
    b'SQLite format 3\0': SqliteFile,
    b'#ROSBAG V2.0': Ros1File,
}
_OTHER_FORMATS = {
    b'#ROSBAG V1': 'a bag of ROS 1 before 2010; convert it by `rosbag fix`',
    b'\x1f\x8b': 'packed by gzip; unpack it by `gunzip`',
    b'BZh': 'packed by bzip2; unpack it by `bunzip2`',
    b'\xfd7zXZ': 'packed by xz; unpack it by `unxz`',
    b'PK\x03\x04': 'a zip archive; unpack it by `unzip`',
}
_ENCODINGS = ('cdr', 'ros1')


class BagError(ValueError):
    """A bag cannot be read or written; the message names the bag and the cure."""


class Record(NamedTuple):
    """One recorded message.

    Attributes:
        topic: the topic of the message.
        time: when it was recorded, in nanoseconds.
        data: the message in CDR; empty if it could not be converted to that.
    """

    topic: str
    time: int
    data: bytes | memoryview


def bag_message_types(typestore: Typestore = TYPES) -> MessageTypes:
    """The message classes of the rosbags library."""
    types = typestore.types
    return MessageTypes(
        image=types['sensor_msgs/msg/Image'],
        compressed_image=types['sensor_msgs/msg/CompressedImage'],
        camera_info=types['sensor_msgs/msg/CameraInfo'],
        region_of_interest=types['sensor_msgs/msg/RegionOfInterest'],
        disparity_image=types['stereo_msgs/msg/DisparityImage'],
        point_cloud=types['sensor_msgs/msg/PointCloud2'],
        point_field=types['sensor_msgs/msg/PointField'],
        with_room=_with_room,
    )


def _with_room(message: Any, size: int) -> tuple[Any, np.ndarray]:
    """Give room to a message of the rosbags library."""
    data = data_holder(message).data = np.empty(size, np.uint8)
    return message, data


def named_files(path: Path) -> list[str]:
    """The names of the files that the metadata of a bag's folder names; empty if it names none."""
    try:
        return _names_in(_metadata_of(path / METADATA_NAME))
    except Exception:  # the file may hold anything; BagReader tells it
        return []


def _metadata_of(file: Path) -> Any:
    return yaml.safe_load(file.read_text(errors='replace'))['rosbag2_bagfile_information']


def _names_in(metadata: Any) -> list[str]:
    # Releases before Foxy write the name of the folder too.
    return [Path(name).name for name in metadata['relative_file_paths']]


class BagReader:
    """A bag to read: a rosbag2 folder, or one file of a rosbag2 or of ROS 1, which may be .zst.

    What is cut off or damaged is left out, and `damage` reports it.

    Attributes:
        topics: the message types of the topics whose messages can be read.
        counts: the number of messages of each topic.
        left_out: the encoding and message type of each other topic.
        start_time: when the first message was recorded, in nanoseconds.

    Args:
        path: the bag.

    Raises:
        BagError: the bag does not exist, is no bag, or nothing in it can be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.topics: dict[str, str] = {}
        self.counts: dict[str, int] = {}
        self.left_out: dict[str, str] = {}
        self._damage: list[Damage] = []
        self._storages: list[Storage] = []
        if not path.exists():
            raise BagError(f'{path} does not exist; give a rosbag2 folder or the file of a bag')
        with ExitStack() as stack:
            files, told = self._files()
            for file in files:
                self._storages.append(self._open(file, stack))
                stack.callback(self._storages[-1].close)
            self._close = stack.pop_all().close
        self._storages.sort(key=lambda it: _LAST_TIME if it.start_time is None else it.start_time)
        times = [it.start_time for it in self._storages if it.start_time is not None]
        self.start_time = min(times, default=_LAST_TIME)
        for storage in self._storages:
            for number, channel in storage.channels.items():
                self._add(channel, storage.counts[number])
        found = sum(storage.counts.total() for storage in self._storages)
        if self.damage and told > found:
            self._lose(told, told - found)
        if self.damage and not self.topics:
            self._close()
            raise BagError(f'{path} cannot be read: {self.remarks}; nothing in it can be read')

    @property
    def damage(self) -> list[Damage]:
        """All that could not be read so far; reading on may find more."""
        return [
            *self._damage,
            *(it for storage in self._storages for it in storage.damage.values()),
        ]

    @property
    def remarks(self) -> str:
        """What was left out and why, or '' if nothing was."""
        parts = [str(damage) for damage in self.damage]
        if self.left_out:
            listed = ', '.join(f'{topic} ({kind})' for topic, kind in self.left_out.items())
            parts.append(
                f'left out: {listed}; each topic is read with one type of ROS messages (encoding '
                f'{" or ".join(_ENCODINGS)}), so convert the others'
            )
        return '; '.join(parts)

    def messages(
        self, topics: Collection[str], start: int | None = None, stop: int | None = None
    ) -> Iterator[Record]:
        """Yield the messages of some topics in start <= time < stop, in order of time per file."""
        begin = -_LAST_TIME if start is None else start
        end = _LAST_TIME if stop is None else stop
        for storage in self._storages:
            channels = {
                number: channel
                for number, channel in storage.channels.items()
                if channel.topic in topics
                and self.topics.get(channel.topic) == channel.kind
                and channel.encoding in _ENCODINGS
            }
            for number, time, data in storage.messages(channels, begin, end):
                yield Record(channels[number].topic, time, _cdr(channels[number], data))

    def decode(self, record: Record) -> Any:
        """Deserialise a message.

        Raises:
            ConversionError: its bytes do not fit its type.
        """
        kind = self.topics[record.topic]
        if kind not in TYPES.types:
            raise ConversionError(f'{record.topic}: the message type {kind!r} is unknown')
        try:
            return TYPES.deserialize_cdr(memoryview(record.data), kind)
        except SerdeError as error:
            raise ConversionError(f'{record.topic}: the message is damaged: {error}') from error

    def __enter__(self) -> BagReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _add(self, channel: Channel, count: int) -> None:
        """Count the messages of a channel for its topic, or add it to those that are left out."""
        if not count:
            return
        kind = self.topics.setdefault(channel.topic, channel.kind)
        if channel.encoding not in _ENCODINGS or not channel.kind or kind != channel.kind:
            if channel.topic not in self.counts:
                del self.topics[channel.topic]
            second = ' beside ' + kind if channel.topic in self.counts else ''
            self.left_out[channel.topic] = f'{channel.encoding} {channel.kind}'.strip() + second
            return
        self.counts[channel.topic] = self.counts.get(channel.topic, 0) + count

    def _lose(self, told: int, lost: int) -> None:
        """Note lost messages at the damage that lost them, if only one damage can have done so."""
        unknown = [
            (storage.damage, place)
            for storage in self._storages
            for place, damage in storage.damage.items()
            if damage.lost is None
        ]
        if len(unknown) == 1:
            ((damages, place),) = unknown
            damages[place] = damages[place]._replace(lost=lost)
        else:
            reason = f'{METADATA_NAME} says that there are {told} messages'
            self._damage.append(Damage(self.path.name, reason, lost))

    def _files(self) -> tuple[list[Path], int]:
        """List the files to read; also the number of messages in the metadata, 0 without any."""
        if self.path.is_file():
            return [self.path], 0
        known = (*_STORAGES, _ZSTD)
        there = [it for it in sorted(self.path.iterdir()) if it.is_file()]
        found = [it for it in there if _first_bytes(it).startswith(known)]
        named, told = self._metadata()
        if missing := [name for name in named if not (self.path / name).exists()]:
            self._damage.append(Damage(METADATA_NAME, f'files are missing: {missing}', None))
        if named:
            found = [self.path / name for name in named if name not in missing]
        if not found:
            reason = self.remarks or f'it holds no {METADATA_NAME} and no MCAP or sqlite3 file'
            raise BagError(
                f'{self.path} is no bag: {reason}; give the folder that `ros2 bag record` made'
            )
        return found, told

    def _metadata(self) -> tuple[list[str], int]:
        """Read the file names and the number of messages from metadata.yaml."""
        file = self.path / METADATA_NAME
        if not file.exists():
            return [], 0
        try:
            content = _metadata_of(file)
            return _names_in(content), int(content['message_count'])
        except Exception as error:  # the file may hold anything
            told = (
                f' ({" ".join(str(error).split())})' if isinstance(error, yaml.YAMLError) else ''
            )
            reason = (
                f'it is not what rosbag2 writes{told} and is not used; `ros2 bag reindex` writes '
                'it again'
            )
            self._damage.append(Damage(METADATA_NAME, reason, 0))
            return [], 0

    def _open(self, file: Path, stack: ExitStack) -> Storage:
        first, content = _first_bytes(file), file
        if first.startswith(_ZSTD):
            content = self._unpacked(file, stack)
            first = _first_bytes(content)
        for magic, kind in _STORAGES.items():
            if first.startswith(magic):
                try:
                    return kind(content)
                except Exception as error:  # damage leads to all kinds of errors in the libraries
                    raise BagError(f'{file} cannot be read: {_reason(error)}') from error
        for magic, what in _OTHER_FORMATS.items():
            if first.startswith(magic):
                raise BagError(f'{file} cannot be read: it is {what}')
        raise BagError(
            f'{file} cannot be read: it does not begin like a MCAP, sqlite3 or ROS 1 bag; it is '
            f'{"empty" if not first else "another kind of file, or overwritten"}'
        )

    def _unpacked(self, file: Path, stack: ExitStack) -> Path:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix='nndepth')))
        target = folder / file.stem
        try:
            damage = unpack_file(file, target)
        except (DamageError, OSError) as error:
            raise BagError(f'{file} cannot be unpacked: {error}') from error
        if damage and not target.stat().st_size:
            raise BagError(f'{file} cannot be read: {damage.reason}; nothing in it can be read')
        if damage:
            self._damage.append(damage)
        return target


def _first_bytes(file: Path) -> bytes:
    try:
        with file.open('rb') as content:
            return content.read(16)
    except OSError as error:
        raise BagError(f'{file} cannot be read: {error.strerror}') from error


def _cdr(channel: Channel, data: bytes | memoryview) -> bytes | memoryview:
    """Convert a message to CDR, unpacked if it was packed; empty if it is damaged."""
    try:
        if channel.encoding == 'ros1':
            return TYPES.ros1_to_cdr(data, channel.kind)
        return unpack(data, 'zstd') if bytes(data[:4]) == _ZSTD else data
    except Exception:  # the converter of the library fails in many ways
        return b''


def _reason(error: Exception) -> str:
    text = str(error).rstrip('.')
    if 'not indexed' in text or 'index looks damaged' in text:
        return f'{text}; `rosbag reindex` completes it'
    return f'{type(error).__name__}: {text}' if text else type(error).__name__
