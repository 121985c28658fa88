"""The choice of a model: licences of every published checkpoint, latencies, the command."""

import json
import re

import pytest
from test_catalogue import UNPUBLISHED

from nndepth_core import cli
from nndepth_core.cli import models as command
from nndepth_core.engines import DEFAULT_NETWORK
from nndepth_core.weights import choice
from nndepth_core.weights.catalogue import catalogue, find_checkpoint
from nndepth_core.weights.choice import choose
from nndepth_core.weights.licenses import COMMERCIAL, commercial_use
from nndepth_core.weights.measured import Measured

CHECKPOINTS = [entry for network in catalogue().values() for entry in network.checkpoints.values()]
VARIANTS = [(name, key) for name, network in catalogue().items() for key in network.variants]
RESTRICTED = re.compile(r'non-?commercial|academic|research|\bNC\b|not stated|none|unknown', re.I)


def row(model, latency, engine='torch', **fields):
    values = {
        'device': 'cpu',
        'precision': 'fp32',
        'mode': 'eager',
        'size': '640x480',
        'threads': 2,
        'memory_mib': 100.0,
        'machine': 'a processor, 2 cores',
        'runtime': f'{engine} 1',
        'date': '2026-11-29',
    }
    return Measured(model=model, engine=engine, latency_ms=latency, **{**values, **fields})


ROWS = (
    row('sgbm', 20.0, 'opencv', runtime='opencv'),
    row('nano_stereo-base', 90.0),
    row('nano_stereo-base', 45.0, 'onnxruntime'),
    row('nano_stereo-base', 150.0, 'onnxruntime', size='1280x720'),
    row('nano_stereo-base', 1.5, device='gpu', mode='graph', precision='fp16', threads=0),
    row('light_stereo-s', 30.0),
    row('raft_stereo-base', 9000.0),
)


@pytest.mark.parametrize('entry', CHECKPOINTS, ids=lambda entry: entry.id)
def test_only_what_is_stated_to_be_free_is_commercial(entry):
    assert entry.commercial == (entry.license in COMMERCIAL)
    if entry.commercial:
        assert not RESTRICTED.search(entry.license)
        # others' weights come from data and teachers that nobody here could verify
        assert entry.caution or entry.model == DEFAULT_NETWORK
    else:
        assert RESTRICTED.search(entry.license), 'add the licence to COMMERCIAL or to this test'


@pytest.mark.parametrize(
    ('name', 'commercial'),
    [
        ('nano_stereo/default', True),
        ('midas_small/v21_256', True),
        ('metric3d/vit_small', False),
        ('moge2/vits_normal', True),
        ('depth_anything_3/metric_large', True),
        ('depth_anything_v2/small', True),
        ('depth_anything_v2/outdoor_small', True),
        ('depth_anything_v2/base', False),
        ('unidepth/v2_vits14', False),
        ('zoe_depth/nk', True),
        ('raft_stereo/middlebury', False),
        ('crestereo/eth3d', False),
        ('igev_stereo/sceneflow', False),
        ('rt_igev/kitti', False),
        ('las2/s', True),
        ('light_stereo/s_anything', False),
    ],
)
def test_licences(name, commercial):
    assert find_checkpoint(name).commercial == commercial


@pytest.mark.parametrize(('name', 'variant'), VARIANTS)
def test_published_latencies_say_where_they_come_from(name, variant):
    for latency in catalogue()[name].variants[variant].latencies:
        assert 0 < latency.ms < 1e5
        assert latency.device in ('cpu', 'gpu')
        assert latency.size is None or re.fullmatch(r'\d+x\d+', latency.size)
        assert latency.machine
        assert latency.source


def titles(offers):
    return [f'{offer.network.name}-{offer.variant}' for offer in offers]


def test_the_fastest_measured_figure_decides():
    offers, out = choose('cpu', commercial=True, max_ms=50, rows=ROWS)
    assert titles(offers) == ['sgbm-', 'nano_stereo-base', 'midas_small-base']
    sgbm, nano, midas = (offer.figure for offer in offers)
    assert (sgbm.ms, sgbm.machine) == (20, 'a processor, 2 cores (opencv, 2 threads)')
    assert (nano.ms, nano.basis, nano.size, nano.memory_mib) == (45, 'measured', '640x480', 100)
    assert nano.machine == 'a processor, 2 cores (onnxruntime 1, fp32, 2 threads)'
    assert (midas.basis, midas.size) == ('published', '256x256')
    assert sum(out.values()) + len(offers) == len(VARIANTS) + 1
    assert out['of unknown latency on a cpu'] >= 1  # Depth Anything, small


def test_models_without_published_weights_are_left_out():
    offers, out = choose('cpu', rows=ROWS)
    assert 'dcvnet-flow' in titles(offers)
    assert 'dcvnet-stereo' not in titles(offers)
    assert out['without published weights'] == len(UNPUBLISHED)


