"""The factory, the self-test, and both engines of networks against closed forms."""

import argparse
import dataclasses
import logging
import os
import re
from types import SimpleNamespace

import numpy as np
import pytest
from pairs import stereo

from nndepth_core import StereoEstimator, engines
from nndepth_core.cli import model_list, model_options
from nndepth_core.engines import EngineError, ModelSpec, create_engine, providers
from nndepth_core.engines.base import check_inputs, physical_cores
from nndepth_core.engines.card import ModelCard
from nndepth_core.engines.options import options_for
from nndepth_core.engines.reference import Reference, textured_pair
from nndepth_core.export.cache import Origin, export_path

FREE = ('batch', 'height', 'width', 3)


def expected(left: np.ndarray, right: np.ndarray, scale: float = 0.5) -> np.ndarray:
    """What `write_model` computes: the mean of left's channels plus right's red, scaled."""
    return (left.astype(np.float32).mean(3) + right[..., 0].astype(np.float32)) * scale


def card_of(size: tuple[int, int] = (96, 160), iterations: int = 0, **changes) -> ModelCard:
    truth = expected(*textured_pair(*size))[0]
    card = ModelCard(
        spec=ModelSpec(
            'light_stereo',
            's',
            confidence='softmax_peak',
            multiple=32,
            placement='top_right',
            minimum=(32, 64),
            iterations=iterations,
        ),
        weights='some.pth',
        weights_sha256='0' * 64,
        license='MIT',
        precision='fp32',
        reference=Reference.of(truth, 0.05),
    )
    return dataclasses.replace(card, **changes)


def write_model(path, shape=FREE, card=None, scale=0.5, dtype=np.uint8, names=('left', 'right')):
    """Write a file of our contract, or with other types, layouts and names."""
    onnx = pytest.importorskip('onnx')
    from onnx import TensorProto, helper

    axis = shape.index(3)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    inputs = [helper.make_tensor_value_info(name, kind, shape) for name in names]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape[:axis] + shape[axis + 1 :])
        for name in ('disparity', 'confidence')
    ]
    constants = {'axis': np.array([axis]), 'red': np.array(0), 'scale': np.float32(scale)}
    nodes = [
        helper.make_node('Cast', [names[0]], ['l'], to=TensorProto.FLOAT),
        helper.make_node('Cast', [names[1]], ['r'], to=TensorProto.FLOAT),
        helper.make_node('ReduceMean', ['l', 'axis'], ['mean'], keepdims=0),
        helper.make_node('Gather', ['r', 'red'], ['first'], axis=axis),
        helper.make_node('Add', ['mean', 'first'], ['sum']),
        helper.make_node('Mul', ['sum', 'scale'], ['disparity']),
        helper.make_node('Sigmoid', ['disparity'], ['confidence']),
    ]
    values = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, 'test', inputs, outputs, values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=8)
    if card is not None:
        helper.set_model_props(model, card.metadata())
    onnx.save(model, path)
    return path


@pytest.fixture
def onnx_engine():
    pytest.importorskip('onnxruntime')
    from nndepth_core.engines.onnx import OnnxEngine

    return OnnxEngine


# --- what needs no runtime -----------------------------------------------------------------------


def test_textured_pair_is_shifted_and_the_same_everywhere():
    left, right = textured_pair(40, 60, 9)
    assert left.shape == right.shape == (1, 40, 60, 3)
    assert left.dtype == np.uint8
    np.testing.assert_array_equal(left[:, :, 9:], right[:, :, :-9])
    assert left.std() > 30
    assert (int(left.sum()), int(right.sum())) == (897521, 881296)


@pytest.mark.parametrize('wrong', [np.nan, np.inf, -1e6])
def test_a_reference_holds_possible_values_only(wrong):
    with pytest.raises(ValueError, match=re.escape(f'it gives {wrong:g} on a test image')):
        Reference.of(np.full((80, 80), wrong, np.float32), 0.5)


