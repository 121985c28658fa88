"""Exports: every network's file computes what torch does, says what it is, and holds no traps."""

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

torch = pytest.importorskip('torch')
onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')

from fill import GOLDEN, load_golden  # noqa: E402
from pairs import stereo  # noqa: E402
from probe import official_state  # noqa: E402
from torch import Tensor  # noqa: E402

from nndepth_core import StereoEstimator, cli  # noqa: E402
from nndepth_core.engines import EngineError, create_engine  # noqa: E402
from nndepth_core.engines.onnx import OnnxEngine  # noqa: E402
from nndepth_core.engines.reference import textured_inputs, textured_pair  # noqa: E402
from nndepth_core.engines.torch import ModuleEngine, TorchEngine  # noqa: E402
from nndepth_core.export import onnx as export  # noqa: E402
from nndepth_core.export.cache import Origin, export_path  # noqa: E402
from nndepth_core.export.onnx import ExportError, export_onnx  # noqa: E402
from nndepth_core.models import create_model  # noqa: E402
from nndepth_core.models.base import StereoNetwork  # noqa: E402
from nndepth_core.spec import ModelSpec  # noqa: E402
from nndepth_core.weights import load_official, load_weights, stored_weights  # noqa: E402

ORIGIN = Origin('some.pth', 'ab' * 32, 'MIT')
# Other runtimes add up in another order; float32 itself is off by 6e-4 in las1
# and in the 3-D MobileStereoNet.
ROUNDING = {('las2', 'las1'): 2e-3, ('mobile_stereonet', '3d'): 2e-3}
TRAPS = {'ScatterND', 'ScatterElements', 'Loop', 'If', 'NonZero'}

# Nodes at one iteration, a tenth more than now: unrolled samplers and volumes would be thousands.
NETWORKS = {
    ('raft_stereo', 'base'): 600,
    ('raft_stereo', 'realtime'): 520,
    ('crestereo', 'base'): 1000,
    ('dcvnet', 'stereo'): 445,
    ('igev_stereo', 'base'): 950,
    ('rt_igev', 'rt'): 700,
    ('las2', 's'): 590,
    ('las2', 'h'): 1070,
    ('las2', 'las1'): 890,
    ('lea_stereo', 'default'): 1210,
    ('light_stereo', 's'): 430,
    ('mobile_stereonet', '2d'): 1630,
    ('mobile_stereonet', '3d'): 810,
    ('nano_stereo', 'base'): 1100,
    ('nano_stereo', 'small'): 1110,
    ('nano_stereo', 'fine'): 2200,
    ('scv_stereo', 'eighth'): 420,
}


def make_network(name: str, variant: str) -> StereoNetwork:
    """A network under the weights of its golden or its own; under fresh ones if it has none."""
    torch.manual_seed(0)
    network = create_model(name, variant)
    if name == 'nano_stereo':
        load_weights(network, stored_weights(name))
        return network.eval()
    if not (GOLDEN / f'{name}_{variant}.json').exists():
        return network
    load_official(network, official_state(load_golden(f'{name}_{variant}')[0]))
    return network


def rounding(network: StereoNetwork) -> float:
    """How far two float32 computations of the network may be apart, in pixels."""
    return ROUNDING.get((network.spec.name, network.spec.variant), 1e-3)


def values_without_rank(model: onnx.ModelProto) -> set[str]:
    """Values whose number of dimensions the graph does not say; OpenVINO refuses some of them."""
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    known = {
        value.name
        for value in (*graph.value_info, *graph.output)
        if value.type.tensor_type.HasField('shape')
    }
    return {name for node in graph.node for name in node.output} - known


@dataclasses.dataclass(frozen=True)
class Exported:
    """A network and its file of one iteration; the network is not changed."""

    network: StereoNetwork
    path: Path
    report: export.ExportReport


@pytest.fixture(scope='module', params=NETWORKS, ids='-'.join)
def exported(request, tmp_path_factory):
    path = tmp_path_factory.mktemp('exported') / 'model.onnx'
    network = make_network(*request.param)
    return Exported(network, path, export_onnx(network, path, iterations=1, origin=ORIGIN))


