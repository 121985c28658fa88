"""PyTorch: runs a network as it is, eager, compiled or as a CUDA graph."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from nndepth_core.engines.base import (
    NETWORK_RANGE,
    EngineError,
    ModelSpec,
    check_images,
    physical_cores,
)
from nndepth_core.engines.optimize.folding import fold_batch_norms
from nndepth_core.engines.optimize.winograd import use_fast_convolutions
from nndepth_core.engines.reference import Reference, textured_pair
from nndepth_core.models import create_model
from nndepth_core.models.base import StereoNetwork
from nndepth_core.weights.store import load_weights

_log = logging.getLogger(__name__)

_MAPS = ('disparity', 'confidence')
_TYPES = {'fp32': torch.float32, 'fp16': torch.float16, 'bf16': torch.bfloat16}
TOLERANCES = {'fp32': 0.05, 'fp16': 0.25, 'bf16': 0.5, 'int8': 0.5}
"""Mean difference in pixels that the self-test allows."""
_TEST_ITERATIONS = 4
"""Of the self-test at most: enough to tell, and too few to blow up what rounding does."""
_GRAPHS = 4
"""Input shapes that CUDA graphs are kept for."""


class TorchEngine:
    """Executes a network in torch.

    Args:
        network: in eval mode, its weights loaded; it is changed, so keep no other use of it.
        device: 'auto', 'cuda' or 'cpu'; a GPU that is missing is replaced, with one warning.
        precision: 'fp32', or 'fp16' and 'bf16' by autocast, which leaves disparities in float32;
            'auto' is fp16 on a GPU and fp32 on the CPU.
        iterations: steps of an iterative network; 0 for its default.
        threads: on the CPU; 0 for one a physical core.
        compile: generate code by torch.compile, at the first run of every size.
        cuda_graph: record a run of every size once and replay it, which saves its launches.

    Attributes:
        network: as it runs, its batch norms folded.

    Raises:
        EngineError: the settings do not go together.
    """

    name = 'torch'

    def __init__(
        self,
        network: StereoNetwork,
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
                f'torch computes in {", ".join(_TYPES)}, not in {self.precision}; run `nndepth '
                f'export {network.name} --precision {self.precision}`, and choose onnxruntime'
            )
        if self.device == 'cpu' and (self.precision == 'fp16' or cuda_graph):
            wish = 'cuda_graph' if cuda_graph else 'precision fp16'
            raise EngineError(f'{wish} needs device cuda; on the cpu choose fp32 or bf16')
        self.spec = spec_of(network)
        self._default = network.iterations if network.iterative else 0
        self._iterations = self._default
        self.iterations = iterations or self._default
        self._test_iterations = min(self._default, _TEST_ITERATIONS)
        self._dtype = _TYPES[self.precision]
        self._own_confidence = network.confidence != 'left_right'
        self._reference = reference_of(network, TOLERANCES[self.precision], self._test_iterations)

        fold_batch_norms(network)
        if (self.device, self.precision, compile) == ('cpu', 'fp32', False):
            use_fast_convolutions(network)
        network.to(self.device)
        for module in network.modules():
            if isinstance(module, _ConvNd | nn.Linear):
                module.to(self._dtype)  # autocast would do it anew at every run
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                weight = module.weight.detach().contiguous(memory_format=torch.channels_last)
                module.weight = nn.Parameter(weight, requires_grad=False)
        self.network = network
        self._call: Callable = torch.compile(network, dynamic=False) if compile else network
        self._cuda_graph = cuda_graph
        self._graphs: dict[tuple, _Graph] = {}

    @property
    def iterations(self) -> int:
        """Steps of an iterative network; 0 for others, where setting them changes nothing."""
        return self._iterations

    @iterations.setter
    def iterations(self, count: int) -> None:
        if not self._default:
            return
        if count < 1:
            raise EngineError(f'iterations is {count}; give at least 1')
        self._iterations = count

    def run(self, *images: np.ndarray) -> dict[str, np.ndarray]:
        """Compute on uint8 RGB images (N, H, W, 3); see `Engine`."""
        return self._compute(images, self.iterations)

    def disparity_range(self) -> tuple[float, float]:
        """What networks are trained on."""
        return NETWORK_RANGE

    def self_test(self) -> None:
        """Compare with what the untouched network computed, in float32 on the CPU."""
        pair = textured_pair(*self._reference.size)
        maps = self._compute(pair, self._test_iterations)
        self._reference.check(self, maps['disparity'][0])

    @torch.inference_mode()
    def _compute(self, images: Sequence[np.ndarray], iterations: int) -> dict[str, np.ndarray]:
        check_images(self.spec, *images)
        batches = [torch.tensor(image, device=self.device) for image in images]
        compute = self._replay if self._cuda_graph else self._forward
        maps = compute(batches, iterations)
        return {name: x.cpu().numpy() for name, x in zip(_MAPS, maps, strict=False)}

    def _forward(self, batches: Sequence[Tensor], iterations: int) -> list[Tensor]:
        reduced = self._dtype is not torch.float32
        with torch.autocast(self.device, self._dtype, enabled=reduced):
            return forward_maps(self._call, batches, iterations, self._own_confidence)

    def _replay(self, batches: Sequence[Tensor], iterations: int) -> list[Tensor]:
        key = (batches[0].shape, iterations)
        if key not in self._graphs:
            if len(self._graphs) == _GRAPHS:
                del self._graphs[next(iter(self._graphs))]
            self._graphs[key] = _Graph(partial(self._forward, iterations=iterations), batches)
        return self._graphs[key](batches)


class _Graph:
    """A recorded run on inputs of one shape."""

    def __init__(
        self, function: Callable[[Sequence[Tensor]], list[Tensor]], inputs: Sequence[Tensor]
    ) -> None:
        self._inputs = [x.clone() for x in inputs]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):  # libraries choose their algorithms and buffers
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


def load_network(model: str, variant: str | None, weights: str | Path) -> StereoNetwork:
    """Make a network and load its weights.

    Args:
        model: a name of `model_names()`.
        variant: of the network; None takes the first.
        weights: a checkpoint file, or 'random' for reproducible numbers that mean nothing.

    Raises:
        EngineError: name or variant is unknown, or the file does not fit; says why.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = create_model(model, variant)
        if weights != 'random':
            load_weights(network, weights)
    except ValueError as error:
        raise EngineError(str(error)) from error
    return network


