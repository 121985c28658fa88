"""The default model: network, loss, and the weights that come with the package."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from nndepth_core import StereoEstimator, engines
from nndepth_core.data.synthetic.procedural import ProceduralStereo
from nndepth_core.engines import AUTO, DEFAULT_NETWORK, create_engine, resolve_model
from nndepth_core.weights import find_weights, store
from nndepth_core.weights.description import describe
from nndepth_core.weights.store import stored_weights

BUNDLED = sorted(path for path in store._BUNDLED.rglob('*') if path.is_file())


@pytest.fixture
def network():
    torch = pytest.importorskip('torch')
    from nndepth_core.models import create_model

    torch.manual_seed(0)
    return create_model(DEFAULT_NETWORK)


def test_what_comes_with_the_package_is_small_and_licensed():
    kinds = {path.suffix for path in BUNDLED}
    assert kinds == {'.onnx', '.weights', '.safetensors'}
    assert sum(path.stat().st_size for path in BUNDLED) < 8e6
    description = describe(stored_weights(DEFAULT_NETWORK))
    assert description.license == 'Apache-2.0'


def test_the_default_needs_nothing_downloaded():
    pytest.importorskip('onnxruntime')
    estimator = StereoEstimator.default()
    assert estimator.engine.spec.name == DEFAULT_NETWORK
    estimator.self_test()
    rendered = ProceduralStereo(size=(200, 300), seed=77, largest_disparity=64.0, effects=False)
    errors = []
    for index in range(6):
        sample = rendered[index]
        result = estimator(sample.left, sample.right, confidence=True)
        assert result.disparity.shape == (200, 300)
        assert 0 <= result.confidence.min() <= result.confidence.max() <= 1
        error = np.abs(result.disparity - sample.disparity)
        errors.append(np.nanmedian(error))
        sure = result.confidence > np.median(result.confidence)
        assert np.nanmean(error[sure]) < np.nanmean(error[~sure])
    assert np.median(errors) < 1.0


@pytest.mark.parametrize('variant', ['base', 'small', 'fine'])
def test_bundled_export_and_weights_are_one_model(variant):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('torch')
    images = np.random.default_rng(0).integers(0, 256, (2, 1, 128, 192, 3), np.uint8)
    pair = dict(zip(('left', 'right'), images, strict=True))
    by_onnx, by_torch = (
        create_engine(f'{DEFAULT_NETWORK}-{variant}', engine, 'cpu', precision='fp32').run(pair)
        for engine in ('onnxruntime', 'torch')
    )
    assert np.abs(by_onnx['disparity'] - by_torch['disparity']).mean() < 1e-3
    assert np.abs(by_onnx['confidence'] - by_torch['confidence']).mean() < 1e-3


def estimate(network, left, right):
    """The disparity (H, W) of a pair of uint8 images of a size that the network takes."""
    import torch

    images = (torch.from_numpy(x).permute(2, 0, 1)[None].float() for x in (left, right))
    with torch.inference_mode():
        return network(*images)[0, 0].numpy()


def bundled(variant='base', **settings):
    from nndepth_core.models import create_model
    from nndepth_core.weights.loading import load_weights

    network = create_model(DEFAULT_NETWORK, variant, **settings)
    load_weights(network, stored_weights(DEFAULT_NETWORK, variant))
    return network.eval()


def test_more_looks_are_more_precise():
    pytest.importorskip('torch')
    rendered = ProceduralStereo(size=(192, 256), seed=5, largest_disparity=48.0)
    errors = {}
    for variant in ('small', 'base', 'fine'):
        network = bundled(variant)
        errors[variant] = np.concatenate([
            np.abs(estimate(network, pair.left, pair.right) - pair.disparity).ravel()
            for pair in (rendered[index] for index in range(6))
        ])  # fmt: skip
    small, base, fine = (np.nanmean(values > 1) for values in errors.values())
    assert fine < 0.9 * base < 0.9**2 * small


def test_the_second_look_stays_near_the_first():
    torch = pytest.importorskip('torch')
    network, pair = bundled('fine'), torch.rand(2, 1, 3, 128, 256) * 255
    for found in (12.0, 90.0):
        near = torch.full((1, 1, 32, 64), found / 4)
        with torch.inference_mode():
            again = network.estimate(*pair, network.bins(2), near)
        assert (again.disparity - found).abs().mean() < 4


def test_looks_are_joined_by_their_odds():
    torch = pytest.importorskip('torch')
    from nndepth_core.models.nano_stereo import Estimate, join_looks

    def look(scale, disparity, logit):
        maps = (torch.full((1, 1, 8 * scale, 12 * scale), x) for x in (logit, disparity * scale))
        return Estimate(None, None, None, *maps)

    for logits, share in (((0.0, 0.0), 0.5), ((-2.0, 2.0), 0.982), ((50.0, -50.0), 0.0)):
        looks = [look(1, 10.0, logits[0]), look(2, 30.0, logits[1])]
        disparity, joined = join_looks(looks, (1, 2))
        assert disparity.shape == joined.shape == (1, 1, 8, 12)
        assert disparity.mean() == pytest.approx(10 + 20 * share, abs=0.01)
        assert joined.mean() == pytest.approx(logits[0] + share * (logits[1] - logits[0]), abs=0.1)


def test_looks_have_an_order():
    pytest.importorskip('torch')
    from nndepth_core.models import create_model

    with pytest.raises(ValueError, match=r'looks is \[2\]; give one of \[1\], \[0.5\], '):
        create_model(DEFAULT_NETWORK, looks=(2,))


def test_the_range_is_a_setting():
    pytest.importorskip('torch')
    wide = np.random.default_rng(0).integers(0, 256, (64, 640, 3), np.uint8)
    shift = 230
    left, right = wide[:, : 640 - 256], wide[:, shift : shift + 640 - 256]
    short = estimate(bundled(), left, right)[:, shift:]
    reached = estimate(bundled(max_disparity=256), left, right)[:, shift:]
    assert np.median(np.abs(reached - shift)) < 1 < np.median(np.abs(short - shift))
    assert bundled(max_disparity=256).spec.value_range == (0.0, 256.0)
    with pytest.raises(ValueError, match='max_disparity is 100; give a multiple of 64'):
        bundled(max_disparity=100)


def test_weights_of_the_user_come_before_those_of_the_package(tmp_path):
    own = tmp_path / 'cache/weights' / DEFAULT_NETWORK / 'mine.safetensors'
    own.parent.mkdir(parents=True)
    bundled = stored_weights(DEFAULT_NETWORK)
    assert store._BUNDLED in bundled.parents
    own.write_bytes(Path(bundled).read_bytes())
    assert stored_weights(DEFAULT_NETWORK) == own
    for weights, found in (('', own), ('mine', own), (bundled.stem, bundled)):
        assert find_weights(DEFAULT_NETWORK, 'base', weights) == found
    assert find_weights(DEFAULT_NETWORK, 'base', f'{DEFAULT_NETWORK}/mine') == own


def test_without_a_runtime_sgbm_takes_its_place(monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert resolve_model(AUTO, 'opencv') == 'sgbm'
    monkeypatch.setattr(engines, '_installed', lambda *packages: False)
    with pytest.warns(UserWarning, match='neither onnxruntime nor torch is installed; pip'):
        assert create_engine('auto').spec.name == 'sgbm'


def test_the_refinement_correlates_around_what_was_found():
    torch = pytest.importorskip('torch')
    from nndepth_core.blocks.cost_volume import local_correlation

    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(2, 2, 7, 11, 5, generator=generator)
    disparity = torch.randint(0, 12, (2, 7, 11), generator=generator)
    found = local_correlation(left, right, disparity, 2)
    for index in np.ndindex(*found.shape):
        image, step, row, column = index
        match = column - int(disparity[image, row, column]) - (step - 2)
        expected = 0.0
        if 0 <= match < 11:
            expected = float(left[image, row, column] @ right[image, row, match])
        assert float(found[index]) == pytest.approx(expected, abs=1e-5)


def test_contrast_sees_neither_brightness_nor_its_offset():
    torch = pytest.importorskip('torch')
    from nndepth_core.models.nano_stereo import local_contrast

    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(64), indexing='ij')
    sign = torch.where((rows + columns) % 2 == 0, 1.0, -1.0)
    for brightness, amplitude in ((100.0, 40.0), (20.0, 3.0), (200.0, 0.0)):
        image = (brightness + amplitude * sign).expand(1, 3, -1, -1)
        expected = sign * amplitude / (amplitude + 2)
        torch.testing.assert_close(local_contrast(image)[0, 0], expected, rtol=1e-3, atol=1e-4)


def test_train_mode_gives_what_the_loss_needs():
    torch = pytest.importorskip('torch')
    from nndepth_core.models import create_model
    from nndepth_core.training.nano_loss import NanoLoss

    network = create_model(DEFAULT_NETWORK, looks=(0.5, 1, 2))
    pair = torch.rand(2, 2, 3, 64, 128) * 255
    truth = torch.rand(2, 1, 64, 128) * 40
    predictions = network.train()(*pair)
    shapes = []
    for scale, bins in ((1, 32), (2, 48), (4, 96)):
        height, width = 32 * scale, 64 * scale
        shapes += [
            (2, bins, height // 4, width // 4),
            (2, 1, height // 4, width // 4),
            (2, 1, height // 2, width // 2),
            (2, 1, height, width),
            (2, 1, height, width),
        ]
    assert [tuple(x.shape) for x in predictions] == shapes
    NanoLoss()(predictions, truth).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_the_confidence_trains_its_own_layers_only(network):
    import torch

    from nndepth_core.training.nano_loss import NanoLoss

    pair, truth = torch.rand(2, 1, 3, 64, 96) * 255, torch.rand(1, 1, 64, 96) * 40
    predictions = network.train()(*pair)
    others = NanoLoss(confidence_weight=0.0)(predictions, truth)
    (NanoLoss()(predictions, truth) - others).backward()
    reached = {
        name.rpartition('.')[0].rpartition('.')[0]
        for name, p in network.named_parameters()
        if p.grad is not None and p.grad.abs().max() > 1e-5
    }
    assert reached == {'refinement.confidence_head'}


def test_loss_of_a_perfect_estimate():
    torch = pytest.importorskip('torch')
    from nndepth_core.training.nano_loss import NanoLoss

    truth = torch.full((1, 1, 8, 12), 20.0)
    truth[..., :4] = torch.nan
    bins = torch.arange(48.0).view(1, 48, 1, 1).expand(1, 48, 2, 3)
    logits = -(bins - 5).abs() / 0.35
    sure = torch.full((1, 1, 8, 12), 30.0)
    quarter, half, whole = (
        torch.full((1, 1, 8 // size, 12 // size), 20.0 / size) for size in (4, 2, 1)
    )
    estimate = [logits, quarter, half, sure, whole]
    peak = logits[0, :, 0, 0].log_softmax(0)
    entropy = float(-(peak.exp() * peak).sum())
    pixels = 8 * 8
    torch.testing.assert_close(
        NanoLoss()(estimate, truth), torch.tensor(0.7 * entropy * pixels), rtol=1e-4, atol=1e-3
    )
    estimate[2] = half + 1.0
    expected = (0.3 * 1.5 + 0.7 * entropy) * pixels
    assert float(NanoLoss()(estimate, truth)) == pytest.approx(expected, rel=1e-4)
    estimate[2], estimate[4] = (
        half,
        whole + 2.0,
    )  # smooth L1 of 2 is 2 - beta / 2, and the confidence is now too high
    doubt = 0.3 * 30 * (1 - np.exp(-2 / 1.5))
    expected = (1.875 + 0.7 * entropy + doubt) * pixels
    assert float(NanoLoss()(estimate, truth)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize('scale', [0.5, 1, 2])
def test_loss_is_in_pixels_of_the_images_given(scale):
    torch = pytest.importorskip('torch')
    from nndepth_core.training.nano_loss import NanoLoss

    def estimate(error):
        height, width = int(16 * scale), int(32 * scale)
        found = (20.0 + error) * scale
        bins = torch.arange(48.0).view(1, 48, 1, 1).expand(1, 48, height // 4, width // 4)
        maps = [torch.full((1, 1, height // k, width // k), found / k) for k in (4, 2, 1)]
        sure = torch.full((1, 1, height, width), 30.0)
        return [-(bins - 5 * scale).abs() / 0.35, *maps[:2], sure, maps[2]]

    truth, loss = torch.full((1, 1, 16, 32), 20.0), NanoLoss(confidence_weight=0.0)
    added = loss(estimate(2.0), truth) - loss(estimate(0.0), truth)
    weight = min(scale, 1)  # of a look at half the size
    expected = (1.875 + (0.2 + 0.3) * 1.5) * weight * 16 * 32
    assert float(added) == pytest.approx(expected, rel=1e-4)
