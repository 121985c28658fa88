"""The demo ends at once, and in one line, where it cannot go on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip('nndepth.msg', reason='the workspace is not built and sourced')

SCRIPT = Path(__file__).parents[2] / 'scripts/demo.py'
PATIENCE = 60.0


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """Where the sequence is rendered once."""
    return tmp_path_factory.mktemp('demo')


def start(folder: Path, model: str) -> subprocess.Popen:
    """Start a demo that would wait longer for its output than the test does for its end."""
    domain = os.environ.get('ROS_DOMAIN_ID', '0')
    words = [
        model,
        '--frames',
        '2',
        '--folder',
        folder,
        '--timeout',
        '9999',
        '--domain-id',
        domain,
    ]
    return subprocess.Popen(
        [sys.executable, SCRIPT, *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_a_model_that_does_not_exist_ends_it_with_the_error_of_the_node(folder):
    process = start(folder, 'nano_stereo-tiny')
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (1, '')
    (said,) = [line for line in err.splitlines() if line.startswith('demo failed: ')]
    assert "stereo_node cannot configure: variant 'tiny' of nano_stereo is unknown" in said
    assert 'Traceback' not in err


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_it_in_one_line(folder, number):
    log = folder / 'sgbm.log'
    log.unlink(missing_ok=True)
    process = start(folder, 'sgbm')
    deadline = time.monotonic() + PATIENCE
    while not (log.exists() and log.read_text()):  # the node is about to start, or has
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number
    assert err.splitlines()[-1].endswith('demo: interrupted')
    assert 'Traceback' not in err
