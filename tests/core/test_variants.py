"""Variants that share their weights: which one runs, and what settings make of it."""

import json
import logging
import shutil
from inspect import signature

import cv2
import numpy as np
import pytest

pytest.importorskip('onnxruntime')

from nndepth_core import StereoEstimator
from nndepth_core.engines import DEFAULT_NETWORK, EngineError, create_engine
from nndepth_core.engines.request import find_request
from nndepth_core.models.declared import DECLARED, NANO_STEREO
from nndepth_core.testing.commands import run_command
from nndepth_core.weights.store import stored_weights

NAMES = [f'{DEFAULT_NETWORK}-{variant}' for variant in NANO_STEREO.variants]


@pytest.fixture
def saved(tmp_path):
    """A folder of the fine variant."""
    pytest.importorskip('torch')
    pytest.importorskip('huggingface_hub')
    folder = tmp_path / 'saved'
    StereoEstimator.load(f'{DEFAULT_NETWORK}-fine', device='cpu').save_pretrained(folder)
    assert json.loads((folder / 'config.json').read_text())['variant'] == 'fine'
    return folder


@pytest.fixture
def pair(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    for name, shift in (('left.png', 0), ('right.png', -3)):
        assert cv2.imwrite(name, np.roll(noise, shift, 1))
    return 'left.png', 'right.png'


# --- the variant that weights tell ---------------------------------------------------------------


@pytest.mark.parametrize(
    ('model', 'title'),
    [('auto', NAMES[2]), (DEFAULT_NETWORK, NAMES[2]), (NAMES[1], NAMES[1]), (NAMES[0], NAMES[0])],
)
def test_a_folder_runs_as_its_variant_unless_another_one_is_named(saved, model, title):
    engine = create_engine(model, device='cpu', weights=saved)
    assert (engine.spec.title, engine.name) == (title, 'onnxruntime')
    found = StereoEstimator.from_pretrained(saved, model='' if model == 'auto' else model)
    assert found.engine.spec.title == title


def test_stored_weights_run_as_the_variant_that_they_were_saved_as(saved, capsys):
    code, _, error = run_command(capsys, 'weights', 'import', saved, '--name', 'mine')
    assert (code, error) == (0, '')
    for weights in ('', 'mine', f'{DEFAULT_NETWORK}/mine'):
        assert create_engine('auto', device='cpu', weights=weights).spec.variant == 'fine'
    assert create_engine(NAMES[1], device='cpu', weights='mine').spec.variant == 'small'
    assert create_engine('auto', device='cpu', weights='default').spec.variant == 'base'


def test_named_weights_of_another_variant_than_the_first_are_found(tmp_path):
    torch = pytest.importorskip('torch')
    from nndepth_core.models import create_model
    from nndepth_core.weights.importing import import_weights

    network = create_model('light_stereo', 'm')
    torch.save(network.state_dict(), tmp_path / 'medium.pth')
    path = import_weights(tmp_path / 'medium.pth', 'light_stereo')
    for weights in (path, 'medium'):
        assert find_request('light_stereo', weights).title == 'light_stereo-m'
    with pytest.raises(ValueError, match='neither a file nor stored for light_stereo-s'):
        find_request('light_stereo-s', 'medium')


# --- settings ------------------------------------------------------------------------------------


def test_what_is_declared_is_what_the_network_has():
    pytest.importorskip('torch')
    from nndepth_core.models import create_model, network_class

    for name, declared in DECLARED.items():
        parameters = signature(network_class(name)).parameters
        for setting, value in declared.defaults.items():
            assert parameters[setting].default == value
        for variant in declared.variants:
            settings = declared.settings(variant)
            assert settings.keys() == declared.choices.keys()
            made = create_model(name, variant)
            assert {x: getattr(made, x) for x in settings} == settings


@pytest.mark.parametrize(
    ('model', 'settings', 'title'),
    [
        ('auto', 'max_disparity=192', NAMES[0]),
        ('auto', 'max_disparity=192.0 looks=[1.0]', NAMES[0]),
        ('auto', 'looks=[0.5]', NAMES[1]),
        ('auto', 'looks=[1, 2]', NAMES[2]),
        (NAMES[2], 'max_disparity=192', NAMES[2]),
        (NAMES[2], 'looks=[1]', NAMES[0]),
    ],
)
def test_settings_that_a_bundled_export_has_take_it(no_torch, model, settings, title):
    engine = create_engine(model, device='cpu', network_settings=settings)
    assert (engine.name, engine.spec.title) == ('onnxruntime', title)


def test_stored_settings_count_too(saved):
    folder = saved.with_name('wide')
    wide = {'network_settings': 'max_disparity=384'}
    StereoEstimator.load(NAMES[2], device='cpu', options=wide).save_pretrained(folder)
    assert find_request(DEFAULT_NETWORK, folder, 'max_disparity=384').settings == ''
    assert find_request(DEFAULT_NETWORK, folder).origin.settings == {'max_disparity': 384}
    narrow = find_request(DEFAULT_NETWORK, folder, 'max_disparity=192')
    assert (narrow.title, narrow.settings, narrow.origin.settings) == (NAMES[2], '', {})
    kept = find_request(NAMES[2], '', 'looks=[1,2] max_disparity=384.0')
    assert kept.settings == 'max_disparity=384'


def test_settings_of_other_networks_that_are_their_own_are_left_out():
    pytest.importorskip('torch')
    assert find_request('scv_stereo', 'random', 'matches=8').settings == ''
    assert find_request('scv_stereo', 'random', 'matches=08 iterations=3').settings == (
        'iterations=3'
    )


LOOKS = r'give one of \[1\], \[0.5\], \[0.5, 1\], \[1, 2\], \[0.5, 1, 2\]'


@pytest.mark.parametrize('engine', ['auto', 'onnxruntime', 'torch'])
@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ('looks=[3]', rf'looks is \[3\]; {LOOKS}'),
        ('looks=[-1]', rf'looks is \[-1\]; {LOOKS}'),
        ('looks=true', rf'looks is True; {LOOKS}'),
        ('looks=[', rf"looks is '\['; {LOOKS}"),
        ('max_disparity=100', r'max_disparity is 100; give a multiple of 64 in 64\.\.1024'),
        ('max_disparity=2048', r'max_disparity is 2048; give a multiple of 64 in 64\.\.1024'),
        (
            'looks=[0.5, 1] looks=[1]',
            r'setting looks is given twice, \[0.5, 1\] and \[1\]; give it once',
        ),
    ],
)
def test_wrong_values_are_told_before_all_else(no_torch, engine, settings, words):
    with pytest.raises(EngineError, match=words):
        create_engine('auto', engine, 'cpu', network_settings=settings)


