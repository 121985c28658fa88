"""`nndepth replay`: what stands at the output when something fails or ends the process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import bags
import numpy as np
import pytest
from rosbags.rosbag2 import Reader

from nndepth_core.cli import main
from nndepth_core.estimator import StereoEstimator
from nndepth_ros import bag_writer
from nndepth_ros.bag import BagError, BagReader
from nndepth_ros.bag_writer import BagWriter
from nndepth_ros.replay import replay

REPLAY = ('replay', '--model', bags.MODEL)


@pytest.fixture
def source(tmp_path) -> Path:
    return bags.write_bag(tmp_path / 'in', bags.frames(4))


@pytest.fixture
def old(tmp_path) -> Path:
    """An old result at the place of the output."""
    return bags.write_bag(tmp_path / 'out', bags.frames(1, namespace='/old'))


def _content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


class StoppingEstimator:
    """An estimator that ends by an exception at its second pair."""

    def __init__(self, error: BaseException) -> None:
        self._estimator = StereoEstimator.load(bags.MODEL)
        self._errors = [None, error]

    def __getattr__(self, name: str):
        return getattr(self._estimator, name)

    def __call__(self, *arguments):
        if error := self._errors.pop(0):
            raise error
        return self._estimator(*arguments)


@pytest.mark.parametrize('error', [KeyboardInterrupt(), OSError('broken'), TypeError('odd')])
def test_an_old_bag_stays_until_the_new_one_is_whole(source, old, tmp_path, error):
    before = _content(old)
    with pytest.raises(type(error)):
        replay(source, old, StoppingEstimator(error), overwrite=True)
    assert _content(old) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ['in', 'out']


def test_an_old_bag_stays_if_no_pair_can_be_processed(old, tmp_path):
    entries = bags.frames(2)
    for topic, _, message in entries:
        if 'left/camera_info' in topic:
            message.p = np.zeros(12)
    source = bags.write_bag(tmp_path / 'in', entries)
    before = _content(old)
    assert main([*REPLAY, str(source), str(old), '--overwrite']) == 1
    assert _content(old) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ['in', 'out']


@pytest.mark.parametrize('at_one_stroke', [True, False])
def test_the_new_bag_takes_the_place_of_the_old_one(
    source, old, tmp_path, monkeypatch, at_one_stroke
):
    if not at_one_stroke:
        monkeypatch.setattr(bag_writer, '_exchange', lambda first, second: False)
    assert main([*REPLAY, str(source), str(old), '--overwrite', '--topics', 'disparity']) == 0
    with Reader(old) as reader:
        assert {item.topic: item.msgcount for item in reader.connections} == {
            '/stereo/disparity': 4
        }
    assert sorted(path.name for path in tmp_path.iterdir()) == ['in', 'out']


def test_what_another_program_made_meanwhile_stays(tmp_path):
    writer = BagWriter(tmp_path / 'out').__enter__()
    writer.write('/info', 1, bags.camera_info('left', 1))
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'notes').touch()
    with pytest.raises(BagError, match='made by another program'):
        writer.__exit__(None)
    assert [path.name for path in tmp_path.iterdir()] == ['out']
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['notes']


KILLED = """
import os, signal, sys
from pathlib import Path
from nndepth_core.estimator import StereoEstimator
from nndepth_ros.replay import replay
from nndepth_ros.bag_writer import BagWriter

copy, left = BagWriter.copy, [int(sys.argv[3])]
def counted(self, kind, record):
    copy(self, kind, record)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