def test_reference_tells_other_results():
    engine = create_engine('sgbm')
    truth = np.linspace(0, 90, 6400, dtype=np.float32).reshape(80, 80)
    reference = Reference.of(truth, 0.5)
    reference.check(engine, truth + np.float32(0.4))
    holes = truth.copy()
    holes[:40] = np.nan
    for wrong in (truth + 0.6, truth[:, ::-1], np.full_like(truth, np.nan), holes):
        with pytest.raises(EngineError, match=r'sgbm on opencv .cpu. .* something else: choose'):
            reference.check(engine, wrong)


def test_card_survives_metadata():
    card = card_of(iterations=12, license=None)
    assert ModelCard.read(card.metadata()) == card
    assert ModelCard.read({'other': 'file'}) is None
    with pytest.raises(EngineError, match=r'spec is missing.; export it again'):
        ModelCard.read({'nndepth': '{"network": "raft_stereo"}'})


@pytest.mark.parametrize(
    ('device', 'available', 'used'),
    [
        ('auto', ('tensorrt', 'cuda', 'cpu'), ('cuda', 'cpu')),
        ('auto', ('cpu',), ('cpu',)),
        ('cpu', ('tensorrt', 'cuda', 'cpu'), ('cpu',)),
        ('cuda', ('tensorrt', 'cuda', 'cpu'), ('cuda', 'cpu')),
        ('tensorrt', ('tensorrt', 'cuda', 'cpu'), ('tensorrt', 'cuda', 'cpu')),
        ('tensorrt', ('cuda', 'cpu'), ('cuda', 'cpu')),
    ],
)
def test_order_of_devices(device, available, used):
    present = [providers.PROVIDERS[name] for name in available]
    assert providers.usable_devices(device, present) == used


def test_tensorrt_engines_are_kept_apart(tmp_path):
    parts = {
        'model_sha256': 'a1' * 32,
        'runtime': '1.31.1',
        'tensorrt': '101200',
        'gpu': 'NVIDIA RTX A2000 12GB',
        'shape': (1, 480, 640, 3),
        'precision': 'fp16',
    }
    changes = ['b2' * 32, '1.32.0', '101300', 'Orin', (1, 480, 672, 3), 'fp32']
    folders = [providers.tensorrt_folder(tmp_path, **parts)]
    folders += [
        providers.tensorrt_folder(tmp_path, **{**parts, key: value})
        for key, value in zip(parts, changes, strict=True)
    ]
    assert len(set(folders)) == 7
    assert all(folder.parent == tmp_path / 'tensorrt' for folder in folders)
    assert folders[0].name == (
        'a1a1a1a1a1a1a1a1-ort1.31.1-trt101200-NVIDIA_RTX_A2000_12GB-1x480x640x3-fp16'
    )
    options = providers.tensorrt_options(folders[0], 'fp16')
    assert options['trt_engine_cache_enable'] is options['trt_fp16_enable'] is True
    assert options['trt_engine_cache_path'] == str(folders[0])
    assert providers.tensorrt_options(folders[0], 'fp32')['trt_fp16_enable'] is False


def test_physical_cores():
    assert 1 <= physical_cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ('shapes', 'dtype', 'words'),
    [
        (((1, 64, 96, 3), (1, 64, 96, 3)), np.float32, 'a batch is float32'),
        (((64, 96, 3), (64, 96, 3)), np.uint8, r'a batch is uint8 .64, 96, 3.'),
        (((1, 64, 96, 3), (2, 64, 96, 3)), np.uint8, 'as many images of one size'),
        (((1, 64, 90, 3), (1, 64, 90, 3)), np.uint8, r'90x64; ramp takes multiples of 32'),
        (((1, 1, 1, 3), (1, 1, 1, 3)), np.uint8, r'1x1; ramp takes .* at least 96x64'),
        (((1, 32, 96, 3), (1, 32, 96, 3)), np.uint8, r'96x32; ramp takes .* at least 96x64'),
    ],
)
def test_unfit_batches_are_named(shapes, dtype, words):
    spec = ModelSpec('ramp', multiple=32, minimum=(64, 96))
    images = [np.zeros(shape, dtype) for shape in shapes]
    with pytest.raises(ValueError, match=words):
        check_inputs(spec, stereo(*images))


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ({'model': 'raft'}, "model 'raft' is unknown; choose one of auto, "),
        ({'model': 'raft_stereo-tiny'}, "variant 'tiny' of raft_stereo .* base, realtime, rvc"),
        ({'model': 'sgbm', 'engine': 'torch'}, 'sgbm is run by opencv, not by torch'),
        ({'model': 'sgbm', 'device': 'cuda'}, 'sgbm runs on the cpu, not on cuda'),
        ({'model': 'raft_stereo', 'engine': 'opencv'}, 'opencv runs sgbm only'),
        ({'model': 'raft_stereo', 'engine': 'tensorflow'}, "engine 'tensorflow' is unknown"),
        ({'model': 'raft_stereo', 'precision': 'int4'}, "precision 'int4' is unknown"),
        ({'model': 'raft_stereo', 'iterations': -1}, 'iterations is -1'),
        ({'model': 'raft_stereo', 'threads': -2}, 'threads is -2'),
        (
            {'model': 'raft_stereo', 'weights': 'no.pth'},
            'no.pth are neither a file nor stored for',
        ),
        ({'model': 'none.onnx', 'engine': 'torch'}, 'none.onnx is run by onnxruntime'),
    ],
)
def test_impossible_requests_are_named(arguments, words):
    with pytest.raises(EngineError, match=words):
        create_engine(**arguments)


