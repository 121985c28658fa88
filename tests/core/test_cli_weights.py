"""`nndepth models` and `nndepth weights`, downloads from a server on this machine included."""

import hashlib
import io
import json
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import yaml

from nndepth_core import cli
from nndepth_core.weights import catalogue, importing, store
from nndepth_core.weights.description import describe

torch = pytest.importorskip('torch')
pytest.importorskip('safetensors')


NAME = 'raftstereo-realtime.pth'
PAGE = 'https://example.org/weights'
HTML = {'Content-Type': 'text/html; charset=utf-8'}


@pytest.fixture(autouse=True)
def folder(empty_store, tmp_path, monkeypatch):
    """An empty store and an empty working directory."""
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    return tmp_path


@pytest.fixture
def nndepth(capsys):
    """Run the command; returns (exit code, stdout, stderr)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        return cli.main(arguments), *capsys.readouterr()

    return run


@pytest.fixture(scope='module')
def server(checkpoint):
    """Serves `checkpoint` in good and in bad ways; yields its address."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, 'w') as content:
        content.writestr(f'models/{NAME}', checkpoint)
    half = len(checkpoint) // 2
    answers = {
        '/file': (200, {}, checkpoint),
        '/zip': (200, {}, archive.getvalue()),
        '/login': (200, HTML, b'<html>sign in</html>'),
        '/short': (200, {'Content-Length': str(len(checkpoint))}, checkpoint[:half]),
        '/cut': (200, {'Content-Length': str(half)}, checkpoint[:half]),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, headers, body = answers.get(self.path, (404, {}, b'gone'))
            self.send_response(status)
            for item in {'Content-Length': str(len(body)), **headers}.items():
                self.send_header(*item)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def publish(folder, server, checkpoint, monkeypatch):
    """Put one checkpoint, raft_stereo/realtime, into a catalogue of its own."""
    known = yaml.safe_load(catalogue._FILE.read_text())
    entry = {'file': NAME, 'variants': ['realtime'], 'trained_on': 'noise', 'metrics': {}}

    def write(path: str | None, sha256: str | None = None, **fields: object) -> None:
        url = path and (path if path.startswith('http') else server + path)
        changed = {**entry, 'url': url, 'sha256': sha256, **fields}
        network = {**known['raft_stereo'], 'page': PAGE, 'checkpoints': {'realtime': changed}}
        file = folder / 'catalogue.yaml'
        file.write_text(yaml.safe_dump({'sgbm': known['sgbm'], 'raft_stereo': network}))
        monkeypatch.setattr(catalogue, '_FILE', file)
        catalogue.catalogue.cache_clear()

    yield write
    catalogue.catalogue.cache_clear()


@pytest.mark.parametrize('digits', [0, 12, 64])
def test_fetch(nndepth, folder, publish, checkpoint, digits):
    digest = hashlib.sha256(checkpoint).hexdigest()
    publish('/file', digest[:digits] or None)
    code, out, err = nndepth('weights', 'fetch', 'raft_stereo/realtime')
    path = folder / 'cache/weights/raft_stereo/realtime.safetensors'
    assert (code, err) == (0, '')
    assert out.splitlines() == [
        f'raft_stereo/realtime is stored, made from {NAME}',
        '  fits: raft_stereo realtime',
        '  known file: trained on noise',
        '  weights licence: not stated',
        '  commercial use: not stated',
        f'  sha256: {digest}',
        f'  path: {path}',
    ]
    assert describe(path).source_sha256 == digest
    assert [file for file in (folder / 'cache').rglob('*') if file.is_file()] == [path]

    publish(None)  # what is in the store is not asked for again
    assert nndepth('weights', 'fetch', 'raft_stereo/realtime') == (0, out, '')
    assert nndepth('weights', 'path', 'raft_stereo/realtime') == (0, f'{path}\n', '')
    assert nndepth('weights', 'path', 'raft_stereo') == (0, f'{path}\n', '')


def test_fetch_out_of_an_archive(nndepth, publish, checkpoint):
    publish('/zip', hashlib.sha256(checkpoint).hexdigest(), archive=True)
    assert nndepth('weights', 'fetch', 'raft_stereo/realtime')[0] == 0
    assert store.stored_weights('raft_stereo', 'realtime', 'realtime')


BAD_DOWNLOADS = {
    'no direct link to it is known': (None, {}),
    'its address answers with a web page': ('/login', {}),
    'HTTP Error 404: Not Found': ('/nowhere', {}),
    'bytes came': ('/short', {}),
    'sha256 ': ('/file', {'sha256': 64 * '0'}),
    'the archive at its address does not hold it': ('/zip', {'archive': True, 'file': 'b.pth'}),
    'the archive at its address cannot be unpacked': ('/cut', {'archive': True}),
    'its server cannot be reached ([Errno 111]': (
        'http://127.0.0.1:1/file',
        {},
    ),
}


@pytest.mark.parametrize(('words', 'entry'), BAD_DOWNLOADS.items())
def test_a_download_that_fails_says_how_to_go_on(nndepth, folder, publish, words, entry):
    path, fields = entry
    publish(path, **fields)
    code, out, err = nndepth('weights', 'fetch', 'raft_stereo/realtime')
    file = fields.get('file', NAME)
    assert (code, out) == (2, '')
    assert err.startswith('nndepth: error: raft_stereo/realtime was not downloaded: ')
    assert words in err
    assert err.endswith(
        f'Get {file} by hand from {PAGE} and run: nndepth weights import {file} '
        '--model raft_stereo --variant realtime --name realtime\n'
    )
    assert [*(folder / 'cache').iterdir()] == []


def test_fetched_files_are_checked_against_the_network(nndepth, folder, publish):
    publish('/cut')
    code, _, err = nndepth('weights', 'fetch', 'raft_stereo/realtime')
    assert code == 2
    assert 'what came begins like a ZIP archive' in err
    assert [*(folder / 'cache').iterdir()] == []


def test_fetch_without_torch_downloads_nothing(nndepth, publish, monkeypatch):
    publish('/nowhere')
    monkeypatch.setattr(importing, 'find_spec', lambda name: None)
    code, _, err = nndepth('weights', 'fetch', 'raft_stereo/realtime')
    assert code == 2
    assert 'pip install "nndepth[torch]"' in err


def test_import_list_and_table(nndepth, folder, publish, checkpoint):
    publish(None, '0' * 64)
    (folder / 'here' / 'trained.pth').write_bytes(checkpoint)
    code, out, err = nndepth('weights', 'import', 'trained.pth', '--model', 'raft_stereo')
    assert (code, err) == (0, '')
    assert out.splitlines()[:5] == [
        'raft_stereo/trained is stored, made from trained.pth',
        '  fits: raft_stereo realtime',
        '  known file: no, it is not in the catalogue',
        '  weights licence: unknown',
        '  commercial use: not stated',
    ]
    digest = hashlib.sha256(checkpoint).hexdigest()
    (folder / 'here' / NAME).write_bytes(checkpoint)
    _, out, _ = nndepth('weights', 'import', NAME, '--name', 'trained')
    assert '  known file: no, though called like raft_stereo/realtime\n' in out
    assert nndepth('weights', 'import', 'trained.pth', '--model', 'raft_stereo')[0] == 0
    _, out, _ = nndepth('weights', 'list')
    rows = [line.split() for line in out.splitlines()]
    assert rows[1] == [
        'raft_stereo/realtime', 'realtime', NAME, '-', 'not', 'stated', 'not', 'stated', 12 * '0',
        'by', 'hand',
    ]  # fmt: skip
    assert rows[2] == [
        'raft_stereo/trained', 'realtime', 'trained.pth', '32.4', 'unknown', 'not', 'stated',
        digest[:12], 'stored',
    ]  # fmt: skip

    listed = json.loads(nndepth('weights', 'list', '--json')[1])
    assert [entry['name'] for entry in listed['known']] == ['realtime']
    assert listed['stored'][0]['id'] == 'raft_stereo/trained'
    assert listed['stored'][0]['path'].endswith('weights/raft_stereo/trained.safetensors')

    row = next(line for line in nndepth('models')[1].splitlines() if 'realtime' in line)
    assert row.split()[-2:] == ['realtime', 'trained*']
    assert 'raft_stereo/trained: stored in ' in nndepth('models', 'raft_stereo')[1]


def test_settings_ride_with_the_weights(nndepth, folder, publish, checkpoint):
    publish('/file', settings={'iterations': 9})
    code, out, _ = nndepth('weights', 'fetch', 'raft_stereo/realtime')
    assert (code, out.splitlines()[1]) == (0, '  fits: raft_stereo realtime (iterations=9)')
    (folder / 'here' / 'mine.pth').write_bytes(checkpoint)
    code, out, _ = nndepth(
        'weights', 'import', 'mine.pth', '--set', 'iterations=5', '--set', 'radius=4'
    )
    assert code == 0
    assert out.splitlines()[1] == '  fits: raft_stereo realtime (iterations=5 radius=4)'
    listed = json.loads(nndepth('weights', 'list', '--json')[1])
    assert listed['known'][0]['settings'] == {'iterations': 9}
    settings = [entry['description']['settings'] for entry in listed['stored']]
    assert settings == [{'iterations': 5, 'radius': 4}, {'iterations': 9}]
    assert 'realtime (iterations=9)' in nndepth('weights', 'list')[1]
    assert '  settings: iterations=9\n' in nndepth('models', 'raft_stereo')[1]


def test_remove(nndepth, folder, checkpoint):
    (folder / 'here' / 'mine.pth').write_bytes(checkpoint)
    nndepth('weights', 'import', 'mine.pth', '--model', 'raft_stereo')
    path = folder / 'cache/weights/raft_stereo/mine.safetensors'
    expected = f'raft_stereo/mine is removed from the store\n  {path}\n'
    assert nndepth('weights', 'remove', 'raft_stereo/mine') == (0, expected, '')
    assert 'raft_stereo/mine' not in nndepth('weights', 'list')[1]


def test_models(nndepth):
    code, out, _ = nndepth('models')
    rows = {tuple(line.split()[:2]): line for line in out.splitlines()}
    assert code == 0
    assert {('sgbm', '-'), ('crestereo', 'cascade'), ('light_stereo', 'h')} <= set(rows)
    assert rows['raft_stereo', 'base'].split()[2:11] == [
        '11.12', 'M', '1671.1', '0.79', '-', '1.82', '4.74', '2.44', 'MIT',
    ]  # fmt: skip
    assert 'academic only' in rows['light_stereo', 's']

    (network,) = json.loads(nndepth('models', 'light_stereo', '--json')[1])
    assert network['variants']['s']['figures']['scene_flow_epe'] == 0.73
    assert network['variants']['s']['stored'] == []
    assert network['checkpoints']['s_kitti']['size'] == 14159749
    assert [entry['name'] for entry in json.loads(nndepth('models', '--json')[1])] == [
        *catalogue.catalogue()
    ]

    _, out, _ = nndepth('models', 'raft_stereo')
    assert 'paper: https://arxiv.org/abs/2109.07547' in out
    assert 'raft_stereo/middlebury: raftstereo-middlebury.pth\n  fits: base\n' in out


@pytest.mark.parametrize(
    ('words', 'arguments'),
    [
        ("model 'raft' is unknown", 'models raft'),
        ('nothing.pth does not exist', 'weights import nothing.pth --model raft_stereo'),
        ("model 'sgbm' is unknown", 'weights import nothing.pth --model sgbm'),
        ("'raft_stereo' is not in the catalogue", 'weights fetch raft_stereo'),
        ("model 'raft' is unknown", 'weights fetch raft/middlebury'),
        ('run `nndepth weights fetch raft_stereo/rvc`', 'weights path raft_stereo/rvc'),
        ('see `nndepth weights list`', 'weights path raft_stereo/mine'),
        ('see `nndepth weights list`', 'weights remove raft_stereo/mine'),
        ("model 'raft' is unknown", 'weights path raft'),
    ],
)
def test_wrong_calls(nndepth, words, arguments):
    code, out, err = nndepth(*arguments.split())
    assert (code, out) == (2, '')
    assert err.startswith('nndepth: error: ')
    assert words in err
    assert err.count('\n') == 1


@pytest.mark.parametrize('arguments', ['weights', 'weights import', 'weights fetch'])
def test_incomplete_calls(nndepth, arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments.split())
    assert stop.value.code == 2
