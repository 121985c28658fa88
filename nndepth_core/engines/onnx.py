"""ONNX Runtime: runs an exported network, with neither torch nor the network's code."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort

from nndepth_core.engines import providers
from nndepth_core.engines.base import (
    NETWORK_RANGE,
    EngineError,
    ModelSpec,
    check_images,
    physical_cores,
)
from nndepth_core.engines.card import ModelCard
from nndepth_core.engines.providers import PROVIDERS
from nndepth_core.engines.reference import textured_pair
from nndepth_core.weights.store import cache_folder

_log = logging.getLogger(__name__)

_MAPS = ('disparity', 'confidence')
_PREPARED_SHAPES = 4
"""Input shapes that buffers, and with TensorRT sessions, are kept for."""
_FOREIGN_MULTIPLE = 32
"""What networks of unknown make are padded to; enough for nearly all."""
_TYPES: dict[str, type[np.generic]] = {
    'tensor(uint8)': np.uint8,
    'tensor(float)': np.float32,
    'tensor(float16)': np.float16,
}


class ImageTensor(NamedTuple):
    """An input of the graph.

    Attributes:
        name: of the tensor.
        dtype: what it holds, 0..255 in any case.
        channels_last: (N, H, W, 3) instead of (N, 3, H, W).
        axes: names of its free dimensions, sizes of its fixed ones: batch, height, width.
    """

    name: str
    dtype: type[np.generic]
    channels_last: bool
    axes: tuple[int | str, ...]

    @classmethod
    def of(cls, argument: ort.NodeArg) -> ImageTensor:
        """Read type and layout off an input.

        Raises:
            EngineError: it is no tensor of RGB images.
        """
        shape = argument.shape
        if len(shape) == 4 and argument.type in _TYPES and 3 in (shape[1], shape[3]):
            last = shape[3] == 3
            axes = tuple(shape[:3]) if last else (shape[0], *shape[2:])
            return cls(argument.name, _TYPES[argument.type], last, axes)
        raise EngineError(
            f'input {argument.name} is {argument.type} {shape}; an image must be uint8 or float, '
            '(N, H, W, 3) or (N, 3, H, W)'
        )

    def convert(self, images: np.ndarray) -> np.ndarray:
        """Bring uint8 (N, H, W, 3) to what the tensor takes."""
        laid_out = images if self.channels_last else images.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(laid_out, self.dtype)


class Binding(NamedTuple):
    """What one input shape needs: a session and its buffers on the device."""

    session: ort.InferenceSession
    io: ort.IOBinding
    buffers: list[ort.OrtValue]


class OnnxEngine:
    """Executes an ONNX file.

    Args:
        path: the file, exported by nndepth; of another one the tensors must be named.
        device: 'auto', 'cpu', 'cuda' or 'tensorrt'; where its provider is missing, the next of
            `providers.FALLBACKS` serves, with one warning.
        precision: what the file must compute in; 'auto' takes what it has. 'fp16' makes TensorRT
            compute an fp32 file in half.
        iterations: what the graph must take; 0 takes what it has.
        threads: on the CPU; 0 for one a physical core.
        inputs: names of the left and the right image of a file that is not ours; uint8 or float
            in 0..255, channels first or last.
        outputs: names of its disparity and, where it has one, confidence.

    Raises:
        EngineError: the file is unfit for what is asked; says why.
    """

    name = 'onnxruntime'

    def __init__(
        self,
        path: str | Path,
        device: str = 'auto',
        precision: str = 'auto',
        iterations: int = 0,
        threads: int = 0,
        inputs: Sequence[str] = (),
        outputs: Sequence[str] = (),
    ) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise EngineError(f'{path} does not exist; give the path of an .onnx file')
        self._threads = threads or physical_cores()
        self._bindings: dict[tuple[int, ...], Binding] = {}
        devices = find_devices(device)
        by_shape = devices[0] == 'tensorrt'
        session = self._open([(name, {}) for name in (('cpu',) if by_shape else devices)])
        self._session = None if by_shape else session
        self.device = 'tensorrt' if by_shape else _device_of(session)
        wanted = devices[0] if device == 'auto' else device
        if self.device != wanted:
            _warn(wanted, self.device)

        self.card = ModelCard.read(session.get_modelmeta().custom_metadata_map)
        if self.card is not None:
            inputs = ('left', 'right')
            outputs = tuple(output.name for output in session.get_outputs())
        self._find_tensors(session, inputs, outputs)
        self._precision = self._check_precision(precision)
        if self.card is not None and iterations:
            self.iterations = iterations

    @property
    def iterations(self) -> int:
        """Steps the graph takes, fixed at its export; 0 where it has none or says nothing."""
        return self.card.iterations if self.card else 0

    @iterations.setter
    def iterations(self, count: int) -> None:
        if self.iterations and count != self.iterations:
            raise EngineError(
                f'{self.path} takes {self.iterations} iterations, not {count}; export it again '
                'with --iterations, or use engine torch'
            )

    def run(self, *images: np.ndarray) -> dict[str, np.ndarray]:
        """Compute on uint8 RGB images (N, H, W, 3); see `Engine`."""
        check_images(self.spec, *images)
        shape = images[0].shape
        try:
            binding = self._bindings.get(shape) or self._prepare(shape)
            for tensor, buffer, batch in zip(self._inputs, binding.buffers, images, strict=True):
                buffer.update_inplace(tensor.convert(batch))
            binding.session.run_with_iobinding(binding.io)
            maps = binding.io.copy_outputs_to_cpu()
        except EngineError:
            raise
        except Exception as error:  # ONNX Runtime's errors share no narrower base
            raise EngineError(
                f'{self.path} fails on {self.device} at {_size(shape)}: {_line(error)}'
            ) from error
        return {
            name: np.asarray(values, np.float32).reshape(shape[:3])
            for name, values in zip(_MAPS, maps, strict=False)
        }

    def disparity_range(self) -> tuple[float, float]:
        """What networks are trained on."""
        return NETWORK_RANGE

    def self_test(self) -> None:
        """Compare with what torch computed at the export; of other files, look for numbers."""
        if self.card is not None:
            self.card.reference.check(self)
            return
        height, width = self.spec.fixed_size or (3 * _FOREIGN_MULTIPLE, 5 * _FOREIGN_MULTIPLE)
        if not np.isfinite(self.run(*textured_pair(height, width))['disparity']).any():
            raise EngineError(f'{self.path} on {self.device} gives no number anywhere')

    # --- what the file holds ---------------------------------------------------------------------

    def _find_tensors(
        self, session: ort.InferenceSession, inputs: Sequence[str], outputs: Sequence[str]
    ) -> None:
        known_inputs = {argument.name: argument for argument in session.get_inputs()}
        known_outputs = [argument.name for argument in session.get_outputs()]
        if len(inputs) != 2 or not 0 < len(outputs) <= len(_MAPS):
            raise EngineError(
                f'{self.path} was not exported by nndepth; name its tensors by the options inputs '
                f'(left and right, of {", ".join(known_inputs)}) and outputs (disparity, of '
                f'{", ".join(known_outputs)})'
            )
        for name in (*inputs, *outputs):
            if name not in (*known_inputs, *known_outputs):
                raise EngineError(
                    f'{self.path} has no tensor {name!r}; it has {", ".join(known_inputs)} and '
                    f'{", ".join(known_outputs)}'
                )
        self._inputs = [ImageTensor.of(known_inputs[name]) for name in inputs]
        self._outputs = list(outputs)
        height, width = self._inputs[0].axes[1:]
        fixed = (height, width) if isinstance(height, int) and isinstance(width, int) else None
        self.spec = (
            self.card.spec(fixed)
            if self.card is not None
            else ModelSpec(
                self.path.stem, multiple=1 if fixed else _FOREIGN_MULTIPLE, fixed_size=fixed
            )
        )

    def _check_precision(self, wanted: str) -> str:
        """The precision computed in: the file's, or half where TensorRT is told to."""
        held = self.card.precision if self.card else 'fp32'
        if wanted == 'auto' or wanted == held or self.card is None:
            return held
        if wanted == 'fp16' and self.device == 'tensorrt':
            return wanted
        raise EngineError(
            f'{self.path} computes in {held}, not {wanted}; export it with --precision {wanted}'
        )

    # --- sessions --------------------------------------------------------------------------------

    def _open(
        self, devices: Sequence[tuple[str, dict[str, Any]]], shape: Sequence[int] | None = None
    ) -> ort.InferenceSession:
        """Open a session on devices with their options, its graph fixed to a shape if given."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 3  # errors
        for tensor in self._inputs if shape is not None else ():
            for axis, size in zip(tensor.axes, shape or (), strict=False):
                if isinstance(axis, str):
                    options.add_free_dimension_override_by_name(axis, size)
        chosen = [(PROVIDERS[name], settings) for name, settings in devices]
        try:
            return ort.InferenceSession(str(self.path), options, chosen)
        except Exception as error:  # ONNX Runtime's errors share no narrower base
            raise EngineError(
                f'{self.path} is no whole ONNX model that ONNX Runtime {ort.__version__} runs '
                f'({_line(error)}); export it again'
            ) from error

    def _prepare(self, shape: tuple[int, ...]) -> Binding:
        """Make session and buffers of an input shape; the least recent one makes room."""
        session = self._session or self._open_tensorrt(shape)
        on_gpu = self.device != 'cpu'
        io = session.io_binding()
        buffers = []
        for tensor in self._inputs:
            blank = tensor.convert(np.zeros(shape, np.uint8))
            buffers.append(ort.OrtValue.ortvalue_from_numpy(blank, 'cuda' if on_gpu else 'cpu', 0))
            io.bind_ortvalue_input(tensor.name, buffers[-1])
        for name in self._outputs:
            io.bind_output(name, 'cuda' if on_gpu else 'cpu')
        if on_gpu:
            session.run_with_iobinding(io)  # picks algorithms, builds engines
        if len(self._bindings) == _PREPARED_SHAPES:
            del self._bindings[next(iter(self._bindings))]
        self._bindings[shape] = Binding(session, io, buffers)
        return self._bindings[shape]

    def _open_tensorrt(self, shape: tuple[int, ...]) -> ort.InferenceSession:
        """A session of its own for every shape, since TensorRT's engines are best when fixed."""
        folder = providers.tensorrt_folder(
            cache_folder(),
            hashlib.sha256(self.path.read_bytes()).hexdigest(),
            ort.__version__,
            providers.tensorrt_version(),
            providers.gpu_name(),
            shape,
            self._precision,
        )
        folder.mkdir(parents=True, exist_ok=True)
        options = providers.tensorrt_options(folder, self._precision)
        session = self._open([('tensorrt', options), ('cuda', {}), ('cpu', {})], shape)
        if (device := _device_of(session)) != self.device:
            _warn(self.device, device)
            self.device = device
        return session


def find_devices(device: str) -> tuple[str, ...]:
    """Devices to try in turn, of those ONNX Runtime was built for."""
    available = ort.get_available_providers()
    if device != 'cpu' and PROVIDERS['cuda'] in available and hasattr(ort, 'preload_dlls'):
        with contextlib.redirect_stdout(sys.stderr):  # it prints what it does not find
            ort.preload_dlls()
    return providers.usable_devices(device, available)


def _device_of(session: ort.InferenceSession) -> str:
    """The device that a session really runs on."""
    first = session.get_providers()[0]
    return next(name for name, provider in PROVIDERS.items() if provider == first)


def _warn(wanted: str, used: str) -> None:
    _log.warning(
        'device %s is not to be had with this onnxruntime (it has %s); running on %s instead. '
        'Install nndepth[gpu] and the matching CUDA, or choose device %s',
        wanted,
        ', '.join(ort.get_available_providers()),
        used,
        used,
    )


def _size(shape: Sequence[int]) -> str:
    return f'{shape[2]}x{shape[1]}, batch {shape[0]}'


def _line(error: Exception) -> str:
    """The first sentence of what ONNX Runtime says."""
    return str(error).rpartition('] : ')[2].splitlines()[0][:200] if str(error) else repr(error)
