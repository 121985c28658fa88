"""ONNX files of our contract for single images, whose outputs are closed forms of the pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nndepth_core.engines.card import ModelCard
from nndepth_core.engines.reference import Reference, textured_inputs
from nndepth_core.spec import ModelSpec

NAME = 'tiny'
SCALE, NEAREST = 0.02, 0.5


def brightness(image: np.ndarray) -> np.ndarray:
    """What every such file gives on uint8 (..., 3): 0.5 and 0.02 for each grey level."""
    return image.astype(np.float32).mean(-1) * np.float32(SCALE) + np.float32(NEAREST)


def write_network(path: Path, license: str | None = 'Apache-2.0', **facts) -> Path:
    """Write a network of a spec with these facts, metric by default.

    Its confidence, where the facts say that it has one, is 1 where the brightness is above 2.
    """
    onnx = pytest.importorskip('onnx')
    from onnx import TensorProto, helper, numpy_helper

    facts = {'inputs': ('image',), 'output': 'depth', 'value_range': (0.0, 10.0), **facts}
    spec = ModelSpec(NAME, **facts)
    outputs = [spec.output, *(['confidence'] if spec.confidence else [])]
    shape = ['batch', 'height', 'width']
    values = {'axis': np.array([3]), 'scale': SCALE, 'nearest': NEAREST, 'two': 2}
    nodes = [
        ('Cast', ['image'], 'float', {'to': TensorProto.FLOAT}),
        ('ReduceMean', ['float', 'axis'], 'mean', {'keepdims': 0}),
        ('Mul', ['mean', 'scale'], 'scaled', {}),
        ('Add', ['scaled', 'nearest'], spec.output, {}),
        ('Greater', [spec.output, 'two'], 'above', {}),
        ('Cast', ['above'], 'confidence', {'to': TensorProto.FLOAT}),
    ]
    graph = helper.make_graph(
        [
            helper.make_node(kind, inputs, [output], **attributes)
            for kind, inputs, output, attributes in nodes[: 4 if spec.confidence is None else 6]
        ],
        NAME,
        [helper.make_tensor_value_info('image', TensorProto.UINT8, [*shape, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in outputs],
        [
            numpy_helper.from_array(
                value if isinstance(value, np.ndarray) else np.float32(value), name
            )
            for name, value in values.items()
        ],
    )
    opset = [helper.make_opsetid('', 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    image = textured_inputs(spec, 64, 64)['image']
    reference = Reference.of(brightness(image)[0], 0.01)
    card = ModelCard(spec, 'drawn by hand', '0' * 64, license, 'fp32', reference)
    helper.set_model_props(model, card.metadata())
    onnx.save(model, path)
    return path
