"""Reads MCAP files with the mcap library; from damaged files it reads all that is there."""

from __future__ import annotations

import heapq
import io
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Final

from mcap import records
from mcap.data_stream import ReadDataStream
from mcap.exceptions import EndOfFile
from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.stream_reader import StreamReader, breakup_chunk

from nndepth_ros.bag_storage import (
    LARGEST_BLOCK,
    Channel,
    DamageError,
    Row,
    Storage,
    message_type,
    unpack,
)

MAGIC = b'\x89MCAP0\r\n'

# A file without an index is read in parts of at least this many bytes.
_PART: Final = 4 * 2**20
_NEVER: Final = 2**64


@dataclass
class _Part:
    """Records that are read together: bytes begin..end of the file, times first..last."""

    begin: int
    end: int
    first: int = _NEVER
    last: int = -1
    channels: set[int] = field(default_factory=set)


class _File(io.BufferedReader):
    """A file that never reads very much at once, whatever the sizes in it claim."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= LARGEST_BLOCK:
            raise DamageError(f'it claims {size} bytes')
        return super().read(size)


class McapFile(Storage):
    """An MCAP file; its channels are those of the format."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._file = _File(io.FileIO(path))
        self._parts = self._indexed_parts() or list(self._found_parts())
        self._parts.sort(key=lambda part: part.first)
        if self.counts:
            self.start_time = self._parts[0].first

    def messages(self, channels: Collection[int], start: int, stop: int) -> Iterator[Row]:
        """Yield the messages of some channels in start <= time < stop, in order of time."""
        waiting: list[tuple[int, int, Row]] = []
        numbers = count()
        for part in (*self._parts, _Part(0, 0)):
            while waiting and waiting[0][0] < part.first:
                yield heapq.heappop(waiting)[-1]
            if part.last < start or part.first >= stop or part.channels.isdisjoint(channels):
                continue
            found = False
            for it in self._records(part.begin, part.end):
                if isinstance(it, records.Message):
                    found = True
                    row = Row(it.channel_id, it.log_time, it.data)
                    if row.channel in channels and start <= row.time < stop:
                        heapq.heappush(waiting, (row.time, next(numbers), row))
            if not found:
                self._lose(part.begin, f'byte {part.begin} holds none of the messages it should')

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _indexed_parts(self) -> list[_Part]:
        """List the chunks by the index at the end of the file; empty if it is not complete."""
        try:
            summary = SeekingReader(self._file).get_summary()
            if summary is None or summary.statistics is None:
                return []
            counts = summary.statistics.channel_message_counts
            chunks = summary.chunk_indexes
            indexed = all(it.message_index_offsets for it in chunks)
            if not indexed or len(chunks) != summary.statistics.chunk_count:
                return []
            schemas = {0: None, **summary.schemas}
            needed = [summary.channels[number] for number in counts]
            self.channels = {it.id: _channel(it, schemas[it.schema_id]) for it in needed}
        except Exception:  # damage leads to all kinds of errors in the libraries
            return []
        if chunks:
            self.counts.update(counts)
        return [
            _Part(
                it.chunk_start_offset,
                it.chunk_start_offset + it.chunk_length + it.message_index_length,
                it.message_start_time,
                it.message_end_time,
                set(it.message_index_offsets),
            )
            for it in chunks
        ]

    def _found_parts(self) -> Iterator[_Part]:
        """Read the file to its end, or to damage after which nothing can be found."""
        schemas: dict[int, records.Schema] = {}
        part = _Part(len(MAGIC), len(MAGIC))
        for it in self._records(len(MAGIC), _NEVER):
            end = self._file.tell()
            if end > part.end > part.begin + _PART:
                yield part
                part = _Part(part.end, end)
            part.end = end
            if isinstance(it, records.Schema):
                schemas[it.id] = it
            elif isinstance(it, records.Channel):
                self.channels[it.id] = _channel(it, schemas.get(it.schema_id))
            elif isinstance(it, records.Message):
                self.counts[it.channel_id] += 1
                part.first, part.last = min(part.first, it.log_time), max(part.last, it.log_time)
                part.channels.add(it.channel_id)
        yield part

    def _records(self, begin: int, end: int) -> Iterator[records.McapRecord]:
        """Yield the records in a part of the file, also those in chunks; note damage."""
        place, broken, lost = begin, 0, 0
        self._file.seek(begin)
        record: records.McapRecord | None = None
        try:
            while place < end and not isinstance(record, records.Footer):
                # If a crash left zeros, the library would read each of them as a record.
                if self._file.peek(1)[:1] == b'\0':
                    raise DamageError('it has no type')
                record = next(StreamReader(self._file, skip_magic=True, emit_chunks=True).records)
                if isinstance(record, records.Chunk):
                    broken, lost = 0, 0
                    try:
                        yield from _content(record)
                    except Exception as error:  # from several libraries
                        reason = str(error) or type(error).__name__
                        self._lose(place, f'a chunk at byte {place}: {reason}')
                        broken = place
                elif isinstance(record, records.MessageIndex) and broken:
                    lost += len(record.records)
                    self.damage[broken] = self.damage[broken]._replace(lost=lost)
                else:
                    yield record
                place = self._file.tell()
        except Exception as error:  # from several libraries
            cut = isinstance(error, EndOfFile)
            what = 'reaches beyond the end' if cut else f'cannot be read: {error}'
            self._lose(place, f'it is cut off or damaged: the record at byte {place} {what}')
            yield from self._cut_chunk(place)

    def _cut_chunk(self, place: int) -> Iterator[records.McapRecord]:
        """Yield what is left of a chunk that the library does not read."""
        self._file.seek(place)
        try:
            if self._file.read(9)[0] == Opcode.CHUNK:
                chunk = records.Chunk.read(ReadDataStream(self._file))
                content = io.BytesIO(_unpacked(chunk))
                yield from StreamReader(content, skip_magic=True, emit_chunks=True).records
        except Exception:  # the damage is noted already
            return


def _channel(channel: records.Channel, schema: records.Schema | None) -> Channel:
    kind = message_type(schema.name if schema else '')
    return Channel(channel.topic, kind, channel.message_encoding)


def _content(chunk: records.Chunk) -> list[records.McapRecord]:
    """Return the records in a whole chunk."""
    content = _unpacked(chunk)
    if len(content) != chunk.uncompressed_size:
        raise DamageError(f'it has {len(content)} bytes instead of {chunk.uncompressed_size}')
    return breakup_chunk(replace(chunk, compression='', data=content), validate_crc=True)


def _unpacked(chunk: records.Chunk) -> bytes:
    """Unpack a chunk; the function of the library would unpack any amount."""
    return unpack(chunk.data, chunk.compression) if chunk.compression else chunk.data
