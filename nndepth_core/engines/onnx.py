"""ONNX Runtime: runs an exported network, with neither torch nor the network's code."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort

from nndepth_core.engines import providers
from nndepth_core.engines.base import EngineError, check_inputs, iterations_for, physical_cores
from nndepth_core.engines.card import ModelCard
from nndepth_core.engines.contract import Contract, contract_file
from nndepth_core.engines.contract_check import SIZE, check_contract, stepped_pair
from nndepth_core.engines.memory import check_fixed_size
from nndepth_core.engines.providers import PROVIDERS
from nndepth_core.engines.source import Source
from nndepth_core.engines.tensors import ImageTensor, find_inputs, find_outputs, read_map
from nndepth_core.spec import ModelSpec
from nndepth_core.weights.formats import foreign_kind
from nndepth_core.weights.store import cache_folder

_log = logging.getLogger(__name__)

_PREPARED_SHAPES = 8
"""Number of input shapes whose buffers, and with TensorRT sessions, are kept."""
_SPIN_US = 100
"""Microseconds that a thread without work waits before it sleeps."""
_FOREIGN_MULTIPLE = 32
"""The multiple to which images for unknown networks are padded; it suits nearly all."""
_GIVE = 'give the .onnx file of a network'


class Binding(NamedTuple):
    """What is needed to run one input shape: a session and its buffers on the device."""

    session: ort.InferenceSession
    io: ort.IOBinding
    buffers: list[ort.OrtValue]


class OnnxEngine:
    """Executes an ONNX file.

    Args:
        path: the file.
        device: 'auto', 'cpu', 'cuda' or 'tensorrt'; if its provider is missing, the next one of
            `providers.FALLBACKS` is used, with one warning.
        precision: the precision that the file must have; 'auto' accepts any. With 'fp16',
            TensorRT computes an fp32 file in half precision.
        iterations: the iterations that the file must have; 0 accepts any number.
        threads: the number of threads on the CPU; 0 takes one per physical core.
        declared: parts of the `Contract` of a file that nndepth did not export; they take
            precedence over those in the YAML beside it.

    Attributes:
        contract: how images become inputs of the graph, and how its outputs become a disparity.
        source: what `create_engine` made it from.

    Raises:
        EngineError: the file does not suit what is asked for; the message says why.
    """

    name = 'onnxruntime'
    source: Source | None = None

    def __init__(
        self,
        path: str | Path,
        device: str = 'auto',
        precision: str = 'auto',
        iterations: int = 0,
        threads: int = 0,
        **declared: Any,
    ) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            what = 'is no file' if self.path.exists() else 'does not exist'
            raise EngineError(f'{path} {what}; give the path of an .onnx file')
        self._threads = threads or physical_cores()
        self._bindings: dict[tuple[int, ...], Binding] = {}
        self._running = threading.Lock()
        self._inputs: list[ImageTensor] = []
        self._numbers: list[ort.NodeArg] = []
        self.contract = Contract()
        self.spec = ModelSpec(self.path.stem)
        devices = find_devices(device)
        by_shape = devices[0] == 'tensorrt'
        session = self._open([(name, {}) for name in (('cpu',) if by_shape else devices)])
        self._session = None if by_shape else session
        self.device = 'tensorrt' if by_shape else _device_of(session)
        wanted = devices[0] if device == 'auto' else device
        if self.device != wanted:
            _warn(wanted, self.device)
        with self._explained('cannot be used'):
            self._describe(session, declared)
        self._precision = self._check_precision(precision)
        if iterations_for(self.spec, iterations):
            self.iterations = iterations

    @property
    def iterations(self) -> int:
        """The steps that the graph takes, which its export has fixed; 0 if none are known."""
        return self.spec.iterations

    @iterations.setter
    def iterations(self, count: int) -> None:
        if self.iterations and count != self.iterations:
            raise EngineError(
                f'{self.path} takes {self.iterations} iterations, not {count}; export it again '
                'with --iterations, or use engine torch'
            )

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Compute one batch; see `Engine`."""
        shape = check_inputs(self.spec, inputs)
        images = [inputs[name] for name in self.spec.images]
        # the buffers of a binding are for one run at a time
        with self._running, self._explained(f'fails on {self.device} at {_size(shape)}'):
            binding = self._bindings.get(shape) or self._prepare(shape)
            values = [tensor.convert(images) for tensor in self._inputs]
            values += [np.ascontiguousarray(inputs[x.name], np.float32) for x in self._numbers]
            for buffer, content in zip(binding.buffers, values, strict=True):
                buffer.update_inplace(content)
            binding.session.run_with_iobinding(binding.io)
            outputs = binding.io.copy_outputs_to_cpu()
            maps = [read_map(values, shape) for values in outputs]
        if self.contract.factor != 1:
            maps[0] = (maps[0] * self.contract.factor).astype(np.float32, copy=False)
        names = self.spec.maps if self.card else (self.spec.output, 'confidence')
        return dict(zip(names, maps, strict=False))

    def self_test(self) -> None:
        """Compare with what torch computed at the export; see `check_contract` for other files."""
        with self._explained('fails its self-test'):
            if self.card is not None:
                self.card.reference.check(self)
            else:
                self._check_contract()

    # --- what the file holds ---------------------------------------------------------------------

    def _describe(self, session: ort.InferenceSession, declared: Mapping[str, Any]) -> None:
        """Read the card, or without one the declared contract, and find the tensors."""
        self.card = ModelCard.read(session.get_modelmeta().custom_metadata_map)
        if self.card is None:
            names = [x.name for x in (*session.get_inputs(), *session.get_outputs())]
            contract = Contract.declared(self.path, declared).recognised(names)
        elif declared:
            raise EngineError(
                f'it was exported by nndepth and says itself what it takes; leave '
                f'{", ".join(declared)} out'
            )
        else:
            contract = self.card.contract
        if self.card is not None:
            self.spec = self.card.spec
        numbers = set(self.spec.inputs) - set(self.spec.images)
        self._numbers = [x for x in session.get_inputs() if x.name in numbers]
        self._arguments = [x for x in session.get_inputs() if x.name not in numbers]
        self._adopt(contract)
        height, width = self._inputs[-1].axes[1:]
        fixed = (height, width) if isinstance(height, int) and isinstance(width, int) else None
        self._outputs = find_outputs(session.get_outputs(), contract, fixed)
        multiple = 1 if fixed else _FOREIGN_MULTIPLE
        self.spec = (
            replace(self.spec, fixed_size=fixed)
            if self.card is not None
            else ModelSpec(self.path.stem, multiple=multiple, fixed_size=fixed)
        )
        if fixed:
            on_cpu = self.device == 'cpu'
            check_fixed_size(fixed[::-1], on_cpu * self.spec.bytes_per_pixel)
        if self.card is None:
            self._tell_contract(contract)

    def _tell_contract(self, contract: Contract) -> None:
        """Log how the images are given to a file that nndepth did not export."""
        assumed = (contract.input_range or contract.normalize) is None and any(
            tensor.dtype is not np.uint8 for tensor in self._inputs
        )
        _log.log(
            logging.WARNING if assumed else logging.INFO,
            '%s was not exported by nndepth: it is given %s in %s%s, and gives %s disparity in '
            '%s; options or %s may say otherwise',
            self.path,
            ', '.join(map(str, self._inputs)),
            contract.values,
            ' (assumed, since nothing says so)' if assumed else '',
            contract.disparity_sign,
            self._outputs[0],
            contract_file(self.path),
        )

    def _adopt(self, contract: Contract) -> None:
        """Use a contract from now on."""
        self._inputs = find_inputs(self._arguments, contract, len(self.spec.images))
        self.contract = contract
        self._bindings.clear()

    def _check_contract(self) -> None:
        """Check the contract with the test pair; if it is wrong, look for the right one."""
        declared, names = self.contract, tuple(tensor.name for tensor in self._inputs)
        left, right = stepped_pair(*(self.spec.fixed_size or SIZE))
        pair = {'left': left, 'right': right}

        def find(contract: Contract) -> np.ndarray:
            if contract is not self.contract:
                self._adopt(contract)
            return self.run(pair)['disparity'][0]

        try:
            check_contract(declared, names, find, contract_file(self.path))
        finally:
            if self.contract is not declared:
                self._adopt(declared)

    def _check_precision(self, wanted: str) -> str:
        """Return the precision of the file, or half if TensorRT is told to use it."""
        held = self.card.precision if self.card else 'fp32'
        if wanted == 'auto' or wanted == held or self.card is None:
            return held
        if wanted == 'fp16' and self.device == 'tensorrt':
            return wanted
        raise EngineError(
            f'{self.path} computes in {held}, not {wanted}; export it with --precision {wanted}'
        )

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Turn any exception into an EngineError whose message begins with the name of the file.

        The errors of ONNX Runtime have no common base below Exception.
        """
        try:
            yield
        except EngineError as error:
            if str(error).startswith(str(self.path)):
                raise
            raise EngineError(f'{self.path}: {error}') from error
        except Exception as error:
            raise EngineError(f'{self.path} {what}: {_line(error)}') from error

    # --- sessions --------------------------------------------------------------------------------

    def _open(
        self, devices: Sequence[tuple[str, dict[str, Any]]], shape: Sequence[int] | None = None
    ) -> ort.InferenceSession:
        """Open a session on devices with their options, for one input shape if it is given."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 3  # errors
        # Waiting threads spin, which keeps the cores from everything else. Inside of a run they
        # wait only for moments; versions that do not know the first entry keep to the second.
        options.add_session_config_entry('session.intra_op.spin_duration_us', str(_SPIN_US))
        options.add_session_config_entry('session.force_spinning_stop', '1')
        for tensor in self._inputs if shape is not None else ():
            count, height, width = shape or ()
            sizes = count, height // tensor.shrink, width // tensor.shrink
            for axis, size in zip(tensor.axes, sizes, strict=True):
                if isinstance(axis, str):
                    options.add_free_dimension_override_by_name(axis, size)
        chosen = [(PROVIDERS[name], settings) for name, settings in devices]
        try:
            # a link to the file alone leads to where its weights lie
            return ort.InferenceSession(str(self.path.resolve()), options, chosen)
        except Exception as error:  # see _explained
            what = foreign_kind(self.path, _GIVE) or (
                f'cannot be loaded by ONNX Runtime {ort.__version__} ({_line(error)}); export it '
                'again, or fetch it whole and with the files of weights beside it'
            )
            raise EngineError(f'{self.path} {what}') from error

    def _prepare(self, shape: tuple[int, ...]) -> Binding:
        """Make session and buffers for an input shape; the one used least recently is dropped."""
        session = self._session or self._open_tensorrt(shape)
        on_gpu = self.device != 'cpu'
        io = session.io_binding()
        buffers = []
        # Each tensor has pixels of its own, since on the CPU they may become its buffer.
        blanks = [
            (tensor.name, tensor.convert([np.zeros((*shape, 3), np.uint8)] * 2))
            for tensor in self._inputs
        ]
        blanks += [(x.name, np.ones((shape[0], *x.shape[1:]), np.float32)) for x in self._numbers]
        for name, blank in blanks:
            buffers.append(ort.OrtValue.ortvalue_from_numpy(blank, 'cuda' if on_gpu else 'cpu', 0))
            io.bind_ortvalue_input(name, buffers[-1])
        for name in self._outputs:
            io.bind_output(name, 'cuda' if on_gpu else 'cpu')
        if on_gpu:
            session.run_with_iobinding(io)  # the first run chooses algorithms and builds engines
        if len(self._bindings) == _PREPARED_SHAPES:
            del self._bindings[next(iter(self._bindings))]
        self._bindings[shape] = Binding(session, io, buffers)
        return self._bindings[shape]

    def _open_tensorrt(self, shape: tuple[int, ...]) -> ort.InferenceSession:
        """Open a session for this shape only, since TensorRT is fastest with fixed shapes."""
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
    """List the devices to try, in order, among those that ONNX Runtime was built for."""
    available = ort.get_available_providers()
    if device != 'cpu' and PROVIDERS['cuda'] in available and hasattr(ort, 'preload_dlls'):
        with contextlib.redirect_stdout(sys.stderr):  # it prints which libraries it does not find
            ort.preload_dlls()
    return providers.usable_devices(device, available)


def _device_of(session: ort.InferenceSession) -> str:
    """Return the device on which a session really runs."""
    first = session.get_providers()[0]
    return next(name for name, provider in PROVIDERS.items() if provider == first)


def _warn(wanted: str, used: str) -> None:
    _log.warning(
        'device %s is not available with this onnxruntime (it has %s); running on %s instead. '
        'Install nndepth[gpu] and the matching CUDA, or choose device %s',
        wanted,
        ', '.join(ort.get_available_providers()),
        used,
        used,
    )


def _size(shape: Sequence[int]) -> str:
    return f'{shape[2]}x{shape[1]}, batch {shape[0]}'


def _line(error: Exception) -> str:
    """The first line of an error of ONNX Runtime, without error codes and source lines."""
    line = str(error).rpartition('] : ')[2].split('\n')[0]
    line = re.sub(r'^\d+ : [A-Z_]+ : (Load model from .* failed:)?', '', line)
    line = re.sub(r'^\S+\.cc:\d+ .*?\) (?=[A-Z])', '', line)
    return (line.strip().rstrip('.') or repr(error))[:300]
