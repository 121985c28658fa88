"""What contracts of ONNX files may hold, and what they make of images and maps."""

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nndepth_core.engines import EngineError
from nndepth_core.engines.contract import IMAGENET, OPTIONS, PRESETS, Contract, option_text
from nndepth_core.engines.tensors import ImageTensor, read_map

CONTRACTS = st.builds(
    dict,
    inputs=st.sampled_from([(), ('a',), ('a', 'b'), tuple('abcd')]),
    outputs=st.sampled_from([(), ('d',), ('d', 'c')]),
    layout=st.sampled_from(['auto', 'nchw', 'nhwc']),
    channels=st.sampled_from(['auto', 'rgb', 'bgr', 'grey']),
    disparity_sign=st.sampled_from(['positive', 'negative']),
    disparity_scale=st.sampled_from([1.0, 0.25, 1280.0]),
    **{'input_range': st.sampled_from([None, (0.0, 1.0), (-1.0, 1.0)])},
) | st.builds(dict, normalize=st.sampled_from([IMAGENET, ((0.5,), (0.25,))]))


@given(CONTRACTS)
def test_contracts_survive_text_and_settings(values):
    contract = Contract(**values)
    assert Contract.of(contract.settings()) == contract
    assert Contract.of(yaml.safe_load(yaml.safe_dump(contract.settings()))) == contract
    texts = {name: option_text(name, value) for name, value in contract.settings().items()}
    assert Contract.of(texts) == contract
    assert contract.settings().keys() <= OPTIONS.keys()


ITEMS = st.floats() | st.text(max_size=3) | st.lists(st.floats(), max_size=3)
ODD = st.none() | st.booleans() | st.integers() | ITEMS | st.lists(ITEMS, max_size=4)


@given(st.dictionaries(st.sampled_from([*OPTIONS, 'self_check', 'x']), ODD, max_size=3))
def test_odd_settings_raise_value_errors_alone(settings):
    try:
        Contract.of(settings)
    except ValueError as error:
        assert str(error)  # noqa: PT017


def test_presets_hold_values_that_a_contract_may_have():
    for name in PRESETS:
        assert Contract.of({'preset': name}).preset == name
    normalized = Contract.of({'preset': 'hitnet', 'normalize': 'imagenet'})
    assert (normalized.input_range, normalized.normalize) == (None, IMAGENET)


@pytest.mark.parametrize(
    'shape', [(2, 6, 8), (2, 1, 6, 8), (2, 2, 6, 8), (2, 6, 8, 1), (2, 6, 8, 2)]
)
def test_maps_of_every_rank(shape):
    values = np.random.default_rng(0).random(shape, np.float32)
    first = values if values.ndim == 3 else values[:, 0] if shape[1] < 3 else values[..., 0]
    np.testing.assert_array_equal(read_map(values, (2, 6, 8)), first)


@pytest.mark.parametrize(
    'shape', [(), (8,), (1, 6, 9), (2, 6, 8), (1, 3, 6, 8), (1, 0, 6, 8), (1, 0, 0)]
)
def test_maps_of_other_shapes_are_refused(shape):
    with pytest.raises(EngineError, match='its output is'):
        read_map(np.zeros(shape), (1, 6, 8))


def test_one_map_needs_no_batch():
    assert read_map(np.zeros((6, 8)), (1, 6, 8)).shape == (1, 6, 8)


def test_values_of_tensors():
    class Argument:
        name, type, shape = 'left', 'tensor(float)', ['n', 3, 'h', 'w']

    contract = Contract.of({'normalize': '0.5,0.25,0/0.5,0.25,1', 'channels': 'bgr'})
    tensor = ImageTensor.of(Argument, contract, (0,), 1)
    image = np.full((1, 2, 2, 3), (0, 51, 255), np.uint8)
    np.testing.assert_allclose(tensor.convert([image])[0, :, 0, 0], [1, -0.2, 0], atol=1e-6)
