"""ONNX files of others: contracts are declared, recognised or refused, not guessed in silence."""

import logging

import numpy as np
import pytest
from pairs import stereo

from nndepth_core import StereoEstimator, cli, io
from nndepth_core.engines import EngineError, create_engine, memory
from nndepth_core.engines.contract_check import SHIFTS, stepped_pair

pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')

import foreign

MEAN, DEVIATION = foreign.IMAGENET
EXPECTED = {
    '0,255': {},
    '0,1': {'gain': 1 / 255},
    '-1,1': {'gain': 2 / 255, 'offset': -1},
    'imagenet': {'gain': 1 / (255 * DEVIATION), 'offset': -MEAN / DEVIATION},
}


def load(path, **declared):
    engine = create_engine(str(path), device='cpu', threads=1, **declared)
    engine.self_test()
    return engine


def assert_right(engine) -> None:
    """Both halves of a pair are found, at the size of the file or at another one."""
    height, width = engine.spec.fixed_size or (96, 160)
    left, right = (image[0] for image in stepped_pair(height, width))
    disparity = StereoEstimator(engine)(left, right).disparity
    for half, shift in zip(np.split(disparity, 2), SHIFTS, strict=True):
        inside = half[height // 8 : -height // 8, width // 4 : -width // 8]
        assert np.mean(inside == shift) > 0.99


# --- ranges, signs and scales --------------------------------------------------------------------


@pytest.mark.parametrize('name', EXPECTED)
def test_ranges_are_given_as_declared(tmp_path, name):
    path = foreign.two_images(tmp_path / 'model.onnx', **EXPECTED[name])
    option = 'normalize' if name == 'imagenet' else 'input_range'
    assert_right(load(path, **{option: name}))


@pytest.mark.parametrize('name', ['0,1', '-1,1', 'imagenet'])
def test_a_wrong_range_is_refused_with_the_options_that_help(tmp_path, name):
    path = foreign.two_images(tmp_path / 'model.onnx', **EXPECTED[name])
    option = 'normalize' if name == 'imagenet' else 'input_range'
    with pytest.raises(
        EngineError, match=r'it finds disparities of .* where .* 8 and 16'
    ) as caught:
        load(path)
    assert f'"{option}: {name}"' in str(caught.value)
    assert f'write this into {tmp_path / "model.yaml"}' in str(caught.value)
    assert '"input_range: 0,255"' not in str(caught.value)


@pytest.mark.parametrize(
    ('graph', 'cure'),
    [
        ({'factor': -1}, {'disparity_sign': 'negative'}),
        ({'factor': 0.25}, {'disparity_scale': '4'}),
        ({'factor': 1 / 320}, {'disparity_scale': '320'}),
        (
            {'factor': -2, 'gain': 1 / 255},
            {'input_range': '0,1', 'disparity_sign': 'negative', 'disparity_scale': '0.5'},
        ),
        ({'names': ('a', 'b'), 'right_first': True}, {'inputs': 'a,b'}),
    ],
    ids=lambda value: '-'.join(value),
)
def test_the_cure_that_is_named_cures(tmp_path, graph, cure):
    path = foreign.two_images(tmp_path / 'model.onnx', **graph)
    with pytest.raises(EngineError, match=r'model.onnx: it finds disparities of') as caught:
        load(path)
    named = ' and '.join(f'"{name}: {value}"' for name, value in cure.items())
    assert f'it finds these with {named}' in str(caught.value)
    assert_right(load(path, **cure))


def test_what_no_contract_makes_right_is_refused(tmp_path):
    path = foreign.two_images(tmp_path / 'model.onnx', factor=0)
    with pytest.raises(EngineError, match=r'nothing better with .*"self_check: false" there'):
        load(path)
    (tmp_path / 'model.yaml').write_text('self_check: false')
    load(path)


def test_what_is_no_number_is_refused(tmp_path):
    path = foreign.two_images(tmp_path / 'model.onnx', factor=np.nan)
    with pytest.raises(EngineError, match=r'model.onnx: it gives no number anywhere'):
        load(path)


def test_an_undeclared_range_is_said(tmp_path, caplog):
    path = foreign.two_images(tmp_path / 'model.onnx')
    with caplog.at_level(logging.WARNING):
        load(path)
    assert (
        'in 0..255 (assumed, since nothing says so), and gives positive disparity' in caplog.text
    )
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        load(path, input_range='0,255')
    assert not caplog.records


def test_channels_in_the_order_of_opencv(tmp_path):
    """The graph looks at its last channel alone; only blue has a texture."""
    path = foreign.two_images(tmp_path / 'model.onnx')
    pair = [image.copy() for image in stepped_pair(96, 160)]
    for image in pair:
        image[..., :2] = 0
    for channels, texture in (('rgb', True), ('bgr', False)):
        disparity = load(path, channels=channels).run(stereo(*pair))['disparity'][0]
        assert (np.median(disparity[64:, 40:140]) == SHIFTS[1]) == texture


# --- public exports ------------------------------------------------------------------------------


@pytest.mark.parametrize('channels', [2, 6])
@pytest.mark.parametrize('last', [False, True])
def test_hitnet_takes_a_stacked_pair(tmp_path, channels, last):
    path = foreign.hitnet(tmp_path / 'model.onnx', channels, last=last, secondary=channels == 6)
    engine = load(path)
    assert engine.contract.preset == 'hitnet'
    assert engine.spec.fixed_size == (96, 160)
    assert_right(engine)


def test_what_is_declared_goes_before_what_is_recognised(tmp_path):
    path = foreign.hitnet(tmp_path / 'model.onnx', 2)
    engine = load(path, channels='grey')
    assert (engine.contract.preset, engine.contract.input_range) == ('hitnet', (0, 1))
    with pytest.raises(EngineError, match='it finds these with "input_range: 0,1"'):
        load(path, input_range='0,255')


def test_hitnet_grey_is_weighted(tmp_path):
    engine = load(foreign.hitnet(tmp_path / 'model.onnx', 2))
    red = np.zeros((1, 96, 160, 3), np.uint8)
    red[..., 0] = 255
    (tensor,) = engine._inputs
    np.testing.assert_allclose(tensor.convert([red, red])[0, :, 0, 0], 76 / 255, atol=1e-6)


def test_crestereo_in_two_stages(tmp_path):
    """Half of its result comes from the images of half the size, in their pixels."""
    engine = load(foreign.crestereo_combined(tmp_path / 'model.onnx'))
    assert engine.contract.preset == 'crestereo'
    assert_right(engine)


def test_raft_stereo_gives_negative_disparities(tmp_path):
    path = foreign.raft_stereo(tmp_path / 'model.onnx')
    with pytest.raises(EngineError, match='"disparity_sign: negative"'):
        load(path)
    assert_right(load(path, preset='raft_stereo'))
    with pytest.raises(
        EngineError, match=r'8 and 16 px; it finds these with "disparity_scale: 4"'
    ):
        load(path, preset='raft_stereo', outputs='flow_low')


def test_a_small_output_is_enlarged(tmp_path):
    path = foreign.raft_stereo(tmp_path / 'model.onnx')
    engine = load(path, preset='raft_stereo', outputs='flow_low', disparity_scale=4)
    found = engine.run(stereo(*stepped_pair(96, 160)))['disparity']
    assert found.shape == (1, 96, 160)
    assert np.median(found[0, 60:90, 60:140]) == SHIFTS[1]


@pytest.mark.parametrize('kind', ['uint8', 'float16', 'double'])
@pytest.mark.parametrize('shape', [('n', 3, 'h', 'w'), (1, 96, 160, 3), ('n', 'h', 'w', 1)])
def test_types_and_layouts(tmp_path, kind, shape):
    assert_right(load(foreign.two_images(tmp_path / 'model.onnx', shape=shape, kind=kind)))


def test_names_tell_left_from_right(tmp_path):
    assert_right(load(foreign.two_images(tmp_path / 'model.onnx', right_first=True)))


# --- refusals ------------------------------------------------------------------------------------


def write(path, inputs, outputs=(('disparity', ('n', 'h', 'w')),)):
    """A graph with inputs of these names and shapes that gives the first one as it is."""
    graph = foreign.Matcher()
    images = [graph.image(name, shape) for name, shape in inputs]
    for name, shape in outputs:
        graph.give(images[0], name, shape)
    return graph.save(path)


IMAGE = (1, 3, 64, 96)


@pytest.mark.parametrize(
    ('inputs', 'declared', 'words'),
    [
        ({'left': IMAGE, 'right': IMAGE, 'flow_init': (1, 2, 32, 48)}, {}, 'An initial flow, a'),
        ({'left': IMAGE, 'right': IMAGE, 'flow_init': (1, 2, 32, 48)}, {'inputs': 'left,right'},
         'its inputs are left .*, flow_init .* cannot be given'),
        ({'image': IMAGE}, {}, 'a single image; a file that `nndepth export` did not'),
        ({'left': (1, 4, 64, 96), 'right': IMAGE}, {}, 'no dimension of channels is 3 or 1'),
        ({'left': (3, 64, 96), 'right': IMAGE}, {}, 'input left is .*an image must be uint8 or'),
        ({'left': (1, 3, 64, 3), 'right': IMAGE}, {}, 'say by the option layout whether it is'),
        ({'left': IMAGE, 'right': (1, 3, 64, 90)}, {}, 'heights and widths of its inputs are'),
        (dict.fromkeys('abcd', IMAGE), {}, 'those of the first two half of the others'),
        ({'left': IMAGE, 'right': IMAGE}, {'inputs': 'left,c'}, "no tensor 'c' there; it has l"),
        ({'left': IMAGE, 'right': IMAGE}, {'outputs': 'c'}, "no tensor 'c' there; it has disp"),
        ({'left': IMAGE, 'right': IMAGE}, {'channels': 'grey'}, 'leave channels grey out'),
        ({'left': IMAGE, 'right': IMAGE}, {'layout': 'nhwc'}, 'no dimension of channels is 3'),
        ({'left': IMAGE, 'right': IMAGE}, {}, r'its output is \[1, 3, 64, 96\] .* must be'),
    ],
)  # fmt: skip
def test_what_is_no_stereo_model_is_told(tmp_path, inputs, declared, words):
    path = write(tmp_path / 'model.onnx', inputs.items())
    with pytest.raises(EngineError, match=rf'model.onnx.*{words}'):
        load(path, **declared)


def test_several_outputs_must_be_chosen_from(tmp_path):
    outputs = [(name, ('n', 2, 'h', 'w')) for name in ('one', 'two')]
    path = write(tmp_path / 'model.onnx', [('left', IMAGE), ('right', IMAGE)], outputs)
    with pytest.raises(
        EngineError, match=r'its outputs are one .*, two .*; say by the option outp'
    ):
        load(path)


def test_pixels_take_no_other_range(tmp_path):
    path = foreign.two_images(tmp_path / 'model.onnx', kind='uint8')
    with pytest.raises(EngineError, match='holds pixels as they are; leave input_range out'):
        load(path, input_range='0,1')


@pytest.mark.parametrize(
    ('height', 'width', 'free', 'words'),
    [
        (20000, 20000, None, r'input is fixed to 20000x20000, more than the 64000000 pixels'),
        (3000, 4000, 10**9, r'at 4000x3000 takes at least 1\.8 GB of memory and 1\.0 GB are free'),
    ],
)
def test_a_fixed_size_that_cannot_be_had_is_refused_before_it_is_run(
    tmp_path, monkeypatch, height, width, free, words
):
    monkeypatch.setattr(memory, 'available_memory', lambda: free)
    shape = (1, 3, height, width)
    outputs = [('disparity', (1, height, width))]
    path = write(tmp_path / 'huge.onnx', [('left', shape), ('right', shape)], outputs)
    with pytest.raises(
        EngineError, match=rf'huge.onnx .*{words}.*; export the model at a smaller'
    ):
        create_engine(str(path), device='cpu', threads=1)


def test_whatever_the_runtime_raises_is_the_error_of_engines(tmp_path, monkeypatch):
    engine = load(foreign.two_images(tmp_path / 'model.onnx'))

    for error in (ZeroDivisionError('by zero'), RuntimeError('x : ] : '), MemoryError()):

        def fail(*_, error=error, **__):
            raise error

        engine._bindings.clear()
        monkeypatch.setattr(engine, '_prepare', fail)
        with pytest.raises(EngineError, match=r'model.onnx fails on cpu at 320x192, batch 1: .'):
            engine.self_test()
        with pytest.raises(EngineError, match=r'model.onnx fails on cpu at 160x96, batch 1: .'):
            engine.run(stereo(*stepped_pair(96, 160)))


def test_any_failure_of_a_self_test_is_the_error_of_engines(monkeypatch):
    estimator = StereoEstimator.load('sgbm')

    def fail():
        raise ZeroDivisionError('by zero')

    monkeypatch.setattr(estimator.engine, 'self_test', fail)
    with pytest.raises(
        EngineError, match=r'sgbm on opencv .cpu. fails its self-test .Zero.*; choo'
    ):
        estimator.self_test()


# --- what is declared ----------------------------------------------------------------------------


def test_a_yaml_beside_the_file_declares_and_options_go_before_it(tmp_path):
    path = foreign.two_images(tmp_path / 'model.onnx', factor=-0.5, gain=1 / 255)
    (tmp_path / 'model.yaml').write_text(
        'input_range: [0, 1]\ndisparity_sign: negative\ndisparity_scale: 2\n'
    )
    assert_right(load(path))
    (tmp_path / 'model.yaml').write_text(
        'preset: raft_stereo\nnormalize: imagenet\ndisparity_scale: 3\n'
    )
    assert_right(load(path, input_range='0,1', disparity_scale=2))


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('input_rnge: 0,1', "'input_rnge' is no part of a contract; it has preset, inputs"),
        ('disparity_sign: up', "disparity_sign is 'up'; choose one of positive, negative"),
        ('preset: hitnt', "preset is 'hitnt'; choose one of hitnet, crestereo, raft_stereo"),
        ('input_range: 1,0', 'input_range is 1,0; the second must be larger'),
        ('input_range: [0, .nan]', r'input_range is nan; give a number in -1e\+06'),
        ('input_range: 0,one', "input_range has 'one' in it, which is no number"),
        ('input_range: 5', 'input_range is 5; give 1 or 2 or 3 values'),
        ('normalize: 0.5,0.5/1', 'normalize'),
        ('normalize: 0.5/0', 'all larger than 0'),
        ('normalize: {mean: 1}', 'normalize is .* give 2 values'),
        ('input_range: 0,1\nnormalize: imagenet', 'exclude each other'),
        ('disparity_scale: 0', 'disparity_scale is 0'),
        ('disparity_scale: [1]', r'disparity_scale is \[1\]; give a number'),
        ('inputs: a,a', 'inputs is a,a; name each tensor once'),
        ('inputs: {a: b}', 'inputs is .* give 1 or 2 or 3 or 4 values'),
        ('self_check: 1', 'self_check is 1; give true or false'),
        ('1: 2', "'1' is no part of a contract"),
        ('- 1', 'holds no names and values.*read as the contract of the model'),
        ('', 'holds no names and values'),
        ('a: [', 'is no YAML .*read as the contract of the model'),
        ('{a: ' * 5000, 'is nested too deeply; .*read as the contract of the model'),
        ('x' * 100_000, 'is larger than 65536 bytes; .* move it away'),
    ],
    ids=lambda text: text[:20],
)
def test_an_odd_yaml_is_named(tmp_path, text, words):
    path = foreign.two_images(tmp_path / 'model.onnx')
    (tmp_path / 'model.yaml').write_text(text)
    with pytest.raises(EngineError, match=rf'model.onnx cannot be used: .*model.yaml.*{words}'):
        load(path)


