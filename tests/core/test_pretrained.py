"""Folders and repositories of models: what is saved is loaded again, bit for bit, everywhere."""

import errno
import hashlib
import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_hub import COMMIT, Repository, asked_hub

from nndepth_core import MonoEstimator, StereoEstimator, cli
from nndepth_core.engines import EngineError, create_engine
from nndepth_core.io import write_image
from nndepth_core.weights.catalogue import catalogue
from nndepth_core.weights.description import Origin, describe
from nndepth_core.weights.importing import import_weights
from nndepth_core.weights.licenses import (
    card_of_license,
    check_commercial,
    commercial_use,
    license_of_card,
)
from nndepth_core.weights.store import list_stored

torch = pytest.importorskip('torch')
library = pytest.importorskip('huggingface_hub')
constants = pytest.importorskip('huggingface_hub.constants')
safetensors = pytest.importorskip('safetensors.torch')

from nndepth_core.estimator import pretrained  # noqa: E402
from nndepth_core.models import create_model  # noqa: E402

ID = 'Someone/ours'
PAIR = np.random.default_rng(0).integers(0, 256, (2, 96, 160, 3), np.uint8)
CPU = {'engine': 'torch', 'device': 'cpu'}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty working directory."""
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    return tmp_path / 'here'


@pytest.fixture(scope='module')
def raft(checkpoint, tmp_path_factory) -> StereoEstimator:
    """RAFT-Stereo of a file of its own, with a setting in place of its default."""
    file = tmp_path_factory.mktemp('raft') / 'raft.pth'
    file.write_bytes(checkpoint)
    options = {'weights': file, 'network_settings': 'iterations=2'}
    return StereoEstimator.load('raft_stereo-realtime', **CPU, options=options)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A hub that is asked in place of the true one, and an empty cache."""
    with asked_hub(tmp_path / 'hf', monkeypatch) as hub:
        yield hub


def upload(server, folder, license=None) -> None:
    """Put a folder onto the hub, as `hf upload` does."""
    files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    server.repositories[ID] = Repository(files, license)


def write_pair() -> None:
    for name, image in zip(('l.png', 'r.png'), PAIR, strict=True):
        write_image(name, image)


def result(estimator) -> bytes:
    """Disparity and confidence, to the last bit."""
    found = estimator(*PAIR, confidence=True)
    return found.disparity.tobytes() + found.confidence.tobytes()


def config_in(folder) -> dict:
    return json.loads(Path(folder, 'config.json').read_text())


def rewrite(folder, **changes) -> None:
    Path(folder, 'config.json').write_text(json.dumps({**config_in(folder), **changes}))


# --- there and back ------------------------------------------------------------------------------


@pytest.mark.parametrize('engine', ['auto', 'torch'])
def test_the_default_comes_back_bit_for_bit(engine):
    default = StereoEstimator.load(engine=engine, device='cpu')
    default.save_pretrained('mine')
    again = StereoEstimator.from_pretrained('mine', engine=engine, device='cpu')
    assert again.engine.name == default.engine.name
    assert result(again) == result(default)
    assert sorted(os.listdir('mine')) == ['README.md', 'config.json', 'model.safetensors']
    assert len({path.stat().st_mode for path in Path('mine').iterdir()}) == 1
    again.save_pretrained('other')
    for name in os.listdir('mine'):
        assert Path('other', name).read_bytes() == Path('mine', name).read_bytes()


def test_settings_origin_licence_and_hashes_travel(raft, checkpoint):
    raft.save_pretrained('mine', license='mit')
    sha256 = hashlib.sha256(checkpoint).hexdigest()
    about = describe('mine/model.safetensors')
    settings, names = {'iterations': 2}, ('raft_stereo', 'realtime', ('realtime',))
    assert about.origin == Origin('raft.pth', sha256, 'MIT', None, settings)
    assert (about.model, about.variant, about.variants) == names
    config = config_in('mine')
    assert (
        config['sha256'] == hashlib.sha256(Path('mine/model.safetensors').read_bytes()).hexdigest()
    )
    assert {
        name: config[name] for name in ('task', 'source_sha256', 'settings', 'commercial_use')
    } == {
        'task': 'stereo',
        'source_sha256': sha256,
        'settings': settings,
        'commercial_use': 'allowed',
    }
    again = StereoEstimator.from_pretrained('mine', **CPU)
    assert (again.engine.spec.variant, again.iterations) == ('realtime', 2)
    assert result(again) == result(raft)