def test_a_network_without_weights_says_where_they_come_from():
    with pytest.raises(EngineError, match='raft_stereo-base has no weights yet') as error:
        create_engine('raft_stereo')
    assert 'nndepth weights fetch` for one of raft_stereo/' in str(error.value)
    assert 'nndepth weights import FILE --model raft_stereo' in str(error.value)


@pytest.mark.parametrize(
    ('model', 'words'),
    [
        ('raft_stereo', r'pip install "nndepth\[torch\]"; or `nndepth export` it'),
        ('some.onnx', r'pip install "nndepth\[cpu\]"'),
    ],
)
def test_missing_packages_are_named(monkeypatch, model, words):
    monkeypatch.setattr(engines, 'find_spec', lambda package: None)
    with pytest.raises(EngineError, match=words):
        create_engine(model, weights='random')


def test_an_export_needs_torch_no_more(onnx_engine, tmp_path, request):
    """Weights, settings, iterations and precision decide whether a cached export is right."""
    weights = tmp_path / 'some.pth'
    weights.write_bytes(b'no checkpoint, but a hash')
    path = export_path('light_stereo', 's', Origin.of('light_stereo', weights), 'fp32')
    path.parent.mkdir(parents=True)
    write_model(path, card=card_of())

    request.getfixturevalue('no_torch')
    engine = create_engine('light_stereo', weights=weights, device='cpu')
    assert isinstance(engine, onnx_engine)
    assert engine.spec.variant == 's'
    for other in (
        {'precision': 'fp16'},
        {'model': 'light_stereo-m'},
        {'network_settings': 'depth=3'},
    ):
        wanted = {'model': 'light_stereo', 'weights': weights, **other}
        with pytest.raises(EngineError, match='needs torch'):
            create_engine(**wanted)
        with pytest.raises(EngineError, match='run `nndepth export light_stereo'):
            create_engine(engine='onnxruntime', **wanted)
    weights.write_bytes(b'other weights')
    with pytest.raises(EngineError, match='needs torch'):
        create_engine('light_stereo', weights=weights)


def test_an_export_of_other_iterations_is_not_taken(onnx_engine, tmp_path, request, caplog):
    weights = tmp_path / 'some.pth'
    weights.write_bytes(b'no checkpoint, but a hash')
    path = export_path('light_stereo', 's', Origin.of('light_stereo', weights), 'fp32')
    path.parent.mkdir(parents=True)
    request.getfixturevalue('no_torch')
    asked = {'model': 'light_stereo', 'weights': weights, 'device': 'cpu', 'iterations': 3}
    write_model(path, card=card_of(iterations=12))
    with pytest.raises(EngineError, match='needs torch'):
        create_engine(**asked)
    with pytest.raises(EngineError) as error:
        create_engine(engine='onnxruntime', **asked)
    command = f'nndepth export light_stereo-s --weights {weights} --iterations 3'
    assert f'run `{command}`, or choose engine torch' in str(error.value)

    write_model(path, card=card_of())
    with caplog.at_level(logging.WARNING):
        engine = create_engine(**asked)
    assert (engine.name, engine.iterations) == ('onnxruntime', 0)
    assert caplog.messages == [
        'iterations is 3 and light_stereo-s has none to choose; it has no effect'
    ]


