"""Bags that change, and results that are no longer what was written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bags
import pytest
from fleets import run_fleet

from nndepth_core.cli import main
from nndepth_ros.fleet import worker
from nndepth_ros.fleet.report import describe_fleet
from nndepth_ros.replay.processor import Processor

TOPICS = ('--topics', 'disparity')


@pytest.fixture
def source(tmp_path) -> Path:
    return bags.write_bag(tmp_path / 'in', bags.frames(24))


def _shorten(file: Path, share: float = 0.5) -> None:
    """Cut a file off, as one that is being copied again."""
    with file.open('r+b') as opened:
        opened.truncate(int(share * file.stat().st_size))


def _after(function: Callable[..., Any], then: Callable[[], None]) -> Callable[..., Any]:
    def both(*arguments: Any) -> Any:
        result = function(*arguments)
        then()
        return result

    return both


@pytest.mark.parametrize('size', [0, 0.5], ids=['empty', 'half'])
@pytest.mark.parametrize('segment', ['8', '0'], ids=['pieces', 'whole'])
def test_a_bag_that_changes_during_the_run_fails(tmp_path, source, monkeypatch, segment, size):
    file = source / 'in.mcap'
    before = file.read_bytes()
    look = Processor.look_through
    monkeypatch.setattr(Processor, 'look_through', _after(look, lambda: _shorten(file, size)))
    arguments = (str(source), *TOPICS, '--segment', segment)
    fleet, _ = run_fleet(tmp_path / 'out', *arguments)
    assert [bag.reason for bag in fleet.bags] == [
        'it changed while it was read; run the command again'
    ]
    assert not (tmp_path / 'out' / 'in').exists()
    monkeypatch.undo()
    file.write_bytes(before)
    fleet, _ = run_fleet(tmp_path / 'out', *arguments)
    report = describe_fleet(fleet.bags, [], 1.0, False)
    assert report['moments'] == {'found': 24, 'processed': 24, 'failed': 0}
    assert report['bags']['done'] == 1


def test_one_replay_counts_the_pairs_that_never_come(tmp_path, source, monkeypatch, capsys):
    file = source / 'in.mcap'
    look = Processor.look_through
    monkeypatch.setattr(Processor, 'look_through', _after(look, lambda: _shorten(file)))
    arguments = ('--model', bags.MODEL, *TOPICS, '--json')
    assert main(['replay', str(source), str(tmp_path / 'out'), *arguments]) == 1
    printed = capsys.readouterr()
    pairs = json.loads(printed.out)['pairs']
    assert pairs['found'] == 24
    assert 0 < pairs['failed'] == 24 - pairs['processed']
    assert 'failed: it was there at first and not when it was to be processed' in printed.err


@pytest.mark.parametrize(
    'harm', [Path.unlink, _shorten], ids=['messages are gone', 'messages are cut off']
)
@pytest.mark.parametrize('segment', ['8', '0'], ids=['pieces', 'whole'])
def test_a_result_that_is_not_whole_is_made_again(tmp_path, source, harm, segment):
    arguments = (str(source), *TOPICS, '--segment', segment)
    run_fleet(tmp_path / 'out', *arguments)
    file = tmp_path / 'out' / 'in' / 'in.mcap'
    before = file.read_bytes()
    harm(file)
    fleet, _ = run_fleet(tmp_path / 'out', *arguments)
    assert not fleet.bags[0].finished.reused
    assert file.read_bytes() == before
    fleet, _ = run_fleet(tmp_path / 'out', *arguments)
    assert fleet.bags[0].finished.reused


def test_other_files_in_the_folder_of_a_bag_are_no_part_of_it(tmp_path, source):
    run_fleet(tmp_path / 'out', str(source), *TOPICS)
    (source / 'notes.txt').write_text('rain')
    fleet, _ = run_fleet(tmp_path / 'out', str(source), *TOPICS)
    assert fleet.bags[0].finished.reused


def test_it_is_told_what_differs(tmp_path, source, monkeypatch):
    output = tmp_path / 'out'
    run_fleet(output, str(source), *TOPICS)

    def reason(*options: str) -> str:
        fleet, _ = run_fleet(output, str(source), *(options or TOPICS))
        return fleet.bags[0].reason.partition(';')[0]

    assert reason(*TOPICS, '--max-depth', '3') == (
        'its result in DIR was made with other options (--max-depth)'
    )
    with monkeypatch.context() as patch:
        patch.setattr(worker.nndepth_core, '__version__', '99')
        worker.equip.cache_clear()
        assert 'its result in DIR was made by nndepth ' in reason()
    worker.equip.cache_clear()
    other = bags.write_bag(tmp_path / 'other', bags.frames(2))
    shutil.copy(other / 'other.mcap', source / 'in.mcap')
    assert reason() == 'its result in DIR was made from another content of the bag'
    os.remove(output / 'in' / 'origin.json')
    assert reason() == 'its place in DIR is taken by what no fleet has made'
