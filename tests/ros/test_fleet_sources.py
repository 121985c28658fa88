"""Which bags are found, and what they are called."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import bags
import pytest

from nndepth_core.cli import main
from nndepth_ros.fleet.names import unique_names
from nndepth_ros.fleet.sources import (
    Source,
    content_of,
    fetched,
    find_sources,
    fingerprint,
)

REPLAY = (
    'replay',
    '--model',
    bags.MODEL,
    '--align-rows',
    'off',
    '--topics',
    'disparity',
    '--workers',
    '1',
)


@pytest.fixture
def tree(tmp_path) -> Path:
    """Bags in folders, some of whose names are equal, beside other files."""
    root = tmp_path / 'all of them'
    for name in ('monday/run', 'tuesday/run', 'tuesday/späte Fahrt'):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        bags.write_bag(path, bags.frames(1))
    shutil.copy(root / 'monday/run/run.mcap', root / 'single.mcap')
    (root / 'notes.txt').write_text('no bag')
    return root


def _names(*arguments: str, output: str = 'out') -> list[str]:
    sources, problems = find_sources(arguments, Path(output))
    assert not problems
    return [source.name for source in sources]


ALL = ['monday_run', 'single', 'tuesday_run', 'späte Fahrt']


def test_a_folder_of_bags_a_glob_and_a_list_find_the_same(tree, tmp_path, monkeypatch):
    assert _names(str(tree)) == ALL
    assert sorted(_names(str(tree / '*'))) == sorted(ALL)
    text = '# recorded in May\n\n' + '\n'.join(f'{tree}/{it}' for it in ('monday', 'tuesday/*'))
    (tmp_path / 'list.txt').write_text(f'{text}\nall of them/single.mcap\n')
    monkeypatch.chdir(tmp_path)
    assert sorted(_names('@list.txt')) == sorted(ALL)


def test_a_bag_that_is_named_twice_is_taken_once(tree, monkeypatch):
    monkeypatch.chdir(tree)
    os.symlink('monday', 'link')
    assert _names('monday/run', 'monday', 'link/run', str(tree / 'monday' / 'run')) == ['run']
    os.symlink('monday/run', 'first drive')
    assert _names('first drive', 'monday/run') == ['first drive']


def test_what_was_written_is_no_input(tree):
    output = tree / 'results'
    output.mkdir()
    bags.write_bag(output / 'old', bags.frames(1))
    assert _names(str(tree), output=str(output)) == ALL
    assert sorted(_names(str(tree / '*'), output=str(output))) == sorted(ALL)


def test_what_is_no_bag_is_told_and_the_rest_is_found(tree, tmp_path):
    empty = tmp_path / 'empty'
    empty.mkdir()
    arguments = [str(it) for it in (empty, tmp_path / 'nothing*', tree / 'single.mcap')]
    sources, problems = find_sources(arguments, tmp_path / 'out')
    assert [source.name for source in sources] == ['single']
    assert [reason.partition(':')[0] for _, reason in problems] == [
        'the folder holds no bag',
        'it does not exist, and as a glob it finds no bag',
    ]


@pytest.mark.parametrize(
    ('locations', 'names'),
    [
        (['/a/run.mcap', '/a/other.db3'], ['run', 'other']),
        (['/a/run.mcap', '/b/run.mcap.zst'], ['a_run', 'b_run']),
        (['/x/a/run', '/y/a/run', '/a_run'], ['x_a_run', 'y_a_run', 'a_run']),
        (['/a/run.mcap', '/a/run.db3', '/a/run'], ['run_mcap', 'run_db3', 'run']),
        (['/a/run.mcap', '/a/run.db3', '/b/run'], ['run_mcap', 'run_db3', 'run']),
        (['/a/Run', '/b/run'], ['a_Run', 'b_run']),
        (['/a/report.json', '/a/.fleet'], ['a_report.json', 'a_.fleet']),
        (['s3://store/a/run', 's3://store/b/run'], ['a_run', 'b_run']),
        (['/a/.mcap', '/a/x y.bag'], ['a_.mcap', 'x y']),
    ],
)
def test_names_are_unique(locations, names):
    assert unique_names(locations) == names


def test_a_bag_keeps_the_name_that_its_result_has(tree, tmp_path):
    monday, tuesday = (str(tree / it) for it in ('monday/run', 'tuesday/run'))
    output = tmp_path / 'out'
    (output / 'run').mkdir(parents=True)
    origin = output / 'run' / 'origin.json'
    origin.write_text(json.dumps({'source': monday}))
    assert _names(monday, output=str(output)) == ['run']
    assert _names(monday, tuesday, output=str(output)) == ['run', 'tuesday_run']
    assert _names(tuesday, output=str(output)) == ['tuesday_run']
    origin.write_text(json.dumps({'source': str(tree / 'moved')}))
    assert _names(tuesday, output=str(output)) == ['run']


def test_content_and_fingerprint_tell_bags_apart(tree):
    run, other = (str(tree / it) for it in ('monday/run', 'tuesday/run'))
    assert content_of(Path(run)) == content_of(Path(other))
    before = fingerprint(Source(run, 'run'))
    file = tree / 'monday/run/run.mcap'
    file.write_bytes(file.read_bytes() + b'\0')
    assert content_of(Path(run)) != content_of(Path(other))
    assert fingerprint(Source(run, 'run')) != before


# --- remote stores -------------------------------------------------------------------------------


def test_bags_in_a_store_are_found_and_fetched(tree, tmp_path):
    fsspec = pytest.importorskip('fsspec')
    store = fsspec.filesystem('memory')
    store.put(str(tree), '/bags', recursive=True)
    sources, problems = find_sources(['memory://bags', 'memory://none/x'], tmp_path)
    assert [source.name for source in sources] == ALL
    assert [reason for _, reason in problems] == ['it does not exist there, or holds no bag']
    assert _names('memory://bags/tuesday/*') == ['run', 'späte Fahrt']
    for source in sources:
        path = fetched(source, tmp_path / source.name)
        local = tree / source.location.removeprefix('memory://').removeprefix('/bags/')
        assert content_of(path) == content_of(local)
        assert bags.read_bag(path).keys() == bags.read_bag(local).keys()
        before = fingerprint(source)
        assert fingerprint(source) == before
    store.pipe('/bags/single.mcap', b'')
    assert fingerprint(sources[1]) != fingerprint(sources[0])
    store.rm('/bags', recursive=True)


def test_a_store_that_is_not_known_is_one_error(tmp_path, capsys):
    pytest.importorskip('fsspec')
    assert main([*REPLAY, 'nowhere://a', '--output', str(tmp_path)]) == 2
    assert (
        'nowhere://a cannot be read by fsspec: ValueError: Protocol not known'
        in capsys.readouterr().err
    )


# --- the command ---------------------------------------------------------------------------------


def test_the_command_on_a_folder_a_url_and_what_is_broken(tree, tmp_path, capsys):
    pytest.importorskip('fsspec')
    (tree / '<i>broken.mcap').write_bytes(b'no bag')
    url = f'file://{tree}/tuesday/run'
    output = tree / 'results'
    arguments = [str(tree / 'monday'), url, str(tree / '<i>broken.mcap'), '--output', str(output)]
    assert main([*REPLAY, *arguments]) == 1
    printed = capsys.readouterr()
    assert '2 of 3 bags finished, 0 of them by earlier runs; 0 incomplete, 1 failed' in printed.out
    assert '1 bag: BAG cannot be read' in printed.out
    assert sorted(it.name for it in output.iterdir()) == [
        *('monday_run', 'report.html', 'report.json', 'tuesday_run'),
    ]
    assert [*bags.read_bag(output / 'tuesday_run')] == ['/stereo/disparity']
    page = (output / 'report.html').read_text()
    assert page.count('<img') == 2
    assert '&lt;i&gt;broken.mcap cannot be read' in page
    assert '<i>' not in page


def test_the_same_command_makes_nothing_again_and_others_do(tree, tmp_path, capsys):
    source, output = tree / 'monday' / 'run', tmp_path / 'out'
    arguments = [*REPLAY, str(source), '--output', str(output), '--json']

    def run(*options: str, code: int = 0) -> dict:
        assert main([*arguments, *options]) == code
        return json.loads(capsys.readouterr().out)

    assert run()['bags']['reused'] == 0
    assert run()['bags']['reused'] == 1
    file = source / 'run.mcap'
    os.utime(file, (1, 1))
    assert run()['bags']['reused'] == 1
    (entry,) = run('--max-depth', '3', code=1)['each']
    assert 'its result in DIR was made with other options (--max-depth); give' in entry['reason']
    assert run('--max-depth', '3', '--overwrite')['bags']['reused'] == 0
    assert run('--max-depth', '3', '--segment', '5')['bags']['reused'] == 1
    bags.write_bag(tmp_path / 'other' / 'run', bags.frames(2))
    shutil.copy(tmp_path / 'other' / 'run' / 'run.mcap', file)
    assert run('--max-depth', '3', '--overwrite')['moments']['processed'] == 2


@pytest.mark.parametrize(
    ('options', 'says'),
    [
        (['--model', 'nothing'], "'nothing'"),
        (['--scale-source', 'stereo'], '--scale-source is for models of single images'),
        (['--workers', '2', '--ray', 'auto'], '--workers and --ray are both given'),
        (['--ray-gpus', '1'], '--ray-gpus is for Ray; give --ray'),
        (['--topics', 'inverse_depth/image'], 'is no output of a stereo model'),
        (['--calibration', 'nothing.yaml'], 'nothing.yaml'),
    ],
)
def test_wrong_arguments_are_one_error(tree, tmp_path, capsys, options, says):
    arguments = ['replay', '--model', bags.MODEL, str(tree), '--output', str(tmp_path / 'out')]
    assert (
        main(
            [*arguments, '--workers', '1', *options]
            if '--ray' not in options
            else [*arguments, *options]
        )
        == 2
    )
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('segment', ['0', '2'])
def test_the_input_is_never_replaced(tmp_path, capsys, segment):
    source = bags.write_bag(tmp_path / 'in', bags.frames(4))
    before = content_of(source)
    options = ['--output', str(tmp_path), '--overwrite', '--segment', segment]
    assert main([*REPLAY, str(source), *options]) == 1
    assert 'is or holds the bag that is read' in capsys.readouterr().err
    assert content_of(source) == before


@pytest.mark.parametrize(
    ('arguments', 'says'),
    [
        (['@empty.txt', '--output', 'out'], 'empty.txt names no bag'),
        (['@single.mcap', '--output', 'out'], 'single.mcap is no list: it holds no text'),
        (['monday', '--output', 'monday'], 'its bags lie in --output'),
        (['monday/*', '--output', 'monday'], 'its bags lie in --output'),
        (['monday/run', '--output', 'monday/run'], 'is the bag'),
        (['single.mcap', '--output', 'monday/run/x/y'], 'or in it; give another one'),
    ],
)
def test_what_cannot_be_meant_is_one_error_and_leaves_nothing(
    tree, monkeypatch, capsys, arguments, says
):
    monkeypatch.chdir(tree)
    Path('empty.txt').write_text('# nothing\n\n')
    before = sorted(Path().rglob('*'))
    assert main([*REPLAY, *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert sorted(Path().rglob('*')) == before


@pytest.mark.parametrize(
    'arguments',
    [
        ['run', 'out', '--workers=2'],
        ['run', 'other', 'third'],
        ['run*', 'out'],
        ['s3://x', 'out'],
        ['@list.txt', 'out'],
    ],
)
def test_many_bags_without_output_lead_to_it(arguments, capsys):
    assert main(['replay', *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert 'need --output DIR' in line


@pytest.mark.parametrize(
    ('name', 'arguments'),
    [
        ('OUT', ['run', '']),
        ('IN', ['', 'out']),
        ('BAG', ['', '--output', 'out']),
        ('--output', ['run', '--output', '']),
        ('--ray', ['run', '--output', 'out', '--ray', '']),
    ],
)
def test_empty_values_are_refused_by_name(name, arguments, capsys):
    with pytest.raises(SystemExit):
        main(['replay', *arguments])
    assert f'argument {name}: it is empty' in capsys.readouterr().err


def test_an_empty_folder_alone_is_an_error(tmp_path, capsys):
    assert main([*REPLAY, str(tmp_path), '--output', str(tmp_path / 'out')]) == 2
    assert 'the folder holds no bag: no metadata.yaml' in capsys.readouterr().err


def test_one_run_works_on_a_folder(tree, tmp_path, capsys):
    from nndepth_ros.fleet.command import _alone

    with _alone(tmp_path / 'out'):
        assert main([*REPLAY, str(tree), '--output', str(tmp_path / 'out')]) == 2
    assert 'another nndepth replay works on' in capsys.readouterr().err
