"""Depth Anything, the first version: what differs from the second, which has its own tests."""

import json

import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('transformers')

from nndepth_core.engines import EngineError  # noqa: E402
from nndepth_core.engines.torch import load_network  # noqa: E402
from nndepth_core.models import create_model, network_class  # noqa: E402
from nndepth_core.weights import CheckpointError  # noqa: E402
from nndepth_core.weights.description import describe  # noqa: E402
from nndepth_core.weights.importing import import_weights  # noqa: E402

TINY = {'width': 64, 'layers': 6, 'neck': (8, 12, 16, 20), 'fusion': 8}


@pytest.mark.parametrize(
    ('variant', 'taps', 'parameters'),
    [
        ('small', (9, 10, 11, 12), 24785089),
        ('base', (9, 10, 11, 12), 97470785),
        ('large', (21, 22, 23, 24), 335315649),
    ],
)
def test_taps_the_last_four_layers(variant, taps, parameters):
    assert network_class('depth_anything_v1').variants[variant]['taps'] == taps
    with torch.device('meta'):
        network = create_model('depth_anything_v1', variant)
    assert sum(x.numel() for x in network.parameters()) == parameters
    assert network.spec.title == f'depth_anything_v1-{variant}'
    assert network.spec.output == 'inverse_depth'


@torch.inference_mode()
def test_is_the_second_version_with_these_taps():
    taps = (3, 4, 5, 6)
    first = create_model('depth_anything_v1', **TINY, taps=taps)
    second = create_model('depth_anything_v2', **TINY, taps=taps)
    second.load_state_dict(first.state_dict())
    image = torch.rand(1, 3, 42, 56, generator=torch.Generator().manual_seed(0)) * 255
    torch.testing.assert_close(first(image), second(image))


TAPS = {'depth_anything_v1': (3, 4, 5, 6), 'depth_anything_v2': (1, 3, 5, 6)}


@pytest.fixture
def snapshot(empty_store, tmp_path, monkeypatch):
    """Write what the library saves of a small network; both versions have a variant for it."""
    for name, taps in TAPS.items():
        monkeypatch.setattr(network_class(name), 'variants', {'tiny': {**TINY, 'taps': taps}})

    def write(name, max_depth=None):
        output = {'output': 'depth', 'max_depth': max_depth} if max_depth else {}
        create_model(name, **output).network.save_pretrained(tmp_path)
        file = tmp_path / 'config.json'
        config = json.loads(file.read_text())
        file.write_text(json.dumps(config | ({'max_depth': max_depth} if max_depth else {})))
        return tmp_path

    return write


@pytest.mark.parametrize('name', TAPS)
def test_the_configuration_of_a_snapshot_tells_the_version(snapshot, name):
    about = describe(import_weights(snapshot(name)))
    assert (about.model, about.variant, about.settings) == (name, 'tiny', {})


@pytest.mark.parametrize(('name', 'other'), [tuple(TAPS), tuple(TAPS)[::-1]])
def test_a_snapshot_of_the_other_version_is_refused(snapshot, name, other):
    folder = snapshot(name)
    message = f'config.json beside it is not that of {other}-tiny, but of {name}-tiny'
    with pytest.raises(CheckpointError, match=message):
        import_weights(folder, other)
    with pytest.raises(EngineError, match=message):
        load_network(other, 'tiny', folder / 'model.safetensors')


@pytest.mark.parametrize('max_depth', [20, 80])
def test_the_configuration_of_a_metric_snapshot_tells_its_largest_depth(snapshot, max_depth):
    path = import_weights(snapshot('depth_anything_v2', max_depth))
    about = describe(path)
    assert (about.model, about.settings) == (
        'depth_anything_v2',
        {'output': 'depth', 'max_depth': float(max_depth)},
    )
    spec = load_network('depth_anything_v2', 'tiny', path).spec
    assert (spec.output, spec.value_range) == ('depth', (0.0, float(max_depth)))
