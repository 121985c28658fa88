"""`nndepth replay` as a command: bad bags, bags that must stay, arguments, signals."""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import bags
import pytest

from nndepth_core.cli import main
from nndepth_core.estimator import StereoEstimator
from nndepth_ros import bag_storage
from nndepth_ros.conversions import stamp_ns
from nndepth_ros.replay import replay

REPLAY = ('replay', '--model', bags.MODEL)


@pytest.fixture
def small(tmp_path) -> Path:
    return bags.write_bag(tmp_path / 'in', bags.frames(1))


def _replayed(source: Path, target: Path, *options: str) -> int:
    return main([*REPLAY, str(source), str(target), '--topics', 'disparity', *options])


def _stamps(bag: Path) -> list[int]:
    return [stamp_ns(item.header.stamp) for _, item in bags.read_bag(bag)['/stereo/disparity']]


# --- bags that cannot be read --------------------------------------------------------------------


def _nothing(path: Path) -> str:
    return 'does not exist'


def _empty_folder(path: Path) -> str:
    path.mkdir()
    return 'holds no metadata.yaml and no'


def _text(path: Path) -> str:
    path.write_text('rosbag')
    return 'cannot be read'


def _foreign_metadata(path: Path) -> str:
    path.mkdir()
    (path / 'metadata.yaml').write_text('rosbag2_bagfile_information: [1, 2]')
    return 'metadata.yaml: it is not what rosbag2 writes'


def _packed(path: Path) -> str:
    path.write_bytes(gzip.compress(b'rosbag'))
    return 'packed by gzip; unpack it by `gunzip`'


def _cut_packed(path: Path) -> str:
    path.write_bytes(bag_storage.zstd().compress(bytes(range(256)) * 9)[:20])
    return 'in.mcap.zst cannot be read: it is cut off or damaged: .*; nothing in it can be read'


def _file_missing(path: Path) -> str:
    bags.write_bag(path, bags.frames(1))
    (path / f'{path.name}.mcap').unlink()
    return 'files are missing'


def _empty_mcap(path: Path) -> str:
    (bags.write_bag(path, bags.frames(1)) / f'{path.name}.mcap').write_bytes(b'')
    return 'cannot be read'


def _no_stereo(path: Path) -> str:
    bags.write_bag(
        path, [('/cam/image_raw', bags.START, bags.image(bags.START, bags.shifted_pair()[0]))]
    )
    return 'no stereo images'


@pytest.mark.parametrize(
    ('spoil', 'name'),
    [
        (_nothing, 'in'),
        (_nothing, 'in.mcap'),
        (_empty_folder, 'in'),
        (_text, 'in.txt'),
        (_text, 'in.mcap'),
        (_text, 'in.db3'),
        (_foreign_metadata, 'in'),
        (_packed, 'in.mcap.gz'),
        (_cut_packed, 'in.mcap.zst'),
        (_file_missing, 'in'),
        (_empty_mcap, 'in'),
        (_no_stereo, 'in'),
    ],
)
def test_a_bag_that_cannot_be_read_is_one_error(tmp_path, capsys, spoil, name):
    says = spoil(tmp_path / name)
    assert main([*REPLAY, str(tmp_path / name), str(tmp_path / 'out')]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('nndepth: error: ')
    assert re.search(says, line), line
    assert not (tmp_path / 'out').exists()


# --- what must not be deleted --------------------------------------------------------------------


def test_an_old_bag_is_only_overwritten_when_told(small, tmp_path, capsys):
    target = tmp_path / 'out'
    assert _replayed(small, target) == 0
    before = (target / 'out.mcap').read_bytes()
    assert _replayed(small, target) == 2
    assert (
        'out exists already; choose another name, or give --overwrite' in capsys.readouterr().err
    )
    assert _replayed(small, target, '--overwrite') == 0
    assert (target / 'out.mcap').read_bytes() == before


def test_an_old_bag_stays_if_the_new_one_cannot_be_made(small, tmp_path):
    target = tmp_path / 'out'
    assert _replayed(small, target) == 0
    assert _replayed(tmp_path / 'nothing', target, '--overwrite') == 2
    assert (target / 'out.mcap').exists()


def _folder_of_files(target: Path) -> None:
    target.mkdir()
    (target / 'recording.mcap').touch()


def _bag_with_more(target: Path) -> None:
    bags.write_bag(target, bags.frames(1))
    (target / 'notes.txt').touch()


def _bag_with_folder(target: Path) -> None:
    bags.write_bag(target, bags.frames(1))
    (target / 'more').mkdir()


def _link(target: Path) -> None:
    bags.write_bag(target.with_name('elsewhere'), bags.frames(1))
    target.symlink_to(target.with_name('elsewhere'))


@pytest.mark.parametrize(
    'make',
    [Path.mkdir, Path.touch, _folder_of_files, _bag_with_more, _bag_with_folder, _link],
    ids=lambda make: make.__name__,
)
def test_what_is_no_bag_is_never_deleted(small, tmp_path, capsys, make):
    target = tmp_path / 'out'
    make(target)
    before = sorted(tmp_path.rglob('*'))
    assert _replayed(small, target, '--overwrite') == 2
    assert 'is not deleted' in capsys.readouterr().err
    assert sorted(tmp_path.rglob('*')) == before


@pytest.mark.parametrize('inside', [False, True])
def test_the_input_is_never_overwritten(small, capsys, inside):
    source = small / 'in.mcap' if inside else small
    assert _replayed(source, small, '--overwrite') == 2
    assert 'is or holds the bag that is read' in capsys.readouterr().err
    assert (small / 'in.mcap').stat().st_size > 0


def test_an_output_that_cannot_be_made_is_one_error(small, tmp_path, capsys):
    (tmp_path / 'file').touch()
    assert _replayed(small, tmp_path / 'file' / 'out') == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert 'file/out cannot be written: Not a directory' in line


# --- the command ---------------------------------------------------------------------------------


def test_the_command_prints_a_summary_or_the_report(small, tmp_path, capsys):
    options = ['--max-disparity', '32', '--topics', 'disparity,depth/image', '--max-depth', '9']
    assert main([*REPLAY, str(small), str(tmp_path / 'a'), *options]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith('1 of 1 pairs processed, 0 failed; ')
    assert printed.err == ''
    assert main([*REPLAY, str(small), str(tmp_path / 'b'), *options, '--json']) == 0
    report = json.loads(capsys.readouterr().out)
    assert report['written'] == {'/stereo/disparity': 1, '/stereo/depth/image': 1}


def test_the_command_without_any_result_says_why_and_ends_with_1(tmp_path, capsys):
    entries = [*bags.frame(0, sides=('left',)), *bags.frame(1, sides=('right',))]
    bags.write_bag(tmp_path / 'in', entries)
    assert main([*REPLAY, str(tmp_path / 'in'), str(tmp_path / 'out')]) == 1
    assert 'nndepth: error: no pair in 1 left and 1 right images' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('options', 'says'),
    [
        (['--topics', 'disparity,statistics'], "'statistics' is none of disparity, "),
        (['--processing-size', 'big'], "'big' is no size"),
        (['--model', 'unheard_of'], "model 'unheard_of' is unknown"),
        (['--start', '-1'], 'start is -1.0; it must be at least 0 seconds'),
        (['--duration', '0'], 'duration is 0.0; it must be positive'),
        (['--sync-tolerance', 'nan'], '--sync-tolerance is nan'),
        (['--min-depth', '5', '--max-depth', '2'], '--max-depth is 2.0 and --min-depth 5.0'),
        (['--confidence-threshold', '2'], '--confidence-threshold is 2.0'),
        (['--cloud-stride', '0'], '--cloud-stride is 0; give a whole number in 1..1000'),
        (['--cloud-voxel-size', '-1'], '--cloud-voxel-size is -1.0; give a number'),
        (['--cloud-min-range', '3', '--cloud-max-range', '2'], '--cloud-max-range is 2.0 and'),
        (['--depth-encoding', '8UC1'], "invalid choice: '8UC1'"),
    ],
)
def test_wrong_arguments(small, tmp_path, capsys, options, says):
    try:
        code = main([*REPLAY, str(small), str(tmp_path / 'out'), *options])
    except SystemExit as refusal:
        code = refusal.code
    assert code == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


# --- processes -----------------------------------------------------------------------------------

COMMAND = (sys.executable, '-c', 'import sys; from nndepth_core.cli import main; sys.exit(main())')
ENVIRONMENT = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)}


