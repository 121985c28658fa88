"""Networks in the node: switched to while it runs, refused when they are not what they say."""

from __future__ import annotations

import json

import pytest

pytest.importorskip('nndepth.msg', reason='the workspace is not built and sourced')
pytest.importorskip('torch')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')

from nndepth_core.engines.torch import load_network
from nndepth_core.export.onnx import export_onnx

STAMP = 1_700_000_000_000_000_000


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp('networks') / 'light_stereo.onnx'
    export_onnx(load_network('light_stereo', 's', 'random'), path)
    return path


def test_the_node_changes_to_a_network_and_back(make_rig, exported):
    rig = make_rig(outputs=('stats',))
    rig.send_pair(STAMP)
    assert rig.wait_for('stats')[0].model == 'sgbm'
    for number, (model, name) in enumerate([(str(exported), 'light_stereo'), ('sgbm', 'sgbm')], 1):
        old = rig.node.estimator
        assert rig.set_parameters(model=model) == ''
        rig.wait_until(lambda old=old: rig.node.estimator is not old, 'the new model')
        rig.send_pair(STAMP + number)
        stats = rig.wait_for('stats', number + 1)[number]
        assert stats.model.startswith(name)
        assert stats.density > 0.5


def test_a_damaged_file_is_refused_and_the_old_model_goes_on(make_rig, exported, tmp_path):
    damaged = tmp_path / 'damaged.onnx'
    damaged.write_bytes(exported.read_bytes()[:10_000])
    rig = make_rig(outputs=('stats',))
    assert rig.set_parameters(model=str(damaged)) == ''
    rig.wait_until(lambda: rig.node.get_parameter('model').value == 'sgbm', 'the old value')
    rig.send_pair(STAMP)
    assert rig.wait_for('stats')[0].model == 'sgbm'


def test_a_card_that_cannot_be_is_refused_and_later_changes_happen(make_rig, exported, tmp_path):
    import onnx

    model = onnx.load(exported)
    entries = json.loads(model.metadata_props[0].value)
    entries['spec']['multiple'] = 0
    onnx.helper.set_model_props(model, {'nndepth': json.dumps(entries)})
    onnx.save(model, tmp_path / 'odd.onnx')
    rig = make_rig(outputs=('stats',))
    said = []
    rig.node.get_logger().error = said.append
    assert rig.set_parameters(model=str(tmp_path / 'odd.onnx')) == ''
    rig.wait_until(lambda: rig.node.get_parameter('model').value == 'sgbm', 'the old value')
    assert 'odd.onnx: its metadata do not describe a model' in said[0]
    old = rig.node.estimator
    assert rig.set_parameters(model=str(exported)) == ''
    rig.wait_until(lambda: rig.node.estimator is not old, 'the new model')


def test_a_network_without_weights_is_refused_with_the_cure(make_rig, monkeypatch, tmp_path):
    monkeypatch.setenv('NNDEPTH_CACHE', str(tmp_path))
    rig = make_rig(model='raft_stereo', start='unconfigured')
    said = []
    monkeypatch.setattr(rig.node.get_logger(), 'error', said.append)
    rig.in_executor(rig.node.trigger_configure)
    assert 'nndepth weights import' in said[0]