def spec_of(network: StereoNetwork) -> ModelSpec:
    """What the estimator must know of a network."""
    return ModelSpec(
        network.name,
        network.variant,
        multiple=network.padding.multiple,
        minimum=network.minimum_size,
        placement=network.padding.placement,
        confidence=network.confidence,
    )


def reference_of(
    network: StereoNetwork,
    tolerance: float,
    iterations: int,
    size: tuple[int, int] | None = None,
) -> Reference:
    """Compute what the self-test expects, in float32 on the network's device.

    Args:
        network: in eval mode.
        tolerance: mean difference in pixels that will be allowed.
        iterations: steps of an iterative network.
        size: (height, width) of the pair; None takes a small one.
    """
    pair = [torch.from_numpy(image) for image in textured_pair(*(size or small_size(network)))]
    with torch.inference_mode():
        disparity = forward_maps(network, pair, iterations, confidence=False)[0]
    return Reference.of(disparity[0].numpy(), tolerance)


def small_size(network: StereoNetwork) -> tuple[int, int]:
    """A small (height, width) that the network takes and that shows what it does."""
    multiple = network.padding.multiple
    height, width = (
        -(-max(side, least) // multiple) * multiple
        for side, least in zip((96, 160), network.minimum_size, strict=True)
    )
    return height, width


def forward_maps(
    network: Callable, images: Sequence[Tensor], iterations: int, confidence: bool
) -> list[Tensor]:
    """Run a network on left and right images.

    Args:
        network: its module, or that module compiled.
        images: uint8 (N, H, W, 3) each.
        iterations: steps of an iterative network; 0 for its default.
        confidence: return the confidence too, where the network has one.

    Returns:
        Disparity and confidence, float32 (N, H, W) each.
    """
    # cast first: some backends know nothing but casts of uint8; what is permuted is channels-last
    left, right = (image.float().permute(0, 3, 1, 2) for image in images)
    result = network(left, right, iterations=iterations or None, confidence=confidence)
    maps = result if isinstance(result, tuple) else (result,)
    return [x[:, 0].float() for x in maps if x is not None]


def _find_device(wanted: str) -> str:
    used = 'cuda' if wanted != 'cpu' and torch.cuda.is_available() else 'cpu'
    if wanted not in ('auto', used):
        _log.warning(
            'device %s is not to be had with torch %s; running on %s instead. '
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
