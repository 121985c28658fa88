"""Workers that are killed, disks that are full, signals, and going on after all of that."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import bags
import pytest
from fleets import Deadly, run_fleet
from rosbags.rosbag2 import Writer

from nndepth_core.fleet import LocalPool, Pool
from nndepth_ros.fleet.worker import WORK

TOPICS = ('--topics', 'disparity')
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, 'PYTHONPATH': f'{ROOT}:{os.environ.get("PYTHONPATH", "")}'}
COMMAND = [
    sys.executable,
    '-m',
    'nndepth_core',
    'replay',
    '--model',
    bags.MODEL,
    '--align-rows',
    'off',
    *TOPICS,
]


@pytest.fixture
def pool() -> Iterator[Pool]:
    made = LocalPool(2)
    yield made
    made.close()


@pytest.fixture
def two(tmp_path) -> list[str]:
    """A long bag and a short one."""
    counts = {'long': 30, 'short': 8}
    return [str(bags.write_bag(tmp_path / name, bags.frames(n))) for name, n in counts.items()]


def _expected(tmp_path: Path, sources: list[str]) -> dict[str, bytes]:
    run_fleet(tmp_path / 'expected', *sources, *TOPICS)
    return _written(tmp_path / 'expected')


def _written(folder: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in folder.glob('*/*.mcap')}


def _leftovers(folder: Path) -> list[str]:
    found = (path.name for path in folder.rglob('*'))
    return [name for name in found if 'partial' in name or 'unfinished' in name]


def test_killed_workers_cost_nothing_but_their_piece(tmp_path, two, pool):
    flags = tmp_path / 'flags'
    flags.mkdir()
    expected = _expected(tmp_path, two)
    for name in expected:
        deadly = Deadly(pool, name, flags)
        output = tmp_path / f'of {name}'
        fleet, _ = run_fleet(output, *two, *TOPICS, '--segment', '10', pool=deadly)
        assert not [bag.reason for bag in fleet.bags if bag.reason]
        assert _written(output) == expected
        assert not _leftovers(output)
    assert len([*flags.iterdir()]) > 3  # so often a worker was killed


def test_a_bag_that_kills_every_worker_fails_and_the_rest_goes_on(tmp_path, two, pool, capsys):
    expected = _expected(tmp_path, two)
    deadly = Deadly(pool, 'short', None)
    fleet, _ = run_fleet(tmp_path / 'out', *reversed(two), *TOPICS, pool=deadly)
    assert [bag.reason.partition(';')[0] for bag in fleet.bags] == [
        'its process was killed 3 times',
        '',
    ]
    assert _written(tmp_path / 'out') == {'long': expected['long']}
    printed = capsys.readouterr().err
    assert 'short: its process was killed' in printed
    assert 'killed, perhaps since memory ran out; what was in work is done again' in printed
    assert fleet.lost == 3
    run_fleet(tmp_path / 'out', *two, *TOPICS)
    assert _written(tmp_path / 'out') == expected
    assert not _leftovers(tmp_path / 'out')


@pytest.mark.parametrize('segment', ['10', '100'], ids=['pieces', 'whole'])
def test_a_full_disk_ends_the_run_and_the_next_one_finishes(
    tmp_path, two, monkeypatch, capsys, segment
):
    expected, arguments = _expected(tmp_path, two), (*two, *TOPICS, '--segment', segment)
    write, left = Writer.write, iter(range(4))

    def full(*what: object) -> None:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(*what)

    monkeypatch.setattr(Writer, 'write', full)
    fleet, _ = run_fleet(tmp_path / 'out', *arguments)
    assert 'cannot be written: No space left on device' in fleet.fatal
    assert not any(bag.finished for bag in fleet.bags)
    assert _written(tmp_path / 'out') == {}
    monkeypatch.setattr(Writer, 'write', write)
    fleet, _ = run_fleet(tmp_path / 'out', *arguments)
    assert not fleet.fatal
    assert _written(tmp_path / 'out') == expected
    assert not _leftovers(tmp_path / 'out')


def test_a_file_that_grows_too_large_fails_alone(tmp_path, two):
    limit = 300_000
    process = subprocess.run(
        [*COMMAND, *two, '--output', str(tmp_path / 'out'), '--workers', '2'],
        env=ENVIRONMENT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.returncode == 1
    assert 'long cannot be written: File too large' in process.stderr
    assert [*_written(tmp_path / 'out')] == ['short']
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    assert report['bags'] == {
        'found': 2,
        'done': 1,
        'incomplete': 0,
        'failed': 1,
        'open': 0,
        'reused': 0,
    }


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_says_how_to_go_on_and_does(tmp_path, number):
    source = str(bags.write_bag(tmp_path / 'in', bags.frames(24)))
    arguments = [source, '--output', str(tmp_path / 'out'), '--workers', '1', '--segment', '4']
    # Enlarged, so that the signal comes long before the end.
    arguments += ['--processing-size', '480x320']
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    work = tmp_path / 'out' / WORK
    while not (done := [*work.glob('in/[!.]*/report.json')]):
        assert process.poll() is None
    process.send_signal(number)
    _, error = process.communicate()
    assert process.returncode == 128 + number
    (line,) = error.splitlines()
    assert 'interrupted; 0 of 1 bags are finished, and the same command goes on' in line
    assert json.loads((tmp_path / 'out' / 'report.json').read_text())['bags']['open'] == 1
    assert not _leftovers(tmp_path / 'out')
    times = {path: path.stat().st_mtime_ns for path in done}
    kept = {path: path.stat().st_mtime_ns for path in work.glob('in/[!.]*/report.json')}
    assert times.items() <= kept.items()
    subprocess.run([*COMMAND, *arguments], env=ENVIRONMENT, check=True)
    subprocess.run(
        [*COMMAND, source, str(tmp_path / 'alone' / 'in'), *arguments[-2:]],
        env=ENVIRONMENT,
        check=True,
    )
    assert _written(tmp_path / 'out') == _written(tmp_path / 'alone')
    assert not work.exists()
