"""What the tests of the library share."""

import subprocess
import sys

import pytest
from hypothesis import settings

from nndepth_core import engines
from nndepth_core.weights import own_settings, store

# Examples take longer on a machine that does other work beside.
settings.register_profile('any_speed', deadline=None)
settings.load_profile('any_speed')


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder of weights and exports, an empty one of the test's own; nothing is there yet."""
    monkeypatch.setenv('NNDEPTH_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


@pytest.fixture
def empty_store(cache, monkeypatch):
    """No weights at hand, not even those of the package; returns the folder for others."""
    monkeypatch.setattr(store, '_BUNDLED', cache.with_name('nothing'))
    return cache


@pytest.fixture
def no_torch(monkeypatch):
    """Let the engines believe that torch is not installed."""
    for module in (engines, own_settings):
        found = module.find_spec
        monkeypatch.setattr(
            module, 'find_spec', lambda name, found=found: None if name == 'torch' else found(name)
        )


@pytest.fixture
def in_new_process():
    """Run Python code in a process that has imported nothing; returns what it printed."""

    def run(code: str) -> str:
        done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope='session')
def checkpoint(tmp_path_factory) -> bytes:
    """A checkpoint file of RAFT-Stereo's realtime variant."""
    torch = pytest.importorskip('torch')
    from nndepth_core.models import create_model

    file = tmp_path_factory.mktemp('checkpoint') / 'raftstereo-realtime.pth'
    torch.manual_seed(0)
    torch.save(create_model('raft_stereo', 'realtime').state_dict(), file)
    return file.read_bytes()