def test_settings_of_a_network_take_the_place_of_its_own():
    pytest.importorskip('torch')
    from nndepth_core.engines.torch import load_network

    assert load_network('scv_stereo', None, 'random').matches == 8
    made = load_network('scv_stereo', None, 'random', 'matches=2 iterations=3')
    assert (made.matches, made.spec.iterations) == (2, 3)
    for wrong, says in (
        ('tokens=9', "no setting 'tokens'; it has downsample, matches, iterations"),
        ('matches=few', "setting matches is 'few'; give a whole number"),
        ('matches', "setting 'matches' has no value; write NAME=VALUE"),
    ):
        with pytest.raises(EngineError, match=says):
            load_network('scv_stereo', None, 'random', wrong)


@pytest.mark.parametrize('model', ['scv_stereo', 'scv_stereo:set=matches=4'])
def test_settings_are_typed_for_all_models_or_for_one(monkeypatch, model):
    given = []

    def load(name, engine, device, chosen, **settings):
        given.append((name, chosen))
        return SimpleNamespace(self_test=lambda: None)

    monkeypatch.setattr(model_list, 'load_estimator', load)
    parser = argparse.ArgumentParser()
    model_options.add_settings(parser)
    args = parser.parse_args(['--set', 'iterations=3'])
    model_list.load_estimators([model, 'light_stereo'], args)
    own = 'iterations=3 matches=4' if ':' in model else 'iterations=3'
    assert given == [
        ('scv_stereo', {'network_settings': own}),
        ('light_stereo', {'network_settings': 'iterations=3'}),
    ]


def test_an_export_of_an_earlier_version_gives_way_to_torch(onnx_engine, tmp_path, caplog):
    torch, onnx = pytest.importorskip('torch'), pytest.importorskip('onnx')
    from nndepth_core.models import create_model

    weights = tmp_path / 'small.pth'
    torch.save(create_model('midas_small').state_dict(), weights)
    path = export_path('midas_small', 'base', Origin.of('midas_small', weights), 'fp32')
    path.parent.mkdir(parents=True)
    model = onnx.load(write_model(path, card=card_of()))
    onnx.helper.set_model_props(model, {'nndepth': '{"network": "midas_small"}'})
    onnx.save(model, path)
    with caplog.at_level(logging.WARNING):
        engine = create_engine('midas_small', device='cpu', weights=weights)
    assert engine.name == 'torch'
    assert 'export it again; torch takes its place' in caplog.text
    with pytest.raises(EngineError, match='export it again'):
        create_engine('midas_small', 'onnxruntime', 'cpu', weights=weights)


def test_more_threads_than_cores_are_not_taken(caplog, monkeypatch):
    monkeypatch.setattr(engines.os, 'cpu_count', lambda: 2)
    with caplog.at_level(logging.WARNING), pytest.raises(EngineError, match='no weights yet'):
        create_engine('raft_stereo', threads=100)
    assert 'threads is 100 and this machine has 2 cores' in caplog.text


# --- ONNX Runtime --------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path, onnx_engine):
    return write_model(tmp_path / 'model.onnx', card=card_of())


def test_onnx_of_any_size_and_batch(onnx_engine, model):
    engine = onnx_engine(model, 'cpu', threads=1)
    engine.self_test()
    assert engine.spec == card_of().spec
    generator = np.random.default_rng(0)
    for shape in ((1, 64, 96, 3), (3, 32, 64, 3), (1, 64, 96, 3), (2, 96, 64, 3)):
        left, right = generator.integers(0, 256, (2, *shape), np.uint8)
        maps = engine.run(stereo(left, right))
        assert all(x.shape == shape[:3] and x.dtype == np.float32 for x in maps.values())
        np.testing.assert_allclose(maps['disparity'], expected(left, right), rtol=1e-6)
        sure = 1 / (1 + np.exp(-maps['disparity']))
        np.testing.assert_allclose(maps['confidence'], sure, rtol=1e-5)


