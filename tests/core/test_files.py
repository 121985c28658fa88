"""Files are whole or not there, and what a kill left goes with the next write."""

import os
from pathlib import Path

import pytest
from killed import killed_while_writing

from nndepth_core.files.writing import (
    check_folder,
    replaced_at_once,
    temporary_folder,
    write_at_once,
)


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / 'a' / 'file'
    write_at_once(path, 'first')

    def fill_disk():
        with replaced_at_once(path) as temporary:
            temporary.write_text('half')
            raise OSError(28, 'No space left')

    with pytest.raises(OSError, match='No space left'):
        fill_disk()
    assert path.read_text() == 'first'
    assert [*path.parent.iterdir()] == [path]


def test_errors_name_the_file_that_was_asked_for(tmp_path):
    def fill_disk():
        with replaced_at_once(tmp_path / 'file'):
            raise OSError(28, 'No space left')

    with pytest.raises(OSError, match='No space left') as error:
        fill_disk()
    assert error.value.filename == str(tmp_path / 'file')
    with pytest.raises(OSError, match='/proc') as error:
        check_folder(Path('/proc'))
    assert error.value.filename == '/proc'


def test_leftovers_of_killed_processes_go_and_those_of_others_stay(tmp_path):
    leftover = killed_while_writing(tmp_path / 'file')
    assert leftover.is_dir()
    own, foreign = leftover.name.rsplit('-', 2)[0], '.unfinished-another_machine-1-0'
    living = tmp_path / f'{own}-{os.getppid()}-0'
    for path in (living, tmp_path / foreign):
        path.write_bytes(b'half')
    with temporary_folder(tmp_path) as folder:
        assert not leftover.exists()
        (folder / 'file').write_bytes(b'')
    assert {path.name for path in tmp_path.iterdir()} == {living.name, foreign}


def test_names_that_are_no_utf_8_can_be_told(tmp_path):
    write_at_once(tmp_path / 'file', os.fsdecode(b'\xff\xc3\xa4'))
    assert (tmp_path / 'file').read_text('utf-8') == '\\udcffä'


def test_one_of_many_files_is_whole_or_not_there_too(tmp_path, monkeypatch):
    leftover = killed_while_writing(tmp_path / 'file')
    monkeypatch.setattr(os, 'fsync', lambda descriptor: pytest.fail('waits for the disk'))
    write_at_once(tmp_path / 'file', b'first', lasting=False)
    monkeypatch.setattr(Path, 'replace', lambda path, target: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_at_once(tmp_path / 'file', b'second', lasting=False)
    assert (tmp_path / 'file').read_bytes() == b'first'
    assert {*tmp_path.iterdir()} == {tmp_path / 'file', leftover}


def test_links_and_pipes_stay_what_they_are(tmp_path):
    target, link, pipe = (tmp_path / name for name in ('target', 'link', 'pipe'))
    link.symlink_to(target)
    write_at_once(link, 'text')
    assert link.is_symlink()
    assert target.read_text() == 'text'
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_at_once(pipe, 'text')
    assert os.read(reader, 10) == b'text'
    os.close(reader)
    assert pipe.is_fifo()
