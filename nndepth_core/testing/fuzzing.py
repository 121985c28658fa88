"""Random and damaged inputs for all code that reads files of other people.

A reader passes if it returns, or if it raises one of its own errors. Any other exception is a
fault, and so is an input that takes too long.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType

import cv2
import numpy as np

from nndepth_core import calibration
from nndepth_core.camera import CalibrationError
from nndepth_core.config.settings import class_at
from nndepth_core.engines import EngineError
from nndepth_core.engines.card import ModelCard
from nndepth_core.engines.reference import Reference
from nndepth_core.files.writing import temporary_folder
from nndepth_core.files.yaml_mapping import read_mapping
from nndepth_core.io import read_depth, read_disparity, read_image, read_pixels
from nndepth_core.spec import ModelSpec
from nndepth_core.weights.checkpoint import CheckpointError, read_checkpoint
from nndepth_core.weights.description import describe

_SLOW = 30
"""The most seconds that an input may take."""
_NUMBERS = (b'0', b'-1', b'nan', b'inf', b'1e999', b'99999999999999999999', b'0.5', b'')
_SYNTAX = (b'[', b'{', b'"', b':', b',', b'\n', b'\0', b'- ', b'&a ', b'*a', b'!!python/', b'\xff')


@dataclass(frozen=True)
class Target:
    """A reader under test.

    Attributes:
        read: reads an input; it may put files into the empty folder that it gets.
        seeds: valid inputs, which are then damaged.
        errors: the exceptions that it may raise.
    """

    read: Callable[[bytes, Path], object]
    seeds: Sequence[bytes]
    errors: tuple[type[Exception], ...]


@dataclass
class Findings:
    """The results for one target: the number of inputs, and one input for each fault."""

    target: str
    inputs: int = 0
    seconds: float = 0.0
    refused: int = 0
    faults: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        rate = self.inputs / max(self.seconds, 1e-9)
        text = f'{self.target}: {self.inputs} inputs, {rate:.0f} a second, {self.refused} refused'
        return '\n  '.join([f'{text}, {len(self.faults)} faults', *self.faults])


def fuzz(
    name: str,
    target: Target,
    seed: int = 0,
    count: int = 0,
    seconds: float = 0.0,
    folder: Path | None = None,
) -> Iterator[Findings]:
    """Try inputs until there were `count` of them or `seconds` are over; yield the results so far.

    Args:
        name: the name of the target.
        target: the reader.
        seed: the seed of the random inputs; the same seed gives the same inputs.
        count: the number of inputs; 0 for no limit.
        seconds: the time; 0 for no limit.
        folder: the folder in which inputs with faults are stored; None stores none.
    """
    rng, found, start = random.Random(f'{name} {seed}'), Findings(name), time.monotonic()
    with temporary_folder(Path(tempfile.gettempdir())) as place:
        while (not count or found.inputs < count) and (not seconds or found.seconds < seconds):
            data = damaged(rng, target.seeds)
            if fault := _try(target, data, place, found):
                if fault not in found.faults and folder is not None:
                    folder.mkdir(parents=True, exist_ok=True)
                    path = folder / f'{name}-{hashlib.sha256(data).hexdigest()[:12]}'
                    path.write_bytes(data)
                    found.faults[fault] = str(path)
                found.faults.setdefault(fault, '')
            found.inputs += 1
            found.seconds = time.monotonic() - start
            yield found


def damaged(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Return a random input: noise, or one of the seeds with a few changes."""
    if rng.random() < 0.1:
        return rng.randbytes(rng.randrange(64))
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice((1, 2, 4, 8, 32, 1000)))
        change = rng.randrange(8)
        if change == 0:
            del data[at:]
        elif change == 1:
            del data[at:end]
        elif change == 2:
            data[at:end] = rng.randbytes(end - at)
        elif change == 3:
            data[at:at] = rng.choice(_SYNTAX) * rng.choice((1, 1, 2, 5000))
        elif change == 4:
            data[at:end] = rng.choice(_NUMBERS)
        elif change == 5:
            other = rng.choice(seeds)
            cut = rng.randrange(len(other) + 1)
            data[at:] = other[cut:]
        elif change == 6:
            data[at:at] = data[at:end]
        else:
            width = rng.choice((1, 2, 4, 8))
            value = rng.choice((0, 1, (1 << 8 * width) - 1, 1 << (8 * width - 1)))
            data[at : at + width] = value.to_bytes(width, rng.choice(('little', 'big')))
    return bytes(data)


