"""ZoeDepth: against the authors' code, the library's network, and what each image's head is."""

import numpy as np
import pytest

torch = pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')

from fill import load_golden  # noqa: E402
from probe import official_state  # noqa: E402

from nndepth_core.engines.torch import ModuleEngine  # noqa: E402
from nndepth_core.estimator import MonoEstimator  # noqa: E402
from nndepth_core.models import create_model, network_class  # noqa: E402
from nndepth_core.weights import CheckpointError, load_official, read_checkpoint  # noqa: E402
from nndepth_core.weights.description import describe  # noqa: E402
from nndepth_core.weights.importing import import_weights  # noqa: E402

TINY = {'width': 48, 'layers': 4, 'heads': 2, 'neck': (8, 12, 16, 20), 'fusion': 16}
PARAMETERS = {'n': 343789698, 'k': 343793439, 'nk': 345073307}


def tiny(variant):
    return create_model('zoe_depth', variant, **TINY)


def authors(variant):
    """The authors' entries and those that follow from sizes; images; what their code gives."""
    facts, arrays = load_golden(f'zoe_depth_official_{variant}')
    state = official_state(facts) | {name: torch.zeros(shape) for name, shape in facts['unused']}
    return state, torch.from_numpy(arrays['image']).float(), arrays['output']


@pytest.fixture(scope='module')
def routed():
    """A network of two heads, under the authors' entries; images; and what their code gives."""
    state, images, expected = authors('nk')
    network = tiny('nk')
    load_official(network, state)
    return network, images, expected


def assert_close(found, expected):
    """The authors' code itself rounds by 0.01 at single pixels: sharp choices between far bins."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.01)
    assert np.abs(found - expected).mean() < 5e-5


@torch.inference_mode()
@pytest.mark.parametrize('variant', ['n', 'k'])
def test_equals_the_code_of_the_authors(variant):
    state, images, expected = authors(variant)
    network = tiny(variant)
    load_official(network, state)
    assert expected.std() > 1
    assert_close(network(images).numpy(), expected)


@torch.inference_mode()
def test_each_image_of_a_batch_is_routed_alone(routed):
    """The expected depths are of the authors' code on one image after the other."""
    network, images, expected = routed
    votes = network.network(images / 127.5 - 1).domain_logits.argmax(1)
    assert votes.tolist() == [0, 1, 1]
    assert_close(network(images).numpy(), expected)
    assert_close(network(images[1:2]).numpy(), expected[1:2])


@torch.inference_mode()
def test_equals_the_library_through_its_files(tmp_path, routed):
    network, images, _ = routed
    network.network.save_pretrained(tmp_path)
    file = read_checkpoint(tmp_path / 'model.safetensors')
    assert file.keys() == network.state_dict().keys()
    theirs = transformers.ZoeDepthForDepthEstimation.from_pretrained(tmp_path)
    expected = theirs(images[2:3] / 127.5 - 1).predicted_depth[:, None]
    assert_close(network(images[2:3]).numpy(), expected.numpy())


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda state: state.pop('core.core.scratch.layer1_rn.weight'), '1 missing .neck.convs.0'),
        (lambda state: state.update(extra=torch.zeros(1)), '1 unexpected .extra'),
        (
            lambda state: state.update({'conv2.bias': torch.zeros(7)}),
            'of another shape .metric_head.conv2.bias is 7',
        ),
    ],
)
def test_refuses_other_checkpoints(change, message):
    state, _, _ = authors('n')
    change(state)
    with pytest.raises(CheckpointError, match=message):
        load_official(tiny('n'), state)


@pytest.mark.parametrize('variant', PARAMETERS)
def test_parameters_and_sizes_are_those_of_the_authors(variant):
    with torch.device('meta'):
        network = create_model('zoe_depth', variant)
    assert sum(x.numel() for x in network.parameters()) == PARAMETERS[variant]
    spec = network.spec
    assert (spec.output, spec.value_range) == ('depth', (0.0, 10.0 if variant == 'n' else 80.0))
    assert spec.border_size(480, 640) == (46, 53)
    assert spec.working_size(746, 572) == ((768, 576) if variant == 'k' else (512, 384))


@pytest.fixture
def small_variants(empty_store, tmp_path, monkeypatch):
    """The network with small variants in place of its own, and an empty store."""
    cls = network_class('zoe_depth')
    variants = {f'small_{name}': {**cls.variants[name], **TINY} for name in ('n', 'k')}
    monkeypatch.setattr(cls, 'variants', variants)
    return tmp_path


@pytest.mark.parametrize('variant', ['small_n', 'small_k'])
def test_snapshots_are_told_by_their_entries(small_variants, variant):
    create_model('zoe_depth', variant).network.save_pretrained(small_variants)
    about = describe(import_weights(small_variants))
    assert (about.model, about.variants) == ('zoe_depth', (variant,))


def test_files_of_the_authors_are_told_by_their_entries(small_variants):
    torch.save({'model': authors('k')[0]}, small_variants / 'renamed.pt')
    about = describe(import_weights(small_variants / 'renamed.pt'))
    assert (about.model, about.variants) == ('zoe_depth', ('small_k',))


@torch.inference_mode()
def test_estimator_puts_a_border_around_images():
    network = tiny('n')
    image = np.random.default_rng(0).integers(0, 255, (60, 100, 3), dtype=np.uint8)
    result = MonoEstimator(ModuleEngine(network, network.spec), (96, 64))(image)
    assert (result.output, result.depth.shape, result.processing_size) == (
        'depth',
        (60, 100),
        (96, 64),
    )


def test_exported_graph_decides_for_each_image(tmp_path, routed):
    export = pytest.importorskip('nndepth_core.export.onnx')
    network, images, _ = routed
    report = export.export_onnx(network, tmp_path / 'model.onnx', size=(64, 96))
    engine = export.OnnxEngine(report.path, 'cpu')
    rows = images.permute(0, 2, 3, 1).byte().contiguous().numpy()
    with torch.inference_mode():
        off = np.abs(engine.run({'image': rows})['depth'] - network(images)[:, 0].numpy())
    assert off.max() < 0.1  # sharp choices between far bins, see above
    assert off.mean() < 2e-4


def test_refuses_bounded_bins_of_two_domains():
    with pytest.raises(ValueError, match='bounded bins are of one domain; domains are nyu, kitti'):
        create_model('zoe_depth', 'nk', bounded=True)
