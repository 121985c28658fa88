"""PyTorch: runs a network as it is, eager, compiled or as a CUDA graph."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from nndepth_core.engines.base import EngineError, check_inputs, iterations_for, physical_cores
from nndepth_core.engines.optimize.folding import fold_batch_norms
from nndepth_core.engines.optimize.in_place import overwrite_results
from nndepth_core.engines.optimize.winograd import use_fast_convolutions
from nndepth_core.engines.reference import (
    Reference,
    small_size,
    textured_inputs,
    tolerated,
)
from nndepth_core.engines.source import Source
from nndepth_core.models import create_model, network_class
from nndepth_core.models.base import Network
from nndepth_core.spec import ModelSpec
from nndepth_core.weights.description import RANDOM, Origin
from nndepth_core.weights.loading import load_weights, settings_of
from nndepth_core.weights.settings import parse_settings, split_settings

_log = logging.getLogger(__name__)

_TYPES = {'fp32': torch.float32, 'fp16': torch.float16, 'bf16': torch.bfloat16}
TOLERANCES = {'fp32': 0.05, 'fp16': 0.25, 'bf16': 0.5, 'int8': 0.5}
"""The mean difference in pixels that the self-test allows."""
_TEST_ITERATIONS = 4
"""The most iterations of the self-test: more would let rounding errors grow too much."""
_GRAPHS = 8
"""The number of input shapes whose CUDA graphs are kept."""


class ModuleEngine:
    """Executes a network as it is, in float32; see `Engine`.

    Args:
        network: its module, in eval mode.
        spec: the spec of the network.
        device: the device that holds the network.
    """

    name = 'torch'

    def __init__(self, network: Callable, spec: ModelSpec, device: str = 'cpu') -> None:
        self.spec = spec
        self.device = device
        self.iterations = spec.iterations
        self._network = network

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Compute one batch; see `Engine`."""
        compute = partial(forward_maps, self._network, self.spec, iterations=self.iterations)
        return compute_batch(self.spec, inputs, self.device, compute)

    def self_test(self) -> None:
        """Do nothing: the network itself is the reference."""


