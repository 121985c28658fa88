"""Importing weights: which network is asked, and the settings that ride with a checkpoint."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import get_type_hints

import pytest

from nndepth_core.spec import ModelSpec
from nndepth_core.weights import catalogue, loading, store
from nndepth_core.weights.catalogue import identify
from nndepth_core.weights.checkpoint import CheckpointError
from nndepth_core.weights.description import Origin, describe
from nndepth_core.weights.find import find_weights
from nndepth_core.weights.importing import import_weights
from nndepth_core.weights.settings import check_settings, parse_settings
from nndepth_core.weights.store import list_stored, new_path, remove_weights

torch = pytest.importorskip('torch')
safetensors = pytest.importorskip('safetensors.torch')

from nndepth_core.engines import EngineError, create_engine  # noqa: E402
from nndepth_core.engines.torch import load_network  # noqa: E402
from nndepth_core.export.cache import export_path  # noqa: E402
from nndepth_core.models import create_model, model_names, network_class  # noqa: E402
from nndepth_core.models.base import Network  # noqa: E402

FILE = 'raft.pth'
KNOWN = catalogue.find_checkpoint('raft_stereo/sceneflow')


@pytest.fixture(autouse=True)
def folder(empty_store, tmp_path, monkeypatch):
    """An empty store and an empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def file(checkpoint) -> Path:
    Path(FILE).write_bytes(checkpoint)
    return Path(FILE)


@pytest.fixture
def publish(monkeypatch):
    """Put checkpoints of RAFT-Stereo into the catalogue, in place of those in it."""
    network = catalogue.catalogue()['raft_stereo']

    def put(*entries: catalogue.Checkpoint) -> None:
        own = replace(network, checkpoints={entry.name: entry for entry in entries})
        monkeypatch.setitem(catalogue.catalogue(), 'raft_stereo', own)

    return put


@pytest.fixture
def made(monkeypatch) -> list[str]:
    """Which networks and variants are made to see what entries fit."""
    names = []

    def make(name: str, variant: str, **settings: object) -> torch.nn.Module:
        names.append(f'{name} {variant}')
        return create_model(name, variant, **settings)

    monkeypatch.setattr(loading, 'create_model', make)
    return names


def entry_of(content: bytes, **fields: object) -> catalogue.Checkpoint:
    sha256 = hashlib.sha256(content).hexdigest()
    known = {'name': 'known', 'variants': ('realtime',), 'sha256': sha256, 'file': FILE}
    return replace(KNOWN, **{**known, **fields})


def test_only_variants_of_the_named_network_are_made(file, made):
    import_weights(file, 'raft_stereo')
    assert made == ['raft_stereo base', 'raft_stereo realtime', 'raft_stereo rvc']


def test_the_catalogue_tells_the_network_and_its_variants(file, made, publish, checkpoint):
    publish(entry_of(checkpoint))
    path = import_weights(file)
    assert made == ['raft_stereo realtime']
    assert (describe(path).checkpoint, path.stem) == ('known', 'known')

    made.clear()
    import_weights(path, name='again')  # which says itself what it is
    assert made == ['raft_stereo realtime']


def test_a_variant_that_the_catalogue_does_not_name_is_tried(file, publish, checkpoint):
    publish(entry_of(checkpoint, variants=('base',)))
    about = describe(import_weights(file, 'raft_stereo', 'realtime'))
    assert (about.variant, about.variants) == ('realtime', ('realtime',))


def test_an_unknown_file_tells_its_network_by_its_entries(file, made):
    about = describe(import_weights(file))
    assert (about.model, about.variant) == ('raft_stereo', 'realtime')
    assert {'crestereo base', 'light_stereo s'} <= set(made)
    torch.save({'a.weight': torch.ones(1)}, 'other.pth')
    with pytest.raises(CheckpointError, match=r'other\.pth: it fits no model known here'):
        import_weights('other.pth')


def test_a_file_that_is_only_called_like_a_published_one_counts_as_unknown(
    file, publish, checkpoint
):
    publish(entry_of(checkpoint, variants=('base',), sha256=None, settings={'iterations': 9}))
    about = describe(import_weights(file, 'raft_stereo'))
    assert (about.variant, about.checkpoint, about.license) == ('realtime', None, None)
    assert about.settings == {}


def test_a_name_that_several_checkpoints_have_tells_nothing(publish, checkpoint):
    entry = entry_of(checkpoint, sha256=None)
    publish(entry)
    assert identify('raft_stereo', FILE, 64 * '0') == entry
    publish(entry, replace(entry, name='other'))
    assert identify('raft_stereo', FILE, 64 * '0') is None