def test_iterations_that_were_set_later_stay(raft):
    raft.iterations = 3
    raft.save_pretrained('mine')
    again = StereoEstimator.from_pretrained('mine', **CPU)
    assert again.iterations == 3
    assert result(again) == result(raft)
    raft.iterations = 2


def test_options_and_settings_of_the_estimator_hold(raft):
    raft.save_pretrained('mine')
    again = StereoEstimator.from_pretrained(
        'mine', **CPU, options={'network_settings': 'iterations=1'}, processing_size=(128, 64)
    )
    assert (again.iterations, again.processing_size) == (1, (128, 64))


def test_a_model_of_one_image(folder):
    torch.manual_seed(0)
    torch.save(create_model('nano_mono').state_dict(), 'mono.pth')
    made = MonoEstimator.load('nano_mono', **CPU, options={'weights': 'mono.pth'})
    made.save_pretrained('mine')
    again = MonoEstimator.from_pretrained('mine', **CPU)
    inputs = {
        name: PAIR[:1] if name == 'image' else np.eye(3, dtype=np.float32)[None]
        for name in made.engine.spec.inputs
    }
    (first, *_), (second, *_) = (e.engine.run(inputs).values() for e in (made, again))
    assert np.array_equal(first, second)
    assert 'MonoEstimator.from_pretrained' in Path('mine/README.md').read_text()
    with pytest.raises(
        EngineError, match=r'nano_mono-.* of mine takes one image and a left and a'
    ):
        StereoEstimator.from_pretrained('mine')


def test_a_folder_is_taken_where_weights_are(raft, empty_store, capsys):
    raft.save_pretrained('mine', license='Apache-2.0')
    engine = create_engine('raft_stereo-realtime', **CPU, weights='mine')
    assert result(StereoEstimator(engine)) == result(raft)
    stored = import_weights('mine')
    before, after = describe('mine/model.safetensors'), describe(stored)
    assert (stored.stem, after) == ('mine', before)
    assert cli.main(['models', 'raft_stereo', '--json']) == 0
    (network,) = json.loads(capsys.readouterr().out)
    (entry,) = network['variants']['realtime']['stored']
    assert entry['commercial_use'] == 'allowed'
    assert entry['description']['source_sha256'] == before.source_sha256


def test_the_command_line_takes_a_folder(folder):
    write_pair()
    StereoEstimator.load(**CPU).save_pretrained('mine')
    for output, weights in (('a', ()), ('b', ('--weights', 'mine', '--commercial-only'))):
        arguments = ['infer', 'l.png', 'r.png', '--engine', 'torch', '--device', 'cpu']
        arguments += ['--model', 'nano_stereo', '--output', output, '--formats', 'pfm', *weights]
        assert cli.main(arguments) == 0
    (first,), (second,) = Path('a').glob('*.pfm'), Path('b').glob('*.pfm')
    assert first.read_bytes() == second.read_bytes()


def test_the_card_says_what_the_hub_reads(raft):
    raft.save_pretrained('mine', license='research only')
    data = library.ModelCard.load('mine/README.md').data
    assert (data.license, data.license_name) == ('other', 'research only')
    assert (data.library_name, data.pipeline_tag) == ('nndepth', 'depth-estimation')
    assert data.tags == ['stereo', 'disparity', 'raft_stereo']
    text = Path('mine/README.md').read_text()
    for fact in ('iterations=2', 'forbidden', config_in('mine')['sha256'], 'raft.pth'):
        assert fact in text


def test_no_licence_is_said_to_be_not_stated(raft):
    raft.save_pretrained('mine')
    assert config_in('mine')['license'] is None
    assert config_in('mine')['commercial_use'] == 'not stated'
    assert library.ModelCard.load('mine/README.md').data.license is None
    assert '| weights licence | not stated |' in Path('mine/README.md').read_text()


