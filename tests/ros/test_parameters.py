"""The parameter table and the config read from it."""

from __future__ import annotations

import math

import pytest

from nndepth_ros.outputs import OutputSettings
from nndepth_ros.parameters import (
    MONO_PARAMETERS,
    STEREO_PARAMETERS,
    MonoConfig,
    StereoConfig,
)
from nndepth_ros.parameters.rigs import RIGS_PARAMETERS

DEFAULTS = {row.name: row.default for row in STEREO_PARAMETERS}


def test_defaults_are_a_valid_config():
    config = StereoConfig.from_values(DEFAULTS)
    assert config.model.sgbm.num_disparities == 128
    assert config.sync_tolerance_ns == 0


@pytest.mark.parametrize(
    'choice', [{'model': 'sgbm'}, {'model': 'auto', 'engine': 'opencv'}], ids=['named', 'auto']
)
def test_settings_of_sgbm_reach_it_by_either_name(choice):
    values = {**DEFAULTS, 'sgbm.num_disparities': 64, **choice}
    assert StereoConfig.from_values(values).model.options()['num_disparities'] == 64


def test_the_contract_of_an_onnx_file_reaches_it_alone():
    values = {**DEFAULTS, 'onnx.preset': 'raft_stereo', 'onnx.outputs': 'flow_up'}
    options = StereoConfig.from_values({**values, 'model': 'raft.onnx'}).model.options()
    assert (options['preset'], options['outputs']) == ('raft_stereo', 'flow_up')
    assert 'normalize' not in options
    assert 'preset' not in StereoConfig.from_values(values).model.options()


@pytest.mark.parametrize('model', ['depth.onnx', 'sgbm'])
@pytest.mark.parametrize('name', ['weights', 'network_settings'])
def test_what_only_a_network_takes_is_refused_beside_other_models(model, name):
    values = {**DEFAULTS, 'model': model, name: 'foo=3'}
    with pytest.raises(
        ValueError, match=f"{name} is 'foo=3' and the model {model}.* set {name} to"
    ):
        StereoConfig.from_values(values).model.check_unused()
    StereoConfig.from_values({**values, 'model': 'raft_stereo'}).model.check_unused()


@pytest.mark.parametrize(
    'table',
    [STEREO_PARAMETERS, MONO_PARAMETERS, RIGS_PARAMETERS],
    ids=['stereo', 'mono', 'rigs'],
)
def test_every_row_is_described_and_unique(table):
    assert len({row.name for row in table}) == len(table)
    for row in table:
        assert row.description.endswith('.'), row.name
        if row.high > row.low:
            assert row.low <= row.default <= row.high, row.name


@pytest.mark.parametrize(
    ('changes', 'says'),
    [
        ({'output_size': 'huge'}, "output_size is 'huge'; choose one of camera, processing"),
        ({'min_depth': 5.0, 'max_depth': 2.0}, 'max_depth must be larger'),
        ({'color_min_disparity': 9.0, 'color_max_disparity': 3.0}, 'maximum must be larger'),
        ({'sgbm.num_disparities': 50}, 'multiple of 16'),
        ({'sgbm.block_size': 4}, 'odd'),
        ({'sgbm.mode': 'fast'}, 'sgbm_3way'),
        (
            {'onnx.disparity_sign': 'up'},
            "onnx.disparity_sign is 'up'; choose one of positive, neg",
        ),
        ({'onnx.input_range': '1,0'}, 'onnx.input_range is 1,0; the second must be larger'),
    ],
)
def test_a_refusal_names_value_and_cure(changes, says):
    with pytest.raises(ValueError, match='is ') as refusal:
        StereoConfig.from_values({**DEFAULTS, **changes})
    assert says in str(refusal.value)


def test_a_mono_config_holds_what_its_table_names():
    values = {row.name: row.default for row in MONO_PARAMETERS}
    config = MonoConfig.from_values(
        {**values, 'model': 'midas_small', 'processing_width': 256, 'color_max_depth': 8.0}
    )
    assert config.model.processing_size == (256, 0)
    assert config.model.options()['precision'] == 'auto'
    assert config.outputs.color_range == (0.0, 8.0)
    with pytest.raises(ValueError, match='color_max_depth is 3'):
        MonoConfig.from_values({**values, 'color_min_depth': 9.0, 'color_max_depth': 3.0})


@pytest.mark.parametrize('limits', [(math.inf, 0), (math.nan, 0), (-1, 0), (0, 1e99), (5, 2)])
def test_limits_of_depth_without_meaning_are_refused(limits):
    with pytest.raises(ValueError, match=r'm(in|ax)_depth is '):
        OutputSettings(*limits)