def test_ros_is_not_needed(small, tmp_path):
    code = (
        'import sys\n'
        "sys.modules.update(dict.fromkeys(('rclpy', 'sensor_msgs', 'std_msgs', 'nndepth')))\n"
        'from nndepth_core.cli import main\n'
        'sys.exit(main())\n'
    )
    arguments = [*REPLAY, str(small), str(tmp_path / 'out')]
    subprocess.run([sys.executable, '-c', code, *arguments], env=ENVIRONMENT, check=True)
    assert _stamps(tmp_path / 'out') == [bags.START]


def test_a_full_disk_is_one_error(tmp_path):
    source = bags.write_bag(tmp_path / 'in', bags.frames(30))
    limit = 1_000_000
    process = subprocess.run(
        [*COMMAND, *REPLAY, str(source), str(tmp_path / 'out')],
        env=ENVIRONMENT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.returncode == 2
    (line,) = process.stderr.splitlines()
    assert 'out cannot be written: File too large' in line
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_interrupted_the_bag_can_be_read(tmp_path, number):
    count = 40
    source = bags.write_bag(tmp_path / 'in', bags.frames(count))
    arguments = [*REPLAY, str(source), str(tmp_path / 'out'), '--topics', 'disparity']
    # Enlarged, so that the signal comes long before the end.
    arguments += ['--processing-size', '1280x960']
    terminal, screen = os.openpty()
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack('4H', 24, 80, 0, 0))
    process = subprocess.Popen(
        [*COMMAND, *arguments], env=ENVIRONMENT, stderr=screen, stdout=subprocess.DEVNULL
    )
    os.close(screen)
    shown = b''
    while not re.search(rb'\b[1-9]\d*/%d' % count, shown):
        shown += os.read(terminal, 4096)
    process.send_signal(number)
    try:
        while os.read(terminal, 4096):
            pass
    except OSError:  # the other end is closed
        pass
    os.close(terminal)
    assert process.wait() == 128 + number
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    assert report['interrupted'] is True
    done = report['pairs']['processed']
    assert 0 < done < count
    assert _stamps(tmp_path / 'out') == [bags.START + at * bags.PERIOD for at in range(done)]


def test_interrupted_at_once_nothing_is_left(small, tmp_path):
    report = replay(
        small, tmp_path / 'out', StereoEstimator.load(bags.MODEL), stopped=lambda: True
    )
    assert report['interrupted']
    assert report['written'] == {}
    assert not (tmp_path / 'out').exists()
