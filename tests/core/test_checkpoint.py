"""Reading checkpoint files, loading official entries, and what is said of those that misfit."""

import collections

import pytest

torch = pytest.importorskip('torch')

from fill import load_golden  # noqa: E402
from probe import official_state  # noqa: E402

from nndepth_core.models import create_model, model_names, network_class  # noqa: E402
from nndepth_core.weights import (  # noqa: E402
    CheckpointError,
    load_official,
    load_weights,
    matching_models,
    read_checkpoint,
)


@pytest.fixture(scope='module')
def realtime():
    return official_state(load_golden('raft_stereo_realtime')[0])


@pytest.fixture
def small():
    return {'a.weight': torch.arange(4.0).view(2, 2), 'a.bias': torch.ones(2)}


def test_importing_the_library_imports_no_torch(in_new_process):
    code = (
        'import sys, nndepth_core, nndepth_core.models, nndepth_core.weights;'
        'print("torch" in sys.modules)'
    )
    assert in_new_process(code) == 'False\n'


def test_every_network_describes_itself():
    for name in model_names():
        cls = network_class(name)
        assert cls.spec.name == name
        assert cls.variants
        assert all(isinstance(settings, dict) for settings in cls.variants.values())


@pytest.mark.parametrize(
    ('names', 'message'),
    [(('raft',), "'raft' is unknown.*raft_stereo"), (('raft_stereo', 'huge'), 'base, realtime')],
)
def test_unknown_names_are_answered_with_the_known_ones(names, message):
    with pytest.raises(ValueError, match=message):
        create_model(*names)


@pytest.mark.parametrize(
    'wrap',
    [
        lambda state: state,
        lambda state: {'state_dict': state, 'epoch': 3},
        lambda state: {'model_state': {'module.' + k: v for k, v in state.items()}},
        lambda state: {'model': {'state_dict': state}},
        lambda state: {'_orig_mod.module.' + k: v for k, v in state.items()},
        lambda state: collections.OrderedDict(state),
    ],
)
def test_reads_wrapped_state_dicts(tmp_path, small, wrap):
    torch.save(wrap(small), tmp_path / 'weights.pth')
    found = read_checkpoint(tmp_path / 'weights.pth')
    assert found.keys() == small.keys()
    torch.testing.assert_close(found['a.weight'], small['a.weight'])


def test_reads_safetensors(tmp_path, small):
    save_file = pytest.importorskip('safetensors.torch').save_file
    save_file({'module.' + k: v for k, v in small.items()}, tmp_path / 'weights.safetensors')
    assert read_checkpoint(tmp_path / 'weights.safetensors').keys() == small.keys()


def test_altered_values_are_refused(tmp_path, small):
    """Torch does not look at the check sums of its files."""
    path = tmp_path / 'weights.pth'
    torch.save({'values': torch.zeros(4000), **small}, path)
    content = bytearray(path.read_bytes())
    at = content.index(bytes(16000)) + 8000
    content[at : at + 100] = b'x' * 100
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r'damaged: its part .*/data/\d+ differs'):
        read_checkpoint(path)


@pytest.mark.parametrize('name', ['weights.pth', 'weights.safetensors'])
@pytest.mark.parametrize('kept', [0, 0.03, 0.9])
def test_truncated_files_are_refused(tmp_path, small, name, kept):
    path = tmp_path / name
    if path.suffix == '.pth':
        torch.save(small, path)
    else:
        pytest.importorskip('safetensors.torch').save_file(small, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(CheckpointError, match=name):
        read_checkpoint(path)


@pytest.mark.parametrize('content', [b'<html>not found</html>', b'version https://git-lfs'])
def test_files_that_are_no_checkpoints_are_refused(tmp_path, content):
    for name in ('weights.pth', 'weights.safetensors'):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=name):
            read_checkpoint(tmp_path / name)
    with pytest.raises(CheckpointError, match='does not exist'):
        read_checkpoint(tmp_path / 'nowhere.pth')


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), 'w'))


def test_pickled_code_is_not_run(tmp_path, small):
    torch.save({'state_dict': small, 'args': Trap(tmp_path / 'sprung')}, tmp_path / 'trap.pth')
    with pytest.raises(CheckpointError, match='could run code'):
        read_checkpoint(tmp_path / 'trap.pth')
    assert not (tmp_path / 'sprung').exists()


@pytest.mark.parametrize('content', [{}, {'epoch': 3}, {0: torch.ones(1)}, [1], 5])
def test_contents_that_are_no_state_dict_are_refused(tmp_path, content):
    torch.save(content, tmp_path / 'weights.pth')
    with pytest.raises(CheckpointError, match='checkpoint holds'):
        read_checkpoint(tmp_path / 'weights.pth')


def test_another_variant_is_named(realtime):
    with pytest.raises(
        CheckpointError, match='it is not raft_stereo-base, but raft_stereo-realtime'
    ):
        load_official(create_model('raft_stereo'), realtime)
    assert matching_models(realtime) == [('raft_stereo', 'realtime')]


def test_differences_are_named(realtime):
    state = dict(realtime)
    del state['update_block.flow_head.conv2.bias']
    state['surplus'] = torch.zeros(1)
    state['update_block.mask.2.bias'] = torch.zeros(144)
    with pytest.raises(CheckpointError) as caught:
        load_official(create_model('raft_stereo', 'realtime'), state)
    message = str(caught.value)
    assert '1 missing (update_block.flow_head.conv2.bias)' in message
    assert '1 unexpected (surplus)' in message
    assert 'update_block.mask.2.bias is 144' in message
    assert 'fits no model' in message


def test_a_part_of_our_own_entries_is_named_by_them(tmp_path):
    network = create_model('nano_stereo')
    state = network.state_dict()
    name = next(iter(state))
    del state[name]
    torch.save(state, tmp_path / 'part.pth')
    with pytest.raises(CheckpointError) as caught:
        load_weights(network, tmp_path / 'part.pth')
    assert f'it is not one of nano_stereo-base: 1 missing ({name}); it fits' in str(caught.value)


def test_parts_that_do_not_join_are_named(realtime):
    state = dict(realtime)
    state['update_block.gru08.convr.weight'] = torch.zeros(128, 384, 1, 1)
    with pytest.raises(CheckpointError, match='of another shape'):
        load_official(create_model('raft_stereo', 'realtime'), state)


def test_nothing_is_loaded_where_something_differs(realtime):
    model = create_model('raft_stereo', 'realtime')
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError):
        load_official(model, {**realtime, 'surplus': torch.zeros(1)})
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_second_names_counters_and_unused_entries_may_be_left_out(realtime):
    state = {
        name: value
        for name, value in realtime.items()
        if not name.endswith('num_batches_tracked') and 'layer5' not in name
    }
    first = 'cnet.layer2.0.downsample.1.weight'
    state['cnet.layer2.0.norm3.weight'] = state.pop(first)
    model = create_model('raft_stereo', 'realtime')
    load_official(model, state)
    loaded = model.state_dict()['context.trunk.stages.1.0.shortcut.norm.weight']
    torch.testing.assert_close(loaded, realtime[first])


def test_half_precision_entries_are_widened(realtime):
    model = create_model('raft_stereo', 'realtime')
    load_official(model, {name: value.half() for name, value in realtime.items()})
    assert {p.dtype for p in model.parameters()} == {torch.float32}
