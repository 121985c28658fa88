"""GMStereo against the official implementation, and what its parts promise."""

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from fill import load_golden  # noqa: E402
from probe import Run, every, official_state, run_recorded  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from nndepth_core.blocks import window_attention  # noqa: E402
from nndepth_core.blocks.correlation import sample_pyramid  # noqa: E402
from nndepth_core.blocks.position_encoding import window_encoding  # noqa: E402
from nndepth_core.blocks.row_matching import (  # noqa: E402
    global_match,
    local_match,
    match_mass,
    neighbour_mean,
    row_volume,
    warp_rows,
)
from nndepth_core.blocks.window_attention import Windows, attention_mean  # noqa: E402
from nndepth_core.models import create_model  # noqa: E402
from nndepth_core.training.losses import MultiScaleLoss  # noqa: E402
from nndepth_core.weights import CheckpointError, load_official  # noqa: E402

VARIANTS = ('scale1', 'scale2', 'scale2_regrefine')


@pytest.fixture(scope='module', params=VARIANTS)
def run(request):
    return run_recorded('gmstereo', request.param)


@torch.inference_mode()
def intermediates(run: Run) -> dict[str, torch.Tensor]:
    """What the run computed on its way, by the names of the golden; maps are (N, C, h, w)."""
    inputs, outputs = run.seen.inputs, run.seen.outputs

    def layer(index: int, call: int) -> torch.Tensor:
        return outputs[f'cross_attention.{index}'][call]

    def planes(tokens: torch.Tensor) -> torch.Tensor:
        return tokens.permute(0, 3, 1, 2)

    first = planes(inputs['self_attention.0'][0][0])
    matched, propagated = inputs['propagation'][0][1], outputs['propagation'][0]
    if run.model.scales == 1:
        return {
            'backbone_left': outputs['encoder'][0][:1],
            'transformer_in_left': first[:1],
            'transformer_in_right': first[1:],
            'layer0_left': layer(0, 0)[:1].flatten(1, 2),
            'layer1_left': layer(1, 0)[:1].flatten(1, 2),
            'layer1_right': layer(1, 0)[1:].flatten(1, 2),
            'transformer_left': planes(layer(5, 0)[:1]),
            'transformer_right': planes(layer(5, 0)[1:]),
            'disp_match': matched.unsqueeze(1),
            'disp_propagated': propagated.unsqueeze(1),
            'upsample_mask': outputs['upsampler'][0],
        }
    quarter = outputs['pyramid'][0]
    tokens, match = run.model.match_again(*quarter.chunk(2), propagated)
    found = {
        'backbone_left_eighth': run.model.encode(inputs['encoder'][0][0])[0][:1],
        'backbone_left_quarter': quarter[:1],
        'transformer_left_eighth': planes(layer(5, 0)[:1]),
        'disp_match_eighth': matched.unsqueeze(1),
        'disp_propagated_eighth': propagated.unsqueeze(1),
        'transformer_in_right_quarter': planes(inputs['self_attention.0'][1][0][1:]),
        'layer0_left_quarter': layer(0, 1)[:1].flatten(1, 2),
        'layer1_left_quarter': layer(1, 1)[:1].flatten(1, 2),
        'transformer_left_quarter': planes(layer(5, 1)[:1]),
        'disp_match_quarter': match.unsqueeze(1),
        'disp_propagated_quarter': run.model.propagation.nearby(tokens, match).unsqueeze(1),
    }
    if not run.model.spec.iterations:
        return found | {'upsample_mask': outputs['upsampler'][0]}
    motion = inputs['refinement.motion']
    return found | {
        'refine_corr_0': motion[0][0],
        'refine_hidden_0': outputs['refinement.grus.1'][0],
        'refine_delta_0': outputs['refinement.step_head'][0],
        'refine_disp_in_1': motion[1][1],
        'refine_disp_in_2': motion[2][1],
        'refine_mask_2': outputs['refinement.mask_head'][0],
    }


def test_equals_official_intermediates(run):
    found = intermediates(run)
    assert set(run.facts['steps']) == set(found)
    for name, step in run.facts['steps'].items():
        values = every(found[name], step, 2 if name.startswith('layer') else 1)
        np.testing.assert_allclose(values, run.arrays[name], rtol=3e-3, atol=1e-2, err_msg=name)


def test_confidence_lies_between_zero_and_one(run):
    assert run.confidence.shape == run.disparity.shape
    assert 0 <= run.confidence.min() <= run.confidence.max() <= 1 + 1e-6
    assert run.confidence.std() > 0.01