BagWriter.copy = counted
replay(Path(sys.argv[1]), Path(sys.argv[2]), StereoEstimator.load('sgbm'), overwrite=True)
"""


def test_killed_what_was_written_can_be_read(old, tmp_path, capsys):
    """Six messages a pair of 0.4 MB in all, and chunks of 1 MiB."""
    source = bags.write_bag(tmp_path / 'in', bags.frames(12))
    before = _content(old)
    arguments = [sys.executable, '-c', KILLED, str(source), str(old), '66']
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)}
    process = subprocess.run(arguments, env=environment, stderr=subprocess.DEVNULL)
    assert process.returncode == -signal.SIGKILL
    assert _content(old) == before
    (partial,) = (path for path in tmp_path.iterdir() if path.name.startswith('out.partial-'))
    with BagReader(partial / 'out') as bag:
        found = [record.time for record in bag.messages(['/stereo/disparity'])]
        assert [bag.decode(record).f for record in bag.messages(['/stereo/disparity'])] == (
            [bags.FOCAL] * len(found)
        )
        assert 'cut off' in bag.remarks
    assert 5 < len(found) <= 11
    assert found == [bags.START + at * bags.PERIOD + bags.DELAY for at in range(len(found))]
    assert main([*REPLAY, str(source), str(old), '--overwrite']) == 0
    assert f'{partial} is of a replay that was ended' in capsys.readouterr().err
    assert partial.exists()


# --- the exit code and what is said --------------------------------------------------------------


def test_pairs_that_fail_make_the_exit_code_1(tmp_path, capsys):
    entries = bags.frames(3)
    for topic, _, message in entries[4:8]:
        if 'left/image' in topic:
            message.encoding = 'rgb9'
    source = bags.write_bag(tmp_path / 'in', entries)
    assert main([*REPLAY, str(source), str(tmp_path / 'a')]) == 1
    assert '2 of 3 pairs processed, 1 failed' in capsys.readouterr().out
    assert main([*REPLAY, str(source), str(tmp_path / 'b'), '--json']) == 1
    assert json.loads(capsys.readouterr().out)['pairs']['failed'] == 1


def test_a_cut_bag_is_processed_and_makes_the_exit_code_1(source, tmp_path, capsys):
    file = source / 'in.mcap'
    file.write_bytes(file.read_bytes()[:100_000])
    assert main([*REPLAY, str(source), str(tmp_path / 'out')]) == 1
    printed = capsys.readouterr()
    assert '2 of 2 pairs processed, 0 failed' in printed.out
    said = 'in.mcap: it is cut off or damaged: the record at byte 43 reaches beyond the end; 7'
    assert said in printed.out
    assert printed.out.count('; 7 messages are lost') == printed.err.count('warning: in.mcap') == 1
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    assert [item['lost'] for item in report['damage']] == [7]


@pytest.mark.parametrize('text', ['', '[', 'a: 1', 'rosbag2_bagfile_information: 1'])
def test_damaged_metadata_of_whole_files_lose_nothing(source, tmp_path, capsys, text):
    (source / 'metadata.yaml').write_text(text)
    assert main([*REPLAY, str(source), str(tmp_path / 'out')]) == 0
    out = capsys.readouterr().out
    assert re.search(r'metadata.yaml: it is not what rosbag2 writes.*; no message is lost\n', out)
    assert 'NoneType' not in out


def test_one_topic_for_both_sides_is_refused(source, tmp_path, capsys):
    topic = '/stereo/left/image_rect'
    arguments = [str(source), str(tmp_path / 'out'), '--left', topic, '--right', topic]
    assert main([*REPLAY, *arguments]) == 2
    assert f"--left and --right are both '{topic}'; give the topics" in capsys.readouterr().err


def test_a_start_behind_the_end_is_told(source, tmp_path, capsys):
    assert main([*REPLAY, str(source), str(tmp_path / 'out'), '--start', '100']) == 1
    err = capsys.readouterr().err
    assert '0 left and 0 right images; none is recorded in the time that --start and' in err


def test_interrupted_by_the_user_it_says_so_in_one_line(source, tmp_path, capsys, monkeypatch):
    call = StereoEstimator.__call__

    def interrupted(*arguments):
        signal.raise_signal(signal.SIGINT)
        return call(*arguments)

    monkeypatch.setattr(StereoEstimator, '__call__', interrupted)
    assert main([*REPLAY, str(source), str(tmp_path / 'new')]) == 130
    assert capsys.readouterr().err.splitlines() == ['nndepth: interrupted']
    with Reader(tmp_path / 'new') as reader:
        assert {item.msgcount for item in reader.connections} == {1}


def test_an_interrupted_bag_does_not_replace_an_old_one(source, old, tmp_path, capsys):
    before, answers = _content(old), iter([False] * 21 + [True] * 9)
    estimator = StereoEstimator.load(bags.MODEL)
    report = replay(source, old, estimator, overwrite=True, stopped=lambda: next(answers))
    assert report['interrupted']
    assert _content(old) == before
    with Reader(report['output']) as reader:
        assert {item.msgcount for item in reader.connections} == {4}
    (partial,) = (path for path in tmp_path.iterdir() if path.name.startswith('out.partial-'))
    assert partial / 'out' == Path(report['output'])
    assert (partial / 'out' / 'report.json').exists()


# --- bags without camera_info --------------------------------------------------------------------

NUMBERS = f'{bags.FOCAL},{bags.FOCAL},{(bags.WIDTH - 1) / 2},{(bags.HEIGHT - 1) / 2},0.2'


@pytest.mark.parametrize('name', ['image_rect', 'image_rect/compressed'])
@pytest.mark.parametrize('with_infos', [False, True])
def test_a_calibration_file_in_place_of_camera_info(tmp_path, capsys, name, with_infos):
    entries = bags.frames(2, name=name)
    for _, _, message in entries:
        if hasattr(message, 'p'):
            message.p = np.zeros(12)
    entries = [item for item in entries if with_infos or 'camera_info' not in item[0]]
    source = bags.write_bag(tmp_path / 'in', entries)
    numbers = (str(source), str(tmp_path / 'out'), '--calibration', NUMBERS)
    assert main([*REPLAY, *numbers]) == 0
    found = bags.read_bag(tmp_path / 'out')
    for _, message in found['/stereo/depth/image']:
        depth = bags.float_pixels(message)[16:-16, 24:-24]
        assert np.median(depth) == pytest.approx(bags.DEPTH)
    (_, info), _ = found['/stereo/depth/camera_info']
    assert (info.width, info.height, info.header.frame_id) == (bags.WIDTH, bags.HEIGHT, bags.FRAME)
    assert info.k.reshape(3, 3)[1].tolist() == [0, bags.FOCAL, (bags.HEIGHT - 1) / 2]


def test_a_camera_info_that_is_not_beside_its_image_can_be_chosen(tmp_path, capsys):
    entries = [
        (topic.replace('left/camera_info', 'elsewhere/camera_info'), *rest)
        for topic, *rest in bags.frames(1)
    ]
    source = bags.write_bag(tmp_path / 'in', entries)
    assert main([*REPLAY, str(source), str(tmp_path / 'out')]) == 2
    error = capsys.readouterr().err
    assert 'or choose by --left-info from /stereo/elsewhere/camera_info (1 messages)' in error
    chosen = '--left-info', '/stereo/elsewhere/camera_info'
    assert main([*REPLAY, str(source), str(tmp_path / 'out'), *chosen]) == 0


def test_without_camera_info_the_calibration_is_asked_for(tmp_path, capsys):
    entries = [item for item in bags.frames(1) if 'camera_info' not in item[0]]
    source = bags.write_bag(tmp_path / 'in', entries)
    assert main([*REPLAY, str(source), str(tmp_path / 'out')]) == 2
    error = capsys.readouterr().err
    assert 'the bag holds no /stereo/left/camera_info, the camera_info of /stereo/left/' in error
    assert error.strip().endswith('give --calibration')  # there is no topic to choose


def test_a_calibration_for_another_size_fails_every_pair(source, tmp_path, capsys):
    file = tmp_path / 'calib.txt'
    file.write_text(
        'cam0=[100 0 48; 0 100 32; 0 0 1]\ncam1=[100 0 48; 0 100 32; 0 0 1]\n'
        'doffs=0\nbaseline=200\nwidth=640\nheight=480\nndisp=32\n'
    )
    arguments = [*REPLAY, str(source), str(tmp_path / 'out'), '--calibration', str(file)]
    assert main(arguments) == 1
    assert f'{file} is for images of 640x480 and these are 96x64' in capsys.readouterr().err
