"""Tiny ONNX graphs with the signatures of public exports, which really match a stereo pair.

They compare blocks at 25 disparities, on grey levels that they recover from what they are fed: the
wrong range of values leaves them nothing to compare, as it does to a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

IMAGENET = (np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]))
_TYPES = {
    'uint8': TensorProto.UINT8,
    'float': TensorProto.FLOAT,
    'float16': TensorProto.FLOAT16,
    'double': TensorProto.DOUBLE,
}


@dataclass
class Matcher:
    """A graph in the making.

    Attributes:
        gain, offset: what it expects is grey level * gain + offset, each of one or three channels.
        low: smallest disparity compared; -24 makes a graph whose disparities are negative.
    """

    gain: float | np.ndarray = 1.0
    offset: float | np.ndarray = 0.0
    low: int = 0
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    values: list[onnx.TensorProto] = field(default_factory=list)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    outputs: list[onnx.ValueInfoProto] = field(default_factory=list)

    def add(self, operator: str, inputs: Sequence[str], name: str = '', **attributes) -> str:
        name = name or f'{operator}_{len(self.nodes)}'
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def constant(self, value) -> str:
        name = f'constant_{len(self.values)}'
        self.values.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def image(self, name: str, shape: Sequence, kind: str = 'float') -> str:
        """Declare an input; returns its floats as (N, C, H, W)."""
        self.inputs.append(helper.make_tensor_value_info(name, _TYPES[kind], shape))
        x = self.add('Cast', [name], to=TensorProto.FLOAT)
        last = isinstance(shape[-1], int) and shape[-1] <= 6
        return self.add('Transpose', [x], perm=[0, 3, 1, 2]) if last else x

    def part(self, x: str, start: int, stop: int, axis: int = 1) -> str:
        bounds = [self.constant(np.array([value])) for value in (start, stop, axis)]
        return self.add('Slice', [x, *bounds])

    def levels(self, x: str) -> str:
        """Whole grey levels, as far as x is in the range that is expected; its last channel."""
        gain, offset = (np.float32(np.reshape(v, (1, -1, 1, 1))) for v in (self.gain, self.offset))
        x = self.add('Sub', [x, self.constant(offset)])
        x = self.add('Div', [x, self.constant(gain)])
        x = self.add('Clip', [x, self.constant(np.float32(0)), self.constant(np.float32(255))])
        x = self.add('Floor', [self.add('Add', [x, self.constant(np.float32(0.01))])])
        return self.part(x, -1, 1000)

    def match(self, left: str, right: str) -> str:
        """Disparity (N, 1, H, W) of images (N, C, H, W) as they are fed."""
        left, right = self.levels(left), self.levels(right)
        costs = []
        for shift in range(self.low, self.low + 25):
            before, after = max(shift, 0), max(-shift, 0)
            pads = self.constant(np.array([0, 0, 0, before, 0, 0, 0, after]))
            moved = self.add('Pad', [right, pads, self.constant(np.float32(1e4))])
            moved = self.part(moved, after, after + 10**6, 3)
            if before:
                moved = self.part(moved, 0, -before, 3)
            cost = self.add('Abs', [self.add('Sub', [left, moved])])
            costs.append(self.add('AveragePool', [cost], kernel_shape=[7, 7], pads=[3] * 4))
        stack = self.add('Concat', costs, axis=1)
        best = self.add('ArgMin', [stack], axis=1, keepdims=1)
        best = self.add('Cast', [best], to=TensorProto.FLOAT)
        return self.add('Add', [best, self.constant(np.float32(self.low))])

    def give(self, x: str, name: str, shape: Sequence) -> None:
        self.add('Identity', [x], name)
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def save(self, path: Path) -> Path:
        graph = helper.make_graph(self.nodes, 'test', self.inputs, self.outputs, self.values)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=8)
        onnx.save(model, path)
        return path


def two_images(
    path: Path,
    names: Sequence[str] = ('left', 'right'),
    shape: Sequence = ('n', 3, 'h', 'w'),
    kind: str = 'float',
    factor: float = 1.0,
    right_first: bool = False,
    **expected,
) -> Path:
    """Left and right; (N, 1, H, W) of disparity times a factor."""
    graph = Matcher(**expected)
    disparity = graph.match(*(graph.image(name, shape, kind) for name in names))
    disparity = graph.add('Mul', [disparity, graph.constant(np.float32(factor))])
    graph.give(disparity, 'output', ('n', 1, 'h', 'w'))
    graph.inputs.sort(key=lambda x: x.name == names[not right_first])
    return graph.save(path)


def hitnet(path: Path, channels: int, size=(96, 160), last: bool = False, secondary=False) -> Path:
    """HITNet of the model zoo: `input` of 2 or 6 channels in 0..1, (N, H, W, 1) out."""
    graph = Matcher(gain=1 / 255)
    half = channels // 2
    pair = graph.image('input', (1, *size, channels) if last else (1, channels, *size))
    disparity = graph.match(graph.part(pair, 0, half), graph.part(pair, half, channels))
    disparity = graph.add('Transpose', [disparity], perm=[0, 2, 3, 1])
    graph.give(disparity, 'reference_output_disparity', (1, *size, 1))
    if secondary:
        graph.give(graph.add('Neg', [disparity]), 'secondary_output_disparity', (1, *size, 1))
    return graph.save(path)


def crestereo_combined(path: Path, size=(96, 160)) -> Path:
    """CREStereo in two stages: half size first; flow (1, 2, H, W) out.

    Its result is half of what it finds at the full size, and what it finds at half the size.
    """
    height, width = size
    graph = Matcher()
    first = [
        graph.image(f'init_{side}', (1, 3, height // 2, width // 2)) for side in ('left', 'right')
    ]
    second = [graph.image(f'next_{side}', (1, 3, height, width)) for side in ('left', 'right')]
    coarse = graph.add(
        'Resize',
        [graph.match(*first), '', graph.constant(np.float32([1, 1, 2, 2]))],
        mode='nearest',
    )
    fine = graph.add('Mul', [graph.match(*second), graph.constant(np.float32(0.5))])
    flow = graph.add('Add', [coarse, fine])
    graph.give(
        graph.add('Concat', [flow, graph.add('Neg', [flow])], axis=1),
        'next_output',
        (1, 2, height, width),
    )
    return graph.save(path)


def raft_stereo(path: Path, size=(96, 160)) -> Path:
    """RAFT-Stereo as its authors' code returns it: flow at a quarter and at the full size."""
    height, width = size
    graph = Matcher()
    images = [graph.image(f'image{place}', (1, 3, height, width)) for place in (1, 2)]
    flow = graph.add('Neg', [graph.match(*images)])
    quarter = graph.constant(np.float32([1, 1, 0.25, 0.25]))
    small = graph.add('Resize', [flow, '', quarter], mode='nearest')
    small = graph.add('Mul', [small, graph.constant(np.float32(0.25))])
    graph.give(
        graph.add('Concat', [small, small], axis=1), 'flow_low', (1, 2, height // 4, width // 4)
    )
    graph.give(flow, 'flow_up', (1, 1, height, width))
    return graph.save(path)
