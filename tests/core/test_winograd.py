"""Fast convolutions against the definition and, within networks, against the golden outputs."""

import pytest

torch = pytest.importorskip('torch')

from fill import GOLDEN, load_golden  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from probe import official_state, run_golden  # noqa: E402
from torch import nn  # noqa: E402

from nndepth_core.engines.optimize import winograd  # noqa: E402
from nndepth_core.engines.optimize.folding import fold_batch_norms  # noqa: E402
from nndepth_core.engines.optimize.in_place import overwrite_results  # noqa: E402
from nndepth_core.engines.optimize.winograd import (  # noqa: E402
    NarrowConv2d,
    OneDnnConv,
    WinogradConv2d,
    use_fast_convolutions,
)
from nndepth_core.engines.torch import TorchEngine  # noqa: E402
from nndepth_core.models import create_model, model_names, network_class  # noqa: E402
from nndepth_core.weights import load_official  # noqa: E402

# Goldens of another layout, which the tests of their networks read.
APART = ('cascade', 'authors')
NETWORKS = [
    (name, variant)
    for name in model_names()
    for variant in network_class(name).variants
    if (GOLDEN / f'{name}_{variant}.json').exists() and variant not in APART
]
# These multiply rounding under the weights of their goldens: already in float32 without fast
# convolutions they are up to 0.08 px from float64.
ROUNDING = {('gmstereo', 'scale2'): 0.1, ('gmstereo', 'scale2_regrefine'): 0.1}


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def same_size(inputs: int, outputs: int, kernel: tuple[int, int], bias: bool = True) -> nn.Conv2d:
    padding = (kernel[0] // 2, kernel[1] // 2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=bias)


@settings(max_examples=60, deadline=None)
@given(
    kernel=st.sampled_from([(3, 3), (1, 5), (5, 1)]),
    size=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    inputs=st.integers(4, 5),
    batch=st.integers(1, 2),
    bias=st.booleans(),
    last=st.booleans(),
    tiles=st.integers(1, 12),
    overwrite=st.booleans(),
)
@torch.inference_mode()
def test_winograd_is_a_convolution(kernel, size, inputs, batch, bias, last, tiles, overwrite):
    conv, x = same_size(inputs, 5, kernel, bias), random(batch, inputs, *size)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, '_TILES', tiles)  # one strip of rows or many
        fast = WinogradConv2d(conv)
        fast.overwrite = overwrite
        expected = conv.double()(x.double()).float()
        torch.testing.assert_close(fast(x), expected, rtol=0, atol=2e-5)


@torch.inference_mode()
def test_winograd_rounds_little():
    conv, x = same_size(128, 128, (3, 3)), random(1, 128, 40, 40)
    exact = nn.functional.conv2d(x.double(), conv.weight.double(), conv.bias.double(), padding=1)
    assert (WinogradConv2d(conv)(x) - exact).std() < 2e-6 * exact.std()


@pytest.mark.parametrize('outputs', [1, 2])
@pytest.mark.parametrize('kernel', [(3, 3), (1, 5)])
@torch.inference_mode()
def test_narrow_convolution_is_a_convolution(outputs, kernel):
    conv, x = same_size(7, outputs, kernel), random(2, 7, 9, 11)
    torch.testing.assert_close(NarrowConv2d(conv)(x), conv(x))


@pytest.mark.parametrize('threads', [1, 2])
@pytest.mark.parametrize('dims', [2, 3])
@torch.inference_mode()
def test_onednn_convolution_is_a_convolution(threads, dims):
    before = torch.get_num_threads()
    kind, size = (nn.Conv2d, (8, 10)) if dims == 2 else (nn.Conv3d, (6, 8, 10))
    conv, x = kind(4, 6, 3, stride=2, padding=1, bias=dims == 2), random(1, 4, *size)
    torch.set_num_threads(threads)
    found = OneDnnConv(conv)(x)
    torch.set_num_threads(before)
    torch.testing.assert_close(found, conv(x))


def test_only_convolutions_that_gain_are_replaced():
    network = nn.Sequential(
        same_size(64, 64, (3, 3)),
        nn.Sequential(same_size(256, 1, (3, 3)), nn.Conv3d(8, 8, 3)),
        same_size(64, 32, (3, 3)),
        nn.Conv2d(64, 64, 1),
        nn.Conv2d(64, 64, 3, 2, 1),
        nn.Conv2d(64, 64, 3, padding=1, groups=64),
        nn.Conv2d(64, 64, 3, padding=1, padding_mode='replicate'),
        nn.Conv2d(64, 64, 3, padding=2, dilation=2),
        nn.ConvTranspose2d(64, 64, 3, 1, 1),
    ).eval()
    use_fast_convolutions(network)
    kinds = [WinogradConv2d, nn.Sequential, nn.Conv2d, OneDnnConv]
    kinds += [*4 * [nn.Conv2d], nn.ConvTranspose2d]
    assert [type(module) for module in network] == kinds
    assert [type(module) for module in network[1]] == [NarrowConv2d, OneDnnConv]


@pytest.mark.parametrize(('name', 'variant'), NETWORKS)
@torch.inference_mode()
def test_networks_equal_the_official_implementation(name, variant):
    facts, arrays = load_golden(f'{name}_{variant}')
    model = create_model(name, variant)
    load_official(model, official_state(facts))
    fold_batch_norms(model)
    use_fast_convolutions(model)
    overwrite_results(model)
    found = run_golden(model, facts, arrays)
    expected = torch.from_numpy(arrays['output'])
    allowed = ROUNDING.get((name, variant), facts['tolerance'])
    torch.testing.assert_close(found, expected, rtol=0, atol=allowed)


@pytest.mark.parametrize(
    ('setting', 'used'), [({}, True), ({'precision': 'bf16'}, False), ({'compile': True}, False)]
)
def test_the_engine_uses_them_where_they_fit(setting, used):
    engine = TorchEngine(create_model('raft_stereo', 'realtime'), 'cpu', threads=1, **setting)
    assert any(isinstance(m, WinogradConv2d) for m in engine.network.modules()) == used
