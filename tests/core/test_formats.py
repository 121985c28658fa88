"""Files given as weights that are something else are called what they are, and what helps."""

import argparse
import io
import pathlib
import pickle
import zipfile
from dataclasses import dataclass

import numpy as np
import pytest

torch = pytest.importorskip('torch')
save_file = pytest.importorskip('safetensors.torch').save_file

from nndepth_core.weights import CheckpointError, find_weights, read_checkpoint  # noqa: E402

STATE = {'a.weight': torch.arange(4.0).view(2, 2), 'a.bias': torch.ones(2)}


def archive(**entries: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, 'w') as file:
        for name, data in entries.items():
            file.writestr(name.replace('__', '/'), data)
    return content.getvalue()


def saved(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def numpy_archive() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.zeros(3))
    return file.getvalue()


def script() -> bytes:
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), file)
    return file.getvalue()


@dataclass
class Settings:
    rate: float


FOREIGN = {
    'Git LFS pointer.*git lfs pull': b'version https://git-lfs.github.com/spec/v1\noid sha256:1\n',
    'web page.*browser': b'\n<!DOCTYPE html><html>sign in</html>',
    'XML': b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    'HDF5': b'\x89HDF\r\n\x1a\n' + bytes(64),
    'NumPy array;': b'\x93NUMPY\x01\x00',
    'NumPy arrays': numpy_archive(),
    'gzip.*unpack': b'\x1f\x8b\x08\x00',
    'tar archive': bytes(257) + b'ustar\x0000',
    r'ONNX file.*as the model': b'\x08\x08\x12\x07pytorch',
    'pickle that torch.save did not write': pickle.dumps({'a': 1}),
    'JSON': b'{"weights": [1, 2]}',
    'picture': b'\x89PNG\r\n\x1a\n',
    'is empty': b'',
    '(begins with 00 01 02|no whole safetensors)': bytes(range(64)),
    r"ZIP archive of 'models/a\.pth'; unpack": archive(models__a_pth=b'').replace(b'a_p', b'a.p'),
    'TorchScript.*torch.jit.load': script(),
    'Keras': archive(**{'config.json': b'', 'model.weights.h5': b''}),
    'begins like a ZIP archive.*cut short': saved(STATE)[:-100],
    r'objects \(.*Settings\).*state dict alone': saved({'model': STATE, 'args': Settings(1.0)}),
}


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
@pytest.mark.parametrize('message', FOREIGN)
def test_other_files_are_called_what_they_are(tmp_path, message, suffix):
    path = tmp_path / f'weights{suffix}'
    path.write_bytes(FOREIGN[message])
    with pytest.raises(CheckpointError, match=f'(?s)weights{suffix} .*{message}'):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ('files', 'message'),
    [
        (['model.safetensors', 'optimizer.bin'], r'accelerate.*give .*model\.safetensors$'),
        (['pytorch_model.bin'], r'give .*pytorch_model\.bin$'),
        (['zero_to_fp32.py', 'latest'], 'DeepSpeed; run its zero_to_fp32.py'),
        (['global_step9/mp_rank_00_model_states.pt'], 'DeepSpeed; give .*mp_rank_00'),
        (['model.safetensors.index.json'], 'several parts'),
        (['__0_0.distcp'], 'dcp_to_torch'),
        (['saved_model.pb'], 'TensorFlow'),
        (['data.pkl', 'version'], 'unpacked'),
        ([], 'is a folder without weights that are known here'),
    ],
)
def test_folders_are_called_what_they_are(tmp_path, files, message):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b'')
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(tmp_path)


def prefixed(prefix: str) -> dict:
    return {prefix + name: value for name, value in STATE.items()}


