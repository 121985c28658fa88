"""The catalogue: what it promises of every entry, and its figures against the networks."""

import re

import pytest

from nndepth_core.engines import DEFAULT_NETWORK
from nndepth_core.models import create_model, model_names, network_class
from nndepth_core.weights.catalogue import (
    BENCHMARKS,
    catalogue,
    find_checkpoint,
    find_network,
    identify,
)
from nndepth_core.weights.settings import check_settings
from nndepth_core.weights.store import list_stored

# Networks that one must train oneself.
UNPUBLISHED = {
    ('dcvnet', 'stereo'),
    ('nano_mono', 'base'),
    *(('scv_stereo', variant) for variant in ('eighth', 'quarter')),
    *(('stereo_mae', variant) for variant in ('spatial', 'spatial_tiny', 'authors')),
}
CHECKPOINTS = [entry for network in catalogue().values() for entry in network.checkpoints.values()]
MIDDLEBURY = 'd22e84c0e431bf31d7cc66902c40601859eb40b35ef7f4399ea81276c2915819'


@pytest.mark.parametrize('entry', CHECKPOINTS, ids=lambda entry: entry.id)
def test_entries_are_whole(entry):
    assert entry.license
    assert entry.trained_on
    assert set(entry.variants) <= set(catalogue()[entry.model].variants)
    assert set(entry.metrics) <= set(BENCHMARKS)
    assert all(0 < figure < 10 for figure in entry.metrics.values())
    for address in filter(None, (entry.page, entry.url)):
        assert address.startswith('https://')
    bundled = entry.model == DEFAULT_NETWORK
    assert entry.page or bundled  # where `fetch` sends those whom it cannot help
    if entry.sha256:
        assert re.fullmatch('[0-9a-f]{12,64}', entry.sha256)
        assert entry.sha256_source


def test_which_variants_have_weights_and_that_every_network_has_a_licence():
    for network in catalogue().values():
        assert network.code_license
        for variant in network.variants:
            published = bool(network.checkpoints_of(variant))
            assert published == ((network.name, variant) not in UNPUBLISHED)


def test_figures_are_the_best_of_a_variant():
    assert find_network('raft_stereo').figures('base') == {
        'scene_flow_epe': 0.79,
        'kitti_2015_d1': 1.82,
        'middlebury_bad2': 4.74,
        'eth3d_bad1': 2.44,
    }
    assert find_network('raft_stereo').figures('rvc') == {}


def test_finding():
    entry = find_checkpoint('raft_stereo/middlebury')
    assert (entry.id, entry.variants) == ('raft_stereo/middlebury', ('base',))
    with pytest.raises(ValueError, match='holds raft_stereo/middlebury, raft_stereo/sceneflow'):
        find_checkpoint('raft_stereo/nothing')
    with pytest.raises(ValueError, match='holds nothing for sgbm'):
        find_checkpoint('sgbm')
    with pytest.raises(ValueError, match="model 'raft' is unknown; choose one of sgbm, nano"):
        find_checkpoint('raft/middlebury')


def test_files_are_known_by_hash_and_by_name_only_where_no_hash_is_known():
    middlebury = find_checkpoint('raft_stereo/middlebury')
    assert identify('raft_stereo', 'renamed.pth', MIDDLEBURY) is middlebury
    assert identify('raft_stereo', middlebury.file, 64 * '0') is None
    assert identify('raft_stereo', 'raftstereo-eth3d.pth', 64 * '0').name == 'eth3d'
    assert identify('igev_stereo', 'x.pth', 'ce482e600c5c' + 52 * '0').name == 'sceneflow'
    assert identify('igev_stereo', 'x.pth', 'ce482e600c5d' + 52 * '0') is None
    assert identify('elsewhere', 'x.pth', MIDDLEBURY) is None


def test_networks_and_variants_are_those_of_the_library():
    pytest.importorskip('torch')
    assert set(catalogue()) == {'sgbm', *model_names()}
    for name in model_names():
        assert list(catalogue()[name].variants) == list(network_class(name).variants)


def make_without_memory(name, variant, **settings):
    torch = pytest.importorskip('torch')
    try:
        with torch.device('meta'):
            return create_model(name, variant, **settings)
    except ModuleNotFoundError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize('entry', CHECKPOINTS, ids=lambda entry: entry.id)
def test_networks_have_the_settings_of_their_checkpoints(entry):
    pytest.importorskip('torch')
    check_settings(network_class(entry.model), entry.settings)
    if entry.settings:
        make_without_memory(entry.model, entry.variants[0], **entry.settings)


VARIANTS = [(name, key) for name, network in catalogue().items() for key in network.variants]


@pytest.mark.parametrize(('name', 'variant'), VARIANTS)
def test_parameters(name, variant):
    model = make_without_memory(name, variant)
    counted = sum(parameter.numel() for parameter in model.parameters())
    assert counted == catalogue()[name].variants[variant].parameters


@pytest.mark.parametrize(
    ('name', 'variant'),
    [
        ('raft_stereo', 'realtime'),
        ('crestereo', 'base'),
        ('dcvnet', 'stereo'),
        ('igev_stereo', 'base'),
        ('rt_igev', 'rt'),
        ('las2', 's'),
        ('las2', 'h'),
        ('light_stereo', 's'),
        ('gmstereo', 'scale1'),
        ('gmstereo', 'scale2_regrefine'),
        ('nano_stereo', 'base'),
        ('nano_stereo', 'small'),
        ('nano_stereo', 'fine'),
        ('nano_mono', 'base'),
        ('scv_stereo', 'eighth'),
        ('stereo_mae', 'spatial_tiny'),
        ('midas_small', 'base'),
        ('depth_anything_3', 'small'),
        ('depth_anything_3', 'metric_large'),
        ('metric3d', 'vit_small'),
        ('metric3d', 'vit_large'),
        ('moge2', 'vits_normal'),
        ('unidepth', 'v2_vits14'),
        ('unidepth', 'v2_vitl14'),
        ('depth_anything_v2', 'small'),
    ],
)
def test_multiply_accumulates(name, variant):
    """Counted on shapes alone; implementations may drift by a few thousandths."""
    torch = pytest.importorskip('torch')
    counter = pytest.importorskip('torch.utils.flop_counter').FlopCounterMode(display=False)
    model = make_without_memory(name, variant)
    image = torch.empty(1, 3, *model.spec.padded_size(480, 640), device='meta')
    with torch.inference_mode(False), torch.no_grad(), counter:
        model(*[image] * len(model.spec.images))
    expected = catalogue()[name].variants[variant].macs
    assert counter.get_total_flops() / 2 == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize('name', [name for name in catalogue() if name in model_names()])
def test_the_task_is_that_of_the_network(name):
    pytest.importorskip('torch')
    assert catalogue()[name].task == network_class(name).spec.task


def test_the_hash_of_the_weights_of_the_package_is_theirs():
    (stored,) = (entry for entry in list_stored() if entry.id == 'nano_stereo/default')
    assert find_checkpoint(stored.id).sha256 == stored.description.source_sha256
