"""What a file that is given as weights is, told by its content. Needs no torch.

Errors are ValueErrors that read on from the name of the file: 'is a web page; ...'.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import BadZipFile, ZipFile, ZipInfo

SAFETENSORS = 'safetensors'
TORCH_ZIP = 'torch.save'
TORCH_LEGACY = 'torch.save before 1.6'

_MAXIMUM_HEADER = 100_000_000
"""Bytes of the part of a file that describes its tensors."""
_FREE = 1 << 26
"""Bytes that the content of an archive may always have."""
_RATIO = 4
"""Weights hardly shrink; what unpacks to more times its size is none."""
_LEGACY = b'\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'

_ONNX = rb'(?s)\x08[\x01-\x1f](\x12|\x3a|\x1a|\x22|\x2a|\x42)'
_EMPTY = 'is empty; copy or download the file again'

_GIVE = 'give a state dict that torch.save wrote, or a .safetensors file'
_UNPACK = 'unpack it and give the checkpoint in it'
_OTHERS: tuple[tuple[bytes, str], ...] = (
    (
        rb'version https://git-lfs',
        'is a Git LFS pointer, a note that stands for the file; run `git lfs pull` in its '
        'repository, or download the file itself',
    ),
    (
        rb'(\xef\xbb\xbf)?\s*(?i:<!doctype html|<html|<head)',
        'is a web page, such as a login or a notice; download the file itself in a browser',
    ),
    (rb'(\xef\xbb\xbf)?\s*<', f'is an XML or HTML text; {_GIVE}'),
    (rb'\x89HDF\r\n\x1a\n', f'is an HDF5 file, as Keras and MATLAB write; {_GIVE}'),
    (rb'\x93NUMPY', f'is a NumPy array; {_GIVE}'),
    (rb'\x1f\x8b', f'is a gzip archive; {_UNPACK}'),
    (rb'BZh', f'is a bzip2 archive; {_UNPACK}'),
    (rb'\xfd7zXZ', f'is an xz archive; {_UNPACK}'),
    (rb'\x28\xb5\x2f\xfd', f'is a Zstandard archive; {_UNPACK}'),
    (rb'7z\xbc\xaf', f'is a 7-Zip archive; {_UNPACK}'),
    (rb'Rar!', f'is a RAR archive; {_UNPACK}'),
    (
        rb'(?s).{257}ustar',
        f'is a tar archive; {_UNPACK}, or where torch before 0.2 wrote it: load it there and save '
        'its state dict with a newer one',
    ),
    (rb'GGUF', f'is a GGUF file of a language model; {_GIVE}'),
    (rb'(?s).{4}TFL3', f'is a TensorFlow Lite model; {_GIVE}'),
    (
        rb'ftrt|ptrt',
        'is a TensorRT engine, which holds no weights to read; give its ONNX file or checkpoint',
    ),
    (rb'\x89PNG|\xff\xd8\xff|GIF8|BM', f'is a picture; {_GIVE}'),
    (
        _ONNX,
        'is an ONNX file, a network with its weights; give it as the model, and no weights',
    ),
    (
        rb'\x80[\x02-\x05]',
        'is a Python pickle that torch.save did not write, and pickles could run code; where you '
        "trust it, load it by pickle and save its tensors: torch.save(tensors, 'weights.pth')",
    ),
    (rb'\s*[\[{]', f'is a JSON text; {_GIVE}'),
)

_FOLDERS = (
    ('weights.safetensors', 'a checkpoint of a training by nndepth'),
    ('model.safetensors', 'a checkpoint folder of accelerate or transformers'),
    ('pytorch_model.bin', 'a checkpoint folder of accelerate or transformers'),
)


def kind_of(path: Path) -> str:
    """Tell what a file of weights is: SAFETENSORS, TORCH_ZIP or TORCH_LEGACY.

    Raises:
        ValueError: it is something else, or unpacks to more than weights do; says what, and what
            to give instead.
        OSError: it cannot be read.
    """
    if path.is_dir():
        raise ValueError(_folder(path))
    if not path.is_file():
        raise ValueError('is no regular file; give the path of a checkpoint file')
    size = path.stat().st_size
    with path.open('rb') as file:
        head = file.read(512)
    if not head:
        raise ValueError(_EMPTY)
    if re.match(rb'(?s).{8}\s*\{', head) and int.from_bytes(head[:8], 'little') < max(
        size, 1 << 32
    ):
        read_header(path)
        return SAFETENSORS
    if head.startswith(_LEGACY):
        return TORCH_LEGACY
    if head.startswith(b'PK\x03\x04') or head.startswith(b'PK\x05\x06'):
        _check_archive(path, size)
        return TORCH_ZIP
    for pattern, what in _OTHERS:
        if re.match(pattern, head):
            raise ValueError(what)
    if path.suffix == '.safetensors':
        read_header(path)
    raise ValueError(f'has no format of weights: it begins with {head[:8].hex(" ")}; {_GIVE}')


def foreign_kind(path: Path, give: str) -> str | None:
    """Tell what a file that should be an ONNX model is instead; None where that is not known.

    Args:
        path: of the file.
        give: the cure, in place of that for weights.
    """
    with path.open('rb') as file:
        head = file.read(512)
    if not head:
        return _EMPTY
    if head.startswith((b'PK\x03\x04', _LEGACY)) or re.match(rb'(?s).{8}\s*\{', head):
        return f'is a checkpoint or an archive, with weights at most; {give}'
    found = (what for pattern, what in _OTHERS if re.match(pattern, head) and pattern != _ONNX)
    return next(found, '').replace(_GIVE, give).replace('the checkpoint', 'the file') or None


def read_header(path: Path) -> dict[str, Any]:
    """Read what a safetensors file says of its tensors, and check that all of them are there.

    Raises:
        ValueError: it is no safetensors file, or not whole.
        OSError: it cannot be read.
    """
    if path.exists() and not path.is_file():
        raise ValueError('is no regular file')
    size = path.stat().st_size
    with path.open('rb') as file:
        length = int.from_bytes(file.read(8), 'little')
        if length > min(size - 8, _MAXIMUM_HEADER):
            raise ValueError(
                f'is no whole safetensors file: a header of {length} bytes is due in a file of '
                f'{size}; copy or download it again'
            )
        text = file.read(length)
    try:
        header = json.loads(text)
        tensors = {name: entry for name, entry in header.items() if name != '__metadata__'}
        due = 8 + length + max((_end(entry) for entry in tensors.values()), default=0)
    except (ValueError, AttributeError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(f'is no safetensors file: its header cannot be read; {_GIVE}') from error
    if due != size:
        raise ValueError(
            f'is no whole safetensors file: {due} bytes are due, {size} are there; copy or '
            'download it again'
        )
    if not tensors:
        raise ValueError('is a safetensors file without tensors; give one with weights')
    return header


def check_expansion(entries: list[ZipInfo], size: int) -> None:
    """Refuse the entries of an archive of `size` bytes that unpack to more than weights do.

    Raises:
        ValueError: they do.
    """
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > max(_FREE, _RATIO * size):
        raise ValueError(
            f'has {size} bytes and unpacks to {unpacked}, as no weights do; '
            'get it from its authors'
        )


def _end(entry: dict[str, Any]) -> int:
    """Where a tensor ends, for which its type and shape must account."""
    first, last = entry['data_offsets']
    bits = re.search(r'\d+', entry['dtype'])
    due = math.prod(entry['shape']) * (int(bits[0]) if bits else 8)
    if min(first, *entry['shape'], 0) < 0 or (last - first) * 8 != due:
        raise ValueError('offsets, type and shape contradict each other')
    return last


def _check_archive(path: Path, size: int) -> None:
    try:
        with ZipFile(path) as archive:
            entries = archive.infolist()
    except (BadZipFile, NotImplementedError, ValueError, EOFError) as error:
        raise ValueError(
            'begins like a ZIP archive, as torch.save writes, but its end is not one: it was cut '
            'short or changed; copy or download it again'
        ) from error
    check_expansion(entries, size)
    names = {
        PurePosixPath(*PurePosixPath(entry.filename).parts[1:]).as_posix() for entry in entries
    }
    pickles = [entry for entry in entries if PurePosixPath(entry.filename).name == 'data.pkl']
    if 'constants.pkl' in names or 'bytecode.pkl' in names:
        raise ValueError(
            'is a TorchScript archive, a program with its weights; save these alone: '
            "torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth'), and give that file"
        )
    if any(entry.flag_bits & 1 for entry in entries):
        raise ValueError(f'is an encrypted ZIP archive; {_UNPACK}')
    if 'data.pkl' in names and pickles:
        if max(entry.file_size for entry in pickles) > _MAXIMUM_HEADER:
            raise ValueError(
                'describes its tensors in more than 100 MB, as no checkpoint does; get it from '
                'its authors'
            )
        return
    plain = sorted(entry.filename for entry in entries)
    if any(name.endswith('model.weights.h5') for name in plain):
        raise ValueError(f'is a model of Keras; {_GIVE}')
    if plain and all(name.endswith('.npy') for name in plain):
        raise ValueError(f'is an archive of NumPy arrays; {_GIVE}')
    if any(
        PurePosixPath(name).name in ('archive_format', 'serialized_exported_program.json')
        for name in plain
    ):
        raise ValueError(f'is a program of torch.export; {_GIVE}')
    raise ValueError(f'is a ZIP archive of {_some(plain)}; {_UNPACK}')


def _folder(path: Path) -> str:
    for name, what in _FOLDERS:
        if (path / name).is_file():
            return f'is {what}; give {path / name}'
    if list(path.glob('*.index.json')):
        return (
            'is a checkpoint folder in several parts; join them where they were written: '
            "save_file(model.state_dict(), 'weights.safetensors')"
        )
    states = sorted(
        [*path.glob('mp_rank_*_model_states.pt'), *path.glob('*/mp_rank_*_model_states.pt')]
    )
    if (path / 'zero_to_fp32.py').is_file():
        return (
            'is a checkpoint folder of DeepSpeed; run its zero_to_fp32.py, which joins the parts, '
            'and give the file that it writes'
        )
    if states:
        return f'is a checkpoint folder of DeepSpeed; give {states[-1]}'
    if list(path.glob('*.distcp')):
        return (
            'is a distributed checkpoint of torch; join it by `python -m '
            'torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER weights.pth`'
        )
    if (path / 'model.onnx').is_file():
        return (
            f'holds an ONNX file, a network with its weights; give {path / "model.onnx"} as the '
            'model, and no weights'
        )
    if (path / 'saved_model.pb').is_file():
        return f'is a model of TensorFlow; {_GIVE}'
    if (path / 'data.pkl').is_file():
        return 'is an unpacked checkpoint of torch.save; give the file that was unpacked'
    return (
        'is a folder without weights that are known here, such as model.safetensors beside '
        'config.json; give the path of a checkpoint file'
    )


def _some(names: list[str]) -> str:
    shown = ', '.join(repr(name) for name in names[:3]) or 'nothing'
    return shown + (', ...' if len(names) > 3 else '')