@pytest.mark.parametrize(
    'license', sorted({x.license for n in catalogue().values() for x in n.checkpoints.values()})
)
def test_licences_come_back_from_cards(license):
    card = card_of_license(license)
    back = license_of_card(card.get('license_name', card.get('license')))
    assert back == (None if license == 'not stated' else license)
    assert commercial_use(back) == commercial_use(license)


# --- ONNX files ----------------------------------------------------------------------------------


def test_an_onnx_file_is_kept_with_its_contract(folder):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    from test_engines import write_model

    shape = ('n', 3, 'h', 'w')
    write_model('theirs.onnx', shape, dtype=np.float32)
    given = {'input_range': '0,1', 'disparity_scale': 2.0}
    theirs = StereoEstimator.load('theirs.onnx', device='cpu', options=given)
    theirs.save_pretrained('mine', license='MIT')
    assert sorted(os.listdir('mine')) == ['README.md', 'config.json', 'model.onnx', 'model.yaml']
    options = {'commercial_only': True}
    again = StereoEstimator.from_pretrained('mine', device='cpu', options=options)
    assert again.engine.contract == theirs.engine.contract
    assert result(again) == result(theirs)
    again.save_pretrained('other')
    assert config_in('other')['license'] == 'MIT'
    assert config_in('other')['source'] == 'theirs.onnx'
    with pytest.raises(
        EngineError, match=r'mine holds an ONNX file.*mine/model.onnx as the model'
    ):
        create_engine('nano_stereo', weights='mine')
    with pytest.raises(EngineError, match='none is stated'):
        StereoEstimator.load('theirs.onnx', device='cpu', options=options)


def test_an_onnx_file_of_ours_says_its_licence_itself(folder):
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    in_parts = StereoEstimator.load(device='cpu', engine='onnxruntime').engine.path
    onnx.save(onnx.load(in_parts.resolve()), 'joined.onnx')  # it takes no links
    ours = StereoEstimator.load('joined.onnx', device='cpu')
    ours.save_pretrained('mine')
    assert config_in('mine')['license'] == 'Apache-2.0'
    assert config_in('mine')['source_sha256'] == ours.engine.card.weights_sha256
    assert result(StereoEstimator.from_pretrained('mine', device='cpu')) == result(ours)
    with pytest.raises(ValueError, match=r'license is MIT, but .* under Apache-2.0; leave it out'):
        ours.save_pretrained('other', license='MIT')
    assert not Path('other').exists()


def test_an_onnx_file_in_parts_is_refused(folder):
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    from test_engines import card_of, write_model

    model = onnx.load(write_model('whole.onnx', card=card_of()))
    (scale,) = (x for x in model.graph.initializer if x.name == 'scale')
    onnx.external_data_helper.set_external_data(scale, 'parts.data')
    onnx.save(model, 'parts.onnx')
    made = StereoEstimator.load('parts.onnx', device='cpu')
    with pytest.raises(ValueError, match=r'parts.onnx has its weights in files beside it; join'):
        made.save_pretrained('mine')


# --- the hub -------------------------------------------------------------------------------------


def test_a_repository_of_ours(raft, server):
    raft.save_pretrained('mine', license='Apache-2.0')
    upload(server, 'mine', 'cc-by-nc-4.0')
    options = {'commercial_only': True}
    again = StereoEstimator.from_pretrained(ID, 'main', **CPU, options=options)
    assert result(again) == result(raft)
    assert server.downloads == [('config.json', 0), ('model.safetensors', 0)]
    assert all(entry.id.startswith('nano_stereo/') for entry in list_stored())


