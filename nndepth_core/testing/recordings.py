"""Reads back what `nndepth view --save` wrote, by the readers of rerun and of MCAP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Row(NamedTuple):
    """What was logged at once: the values of the timelines, and the components by their names."""

    times: dict[str, int]
    components: dict[str, Any]


def read_rrd(path: Path) -> dict[str, list[Row]]:
    """Return the rows of each entity of a rerun recording, in order; times are whole numbers."""
    from rerun.chunk import RrdReader

    found: dict[str, list[Row]] = {}
    for chunk in RrdReader(path).stream().to_chunks():
        batch = chunk.to_record_batch()
        for at in range(batch.num_rows):
            row = Row({}, {})
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                if ':' in name:
                    row.components[name] = column[at].values.to_numpy(zero_copy_only=False)
                elif name in ('stamp', 'frame'):
                    row.times[name] = column.cast('int64')[at].as_py()
            found.setdefault(chunk.entity_path.removeprefix('/'), []).append(row)
    for rows in found.values():
        rows.sort(key=lambda row: [*row.times.values()])
    return found


def depth_of(row: Row) -> np.ndarray:
    """The depth (H, W) that a row of a DepthImage holds, in the units that it states: metres."""
    shape = row.components['DepthImage:format'][0]
    values = np.asarray(row.components['DepthImage:buffer'][0], np.uint8).view(np.float32)
    meter = row.components['DepthImage:meter'][0]
    return values.reshape(shape['height'], shape['width']) / meter


def read_mcap(path: Path) -> dict[str, list[tuple[int, Any]]]:
    """Return times and messages of each topic of a Foxglove recording, decoded by its schemas."""
    from mcap.reader import make_reader

    found: dict[str, list[tuple[int, Any]]] = {}
    with path.open('rb') as file:
        for schema, channel, message in make_reader(file).iter_messages():
            assert schema is not None
            decoded = (
                json.loads(message.data)
                if schema.encoding == 'jsonschema'
                else protobuf(schema.name, schema.data, message.data)
            )
            found.setdefault(channel.topic, []).append((message.log_time, decoded))
    return found


def protobuf(name: str, schema: bytes, data: bytes) -> Any:
    """Decode a message by the FileDescriptorSet that stands beside it."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(schema).file:
        pool.Add(file)
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
    return kind.FromString(data)


def points_of(cloud: Any) -> tuple[np.ndarray, np.ndarray]:
    """Positions (N, 3) and colours, uint8 RGB (N, 3), of a foxglove.PointCloud."""
    fields = {field.name: field.offset for field in cloud.fields}
    data = np.frombuffer(cloud.data, np.uint8).reshape(-1, cloud.point_stride)

    def floats(name: str) -> np.ndarray:
        at = fields[name]
        return np.ascontiguousarray(data[:, at : at + 4]).view('<f4')[:, 0]

    positions = np.stack([floats(name) for name in 'xyz'], axis=1)
    return positions, data[:, [fields[name] for name in ('red', 'green', 'blue')]]