def test_settings_of_the_catalogue_reach_the_network(file, publish, checkpoint):
    publish(entry_of(checkpoint, settings={'iterations': 9}))
    for weights in (import_weights(file, 'raft_stereo'), file):
        assert load_network('raft_stereo', 'realtime', weights).spec.iterations == 9


def test_settings_are_typed_where_nothing_tells_them(file):
    path = import_weights(file, 'raft_stereo', settings=['iterations=5'])
    assert describe(path).settings == {'iterations': 5}
    assert load_network('raft_stereo', 'realtime', path).spec.iterations == 5
    engine = create_engine('raft_stereo-realtime', 'torch', 'cpu', weights='raft')
    assert engine.iterations == 5
    again = import_weights(path, name='again')
    assert describe(again).settings == {'iterations': 5}


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (
            'max_depth=20',
            "raft_stereo has no setting 'max_depth'; it has downsample, early, gru_levels",
        ),
        ('iterations', "'iterations' has no value; write NAME=VALUE"),
        ('iterations=many', "iterations is 'many'; give a whole number"),
        ('slow_fast=maybe', "slow_fast is 'maybe'; choose one of true, false"),
        ('context_norm=none', "context_norm is 'none'; choose one of .*instance"),
    ],
)
def test_settings_that_cannot_be_are_refused(file, text, message):
    with pytest.raises(ValueError, match=message):
        import_weights(file, 'raft_stereo', settings=[text])
    assert not list_stored()


def test_settings_beyond_their_range_are_told_by_the_network():
    torch.save({'a.weight': torch.ones(1)}, 'a.pth')
    with pytest.raises(ValueError, match='max_disparity is 200; it must be a multiple of 32'):
        import_weights('a.pth', 'rt_igev', settings=['max_disparity=200'])


def test_a_file_without_entries_is_named_with_a_cure():
    torch.save(None, 'none.pth')
    with pytest.raises(CheckpointError, match=r'^none.pth: the checkpoint holds a NoneType.*save'):
        import_weights('none.pth')


def test_values_have_the_types_of_the_constructor():
    class Net(Network):
        spec = ModelSpec('net')

        def __init__(
            self,
            width: int,
            depth: float = 1.0,
            blocks: Sequence[int] = (),
            title: str = '',
            on: bool = False,
        ) -> None:
            pass

    texts = ['depth=2e1', 'blocks=[1, 2]', 'title=no', 'on=true']
    expected = {'depth': 20.0, 'blocks': [1, 2], 'title': 'no', 'on': True}
    assert parse_settings(Net, texts) == expected
    check_settings(Net, expected)
    with pytest.raises(ValueError, match="no setting 'width'; it has depth"):
        check_settings(Net, {'width': 8})  # what has no default, the variant says


@pytest.mark.parametrize(
    ('network', 'text', 'message'),
    [
        ('moge2', 'num_tokens=0', 'num_tokens is 0; give a whole number in 16..20000'),
        ('moge2', 'num_tokens=1000000000', 'num_tokens is 1000000000; give a whole number in'),
        ('las2', 'version=3', 'version is 3; give a whole number in 1..2'),
        ('stereo_mae', 'dropout=nan', 'dropout is nan; give a number in 0..1'),
        ('depth_anything_v2', 'max_depth=abc', "max_depth is 'abc'; give a number"),
        ('dcvnet', 'half_dilations=abc', "half_dilations is 'abc'; give whole numbers, as in"),
        ('nano_stereo', 'looks=half', r"looks is 'half'; give one of \[1\], \[0.5\], "),
        ('nano_stereo', 'looks=[-1]', r'looks is \[-1\]; give one of \[1\], \[0.5\], '),
        ('nano_stereo', 'features=[-1]', r"features is '\[-1\]'; give whole numbers, as in"),
        ('stereo_mae', 'patch=[16]', r"patch is '\[16\]'; give 2 whole numbers"),
    ],
)
def test_settings_of_another_type_or_range_are_refused(network, text, message):
    with pytest.raises(ValueError, match=message):
        parse_settings(network_class(network), [text])


def test_a_largest_depth_is_read_as_a_number_or_as_none():
    cls = network_class('depth_anything_v2')
    assert parse_settings(cls, ['max_depth=2e1']) == {'max_depth': 20.0}
    assert parse_settings(cls, ['max_depth=none']) == {'max_depth': None}
    for text in ('nan', 'inf', '1e400'):
        given = parse_settings(cls, ['output=depth', f'max_depth={text}'])
        with pytest.raises(ValueError, match=r'max_depth is (nan|inf); give the metres'):
            create_model('depth_anything_v2', **given)


