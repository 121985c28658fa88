"""Weights from the hub: the true huggingface_hub asks a hub on this machine."""

import errno
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest
import yaml
from fake_hub import COMMIT, Repository, asked_hub

from nndepth_core import cli
from nndepth_core.models import create_model, network_class
from nndepth_core.weights import catalogue
from nndepth_core.weights.description import describe
from nndepth_core.weights.hub import HubAddress, find_address
from nndepth_core.weights.store import list_stored

torch = pytest.importorskip('torch')
library = pytest.importorskip('huggingface_hub')
constants = pytest.importorskip('huggingface_hub.constants')
safetensors = pytest.importorskip('safetensors.torch')

ID = 'Someone/raft-hf'


@pytest.fixture(scope='module')
def weights():
    """The entries of RAFT-Stereo's realtime variant as a safetensors file."""
    torch.manual_seed(0)
    return safetensors.save(create_model('raft_stereo', 'realtime').state_dict())


@pytest.fixture
def server(empty_store, tmp_path, monkeypatch):
    """A hub that is asked in place of the true one, an empty cache and an empty directory."""
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    with asked_hub(tmp_path / 'hf', monkeypatch) as hub:
        monkeypatch.setattr('huggingface_hub.file_download.time.sleep', lambda seconds: None)
        yield hub


@pytest.fixture
def published(server, weights):
    """A repository with a snapshot for the transformers library, and a pickle beside it."""
    files = {
        'config.json': b'{}',
        'README.md': b'---',
        'model.safetensors': weights,
        'pytorch_model.bin': b'never fetched',
    }
    server.repositories[ID] = Repository(files, 'cc-by-nc-4.0', ('main', 'v1', COMMIT))
    return server.repositories[ID]


@pytest.fixture
def nndepth(capsys):
    """Run the command; returns (exit code, stdout, stderr)."""

    def run(*arguments):
        return cli.main(arguments), *capsys.readouterr()

    return run


def test_a_repository_is_imported_like_a_local_snapshot(nndepth, server, published, monkeypatch):
    monkeypatch.setattr(
        network_class('raft_stereo'), 'settings_from_config', lambda config: {'iterations': 4}
    )
    code, out, _ = nndepth('weights', 'import', ID, '--model', 'raft_stereo')
    digest = hashlib.sha256(published.files['model.safetensors']).hexdigest()
    assert code == 0
    assert out.splitlines()[:7] == [
        'raft_stereo/raft-hf is stored, made from model.safetensors',
        '  fits: raft_stereo realtime (iterations=4)',
        '  known file: no, it is not in the catalogue',
        '  weights licence: CC BY-NC 4.0',
        '  commercial use: forbidden',
        f'  sha256: {digest}',
        f'  from the hub: {ID}@{COMMIT}/model.safetensors',
    ]
    assert server.downloads == [('config.json', 0), ('model.safetensors', 0)]
    (entry,) = list_stored()
    assert entry.description.hub == f'{ID}@{COMMIT}/model.safetensors'
    shown = json.loads(nndepth('weights', 'show', 'raft_stereo/raft-hf', '--json')[1])
    assert shown == json.loads(json.dumps(entry.record()))
    assert (shown['commercial_use'], shown['description']['source_sha256']) == (
        'forbidden',
        digest,
    )
    assert '  commercial use: forbidden\n' in nndepth('weights', 'show', entry.id)[1]
    row = next(x for x in nndepth('weights', 'list')[1].splitlines() if x.startswith(entry.id))
    assert row.split()[-3:] == ['forbidden', digest[:12], 'stored']


@pytest.mark.parametrize(
    ('source', 'options'),
    [
        (f'{ID}@v1', ()),
        (f'hf://{ID}', ('--revision', 'v1')),
        (f'{ID}@v1/model.safetensors', ('--revision', 'v1')),
        (f'{ID}/model.safetensors', ()),
        (f'{ID}@{COMMIT}', ()),
        (f'https://huggingface.co/{ID}', ()),
        (f'https://huggingface.co/{ID}/blob/v1/model.safetensors?download=true', ()),
        (f'hf:{ID}', ()),
    ],
)
def test_forms_of_an_address(nndepth, server, published, source, options):
    code, out, _ = nndepth(
        'weights', 'import', source, '--model', 'raft_stereo', '--json', *options
    )
    assert code == 0
    assert json.loads(out)['description']['hub'] == f'{ID}@{COMMIT}/model.safetensors'
    asked = {path.split('/')[4] for method, path, _ in server.requests if '/resolve/' in path}
    revision = HubAddress.parse(source).revision or (options[1] if options else 'main')
    assert asked == {revision}


@pytest.mark.parametrize(
    'text',
    [
        'a/b@@c',
        'a/b@',
        'a/b@main/../../etc/passwd',
        'https://a.org/b/c',
        'https://huggingface.co/a',
    ],
)
def test_what_is_no_address_of_the_hub_is_quoted_as_it_was_typed(text):
    with pytest.raises(
        ValueError, match=re.escape(f'{text!r} is no address') + '.*owner/name@rev'
    ):
        find_address(text)


