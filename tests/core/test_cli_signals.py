"""Ctrl-C and kill at any moment; faults and bad input without a traceback."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nndepth_core import cli

_START = (
    'import sys; from nndepth_core.__main__ import command; print("ready", flush=True);'
    'sys.exit(command())'
)
_WAITING = """
import sys, time
from nndepth_core import cli
from nndepth_core.cli import models
def wait(args):
    print('running', flush=True)
    time.sleep(60)
models.main = wait
from nndepth_core.__main__ import command
sys.exit(command('models'))
"""
_SWALLOWING = _WAITING.replace(
    'time.sleep(60)', 'try:\n        time.sleep(60)\n    except BaseException: raise SystemError'
)

_USING_STREAMS = """
import sys
from nndepth_core.cli import models
def run(args):
    print('out')
    sys.stderr.write('err\\n')
    return int(sys.stdin.isatty())
models.main = run
from nndepth_core.__main__ import command
sys.exit(command('models'))
"""
_WRITING = _WAITING.replace(
    'time.sleep(60)',
    """
    from pathlib import Path
    from nndepth_core.files.writing import replaced_at_once
    with replaced_at_once(Path('out.onnx')) as file:
        file.write_bytes(b'half')
        print('writing', flush=True)
        time.sleep(60)""",
)


def start(code: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, '-c', code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@pytest.mark.parametrize('code', [_WAITING, _SWALLOWING])
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_interrupted_says_so_in_one_line(code, number):
    process = start(code)
    assert process.stdout.readline() == 'running\n'
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (128 + number, 'nndepth: interrupted\n')


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_ended_while_it_writes_leaves_nothing(number, tmp_path, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', str(Path(cli.__file__).parents[2]))
    monkeypatch.chdir(tmp_path)
    process = start(_WRITING)
    assert [process.stdout.readline() for _ in range(2)] == ['running\n', 'writing\n']
    assert len([*tmp_path.iterdir()]) == 1
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize('delay', [0.005, 0.1, 0.3])
@pytest.mark.parametrize('command', ['evaluate', 'train', 'infer'])
def test_so_does_one_that_is_still_importing(command, delay):
    process = start(_START, command)
    assert process.stdout.readline() == 'ready\n'
    time.sleep(delay)  # any moment will do
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    if process.returncode != 2:  # it had come as far as to miss its arguments
        assert (process.returncode, err) == (130, 'nndepth: interrupted\n')


def test_the_help_of_the_command_imports_nothing_that_takes_time():
    code = (
        'import sys\nfrom nndepth_core.cli import main\n'
        'try: main(["--help"])\n'
        'except SystemExit: sys.exit(any(x in sys.modules for x in ("cv2", "numpy", "yaml")))'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, 'commands:' in done.stdout) == (0, True), done.stderr


def test_the_library_offers_its_names():
    import nndepth_core

    assert all(getattr(nndepth_core, name).__name__ == name for name in nndepth_core.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = nndepth_core.nothing


def test_faults_of_our_own_are_told_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr('nndepth_core.cli.models.main', lambda _: {}['key'])
    assert cli.main(['models']) == 70
    err = capsys.readouterr().err
    assert 'a fault of nndepth: KeyError at line' in err
    assert 'NNDEPTH_TRACEBACK=1' in err
    assert err.count('\n') == 1
    monkeypatch.setenv('NNDEPTH_TRACEBACK', '1')
    with pytest.raises(KeyError):
        cli.main(['models'])


def test_output_that_nobody_reads_is_no_error():
    process = start(_START.replace('print("ready", flush=True);', ''), 'models')
    process.stdout.close()
    process.wait(60)
    assert (process.returncode, process.stderr.read()) == (141, '')
    process.stderr.close()


@pytest.mark.parametrize('closed', ['>&-', '2>&-', '>&- 2>&-', '<&- >&- 2>&-'])
def test_streams_that_are_closed_are_no_error(closed):
    arguments = [sys.executable, '-c', _USING_STREAMS]
    done = subprocess.run(
        ['sh', '-c', f'exec "$@" {closed}', 'sh', *arguments], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        b'' if '>&-' in closed.split() else b'out\n',
        b'' if '2>&-' in closed.split() else b'err\n',
    )


def test_a_full_output_is_named(monkeypatch):
    monkeypatch.delenv('PYTHONUNBUFFERED', raising=False)
    with open('/dev/full', 'w') as full:
        done = subprocess.run(
            [sys.executable, '-c', _USING_STREAMS],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 2
    last = done.stderr.decode().splitlines()[-1]
    assert last == 'nndepth: error: standard output: No space left on device'


def test_names_that_cannot_be_encoded_are_shown(tmp_path, monkeypatch):
    environment = {**os.environ, 'PYTHONIOENCODING': 'ascii'}
    arguments = [sys.executable, '-c', _START, 'weights', 'path', 'raft_stereo/ä']
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert r'raft_stereo/\xe4 is not in the store' in done.stderr


def test_the_package_itself_is_the_command():
    arguments = [sys.executable, '-m', 'nndepth_core', '--version']
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout.startswith('nndepth ')
