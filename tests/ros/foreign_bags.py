"""Bags that rosbag2 does not write: ROS 1, MCAP of other recorders, without chunks or index."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bags import Entry
from mcap.writer import CompressionType, IndexType, Writer
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.typesys import Stores, get_typestore

from nndepth_ros.bag import TYPES

ROS1_TYPES = get_typestore(Stores.ROS1_NOETIC)
NO_INDEX = {'index_types': IndexType.NONE, 'use_statistics': False}
INDEX = {'index_types': IndexType.ALL, 'use_statistics': True}


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
    **layout: Any,
) -> Path:
    """Write an MCAP file without index, each message in a chunk of its own.

    Args:
        path: the file.
        entries: messages of ROS.
        encoding: of them: cdr or ros1.
        foreign: topic, encoding, name of the schema and data of other messages.
        layout: otherwise laid out; arguments of mcap.writer.Writer.
    """
    defaults = {'chunk_size': 1, 'compression': CompressionType.NONE, **NO_INDEX}
    writer = Writer(str(path), **{**defaults, **layout})
    writer.start('ros2' if encoding == 'cdr' else 'ros1')
    channels: dict[tuple[str, str], int] = {}

    def write(topic: str, kind: str, schema_encoding: str, encoding: str, time: int, data: bytes):
        if (topic, kind) not in channels:
            schema = writer.register_schema(kind, schema_encoding, b'')
            channels[topic, kind] = writer.register_channel(topic, encoding, schema)
        writer.add_message(channels[topic, kind], time, data, time)

    for topic, time, message in entries:
        kind = message.__msgtype__
        if encoding == 'cdr':
            data = bytes(TYPES.serialize_cdr(message, kind))
            write(topic, kind, 'ros2msg', encoding, time, data)
        else:
            data = ros1_bytes(kind, message)
            write(topic, kind.replace('/msg/', '/'), 'ros1msg', encoding, time, data)
    for topic, message_encoding, schema, data in foreign:
        write(topic, schema, f'{message_encoding}schema', message_encoding, 0, data)
    writer.finish()
    return path