@pytest.mark.parametrize(
    'content',
    [
        {'state_dict': prefixed('model.'), 'pytorch-lightning_version': '2.4'},
        {'state_dict': prefixed('net.module.'), 'hyper_parameters': argparse.Namespace(lr=1)},
        {'state_dict': {**prefixed('model.'), **prefixed('ema_model.'), 'loss.w': torch.ones(1)}},
        {'state_dict': STATE, 'meta': {'path': pathlib.Path('a'), 'loss': np.float64(3)}},
        {'module': STATE, 'ds_config': {}},
        {'params_ema': STATE},
        {'n_averaged': torch.tensor(3), **prefixed('module.')},
    ],
)
def test_wrappers_of_training_frameworks_are_taken_off(tmp_path, content):
    torch.save(content, tmp_path / 'weights.ckpt')
    found = read_checkpoint(tmp_path / 'weights.ckpt')
    assert found.keys() == STATE.keys()
    assert torch.equal(found['a.weight'], STATE['a.weight'])


def test_files_of_torch_before_1_6_are_read(tmp_path):
    content = {'state_dict': STATE, 'args': argparse.Namespace(lr=1)}
    torch.save(content, tmp_path / 'a.tar', _use_new_zipfile_serialization=False)
    assert read_checkpoint(tmp_path / 'a.tar').keys() == STATE.keys()


def test_the_content_counts_and_not_the_suffix(tmp_path):
    save_file(STATE, tmp_path / 'a.pth')
    torch.save(STATE, tmp_path / 'a.safetensors')
    for name in ('a.pth', 'a.safetensors'):
        assert read_checkpoint(tmp_path / name).keys() == STATE.keys()


def bomb(name: str, claimed: int) -> bytes:
    """An archive whose entry claims to unpack to so many bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, 'w', zipfile.ZIP_DEFLATED) as file:
        file.writestr('archive/data.pkl', b'\x80\x02}.')
        file.writestr(name, bytes(1 << 16))
    data = bytearray(content.getvalue())
    directory = data.rindex(b'PK\x01\x02')
    data[directory + 24 : directory + 28] = claimed.to_bytes(4, 'little')
    return bytes(data)


def test_archives_that_unpack_to_far_more_are_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, 'load', None)
    (tmp_path / 'a.pth').write_bytes(bomb('archive/data/0', (1 << 32) - 2))
    with pytest.raises(CheckpointError, match='unpacks to 429496'):
        read_checkpoint(tmp_path / 'a.pth')


@pytest.mark.parametrize('layers', [1, 20])
def test_cycles_and_depth_end(tmp_path, layers):
    content: dict = {}
    inner = content
    for _ in range(layers - 1):
        inner['model'] = {}
        inner = inner['model']
    inner['model'] = content
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match='holds no state dict'):
        read_checkpoint(tmp_path / 'a.pth')


def test_tensors_without_values_are_no_weights(tmp_path):
    odd = {'a': torch.ones(3).to_sparse(), 'b': torch.empty(3, device='meta')}
    for name, value in odd.items():
        torch.save({name: value}, tmp_path / 'a.pth')
        with pytest.raises(CheckpointError, match='no state dict'):
            read_checkpoint(tmp_path / 'a.pth')


TENSOR = b'{"a":{"dtype":"F32","shape":[%d],"data_offsets":[0,8]}}'


def safetensors(header: bytes, data: bytes = b'') -> bytes:
    return len(header).to_bytes(8, 'little') + header + data


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (
            safetensors(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', b'1234'),
            'are due',
        ),
        (
            safetensors(b'{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}', bytes(8)),
            'header',
        ),
        (safetensors(b'[' * 100_000), 'header cannot be read|no format'),
        (safetensors(b'{"a":' * 100_000), 'header cannot be read'),
        (safetensors(b'{"__metadata__":{}}'), 'without tensors'),
        ((1 << 20).to_bytes(8, 'little') + b'{"a"', 'header of 1048576 bytes is due'),
    ],
)
def test_odd_headers_of_safetensors_are_named(tmp_path, content, message):
    (tmp_path / 'a.safetensors').write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(tmp_path / 'a.safetensors')


def test_engines_say_what_a_folder_of_weights_is(tmp_path):
    (tmp_path / 'model.safetensors').write_bytes(b'')
    with pytest.raises(CheckpointError, match=r'accelerate.*give .*model\.safetensors'):
        find_weights('nano_stereo', 'base', tmp_path)
