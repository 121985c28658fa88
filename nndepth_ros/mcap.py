"""Reading MCAP files record by record, so that cut, damaged and mixed ones give what they hold.

https://mcap.dev/spec: a file is a run of records (opcode, length, content); chunks hold schemas,
channels and messages, packed together; a message index after each chunk tells its channels.
"""

from __future__ import annotations

import heapq
import os
import struct
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from zlib import crc32

from nndepth_ros.bag_storage import (
    LARGEST_BLOCK,
    Channel,
    Damage,
    DamageError,
    Row,
    message_type,
    unpack_lz4,
    unpack_zstd,
)

MAGIC = b'\x89MCAP0\r\n'

_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _MESSAGE_INDEX = 2, 3, 4, 5, 6, 7
_RECORD = struct.Struct('<BQ')
_CHUNK_START = struct.Struct('<QQQII')
_MESSAGE_START = struct.Struct('<HIQQ')
_UNPACKERS: dict[str, Callable[[bytes, int], bytes]] = {
    '': lambda data, _: bytes(data),
    'zstd': unpack_zstd,
    'lz4': unpack_lz4,
}
# Messages outside of chunks are read in pieces of about this many bytes.
_PIECE = 4 * 2**20


@dataclass
class _Piece:
    """Records that are read together: the content of a chunk, or messages outside of chunks.

    Attributes:
        offset: of its bytes in the file.
        size: how many of them are there.
        start: time of its first message, nanoseconds.
        end: time of its last one.
        compression: of the bytes.
        unpacked: how many bytes they make; None if that cannot be told.
        crc: of the unpacked bytes; 0: not told.
        counts: number of messages by channel.
    """

    offset: int
    size: int
    start: int
    end: int
    compression: str = ''
    unpacked: int | None = None
    crc: int = 0
    counts: Counter[int] = field(default_factory=Counter)