@pytest.mark.parametrize('text', ['ü/ä', 'a/b/../../../etc/passwd'])
def test_what_no_repository_can_be_called_is_a_path(text):
    assert find_address(text) is None


def test_fetch_takes_an_address_of_the_hub(nndepth, published):
    code, out, _ = nndepth('weights', 'fetch', ID, '--json')
    assert (code, json.loads(out)['description']['hub']) == (0, f'{ID}@{COMMIT}/model.safetensors')


def test_what_is_local_and_what_is_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'runs').mkdir()
    for text in ('raft.pth', './a/b', '../a/b', '/a/b', 'a/raft.pth', 'runs/a/raft.pth', 'runs'):
        assert find_address(text) is None
    assert find_address('hf://runs/a') == HubAddress('runs/a')
    assert find_address('a/b/c/raft.pth') == HubAddress('a/b', None, 'c/raft.pth')
    assert find_address('a/b@v1/raft.pth') == HubAddress('a/b', 'v1', 'raft.pth')
    (tmp_path / 'a' / 'b').mkdir(parents=True)
    assert find_address('a/b') is None
    with pytest.raises(ValueError, match='no address on the Hugging Face hub; leave it out'):
        find_address('runs', 'v1')
    with pytest.raises(ValueError, match='names another revision than v2'):
        find_address('c/d@v1', 'v2')
    with pytest.raises(ValueError, match='write owner/name'):
        find_address('hf://raft')


def test_a_folder_here_wins(nndepth, server, weights, tmp_path):
    folder = tmp_path / 'here' / ID
    folder.mkdir(parents=True)
    (folder / 'model.safetensors').write_bytes(weights)
    (folder / 'config.json').write_bytes(b'{}')
    assert nndepth('weights', 'import', ID, '--model', 'raft_stereo')[0] == 0
    assert server.requests == []


GATED = (403, {'X-Error-Code': 'GatedRepo'})
REFUSED = (401, {'X-Error-Message': 'Invalid credentials in Authorization header'})
FAILURES = {
    'the hub has no repository Someone/else, or it is private; check the name': {'id': 'else'},
    'raft-hf has no revision v7; see ': {'id': 'raft-hf@v7'},
    'has no file b.pth; it has model.safetensors, pytorch_model.bin': {'id': 'raft-hf/b.pth'},
    'holds no weights in a format known here': {'files': {'model.h5': b'', 'README.md': b''}},
    'holds 2 files of weights; name one of them, as in Someone/raft-hf/a.pth: a.pth, b.pth': {
        'files': {'a.pth': b'', 'b.pth': b'', 'c.txt': b''}
    },
    'holds its weights in several parts': {'files': {'model.safetensors.index.json': b''}},
    'is gated; accept its terms at http': {'error': GATED},
    'the hub refuses access to Someone/raft-hf (HTTP 401); log in by `hf auth login`': {
        'error': REFUSED
    },
    'answers with HTTP 500; try again later': {'error': (500, {})},
    'came damaged, since its sha256 is not 0000': {'etags': {'model.safetensors': 64 * '0'}},
}


@pytest.mark.parametrize(('words', 'change'), FAILURES.items())
def test_failures_are_one_sentence_with_a_cure(nndepth, published, cache, words, change):
    for name in change.keys() - {'id'}:
        setattr(published, name, change[name])
    address = f'Someone/{change.get("id", "raft-hf")}'
    code, out, err = nndepth('weights', 'import', address, '--model', 'raft_stereo')
    assert (code, out) == (2, '')
    told = err.splitlines()[-1]
    assert told.startswith(f'nndepth: error: {address} is no path here, and ')
    assert words in told
    assert f'run `hf download {address.partition("@")[0].removesuffix("/b.pth")} ' in told
    assert list_stored() == []


def test_a_damaged_file_is_fetched_anew(nndepth, published, server):
    published.etags = {'model.safetensors': 64 * '0'}
    assert nndepth('weights', 'import', ID, '--model', 'raft_stereo')[0] == 2
    published.etags = {}
    assert nndepth('weights', 'import', ID, '--model', 'raft_stereo')[0] == 0
    assert server.downloads.count(('model.safetensors', 0)) == 2


def test_a_broken_connection_goes_on_where_it_was(nndepth, published, server):
    published.cut = 12_000_000
    assert nndepth('weights', 'import', ID, '--model', 'raft_stereo')[0] == 0
    starts = [start for file, start in server.downloads if file == 'model.safetensors']
    assert len(starts) == 2
    assert 0 < starts[1] <= 12_000_000


