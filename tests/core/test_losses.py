"""Losses and schedules against their formulas."""

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('accelerate')
pytest.importorskip('jsonargparse')

import torch.nn.functional as F  # noqa: E402
from hypothesis import given  # noqa: E402
from hypothesis import settings as hypothesis_settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from nndepth_core.evaluation.regions import near_edges  # noqa: E402
from nndepth_core.training.losses import MultiScaleLoss, SequenceLoss, near_steps  # noqa: E402
from nndepth_core.training.nano_loss import NanoLoss  # noqa: E402
from nndepth_core.training.schedules import learning_rate_factor  # noqa: E402

NAN = float('nan')
TRUTH = torch.tensor([[[[1.0, 2.0, NAN], [3.0, 250.0, float('inf')]]]])
"""Known below 200: 1, 2, 3."""


def constant(*values):
    return [torch.full((1, 1, 2, 3), value) for value in values]


def test_sequence_loss_by_hand():
    # errors of a prediction of 0: 1 + 2 + 3 = 6, of 2: 1 + 0 + 1 = 2
    loss = SequenceLoss(gamma=0.9, adjust_gamma=False, max_disparity=200)
    assert loss(constant(0.0, 2.0), TRUTH).item() == pytest.approx(0.9 * 6 + 2)
    assert loss.valid(TRUTH).sum() == 3


@pytest.mark.parametrize('count', [2, 8, 16, 22])
def test_gamma_is_adjusted_to_the_iterations(count):
    """The first prediction weighs 0.9 ** 15 whatever the number of iterations."""
    loss = SequenceLoss(max_disparity=200)
    predictions = constant(0.0, *[2.0] * (count - 1))
    weights = [0.9 ** (15 * k / (count - 1)) for k in reversed(range(count))]
    assert weights[0] == pytest.approx(0.9**15)
    expected = 6 * weights[0] + 2 * sum(weights[1:])
    assert loss(predictions, TRUTH).item() == pytest.approx(expected, rel=1e-5)


def test_single_prediction_has_full_weight():
    assert SequenceLoss(max_disparity=200)(constant(0.0), TRUTH).item() == pytest.approx(6)


def test_start_value_has_its_own_weight():
    loss = SequenceLoss(start_weight=2.0, max_disparity=200)
    # smooth L1 of 1, 2, 3 is 0.5, 1.5, 2.5
    assert loss(constant(0.0, 2.0), TRUTH).item() == pytest.approx(2 * 4.5 + 2)


def test_vertical_displacement_is_trained_towards_zero():
    both = [torch.cat([constant(2.0)[0], constant(-4.0)[0]], 1)]
    # the mean of both channels: (2 + 3 * 4) / 2
    assert SequenceLoss(max_disparity=200)(both, TRUTH).item() == pytest.approx(7)


def test_multi_scale_loss_by_hand():
    loss = MultiScaleLoss(weights=(0.3, 1.0))
    # smooth L1 of 1, 2, 3 is 0.5, 1.5, 2.5; of 1, 0, 1 it is 0.5, 0, 0.5
    assert loss(constant(0.0, 2.0), TRUTH).item() == pytest.approx(0.3 * 4.5 + 1)
    with pytest.raises(ValueError, match='2 weights and the network 3 predictions'):
        loss(constant(0.0, 1.0, 2.0), TRUTH)


@pytest.mark.parametrize('cut', [(slice(None), 0), (..., slice(None, None, 2))])
def test_predictions_of_another_shape_are_refused(cut):
    predictions = [x[cut] for x in constant(0.0)]
    with pytest.raises(ValueError, match=r'a prediction of the network is .* where the truth is'):
        SequenceLoss()(predictions, TRUTH)


@pytest.mark.parametrize('loss', [SequenceLoss(), MultiScaleLoss()])
def test_unknown_pixels_have_no_gradient(loss):
    predictions = [p.requires_grad_() for p in constant(0.5, 1.5)]
    loss(predictions, TRUTH).backward()
    for prediction in predictions:
        known = loss.valid(TRUTH)
        assert torch.all(prediction.grad[~known] == 0)
        assert torch.all(prediction.grad[known] != 0)


