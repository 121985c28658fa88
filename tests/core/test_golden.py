"""Every network gives what its authors' code gives on the same weights and images."""

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from fill import GOLDEN, load_golden  # noqa: E402
from probe import official_state, run_golden  # noqa: E402

from nndepth_core.models import create_model, model_names, network_class  # noqa: E402
from nndepth_core.weights import load_official  # noqa: E402

VARIANTS = [(name, variant) for name in model_names() for variant in network_class(name).variants]
WITHOUT_GOLDEN = {
    ('nano_mono', 'base'): 'our own',
    ('nano_stereo', 'base'): 'our own',
    ('nano_stereo', 'small'): 'our own',
    ('nano_stereo', 'fine'): 'our own',
    ('crestereo', 'cascade'): 'its golden holds the first pass only, see test_models_crestereo',
    ('dcvnet', 'stereo'): 'the authors have flow only; its volumes are in test_models_dcvnet',
    ('scv_stereo', 'eighth'): 'no code; test_models_scv_stereo has the network for flow',
    ('scv_stereo', 'quarter'): 'the same',
    ('stereo_mae', 'spatial'): 'our own',
    ('stereo_mae', 'spatial_tiny'): 'our own',
    ('stereo_mae', 'authors'): 'compared in test_models_stereo_mae, with packed pictures',
    ('depth_anything_3', 'base'): 'only widths differ from small',
    (
        'depth_anything_3',
        'metric_large',
    ): 'compared in test_models_depth_anything_3, since its weights take long to fill',
    ('depth_anything_3', 'mono_large'): 'only its weights differ from metric_large',
    ('metric3d', 'vit_large'): 'too large; only widths and counts differ from vit_small',
    ('metric3d', 'vit_giant2'): 'too large; it differs in widths, counts and taps',
    **{
        ('moge2', variant): 'too large; only widths and counts differ from vits_normal'
        for variant in ('vitb_normal', 'vitl_normal', 'vitl')
    },
    ('unidepth', 'v2_vitb14'): 'only widths and counts differ from v2_vits14',
    ('unidepth', 'v2_vitl14'): 'the same',
    **{
        (name, variant): f'compared in test_models_{name}, part by part'
        for name in ('depth_anything_v1', 'depth_anything_v2')
        for variant in ('small', 'base', 'large')
    },
    **{
        ('midas_dpt', f'{backbone}_{size}'): 'compared in test_models_midas_dpt, in a small form'
        for backbone in ('swin2', 'beit')
        for size in ('tiny', 'base', 'large', 'large_512')
    },
    **{
        ('zoe_depth', variant): 'compared in test_models_zoe_depth, in a small form'
        for variant in ('nk', 'n', 'k')
    },
}


def test_every_variant_has_a_golden_or_a_reason():
    files = {path.stem for path in GOLDEN.glob('*.npz')}
    without = {key for key in VARIANTS if '_'.join(key) not in files}
    assert without <= WITHOUT_GOLDEN.keys()


@pytest.mark.parametrize(
    ('name', 'variant'),
    [pytest.param(*key, id='-'.join(key)) for key in VARIANTS if key not in WITHOUT_GOLDEN],
)
@torch.inference_mode()
def test_equals_the_official_implementation(name, variant):
    facts, arrays = load_golden(f'{name}_{variant}')
    network = create_model(name, variant)
    load_official(network, official_state(facts))
    found = run_golden(network, facts, arrays)
    assert found.shape == arrays['output'].shape
    np.testing.assert_allclose(found, arrays['output'], rtol=0, atol=facts['tolerance'])