def report(found: Sequence[Findings]) -> str:
    """Write all results as JSON."""
    return json.dumps([asdict(findings) for findings in found], indent=2)


def _try(target: Target, data: bytes, folder: Path, found: Findings) -> str:
    """Let the target read an input; return what is wrong, or '' if nothing is."""
    try:
        with _time_limit():
            target.read(data, folder)
    except target.errors:
        found.refused += 1
    except Exception as error:
        places = traceback.extract_tb(error.__traceback__)
        ours = [place for place in places if 'nndepth_' in place.filename] or list(places)
        return f'{type(error).__name__} at {Path(ours[-1].filename).name}:{ours[-1].lineno}'
    return ''


class _TookTooLongError(Exception):
    """An input took too long."""


@contextmanager
def _time_limit() -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _TookTooLongError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(_SLOW)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def core_targets() -> dict[str, Target]:
    """Return the readers of the library by name; `checkpoint` needs torch."""
    return {
        'io': Target(_read_pictures, _pictures(), (ValueError, OSError)),
        'calibration': Target(_read_calibration, _calibrations(), (CalibrationError,)),
        'raw_calibration': Target(_read_raw_calibration, _raw_calibrations(), (CalibrationError,)),
        'checkpoint': Target(_read_checkpoint, _checkpoints(), (CheckpointError,)),
        'store': Target(lambda data, folder: describe(_put(data, folder)), _checkpoints(), ()),
        'card': Target(_read_card, [_card()], (EngineError,)),
        'config': Target(_read_config, _configs(), (ValueError,)),
    }


def _put(data: bytes, folder: Path, suffix: str = '') -> Path:
    path = folder / f'input{suffix}'
    path.write_bytes(data)
    return path


def _read_pictures(data: bytes, folder: Path) -> None:
    errors: list[Exception] = []
    for read, suffix in (
        (read_image, '.png'),
        (read_pixels, '.png'),
        (read_disparity, '.pfm'),
        (read_disparity, '.npy'),
        (read_disparity, '.png'),
        (read_depth, '.npy'),
        (read_depth, '.png'),
    ):
        try:
            read(_put(data, folder, suffix))
        except (ValueError, OSError) as error:
            errors.append(error)
    if errors:
        raise errors[0]


def _pictures() -> list[bytes]:
    image = np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3)
    array = io.BytesIO()
    np.save(array, image[..., 0].astype(np.float32))
    pictures = [cv2.imencode(suffix, image)[1].tobytes() for suffix in ('.png', '.jpg', '.ppm')]
    coded = cv2.imencode('.png', image[..., 0].astype(np.uint16) * 256)[1].tobytes()
    return [*pictures, coded, array.getvalue(), b'Pf\n4 2\n-1.0\n' + bytes(32)]


def _read_calibration(data: bytes, folder: Path) -> None:
    path = _put(data, folder, '.yaml')
    for source in (str(path), f'{path},{path}', data.decode(errors='replace').partition('\n')[0]):
        try:
            calibration.parse(source).camera((640, 480))
        except OSError:  # no such file
            continue


def _read_raw_calibration(data: bytes, folder: Path) -> None:
    path = _put(data, folder, '.yaml')
    for source in (str(path), f'{path},{path}'):
        calibration.parse_raw(source, single=True).rectifiers((64, 48))


def _calibrations() -> list[bytes]:
    p = '[500., 0., 320., {}, 0., 500., 240., 0., 0., 0., 1., 0.]'
    left, right = p.format('0.'), p.format('-60.')
    plain = [text.strip('[]').replace(',', '') for text in (left, right)]
    return [
        text.encode()
        for text in (
            '500,500,320,240,0.12,3',
            f'P0: {plain[0]}\nP1: {plain[1]}\nS_00: 640 480\n',
            'cam0=[500 0 320; 0 500 240; 0 0 1]\ndoffs=3\nbaseline=120\nwidth=640\nheight=480\n',
            f'image_width: 640\nimage_height: 480\nprojection_matrix:\n  data: {left}\n',
            f'%YAML:1.0\n---\nP1: !!opencv-matrix\n   rows: 3\n   data: {left}\n'
            f'P2: !!opencv-matrix\n   rows: 3\n   data: {right}\n',
            'Camera.fx: 500.\nCamera.fy: 500.\nCamera.cx: 320.\nCamera.cy: 240.\nCamera.bf: 60.\n',
        )
    ]