def test_slower_and_larger_models_are_left_out():
    offers, out = choose('cpu', max_ms=40, rows=ROWS)
    assert titles(offers) == ['sgbm-', 'light_stereo-s']
    assert out['slower than 40 ms'] == 3  # nano_stereo, raft_stereo, midas_small
    offers, _ = choose('cpu', max_ms=1e6, size='1280x720', rows=ROWS)
    assert titles(offers) == ['midas_small-base', 'nano_stereo-base']


def test_without_a_limit_unknown_latencies_come_last():
    offers, out = choose('gpu', rows=ROWS)
    figures = [offer.figure for offer in offers]
    known = [figure.ms for figure in figures if figure]
    assert known == sorted(known)
    assert figures.index(None) == len(known) < len(figures)
    assert figures[0].machine == 'a processor, 2 cores (torch 1, fp16, graph)'
    assert out == {'for the CPU only': 1, 'without published weights': len(UNPUBLISHED)}


def test_weights_that_do_not_fit_are_not_offered():
    offers, _ = choose('gpu', commercial=True, rows=ROWS)
    assert {entry.id for offer in offers for entry in offer.checkpoints} == {
        entry.id for entry in CHECKPOINTS if entry.commercial
    }


def test_cautions_are_of_what_may_be_used():
    offers, _ = choose('gpu', rows=ROWS)
    cautions = {title: offer.cautions for title, offer in zip(titles(offers), offers, strict=True)}
    assert len(cautions['midas_small-base']) == 1
    assert len(cautions['depth_anything_v2-small']) == 1
    assert cautions['depth_anything_v2-base'] == cautions['nano_stereo-base'] == ()


@pytest.fixture
def nndepth(monkeypatch, capsys):
    monkeypatch.setattr(choice, 'measured', lambda: ROWS)
    monkeypatch.setattr(command, 'measured', lambda: ROWS)

    def run(*arguments):
        code = cli.main(['models', *arguments])
        return code, *capsys.readouterr()

    return run


def test_the_command_lists_what_fits(nndepth):
    code, out, _ = nndepth('--for', 'cpu', '--license', 'commercial', '--max-ms', '50')
    assert code == 0
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == [
        'model',
        'sgbm',
        'nano_stereo',
        'midas_small',
    ]
    assert lines[1].split()[:6] == ['sgbm', '-', 'stereo', '20', '100', 'measured']
    assert 'caution, midas_small-base: MIT is the licence of the repository' in out
    assert re.search(r'left out: .*\d+ without weights under a licence for commercial use', out)
    assert 'no model fits' in nndepth('--for', 'cpu', '--max-ms', '1')[1]


def test_the_command_gives_json(nndepth):
    _, out, _ = nndepth('--for', 'gpu', '--license', 'commercial', '--max-ms', '2', '--json')
    assert json.loads(out) == [
        {
            'model': 'nano_stereo',
            'variant': 'base',
            'task': 'stereo',
            'figure': {
                'ms': 1.5,
                'memory_mib': 100.0,
                'basis': 'measured',
                'size': '640x480',
                'machine': 'a processor, 2 cores (torch 1, fp16, graph)',
            },
            'weights': {'default': 'Apache-2.0'},
            'commercial_use': {'default': 'allowed'},
            'cautions': [],
        }
    ]


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['--max-ms', '50'], 'need --for cpu or --for gpu'),
        (['--size', '640x480'], 'need --for cpu or --for gpu'),
        (['las2-x'], "las2 has no variant 'x'; choose one of s, m, l, h, las1"),
        (['raft_stereo', '--for', 'cpu'], 'leave out raft_stereo, or --for'),
        (['--for', 'cpu', '--max-ms', '-1'], 'max-ms is -1'),
        (
            ['--for', 'cpu', '--size', '3x3'],
            '3x3 was not measured; choose one of 1280x720, 640x480',
        ),
    ],
)
def test_wrong_calls_are_named(nndepth, arguments, words):
    code, out, err = nndepth(*arguments)
    assert (code, out) == (2, '')
    assert words in err


def test_a_network_may_be_named_with_its_variant(nndepth):
    code, out, _ = nndepth('las2-s')
    assert code == 0
    assert [x for x in out.splitlines() if x.startswith('las2/')] == ['las2/s: LAS2_S.pth']


@pytest.mark.parametrize(
    ('license', 'use'),
    [
        ('MIT', 'allowed'),
        ('CC BY-NC 4.0', 'forbidden'),
        ('academic only', 'forbidden'),
        ('not stated', 'not stated'),
        ('openrail', 'not stated'),
        (None, 'not stated'),
    ],
)
def test_commercial_use(license, use):
    assert commercial_use(license) == use
