"""NanoMono: bounds and sharpness of its depth, its context of rows, its graph and its training."""

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from nndepth_core import MonoEstimator  # noqa: E402
from nndepth_core.camera import PinholeCamera  # noqa: E402
from nndepth_core.data.sample import MonoSample  # noqa: E402
from nndepth_core.engines.torch import ModuleEngine  # noqa: E402
from nndepth_core.models import create_model  # noqa: E402
from nndepth_core.models.nano_mono import NanoMono, RowContext  # noqa: E402

NEAREST, FARTHEST = 0.1, 200.0
TINY = (8, 8, 16, 16)


def make_network(features=TINY):
    torch.manual_seed(0)
    return NanoMono(features).eval()


def picture(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_parameters_stay_below_what_was_asked_for():
    network = create_model('nano_mono')
    assert sum(parameter.numel() for parameter in network.parameters()) <= 8_000_000


@pytest.mark.parametrize(
    ('bias', 'expected'),
    [(-400.0, NEAREST), (400.0, FARTHEST), (0.0, (NEAREST * FARTHEST) ** 0.5)],
)
@torch.inference_mode()
def test_depth_lies_between_its_limits_on_a_logarithmic_scale(bias, expected):
    network = make_network()
    network.to_depth.weight.zero_()
    network.to_depth.bias.fill_(bias)
    network.to_weights.weight.zero_()
    depth = network(torch.rand(1, 3, 64, 96) * 255)
    torch.testing.assert_close(depth, torch.full((1, 1, 64, 96), expected))


@torch.inference_mode()
def test_no_depth_leaves_the_range_of_its_neighbourhood():
    network = make_network()
    network.to_weights.weight.mul_(20)
    image = torch.rand(1, 3, 64, 96) * 255
    seen = []
    network.to_depth.register_forward_hook(lambda *call: seen.append(call[2]))
    depth = network(image)
    share = torch.nn.functional.pad(seen[0], (1, 1, 1, 1)).sigmoid()
    coarse = NEAREST * (FARTHEST / NEAREST) ** share
    highest, lowest = (
        sign * torch.nn.functional.max_pool2d(sign * coarse, 3, 1).repeat_interleave(4, 2)
        for sign in (1, -1)
    )
    highest, lowest = (x.repeat_interleave(4, 3) for x in (highest, lowest))
    assert (depth <= highest * 1.0001).all()
    assert (depth >= lowest * 0.9999).all()


@torch.inference_mode()
def test_a_row_gets_one_sum_that_depends_on_rows_around():
    torch.manual_seed(0)
    context, x = RowContext(8), torch.randn(1, 8, 20, 6)
    added = context(x) - x
    torch.testing.assert_close(added, added[..., :1].expand_as(added))
    changed = x.clone()
    changed[:, :, 10, 2] += 1
    reached = (context(changed) - changed - added).abs().amax((0, 1, 3)) > 1e-7
    assert reached.nonzero().flatten().tolist() == list(range(4, 17))


def test_the_focal_length_is_a_factor_of_the_depth():
    estimate = MonoEstimator(ModuleEngine(make_network(), NanoMono.spec))
    image, camera = picture(75, 101), PinholeCamera(101, 75, 500.0, 500.0, 50.0, 37.0)
    depths = [estimate(image, replace(camera, fx=f, fy=f)).depth for f in (500.0, 1000.0)]
    assert depths[0].shape == (75, 101)
    assert depths[0].dtype == np.float32
    np.testing.assert_allclose(depths[1], 2 * depths[0], rtol=1e-6)
    padded = NanoMono.spec.pad(image)[None]
    own = ModuleEngine(make_network(), NanoMono.spec).run({'image': padded})['depth'][0]
    np.testing.assert_array_equal(depths[0], NanoMono.spec.crop(own, 75, 101))
    with pytest.raises(ValueError, match='nano_mono needs the camera to tell metres'):
        estimate(image)


def test_exported_graph_serves_images_of_any_size_as_torch_does(tmp_path):
    export = pytest.importorskip('nndepth_core.export.onnx')
    network = create_model('nano_mono')
    report = export.export_onnx(network, tmp_path / 'model.onnx')
    assert report.fixed_size is None
    assert all(check.largest < 1e-3 for check in report.checks)
    assert report.nodes < 200
    assert not {'ScatterND', 'ScatterElements', 'Loop', 'If', 'NonZero'} & report.operators.keys()
    engines = export.OnnxEngine(report.path, 'cpu'), ModuleEngine(network, network.spec)
    camera = PinholeCamera(101, 75, 80.0, 80.0, 50.0, 37.0)
    graph, own = (MonoEstimator(engine)(picture(75, 101), camera).depth for engine in engines)
    np.testing.assert_allclose(graph, own, rtol=1e-4)


def test_every_parameter_takes_part_in_training():
    network = make_network().train()
    network(torch.rand(2, 3, 64, 64) * 255).log().var().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


class Floors:
    """Floors, the darker the farther away, seen by cameras of different focal lengths."""

    name = 'floors'

    def __len__(self):
        return 4

    def __getitem__(self, index):
        depth = np.tile(np.linspace(8, 2, 32, dtype=np.float32)[:, None], (1, 64))
        image = np.repeat((255 - 30 * depth).astype(np.uint8)[..., None], 3, 2)
        focal = 40.0 * (1 + index)
        camera = PinholeCamera(64, 32, focal, focal, 31.5, 15.5)
        return MonoSample(image, depth * focal / 100, name=f'floor{index}', camera=camera)


def test_training_teaches_the_depth_of_the_canonical_camera(tmp_path):
    """The images are all equal, and so are the depths that a camera of 500 px would see."""
    pytest.importorskip('accelerate')
    from accelerate.state import AcceleratorState

    from nndepth_core.training.mono import MonoData, MonoTrainer
    from nndepth_core.training.mono_losses import ScaleInvariantLogLoss

    trainer = MonoTrainer(
        folder=tmp_path,
        loss=ScaleInvariantLogLoss(mean_weight=0.5, gradients=0.5),
        max_steps=60,
        validate_every=60,
        learning_rate=1e-2,
        norm_batches=2,
        device='cpu',
        precision='fp32',
        pictures=1,
    )
    try:
        trainer.train(make_network(), MonoData(Floors(), Floors(), batch_size=4, workers=0))
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
    rows = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
    assert [row['validation/abs_rel'] for row in rows if 'validation/abs_rel' in row][-1] < 0.15