def _raw_calibrations() -> list[bytes]:
    k, d, r = '50 0 32 0 50 24 0 0 1', '0.1 0.01 0 0 0', '1 0 0 0 1 0 0 0 1'
    listed = {
        name: f'[{text.replace(" ", ", ")}]' for name, text in zip('kdr', (k, d, r), strict=True)
    }
    kitti = ''.join(
        f'K_{side}: {k}\nD_{side}: {d}\nR_rect_{side}: {r}\n'
        f'P_rect_{side}: 50 0 32 {shift} 0 50 24 0 0 0 1 0\n'
        for side, shift in (('02', 0), ('03', -6))
    )
    camera = (
        'camera_model: pinhole, distortion_model: radtan, distortion_coeffs: [0.1, 0.01, 0, 0], '
        'intrinsics: [50, 50, 32, 24], resolution: [64, 48]'
    )
    motion = '[[1, 0, 0, -0.1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]'
    lenses = ''.join('M{0}: {k}\nD{0}: {d}\n'.format(side, **listed) for side in '12')
    xml = ''.join(f'<M{s}><data>{k}</data></M{s}><D{s}><data>{d}</data></D{s}>' for s in '12')
    return [
        text.encode()
        for text in (
            kitti,
            f'cam0: {{{camera}}}\ncam1: {{{camera}, T_cn_cnm1: {motion}}}\n',
            f'%YAML:1.0\n---\n{lenses}R: {listed["r"]}\nT: [-0.1, 0, 0]\n',
            f'camera_matrix: {listed["k"]}\ndistortion_coefficients: {listed["d"]}\n'
            'distortion_model: plumb_bob\nimage_width: 64\nimage_height: 48\n',
            f'<opencv_storage>{xml}<R><data>{r}</data></R><T><data>-0.1 0 0</data></T>'
            '</opencv_storage>',
        )
    ]


def _read_checkpoint(data: bytes, folder: Path) -> None:
    read_checkpoint(_put(data, folder, '.pth'))


def _checkpoints() -> list[bytes]:
    import torch
    from safetensors.torch import save

    state = {'a.weight': torch.ones(2, 2), 'a.bias': torch.zeros(2)}
    about = {'model': 'a', 'variant': 'b', 'variants': ['b'], 'source': 'c', 'source_sha256': 'd'}
    notes = {'nndepth': json.dumps({**about, 'checkpoint': None, 'license': None})}
    seeds = [save(state, notes), save(state)]
    for settings in ({}, {'_use_new_zipfile_serialization': False}):
        file = io.BytesIO()
        torch.save({'state_dict': state, 'epoch': 3, 'path': Path('a')}, file, **settings)
        seeds.append(file.getvalue())
    return seeds


def _read_card(data: bytes, folder: Path) -> None:
    ModelCard.read({'nndepth': data.decode(errors='replace')})


def _card() -> bytes:
    reference = Reference((64, 128), (4.0,) * 48, 0.05)
    spec = ModelSpec('nano_stereo', 'base', confidence='head', multiple=32, minimum=(64, 64))
    card = ModelCard(spec, 'a', 'ab', license=None, precision='fp32', reference=reference)
    return card.metadata()['nndepth'].encode()


def _read_config(data: bytes, folder: Path) -> None:
    content = read_mapping(_put(data, folder, '.yaml'))
    class_at(f'nndepth_core.{content.get("class_path")}')


def _configs() -> list[bytes]:
    return [
        b'class_path: data.synthetic.procedural.ProceduralStereo\ninit_args:\n  size: [64, 96]\n',
        b'data:\n  train: {class_path: KITTI, init_args: {root: a}}\n  batch_size: 3\n',
    ]
