"""The check of a GPU: its plan of steps, and the whole script on the CPU."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nndepth_core.benchmark.plan import Step, UnavailableError, run_plan
from nndepth_core.weights.catalogue import catalogue

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / 'scripts' / 'check_gpu.py'
NOT_NEEDED = (
    'accelerate',
    'jsonargparse',
    'onnx',
    'onnxruntime',
    'openvino',
    'rclpy',
    'safetensors',
    'tqdm',
    'transformers',
)
# What a machine without these packages does: they can neither be found nor imported.
WITHOUT = f"""
import importlib.util, sys

def missing(name):
    return name.partition('.')[0] in {NOT_NEEDED}

class Missing:
    def find_spec(self, name, path, target=None):
        if missing(name):
            raise ModuleNotFoundError(name=name)

sys.meta_path.insert(0, Missing())
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *package: (
    None if missing(name) else find_spec(name, *package)
)
"""
THEIRS = """
import torch

def make():
    def network(left, right):
        assert left.shape == right.shape == (1, 3, 64, 96)
        return [left[:, :1], left.mean(1, keepdim=True)]
    return network
"""


def answer(**figures):
    print('printed by a step')
    return figures


def fail():
    raise ValueError('this\nbreaks')


def lack():
    raise UnavailableError('no tool here')


def lack_memory():
    raise MemoryError('too much')


def die():
    os._exit(3)


def sleep():
    time.sleep(600)


def identify():
    return {'process': os.getpid()}


def make_step(name, call, budget=30.0, **arguments):
    return Step({'kind': name}, call, arguments, budget)


def test_no_step_spoils_the_others():
    reported = []
    steps = [
        make_step('first', answer, best=1),
        make_step('process', identify),
        make_step('broken', fail),
        make_step('lacking', lack),
        make_step('memory', lack_memory),
        make_step('same process', identify),
        make_step('slow', sleep, 0.2),
        make_step('dead', die),
        make_step('another process', identify),
    ]
    outcomes = run_plan(steps, 200, reported.append)
    assert reported == outcomes
    records = {record['kind']: record for record in (x.record() for x in outcomes)}
    assert (records['first']['state'], records['first']['best']) == ('done', 1)
    assert records['broken']['state'] == 'failed'
    assert records['broken']['reason'] == 'ValueError: this breaks'
    assert records['lacking']['reason'] == 'no tool here'
    assert records['memory']['reason'] == 'memory: too much'
    assert [records[name]['state'] for name in ('lacking', 'memory', 'slow')] == ['skipped'] * 3
    assert records['slow']['reason'] == 'took more than its 0 s'
    assert 'exit code 3' in records['dead']['reason']
    processes = [records[name]['process'] for name in ('process', 'same process')]
    assert processes[0] == processes[1] != records['another process']['process']


def test_steps_that_cannot_end_in_time_do_not_begin():
    outcomes = run_plan(
        [make_step('long', answer, 1000.0), make_step('short', answer, 20.0)], 60, lambda _: None
    )
    assert [outcome.state for outcome in outcomes] == ['skipped', 'done']
    assert outcomes[0].reason == 'no time was left, 60 s'


def start_script(folder, *arguments):
    (folder / 'sitecustomize.py').write_text(WITHOUT)
    (folder / 'theirs.py').write_text(THEIRS)
    return subprocess.Popen(
        [sys.executable, SCRIPT, '--out', folder / 'out.json', *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(folder)},
    )


def run_script(folder, *arguments):
    script = start_script(folder, *arguments)
    out, errors = script.communicate()
    return subprocess.CompletedProcess(script.args, script.returncode, out, errors)


def test_a_kill_loses_nothing(tmp_path):
    pytest.importorskip('torch')
    with start_script(tmp_path, '--dry', '--networks', 'nano_stereo') as script:
        for line in script.stderr:
            if 'golden nano_stereo-base done' in line:
                script.kill()
                break
    report = json.loads((tmp_path / 'out.json').read_text())
    assert report['machine']['cores'] >= 1
    assert (report['steps'][0]['kind'], report['steps'][0]['equal']) == ('golden', True)


def test_everything_on_the_cpu_without_other_packages(tmp_path):
    pytest.importorskip('torch')
    done = run_script(
        tmp_path, '--dry', '--official', f'light_stereo={tmp_path}:theirs:make', '--minutes', '5'
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / 'out.json').read_text())
    assert report['dry']
    assert report['measurements'] == []  # small sizes on the CPU are no figures to keep
    assert report['machine']['cores'] >= 1

    def found(kind, **labels):
        return [
            step
            for step in report['steps']
            if step['kind'] == kind and all(step[key] == value for key, value in labels.items())
        ]

    assert [step['kind'] for step in report['steps'][:2]] == ['golden'] * 2
    random, golden = found('golden')
    assert random['equal']
    assert golden['equal']
    assert golden['largest'] <= golden['allowed'] == 0.002
    assert random['weights'] == 'random, against the CPU'  # reading them needs safetensors
    assert all(0 < step['bf16_mean'] < 2 for step in found('precision'))
    assert all(step['p50_ms'] > 0 for step in found('latency', mode='eager', precision='fp32'))
    assert len(found('latency', mode='compiled', state='done')) == 2
    for step in found('latency', precision='fp16'):
        assert step['reason'].endswith('in fp16 needs a GPU')
    assert found('official', precision='fp32')[0]['p50_ms'] > 0
    assert all(step['steps_per_second'] > 0 for step in found('training'))
    assert {step['state'] for step in report['steps']} == {'done', 'skipped'}
    for kind in ('golden', 'latency', 'precision', 'official', 'training'):
        assert f'{kind}\nmodel ' in done.stdout
    assert 'latency light_stereo-s 96x64 graph fp16 skipped' in done.stdout


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['--networks', 'raft'], "network 'raft' is unknown"),
        (['--official', 'raft_stereo'], 'write NAME=PATH'),
        (['--official', 'raft_stereo=nowhere'], 'there is no folder nowhere'),
        (['--out', 'nowhere/report.json'], 'there is no folder nowhere'),
        (['--minutes', '0'], 'minutes is 0'),
        (['--minutes', 'nan'], 'minutes is nan'),
    ],
)
def test_wrong_options_are_named(tmp_path, arguments, words):
    done = run_script(tmp_path, '--dry', *arguments)
    assert done.returncode == 2
    assert words in done.stderr


def test_every_network_is_in_the_plan_and_the_default_comes_first(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, 'path', [*sys.path, str(SCRIPT.parent)])
    import check_gpu

    official = [f'raft_stereo={tmp_path}']
    arguments = check_gpu.argparse.Namespace(dry=False, networks='', official=official)
    steps = [step.labels for step in check_gpu.plan(arguments)]
    kinds = [labels['kind'] for labels in steps]
    variants = {f'{name}-{key}' for name, net in catalogue().items() for key in net.variants}
    for kind in ('golden', 'latency', 'precision'):
        assert {labels['model'] for labels in steps if labels['kind'] == kind} == variants
    assert kinds[0] == 'machine'
    assert steps[1]['model'] == steps[1 + len(variants)]['model'] == 'nano_stereo-base'
    sizes = ('640x480', '960x576', '1280x720')
    ways = {('graph', 'fp16'), ('eager', 'fp16'), ('eager', 'fp32'), ('compiled', 'fp16')}
    for model in ('nano_stereo-base', 'light_stereo-s', 'raft_stereo-base'):
        measured = {
            (labels['size'], labels['mode'], labels['precision'])
            for labels in steps
            if labels['kind'] == 'latency' and labels['model'] == model
        }
        assert measured == {(size, *way) for size in sizes for way in ways}
    assert kinds.count('official') == 2 * len(sizes)
