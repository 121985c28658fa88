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
    assert kinds == {'.onnx', '.safetensors'}
    assert all(path.stat().st_size < 8e6 for path in BUNDLED)
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


@pytest.mark.parametrize('variant', ['base', 'fine'])
def test_bundled_export_and_weights_are_one_model(variant):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('torch')
    images = np.random.default_rng(0).integers(0, 256, (2, 1, 96, 160, 3), np.uint8)
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


def test_the_second_look_is_more_precise():
    pytest.importorskip('torch')
    rendered = ProceduralStereo(size=(160, 224), seed=5, largest_disparity=48.0)
    errors = {}
    for variant in ('base', 'fine'):
        network = bundled(variant)
        errors[variant] = np.concatenate([
            np.abs(estimate(network, pair.left, pair.right) - pair.disparity).ravel()
            for pair in (rendered[index] for index in range(6))
        ])  # fmt: skip
    base, fine = (np.nanmean(errors[name] > 1) for name in ('base', 'fine'))
    assert fine < 0.9 * base


def test_the_second_look_stays_near_the_first():
    torch = pytest.importorskip('torch')
    network, pair = bundled('fine'), torch.rand(2, 1, 3, 64, 128) * 255
    with torch.inference_mode():
        first = network.estimate(*pair, network.bins)
        for found, logit, most in ((12.0, -50.0, 4.0), (90.0, -50.0, 4.0), (90.0, 50.0, 1e-4)):
            disparity, sure = (torch.full((1, 1, 64, 128), x) for x in (found, logit))
            given = first._replace(disparity=disparity, confidence_logits=sure)
            again, _ = network.look_again(*pair, given)
            assert 0 <= (again - found).abs().mean() < most


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


def test_train_mode_gives_what_the_loss_needs(network):
    import torch

    from nndepth_core.training.nano_loss import NanoLoss

    pair = torch.rand(2, 2, 3, 64, 96) * 255
    truth = torch.rand(2, 1, 64, 96) * 40
    predictions = network.train()(*pair)
    assert [tuple(x.shape) for x in predictions] == [
        (2, 48, 16, 24),
        (2, 1, 16, 24),
        (2, 1, 32, 48),
        (2, 1, 64, 96),
        (2, 1, 64, 96),
    ]
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
