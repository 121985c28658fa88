"""What commands say on standard error has one form, whoever says it."""

import logging

from nndepth_core import cli
from nndepth_core.cli import models, workers
from nndepth_core.cli.saying import LogHandler
from nndepth_core.testing.commands import run_command


def test_what_libraries_log_is_said_as_warnings_of_nndepth(capsys, monkeypatch):
    def run(_) -> int:
        for name in ('nndepth_core.engines', 'another.library'):
            logging.getLogger(name).warning('%s is empty;\ntorch takes its place', 'a.onnx')
        logging.getLogger('nndepth_core.engines').error('no good')
        logging.getLogger('nndepth_core.engines').info('not to be said')
        return 0

    monkeypatch.setattr(models, 'main', run)
    handlers = [*logging.getLogger().handlers]
    code, out, err = run_command(capsys, 'models')
    assert (code, out) == (0, '')
    assert err.splitlines() == [
        'nndepth: warning: a.onnx is empty; torch takes its place',
        'nndepth: warning: a.onnx is empty; torch takes its place',
        'nndepth: error: no good',
    ]
    assert logging.getLogger().handlers == handlers


def test_the_log_ends_with_a_command_that_fails(capsys, monkeypatch):
    monkeypatch.setattr(models, 'main', lambda _: {}['missing'])
    handlers = [*logging.getLogger().handlers]
    assert cli.main(['models']) == 70
    assert logging.getLogger().handlers == handlers


def test_workers_say_once_what_is_logged_in_them(capsys, monkeypatch, tmp_path):
    root = logging.getLogger()
    monkeypatch.setattr(root, 'handlers', [*root.handlers])
    monkeypatch.setattr(workers.cv2, 'setNumThreads', lambda _: None)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        workers.in_worker(type('Args', (), {'worker_threads': 1}), str(tmp_path))
    assert sum(isinstance(handler, LogHandler) for handler in root.handlers) == 1
    logging.getLogger('nndepth_core.engines').warning('odd')
    assert capsys.readouterr().err == 'nndepth: warning: odd\n'
