"""Depth Anything, the first version: what differs from the second, which has its own tests."""

import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('transformers')

from nndepth_core.models import create_model, network_class  # noqa: E402

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