def test_results_are_not_overwritten_by_the_next_run(onnx_engine, model):
    engine = onnx_engine(model, 'cpu')
    first = engine.run(stereo(*textured_pair(64, 96)))['disparity']
    kept = first.copy()
    engine.run(stereo(*(255 - image for image in textured_pair(64, 96))))
    np.testing.assert_array_equal(first, kept)


def test_many_sizes_are_not_all_kept(onnx_engine, model):
    engine = onnx_engine(model, 'cpu')
    for height in range(32, 32 * 12, 32):
        engine.run(stereo(*textured_pair(height, 64)))
    assert len(engine._bindings) == 8


def test_threads(onnx_engine, model):
    def threads(engine):
        return engine._session.get_session_options().intra_op_num_threads

    assert threads(onnx_engine(model, threads=3)) == 3
    assert threads(onnx_engine(model)) == physical_cores()


def test_threads_do_not_spin_after_a_run(onnx_engine, model):
    options = onnx_engine(model)._session.get_session_options()
    assert options.get_session_config_entry('session.force_spinning_stop') == '1'
    assert int(options.get_session_config_entry('session.intra_op.spin_duration_us')) <= 1000


def test_onnx_of_fixed_size(onnx_engine, tmp_path):
    card = card_of(size=(64, 96), reference=card_of((64, 96)).reference)
    path = write_model(tmp_path / 'model.onnx', ('batch', 64, 96, 3), card)
    engine = create_engine(str(path), device='cpu')
    engine.self_test()
    assert engine.spec.fixed_size == (64, 96)
    left, right = (image[0] for image in textured_pair(60, 90))
    result = StereoEstimator(engine)(left, right, confidence=True)
    assert result.disparity.shape == result.confidence.shape == (60, 90)
    np.testing.assert_allclose(result.disparity, expected(left[None], right[None])[0], rtol=1e-6)
    with pytest.raises(ValueError, match='light_stereo-s takes exactly 96x64'):
        engine.run(stereo(*textured_pair(96, 96)))


def test_a_file_that_computes_something_else_is_refused(onnx_engine, tmp_path):
    engine = onnx_engine(write_model(tmp_path / 'model.onnx', card=card_of(), scale=0.45), 'cpu')
    with pytest.raises(EngineError, match=r'light_stereo-s on onnxruntime .cpu. differs by .* px'):
        engine.self_test()


def test_what_the_file_holds_cannot_be_changed(onnx_engine, tmp_path):
    path = write_model(tmp_path / 'model.onnx', card=card_of(iterations=12))
    engine = onnx_engine(path, 'cpu', precision='fp32', iterations=12)
    assert engine.iterations == 12
    engine.iterations = 12
    with pytest.raises(EngineError, match='takes 12 iterations, not 5; export it again'):
        engine.iterations = 5
    with pytest.raises(EngineError, match='takes 12 iterations, not 7'):
        create_engine(str(path), iterations=7)
    with pytest.raises(EngineError, match='computes in fp32, not fp16; export it'):
        create_engine(str(path), precision='fp16')


@pytest.mark.parametrize('device', ['cuda', 'tensorrt'])
def test_a_missing_provider_is_replaced_with_one_warning(onnx_engine, model, device, caplog):
    if len(onnx_engine(model)._session.get_providers()) > 1:
        pytest.skip('there is a GPU')
    with caplog.at_level(logging.WARNING):
        engine = onnx_engine(model, device)
        engine.self_test()
    assert engine.device == 'cpu'
    assert len(caplog.records) == 1
    assert f'device {device} is not available' in caplog.text
    assert 'running on cpu instead' in caplog.text


