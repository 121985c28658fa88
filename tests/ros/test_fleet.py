"""Long bags in pieces: the same messages and the same report as from one process."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import bags
import numpy as np
import pytest
from bags import DELAY, PERIOD, START
from fleets import check_equal
from rosbags.rosbag2 import StoragePlugin
from tiny_networks import write_network

CUT = ['open_bag', *['run_piece'] * 3, 'finish_bag']
ALONE = ['open_bag']


def _with_pixels(entry: bags.Entry, pixels: np.ndarray, encoding: str = 'rgb8') -> bags.Entry:
    topic, time, _ = entry
    stamp = (time - DELAY) // PERIOD * PERIOD
    return topic, time, bags.image(stamp, pixels, encoding)


def _images(entries: list[bags.Entry], number: int) -> list[int]:
    """Where the images of a moment stand."""
    time = START + number * PERIOD + DELAY
    return [at for at, it in enumerate(entries) if it[1] == time and 'image' in it[0]]


def _dark(entries: list[bags.Entry], numbers: range) -> None:
    """Cover the lens for some moments; how dark each is tells which one was examined."""
    for number in numbers:
        for at in _images(entries, number):
            pixels = np.full((bags.HEIGHT, bags.WIDTH, 3), number, np.uint8)
            entries[at] = _with_pixels(entries[at], pixels)


def _plain() -> list[bags.Entry]:
    return bags.frames(24)


def _compressed() -> list[bags.Entry]:
    return bags.frames(24, name='image_rect/compressed')


def _dark_later() -> list[bags.Entry]:
    entries = bags.frames(24)
    _dark(entries, range(13, 24))
    return entries


def _damaged() -> list[bags.Entry]:
    """Images of unknown encoding, also where the doctor would have looked, and cut messages."""
    entries = bags.frames(24)
    for number in (0, 5, 10, 17):
        entries[_images(entries, number)[0]][2].encoding = 'rgb9'
    _dark(entries, range(18, 24))
    return entries


def _unpaired() -> list[bags.Entry]:
    entries = bags.frames(26)
    gone = {_images(entries, 3)[0], _images(entries, 9)[1]}
    return [it for at, it in enumerate(entries) if at not in gone]


def _late() -> list[bags.Entry]:
    """Right images that were recorded long after the left ones, so that pairs cross pieces."""
    late = 4 * PERIOD + 7
    entries = [
        (topic, time + late if '/right/image' in topic else time, message)
        for topic, time, message in bags.frames(24)
    ]
    return sorted(entries, key=lambda it: it[1])


def _repeated_times() -> list[bags.Entry]:
    """Many messages of one time, as recorders with coarse clocks write them."""
    return [(topic, time - time % (3 * PERIOD), it) for topic, time, it in bags.frames(24)]


def _few_infos() -> list[bags.Entry]:
    """A camera_info now and then, of another focal length each time, or late."""
    entries, seen = [], 0
    for topic, time, message in bags.frames(24):
        if 'camera_info' in topic:
            seen += 1
            if (seen + 1) // 2 % 7 != 3:
                continue
            message.p[0] = message.p[5] = bags.FOCAL + (seen + 1) // 2
            time += 3 * PERIOD
        entries.append((topic, time, message))
    return sorted(entries, key=lambda it: it[1])


@pytest.mark.parametrize(
    'entries',
    [
        _plain,
        _compressed,
        _dark_later,
        _damaged,
        _unpaired,
        _late,
        _repeated_times,
        _few_infos,
    ],
)
@pytest.mark.parametrize('copy', [(), ('--copy', '--topics', 'depth/image')], ids=['', 'copy'])
def test_pieces_give_what_the_whole_gives(tmp_path, entries, copy):
    source = bags.write_bag(tmp_path / 'in', entries())
    again = ['run_piece'] * (entries is _few_infos)  # with a camera that nobody foresees
    assert check_equal(source, tmp_path, *copy) == [*CUT[:-1], *again, CUT[-1]]


@pytest.mark.parametrize('cut', [0, 300_000], ids=['sqlite3', 'cut off'])
def test_pieces_of_other_files(tmp_path, cut):
    storage = StoragePlugin.MCAP if cut else StoragePlugin.SQLITE3
    source = bags.write_bag(tmp_path / 'in', bags.frames(32 if cut else 24), storage)
    if cut:
        file = source / 'in.mcap'
        file.write_bytes(file.read_bytes()[:-cut])
    assert check_equal(source, tmp_path) == CUT


def test_pieces_of_several_overlapping_files(tmp_path):
    entries = bags.frames(24)
    random.Random(0).shuffle(entries)
    source = tmp_path / 'in'
    source.mkdir()
    for name, part in (('a', entries[::2]), ('b', entries[1::2])):
        bag = bags.write_bag(tmp_path / name, sorted(part, key=lambda it: it[1]))
        (bag / f'{name}.mcap').rename(source / f'{name}.mcap')
    (source / 'metadata.yaml').write_text('rosbag2_bagfile_information: {}')
    assert check_equal(source, tmp_path)[-1] == 'finish_bag'


def test_pieces_of_a_time_of_a_bag_with_stamps_apart(tmp_path):
    entries: list[bags.Entry] = []
    for topic, time, message in bags.frames(30):
        if '/right/' in topic:
            message.header.stamp.nanosec += 2_000_000
        entries.append((topic, time, message))
    source = bags.write_bag(tmp_path / 'in', entries)
    options = ('--start', '0.35', '--duration', '2.4', '--sync-tolerance', '0.005')
    assert check_equal(source, tmp_path, *options) == CUT


@pytest.mark.parametrize('name', ['image_rect', 'image_rect/compressed'])
def test_pieces_with_a_calibration_file(tmp_path, name):
    source = bags.write_bag(tmp_path / 'in', bags.frames(24, name=name))
    numbers = f'{bags.FOCAL},{bags.FOCAL},{(bags.WIDTH - 1) / 2},{(bags.HEIGHT - 1) / 2},0.2'
    assert check_equal(source, tmp_path, '--calibration', numbers) == CUT


def test_where_a_piece_began_with_what_was_not_true_the_rest_is_done_again(tmp_path):
    """The camera changes on the way, which nobody foresees, and is examined from then on."""
    entries = bags.frames(24)
    for topic, time, message in entries:
        if 'camera_info' in topic and time > START + 10 * PERIOD:
            message.header.frame_id = 'other'
    _dark(entries, range(21, 24))
    source = bags.write_bag(tmp_path / 'in', entries)
    assert check_equal(source, tmp_path) == [*CUT[:-1], 'run_piece', 'finish_bag']


def test_more_than_eight_bits_are_not_cut(tmp_path, capsys):
    entries = bags.frames(24)
    for number in range(24):
        for at in _images(entries, number):
            grey = entries[at][2].data.reshape(bags.HEIGHT, bags.WIDTH, 3)[..., 0]
            values = grey.astype(np.uint16) * (2 + number)
            entries[at] = _with_pixels(entries[at], values, 'mono16')
    source = bags.write_bag(tmp_path / 'in', entries)
    assert check_equal(source, tmp_path) == ALONE
    assert 'not cut of images with more than 8 bits' in capsys.readouterr().err


def test_the_mean_over_time_is_not_cut(tmp_path, capsys):
    source = bags.write_bag(tmp_path / 'in', bags.frames(24))
    assert check_equal(source, tmp_path, '--filter-smoothing', '0.5') == ALONE
    assert capsys.readouterr().err.count('bags are not cut with --filter-smoothing, since') == 1


def test_aligned_rows_are_not_cut(tmp_path, capsys):
    entries = bags.frames(24)
    for topic, _, message in entries:
        if 'right/image' in topic:
            rows = np.asarray(message.data).reshape(message.height, -1)
            message.data = np.roll(rows, 1, axis=0).ravel()
    source = bags.write_bag(tmp_path / 'in', entries)
    assert check_equal(source, tmp_path, '--align-rows', 'on') == ALONE
    told = 'bags are not cut unless with --align-rows off, since'
    assert capsys.readouterr().err.count(told) == 1


def test_filters_without_time_are_cut(tmp_path):
    source = bags.write_bag(tmp_path / 'in', bags.frames(24))
    assert (
        check_equal(source, tmp_path, '--filter-speckle-size', '40', '--filter-border', '3') == CUT
    )


def test_where_nothing_can_be_processed_nothing_is_written(tmp_path):
    entries = bags.frames(24)
    for _, _, message in entries:
        if hasattr(message, 'encoding'):
            message.encoding = 'rgb9'
    source = bags.write_bag(tmp_path / 'in', entries)
    assert check_equal(source, tmp_path) == ALONE


def test_a_piece_without_any_result(tmp_path):
    entries = bags.frames(24)
    for number in range(8, 16):
        entries[_images(entries, number)[0]][2].encoding = 'rgb9'
    source = bags.write_bag(tmp_path / 'in', entries)
    assert 'finish_bag' in check_equal(source, tmp_path)


# --- single images -------------------------------------------------------------------------------


def _single(count: int, encoding: str = 'rgb8') -> list[bags.Entry]:
    entries: list[bags.Entry] = []
    for number in range(count):
        stamp = START + number * PERIOD
        pixels = bags.shifted_pair(number)[0]
        message: Any = bags.image(stamp, pixels)
        message.encoding = 'rgb9' if number in (4, 12) else encoding
        entries.append(('/cam/image_rect', stamp + DELAY, message))
        entries.append(('/cam/camera_info', stamp + DELAY, bags.camera_info('', stamp)))
    return entries


@pytest.fixture
def mono_bag(tmp_path) -> Path:
    return bags.write_bag(tmp_path / 'in', _single(24))


@pytest.mark.parametrize('copy', [(), ('--copy',)], ids=['', 'copy'])
def test_pieces_of_single_images(tmp_path, mono_bag, copy):
    pytest.importorskip('onnxruntime')
    model = str(write_network(tmp_path / 'metric.onnx', confidence='head'))
    assert check_equal(mono_bag, tmp_path, '--model', model, *copy) == CUT


@pytest.mark.parametrize('source', ['none', 'camera_height'])
def test_a_scale_that_is_followed_is_not_cut(tmp_path, mono_bag, source):
    pytest.importorskip('onnxruntime')
    facts = {'output': 'inverse_depth', 'value_range': None}
    model = str(write_network(tmp_path / 'relative.onnx', **facts))
    options = ('--scale-source', source, '--camera-height', '1.2' if source != 'none' else '0')
    found = check_equal(mono_bag, tmp_path, '--model', model, *options)
    assert found == (CUT if source == 'none' else ALONE)