def test_own_exports_take_no_contract(tmp_path):
    from test_engines import card_of, write_model

    path = write_model(tmp_path / 'model.onnx', card=card_of())
    (tmp_path / 'model.yaml').write_text('of: something else')
    load(path)
    with pytest.raises(EngineError, match=r'exported by nndepth and says itself .* leave in'):
        load(path, input_range='0,1')


# --- front ends ----------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, image in zip(('left.png', 'right.png'), stepped_pair(96, 160), strict=True):
        io.write_image(name, image[0])
    return foreign.two_images(tmp_path / 'model.onnx', factor=-1, gain=1 / 255)


def test_infer_tests_the_model_and_takes_the_contract(pair, capsys):
    command = ['infer', 'left.png', 'right.png', '--model', 'model.onnx', '--formats', 'npy']
    assert cli.main(command) == 2
    said = capsys.readouterr().err
    warning, error = said.splitlines()
    assert 'warning: model.onnx was not exported by nndepth' in warning
    assert '"input_range: 0,1" and "disparity_sign: negative"' in error
    assert cli.main([*command, '--input-range=0,1', '--disparity-sign', 'negative']) == 0
    disparity = np.load('nndepth_output/left_disparity.npy')
    assert np.median(disparity[60:84, 40:140]) == SHIFTS[1]


def test_models_of_a_comparison_have_contracts_of_their_own(pair):
    import argparse

    from nndepth_core.cli import model_list, model_options

    parser = argparse.ArgumentParser()
    model_options.add_settings(parser)
    declared = 'model.onnx:input-range=0,1:disparity-sign=negative'
    (name, estimator), _ = model_list.load_estimators(
        [declared, 'sgbm'], parser.parse_args([])
    ).items()
    assert name == declared
    assert estimator.engine.contract.disparity_sign == 'negative'