def test_cpu_and_auto_warn_of_nothing(onnx_engine, model, caplog):
    with caplog.at_level(logging.WARNING):
        onnx_engine(model, 'cpu')
        onnx_engine(model, 'auto')
    assert not caplog.records


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'', 'is empty; copy or download the file again'),
        (b'version https://git-lfs.github.com/spec/v1\n', 'is a Git LFS pointer, .*git lfs pull'),
        (b'<!DOCTYPE html><html>', 'is a web page, .* in a browser'),
        (b'\x89PNG\r\n', 'is a picture; give the .onnx file of a network'),
        (b'\x1f\x8b', 'is a gzip archive; unpack it and give the file in it'),
        (b'PK\x03\x04', 'is a checkpoint or an archive, .*; give the .onnx file'),
        (
            b'no model at all',
            r'cannot be loaded by ONNX .* \(Protobuf parsing failed\); export it',
        ),
        (
            None,
            r'cannot be loaded by ONNX .* \(Protobuf parsing failed\); export it again, or fetch',
        ),
    ],
)
def test_broken_files_are_named(onnx_engine, model, content, words):
    model.write_bytes(model.read_bytes()[:200] if content is None else content)
    with pytest.raises(EngineError, match=rf'model.onnx {words}'):
        create_engine(str(model))


def test_a_folder_is_no_model(tmp_path):
    (tmp_path / 'model.onnx').mkdir()
    with pytest.raises(EngineError, match=r'model.onnx is no file; give the path'):
        create_engine(str(tmp_path / 'model.onnx'))


def test_the_runtimes_reason_is_told_without_its_code(onnx_engine, model):
    import onnx

    graph = onnx.load(model)
    graph.ir_version = 99
    onnx.save(graph, model)
    with pytest.raises(EngineError, match=r'Runtime [\d.]+ \(Unsupported model IR version: 99'):
        create_engine(str(model))


@pytest.mark.parametrize(
    ('shape', 'dtype'),
    [
        (FREE, np.uint8),
        (FREE, np.float32),
        (('n', 3, 'h', 'w'), np.float32),
        (('n', 3, 'h', 'w'), np.float16),
        ((1, 3, 64, 96), np.uint8),
    ],
)
def test_a_foreign_file_of_every_layout_and_type(onnx_engine, tmp_path, shape, dtype):
    path = write_model(tmp_path / 'other.onnx', shape, dtype=dtype, names=('a', 'b'))
    engine = create_engine(str(path), device='cpu', inputs=('a', 'b'), outputs=('disparity',))
    assert engine.spec.fixed_size == ((64, 96) if 64 in shape else None)
    left, right = textured_pair(64, 96)
    maps = engine.run(stereo(left, right))
    assert list(maps) == ['disparity']
    np.testing.assert_allclose(maps['disparity'], expected(left, right), rtol=1e-6)


def test_a_foreign_file_of_other_inputs_is_refused(onnx_engine, tmp_path):
    path = write_model(tmp_path / 'other.onnx', ('n', 'h', 3), names=('a', 'b'))
    with pytest.raises(EngineError, match=r'input a is .* an image must be uint8 or float'):
        create_engine(str(path), inputs=('a', 'b'), outputs=('disparity',))


# --- torch ---------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def realtime():
    """A constructor of RAFT-Stereo's small variant under the weights of its golden."""
    pytest.importorskip('torch')
    from fill import load_golden
    from probe import official_state

    from nndepth_core.models import create_model
    from nndepth_core.weights import load_official

    state = official_state(load_golden('raft_stereo_realtime')[0])

    def make():
        network = create_model('raft_stereo', 'realtime')
        load_official(network, state)
        return network

    return make


def torch_engine(network, **settings):
    from nndepth_core.engines.torch import TorchEngine

    return TorchEngine(network, 'cpu', threads=1, **settings)


def disparity_of(network, pair, iterations):
    import torch

    with torch.inference_mode():
        images = [torch.from_numpy(image).permute(0, 3, 1, 2).float() for image in pair]
        return network(*images, iterations=iterations)[:, 0].numpy()


def test_torch_computes_what_the_network_does(realtime):
    engine = torch_engine(realtime(), iterations=2)
    engine.self_test()
    assert (engine.spec.multiple, engine.spec.confidence) == (32, 'residual')
    pair = [np.concatenate((image, 255 - image)) for image in textured_pair(64, 160)]
    maps = engine.run(stereo(*pair))
    assert maps['disparity'].shape == maps['confidence'].shape == (2, 64, 160)
    assert ((maps['confidence'] >= 0) & (maps['confidence'] <= 1)).all()
    np.testing.assert_allclose(maps['disparity'], disparity_of(realtime(), pair, 2), atol=1e-3)