@pytest.mark.parametrize('variant', ['scale1', 'scale2_regrefine'])
@torch.inference_mode()
def test_batch_equals_single_pairs(variant):
    model = create_model('gmstereo', variant)
    left, right = torch.rand(2, 2, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 255
    both = model(left, right)
    for index in range(2):
        single = model(left[index : index + 1], right[index : index + 1])
        torch.testing.assert_close(both[index : index + 1], single, rtol=0, atol=1e-3)


@pytest.mark.parametrize(('variant', 'count'), [('scale1', 2), ('scale2', 4), (VARIANTS[2], 6)])
def test_train_mode_gives_every_stage_with_gradients(variant, count):
    model = create_model('gmstereo', variant).train()
    left, right = torch.rand(2, 1, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 255
    predictions = model(left, right, iterations=2)
    assert [p.shape for p in predictions] == [(1, 1, 64, 96)] * count
    sum(p.mean() for p in predictions).backward()
    assert not [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum() > 0
    ]


@torch.inference_mode()
def test_iterations_refine_the_result_step_by_step():
    model = create_model('gmstereo', 'scale2_regrefine')
    left, right = torch.rand(2, 1, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 255
    assert not torch.equal(model(left, right, iterations=1), model(left, right))
    with pytest.raises(ValueError, match='iterations is 0; give at least 1'):
        model(left, right, iterations=0)


def test_refuses_weights_of_another_variant():
    facts, _ = load_golden('gmstereo_scale2')
    with pytest.raises(CheckpointError, match='gmstereo-scale2'):
        load_official(create_model('gmstereo', 'scale1'), official_state(facts))


def test_refuses_settings_and_images_that_do_not_go_together():
    with pytest.raises(ValueError, match='scales is 1 and iterations is 3; give 1 scale and no'):
        create_model('gmstereo', 'scale1', iterations=3)
    for variant, multiple in (('scale1', 16), ('scale2', 32)):
        shape = (1, 3, 64, 64 + multiple // 2)
        with pytest.raises(ValueError, match=f'multiples of {multiple}, at least 32x32'):
            create_model('gmstereo', variant)(torch.zeros(shape), torch.zeros(shape))


def test_the_loss_weighs_late_predictions_more():
    truth = torch.zeros(1, 1, 1, 2)
    truth[..., 1] = torch.nan
    loss = MultiScaleLoss(gamma=0.9)
    errors = [torch.full_like(truth, 3.0), torch.full_like(truth, 0.5)]
    assert loss(errors, truth).item() == pytest.approx(0.9 * 2.5 + 0.5 * 0.5**2)


def test_the_exported_graph_serves_other_sizes_than_the_traced_one(tmp_path):
    """Windows and masks follow the size; rounding moves the 50 px of these weights by 0.002 px."""
    pytest.importorskip('onnxruntime')
    export = pytest.importorskip('nndepth_core.export.onnx')
    facts, _ = load_golden('gmstereo_scale1')
    model = create_model('gmstereo', 'scale1')
    load_official(model, official_state(facts))
    report = export.export_onnx(model, tmp_path / 'model.onnx')
    assert report.fixed_size is None
    assert [check.shape for check in report.checks] == [(2, 96, 160), (1, 112, 192)]
    assert all(check.largest < facts['tolerance'] for check in report.checks)
    assert all(check.confidence < 1e-3 for check in report.checks)
    assert not {'ScatterND', 'ScatterElements', 'Loop', 'If', 'NonZero'} & report.operators.keys()
    assert report.nodes < 1520


# --- parts -----------------------------------------------------------------------------------


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize(
    ('rows', 'columns', 'shifted'),
    [(2, 2, False), (2, 2, True), (None, 1, False), (None, 2, True), (4, 4, True), (8, 8, True)],
)
def test_window_attention_equals_its_definition(rows, columns, shifted):
    height, width = 8, 16
    queries, keys, values = random(3, 2, height, width, 8)
    found = Windows(rows, columns, shifted).attend(queries, keys, values)

    def windows(length, count):
        """The window of every place, and whether the place came around an end."""
        side = length // count
        place = torch.arange(length) - (side // 2 if shifted else 0)
        return place % length // side, place < 0

    y, above = windows(height, rows or height)
    x, before = windows(width, columns)
    region = torch.stack(
        [
            *torch.meshgrid(y, x, indexing='ij'),
            *torch.meshgrid(above, before, indexing='ij'),
        ]
    ).flatten(1)
    together = (region[:, :, None] == region[:, None]).all(0)
    scores = queries.flatten(1, 2) @ keys.flatten(1, 2).transpose(1, 2) / 8**0.5
    weights = scores.masked_fill(~together, -torch.inf).softmax(2)
    torch.testing.assert_close(found, (weights @ values.flatten(1, 2)).view_as(values))


def test_attention_mean_holds_64_mebibytes_of_scores_at_most(monkeypatch):
    queries, keys, values = random(2, 300, 8), random(2, 300, 8), random(2, 300)
    sizes = []

    def watched(scores, *rest):
        sizes.append(scores[0].numel())
        return softmax_mean(scores, *rest)

    softmax_mean = window_attention.softmax_mean
    monkeypatch.setattr(window_attention, 'softmax_mean', watched)
    assert 4 * window_attention._SCORES == 64 * 2**20
    monkeypatch.setattr(window_attention, '_SCORES', 7000)
    found = attention_mean(queries, keys, values)
    assert max(sizes) <= 7000
    assert sum(sizes) == 300**2
    weights = (queries @ keys.transpose(1, 2) / 8**0.5).softmax(2)
    torch.testing.assert_close(found, (weights @ values[..., None]).squeeze(2))


def test_window_encoding_is_that_of_one_window_repeated():
    found = window_encoding(6, 8, 2, 12, torch.zeros(1))
    torch.testing.assert_close(found, found[:3, :4].repeat(2, 2, 1), rtol=0, atol=0)
    turn = 2 * np.pi / 10000 ** (1 / 3)
    expected = [np.sin(turn * 2 / 3), np.cos(turn * 2 / 3), np.sin(turn / 4), np.cos(turn / 4)]
    np.testing.assert_allclose(found[1, 0, [2, 3, 8, 9]], expected, atol=1e-5)


def test_global_match_finds_shifted_features_and_never_looks_right():
    left = 30 * F.normalize(random(1, 3, 12, 64), dim=3)
    right = torch.cat((left[:, :, 4:], 30 * F.normalize(random(1, 3, 4, 64), dim=3)), 2)
    disparity, scores = global_match(left, right)
    torch.testing.assert_close(disparity[..., 4:], torch.full((1, 3, 8), 4.0))
    torch.testing.assert_close(match_mass(scores, disparity)[..., 4:], torch.ones(1, 3, 8))
    assert disparity.min() >= 0
    far = match_mass(scores, disparity + 3)[..., 7:]
    torch.testing.assert_close(far, torch.zeros(1, 3, 5), atol=1e-6, rtol=0)
    torch.testing.assert_close(global_match(right, left)[0][..., 0], torch.zeros(1, 3))


def test_local_match_equals_its_definition():
    left, right = random(2, 3, 10, 8), random(2, 3, 10, 8) * 2
    found = local_match(left, right, 4)
    for x in range(10):
        candidates = [c for c in range(x - 4, x + 5) if 0 <= c < 10]
        scores = torch.stack([(left[:, :, x] * right[:, :, c]).sum(2) for c in candidates], 2)
        weights = (scores / 8**0.5).softmax(2)
        expected = (weights * (x - torch.tensor(candidates))).sum(2)
        torch.testing.assert_close(found[:, :, x], expected)


def grid(disparity: torch.Tensor, dx: float = 0, dy: float = 0) -> torch.Tensor:
    """Where `grid_sample` looks for the match of each pixel."""
    height, width = disparity.shape[1:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    x = x + dx - disparity
    y = (y + dy).expand_as(x)
    return torch.stack((2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1), 3)


def test_warped_rows_are_those_of_a_sampler():
    features = random(2, 5, 9, 4)
    disparity = random(2, 5, 9) * 4  # beyond both ends too
    planes = features.permute(0, 3, 1, 2)
    expected = F.grid_sample(planes, grid(disparity), align_corners=True).permute(0, 2, 3, 1)
    torch.testing.assert_close(warp_rows(features, disparity), expected, rtol=1e-4, atol=1e-4)


def test_the_row_volume_serves_windows_around_any_disparity():
    left, right, disparity = random(1, 5, 9, 4), random(1, 5, 9, 4) * 2, random(1, 5, 9) * 4
    volume = row_volume(left, right, 2)
    found = sample_pyramid([volume], torch.arange(9) - disparity, 2)[:, :, :, 0]
    points = [
        F.grid_sample(right.permute(0, 3, 1, 2), grid(disparity, dx, dy), align_corners=True)
        for dy in range(-2, 3)
        for dx in range(-2, 3)
    ]
    expected = torch.stack([(left * p.permute(0, 2, 3, 1)).sum(3) / 2 for p in points], 3)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_neighbours_outside_share_in_the_mean_with_score_and_value_zero():
    queries, keys, values = random(1, 4, 3, 5), random(1, 4, 3, 5) * 2, random(1, 1, 3, 5)
    around = F.unfold(keys, 3, padding=1).view(1, 4, 9, 3, 5)
    weights = ((queries[:, :, None] * around).sum(1) / 2).softmax(1)
    expected = (weights * F.unfold(values, 3, padding=1).view(1, 9, 3, 5)).sum(1, keepdim=True)
    torch.testing.assert_close(neighbour_mean(queries, keys, values), expected)