def test_a_missing_export_names_the_command_that_makes_it(no_torch):
    def command(**options):
        with pytest.raises(EngineError) as error:
            create_engine('auto', 'onnxruntime', 'cpu', **options)
        return str(error.value).split('`')[1]

    made = command(network_settings='looks=[0.5, 1] max_disparity=384', precision='fp16')
    assert made == (
        "nndepth export nano_stereo-base --set 'looks=[0.5,1]' --set max_disparity=384 "
        '--precision fp16'
    )
    made = command(weights='random', precision='int8')
    assert made == 'nndepth export nano_stereo-base --weights random --precision int8'
    with pytest.raises(EngineError, match='computes no bf16; choose fp32, fp16 or int8'):
        create_engine('auto', 'onnxruntime', 'cpu', precision='bf16')


def test_iterations_of_a_network_without_any_are_ignored_aloud(caplog):
    with caplog.at_level(logging.WARNING):
        engine = create_engine(NAMES[2], device='cpu', iterations=3)
    assert (engine.name, engine.spec.title, engine.iterations) == ('onnxruntime', NAMES[2], 0)
    told = f'iterations is 3 and {NAMES[2]} has none to choose; it has no effect'
    assert caplog.messages == [told]
    pytest.importorskip('torch')
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        create_engine(NAMES[1], 'torch', 'cpu', iterations=3)
    assert caplog.messages == [told.replace(NAMES[2], NAMES[1])]


# --- commands ------------------------------------------------------------------------------------


def test_infer_names_what_ran(pair, capsys):
    def run(*options):
        code, out, error = run_command(capsys, 'infer', *pair, '--json', *options)
        assert code == 0, error
        results = json.loads(out)
        return results['model'], results['network_settings'], results['engine']

    assert run() == (NAMES[0], '', 'onnxruntime')
    assert run('--model', NAMES[2], '--max-disparity', 192) == (NAMES[2], '', 'onnxruntime')
    assert run('--set', 'looks=[0.5]') == (NAMES[1], '', 'onnxruntime')
    pytest.importorskip('torch')
    told = 'looks=[0.5,1] max_disparity=64'
    assert run('--set', 'looks=[0.5, 1]', '--max-disparity', 64) == (NAMES[0], told, 'torch')