def test_every_network_at_any_size(exported):
    network, path, report = exported.network, exported.path, exported.report
    name, variant = network.spec.name, network.spec.variant
    assert report.fixed_size is None
    assert [check.shape[0] for check in report.checks] == [2, 1]
    assert all(check.largest < rounding(network) for check in report.checks)
    confident = network.spec.confidence is not None
    assert [check.confidence is not None for check in report.checks] == [confident] * 2
    assert all(check.confidence < 1e-3 for check in report.checks if confident)
    assert not TRAPS & report.operators.keys()
    assert report.nodes == sum(report.operators.values()) < NETWORKS[name, variant]
    assert report.size == path.stat().st_size
    assert not values_without_rank(onnx.load(path))

    engine = OnnxEngine(path, 'cpu', threads=1)
    card = engine.card
    assert (card.spec.name, card.spec.variant, card.precision) == (name, variant, 'fp32')
    assert (card.weights, card.weights_sha256, card.license) == ('some.pth', 'ab' * 32, 'MIT')
    assert card.spec.iterations == int(network.spec.iterations > 0)
    assert engine.spec == dataclasses.replace(network.spec, iterations=card.spec.iterations)
    pair = (x[0] for x in textured_pair(70, 140))
    result = StereoEstimator(engine)(*pair, confidence=confident)
    assert result.disparity.shape == (70, 140)
    assert not confident or result.confidence.shape == (70, 140)


def pair_and_maps(exported):
    """A pair whose size is not the traced one, and what the network itself makes of it."""
    spec, (_, height, width) = exported.network.spec, exported.report.checks[1].shape
    inputs = textured_inputs(spec, height, width, 5)
    maps = ModuleEngine(exported.network, dataclasses.replace(spec, iterations=1)).run(inputs)
    return inputs, maps


def test_every_export_computes_the_same_in_openvino(exported):
    openvino = pytest.importorskip('openvino')
    inputs, expected = pair_and_maps(exported)
    # on some processors OpenVINO computes in bfloat16 unless it is told not to
    exact = {'INFERENCE_PRECISION_HINT': 'f32', 'INFERENCE_NUM_THREADS': 1}
    model = openvino.Core().compile_model(exported.path, 'CPU', exact)
    found = model(inputs)
    assert len(model.outputs) == len(expected)
    assert all(output.names & expected.keys() for output in model.outputs)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=rounding(exported.network))


def test_every_export_survives_onnxslim(exported, tmp_path):
    slim = pytest.importorskip('onnxslim').slim
    inputs, expected = pair_and_maps(exported)
    slim(str(exported.path), str(tmp_path / 'slim.onnx'))
    engine = OnnxEngine(tmp_path / 'slim.onnx', 'cpu', threads=1)
    assert engine.spec == OnnxEngine(exported.path, 'cpu', threads=1).spec
    found = engine.run(inputs)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=rounding(exported.network))


@pytest.fixture(scope='module')
def realtime():
    return make_network('raft_stereo', 'realtime')


@pytest.mark.parametrize(
    ('name', 'variant'),
    [('raft_stereo', 'realtime'), ('light_stereo', 's'), ('crestereo', 'base')],
)
def test_half_precision(name, variant, tmp_path):
    """Everything but disparities is in half; that of the second iteration too."""
    path = tmp_path / 'half.onnx'
    report = export_onnx(make_network(name, variant), path, iterations=2, precision='fp16')
    assert all(check.mean > 0 for check in report.checks)
    model = onnx.load(path)
    sizes = Counter()
    for tensor in model.graph.initializer:
        sizes[tensor.data_type] += len(tensor.raw_data)
    assert sizes[onnx.TensorProto.FLOAT16] > 100 * sizes[onnx.TensorProto.FLOAT]
    assert {x.type.tensor_type.elem_type for x in model.graph.output} == {onnx.TensorProto.FLOAT}
    engine = create_engine(str(path), device='cpu', precision='fp16')
    engine.self_test()
    assert engine.card.precision == 'fp16'


def test_size_can_be_fixed(realtime, tmp_path):
    path = tmp_path / 'fixed.onnx'
    report = export_onnx(realtime, path, iterations=1, size=(64, 160))
    assert (report.fixed_size, report.reason) == ((64, 160), '')
    engine = OnnxEngine(path, 'cpu')
    assert engine.spec.fixed_size == (64, 160)
    assert engine.run(stereo(*textured_pair(64, 160)))['disparity'].shape == (1, 64, 160)