def test_a_repository_of_others_keeps_its_place_and_licence(server, checkpoint):
    state = torch.load(io.BytesIO(checkpoint))
    files = {'config.json': b'{}', 'model.safetensors': safetensors.save(state)}
    server.repositories[ID] = Repository(files, 'cc-by-nc-4.0')
    made = StereoEstimator.from_pretrained(f'{ID}@main', model='raft_stereo', **CPU)
    made.save_pretrained('mine')
    config = config_in('mine')
    assert (config['variant'], config['license']) == ('realtime', 'CC BY-NC 4.0')
    assert config['hub'] == f'{ID}@{COMMIT}/model.safetensors'
    assert config['source_sha256'] == hashlib.sha256(files['model.safetensors']).hexdigest()
    made.iterations = 1
    again = StereoEstimator.from_pretrained('mine', **CPU)
    again.iterations = 1
    assert result(again) == result(made)
    for source in (ID, 'mine'):
        with pytest.raises(
            EngineError, match=r'commercial_only .* CC BY-NC 4.0 forbids it; choose'
        ):
            StereoEstimator.from_pretrained(
                source, model='raft_stereo', **CPU, options={'commercial_only': True}
            )


def test_a_repository_of_an_onnx_file_also_without_a_network(server, monkeypatch):
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    from test_engines import write_model

    write_model('theirs.onnx', ('n', 3, 'h', 'w'), dtype=np.float32)
    theirs = StereoEstimator.load('theirs.onnx', options={'input_range': '0,1'}, device='cpu')
    theirs.save_pretrained('mine')
    upload(server, 'mine')
    assert result(StereoEstimator.from_pretrained(ID, device='cpu')) == result(theirs)
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    assert result(StereoEstimator.from_pretrained(ID, device='cpu')) == result(theirs)


def test_what_the_hub_does_not_give_is_told_with_a_cure(server, monkeypatch):
    words = f'{ID} is no folder here, and .*; on a machine with a network run `hf download {ID} '
    with pytest.raises(ValueError, match=f'{words}--local-dir ours`, copy the folder ours here'):
        StereoEstimator.from_pretrained(ID)
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    with pytest.raises(ValueError, match=r'HF_HUB_OFFLINE is set, and .* --revision v1 --local'):
        StereoEstimator.from_pretrained(ID, 'v1')


# --- what is wrong is told in one sentence -------------------------------------------------------


def cut(folder: str) -> None:
    file = Path(folder, 'model.safetensors')
    file.write_bytes(file.read_bytes()[:-4])


def flip(folder: str) -> None:
    file = Path(folder, 'model.safetensors')
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


FAULTS = {
    'model.safetensors is damaged or another file, since its sha256 is ': cut,
    'and config.json beside it says .*; copy or download the folder again': flip,
    'mine lacks model.safetensors, which its config.json names; copy it': lambda folder: Path(
        folder, 'model.safetensors'
    ).unlink(),
    "config.json was changed: it says that settings is {'iterations': 9}, and model": (
        lambda folder: rewrite(folder, settings={'iterations': 9})
    ),
    'config.json is no JSON text; download it again': lambda folder: Path(
        folder, 'config.json'
    ).write_text('{'),
}


@pytest.mark.parametrize(('words', 'damage'), FAULTS.items())
def test_a_damaged_folder(raft, words, damage):
    raft.save_pretrained('mine')
    damage('mine')
    with pytest.raises(ValueError, match=words):
        StereoEstimator.from_pretrained('mine', **CPU)
    if 'lacks' not in words:
        with pytest.raises(EngineError, match=words):
            create_engine('raft_stereo-realtime', **CPU, weights='mine')
        with pytest.raises(ValueError, match=words):
            import_weights('mine')


@pytest.mark.parametrize(
    ('words', 'source'),
    [
        ('nothing does not exist; give a folder that save_pretrained wrote', './nothing'),
        ('empty is a folder without weights that are known here', 'empty'),
        ("'a/b@@c' is no address on the Hugging Face hub", 'a/b@@c'),
        ('it fits no model known here', 'theirs'),
    ],
)
def test_what_is_no_model(folder, words, source):
    Path('empty').mkdir()
    Path('theirs').mkdir()
    Path('theirs/config.json').write_text('{"model_type": "bert"}')
    safetensors.save_file({'x': torch.zeros(3)}, 'theirs/model.safetensors')
    with pytest.raises(ValueError, match=words):
        StereoEstimator.from_pretrained(source)


