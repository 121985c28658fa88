"""Bags that rosbag2 does not write: ROS 1, MCAP of other recorders, without chunks or summary."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

from bags import Entry
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.typesys import Stores, get_typestore

from nndepth_ros.bag import TYPES
from nndepth_ros.mcap import MAGIC

ROS1_TYPES = get_typestore(Stores.ROS1_NOETIC)
HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, DATA_END = 1, 2, 3, 4, 5, 6, 15


def ros1_bytes(kind: str, message: object) -> bytes:
    """The message as ROS 1 sends it: the seq of its header is 0."""
    return bytes(TYPES.cdr_to_ros1(TYPES.serialize_cdr(message, kind), kind))


def write_ros1_bag(
    path: Path, entries: Iterable[Entry], compression: Ros1Writer.CompressionFormat | None = None
) -> Path:
    writer = Ros1Writer(path)
    if compression:
        writer.set_compression(compression)
    with writer:
        connections = {}
        for topic, time, message in entries:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=ROS1_TYPES)
            writer.write(connections[topic], time, ros1_bytes(kind, message))
    return path


def write_mcap(
    path: Path,
    entries: Iterable[Entry],
    encoding: str = 'cdr',
    foreign: Iterable[tuple[str, str, str, bytes]] = (),
    chunked: bool = True,
    reversed_chunks: bool = False,
) -> Path:
    """Write an MCAP file without summary and message indexes.

    Args:
        path: the file.
        entries: messages of ROS.
        encoding: of them: cdr or ros1.
        foreign: topic, encoding, name of the schema and data of other messages.
        chunked: write each message into a chunk of its own.
        reversed_chunks: write the chunks the last first.
    """
    records, channels = [], {}

    def declare(topic: str, schema: str, schema_encoding: str, message_encoding: str) -> bytes:
        number = channels[topic, schema] = len(channels) + 1
        described = _text(schema) + _text(schema_encoding) + _text('')
        channel = _text(topic) + _text(message_encoding) + _text('')
        return _record(SCHEMA, struct.pack('<H', number) + described) + _record(
            CHANNEL, struct.pack('<HH', number, number) + channel
        )

    for topic, time, message in entries:
        kind = message.__msgtype__
        name = kind if encoding == 'cdr' else kind.replace('/msg/', '/')
        before = b''
        if (topic, name) not in channels:
            before = declare(topic, name, 'ros2msg' if encoding == 'cdr' else 'ros1msg', encoding)
        data = (
            bytes(TYPES.serialize_cdr(message, kind))
            if encoding == 'cdr'
            else ros1_bytes(kind, message)
        )
        records.append((time, before + _message(channels[topic, name], time, data)))
    for topic, message_encoding, schema, data in foreign:
        before = declare(topic, schema, f'{message_encoding}schema', message_encoding)
        records.append((0, before + _message(channels[topic, schema], 0, data)))
    if reversed_chunks:
        records.reverse()
    content = b''.join(_chunk(time, item) if chunked else item for time, item in records)
    profile = {'cdr': 'ros2', 'ros1': 'ros1'}[encoding]
    path.write_bytes(
        MAGIC
        + _record(HEADER, _text(profile) + _text('test'))
        + content
        + _record(DATA_END, bytes(4))
        + _record(FOOTER, bytes(20))
        + MAGIC
    )
    return path


def _text(text: str) -> bytes:
    return struct.pack('<I', len(text)) + text.encode()


def _record(code: int, content: bytes) -> bytes:
    return struct.pack('<BQ', code, len(content)) + content


def _message(channel: int, time: int, data: bytes) -> bytes:
    return _record(MESSAGE, struct.pack('<HIQQ', channel, 0, time, time) + data)


def _chunk(time: int, content: bytes) -> bytes:
    head = struct.pack('<QQQI', time, time, len(content), 0) + _text('')
    return _record(CHUNK, head + struct.pack('<Q', len(content)) + content)