def test_a_tampered_file_is_refused(realtime, tmp_path):
    path = tmp_path / 'model.onnx'
    export_onnx(realtime, path, iterations=2)
    model = onnx.load(path)
    largest = max(model.graph.initializer, key=lambda x: len(x.raw_data))
    values = onnx.numpy_helper.to_array(largest)
    largest.CopyFrom(onnx.numpy_helper.from_array(values[::-1].copy(), largest.name))
    onnx.save(model, path)
    engine = create_engine(str(path), device='cpu')
    with pytest.raises(EngineError, match='the backend computes something else'):
        StereoEstimator(engine).self_test()


class Mean(StereoNetwork):
    """Grey values for a disparity; subclasses go wrong in some way once they are traced."""

    spec = ModelSpec('mean', multiple=8, minimum=(16, 16))
    variants: ClassVar[dict] = {'only': {}}
    traced = 1.0

    def forward(
        self,
        left: Tensor,
        right: Tensor,
        iterations: int | None = None,
        confidence: bool = False,
    ) -> Tensor:
        factor = self.traced if torch.jit.is_tracing() else 1.0
        return factor * (left - right / 2).mean(1, keepdim=True)


class Frozen(Mean):
    """Binds its graph to the traced size."""

    def forward(self, left, right, iterations=None, confidence=False):
        ramp = torch.linspace(0, 1, int(left.shape[3]))
        return super().forward(left, right) + ramp


class Wrong(Mean):
    traced = 1.1


class Rounded(Mean):
    """Loses digits to a large constant, others in the graph than in torch."""

    def forward(self, left, right, iterations=None, confidence=False):
        factor = 3.0 if torch.jit.is_tracing() else 1.0
        return (super().forward(left, right) * factor + 1e6 - 1e6) / factor


def test_a_graph_may_differ_by_what_the_network_itself_rounds(tmp_path, monkeypatch):
    report = export_onnx(Rounded().eval(), tmp_path / 'rounded.onnx')
    assert all(check.mean > 1e-3 for check in report.checks)
    monkeypatch.setattr(export, '_ROUNDINGS', 0.1)
    with pytest.raises(ExportError, match='differs from torch by'):
        export_onnx(Rounded().eval(), tmp_path / 'rounded.onnx')


