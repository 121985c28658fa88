"""Cards of ONNX files with whatever may stand in them: nothing but the engine's error comes."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from nndepth_core import StereoEstimator
from nndepth_core.engines import EngineError, create_engine
from nndepth_core.engines.card import ModelCard
from nndepth_core.engines.contract import Contract

pytest.importorskip('onnxruntime')
onnx = pytest.importorskip('onnx')

from test_engines import card_of, write_model  # noqa: E402

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, -32, 3, 10**9, 2**63, 1.5, -0.0, 1e308, 'x', '32', '', [], {}]),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.one_of(st.integers(-9, 10**6), st.floats(), st.text(max_size=2)), max_size=4),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
ENTRIES = json.loads(card_of(contract=Contract(inputs=('left', 'right'))).metadata()['nndepth'])
PLACES = [
    *((name,) for name in ENTRIES),
    *((name, entry) for name in ('spec', 'reference', 'contract') for entry in ENTRIES[name]),
    ('contract', 'disparity_scale'),
    ('contract', 'outputs'),
    ('contract', 'unknown'),
]


@pytest.fixture(scope='module')
def graph(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp('card') / 'model.onnx')


def load(graph, text: str) -> None:
    """Give the file a card, load it, test it and run it as the front ends do."""
    model = onnx.load(graph)
    onnx.helper.set_model_props(model, {'nndepth': text})
    path = graph.with_name('other.onnx')
    onnx.save(model, path)
    estimator = StereoEstimator(create_engine(str(path), device='cpu', threads=1))
    estimator.self_test()
    estimator(*np.zeros((2, 50, 70, 3), np.uint8))


def changed(places, values) -> str:
    entries = json.loads(json.dumps(ENTRIES))
    for place, value in zip(places, values, strict=True):
        inside = entries[place[0]] if len(place) > 1 else entries
        if isinstance(inside, dict):
            inside[place[-1]] = value
    return json.dumps(entries)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.sampled_from(PLACES), ODD), min_size=1, max_size=2))
def test_odd_entries_give_the_error_of_engines_or_work(graph, changes):
    places, values = zip(*changes, strict=True)
    text = changed(places, values)
    try:
        load(graph, text)
    except EngineError as error:
        assert 'other.onnx' in str(error)  # noqa: PT017


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text(max_size=30), st.integers(0, 2000), st.integers(0, 30))
def test_damaged_cards_give_the_error_of_engines(graph, text, start, length):
    whole = json.dumps(ENTRIES)
    damaged = whole[:start] + text + whole[start + length :]
    assume(damaged != whole)
    try:
        card = ModelCard.read({'nndepth': damaged})
    except EngineError:
        return
    assert isinstance(card, ModelCard)


@pytest.mark.parametrize(
    ('place', 'value', 'words'),
    [
        (('spec', 'multiple'), 0, 'multiple is 0; give a whole number in 1..4096'),
        (('spec', 'multiple'), True, 'multiple is True'),
        (('spec', 'multiple'), '32', "multiple is '32'"),
        (('spec', 'minimum'), [32], 'minimum is .* give 2 values'),
        (('spec', 'minimum'), 'ab', "minimum is 'ab'"),
        (('spec', 'placement'), 'left', "placement is 'left'; choose one of centre, top_right"),
        (('spec', 'iterations'), -1, 'iterations is -1'),
        (('precision',), 7, 'precision is 7; choose one of fp32'),
        (('spec', 'name'), [], 'name is .*; give a text'),
        (('spec', 'colour'), 1, "'colour' is no part of a model spec"),
        (('reference',), 5, 'reference does not hold names and values'),
        (('reference', 'size'), [0, 0], 'reference size is 0'),
        (('reference', 'size'), [16384, 16384], 'reference size is 16384x16384, more than'),
        (('reference', 'values'), [1, 2, 3], 'give 48 values'),
        (('reference', 'values'), [float('nan')] * 48, 'reference values is nan'),
        (('reference', 'tolerance'), float('inf'), 'reference tolerance is inf'),
        (('reference', 'tolerance'), 0, 'reference tolerance is 0; it must be larger'),
        (('contract', 'disparity_sign'), 'up', "disparity_sign is 'up'"),
        (('contract', 'unknown'), 1, "'unknown' is no part of a contract"),
    ],
)
def test_what_is_wrong_is_named(graph, place, value, words):
    with pytest.raises(EngineError, match=rf'other.onnx: its metadata .*{words}.*export it again'):
        load(graph, changed([place], [value]))


@pytest.mark.parametrize('text', ['', '[]', '5', 'null', '[' * 100_000, '{"a"', '\x00'])
def test_what_is_no_card_is_named(graph, text):
    with pytest.raises(EngineError, match=r'other.onnx: its metadata .*export it again'):
        load(graph, text)


def test_a_card_of_a_later_version_may_say_more(graph):
    load(graph, json.dumps({**ENTRIES, 'colour': 'blue'}))


def test_a_card_that_is_silent_about_the_contract_means_ours(graph):
    entries = {name: value for name, value in ENTRIES.items() if name != 'contract'}
    load(graph, json.dumps(entries))
    assert ModelCard.read({'nndepth': json.dumps(entries)}).contract == Contract()
