"""A Hugging Face hub on this machine, which answers the routes that huggingface_hub asks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

COMMIT = 40 * 'c'


@dataclass
class Repository:
    """What lies in a repository of the hub, and how it misbehaves.

    Attributes:
        files: content by name.
        license: what its card states.
        revisions: names of its one commit.
        error: status and headers that answer every request for it.
        cut: after how many bytes the first answer with a file breaks off.
        etags: hashes that files are said to have in place of theirs.
    """

    files: dict[str, bytes]
    license: str | None = None
    revisions: tuple[str, ...] = ('main', COMMIT)
    error: tuple[int, dict[str, str]] | None = None
    cut: int | None = None
    etags: dict[str, str] = field(default_factory=dict)


class FakeHub:
    """Repositories by name, and the requests that came: method, path, first byte asked for."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[tuple[str, str, int]] = []
        self.wait: Callable[[], object] = lambda: None
        """Called where an answer breaks off, before the connection ends."""
        self.url = ''

    @property
    def downloads(self) -> list[tuple[str, int]]:
        """File and first byte of each request for content."""
        return [
            (path.rpartition('/')[2], start)
            for method, path, start in self.requests
            if method == 'GET' and '/resolve/' in path
        ]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        start = int(handler.headers.get('Range', 'bytes=0-').split('=')[1].split('-')[0])
        path = handler.path.partition('?')[0]
        self.requests.append((handler.command, path, start))
        name = '/'.join(path.removeprefix('/api/models').split('/')[1:3])
        rest = path.partition(name)[2].strip('/').split('/', 2)
        repository = self.repositories.get(name)
        if repository is None:
            _send(handler, 404, {'X-Error-Code': 'RepoNotFound'})
        elif repository.error:
            _send(handler, *repository.error)
        elif rest[0] in ('revision', 'resolve') and rest[1] not in repository.revisions:
            _send(handler, 404, {'X-Error-Code': 'RevisionNotFound'})
        elif rest[0] == 'resolve':
            self._send_file(handler, repository, rest[2], start)
        else:
            about = {
                'id': name,
                'sha': COMMIT,
                'siblings': [{'rfilename': file} for file in repository.files],
                'cardData': {'license': repository.license} if repository.license else {},
            }
            _send(handler, 200, {'Content-Type': 'application/json'}, json.dumps(about).encode())

    def _send_file(
        self, handler: BaseHTTPRequestHandler, repository: Repository, file: str, start: int
    ) -> None:
        content = repository.files[file]
        digest = hashlib.sha256(content).hexdigest()
        headers = {'ETag': f'"{repository.etags.get(file, digest)}"', 'X-Repo-Commit': COMMIT}
        if start:
            headers['Content-Range'] = f'bytes {start}-{len(content) - 1}/{len(content)}'
        end = len(content)
        if handler.command == 'GET' and repository.cut is not None and len(content) > 1000:
            end, repository.cut = repository.cut, None
        length = {'Content-Length': str(len(content) - start)}
        _send(handler, 206 if start else 200, {**headers, **length}, content[start:end])
        if end < len(content):
            handler.wfile.flush()
            self.wait()
            handler.close_connection = True


def _send(
    handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes = b''
) -> None:
    handler.send_response(status)
    for item in {'Content-Length': str(len(body)), **headers}.items():
        handler.send_header(*item)
    handler.end_headers()
    if handler.command == 'GET':
        handler.wfile.write(body)


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """Serve repositories on a free port; the address is `url`."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def do_GET(self) -> None:
            hub.answer(self)

        def do_HEAD(self) -> None:
            hub.answer(self)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    hub.url = f'http://127.0.0.1:{server.server_port}'
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def asked_hub(cache: Path, monkeypatch: Any) -> Iterator[FakeHub]:
    """A hub that huggingface_hub asks in place of the true one, with its cache in a folder."""
    import huggingface_hub
    from huggingface_hub import constants

    monkeypatch.setenv('no_proxy', '127.0.0.1')
    with fake_hub() as hub:
        monkeypatch.setattr(constants, 'ENDPOINT', hub.url)
        template = hub.url + '/{repo_id}/resolve/{revision}/{filename}'
        monkeypatch.setattr(constants, 'HUGGINGFACE_CO_URL_TEMPLATE', template)
        monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(cache))
        yield hub
        huggingface_hub.close_session()