class McapFile:
    """An MCAP file as far as it can be read.

    Attributes:
        channels: by their numbers.
        counts: number of messages by channel.
        damage: what cannot be read, by place.
        start_time: of the first message, nanoseconds; None without any.

    Args:
        path: the file.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.channels: dict[int, Channel] = {}
        self.counts: Counter[int] = Counter()
        self.damage: dict[int, Damage] = {}
        self._name = path.name
        self._schemas: dict[int, tuple[str, str]] = {}
        self._pieces: list[_Piece] = []
        self._file = path.open('rb')
        self._scan(os.fstat(self._file.fileno()).st_size)
        for piece in self._pieces:
            if not piece.counts or not piece.counts.keys() <= self.channels.keys():
                self._learn(piece)
            self.counts.update(piece.counts)
        self._pieces = sorted((it for it in self._pieces if it.counts), key=lambda it: it.start)
        self.start_time = self._pieces[0].start if self._pieces else None

    def messages(self, channels: Collection[int], start: int, stop: int) -> Iterator[Row]:
        """Yield the messages of some channels in start <= time < stop, by time."""
        waiting: list[tuple[int, int, int, memoryview]] = []
        numbers = count()
        for piece in self._pieces:
            wanted = any(piece.counts[channel] for channel in channels)
            if not wanted or piece.end < start or piece.start >= stop:
                continue
            while waiting and waiting[0][0] < piece.start:
                yield self._row(heapq.heappop(waiting))
            try:
                content = memoryview(self._unpack(piece))
            except DamageError as error:
                lost = piece.counts.total()
                self._lose(piece.offset, f'a chunk at byte {piece.offset}: {error}', lost)
                continue
            for code, begin, end in _records(content):
                if code != _MESSAGE or end - begin < _MESSAGE_START.size:
                    continue
                channel, _, time, _ = _MESSAGE_START.unpack_from(content, begin)
                if channel in channels and start <= time < stop:
                    data = content[begin + _MESSAGE_START.size : end]
                    heapq.heappush(waiting, (time, next(numbers), channel, data))
        while waiting:
            yield self._row(heapq.heappop(waiting))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @staticmethod
    def _row(item: tuple[int, int, int, memoryview]) -> Row:
        time, _, channel, data = item
        return Row(channel, time, data)

    def _read(self, offset: int, size: int) -> bytes:
        return os.pread(self._file.fileno(), size, offset)

    def _lose(self, place: int, reason: str, lost: int | None) -> None:
        self.damage[place] = Damage(self._name, reason, lost)

    def _scan(self, size: int) -> None:
        """Find all pieces, schemas and channels, up to the footer or the first damage."""
        place, code = len(MAGIC), 0
        while code != _FOOTER:
            head = self._read(place, _RECORD.size)
            code, length = _RECORD.unpack(head) if len(head) == _RECORD.size else (0, 0)
            begin, end = place + _RECORD.size, place + _RECORD.size + length
            whole = code > 0 and end <= size
            if code == _CHUNK:
                self._scan_chunk(begin, min(end, size))
            elif whole and code == _MESSAGE:
                self._scan_message(place, end)
            elif whole and code == _MESSAGE_INDEX:
                self._scan_index(begin)
            elif whole and code in (_SCHEMA, _CHANNEL) and length < LARGEST_BLOCK:
                self._define(code, self._read(begin, length))
            if not whole:
                what = 'is damaged' if end <= size else 'reaches beyond the end'
                reason = f'it is cut off or damaged: the record at byte {place} of {size} {what}'
                self._lose(size, reason, None)
                return
            place = end

    def _scan_chunk(self, begin: int, end: int) -> None:
        head = self._read(begin, min(_CHUNK_START.size + 72, end - begin))
        try:
            start, stop, unpacked, crc, length = _CHUNK_START.unpack_from(head)
            name = head[_CHUNK_START.size :][:length].decode()
            (stored,) = struct.unpack_from('<Q', head, _CHUNK_START.size + length)
        except (struct.error, UnicodeDecodeError):
            self._lose(begin, f'a chunk at byte {begin} has no valid head', None)
            return
        offset = begin + _CHUNK_START.size + length + 8
        there = max(0, min(stored, end - offset))
        whole = unpacked if there == stored else None
        self._pieces.append(_Piece(offset, there, start, stop, name, whole, crc))

    def _scan_message(self, place: int, end: int) -> None:
        head = self._read(place + _RECORD.size, _MESSAGE_START.size)
        if len(head) < _MESSAGE_START.size:
            return
        channel, _, time, _ = _MESSAGE_START.unpack(head)
        last = self._pieces[-1] if self._pieces else None
        if last is None or last.offset + last.size != place or end - last.offset > _PIECE:
            last = _Piece(place, 0, time, time)
            self._pieces.append(last)
        last.size, last.start, last.end = end - last.offset, min(last.start, time), time
        last.counts[channel] += 1

    def _scan_index(self, begin: int) -> None:
        head = self._read(begin, 6)
        if self._pieces and len(head) == 6:
            channel, length = struct.unpack('<HI', head)
            self._pieces[-1].counts[channel] += length // 16

    def _learn(self, piece: _Piece) -> None:
        """Take schemas, channels and counts from the content of a piece."""
        try:
            content = self._unpack(piece)
        except DamageError as error:
            self._lose(piece.offset, f'a chunk at byte {piece.offset}: {error}', None)
            piece.counts.clear()
            return
        piece.counts.clear()
        for code, begin, end in _records(content):
            if code == _MESSAGE and end - begin >= _MESSAGE_START.size:
                piece.counts[_MESSAGE_START.unpack_from(content, begin)[0]] += 1
            elif code in (_SCHEMA, _CHANNEL):
                self._define(code, content[begin:end])

    def _define(self, code: int, content: bytes) -> None:
        """Remember a schema or a channel; one that cannot be read defines nothing."""
        try:
            if code == _SCHEMA:
                name, rest = _string(content[2:])
                encoding, _ = _string(rest)
                self._schemas[struct.unpack_from('<H', content)[0]] = name, encoding
            else:
                number, schema = struct.unpack_from('<HH', content)
                topic, rest = _string(content[4:])
                encoding, _ = _string(rest)
                name, _ = self._schemas.get(schema, ('', ''))
                self.channels[number] = Channel(topic, message_type(name), encoding)
        except (struct.error, UnicodeDecodeError):
            return

    def _unpack(self, piece: _Piece) -> bytes:
        if piece.compression not in _UNPACKERS:
            raise DamageError(f'its compression {piece.compression!r} is unknown')
        if max(piece.size, piece.unpacked or 0) > LARGEST_BLOCK:
            raise DamageError(f'it claims {max(piece.size, piece.unpacked or 0)} bytes')
        stored = self._read(piece.offset, piece.size)
        limit = LARGEST_BLOCK if piece.unpacked is None else piece.unpacked
        content = _UNPACKERS[piece.compression](stored, limit)
        if piece.unpacked is None:
            return content
        if len(content) != piece.unpacked or (piece.crc and crc32(content) != piece.crc):
            raise DamageError('its content does not fit its checksum or size')
        return content


def _records(content: bytes | memoryview) -> Iterator[tuple[int, int, int]]:
    """Yield code, begin and end of each whole record."""
    place = 0
    while place + _RECORD.size <= len(content):
        code, length = _RECORD.unpack_from(content, place)
        begin, place = place + _RECORD.size, place + _RECORD.size + length
        if place <= len(content):
            yield code, begin, place


def _string(content: bytes) -> tuple[str, bytes]:
    """A string and what follows it."""
    (length,) = struct.unpack_from('<I', content)
    if 4 + length > len(content):
        raise struct.error('the string is longer than its record')
    return content[4 : 4 + length].decode(), content[4 + length :]
