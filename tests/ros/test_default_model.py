"""The node and the replay as they come: by the network of the package, changed while running."""

from __future__ import annotations

import json

import bags
import numpy as np
import pytest

pytest.importorskip('onnxruntime')

from nndepth_core.cli import main
from nndepth_core.engines import AUTO, DEFAULT_NETWORK

STAMP = 1_700_000_000_000_000_000


@pytest.fixture(autouse=True)
def nothing_stored(monkeypatch, tmp_path):
    monkeypatch.setenv('NNDEPTH_CACHE', str(tmp_path / 'cache'))


def test_the_node_estimates_by_the_network_of_the_package(make_rig):
    rig = make_rig(outputs=('disparity', 'stats'), model=None)
    rig.send_pair(STAMP)
    stats = rig.wait_for('stats')[0]
    assert (stats.model, stats.engine) == (f'{DEFAULT_NETWORK}-base', 'onnxruntime')
    message = rig.wait_for('disparity')[0]
    disparity = np.frombuffer(message.image.data, np.float32)
    assert disparity.size == stats.output_width * stats.output_height
    assert np.isfinite(disparity).all()
    assert message.min_disparity <= disparity.min() < disparity.max() <= message.max_disparity


def test_the_node_runs_the_variant_that_its_settings_are(make_rig):
    settings = 'looks=[1, 2] max_disparity=192'
    rig = make_rig(outputs=('stats',), model=None)
    old = rig.node.estimator
    assert rig.set_parameters(network_settings=settings) == ''
    rig.wait_until(lambda: rig.node.estimator is not old, settings)
    rig.send_pair(STAMP)
    stats = rig.wait_for('stats')[0]
    assert (stats.model, stats.engine) == (f'{DEFAULT_NETWORK}-fine', 'onnxruntime')
    assert rig.node.describe() == 'nano_stereo-fine by onnxruntime on cpu'


def test_the_node_changes_from_the_default_to_another_model_and_back(make_rig):
    rig = make_rig(outputs=('stats',), model=None)
    for number, (model, name) in enumerate(
        [(bags.MODEL, bags.MODEL), (AUTO, f'{DEFAULT_NETWORK}-base')]
    ):
        old = rig.node.estimator
        assert rig.set_parameters(model=model) == ''
        rig.wait_until(lambda old=old: rig.node.estimator is not old, model)
        rig.send_pair(STAMP + number)
        assert rig.wait_for('stats', number + 1)[number].model == name


def test_replay_takes_the_default(tmp_path, capsys):
    source = bags.write_bag(tmp_path / 'in', bags.frames(1))
    assert main(['replay', str(source), str(tmp_path / 'out'), '--json']) == 0
    report = json.loads(capsys.readouterr().out)
    assert report['model']['name'] == DEFAULT_NETWORK
    assert report['pairs']['processed'] == 1
    assert (tmp_path / 'out' / 'out.mcap').stat().st_size > 0