@pytest.mark.parametrize('name', model_names())
def test_every_number_that_users_may_set_has_a_range(name):
    cls = network_class(name)
    hints = get_type_hints(cls.__init__)
    set_by_users = [x.name for x in signature(cls).parameters.values() if x.default is not x.empty]
    bounded = cls.ranges.keys() | cls.choices.keys()
    assert {x for x in set_by_users if hints[x] in (int, float)} <= bounded
    for variant in cls.variants.values():
        cls.check_ranges(variant)


def test_stored_files_without_settings_stay_readable(file):
    path = import_weights(file, 'raft_stereo')
    with safetensors.safe_open(path, 'pt') as opened:
        fields = json.loads(opened.metadata()['nndepth'])
    del fields['settings']
    safetensors.save_file(safetensors.load_file(path), path, {'nndepth': json.dumps(fields)})
    assert describe(path).settings == {}
    assert load_network('raft_stereo', 'realtime', path).spec.iterations == 7


def test_stored_settings_that_the_network_does_not_have_are_named(file):
    path = import_weights(file, 'raft_stereo')
    about = replace(describe(path), settings={'max_depth': 3})
    safetensors.save_file(safetensors.load_file(path), path, about.metadata())
    with pytest.raises(EngineError, match="raft_stereo has no setting 'max_depth'"):
        load_network('raft_stereo', 'realtime', path)


def test_exports_of_other_settings_are_other_files():
    plain = Origin('a.pth', 64 * 'a')
    deep, deeper = (replace(plain, settings={'max_depth': depth}) for depth in (20.0, 80.0))
    paths = {export_path('net', 'base', origin, 'fp32') for origin in (plain, deep, deeper)}
    paths |= {export_path('net', 'base', plain, 'fp32', settings=x) for x in ('a=1', 'a=1 b=c/d')}
    assert len(paths) == 5
    assert len({path.parent for path in paths}) == 1
    assert export_path('net', 'base', plain, 'fp32').name == f'net-base-{16 * "a"}-fp32-v2.onnx'


@pytest.fixture
def snapshot(folder, monkeypatch):
    """A folder as the transformers library saves it, of a network that reads its configuration."""
    cls = network_class('raft_stereo')

    def read(config):
        return {'iterations': config['steps']} if 'steps' in config else {}

    monkeypatch.setattr(cls, 'settings_from_config', read)
    path = folder / 'raft-hf'
    path.mkdir()
    torch.manual_seed(0)
    state = create_model('raft_stereo', 'realtime').state_dict()
    safetensors.save_file(state, path / 'model.safetensors')
    (path / 'config.json').write_text('{"steps": 4}')
    return path


def test_a_snapshot_of_transformers_is_imported_with_its_settings(snapshot):
    path = import_weights(snapshot, 'raft_stereo')
    about = describe(path)
    assert (path.stem, about.source) == ('raft-hf', 'model.safetensors')
    assert about.settings == {'iterations': 4}
    weights = find_weights('raft_stereo', 'realtime', snapshot)
    assert load_network('raft_stereo', 'realtime', weights).spec.iterations == 4
    typed = import_weights(snapshot, 'raft_stereo', settings=['iterations=6'])
    assert describe(typed).settings == {'iterations': 6}


@pytest.mark.parametrize(('text', 'message'), [('{', 'no JSON'), ('[1]', 'no settings by name')])
def test_a_damaged_configuration_is_named(snapshot, text, message):
    (snapshot / 'config.json').write_text(text)
    with pytest.raises(ValueError, match=f'config.json .*{message}'):
        import_weights(snapshot, 'raft_stereo')


def test_a_snapshot_without_configuration_is_a_folder_like_others(snapshot):
    (snapshot / 'config.json').unlink()
    with pytest.raises(CheckpointError, match=r'transformers; give .*model\.safetensors'):
        import_weights(snapshot, 'raft_stereo')


def test_removing_weights(file, monkeypatch, folder):
    path = import_weights(file, 'raft_stereo')
    assert remove_weights('raft_stereo/raft') == path
    assert not path.exists()
    broken = new_path('raft_stereo', 'broken')
    broken.symlink_to('nowhere')
    assert remove_weights('raft_stereo/broken') == broken
    for name in ('raft_stereo/raft', 'raft_stereo', '../raft', 'raft_stereo/../../raft'):
        with pytest.raises(ValueError, match=r'is not in the store; see `nndepth weights list`'):
            remove_weights(name)
    monkeypatch.setattr(store, '_BUNDLED', folder / 'cache')
    import_weights(file, 'raft_stereo', name='default')
    monkeypatch.setenv('NNDEPTH_CACHE', str(folder / 'other'))
    with pytest.raises(ValueError, match='raft_stereo/default comes with the package'):
        remove_weights('raft_stereo/default')