@given(st.integers(2, 12), st.integers(0, 2**31))
@hypothesis_settings(max_examples=20, deadline=None)
def test_parts_of_a_batch_add_up(count, seed):
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand((4, 1, 3, 5), generator=generator) * 100
    truth[torch.rand(truth.shape, generator=generator) < 0.3] = NAN
    predictions = [torch.rand(truth.shape, generator=generator) * 100 for _ in range(count)]
    loss = SequenceLoss()
    parts = [loss([p[k : k + 1] for p in predictions], truth[k : k + 1]) for k in range(4)]
    assert loss(predictions, truth).item() == pytest.approx(sum(parts).item(), rel=1e-4)


def test_mean_is_that_of_the_known_pixels():
    truth = torch.rand(2, 1, 4, 4)
    loss = SequenceLoss()
    mean = loss([torch.zeros_like(truth)], truth) / loss.valid(truth).sum()
    assert mean.item() == pytest.approx(F.l1_loss(torch.zeros_like(truth), truth).item())


@pytest.mark.parametrize(
    ('schedule', 'anneal', 'warmup'),
    [('one_cycle', 'linear', 0.01), ('one_cycle_cosine', 'cos', 0.3)],
)
def test_one_cycle_is_that_of_torch(schedule, anneal, warmup):
    steps = 300
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, steps, pct_start=warmup, cycle_momentum=False, anneal_strategy=anneal
    )
    for step in range(steps):
        ours = learning_rate_factor(schedule, step, steps, warmup)
        assert ours == pytest.approx(optimizer.param_groups[0]['lr'], abs=1e-12)
        optimizer.step()
        if step < steps - 1:
            cycle.step()


def test_other_schedules_at_known_points():
    def at(schedule, step, warmup=0.02):
        return learning_rate_factor(schedule, step, 1000, warmup)

    assert at('plateau', 0) == pytest.approx(0.05)
    assert at('plateau', 20) == at('plateau', 600) == 1
    assert at('plateau', 800) == pytest.approx(0.525)
    assert at('plateau', 1000) == pytest.approx(0.05)
    assert at('cosine', 0, 0.0) == 1
    assert at('cosine', 500, 0.0) == pytest.approx(0.5)
    assert at('cosine', 20) == 1
    assert at('constant', 0, 0.0) == at('constant', 999, 0.5) == 1
    assert at('constant', 9) == pytest.approx(10 / 21)


@given(
    st.sampled_from(['one_cycle', 'one_cycle_cosine', 'cosine', 'plateau', 'constant']),
    st.integers(1, 400),
    st.floats(0, 0.95),
)
@hypothesis_settings(max_examples=60, deadline=None)
def test_factors_stay_in_range(schedule, steps, warmup):
    factors = [learning_rate_factor(schedule, step, steps, warmup) for step in range(steps)]
    assert all(0 <= factor <= 1 for factor in factors)


@pytest.mark.parametrize('turned', [False, True])
def test_pixels_near_depth_edges_are_those_of_the_evaluation(turned):
    rng = np.random.default_rng(0)
    truth = np.repeat(rng.choice([5.0, 6.5, 9.0, 40.0], (24, 4)), 9, 1).astype(np.float32)
    truth[3:20] = 7.0
    truth = np.ascontiguousarray(truth.T) if turned else truth
    near = near_steps(torch.tensor(truth)[None, None])[0, 0].numpy()
    np.testing.assert_array_equal(near, near_edges(truth))
    assert 0 < near.mean() < 1


def test_unknown_pixels_make_no_depth_edge():
    truth = torch.full((1, 1, 8, 8), 20.0)
    truth[..., 3:5] = NAN
    assert not near_steps(truth).any()


def test_errors_near_depth_edges_weigh_more():
    truth = torch.full((1, 1, 32, 48), 20.0)
    truth[:, :, :, 24:] = 30.0
    logits = torch.zeros(1, 48, 8, 12)
    sure = torch.zeros(1, 1, 32, 48)
    alone = {'coarse_weight': 0.0, 'half_weight': 0.0, 'peak_weight': 0.0}
    loss = NanoLoss(**alone, confidence_weight=0.0, beta=0.25, edge_weight=3.0)
    for column, weight in ((2, 1), (18, 1), (19, 4), (23, 4), (28, 4), (29, 1)):
        estimate = truth.clone()
        estimate[:, :, :, column] += 2.0  # smooth L1 of 2 is 2 - beta / 2
        predictions = [logits, truth[..., 2::4, 2::4] / 4, truth[..., 1::2, 1::2] / 2, sure]
        value = float(loss([*predictions, estimate], truth))
        assert value == pytest.approx(weight * 32 * 1.875, rel=1e-5)
