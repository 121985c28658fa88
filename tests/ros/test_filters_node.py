"""Filters and sigma in running nodes, over DDS."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('nndepth.msg', reason='the workspace is not built and sourced')
from rig import BASELINE, FOCAL, HEIGHT, SHIFT, WIDTH
from tiny_networks import write_network

from nndepth_core.uncertainty import confidence_sigma

STAMP = 1_700_000_000_000_000_000
FRAME = 100_000_000
DEPTH = FOCAL * BASELINE / SHIFT


def map_of(message) -> np.ndarray:
    return np.frombuffer(message.data, np.float32).reshape(message.height, message.width)


def fields_of(cloud) -> np.ndarray:
    dtype = [(field.name, '<f4') for field in cloud.fields]
    assert cloud.point_step == 4 * len(dtype)
    return np.frombuffer(cloud.data, dtype).reshape(cloud.height, cloud.width)


def test_filters_change_while_the_node_runs(make_rig):
    rig = make_rig(outputs=('disparity', 'depth/image', 'points2', 'stats'))
    rig.send_pair(STAMP)
    before = map_of(rig.wait_for('depth/image')[0])
    assert rig.set_parameters(filter__border=20) == ''
    rig.send_pair(STAMP + FRAME)
    after = map_of(rig.wait_for('depth/image', 2)[1])
    kept = np.zeros((HEIGHT, WIDTH), bool)
    kept[20:-20, 28:-20] = True  # the right image shows column 28 at 20
    np.testing.assert_array_equal(after[kept], before[kept])
    assert np.isnan(after[~kept]).all()
    disparity = rig.wait_for('disparity', 2)[1]
    assert (map_of(disparity.image)[~kept] == disparity.min_disparity - 1).all()
    assert np.isnan(fields_of(rig.wait_for('points2', 2)[1])['z'][~kept]).all()
    first, second = (stats.density for stats in rig.wait_for('stats', 2)[:2])
    assert second < kept.mean() < first
    rig.set_parameters(filter__border=0, filter__fill_holes=WIDTH)
    rig.send_pair(STAMP + 2 * FRAME)
    filled = map_of(rig.wait_for('depth/image', 3)[2])
    assert np.isnan(filled).sum() < np.isnan(before).sum()


def test_the_mean_over_time_needs_stamps_that_go_on(make_rig):
    rig = make_rig(outputs=('disparity',), parameters={'filter.smoothing': 1.0})
    seen = []
    for number, stamp in enumerate((STAMP, STAMP + FRAME, STAMP)):
        rng = np.random.default_rng(number)
        pair = [
            np.clip(image + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)
            for image in _gentle_pair()
        ]
        rig.send_pair(stamp, pair)
        message = rig.wait_for('disparity', number + 1)[number]
        estimate = rig.node.estimator(*pair).disparity
        known = np.isfinite(estimate)
        seen.append((map_of(message.image)[known], estimate[known]))
    np.testing.assert_array_equal(*seen[0])
    assert (seen[1][0] != seen[1][1]).mean() > 0.01
    np.testing.assert_array_equal(*seen[2])


def _gentle_pair() -> tuple[np.ndarray, np.ndarray]:
    wide = np.random.default_rng(5).integers(60, 190, (HEIGHT, WIDTH + SHIFT, 3), np.uint8)
    return wide[:, :WIDTH].copy(), wide[:, SHIFT:].copy()


@pytest.mark.parametrize(
    ('name', 'value', 'says'),
    [
        ('filter.flying', -1, 'Min: 0, Max: 100, value: -1'),
        ('filter.step', 0.0, 'Min: 0.005, Max: 1.0, value: 0.0'),
        ('filter.smoothing', 100.0, 'Min: 0.0, Max: 60.0, value: 100.0'),
        ('disparity_sigma', float('nan'), 'Min: 0.0, Max: 100.0, value: nan'),
    ],
)
def test_values_without_meaning_are_refused(make_rig, name, value, says):
    rig = make_rig(outputs=())
    refusal = rig.set_parameters(**{name.replace('.', '__'): value})
    assert refusal.startswith(f'Parameter {name} out of range')
    assert refusal.endswith(says)


def test_sigma_follows_from_the_confidence_of_the_default_model(make_rig):
    topics = ('depth/image', 'confidence', 'depth/sigma', 'points2')
    rig = make_rig(outputs=topics, model=None, parameters={'cloud_sigma': True})
    rig.send_pair(STAMP)
    depth, confidence, sigma = (map_of(rig.wait_for(name)[0]) for name in topics[:3])
    known = np.isfinite(depth)
    assert known.any()
    expected = depth**2 / (FOCAL * BASELINE) * confidence_sigma(confidence)
    np.testing.assert_allclose(sigma[known], expected[known], rtol=1e-4)
    assert np.isnan(sigma[~known]).all()
    np.testing.assert_array_equal(fields_of(rig.wait_for('points2')[0])['sigma'], sigma)


def test_sigma_is_computed_for_subscribers_only(make_rig, monkeypatch):
    rig = make_rig(outputs=('depth/image', 'points2'), model=None)
    asked, infer = [], rig.node.pipeline.infer

    def recorded(estimator, frame, confidence):
        asked.append(confidence)
        return infer(estimator, frame, confidence)

    monkeypatch.setattr(rig.node.pipeline, 'infer', recorded)
    rig.send_pair(STAMP)
    assert 'sigma' not in fields_of(rig.wait_for('points2')[0]).dtype.names
    rig.subscribe('depth/sigma')
    rig.wait_connected()
    rig.send_pair(STAMP + FRAME)
    rig.wait_for('depth/sigma')
    assert asked == [False, True]


def test_without_a_calibrated_confidence_sigma_is_what_the_user_says(make_rig):
    rig = make_rig(
        outputs=('depth/image', 'depth/sigma', 'points2'), parameters={'cloud_sigma': True}
    )
    rig.send_pair(STAMP)
    points = fields_of(rig.wait_for('points2')[0])
    assert np.isnan(points['sigma']).all()
    rig.wait_diagnostic('sgbm has no confidence that is calibrated in pixels; set disparity_sigma')
    assert not rig.received['depth/sigma']
    assert rig.set_parameters(disparity_sigma=0.5) == ''
    rig.send_pair(STAMP + FRAME)
    sigma = map_of(rig.wait_for('depth/sigma')[0])
    depth = map_of(rig.wait_for('depth/image', 2)[1])
    np.testing.assert_allclose(sigma, 0.5 * depth**2 / (FOCAL * BASELINE), rtol=1e-5)


def test_metres_of_a_single_image_are_filtered(make_mono_rig, tmp_path):
    pytest.importorskip('onnxruntime')
    metric = str(write_network(tmp_path / 'metric.onnx', confidence='head'))
    rig = make_mono_rig(outputs=('depth/image',), model=metric)
    assert rig.set_parameters(filter__border=10) == ''
    image = np.random.default_rng(3).integers(50, 256, (HEIGHT, WIDTH, 3), np.uint8)
    rig.send(STAMP, image)
    depth = map_of(rig.wait_for('depth/image')[0])
    assert np.isfinite(depth[10:-10, 10:-10]).all()
    assert np.isfinite(depth).sum() == (HEIGHT - 20) * (WIDTH - 20)


def test_what_has_no_metres_is_not_filtered(make_mono_rig, tmp_path):
    pytest.importorskip('onnxruntime')
    network = write_network(tmp_path / 'any.onnx', output='inverse_depth', value_range=None)
    rig = make_mono_rig(
        outputs=('inverse_depth/image',),
        model=str(network),
        parameters={'filter.border': 10},
    )
    rig.send(STAMP, np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
    assert np.isfinite(map_of(rig.wait_for('inverse_depth/image')[0])).all()
    rig.wait_diagnostic('what has no scale is not filtered')
