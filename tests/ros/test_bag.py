"""Bags of other recorders, cut and damaged ones: what is read and what is said of the rest."""

from __future__ import annotations

import random
import shutil
import sqlite3
import struct
from pathlib import Path

import bags
import foreign_bags
import numpy as np
import pytest
from bags import START
from mcap.reader import SeekingReader
from mcap.writer import CompressionType, IndexType
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin

from nndepth_ros import bag_storage
from nndepth_ros.bag import TYPES, BagError, BagReader
from nndepth_ros.conversions import ConversionError, stamp_ns

MCAP, SQLITE3 = StoragePlugin.MCAP, StoragePlugin.SQLITE3
TOPICS = [
    f'/stereo/{side}/{name}'
    for side in ('left', 'right')
    for name in ('camera_info', 'image_rect')
]


def _same(path: Path, entries: list[bags.Entry]) -> None:
    """Check that a bag holds these messages and is whole."""
    with BagReader(path) as bag:
        assert sorted(bag.topics) == TOPICS
        assert sum(bag.counts.values()) == len(entries)
        assert bag.start_time == entries[0][1]
        records = list(bag.messages(TOPICS))
        assert [record.time for record in records] == sorted(time for _, time, _ in entries)
        found = {(record.topic, record.time): bag.decode(record) for record in records}
        assert bag.damage == []
    for topic, time, message in entries:
        read = found[topic, time]
        assert stamp_ns(read.header.stamp) == stamp_ns(message.header.stamp)
        assert read.header.frame_id == bags.FRAME
        if 'info' in topic:
            assert read.p.tolist() == message.p.tolist()
        else:
            assert read.data.tobytes() == message.data.tobytes()


# --- bags of other recorders ---------------------------------------------------------------------


@pytest.mark.parametrize('name', ['in.bag', 'recording'])
@pytest.mark.parametrize('compression', [None, *Ros1Writer.CompressionFormat])
def test_a_bag_of_ros1(tmp_path, name, compression):
    entries = bags.frames(3)
    _same(foreign_bags.write_ros1_bag(tmp_path / name, entries, compression), entries)


LAYOUTS = {
    'chunks': {},
    'lz4': {'compression': CompressionType.LZ4, 'chunk_size': 50_000},
    'flat': {'use_chunking': False},
    'indexed': {'compression': CompressionType.ZSTD, **foreign_bags.INDEX},
    'indexed-chunks': {'index_types': IndexType.CHUNK, 'use_statistics': True},
    'flat-statistics': {'use_chunking': False, **foreign_bags.INDEX},
    'no-schemas': {'repeat_schemas': False, **foreign_bags.INDEX},
    'no-channels': {'repeat_channels': False, **foreign_bags.INDEX},
}


