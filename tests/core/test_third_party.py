"""Networks of other people's modules: the example of docs/own_networks.md, and its mistakes."""

import re
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('accelerate')
pytest.importorskip('jsonargparse')
pytest.importorskip('onnxscript')

from accelerate.state import AcceleratorState  # noqa: E402

from nndepth_core import cli, third_party  # noqa: E402
from nndepth_core.engines import EngineError, check_names, create_engine  # noqa: E402
from nndepth_core.models import create_model, model_names, network_class, register  # noqa: E402
from nndepth_core.models.raft_stereo import RaftStereo  # noqa: E402
from nndepth_core.training import TrainingError  # noqa: E402
from nndepth_core.training.stereo import StereoTrainer  # noqa: E402

DOCUMENT = Path(__file__).parents[2] / 'docs/own_networks.md'
QUICK = str(DOCUMENT.parents[1] / 'config/training/quick.yaml')
PAIRS = ['--data.size', '[64, 128]', '--data.length', '2']


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The module of the document, importable and not yet imported."""
    code = re.search(r'```python\n(.*?)```', DOCUMENT.read_text(), re.DOTALL)[1]
    (tmp_path / 'my_networks.py').write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    # a file that is written twice in a second would be taken for the compiled one of before
    monkeypatch.setattr(sys, 'dont_write_bytecode', True)
    monkeypatch.setattr(third_party, '_REGISTERED', {})
    yield tmp_path
    sys.modules.pop('my_networks', None)
    AcceleratorState._reset_state(reset_partial_state=True)


def test_is_trained_evaluated_exported_and_run(module, capsys):
    run = module / 'run'
    settings = {
        'data': 'config/data/procedural.yaml',
        'data.train.size': '[64, 128]',
        'data.train.length': 2,
        'data.validation.size': '[64, 128]',
        'data.validation.length': 1,
        'data.augmentation.crop': '[64, 128]',
        'data.batch_size': 1,
        'data.workers': 0,
        'trainer': QUICK,
        'trainer.loss': 'SequenceLoss',
        'trainer.max_steps': 2,
        'trainer.device': 'cpu',
        'trainer.folder': run,
    }
    settings['data'] = DOCUMENT.parents[1] / settings['data']
    options = [str(x) for name, value in settings.items() for x in (f'--{name}', value)]
    assert cli.main(['train', '--model.class_path', 'my_networks.ShiftNet', *options]) == 0
    weights = run / 'weights.safetensors'
    network = ['my_networks.ShiftNet', '--weights', str(weights)]
    assert cli.main(['evaluate', *network, '--data', 'ProceduralStereo', *PAIRS]) == 0
    assert 'my_networks.ShiftNet' in capsys.readouterr().out
    file = module / 'shift_net.onnx'
    assert cli.main(['export', network[0], str(file), *network[1:]]) == 0
    assert create_engine(str(file)).spec.name == 'shift_net'
    check_names('my_networks.ShiftNet-wide', task='stereo')  # as the node does
    assert create_engine(network[0], weights=weights).spec.variant == 'base'
    imported = ['weights', 'import', str(weights), '--model', network[0], '--name', 'mine']
    assert cli.main(imported) == 0
    assert create_engine(network[0]).spec.name == 'shift_net'
    assert 'nndepth' not in capsys.readouterr().err


def test_has_a_name_once_it_is_registered(module):
    with pytest.raises(ValueError, match='shift_net'):
        network_class('shift_net')
    wide = create_model('my_networks.ShiftNet', 'wide')
    assert wide.features[0].out_channels == 32
    assert 'shift_net' in model_names()
    assert create_model('shift_net').spec.title == 'shift_net-base'
    assert create_engine('shift_net-wide', weights='random').spec.variant == 'wide'
    register(type(wide))  # again
    with pytest.raises(ValueError, match='raft_stereo is the name of another network'):
        register(type(wide), 'raft_stereo')
    with pytest.raises(ValueError, match="name is 'Shift-Net'; use"):
        register(type(wide), 'Shift-Net')
    with pytest.raises(ValueError, match='raft_stereo is the name of another network'):
        register(RaftStereo)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('no_such_module.Net', "'no_such_module.Net' cannot be imported .*on PYTHONPATH"),
        ('my_networks.OtherNet', "'my_networks.OtherNet' cannot be imported .*OtherNet"),
        ('nndepth_core.spec.ModelSpec', 'ModelSpec is no network; derive it from'),
        ('weights.pth', "'weights.pth' is unknown"),
    ],
)
def test_mistakes_get_one_sentence(module, name, message):
    with pytest.raises(EngineError, match=message):
        check_names(name)


ANSWERS = {
    'disparity[..., ::2, :]': r'returns \[1, 1, 48, 160\] for images of \[1, 3, 96, 160\]; .*'
    r'must return disparity, \[1, 1, 96, 160\]$',
    'disparity[:, 0]': r'returns \[1, 96, 160\] for',
    '[disparity]': 'returns list for',
    '(disparity, disparity)': r'\] and \[1, 1, 96, 160\] for',
}


@pytest.mark.parametrize('answer', ANSWERS)
def test_other_shapes_are_refused_by_torch(module, answer):
    file = module / 'my_networks.py'
    file.write_text(file.read_text().replace('else disparity', f'else {answer}'))
    with pytest.raises(EngineError, match=ANSWERS[answer]):
        create_engine('my_networks.ShiftNet', weights='random')


def test_faults_of_a_module_are_told_as_such(module, capsys):
    file = module / 'my_networks.py'
    code = file.read_text()
    train = ['train', '--model.class_path', 'my_networks.ShiftNet', '--trainer', QUICK]
    evaluate = ['evaluate', 'my_networks.ShiftNet', '--weights', 'random']
    evaluate += ['--data', 'ProceduralStereo', *PAIRS]
    code = code.replace('@register\n', '')
    for old, new, message in (
        ('    spec = ', '    other = ', 'ShiftNet has no spec; set it to'),
        ('import torch\n', "raise RuntimeError('oops')\n", r'cannot be imported \(oops\)$'),
    ):
        sys.modules.pop('my_networks', None)
        file.write_text(code.replace(old, new, 1))
        for command in (train, evaluate):
            assert cli.main(command) == 2
            assert re.search(message, capsys.readouterr().err.strip())
    sys.modules.pop('my_networks', None)
    file.write_text(code.replace('volume = ', "volume = {}['oops'] or "))
    assert cli.main(evaluate) == 2
    assert re.search(r"my_networks.py, line \d+: KeyError: 'oops'", capsys.readouterr().err)


def test_a_map_in_place_of_a_list_is_refused_in_training(module):
    network = network_class('my_networks.ShiftNet')()
    trainer = StereoTrainer(folder=module)
    trainer.network = network
    images = {side: torch.zeros(1, 3, 32, 64) for side in ('left', 'right')}
    assert trainer.run_network(network, images)[0].shape == (1, 1, 32, 64)
    with pytest.raises(TrainingError, match='shift_net returns a Tensor in train mode; it must'):
        trainer.run_network(network.eval(), images)


def test_is_refused_for_another_task(module):
    with pytest.raises(EngineError, match='is no mono model'):
        check_names('my_networks.ShiftNet', task='mono')
    with pytest.raises(EngineError, match=r"variant 'huge' of my_networks.ShiftNet is unknown"):
        create_engine('my_networks.ShiftNet-huge', weights='random')
