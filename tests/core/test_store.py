"""The store of weights: what goes in comes out, nothing else goes in."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nndepth_core import cli
from nndepth_core.weights import importing, store
from nndepth_core.weights.checkpoint import CheckpointError
from nndepth_core.weights.description import describe
from nndepth_core.weights.importing import import_weights
from nndepth_core.weights.loading import load_weights
from nndepth_core.weights.store import cache_folder, list_stored, stored_weights

torch = pytest.importorskip('torch')
safetensors = pytest.importorskip('safetensors.torch')

from safetensors import SafetensorError  # noqa: E402

from nndepth_core.models import create_model  # noqa: E402


@pytest.fixture(autouse=True)
def here(empty_store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def make_checkpoint(
    file: str, name: str = 'raft_stereo', variant: str = 'realtime', seed: int = 0
):
    """Write fresh weights under our entry names; return their network."""
    torch.manual_seed(seed)
    model = create_model(name, variant)
    torch.save(model.state_dict(), file)
    return model


def assert_equal(model, other):
    for name, value in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, rtol=0, atol=0)


def test_cache_folder(monkeypatch):
    monkeypatch.setenv('HOME', '/home/ann')
    assert cache_folder() == Path(os.environ['NNDEPTH_CACHE'])
    monkeypatch.setenv('NNDEPTH_CACHE', '~/depth')
    assert cache_folder() == Path('/home/ann/depth')
    monkeypatch.delenv('NNDEPTH_CACHE')
    monkeypatch.setenv('XDG_CACHE_HOME', '/var/cache')
    assert cache_folder() == Path('/var/cache/nndepth')
    monkeypatch.delenv('XDG_CACHE_HOME')
    assert cache_folder() == Path('/home/ann/.cache/nndepth')


def test_official_checkpoint_is_converted_and_described(cache):
    torch.manual_seed(1)
    model = create_model('light_stereo', 's')
    sources = model.official_sources()
    official = {f'module.{sources[n].names[0]}': value for n, value in model.state_dict().items()}
    torch.save({'model_state': official, 'epoch': 90}, 'LightStereo-S-SceneFlow.ckpt')
    path = import_weights('LightStereo-S-SceneFlow.ckpt', 'light_stereo')
    assert path == cache / 'weights/light_stereo/s_sceneflow.safetensors'
    assert safetensors.load_file(path).keys() == model.state_dict().keys()
    about = describe(path)
    assert (about.model, about.variant, about.variants) == ('light_stereo', 's', ('s',))
    assert (about.source, about.checkpoint) == ('LightStereo-S-SceneFlow.ckpt', 's_sceneflow')
    assert about.license == 'academic only'
    assert len(about.source_sha256) == 64
    for file in (path, 'LightStereo-S-SceneFlow.ckpt'):
        loaded = create_model('light_stereo', 's')
        load_weights(loaded, file)
        assert_equal(model, loaded)


def test_own_entries_find_their_variant(cache):
    model = make_checkpoint('trained.pth')
    path = import_weights('trained.pth', 'raft_stereo')
    about = describe(path)
    assert (path.stem, about.variant) == ('trained', 'realtime')
    assert (about.source, about.checkpoint, about.license) == ('trained.pth', None, None)
    loaded = create_model('raft_stereo', 'realtime')
    load_weights(loaded, path)
    assert_equal(model, loaded)


def test_files_are_reproducible_and_survive_moving_to_another_store(cache, monkeypatch):
    make_checkpoint('trained.pth')
    first = import_weights('trained.pth', 'raft_stereo').read_bytes()
    path = import_weights('trained.pth', 'raft_stereo', 'realtime')
    assert path.read_bytes() == first
    monkeypatch.setenv('NNDEPTH_CACHE', str(cache / 'other'))
    moved = import_weights(path, 'raft_stereo', name='moved')
    assert moved.read_bytes() == first
    assert [entry.id for entry in list_stored()] == ['raft_stereo/moved']


def test_weights_serve_every_variant_that_they_fit():
    make_checkpoint('cre.pth', 'crestereo', 'base')
    path = import_weights('cre.pth', 'crestereo')
    assert describe(path).variants == ('base', 'cascade')
    assert stored_weights('crestereo', 'cascade') == path
    load_weights(create_model('crestereo', 'cascade'), path)


def test_finding_stored_weights():
    assert stored_weights('raft_stereo') is None
    make_checkpoint('a.pth')
    older, newer = (import_weights('a.pth', 'raft_stereo', name=name) for name in ('b', 'a'))
    os.utime(older, (1, 1))
    assert stored_weights('raft_stereo') == newer
    os.utime(newer, (0, 0))
    assert stored_weights('raft_stereo', 'realtime') == older
    assert stored_weights('raft_stereo', 'realtime', 'a') == newer
    assert stored_weights('raft_stereo', 'base') is None
    assert stored_weights('crestereo') is None
    assert [entry.id for entry in list_stored()] == ['raft_stereo/a', 'raft_stereo/b']


def test_weights_of_another_variant_say_which():
    make_checkpoint('a.pth')
    for variant in ('base', 'rvc'):
        with pytest.raises(CheckpointError) as caught:
            import_weights('a.pth', 'raft_stereo', variant)
        expected = f'a.pth: it is not raft_stereo-{variant}, but raft_stereo-realtime'
        assert str(caught.value) == expected
    with pytest.raises(CheckpointError, match='not crestereo-base, but raft_stereo-realtime'):
        load_weights(create_model('crestereo'), 'a.pth')
    assert list_stored() == []


def test_what_fits_nothing_says_what_differs():
    model = make_checkpoint('a.pth')
    torch.save(dict([*model.state_dict().items()][1:]), 'a.pth')
    with pytest.raises(CheckpointError, match=r'^a\.pth: .* fits no model known here'):
        import_weights('a.pth', 'raft_stereo', 'realtime')


def test_wrong_files_and_names():
    with pytest.raises(CheckpointError, match=r'nothing\.pth does not exist'):
        import_weights('nothing.pth', 'raft_stereo')
    with pytest.raises(ValueError, match="model 'raft' is unknown"):
        import_weights('nothing.pth', 'raft')
    make_checkpoint('a.pth')
    with pytest.raises(ValueError, match="no variant 'fast'"):
        import_weights('a.pth', 'raft_stereo', 'fast')
    for name in ('../a', '.a', 'a b', 'a/b'):
        with pytest.raises(ValueError, match='name is'):
            import_weights('a.pth', 'raft_stereo', name=name)
    whole = Path('a.pth').read_bytes()
    Path('a.pth').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r'a\.pth'):
        import_weights('a.pth', 'raft_stereo')
    assert list_stored() == []


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_weights_that_are_not_finite_are_refused(value):
    model = make_checkpoint('broken.pth')
    with torch.no_grad():
        next(model.parameters()).fill_(value)
    torch.save(model.state_dict(), 'broken.pth')
    for use in (
        lambda: import_weights('broken.pth', 'raft_stereo'),
        lambda: load_weights(model, 'broken.pth'),
    ):
        with pytest.raises(CheckpointError, match=r'broken\.pth: 1 entries hold NaN or infinity'):
            use()
    assert not list_stored()


def test_the_name_of_weights_of_the_package_is_theirs(monkeypatch, tmp_path, cache):
    make_checkpoint('default.pth')
    first = import_weights('default.pth', 'raft_stereo')
    monkeypatch.setattr(store, '_BUNDLED', cache)
    monkeypatch.setenv('NNDEPTH_CACHE', str(tmp_path / 'other'))
    with pytest.raises(ValueError, match='raft_stereo/default are the weights that come with'):
        import_weights('default.pth', 'raft_stereo')
    import_weights('default.pth', 'raft_stereo', name='mine')
    assert stored_weights('raft_stereo', name='default') == first


@pytest.mark.parametrize('kind', [OSError, SafetensorError])
def test_a_write_that_fails_leaves_the_store_as_it_was(monkeypatch, kind):
    make_checkpoint('a.pth')
    path = import_weights('a.pth', 'raft_stereo')
    before = path.read_bytes()

    def fill_disk(state, file, metadata):
        Path(file).write_bytes(b'half')
        raise kind(28, 'No space left on device')

    monkeypatch.setattr('safetensors.torch.save_file', fill_disk)
    with pytest.raises((OSError, CheckpointError), match='No space left'):
        import_weights('a.pth', 'raft_stereo')
    assert path.read_bytes() == before
    assert [*path.parent.iterdir()] == [path]


def test_listing_passes_over_what_is_not_ours():
    make_checkpoint('a.pth')
    path = import_weights('a.pth', 'raft_stereo')
    for name, content in {
        'empty': b'',
        'short': path.read_bytes()[:100],
        'huge': b'\xff' * 64,
        'foreign': safetensors.save({'a': torch.ones(1)}, {'nndepth': '{"model": 3}'}),
    }.items():
        path.with_name(f'{name}.safetensors').write_bytes(content)
    assert [entry.path for entry in list_stored()] == [path]


def test_one_odd_entry_blocks_nothing_and_is_named_once(caplog):
    make_checkpoint('a.pth')
    path = import_weights('a.pth', 'raft_stereo')
    whole = path.read_bytes()
    deep = (10**6).to_bytes(8, 'little') + b'[' * 10**6
    odd = {
        'dangling.safetensors': lambda file: file.symlink_to('nowhere'),
        'folder.safetensors': lambda file: file.mkdir(),
        'pipe.safetensors': os.mkfifo,
        'deep.safetensors': lambda file: file.write_bytes(deep),
        'cut.safetensors': lambda file: file.write_bytes(whole[:-1]),
        'new\nline.safetensors': lambda file: file.write_bytes(whole),
        'odd\udcff.safetensors': lambda file: file.write_bytes(whole),
    }
    for name, make in odd.items():
        make(path.with_name(name))
    for _ in range(2):
        assert [entry.path for entry in list_stored()] == [path]
    assert stored_weights('raft_stereo') == path
    assert len(caplog.messages) == len(odd)
    for name in odd:
        assert any(repr(name)[1:-1] in message for message in caplog.messages)


def test_the_bundled_weights_need_no_cache(monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.delenv('NNDEPTH_CACHE', raising=False)
    monkeypatch.delenv('XDG_CACHE_HOME', raising=False)

    def homeless(path):
        raise RuntimeError('Could not determine home directory.')

    monkeypatch.setattr(Path, 'expanduser', homeless)
    assert [entry.id for entry in list_stored()] == ['nano_stereo/default']
    with pytest.raises(CheckpointError, match='set the environment variable NNDEPTH_CACHE'):
        cache_folder()


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=64), st.text(max_size=20))
def test_describe_reads_anything(tmp_path, content, text):
    file = tmp_path / 'any.safetensors'
    header = f'{{"__metadata__": {{"nndepth": "{text}"}}}}'.encode()
    for data in (content, len(header).to_bytes(8, 'little') + header):
        file.write_bytes(data)
        assert describe(file) is None


def test_without_torch_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(importing, 'find_spec', lambda name: None)
    with pytest.raises(CheckpointError, match=r'torch and safetensors; pip install "nndepth\[to'):
        import_weights('a.pth', 'raft_stereo')


def test_listing_needs_no_torch():
    make_checkpoint('a.pth')
    import_weights('a.pth', 'raft_stereo', name='mine')
    code = (
        'import sys; sys.modules.update(torch=None, safetensors=None)\n'
        'from nndepth_core.cli import main; sys.exit(main())'
    )
    environment = {**os.environ, 'PYTHONPATH': str(Path(cli.__file__).parents[2])}
    for command in (['models'], ['models', 'raft_stereo'], ['weights', 'list']):
        arguments = [sys.executable, '-c', code, *command]
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, '')
        assert 'mine' in done.stdout