def test_infer_refuses_contradictions(pair, capsys):
    for options, words in (
        (
            ['--max-disparity', 384, '--set', 'max_disparity=192'],
            'setting --max-disparity is given twice, 192 and 384; give it once',
        ),
        (['--set', 'looks=[1]', '--set', 'looks=[0.5]'], 'looks is given twice, [1] and [0.5]'),
        (['--model', 'nano_stereo-'], "'nano_stereo-' names no variant; write one behind the -"),
        (
            ['--engine', 'onnxruntime', '--max-disparity', 384],
            'run `nndepth export nano_stereo-base --set max_disparity=384`, or',
        ),
        (
            ['--model', NAMES[1], '--processing-size', '48x32'],
            'nano_stereo-small needs at least 64x64',
        ),
    ):
        code, _, error = run_command(capsys, 'infer', *pair, *options)
        assert code != 0
        assert words in error
        assert error.count('\n') == 1


def test_models_shows_one_variant(capsys):
    _, every, _ = run_command(capsys, 'models', DEFAULT_NETWORK)
    _, fine, _ = run_command(capsys, 'models', NAMES[2])
    rows = [line.split()[:2] for line in every.splitlines() if line.startswith(DEFAULT_NETWORK)]
    assert rows[:3] == [[DEFAULT_NETWORK, variant] for variant in NANO_STEREO.variants]
    rows = [line.split()[:2] for line in fine.splitlines() if line.startswith(DEFAULT_NETWORK)]
    assert rows[0] == [DEFAULT_NETWORK, 'fine']
    assert rows[1][0] == 'nano_stereo/default:'
    assert '  from: the package' in fine.splitlines()
    _, text, _ = run_command(capsys, 'models', 'crestereo-cascade', '--json')
    assert [*json.loads(text)[0]['variants']] == ['cascade']
    code, _, error = run_command(capsys, 'models', 'nano_stereo-')
    assert (code, error.count('\n')) == (2, 1)
    assert 'names no variant' in error


def test_an_export_of_another_range_is_found(pair, capsys, caplog):
    """The range of the documentation: by torch, or as an export of one's own."""
    pytest.importorskip('onnxscript')
    code, out, error = run_command(
        capsys, 'export', NAMES[1], '--max-disparity', 64, '--json', '--iterations', 2
    )
    assert code == 0, error
    assert 'nano_stereo-small has none to choose' in caplog.text
    path = json.loads(out)['path']
    assert path.endswith('-max_disparity=64-fp32-v2.onnx')
    engine = create_engine(NAMES[1], 'onnxruntime', 'cpu', network_settings='max_disparity=64')
    assert engine.spec.value_range == (0.0, 64.0)
    shutil.copy(path, 'other.onnx')
    assert create_engine('other.onnx', device='cpu').spec.title == NAMES[1]


def test_exports_that_cannot_be_written_are_refused_first(tmp_path, monkeypatch, capsys):
    pytest.importorskip('onnxscript')
    monkeypatch.chdir(tmp_path)

    def said(*arguments):
        code, _, error = run_command(capsys, 'export', NAMES[2], *arguments)
        assert (code, error.count('\n')) == (2, 1)
        return error

    assert 'x.png does not end in .onnx, by which such files are known; give x.onnx' in said(
        'x.png'
    )
    (tmp_path / 'file').touch()
    monkeypatch.setenv('NNDEPTH_CACHE', str(tmp_path / 'file'))
    assert 'give OUT.onnx, or set NNDEPTH_CACHE to a folder with write access' in said()
    monkeypatch.delenv('NNDEPTH_CACHE')
    from nndepth_core.export import onnx as export

    def full(*_, **__):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(export, 'export_onnx', full)
    assert 'x.onnx cannot be written (No space left on device); make room, or give a file' in said(
        'x.onnx'
    )


def test_the_name_of_the_weights_of_the_package_is_left_out_of_commands():
    asked = find_request(NAMES[2])
    assert asked.weights == stored_weights(DEFAULT_NETWORK)
    assert asked.export_command('fp32', 3) == 'nndepth export nano_stereo-fine --iterations 3'