class Bound(Wrong):
    """Wrong once it is traced, and computes in float32 only."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(1, 1, 1)

    def forward(self, left, right, iterations=None, confidence=False):
        return self.layer(super().forward(left, right).float())


def test_a_network_that_knows_no_float64_is_refused_as_others(tmp_path):
    with pytest.raises(ExportError, match='differs from torch by'):
        export_onnx(Bound().eval(), tmp_path / 'bound.onnx')


class Constant(Mean):
    """Gives one value everywhere, as untrained networks may."""

    def forward(self, left, right, iterations=None, confidence=False):
        return super().forward(left, right) * 0 + 7


def test_a_constant_result_is_told_since_it_proves_little(tmp_path, caplog):
    export_onnx(Constant().eval(), tmp_path / 'constant.onnx')
    assert 'mean gives one value at all pixels with these weights' in caplog.text
    assert len(caplog.records) == 1


def test_networks_without_confidence_export_none(tmp_path):
    report = export_onnx(Mean().eval(), tmp_path / 'mean.onnx')
    assert report.iterations == 0
    assert all(check.confidence is None for check in report.checks)
    assert list(OnnxEngine(tmp_path / 'mean.onnx').run(stereo(*textured_pair(16, 24)))) == [
        'disparity'
    ]


def test_a_network_of_one_size_is_exported_at_it(tmp_path):
    network = Mean().eval()
    network.specify(fixed_size=(24, 40))
    report = export_onnx(network, tmp_path / 'mean.onnx')
    assert (report.fixed_size, report.reason) == ((24, 40), '')
    engine = OnnxEngine(tmp_path / 'mean.onnx')
    engine.self_test()
    TorchEngine(network, 'cpu', threads=1).self_test()
    with pytest.raises(ValueError, match='takes exactly 40x24'):
        export_onnx(network, tmp_path / 'other.onnx', size=(16, 24))


def test_a_graph_that_serves_one_size_is_bound_to_it(tmp_path, monkeypatch):
    monkeypatch.setattr(export, 'FIXED_SIZE', (32, 48))
    report = export_onnx(Frozen().eval(), tmp_path / 'frozen.onnx')
    assert report.fixed_size == (32, 48)
    assert 'fails on cpu at 176x104' in report.reason
    engine = OnnxEngine(tmp_path / 'frozen.onnx')
    engine.self_test()
    assert engine.spec.fixed_size == (32, 48)


def test_an_export_that_computes_something_else_is_not_kept(tmp_path):
    path = tmp_path / 'model.onnx'
    path.write_text('the file that was there')
    with pytest.raises(ExportError, match=r'differs from torch by .* px at most.*nothing was'):
        export_onnx(Wrong().eval(), path)
    assert path.read_text() == 'the file that was there'
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'precision': 'bf16'}, "precision is 'bf16'; choose one of fp32, fp16"),
        ({'iterations': -3}, 'iterations is -3'),
        ({'size': (64, 100)}, 'images are 100x64; mean takes multiples of 8'),
        ({'size': (8, 64)}, 'images are 64x8; mean takes .* at least 16x16'),
    ],
)
def test_bad_settings_are_named(tmp_path, settings, words):
    with pytest.raises(ValueError, match=words):
        export_onnx(Mean().eval(), tmp_path / 'model.onnx', **settings)


def test_a_network_in_train_mode_is_refused(tmp_path):
    with pytest.raises(ValueError, match='in train mode'):
        export_onnx(Mean(), tmp_path / 'model.onnx')
    assert not list(tmp_path.iterdir())


def test_command_puts_the_export_where_engine_auto_finds_it(capsys):
    arguments = ['export', 'light_stereo', '--weights', 'random', '--json']
    assert cli.main(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    path = export_path('light_stereo', 's', Origin.of('light_stereo', 'random'), 'fp32')
    assert report['path'] == str(path)
    assert report['fixed_size'] is None
    engine = create_engine('light_stereo', device='cpu', weights='random')
    assert (engine.name, engine.path) == ('onnxruntime', path)


def test_command_writes_where_it_is_told(tmp_path, capsys):
    out = tmp_path / 'out.onnx'
    arguments = ['export', 'light_stereo-s', str(out), '--weights', 'random', '--size', '96x64']
    assert cli.main(arguments) == 0
    said = capsys.readouterr().out
    assert f'{out}, ' in said
    assert 'size: 96x64 only' in said
    assert "(the authors' code: about 5500)" in said
    assert 'px in the mean' in said
    assert np.isfinite(
        create_engine(str(out)).run(stereo(*textured_pair(64, 96)))['disparity']
    ).all()


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['sgbm'], "network 'sgbm' is unknown; choose one of nano_stereo, "),
        (['raft_stereo'], 'raft_stereo-base has no weights yet'),
        (['light_stereo', '--weights', 'random', '--size', '64x64'], 'give OUT.onnx'),
    ],
)
def test_command_names_what_is_wrong(arguments, words, capsys):
    assert cli.main(['export', *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_refused_before_the_export(tmp_path, capsys):
    (tmp_path / 'file').touch()
    for output, words in (
        (tmp_path, 'is a folder; give the file to write'),
        (
            tmp_path / 'file' / 'x.onnx',
            'file takes no files (is a file; name a folder); give a file in another',
        ),
    ):
        assert cli.main(['export', 'raft_stereo', str(output), '--weights', 'nothing']) == 2
        assert words in capsys.readouterr().err


def test_networks_of_one_image_export_in_8_bits(tmp_path):
    network = create_model('midas_small')
    load_official(network, official_state(load_golden('midas_small_base')[0]))
    report = export_onnx(network, tmp_path / 'small.onnx', size=(64, 96), precision='int8')
    assert report.precision == 'int8'
    assert create_engine(str(report.path), device='cpu').spec.output == 'inverse_depth'


def test_files_that_are_bound_to_one_size_stay_out_of_the_cache(capsys):
    pytest.importorskip('transformers')
    arguments = ['export', 'depth_anything_v2', '--weights', 'random']
    assert cli.main(arguments) == 2
    assert 'give OUT.onnx, and by --size' in capsys.readouterr().err
