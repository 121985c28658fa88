"""Writes networks to ONNX files that hold all that is needed to run them, and checks the files.

A file takes the inputs that the network's spec names. Images are uint8 RGB (N, H, W, 3) and are
normalised inside. The file gives the spec's output and, if the network has one, `confidence`, both
float32 (N, H, W). Its metadata hold a `ModelCard`.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
import torch
from onnx_ir.passes import common as passes
from onnxscript.optimizer import fold_constants
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from nndepth_core.engines.base import EngineError
from nndepth_core.engines.card import ModelCard
from nndepth_core.engines.contract import PIXEL_RANGE, Contract
from nndepth_core.engines.onnx import OnnxEngine
from nndepth_core.engines.optimize.folding import fold_batch_norms
from nndepth_core.engines.reference import small_size, textured_inputs, tolerated
from nndepth_core.engines.torch import forward_maps, reference_of
from nndepth_core.export.quantize import quantize
from nndepth_core.files.writing import replaced_at_once
from nndepth_core.models.base import Network, Prediction
from nndepth_core.spec import ModelSpec
from nndepth_core.weights.description import Origin

OPSET = 17
PRECISIONS = ('fp32', 'fp16', 'int8')
_log = logging.getLogger(__name__)

CALIBRATION_SIZE = (256, 512)
FIXED_SIZE = (480, 640)
"""Height and width of an export whose graph works at one size only."""
_OFFICIAL_NODES = {
    'gmstereo': '1771 with scale1, 4719 with scale2_regrefine',
    'igev_stereo': 'about 5000 at 2 iterations',
    'lea_stereo': '11031',
    'light_stereo': 'about 5500',
    'mobile_stereonet': '12579 in 2-D and 5194 in 3-D',
    'rt_igev': 'about 5000 at 2 iterations',
}

_AXES = {0: 'batch', 1: 'height', 2: 'width'}
_ALLOWED = {'fp32': (1e-3, 0.1), 'fp16': (0.1, 10.0), 'int8': (0.5, 30.0)}
"""Mean and largest difference of the output that are allowed, in pixels; see `tolerated`."""
_ROUNDINGS = 3.0
"""A graph in float32 may differ by so many times what the network itself rounds."""
_ALLOWED_CONFIDENCE = 0.02
"""The mean difference of the confidence that is allowed."""


class ExportError(RuntimeError):
    """A network cannot be exported, or its export computes something else."""


@dataclass(frozen=True)
class Check:
    """The difference between the file and torch in float32, on one batch.

    Attributes:
        shape: (N, H, W) of the images.
        largest: the largest difference of the output, in its unit.
        mean: the mean difference of the output, in its unit.
        confidence: the mean difference of the confidence, None if there is none.
    """

    shape: tuple[int, int, int]
    largest: float
    mean: float
    confidence: float | None


@dataclass(frozen=True)
class ExportReport:
    """The result of an export.

    Attributes:
        path: the file.
        size: the size of the file in bytes.
        nodes: the number of nodes in the graph.
        official_nodes: the number for the authors' code with the same exporter, '' if unknown.
        operators: the number of nodes of each kind, the most frequent first.
        fixed_size: (height, width) that the file is bound to, None if it takes any.
        reason: why it is bound to a size, '' if this was asked for.
        precision: 'fp32', 'fp16' or 'int8'.
        iterations: the steps of the graph, 0 if it has none.
        checks: the differences from torch.
    """

    path: Path
    size: int
    nodes: int
    official_nodes: str
    operators: dict[str, int]
    fixed_size: tuple[int, int] | None
    reason: str
    precision: str
    iterations: int
    checks: tuple[Check, ...]


def export_onnx(
    network: Network,
    path: str | Path,
    *,
    size: tuple[int, int] | None = None,
    iterations: int = 0,
    precision: str = 'fp32',
    origin: Origin | None = None,
    opset: int = OPSET,
) -> ExportReport:
    """Write a network to an ONNX file and compare the file with torch.

    Args:
        network: in eval mode, with its weights loaded, on the CPU; it is not changed.
        path: the file; an existing file is replaced only if the export succeeds.
        size: (height, width) to bind the graph to. With None the graph takes any size, or is
            bound to `FIXED_SIZE` if it would not work at other sizes.
        iterations: the steps of an iterative network; 0 takes its default.
        precision: 'fp32', 'fp16' for half precision in convolutions and matrix products, or
            'int8' for 8 bits in convolutions, calibrated on rendered pairs.
        origin: where the weights came from.
        opset: the version of the ONNX operators.

    Raises:
        ExportError: the exporter fails, or the file computes something else.
        ValueError: an argument is not allowed.
    """
    _check_arguments(network.spec, size, iterations, precision)
    size = size or network.spec.fixed_size
    path = Path(path)
    steps = (iterations or network.spec.iterations) if network.spec.iterations else 0
    export = _Export(network, steps, precision, origin or Origin('', ''), opset)
    reason = ''
    if size is None and network.one_size_graph:
        size = fixed_size(network.spec)
        reason = f'a graph of {network.spec.title} serves only the size that it was traced at'
    with replaced_at_once(path) as file:
        try:
            checks = export.write(file, size)
        except ExportError as error:
            if size is not None:
                raise
            reason, size = str(error), fixed_size(network.spec)
            checks = export.write(file, size)
        operators = Counter(node.op_type for node in onnx.load(file).graph.node)
    return ExportReport(
        path,
        path.stat().st_size,
        operators.total(),
        _OFFICIAL_NODES.get(network.spec.name, ''),
        dict(operators.most_common()),
        size,
        reason,
        precision,
        steps,
        checks,
    )


@dataclass(frozen=True)
class _Export:
    """What stays the same in all attempts of one export."""

    network: Network
    iterations: int
    precision: str
    origin: Origin
    opset: int

    def write(self, file: Path, size: tuple[int, int] | None) -> tuple[Check, ...]:
        """Write the file, bound to a size or free, and check it."""
        self.trace(file, size)
        model = simplify(onnx.load(file))
        if self.precision == 'int8':
            model = quantize(model, size or CALIBRATION_SIZE)
        onnx.helper.set_model_props(model, self.card(size).metadata())
        model.producer_name = 'nndepth'
        onnx.save(model, file)
        spec = self.network.spec
        height, width = size or small_size(spec)
        shapes = [(2, height, width)]
        if size is None:
            shapes.append((1, height + spec.multiple, width + 2 * spec.multiple))
        try:
            engine = OnnxEngine(file, 'cpu')
            checks = tuple(self.check(engine, shape) for shape in shapes)
            engine.self_test()
        except EngineError as error:
            raise ExportError(f'the exported graph cannot be used: {error}') from error
        return checks

    def trace(self, file: Path, size: tuple[int, int] | None) -> None:
        """Turn the network into a graph with the exporter of TorchScript.

        The exporter based on torch.export takes twenty times as long, and fixes the batch size of
        networks that split a stack of left and right features.
        """
        graph = _Graph(self.network, self.iterations, self.precision).eval()
        spec = self.network.spec
        each = {0: _AXES[0]}
        free = each if size else _AXES
        batch = [
            torch.from_numpy(np.repeat(values, 2, axis=0))
            for values in textured_inputs(spec, *(size or small_size(spec))).values()
        ]
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter('ignore')  # tracing warns of fixed sizes; the checks find them
            try:
                torch.onnx.export(
                    graph,
                    tuple(batch),
                    str(file),
                    input_names=list(spec.inputs),
                    output_names=list(spec.maps),
                    dynamic_axes=dict.fromkeys(spec.inputs, each)
                    | dict.fromkeys((*spec.images, *spec.maps), free),
                    opset_version=self.opset,
                    dynamo=False,
                )
            except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
                raise ExportError(f'{spec.title} cannot be exported: {error}') from error

    def card(self, size: tuple[int, int] | None) -> ModelCard:
        """Make the metadata, with what torch computes on the inputs of the self-test."""
        network, origin = self.network, self.origin
        return ModelCard(
            spec=replace(network.spec, iterations=self.iterations, fixed_size=size),
            weights=origin.source,
            weights_sha256=origin.sha256,
            license=origin.license,
            precision=self.precision,
            reference=reference_of(network, self.precision, self.iterations, size),
            contract=Contract(
                inputs=network.spec.images,
                outputs=network.spec.maps,
                layout='nhwc',
                channels='rgb',
                input_range=PIXEL_RANGE,
            ),
        )

    def check(self, engine: OnnxEngine, shape: tuple[int, int, int]) -> Check:
        """Compare the file with torch on a pair of (N, H, W) that was not used for tracing.

        Raises:
            ExportError: they differ by more than is allowed.
        """
        count, height, width = shape
        spec = self.network.spec
        inputs = {
            name: np.repeat(values, count, axis=0)
            for name, values in textured_inputs(spec, height, width, 11).items()
        }
        found = engine.run(inputs)
        with torch.inference_mode():
            batches = [torch.from_numpy(values) for values in inputs.values()]
            maps = forward_maps(self.network, spec, batches, self.iterations)
        if count > 1 and np.ptp(maps[0].numpy()) <= tolerated(spec, maps[0].numpy(), 1e-3):
            _log.warning(
                '%s gives one value at all pixels with these weights, so that its equality with '
                'torch says little; export trained weights',
                spec.title,
            )
        off = [np.abs(values - x.numpy()) for values, x in zip(found.values(), maps, strict=True)]
        means = [float(values.mean()) for values in off]
        check = Check(shape, float(off[0].max()), means[0], means[1] if len(off) > 1 else None)
        mean, largest = (
            tolerated(spec, maps[0].numpy(), pixels) for pixels in _ALLOWED[self.precision]
        )
        wrong = not (check.mean <= mean and check.largest <= largest)
        if wrong and self.precision == 'fp32':
            noise = self.rounding(batches, maps[0])
            mean, largest = (
                max(allowed, _ROUNDINGS * float(value))
                for allowed, value in ((mean, noise.mean()), (largest, noise.max()))
            )
            wrong = not (check.mean <= mean and check.largest <= largest)
        if wrong or (check.confidence or 0) > _ALLOWED_CONFIDENCE:
            raise ExportError(
                f'at {width}x{height} the exported graph differs from torch by {check.mean:.2g} '
                f'{spec.unit} in the mean and {check.largest:.2g} {spec.unit} at most, where '
                f'{mean:.2g} and {largest:.2g} are allowed; nothing was written'
            )
        return check

    def rounding(self, batches: Sequence[Tensor], values: Tensor) -> Tensor:
        """Compute how far float32 is from float64 in torch itself, pixel by pixel.

        It is 0 for networks that cannot compute in float64.

        Args:
            batches: the inputs.
            values: the output in float32.
        """
        double = copy.deepcopy(self.network).double()

        def run(*inputs: Tensor, **options: Any) -> Prediction:
            return double(*(x.double() for x in inputs), **options)

        try:
            with torch.inference_mode():
                exact = forward_maps(run, self.network.spec, batches, self.iterations)[0]
        except RuntimeError:  # the network is bound to float32 inside
            return torch.zeros_like(values)
        return (exact - values).abs()


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fold constants and merge equal computations.

    All passes of onnxscript's optimizer would take minutes on unrolled iterations and save 1 %.
    """
    merge = onnx_ir.passes.Sequential(
        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        passes.DeduplicateInitializersPass(),
        passes.CommonSubexpressionEliminationPass(),
        passes.RemoveUnusedNodesPass(),
    )
    graph = onnx_ir.from_proto(model)
    merge(graph)
    fold_constants(graph, onnx_shape_inference=True)
    merge(graph)
    return onnx_ir.to_proto(graph)