class TorchEngine:
    """Executes a network in torch.

    Args:
        network: in eval mode, with its weights loaded. The engine changes it, so that it must not
            be used elsewhere.
        device: 'auto', 'cuda' or 'cpu'; without a GPU the CPU is used, with one warning.
        precision: 'fp32', or 'fp16' and 'bf16' by autocast, which keeps disparities in float32;
            'auto' is fp16 on a GPU and fp32 on the CPU.
        iterations: the steps of an iterative network; 0 takes its default.
        threads: the number of threads on the CPU; 0 takes one per physical core.
        compile: whether to compile by torch.compile, at the first run of every size.
        cuda_graph: whether to record the first run of every size and replay it afterwards, which
            saves the time that launching its kernels takes.

    Attributes:
        network: the network that runs, with its batch norms folded.
        source: what `create_engine` made it from.

    Raises:
        EngineError: the settings do not go together.
    """

    name = 'torch'
    source: Source | None = None

    def __init__(
        self,
        network: Network,
        device: str = 'auto',
        precision: str = 'auto',
        iterations: int = 0,
        threads: int = 0,
        compile: bool = False,
        cuda_graph: bool = False,
    ) -> None:
        torch.set_num_threads(threads or physical_cores())
        self.device = _find_device(device)
        self.precision = precision if precision != 'auto' else _default_precision(self.device)
        if self.precision not in _TYPES:
            raise EngineError(
                f'torch computes in {", ".join(_TYPES)}, not in {self.precision}; choose '
                f'onnxruntime and run `nndepth export {network.spec.title} --precision '
                f'{self.precision}`'
            )
        if self.device == 'cpu' and (self.precision == 'fp16' or cuda_graph):
            wish = 'cuda_graph' if cuda_graph else 'precision fp16'
            raise EngineError(f'{wish} needs device cuda; on the cpu choose fp32 or bf16')
        self.spec = network.spec
        self._iterations = self.spec.iterations
        self.iterations = iterations_for(self.spec, iterations) or self.spec.iterations
        self._test_iterations = min(self.spec.iterations, _TEST_ITERATIONS)
        self._dtype = _TYPES[self.precision]
        self._reference = reference_of(network, self.precision, self._test_iterations)

        fold_batch_norms(network)
        if (self.device, self.precision, compile) == ('cpu', 'fp32', False):
            use_fast_convolutions(network)
        if not compile:
            overwrite_results(network)
        network.to(self.device)
        for module in network.modules():
            if isinstance(module, _ConvNd | nn.Linear):
                module.to(self._dtype)  # autocast would convert it again at every run
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                weight = module.weight.detach().contiguous(memory_format=torch.channels_last)
                module.weight = nn.Parameter(weight, requires_grad=False)
        self.network = network
        self._call: Callable = torch.compile(network, dynamic=False) if compile else network
        self._cuda_graph = cuda_graph
        self._graphs: dict[tuple, _Graph] = {}
        self._running = threading.Lock()

    @property
    def iterations(self) -> int:
        """Steps of an iterative network; 0 for other networks, which ignore a new value."""
        return self._iterations

    @iterations.setter
    def iterations(self, count: int) -> None:
        if not self.spec.iterations:
            return
        if count < 1:
            raise EngineError(f'iterations is {count}; give at least 1')
        self._iterations = count

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Compute one batch; see `Engine`."""
        return self._compute(inputs, self.iterations)

    def self_test(self) -> None:
        """Compare with what the unchanged network computed in float32 on the CPU."""
        inputs = textured_inputs(self.spec, *self._reference.size)
        maps = self._compute(inputs, self._test_iterations)
        self._reference.check(self, maps[self.spec.output][0])

    def _compute(self, inputs: Mapping[str, np.ndarray], iterations: int) -> dict[str, np.ndarray]:
        compute = partial(
            self._replay if self._cuda_graph else self._forward, iterations=iterations
        )
        with self._running:  # recorded graphs and convolutions have one set of buffers
            return compute_batch(self.spec, inputs, self.device, compute)

    def _forward(self, batches: Sequence[Tensor], iterations: int) -> list[Tensor]:
        reduced = self._dtype is not torch.float32
        with torch.autocast(self.device, self._dtype, enabled=reduced):
            return forward_maps(self._call, self.spec, batches, iterations)

    def _replay(self, batches: Sequence[Tensor], iterations: int) -> list[Tensor]:
        key = (batches[0].shape, iterations)
        if key not in self._graphs:
            if len(self._graphs) == _GRAPHS:
                del self._graphs[next(iter(self._graphs))]
            self._graphs[key] = _Graph(partial(self._forward, iterations=iterations), batches)
        return self._graphs[key](batches)


class _Graph:
    """A recorded run for inputs of one shape."""

    def __init__(
        self, function: Callable[[Sequence[Tensor]], list[Tensor]], inputs: Sequence[Tensor]
    ) -> None:
        self._inputs = [x.clone() for x in inputs]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):  # the first runs choose algorithms and allocate buffers
                function(self._inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = function(self._inputs)

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        for own, new in zip(self._inputs, inputs, strict=True):
            own.copy_(new)
        self._graph.replay()
        return self._outputs


def load_network(
    model: str,
    variant: str | None,
    weights: str | Path,
    network_settings: str = '',
    origin: Origin | None = None,
) -> Network:
    """Make a network with the settings that are stored with its weights, and load the weights.

    Args:
        model: a name of `model_names()`.
        variant: the variant of the network; None takes the first.
        weights: a checkpoint file, or 'random' for reproducible random numbers.
        network_settings: other settings in place of the stored ones, see `create_engine`.
        origin: where the weights came from, so that they are not hashed again; None finds out.

    Raises:
        EngineError: name or variant is unknown, there is no such setting, or the file does not
            fit; the message says why.
    """
    try:
        settings = all_settings(model, weights, network_settings, origin)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = create_model(model, variant, **settings)
        if weights != RANDOM:
            load_weights(network, weights)
    except ValueError as error:
        raise EngineError(str(error)) from error
    return network


def all_settings(
    model: str, weights: str | Path, network_settings: str = '', origin: Origin | None = None
) -> dict[str, Any]:
    """The settings that `load_network` makes a network with, beside those of its variant.

    Raises:
        ValueError: the network is unknown, or a setting is not allowed.
    """
    stored = {} if weights == RANDOM else settings_of(model, weights, origin)
    return stored | parse_settings(network_class(model), split_settings(network_settings))


def reference_of(
    network: Network, precision: str, iterations: int, size: tuple[int, int] | None = None
) -> Reference:
    """Compute what the self-test expects, in float32 on the network's device.

    Args:
        network: in eval mode.
        precision: the precision of the engine under test, on which the tolerance depends.
        iterations: the steps of an iterative network.
        size: (height, width) of the images; None takes a small one.
    """
    spec = network.spec
    inputs = textured_inputs(spec, *(size or small_size(spec)))
    with torch.inference_mode():
        batches = [torch.from_numpy(values) for values in inputs.values()]
        values = forward_maps(network, spec, batches, iterations)[0][0].numpy()
    return Reference.of(values, tolerated(spec, values, TOLERANCES[precision]))


def forward_maps(
    network: Callable, spec: ModelSpec, inputs: Sequence[Tensor], iterations: int = 0
) -> list[Tensor]:
    """Run a network.

    Args:
        network: its module, or the compiled module.
        spec: the spec of the network.
        inputs: in the order of the spec; images are uint8 (N, H, W, 3).
        iterations: the steps of an iterative network; 0 takes its default.

    Returns:
        The maps that `spec.maps` names, float32 (N, H, W) each.

    Raises:
        EngineError: the network returns something else.
    """
    # Cast first: some backends can do nothing else with uint8. The permuted map is channels-last.
    values = [
        x.float().permute(0, 3, 1, 2) if name in spec.images else x
        for name, x in zip(spec.inputs, inputs, strict=True)
    ]
    options: dict[str, Any] = {}
    if spec.iterations:
        options['iterations'] = iterations or None
    if spec.confidence:
        options['confidence'] = True
    result = network(*values, **options)
    maps = result if isinstance(result, tuple) else (result,)
    _check_maps(spec, maps, values[0].shape)
    return [x[:, 0].float() for x in maps]


def _check_maps(spec: ModelSpec, maps: Sequence[Any], batch: torch.Size) -> None:
    """Refuse what a network returns where it is not what its spec says."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return  # sizes are symbols
    wanted = (batch[0], 1, *batch[2:])
    found = [list(x.shape) if isinstance(x, Tensor) else type(x).__name__ for x in maps]
    if found != [list(wanted)] * len(spec.maps):
        raise EngineError(
            f'{spec.title} returns {" and ".join(map(str, found))} for images of {list(batch)}; '
            f'in eval mode it must return {" and ".join(spec.maps)}, {list(wanted)}'
            f'{" each" if len(spec.maps) > 1 else ""}'
        )


@torch.inference_mode()
def compute_batch(
    spec: ModelSpec,
    inputs: Mapping[str, np.ndarray],
    device: str,
    compute: Callable[[Sequence[Tensor]], list[Tensor]],
) -> dict[str, np.ndarray]:
    """Compute what `Engine.run` returns.

    Args:
        spec: the spec of the network.
        inputs: what `Engine.run` takes.
        device: the device that holds the network.
        compute: turns the inputs into the list of maps that `forward_maps` returns.
    """
    check_inputs(spec, inputs)
    maps = compute([torch.tensor(inputs[name], device=device) for name in spec.inputs])
    return {name: x.cpu().numpy() for name, x in zip(spec.maps, maps, strict=False)}


def _find_device(wanted: str) -> str:
    used = 'cuda' if wanted != 'cpu' and torch.cuda.is_available() else 'cpu'
    if wanted not in ('auto', used):
        _log.warning(
            'device %s is not available with torch %s; running on %s instead. '
            'Install torch for the CUDA of this machine (tensorrt: engine onnxruntime), or '
            'choose device %s',
            wanted,
            torch.__version__,
            used,
            used,
        )
    return used


def _default_precision(device: str) -> str:
    return 'fp16' if device == 'cuda' else 'fp32'
