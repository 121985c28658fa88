"""Every family of networks for single images, tiny, from message to message."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import bags
import numpy as np
import pytest

torch = pytest.importorskip('torch')

from nndepth_core import MonoEstimator  # noqa: E402
from nndepth_core.encoders.dinov2 import Dinov2  # noqa: E402
from nndepth_core.engines.torch import ModuleEngine  # noqa: E402
from nndepth_core.estimator import StageClock  # noqa: E402
from nndepth_core.models import create_model, model_names, network_class  # noqa: E402
from nndepth_core.spec import ModelSpec  # noqa: E402
from nndepth_ros.mono_pipeline import MonoPipeline, map_topic, offered  # noqa: E402
from nndepth_ros.outputs import MONO_OUTPUTS, OutputSettings  # noqa: E402
from nndepth_ros.pipeline import Moment  # noqa: E402

FOCAL = 90.0
SIZE = 112, 84
"""(width, height) of images that networks of patches take without padding."""
VIT = {'size': 'tiny'}
DPT = {'width': 64, 'layers': 4, 'taps': (1, 2, 3, 4), 'neck': (8, 12, 16, 20), 'fusion': 8}
DA3 = {**VIT, 'neck': (8, 8, 8, 8), 'fusion': 8}
UNIDEPTH = {**VIT, 'taps': (3, 6, 9, 12), 'channels': 32, 'outputs': 8}
BEIT = {
    'backbone': 'beit', 'side': 64, 'width': 48, 'depths': (4,), 'heads': (2,),
    'neck': (8, 12, 16, 20), 'fusion': 8,
}  # fmt: skip
SWIN = {
    'backbone': 'swin2', 'side': 64, 'width': 16, 'depths': (1, 1, 1, 1), 'heads': (1, 2, 2, 2),
    'neck': (16, 32, 64, 128), 'window': 4, 'fusion': 8,
}  # fmt: skip
ZOE = {'width': 48, 'layers': 4, 'heads': 2, 'neck': (8, 12, 16, 20), 'fusion': 16}
METRES = {'output': 'depth', 'max_depth': 20}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    'midas_small': ('midas_small', {}),
    'midas_dpt of BEiT': ('midas_dpt', BEIT),
    'midas_dpt of Swin V2': ('midas_dpt', SWIN),
    'depth_anything_v1': ('depth_anything_v1', DPT),
    'depth_anything_v2': ('depth_anything_v2', DPT),
    'depth_anything_v2 in metres': ('depth_anything_v2', {**DPT, **METRES}),
    'depth_anything_3': ('depth_anything_3', {**DA3, 'views': True}),
    'depth_anything_3 in metres': ('depth_anything_3', {**DA3, 'metric': True}),
    'metric3d': ('metric3d', {**VIT, 'iterations': 2, 'taps': (12,) * 4}),
    'moge2': ('moge2', {**VIT, 'taps': (6, 12), 'num_tokens': 48}),
    'nano_mono': ('nano_mono', {}),
    'unidepth': ('unidepth', UNIDEPTH),
    'unidepth of a camera': ('unidepth', {**UNIDEPTH, 'camera': 'given'}),
    'zoe_depth': ('zoe_depth', ZOE),
}


@pytest.fixture
def network(request, monkeypatch):
    name, settings = NETWORKS[request.param]
    if name.startswith(('depth_anything_v', 'midas_dpt', 'zoe')):
        pytest.importorskip('transformers')
    monkeypatch.setitem(Dinov2.shapes, 'tiny', (64, 12, 1))
    torch.manual_seed(0)
    network = create_model(name, **settings)
    if name == 'moge2':  # whose random mask would leave nothing
        network.mask_head.give.bias.data += 5
    return network


def messages(size: tuple[int, int]) -> tuple[np.ndarray, Moment]:
    """An image of (width, height), and a moment that holds it."""
    width, height = size
    pixels, _ = bags.shifted_pair(3, width=width, height=height)
    p = [FOCAL, 0, width / 2, 0, 0, FOCAL, height / 2, 0, 0, 0, 1, 0]
    k = np.array(p)[[0, 1, 2, 4, 5, 6, 8, 9, 10]]
    info = bags.camera_info('', bags.START, width=width, height=height, p=np.array(p), k=k)
    return pixels, Moment((bags.image(bags.START, pixels),), (info,))


def own_maps(network, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """What the network makes of an image (H, W, 3) by itself."""
    spec = network.spec
    values = [torch.from_numpy(pixels).permute(2, 0, 1)[None].float()]
    if 'intrinsics' in spec.inputs:
        height, width = pixels.shape[:2]
        matrix = [[FOCAL, 0, width / 2], [0, FOCAL, height / 2], [0, 0, 1]]
        values.append(torch.tensor([matrix]))
    options = {'confidence': True} if spec.confidence else {}
    with torch.inference_mode():
        result = network(*values, **options)
    maps = result if isinstance(result, tuple) else (result,)
    return {name: x[0, 0].numpy() for name, x in zip(spec.maps, maps, strict=False)}


def expected(spec: ModelSpec, maps: dict[str, np.ndarray]) -> np.ndarray:
    """The map that is to be published; a shift that follows from the points is not in it."""
    values = maps[spec.output]
    if spec.least_confidence:
        values = np.where(maps['confidence'] >= spec.least_confidence, values, np.inf)
    if spec.saturates:
        values = np.where(values >= spec.bounds[1], np.inf, values)
    return values * (FOCAL / spec.canonical_focal if spec.canonical_focal else 1)


@pytest.mark.parametrize('network', NETWORKS, indirect=True)
def test_what_the_network_gives_is_published(network):
    spec = replace(network.spec, mirrored=0.0)  # so that the network sees the image alone
    size = spec.fixed_size or ((128, 96) if spec.multiple == 32 else SIZE)
    pixels, moment = messages(size)
    estimator = MonoEstimator(ModuleEngine(network, spec), processing_size=size)
    found: list = []
    pipeline = MonoPipeline(bags.BAG_TYPES, lambda _, findings: found.extend(findings))
    clock = StageClock()
    frame = pipeline.decode(moment, 10**6)
    clock.lap('decode')
    estimate = pipeline.estimate(estimator, frame, MONO_OUTPUTS, OutputSettings(), clock)
    assert found == []
    assert set(estimate.messages) == offered(spec)
    message = estimate.messages[map_topic(spec)]
    assert message.header.frame_id == bags.FRAME
    assert (message.width, message.height) == size
    values, wanted = bags.float_pixels(message), expected(spec, own_maps(network, pixels))
    if spec.output == 'depth':  # REP-117: what is not in front of the camera is -inf
        wanted = np.where(wanted < 1e-6, -np.inf, wanted)
    if spec.affine_points:
        known = np.isfinite(values) & np.isfinite(wanted)
        shifts = values[known] - wanted[known]
        wanted = wanted + (np.median(shifts) if known.any() else 0)
    assert np.isfinite(wanted).any()
    np.testing.assert_allclose(values, wanted, rtol=2e-3, atol=2e-4)


def test_every_family_is_there():
    mono = {name for name in model_names() if network_class(name).spec.task == 'mono'}
    assert {name for name, _ in NETWORKS.values()} == mono
