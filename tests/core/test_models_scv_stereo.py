"""SCV-Stereo: its blocks against the network for optical flow whose idea it takes, and in itself.

The authors of SCV-Stereo published no code. `ScvFlow` makes that network of the blocks of ours.
"""

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from fill import fill, load_golden  # noqa: E402
from probe import every, official_state, record  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from nndepth_core.blocks.correlation import correlation_pyramid  # noqa: E402
from nndepth_core.blocks.sparse_correlation import (  # noqa: E402
    best_matches,
    cell_weights,
    gather_matches,
)
from nndepth_core.blocks.update import MotionEncoder, head, motion_rules  # noqa: E402
from nndepth_core.blocks.upsample import convex_upsample_coarse  # noqa: E402
from nndepth_core.encoders.residual import RESIDUAL_RULES, SHORTCUT_ALIASES  # noqa: E402
from nndepth_core.export.onnx import export_onnx  # noqa: E402
from nndepth_core.models import create_model  # noqa: E402
from nndepth_core.models.base import scale_to_unit, separable_gru_sources  # noqa: E402
from nndepth_core.models.scv_stereo import ScvStereo  # noqa: E402
from nndepth_core.weights import load_official  # noqa: E402

LEVELS, RADIUS, MATCHES = 5, 4, 8


class ScvFlow(ScvStereo):
    """The network for optical flow: matches in the whole image, all with two coordinates."""

    official_rules = (
        (r'^matching\.0', 'fnet'),
        (r'^matching\.1', 'fnet.conv2'),
        (r'^context\.0', 'cnet'),
        (r'^context\.1', 'cnet.conv2'),
        *motion_rules('f'),
        (r'^step_head\.0', 'update_block.flow_head.conv1'),
        (r'^step_head\.2', 'update_block.flow_head.conv2'),
        (r'^mask_head', 'update_block.mask'),
        *RESIDUAL_RULES,
    )
    official_aliases = SHORTCUT_ALIASES

    def __init__(self, downsample):
        super().__init__(downsample=downsample)
        cells = LEVELS * (2 * RADIUS + 1) ** 2
        self.motion = MotionEncoder(cells, 2, 128, (256, 192), (128, 64))
        self.step_head = head(128, 256, 2)

    def official_sources(self):
        return super().official_sources() | separable_gru_sources('update_block.gru', 128, 128)

    def run(self, first, second, iterations):
        """All steps and what is seen on the way, by the names of the golden."""
        first, second = scale_to_unit(first), scale_to_unit(second)
        seen = SimpleNamespace(fmap_left=self.matching(first), fmap_right=self.matching(second))
        seen.context = self.context(first)
        products, matches = self.match(seen.fmap_left, seen.fmap_right)
        seen.topk_corr, seen.topk_displacement = products.permute(0, 3, 1, 2), matches
        state, contexts = self.start(first)
        flow = torch.zeros_like(state[:, :2])
        for step in range(iterations):
            seen.flow_lowres_before_last = flow
            windows = self.look_up(products, matches - flow.flip(1)[..., None])
            state = self.update(state, self.motion(windows, flow), contexts)
            change = self.step_head(state)
            flow = flow + change
            seen.motion_tensor_last = windows
            if step == 0:
                seen.motion_tensor_iter_1, seen.hidden_iter_1 = windows, state
                seen.delta_iter_1 = change
        seen.output = convex_upsample_coarse(flow, self.mask_head(state) / 4, self.factor)
        return seen

    def match(self, first, second):
        """Products (N, h, w, K) and displacements, down and right, (N, 2, h, w, K)."""
        width = first.shape[3]
        first, second = first.flatten(2), second.flatten(2)
        products = first.transpose(1, 2) @ second / first.shape[1] ** 0.5
        best, places = (x.unflatten(1, (-1, width)) for x in products.topk(MATCHES, 2))
        rows, columns = places // width, places % width
        down = rows - torch.arange(rows.shape[1])[:, None, None]
        return best, torch.stack((down, columns - torch.arange(width)[:, None]), 1)

    def look_up(self, products, offsets):
        """Windows (N, 405, h, w): one after the other, in each row by row."""
        down, right = (
            cell_weights(x, LEVELS, RADIUS).unflatten(3, (LEVELS, -1)) for x in offsets.unbind(1)
        )
        cells = torch.einsum('nhwlyk,nhwlxk,nhwk->nlyxhw', down, right, products)
        return cells.flatten(1, 3)


@pytest.fixture(scope='module', params=['quarter', 'eighth'])
@torch.inference_mode()
def flow(request):
    facts, arrays = load_golden(f'scv_flow_{request.param}')
    network = ScvFlow({'quarter': 2, 'eighth': 3}[request.param]).eval()
    load_official(network, official_state(facts))
    images = [torch.from_numpy(arrays[side]).float() for side in ('left', 'right')]
    return facts, arrays, network.run(*images, facts['iterations'])


def test_blocks_make_the_official_network_for_flow(flow):
    facts, arrays, seen = flow
    found = seen.output[..., ::2, ::2]
    np.testing.assert_allclose(found, arrays['output'], rtol=0, atol=facts['tolerance'])
    for name, (channels, pixels) in facts['steps'].items():
        values = every(getattr(seen, name), channels)[..., ::pixels, ::pixels]
        np.testing.assert_allclose(values, arrays[name], rtol=1e-4, atol=2e-4, err_msg=name)