def test_no_module_that_a_file_names_is_run(raft, monkeypatch):
    raft.save_pretrained('mine')
    entries = safetensors.load_file('mine/model.safetensors')
    about = json.loads(describe('mine/model.safetensors').metadata()['nndepth'])
    Path('evil.py').write_text('raise SystemExit("was run")')
    monkeypatch.syspath_prepend('.')
    note = {'nndepth': json.dumps({**about, 'model': 'evil.Net'})}
    safetensors.save_file(entries, 'evil.safetensors', note)
    for load in (StereoEstimator.from_pretrained, import_weights):
        with pytest.raises(ValueError, match=r'evil.Net, a network of others, whose module would'):
            load('evil.safetensors')
    assert 'evil' not in sys.modules


THEIRS = """
from torch import nn

from nndepth_core.models.base import StereoNetwork
from nndepth_core.spec import ModelSpec


class Net(StereoNetwork):
    spec = ModelSpec('their_net', minimum=(16, 16))
    variants = {'base': {}, 'wide': {'width': 5}}

    def __init__(self, width: int = 3, gain: float = 1.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 1, 1))
        self.gain = gain

    def forward(self, left, right, iterations=None, confidence=False):
        return self.gain * self.layers(left - right).abs()
"""


def test_a_network_of_others_is_named(folder, monkeypatch):
    Path('their_networks.py').write_text(THEIRS)
    monkeypatch.syspath_prepend('.')
    torch.save(create_model('their_networks.Net', 'wide').state_dict(), 'net.pth')
    options = {'weights': 'net.pth', 'network_settings': 'gain=2'}
    made = StereoEstimator.load('their_networks.Net-wide', **CPU, options=options)
    made.save_pretrained('mine')
    again = StereoEstimator.from_pretrained('mine', model='their_networks.Net', **CPU)
    assert again.engine.spec.variant == 'wide'
    assert result(again) == result(made)
    with pytest.raises(ValueError, match=r'give it as model \(--model their_networks.Net\)'):
        StereoEstimator.from_pretrained('mine', **CPU)


def test_weights_of_another_network_are_named(raft):
    raft.save_pretrained('mine')
    words = 'mine holds weights of raft_stereo-realtime, not of nano_stereo-base; choose that'
    with pytest.raises(EngineError, match=words):
        create_engine('nano_stereo', **CPU, weights='mine')
    with pytest.raises(EngineError, match='of raft_stereo-realtime, not of crestereo-base'):
        StereoEstimator.from_pretrained('mine', model='crestereo', **CPU)


def test_what_cannot_be_saved(raft, folder):
    with pytest.raises(EngineError, match='sgbm on opencv was not loaded from a file of weights'):
        StereoEstimator.load('sgbm').save_pretrained('mine')
    random = StereoEstimator.load('nano_stereo', **CPU, options={'weights': 'random'})
    with pytest.raises(EngineError, match='was not loaded from a file of weights'):
        random.save_pretrained('mine')
    Path('file').touch()
    with pytest.raises(ValueError, match=r'file cannot be written \(is a file; name a folder\)'):
        raft.save_pretrained('file')
    Path('theirs').mkdir()
    Path('theirs/config.json').write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match=r'theirs holds config.json of another model; give'):
        raft.save_pretrained('theirs')
    assert Path('theirs/config.json').read_text() == '{"model_type": "bert"}'
    os.utime(raft.engine.source.file, (1, 1))
    with pytest.raises(ValueError, match=r'raft.pth is gone or was changed since the model was'):
        raft.save_pretrained('mine')
    os.utime(raft.engine.source.file, ns=(1, raft.engine.source.state[1]))
    assert not Path('mine').exists()


