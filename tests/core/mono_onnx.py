"""A model of single images whose output is known: an ONNX file with a card of ours."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nndepth_core.engines.card import ModelCard
from nndepth_core.engines.reference import Reference, textured_pair
from nndepth_core.spec import ModelSpec


def write_mono_onnx(
    path: str | Path, output: str = 'depth', scale: float = 0.01, **facts: Any
) -> Path:
    """Write a model of single images that gives red times scale as any output; facts: its own."""
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    from onnx import TensorProto, helper

    free = ('batch', 'height', 'width')
    nodes = [
        helper.make_node('Cast', ['image'], ['values'], to=TensorProto.FLOAT),
        helper.make_node('Gather', ['values', 'red'], ['first'], axis=3),
        helper.make_node('Mul', ['first', 'scale'], [output]),
    ]
    constants = {'red': np.array(0), 'scale': np.float32(scale)}
    graph = helper.make_graph(
        nodes,
        'test',
        [helper.make_tensor_value_info('image', TensorProto.UINT8, (*free, 3))],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, free)],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=8)
    metric = output == 'depth'
    spec = ModelSpec(
        'reddish',
        inputs=('image',),
        output=output,
        value_range=(0.0, 10.0) if metric else None,
        **facts,
    )
    red = textured_pair(96, 160)[0][0, ..., 0].astype(np.float32)
    reference = Reference.of(red * np.float32(scale), 1e-3)
    card = ModelCard(spec, 'none', '0' * 64, None, 'fp32', reference)
    helper.set_model_props(model, card.metadata())
    onnx.save(model, str(path))
    return Path(path)
