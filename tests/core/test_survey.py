"""The survey of all networks: limits, going on after an end, and the file of figures."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from nndepth_core.benchmark import survey as surveying
from nndepth_core.benchmark.measure import Case, size_of_run
from nndepth_core.benchmark.survey import (
    LimitError,
    Limits,
    all_models,
    cases_of,
    run_limited,
    survey,
)
from nndepth_core.spec import ModelSpec, Preferred
from nndepth_core.weights.catalogue import catalogue
from nndepth_core.weights.measured import FILE, Measured, measured, read_measured, write_measured

SCRIPT = Path(__file__).parents[2] / 'scripts' / 'benchmark.py'
LIMITS = Limits(runs=1, run_seconds=1, seconds=60, memory_mib=4000)
ROW = {
    'model': 'light_stereo-s',
    'device': 'cpu',
    'engine': 'torch',
    'precision': 'fp32',
    'mode': 'eager',
    'size': '640x480',
    'threads': 1,
    'latency_ms': 500.0,
    'memory_mib': 200.5,
    'machine': 'a processor, 2 cores',
    'runtime': 'torch 2.13.0',
    'date': '2026-11-29',
    'nano_ms': 300.0,
}


def run_python(code, seconds=30.0, memory_mib=1000.0):
    return run_limited([sys.executable, '-c', code], 'given', seconds, memory_mib)


def test_a_program_keeps_to_its_limits():
    assert run_python('import time; time.sleep(.5); print(input())') == 'given\n'
    with pytest.raises(LimitError, match=r'took more than 0\.3 s'):
        run_python('import time; time.sleep(60)', seconds=0.3)
    with pytest.raises(LimitError, match=r'ended with 1: ValueError: broken'):
        run_python('raise ValueError("broken")')


def test_the_memory_of_children_counts():
    code = (
        'import subprocess, sys\n'
        'child = "x = bytearray(300 * 2**20); import time; time.sleep(60)"\n'
        'subprocess.run([sys.executable, "-c", child])'
    )
    with pytest.raises(LimitError, match=r'took \d+ MiB, more than 200'):
        run_python(code, memory_mib=200)


def test_every_network_and_every_engine_is_measured():
    pytest.importorskip('torch')
    cases = cases_of(all_models(), [(1280, 720), (640, 480)], (), 0)
    assert cases[0].size == (640, 480)
    assert {case.model for case in cases} == {
        'sgbm',
        *(f'{name}-{key}' for name, network in catalogue().items() for key in network.variants),
    }
    assert len({(case.model, case.engine, case.size) for case in cases}) == len(cases)
    assert all(case.threads >= 1 for case in cases)
    assert {case.engine for case in cases_of(all_models(), [(64, 64)], ('torch',), 1)} == {'torch'}


def test_models_of_one_task_can_be_chosen():
    assert {'nano_stereo-base', 'sgbm'} < {*all_models('stereo')}
    assert 'midas_small-base' in all_models('mono')
    assert {*all_models('stereo')} | {*all_models('mono')} == {*all_models()}
    assert not {*all_models('stereo')} & {*all_models('mono')}


@pytest.mark.parametrize(
    ('facts', 'size'),
    [
        ({'multiple': 32}, (640, 480)),
        ({'multiple': 32, 'placement': 'centre'}, (1280, 736)),
        ({'multiple': 14, 'preferred': Preferred(518, 'outside')}, (686, 518)),
        ({'multiple': 32, 'preferred': Preferred(256, 'inside')}, (256, 192)),
        ({'fixed_size': (384, 512)}, (512, 384)),
    ],
)
def test_a_model_is_measured_at_the_size_to_which_it_wants_images_resized(facts, size):
    spec = ModelSpec('net', inputs=('image',), output='depth', **facts)
    assert size_of_run(spec, (1280, 720) if size[0] == 1280 else (640, 480)) == size


def test_a_network_that_is_exported_for_it_tells_its_graph(tmp_path, monkeypatch):
    figures = {'parameters_m': 3.44, 'nodes': 390, 'export_difference': 1e-5}
    row = Measured(**ROW, **figures)
    path = tmp_path / 'measured.yaml'
    write_measured(path, [row, Measured(**{**ROW, 'engine': 'onnxruntime'})])
    assert read_measured(path)[1] == row
    assert path.read_text().count('"nodes"') == 1


def test_a_survey_goes_on_where_it_was(tmp_path, monkeypatch):
    tried = []

    def measure(case, limits):
        tried.append(case.model)
        if case.model == 'huge':
            raise LimitError('took 9 MiB, more than 8')
        if case.model == 'last' and len(tried) == 3:
            raise KeyboardInterrupt
        return {**ROW, 'model': case.model, 'size': '64x32'}

    monkeypatch.setattr(surveying, '_measure_apart', measure)
    cases = [Case(model, 'torch', (64, 32), threads=1) for model in ('small', 'huge', 'last')]
    path, told = tmp_path / 'survey.json', []

    def run(retry):
        return survey(cases, path, LIMITS, retry, lambda case, reason: told.append(reason))

    with pytest.raises(KeyboardInterrupt):
        run(False)
    kept = json.loads(path.read_text())
    assert [row['model'] for row in kept['measurements']] == ['small']
    assert kept['skipped'][0]['reason'] == 'took 9 MiB, more than 8'
    report = run(False)
    assert tried == ['small', 'huge', 'last', 'last']
    assert report == json.loads(path.read_text())
    assert [row['model'] for row in report['measurements']] == ['small', 'last']
    assert told == ['', 'took 9 MiB, more than 8', '', '', '']
    run(True)
    assert tried[4:] == ['huge']


def test_a_case_is_measured_beside_the_default_model(tmp_path):
    pytest.importorskip('torch')
    (case,) = cases_of(['sgbm'], [(64, 32)], (), 1)
    report = survey([case], tmp_path / 'survey.json', LIMITS, False, lambda *_: None)
    assert report['skipped'] == []
    (row,) = Measured.of_report(tmp_path / 'survey.json')
    assert (row.model, row.engine, row.size, row.threads) == ('sgbm', 'opencv', '64x32', 1)
    assert row.latency_ms > 0
    assert row.nano_ms > 0
    assert row.machine


def test_figures_are_kept_and_newer_ones_take_their_place(tmp_path):
    path = tmp_path / 'measured.yaml'
    other = Measured(**{**ROW, 'engine': 'onnxruntime', 'nano_ms': None})
    assert write_measured(path, [Measured(**ROW), other]) == 2
    assert set(read_measured(path)) == {Measured(**ROW), other}
    newer = Measured(**{**ROW, 'latency_ms': 400.0, 'date': '2026-11-30'})
    assert write_measured(path, [newer]) == 2
    assert set(read_measured(path)) == {newer, other}
    assert len(path.read_text().splitlines()) == path.read_text().count('#') + 2


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'device': 'tpu'}, 'choose one of cpu, gpu'),
        ({'latency_ms': 'fast'}, "latency_ms is 'fast'"),
        ({'speed': 3}, 'not whole'),
    ],
)
def test_wrong_figures_are_refused(tmp_path, change, words):
    path = tmp_path / 'report.json'
    path.write_text(json.dumps({'measurements': [{**ROW, **change}]}))
    with pytest.raises(ValueError, match=words):
        Measured.of_report(path)


def test_a_file_that_is_no_report_is_refused(tmp_path):
    path = tmp_path / 'report.json'
    path.write_text('[]')
    with pytest.raises(ValueError, match='holds no measurements'):
        Measured.of_report(path)


def test_the_script_keeps_the_figures_of_reports(tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location('benchmark', SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(script, 'MEASURED', tmp_path / 'measured.yaml')
    report = tmp_path / 'report.json'
    report.write_text(json.dumps({'measurements': [ROW]}))
    monkeypatch.setattr(sys, 'argv', ['benchmark.py', 'record', str(report)])
    assert script.main() == 0
    assert read_measured(tmp_path / 'measured.yaml') == (Measured(**ROW),)
    assert 'holds 1 measurements' in capsys.readouterr().out


def test_the_figures_of_the_package_are_of_models_that_exist():
    models = set(all_models())
    assert all(row.model in models for row in measured())
    assert read_measured(FILE) == measured()