class _Graph(nn.Module):
    """A copy of a network prepared for inference, with the inputs and outputs of an ONNX file."""

    def __init__(self, network: Network, iterations: int, precision: str) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        self.iterations = iterations
        self.half_precision = precision == 'fp16'
        fold_batch_norms(self.network)
        if self.half_precision:
            _store_half(self.network)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Map images uint8 (N, H, W, 3) to float32 (N, H, W)."""
        # Autocast keeps in float32 what half precision would harm, such as the disparities.
        with torch.autocast('cpu', torch.float16, enabled=self.half_precision):
            maps = forward_maps(self.network, self.network.spec, inputs, self.iterations)
        return tuple(maps)


def _store_half(network: nn.Module) -> None:
    """Convert the weights of convolutions and linear layers to half precision."""
    for module in network.modules():
        if isinstance(module, _ConvNd | nn.Linear):
            module.half()
        elif isinstance(module, nn.LayerNorm):  # ONNX wants input and weights of one type
            module.register_forward_pre_hook(lambda _, inputs: tuple(x.float() for x in inputs))


def _check_arguments(
    spec: ModelSpec, size: tuple[int, int] | None, iterations: int, precision: str
) -> None:
    if precision not in PRECISIONS:
        raise ValueError(f'precision is {precision!r}; choose one of {", ".join(PRECISIONS)}')
    if iterations < 0:
        raise ValueError(f'iterations is {iterations}; give at least 1, or 0 for the default')
    if size:
        spec.check_size(*size)


def fixed_size(spec: ModelSpec) -> tuple[int, int]:
    """The height and width to which a graph is bound if it does not work at every size."""
    width, height = spec.working_size(*FIXED_SIZE[::-1])
    return spec.padded_size(height, width)
