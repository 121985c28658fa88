"""IGEV-Stereo and RT-IGEV++ against the official implementations."""

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from fill import load_golden  # noqa: E402
from probe import every, official_state, record, run_recorded  # noqa: E402

from nndepth_core.models import create_model  # noqa: E402
from nndepth_core.weights import load_official  # noqa: E402

# Of the official networks without a batch norm of 16 that they never use.
NETWORKS = (('igev_stereo', 'base'), ('rt_igev', 'rt'))
STEPS = 4


@pytest.fixture(scope='module', params=NETWORKS, ids=lambda names: names[0])
def run(request):
    return run_recorded(*request.param, STEPS)


def test_equals_official_intermediates(run):
    put, got = run.seen.inputs, run.seen.outputs
    maps, _ = got['features'][0]
    states, contexts, _ = put['update'][0]
    updated = got['update'][0]
    found = {
        'f4_left': got['features.last'][0],
        'f16_left': maps[2],
        'f32_left': maps[3],
        'stem_4_left': got['features.stem_quarter'][0],
        'match_left': got['descriptor'][0],
        'match_right': got['descriptor'][1],
        'hidden_init': states[0],
        'hidden_04_init': states[0],
        'hidden_16_init': states[-1],
        'zqr': contexts[0],
        'zqr_04': contexts[0],
        'lookup_iter_0': put['motion'][0][0],
        'hidden_04_iter_0': updated[0],
        'hidden_08_iter_0': updated[len(updated) // 2],
        'hidden_16_iter_0': updated[-1],
    }
    if run.model.spec.name == 'igev_stereo':
        found['context_raw_04'] = got['context.context_heads.0'][0]
    for name, step in run.facts['steps'].items():
        values = every(found[name], step)
        # Steep volumes are read where the disparity says: in float64 our reading is 4e-4 from the
        # official float32 one.
        atol = 5e-4 if name == 'lookup_iter_0' else 2e-4
        np.testing.assert_allclose(values, run.arrays[name], rtol=1e-3, atol=atol, err_msg=name)


def test_equals_official_volumes_and_disparities(run):
    put, got = run.seen.inputs, run.seen.outputs
    correlation = put['volume_stem' if 'volume_stem' in got else 'hourglass'][0][0]
    found = {
        'gwc_volume': correlation[:, ::4, ::8, ::2, ::2],
        'att_volume': put['hourglass'][0][0][:, ::4, ::16, ::2, ::2],
        'geo_volume': got['hourglass'][0][:, ::4, ::8, ::2, ::2],
        'init_disp': put['motion'][0][1],
        'disp_iter_0': put['motion'][1][1],
        'mask_logits_last': got['mask.to_logits'][0][..., ::4, ::4],
    }
    for name, values in found.items():
        if name in run.arrays:
            expected = run.arrays[name]
            np.testing.assert_allclose(values, expected, rtol=1e-3, atol=2e-4, err_msg=name)


@torch.no_grad()
def test_equals_official_predictions(run):
    run.model.training = True  # its norms stay in eval mode, as the goldens were made
    start, *predictions = run.model(*run.images, STEPS)
    run.model.training = False
    assert len(predictions) == STEPS
    tolerance = run.facts['tolerance']
    for found, name in ((start, 'init_disp_full'), (predictions[0], 'disp_up_iter_0')):
        expected = run.arrays[name]
        np.testing.assert_allclose(found[..., ::2, ::2], expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(predictions[-1], run.arrays['output'], rtol=0, atol=tolerance)


def test_confidence_tells_how_little_the_last_step_moved(run):
    assert run.confidence.shape == run.disparity.shape
    coarse = torch.exp(-4 * run.seen.outputs['disparity_head'][-1].abs())
    assert coarse.min() - 1e-6 <= run.confidence.min()
    assert run.confidence.max() <= coarse.max() + 1e-6


def test_repeats_nothing_that_stays_the_same(run):
    calls = {name: len(outputs) for name, outputs in run.seen.outputs.items()}
    assert calls['hourglass'] == calls['mask'] == calls['to_mask'] == 1
    assert 'start_mask' not in calls
    assert calls['update'] == calls['disparity_head'] == STEPS


@pytest.mark.parametrize(('name', 'variant'), NETWORKS)
def test_every_parameter_is_trained(name, variant):
    model = create_model(name, variant).train()
    left, right = torch.rand(2, 2, 3, 32, 64) * 255
    predictions = model(left, right, 1)
    assert [p.shape for p in predictions] == 2 * [(2, 1, 32, 64)]
    sum(prediction.abs().mean() for prediction in predictions).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]


@torch.inference_mode()
def test_batch_equals_single_pairs():
    model = create_model('rt_igev')
    left, right = torch.rand(2, 2, 3, 96, 64, generator=torch.Generator().manual_seed(0)) * 255
    both = model(left, right, 2)
    for index in range(2):
        single = model(left[index : index + 1], right[index : index + 1], 2)
        torch.testing.assert_close(both[index : index + 1], single, rtol=0, atol=1e-3)


@torch.inference_mode()
def test_searches_as_far_as_told():
    facts, arrays = load_golden('rt_igev_rt')
    model = create_model('rt_igev', max_disparity=256)
    load_official(model, official_state(facts))
    with record(model) as seen:
        model(*(torch.from_numpy(arrays[side]).float() for side in ('left', 'right')), 1)
    assert seen.outputs['hourglass'][0].shape[2] == 64
    with pytest.raises(ValueError, match='multiple of 32'):
        create_model('rt_igev', max_disparity=200)