def test_torch_iterations_can_be_changed(realtime):
    estimator = StereoEstimator(torch_engine(realtime()))
    assert estimator.iterations == 7
    estimator.iterations = 1
    pair = textured_pair(64, 160)
    found = estimator(pair[0][0], pair[1][0]).disparity
    np.testing.assert_allclose(found, disparity_of(realtime(), pair, 1)[0], atol=1e-3)
    estimator.self_test()
    with pytest.raises(EngineError, match='iterations is -1'):
        estimator.iterations = -1


def test_torch_in_bfloat16_stays_close(realtime):
    engine = torch_engine(realtime(), precision='bf16', iterations=2)
    engine.self_test()
    pair = textured_pair(64, 160)
    difference = np.abs(engine.run(stereo(*pair))['disparity'] - disparity_of(realtime(), pair, 2))
    assert 0 < difference.mean() < 0.1


def test_torch_that_computes_something_else_is_refused(realtime):
    import torch

    engine = torch_engine(realtime())
    with torch.no_grad():
        engine.network.flow_head[2].bias[0] += 1
    with pytest.raises(EngineError, match=r'raft_stereo-realtime on torch .cpu. differs by'):
        engine.self_test()


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'precision': 'fp16'}, 'precision fp16 needs device cuda'),
        ({'cuda_graph': True}, 'cuda_graph needs device cuda'),
        ({'jit': True}, "unexpected keyword argument 'jit'"),
    ],
)
def test_torch_refuses_settings_that_do_not_go_together(realtime, settings, words):
    with pytest.raises(EngineError, match=words):
        create_engine('light_stereo', 'torch', 'cpu', weights='random', **settings)


def test_torch_without_a_gpu_warns_once(realtime, monkeypatch, caplog):
    import torch

    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    engine = create_engine('light_stereo', device='cuda', weights='random', threads=1)
    assert (engine.name, engine.device, engine.precision) == ('torch', 'cpu', 'fp32')
    assert engine.iterations == 0
    assert [record.levelname for record in caplog.records] == ['WARNING']
    assert 'device cuda is not available with torch' in caplog.text


def test_random_weights_are_the_same_every_time(realtime):
    first, second = (
        create_engine('light_stereo', device='cpu', weights='random', threads=1) for _ in range(2)
    )
    first.self_test()
    pair = textured_pair(64, 96)
    np.testing.assert_array_equal(
        first.run(stereo(*pair))['disparity'], second.run(stereo(*pair))['disparity']
    )


def test_weights_of_another_network_are_refused(realtime, tmp_path):
    import torch

    torch.save(realtime().state_dict(), tmp_path / 'raft.pth')
    with pytest.raises(EngineError, match=r'raft.pth: it is not light_stereo-s, but raft_stereo'):
        create_engine('light_stereo', weights=tmp_path / 'raft.pth')


@pytest.mark.parametrize(
    ('model', 'names'),
    [
        ('sgbm', ['num_disparities']),
        ('raft_stereo-realtime', ['weights', 'threads']),
        ('some/file.onnx', ['threads', 'layout']),
    ],
)
def test_each_kind_of_model_takes_the_options_that_are_its_own(model, names):
    values = {'weights': 'x', 'threads': 2, 'num_disparities': 64, 'layout': 'nchw', 'more': 1}
    assert options_for(model, values) == {name: values[name] for name in names}


def test_a_licence_that_forbids_commercial_use_is_logged_once(onnx_engine, tmp_path, caplog):
    free = write_model(tmp_path / 'free.onnx', card=card_of())
    bound = write_model(tmp_path / 'bound.onnx', card=card_of(license='CC BY-NC 4.0'))
    with caplog.at_level(logging.WARNING):
        for path in (free, bound, bound):
            create_engine(str(path), device='cpu')
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        f'the weights of {bound} are under the licence CC BY-NC 4.0, which forbids commercial use'
    ]