def test_matches_are_those_of_the_official_network_for_flow(flow):
    _, arrays, seen = flow
    expected = arrays['topk_displacement_yx'].transpose(0, 1, 3, 4, 2)
    np.testing.assert_array_equal(seen.topk_displacement[:, :, ::2, ::2], expected)


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def random_pair(*size):
    return (random(2, *size) * 60 + 127).clamp(0, 255).split(1)


@pytest.fixture(scope='module')
def stereo():
    torch.manual_seed(0)
    return create_model('scv_stereo')


def test_windows_of_all_matches_sample_the_dense_volume():
    """With every pixel of the row for a match, nothing of the dense volume is missing."""
    left, right = random(2, 1, 16, 3, 12)
    dense = correlation_pyramid(left / 4, right, 1)[0][..., 0, 1:-1]
    products, columns = best_matches(left, right, 12)
    disparity = 3 * random(1, 3, 12, seed=1).abs()
    here = torch.arange(12)[:, None]
    weights = cell_weights(columns - here + disparity[..., None], 1, 2)
    found = (weights @ products[..., None])[..., 0]
    for step in range(-2, 3):
        place = torch.arange(12) - disparity + step
        low = place.floor().long()
        expected = torch.zeros_like(disparity)
        for column, share in ((low, 1 - place + low), (low + 1, place - low)):
            usable = (column >= 0) & (column <= torch.arange(12))
            value = dense.gather(3, column.clamp(0, 11)[..., None])[..., 0]
            expected += torch.where(usable, share * value, 0.0)
        torch.testing.assert_close(found[..., step + 2], expected)


def test_disparity_of_a_shifted_pattern_is_the_best_match(stereo):
    left = random(1, 64, 4, 40)
    right = F.pad(left, (0, 7))[..., 7:]
    _, columns = best_matches(left, right, stereo.matches)
    disparity = torch.arange(40) - columns[..., 0]
    assert (disparity[..., 7:] == 7).all()


@torch.inference_mode()
def test_windows_lie_around_the_present_disparity():
    """A network whose steps are all 3 moves its windows by as much, and adds the steps up."""
    network = create_model('scv_stereo')
    torch.nn.init.zeros_(network.step_head[2].weight)
    torch.nn.init.constant_(network.step_head[2].bias, 3.0)
    with record(network) as seen:
        disparity = network(*random_pair(3, 64, 128), iterations=2)
    products, columns = best_matches(*seen.outputs['matching'], network.matches)
    offsets = columns - torch.arange(16)[:, None]
    for (windows, estimate), moved in zip(seen.inputs['motion'], (0, 3), strict=True):
        assert (estimate == moved).all()
        expected = gather_matches(products, offsets + moved, LEVELS, RADIUS)
        torch.testing.assert_close(windows, expected)
    inner = disparity[..., 8:-8, 8:-8]
    torch.testing.assert_close(inner, torch.full_like(inner, 6.0 * network.factor))


@torch.inference_mode()
def test_result_does_not_depend_on_the_order_of_the_matches(stereo, monkeypatch):
    pair = random_pair(3, 64, 96)
    expected = stereo(*pair)

    def reversed_matches(*arguments):
        return [x.flip(3) for x in best_matches(*arguments)]

    monkeypatch.setattr('nndepth_core.models.scv_stereo.best_matches', reversed_matches)
    torch.testing.assert_close(stereo(*pair), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize('variant', ['eighth', 'quarter'])
def test_training_gradients_reach_every_parameter(variant):
    model = create_model('scv_stereo', variant).train()
    predictions = model(*random_pair(3, 64, 64), 2)
    assert [x.shape for x in predictions] == [(1, 1, 64, 64)] * 2
    sum(x.mean() for x in predictions).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]


@torch.inference_mode()
def test_batch_equals_single_pairs_at_the_smallest_width(stereo):
    left, right = random(2, 2, 3, 32, 64) * 60 + 127
    both = stereo(left, right)
    for index in range(2):
        single = stereo(left[index : index + 1], right[index : index + 1])
        torch.testing.assert_close(both[index : index + 1], single, rtol=0, atol=1e-4)


def test_steps_and_confidence(stereo):
    pair = random_pair(3, 32, 64)
    with torch.inference_mode():
        disparity, confidence = stereo(*pair, 3, confidence=True)
    assert disparity.shape == confidence.shape == (1, 1, 32, 64)
    assert 0 < confidence.min() <= confidence.max() <= 1
    with pytest.raises(ValueError, match='iterations is 0'):
        stereo(*pair, 0)


def test_export_of_several_large_steps(tmp_path):
    """Fresh weights hardly move; filled ones do, so that windows lie around other disparities."""
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    network = create_model('scv_stereo')
    filled = {name: fill(name, tuple(x.shape)) for name, x in network.state_dict().items()}
    network.load_state_dict({name: torch.from_numpy(np.asarray(x)) for name, x in filled.items()})
    report = export_onnx(network, tmp_path / 'model.onnx', iterations=2, size=(32, 128))
    assert max(check.largest for check in report.checks) < 1e-3