def test_without_a_network_the_cache_serves_else_the_way_by_hand_is_told(
    nndepth, published, monkeypatch, caplog
):
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    code, _, err = nndepth('weights', 'import', ID, '--model', 'raft_stereo')
    assert code == 2
    assert f'HF_HUB_OFFLINE is set, and {ID} is not in the cache, ' in err
    assert err.endswith(
        'on a machine with a network run `hf download Someone/raft-hf config.json '
        'model.safetensors --local-dir raft-hf`, copy the folder raft-hf here and run: '
        'nndepth weights import raft-hf\n'
    )
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', False)
    assert nndepth('weights', 'import', ID, '--model', 'raft_stereo')[0] == 0
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    code, _, err = nndepth('weights', 'import', ID, '--model', 'raft_stereo', '--name', 'b')
    assert code == 0, err
    assert f'commit {COMMIT} in its cache is taken' in caplog.text
    hubs = {entry.description.hub for entry in list_stored()}
    assert hubs == {f'{ID}@{COMMIT}/model.safetensors'}


def test_a_server_that_is_away_is_named(nndepth, server, monkeypatch):
    monkeypatch.setattr(constants, 'ENDPOINT', 'http://127.0.0.1:1')
    code, _, err = nndepth('weights', 'import', ID)
    assert code == 2
    assert 'the hub, http://127.0.0.1:1, cannot be reached (' in err


def test_a_full_disk_is_told(nndepth, published, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr('huggingface_hub.file_download.http_get', full)
    code, _, err = nndepth('weights', 'import', ID)
    assert code == 2
    assert 'has no room for it (No space left on device); free some, or set HF_HOME' in err


def test_without_the_library_the_extra_is_named(nndepth, server, monkeypatch):
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    code, _, err = nndepth('weights', 'import', ID)
    assert code == 2
    assert 'without huggingface_hub; pip install "nndepth[torch]"' in err


@pytest.fixture
def entry(published, tmp_path, monkeypatch):
    """Let the catalogue know the repository as raft_stereo/realtime, with a hash."""
    known = yaml.safe_load(catalogue._FILE.read_text())
    fields = {'file': 'model.safetensors', 'variants': ['realtime'], 'trained_on': 'noise'}
    fields |= {'license': 'MIT', 'metrics': {}, 'hub': [f'{ID}/model.safetensors']}

    def publish(digits):
        checkpoint = {**fields, 'sha256': digits, 'caution': 'be careful'}
        network = {**known['raft_stereo'], 'checkpoints': {'realtime': checkpoint}}
        file = tmp_path / 'catalogue.yaml'
        file.write_text(yaml.safe_dump({'raft_stereo': network}))
        monkeypatch.setattr(catalogue, '_FILE', file)
        catalogue.catalogue.cache_clear()

    yield publish
    catalogue.catalogue.cache_clear()


@pytest.mark.parametrize('command', [('fetch', 'raft_stereo/realtime'), ('import', ID.lower())])
def test_weights_of_the_catalogue(nndepth, entry, weights, server, command):
    entry(hashlib.sha256(weights).hexdigest()[:12])
    server.repositories[ID.lower()] = server.repositories[ID]
    code, out, _ = nndepth('weights', *command, '--json')
    about = json.loads(out)
    assert (code, about['id'], about['commercial_use']) == (0, 'raft_stereo/realtime', 'allowed')
    assert about['description']['hub'].endswith(f'@{COMMIT}/model.safetensors')
    assert '  caution: be careful\n' in nndepth('weights', 'show', 'raft_stereo/realtime')[1]


def test_another_file_than_that_of_the_catalogue(nndepth, entry):
    entry(64 * '0')
    code, _, err = nndepth('weights', 'fetch', 'raft_stereo/realtime')
    assert code == 2
    assert 'raft_stereo/realtime was not downloaded: what came has sha256 ' in err
    assert err.endswith(
        'raft-hf/model.safetensors --model raft_stereo --variant realtime --name realtime\n'
    )
    code, out, _ = nndepth('weights', 'import', ID, '--model', 'raft_stereo')
    assert code == 0
    assert '  known file: no, though called like raft_stereo/realtime\n' in out
    assert '  weights licence: CC BY-NC 4.0\n' in out


def run_command(server, tmp_path):
    """Start the command in a process of its own, as a user's settings direct it."""
    settings = {'HF_ENDPOINT': server.url, 'HF_HOME': str(tmp_path / 'home')}
    return subprocess.Popen(
        [sys.executable, '-m', 'nndepth_core', 'weights', 'import', ID, '--model', 'raft_stereo'],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_kill_leaves_nothing_stored_and_two_at_once_fetch_once(server, published, tmp_path):
    cut, ended = Event(), Event()
    server.wait = lambda: (cut.set(), ended.wait(60))
    published.cut = 12_000_000
    killed = run_command(server, tmp_path)
    assert cut.wait(60)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    ended.set()
    assert list_stored() == []
    both = [run_command(server, tmp_path) for _ in range(2)]
    for process in both:
        _, err = process.communicate()
        assert process.returncode == 0, err
    (stored,) = list_stored()
    assert describe(stored.path).hub == f'{ID}@{COMMIT}/model.safetensors'
    starts = [start for file, start in server.downloads if file == 'model.safetensors']
    assert starts == [0, 0]