@pytest.mark.parametrize('encoding', ['cdr', 'ros1'])
@pytest.mark.parametrize('layout', LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize('step', [1, -1], ids=['in-order', 'last-first'])
def test_mcap_of_other_recorders(tmp_path, encoding, layout, step):
    entries = bags.frames(3)
    path = foreign_bags.write_mcap(tmp_path / 'in', entries[::step], encoding, **layout)
    _same(path, entries)


@pytest.mark.parametrize('layout', LAYOUTS.values(), ids=LAYOUTS)
def test_a_part_of_an_mcap_in_time(tmp_path, layout):
    path = foreign_bags.write_mcap(tmp_path / 'in', bags.frames(5), **layout)
    start, stop = (START + at * bags.PERIOD + bags.DELAY for at in (1, 4))
    with BagReader(path) as bag:
        found = [record.time for record in bag.messages(TOPICS[:1], start, stop)]
    assert found == list(range(start + 1, stop, bags.PERIOD))


def test_messages_in_other_encodings_are_left_out_and_named(tmp_path):
    entries = bags.frames(2)
    foreign = [
        ('/state', 'json', 'State', b'{}'),
        ('/stereo/left/video', 'protobuf', 'foxglove.CompressedVideo', b'\x01'),
    ]
    path = foreign_bags.write_mcap(tmp_path / 'in.mcap', entries, foreign=foreign)
    with BagReader(path) as bag:
        assert sorted(bag.topics) == TOPICS
        assert bag.left_out == {
            '/state': 'json State',
            '/stereo/left/video': 'protobuf foxglove.CompressedVideo',
        }
        assert len(list(bag.messages(TOPICS))) == len(entries)
        assert 'left out: /state (json State), ' in bag.remarks


def test_a_topic_of_two_types_gives_the_first(tmp_path):
    entries = bags.frames(1)
    topic, time, message = entries[0]
    entries.append((topic, time + 9, bags.compressed(START, bags.shifted_pair()[0])))
    path = foreign_bags.write_mcap(tmp_path / 'in.mcap', entries)
    with BagReader(path) as bag:
        assert bag.counts[topic] == 1
        assert bag.left_out == {
            topic: 'cdr sensor_msgs/msg/CompressedImage beside sensor_msgs/msg/Image'
        }
        (record,) = bag.messages([topic])
        assert bag.decode(record).data.tobytes() == message.data.tobytes()


def test_messages_in_the_log_of_a_killed_sqlite3_recorder_are_read(tmp_path):
    entries = bags.frames(2)
    file = _file(bags.write_bag(tmp_path / 'in', entries[:4], SQLITE3))
    database = sqlite3.connect(file, isolation_level=None)
    database.execute('PRAGMA journal_mode=WAL')
    numbers = dict(database.execute('SELECT name, id FROM topics'))
    for topic, time, message in entries[4:]:
        data = bytes(TYPES.serialize_cdr(message, message.__msgtype__))
        row = numbers[topic], time, data
        database.execute('INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)', row)
    (tmp_path / 'killed').mkdir()
    for part in file.parent.glob('in.db3*'):
        shutil.copy(part, tmp_path / 'killed')
    database.close()
    _same(tmp_path / 'killed', entries)


@pytest.mark.parametrize('storage', [MCAP, SQLITE3], ids=['mcap', 'sqlite3'])
@pytest.mark.parametrize('suffix', ['.zst', '.zstd', ''])
def test_a_packed_file_without_its_folder(tmp_path, storage, suffix):
    entries = bags.frames(2)
    pack = CompressionMode.FILE, CompressionFormat.ZSTD
    folder = bags.write_bag(tmp_path / 'in', entries, storage, compression=pack)
    (packed,) = (file for file in folder.iterdir() if file.name != 'metadata.yaml')
    bare = packed.rename(tmp_path / f'recording{suffix}')
    _same(bare, entries)


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(bag_storage, '_SPARED_DISK', 2**62)
    bomb = tmp_path / 'bomb.mcap.zst'
    bomb.write_bytes(bag_storage.zstd().compress(bytes(2**20)))
    with pytest.raises(BagError, match=r'bomb.mcap.zst cannot be unpacked: .*`zstd -d`'):
        BagReader(bomb)


@pytest.mark.parametrize('compression', Ros1Writer.CompressionFormat)
def test_a_chunk_of_ros1_that_unpacks_to_too_much_is_lost(tmp_path, monkeypatch, compression):
    path = foreign_bags.write_ros1_bag(tmp_path / 'in.bag', bags.frames(2), compression)
    monkeypatch.setattr(bag_storage, 'LARGEST_BLOCK', 15_000)
    times, (damage,) = _read(path)
    assert (times, damage.lost) == ([], 2)
    assert 'unpacked it has more than 15000 bytes' in damage.reason


@pytest.mark.parametrize('compression', [CompressionType.ZSTD, CompressionType.LZ4])
@pytest.mark.parametrize('layout', [{}, foreign_bags.INDEX], ids=['chunks', 'indexed'])
def test_a_chunk_that_unpacks_to_too_much_is_lost(tmp_path, monkeypatch, compression, layout):
    monkeypatch.setattr(bag_storage, 'LARGEST_BLOCK', 100_000)
    entries = bags.frames(2)
    entries[4] = *entries[4][:2], bags.image(START, np.zeros((200, 200, 3), np.uint8))
    path = foreign_bags.write_mcap(tmp_path / 'in', entries, compression=compression, **layout)
    times, (damage,) = _read(path)
    assert times == [entries[0][1]]
    assert 'unpacked it has more than 100000 bytes' in damage.reason
    assert damage.lost == (1 if layout else None)


@pytest.mark.parametrize(
    ('place', 'value', 'says'),
    [(41, 2**40, 'it claims 1099511627776 bytes'), (0, 119, 'holds none of the messages')],
    ids=['size', 'kind'],
)
def test_behind_a_chunk_with_a_damaged_head_an_index_helps(tmp_path, place, value, says):
    path = foreign_bags.write_mcap(tmp_path / 'in', bags.frames(3), **foreign_bags.INDEX)
    with path.open('rb') as file:
        chunk = SeekingReader(file).get_summary().chunk_indexes[4]
    content = bytearray(path.read_bytes())
    field = '<Q' if place else '<B'
    struct.pack_into(field, content, chunk.chunk_start_offset + place, value)
    path.write_bytes(content)
    times, (damage,) = _read(path)
    assert [(time - START) // bags.PERIOD for time in times] == [0, 2]
    assert says in damage.reason


# --- cut and damaged bags ------------------------------------------------------------------------


def _file(folder: Path) -> Path:
    (file,) = (it for it in folder.iterdir() if it.name != 'metadata.yaml')
    return file


def _cut(file: Path, share: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: round(share * len(content))])


def _read(path: Path) -> tuple[list[int], list[bag_storage.Damage]]:
    """Times of all left images that can be read, and the damage."""
    with BagReader(path) as bag:
        times = [record.time for record in bag.messages(['/stereo/left/image_rect'])]
        return times, bag.damage


WRITTEN = {
    'mcap': (MCAP, None),
    'mcap-zstd': (MCAP, (CompressionMode.STORAGE, CompressionFormat.ZSTD)),
    'mcap-messages': (MCAP, (CompressionMode.MESSAGE, CompressionFormat.ZSTD)),
    'mcap-file': (MCAP, (CompressionMode.FILE, CompressionFormat.ZSTD)),
    'sqlite3': (SQLITE3, None),
    'sqlite3-file': (SQLITE3, (CompressionMode.FILE, CompressionFormat.ZSTD)),
}


@pytest.mark.parametrize('written', WRITTEN.values(), ids=WRITTEN)
@pytest.mark.parametrize('share', [0.2, 0.55, 0.95])
def test_a_cut_bag_gives_what_lies_before_the_cut(tmp_path, written, share):
    count = 80
    entries = bags.frames(count)
    folder = bags.write_bag(tmp_path / 'in', entries, written[0], compression=written[1])
    _cut(_file(folder), share)
    times, damage = _read(folder)
    assert times == [bags.START + at * bags.PERIOD + bags.DELAY for at in range(len(times))]
    # Zstandard packs blocks of 128 KiB; pages of sqlite3 stand a little out of order.
    assert share * count - 8 < len(times) < share * count + 2
    (lost,) = (item.lost for item in damage if item.lost is not None)
    assert lost == pytest.approx((1 - share) * 4 * count, abs=32)
    assert any('cut off or damaged' in item.reason for item in damage)


def test_of_a_cut_file_without_metadata_the_loss_is_unknown(tmp_path):
    folder = bags.write_bag(tmp_path / 'in', bags.frames(40))
    _cut(_file(folder), 0.5)
    times, (damage,) = _read(_file(folder))
    assert 16 < len(times) < 21
    assert damage.lost is None
    assert str(damage).endswith('an unknown number of messages are lost')


def test_messages_behind_a_damaged_chunk_are_read(tmp_path):
    compression = CompressionMode.STORAGE, CompressionFormat.ZSTD
    folder = bags.write_bag(tmp_path / 'in', bags.frames(120), compression=compression)
    content = bytearray(_file(folder).read_bytes())
    middle = len(content) // 2
    content[middle : middle + 5000] = bytes(5000)
    _file(folder).write_bytes(content)
    times, (damage,) = _read(folder)
    first, last = (bags.START + at * bags.PERIOD + bags.DELAY for at in (0, 119))
    assert (times[0], times[-1]) == (first, last)
    assert damage.lost == 4 * (120 - len(times)) > 0
    assert 'in.mcap: a chunk at byte ' in str(damage)


def test_a_chunk_that_does_not_fit_its_checksum_is_lost(tmp_path):
    path = foreign_bags.write_mcap(tmp_path / 'in', bags.frames(2), **foreign_bags.INDEX)
    content = bytearray(path.read_bytes())
    content[9_000] ^= 1
    path.write_bytes(content)
    times, (damage,) = _read(path)
    assert [(time - START) // bags.PERIOD for time in times] == [1]
    assert 'crc validation failed' in damage.reason
    assert damage.lost == 1


def test_zeros_behind_a_crash_are_left_at_once(tmp_path):
    """The library would take ten minutes to look at each of these."""
    path = foreign_bags.write_mcap(tmp_path / 'in', bags.frames(2), use_chunking=False)
    with path.open('r+b') as file:
        file.truncate(60_000)
        file.truncate(300 * 2**20)
    times, (damage,) = _read(path)
    assert len(times) == 2
    assert damage.reason.endswith('cannot be read: it has no type')


def test_messages_behind_a_damaged_page_are_read(tmp_path):
    folder = bags.write_bag(tmp_path / 'in', bags.frames(60), SQLITE3)
    content = bytearray(_file(folder).read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3 * 4096] = bytes(range(1, 4)) * 4096
    _file(folder).write_bytes(content)
    times, _ = _read(folder)
    first, last = (bags.START + at * bags.PERIOD + bags.DELAY for at in (0, 59))
    assert (times[0], times[-1]) == (first, last)
    assert len(times) > 55


def test_a_ros1_bag_without_index_names_its_cure(tmp_path):
    path = foreign_bags.write_ros1_bag(tmp_path / 'in.bag', bags.frames(3))
    _cut(path, 0.6)
    with pytest.raises(BagError, match='`rosbag reindex` completes it'):
        BagReader(path)


def test_one_of_several_files_is_missing(tmp_path):
    """As when a long recording is split, and one part is not copied."""
    folder = tmp_path / 'in'
    folder.mkdir()
    for part in range(3):
        entries = [entry for at in (2 * part, 2 * part + 1) for entry in bags.frame(at)]
        foreign_bags.write_mcap(folder / f'in_{part}.mcap', entries)
    names = ''.join(f'  - in_{part}.mcap\n' for part in range(3))
    told = f'rosbag2_bagfile_information:\n  message_count: 24\n  relative_file_paths:\n{names}'
    (folder / 'metadata.yaml').write_text(told)
    assert len(_read(folder)[0]) == 6
    (folder / 'in_1.mcap').unlink()
    times, damage = _read(folder)
    assert [(time - START) // bags.PERIOD for time in times] == [0, 1, 4, 5]
    assert [item.lost for item in damage] == [None, 8]


# --- anything ------------------------------------------------------------------------------------


def _mutated(content: bytes, chance: random.Random) -> bytes:
    """Cut, overwritten, with a piece taken out, or with some bytes changed."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 3, 20))):
        at = chance.randrange(len(changed) + 1)
        length = chance.choice((1, 4, 9, 200, len(changed) // 4))
        kind = chance.randrange(4)
        if kind == 0:
            del changed[max(at, 20) :]
        elif kind == 1:
            changed[at : at + length] = bytes(length)
        elif kind == 2:
            del changed[at : at + length]
        else:
            changed[at : at + length] = chance.randbytes(length)
    return bytes(changed)


@pytest.mark.parametrize('kind', ['mcap', 'mcap-zstd', 'sqlite3', 'ros1', 'zst', 'flat'])
def test_whatever_a_bag_holds_errors_are_our_own(tmp_path, kind):
    entries = bags.frames(3)
    if kind == 'ros1':
        file = foreign_bags.write_ros1_bag(tmp_path / 'in.bag', entries)
    elif kind == 'flat':
        file = foreign_bags.write_mcap(tmp_path / 'in.mcap', entries, use_chunking=False)
    else:
        written = WRITTEN['mcap-file' if kind == 'zst' else kind]
        file = _file(bags.write_bag(tmp_path / 'in', entries, written[0], compression=written[1]))
    content = file.read_bytes()
    read = refused = 0
    for seed in range(40):
        file.write_bytes(_mutated(content, random.Random(seed)))
        try:
            with BagReader(file) as bag:
                for record in bag.messages(bag.topics):
                    try:
                        bag.decode(record)
                    except ConversionError:
                        refused += 1
                    read += 1
        except BagError:
            refused += 1
    assert read + refused > 20