@pytest.mark.parametrize('number', [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_that_takes_no_files(raft, monkeypatch, number):
    def refuse(*arguments):
        raise OSError(number, os.strerror(number), 'mine/model.safetensors')

    monkeypatch.setattr(pretrained, 'write_weights', refuse)
    with pytest.raises(ValueError, match=f'mine/.* cannot be written .{os.strerror(number)}.;'):
        raft.save_pretrained('mine')


def test_a_folder_of_ours_is_replaced_but_not_what_was_written_by_hand(raft, caplog):
    StereoEstimator.load(**CPU).save_pretrained('mine')
    raft.save_pretrained('mine')
    assert config_in('mine')['model'] == 'raft_stereo'
    assert '# raft_stereo-realtime' in Path('mine/README.md').read_text()
    Path('mine/README.md').write_text('by hand')
    raft.save_pretrained('mine')
    assert Path('mine/README.md').read_text() == 'by hand'
    assert 'README.md was written by hand and is kept' in caplog.text
    again = StereoEstimator.from_pretrained('mine', **CPU)
    assert result(again) == result(raft)
    with pytest.raises(ValueError, match='mine holds what the model was loaded from; give'):
        again.save_pretrained('mine')


def test_a_save_that_was_killed_is_made_good(raft):
    raft.save_pretrained('mine')
    Path('mine/config.json').unlink()
    raft.save_pretrained('mine')
    assert result(StereoEstimator.from_pretrained('mine', **CPU)) == result(raft)


def test_without_the_library_the_extra_is_named(raft, monkeypatch):
    monkeypatch.setattr('nndepth_core.weights.model_card.find_spec', lambda name: None)
    with pytest.raises(
        ValueError, match=r'without huggingface_hub; pip install "nndepth\[torch\]'
    ):
        raft.save_pretrained('mine')
    assert not Path('mine').exists()


# --- commercial use ------------------------------------------------------------------------------

TOLD = {
    'MIT': None,
    'CC BY-NC 4.0': 'CC BY-NC 4.0 forbids it; choose what',
    'Some Licence 1.0': 'Some Licence 1.0 does not say so by its name; choose what',
    'not stated': 'none is stated; choose .* or state it by `nndepth weights import FILE',
    None: 'none is stated; choose what `nndepth models --for cpu --license commercial` lists, or',
}


@pytest.mark.parametrize(('license', 'words'), TOLD.items())
def test_only_what_is_stated_to_allow_it_is_commercial(license, words):
    if words is None:
        check_commercial(license)
    else:
        with pytest.raises(ValueError, match=words):
            check_commercial(license)


@pytest.mark.parametrize('command', ['infer', 'evaluate', 'export'])
@pytest.mark.parametrize('license', ['cc-by-nc-4.0', None])
def test_commands_refuse_weights(folder, capsys, empty_store, command, license):
    write_pair()
    torch.save(create_model('nano_stereo').state_dict(), 'mine.pth')
    import_weights('mine.pth', 'nano_stereo', license=license)
    arguments = {
        'infer': ('l.png', 'r.png', '--model', 'nano_stereo'),
        'evaluate': ('nano_stereo', '--data', 'ProceduralStereo', '--data.length', '1'),
        'export': ('nano_stereo', 'out.onnx'),
    }[command]
    assert cli.main([command, *arguments, '--commercial-only']) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert 'asks for weights whose licence allows commercial use, and ' in told
    assert ('none is stated' if license is None else 'CC BY-NC 4.0 forbids it') in told
    assert not Path('out.onnx').exists()


def test_what_has_no_weights_is_commercial():
    create_engine('sgbm', commercial_only=True)
    create_engine('nano_stereo', **CPU, weights='random', commercial_only=True)
    create_engine('nano_stereo', **CPU, commercial_only=True)


def test_import_keeps_a_licence_that_is_given(folder, empty_store, checkpoint, capsys):
    Path('raft.pth').write_bytes(checkpoint)
    assert cli.main(['weights', 'import', 'raft.pth', '--license', 'apache-2.0']) == 0
    assert '  weights licence: Apache-2.0\n  commercial use: allowed\n' in capsys.readouterr().out
    (stored,) = list_stored()
    arguments = ['weights', 'import', str(stored.path), '--license', 'MIT', '--name', 'b']
    assert cli.main(arguments) == 2
    assert 'license is MIT, but these weights are under Apache-2.0' in capsys.readouterr().err
