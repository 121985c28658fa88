"""`nndepth evaluate` by several processes gives what one process gives."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from test_cli_evaluate import SHIFT, write_pairs

from nndepth_core import io
from nndepth_core.cli import main
from nndepth_core.evaluation import parallel
from nndepth_core.evaluation.evaluate import Measured, SampleScore

MODELS = ('sgbm:max-disparity=32', 'sgbm:processing-size=60x0')


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """Pairs of which some cannot be used, some are implausible, and the last ones are dark."""
    pytest.importorskip('jsonargparse')
    monkeypatch.chdir(tmp_path)
    root = tmp_path / 'pairs'
    write_pairs(root, 14)
    (root / 'left' / '1.png').write_bytes(b'no picture')
    io.write_pfm(root / 'disparity' / '3.pfm', np.full((60, 120), np.nan, np.float32))
    io.write_pfm(root / 'disparity' / '5.pfm', np.full((60, 120), 4 * SHIFT, np.float32))
    for index in (6, 7, 12):
        for side in ('left', 'right'):
            dark = np.full((60, 120, 3), index, np.uint8)
            io.write_image(root / side / f'{index}.png', dark)
    return root


def _timeless(value):
    if isinstance(value, dict):
        return {key: _timeless(it) for key, it in value.items() if key != 'milliseconds'}
    return [*map(_timeless, value)] if isinstance(value, list) else value


def _run(capsys, name: str, *options: str) -> tuple:
    files = ('--json', f'{name}.json', '--report', f'{name}.html', '--pictures', '3')
    code = main(['evaluate', *MODELS, '--data', 'pairs', *files, *options])
    printed = capsys.readouterr()
    table = [line.split()[:-2] for line in printed.out.splitlines()]
    page = re.sub(r'<td>[\d.]+</td>', '', Path(f'{name}.html').read_text())
    return code, table, printed.err, _timeless(json.loads(Path(f'{name}.json').read_text())), page


@pytest.mark.parametrize(('options', 'code'), [((), 1), (('--limit', '5'), 0)], ids=['all', 'few'])
def test_workers_give_what_one_process_gives(data, capsys, options, code):
    alone = _run(capsys, 'alone', *options)
    assert alone[0] == code
    assert alone[3]['findings']
    code, table, errors, report, page = _run(capsys, 'workers', '--workers', '2', *options)
    assert ' '.join(table.pop()).startswith('times are of 2 workers at once, which make')
    assert page.count('times are of 2 workers at once') == 1
    page = re.sub('<p>times are of.*?</p>', '', page)
    assert report.pop('workers') == 2
    assert alone[3].pop('workers') == 1
    assert (code, table, errors, report, page) == alone


def test_the_first_sample_of_each_size_of_a_worker_is_measured_warm(monkeypatch):
    calls: list[int] = []

    def measure(models, dataset, measures, index, closely):
        calls.append(index)
        size = (8, 8) if index < 2 else (16, 8)
        return Measured(index, '', scores=[SampleScore('', size, {}, len(calls))])

    monkeypatch.setattr(parallel, 'measure_sample', measure)

    def make(job):
        return None, None, None

    found = parallel._measure(make, 'job', [0, 1]) + parallel._measure(make, 'job', [2, 3])
    assert calls == [0, 0, 1, 2, 2, 3]
    assert [it.scores[0].milliseconds for it in found] == [2, 3, 5, 6]


def test_strict_stops_at_the_same_sample(data, capsys):
    arguments = ['evaluate', *MODELS, '--data', 'pairs', '--strict']
    errors = []
    for options in ((), ('--workers', '2')):
        assert main([*arguments, *options]) == 2
        errors.append(capsys.readouterr().err)
    assert errors[0] == errors[1] != ''


def test_wrong_arguments_are_told_as_without_workers(data, capsys):
    errors = []
    for options in ((), ('--workers', '1')):
        assert main(['evaluate', 'sgbm', 'nothing', '--data', 'pairs', *options]) == 2
        errors.append(capsys.readouterr().err)
    assert errors[0] == errors[1] != ''
