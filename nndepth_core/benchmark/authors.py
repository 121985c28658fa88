"""What to import of the authors' code, how to make the published networks and how to call them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    Call = Callable[[nn.Module, Tensor, Tensor, int], Tensor]


class Settings(dict):
    """Constructor arguments; some authors read them as attributes and some by `get`."""

    __getattr__ = dict.__getitem__


@dataclass(frozen=True)
class Official:
    """How to import, make and call the authors' network.

    Attributes:
        module: the module of its class.
        cls: the name of the class.
        call: takes the network, left and right RGB (1, 3, H, W) in 0..255 and the iterations, and
            returns the positive disparity as channel 0 of (1, C, H, W).
        settings: the settings of the published network.
        make: makes the network from its class and settings.
        folder: the folder of the checkout that is put on the import path.
        bare: a package whose `__init__` is not run, since it imports much more than is needed.
    """

    module: str
    cls: str
    call: Call
    settings: dict[str, Any]
    make: Callable[[type, Settings], nn.Module] = lambda cls, settings: cls(settings)
    folder: str = '.'
    bare: str = ''

    def but(self, **settings: Any) -> Official:
        """Return the same facts with other settings."""
        return replace(self, settings={**self.settings, **settings})


def _raft_stereo(network: nn.Module, left: Tensor, right: Tensor, iterations: int) -> Tensor:
    return -network(left, right, iters=iterations, test_mode=True)[1]


def _crestereo(network: nn.Module, left: Tensor, right: Tensor, iterations: int) -> Tensor:
    return network(left.flip(1), right.flip(1), iters=iterations)


def _cascade(network: nn.Module, left: Tensor, right: Tensor, iterations: int) -> Tensor:
    from torch.nn.functional import interpolate

    pair = [image.flip(1) for image in (left, right)]
    size = [side // 2 for side in left.shape[-2:]]
    halves = [interpolate(image, size, mode='bilinear', align_corners=True) for image in pair]
    start = network(*halves, iters=iterations)
    return network(*pair, iters=iterations, flow_init=start)


def _igev(network: nn.Module, left: Tensor, right: Tensor, iterations: int) -> Tensor:
    return network(left, right, iters=iterations, test_mode=True)


def _light_stereo(network: nn.Module, left: Tensor, right: Tensor, iterations: int) -> Tensor:
    left, right = _normalized(left), _normalized(right)
    return network({'left': left, 'right': right})['disp_pred']


def _mobile_stereonet(network: nn.Module, left: Tensor, right: Tensor, iterations: int) -> Tensor:
    return network(_normalized(left), _normalized(right))[-1].unsqueeze(1)


def _lea_stereo(network: nn.Module, left: Tensor, right: Tensor, iterations: int) -> Tensor:
    from nndepth_core.models.lea_stereo import standardize

    return network(standardize(left), standardize(right)).unsqueeze(1)


def _make_lea_stereo(cls: type, settings: Settings) -> nn.Module:
    import torch

    if not torch.cuda.is_available():  # the authors' soft-argmin asks for the current GPU
        vars(torch.cuda)['current_device'] = lambda: 'cpu'
    folder = Path(str(sys.modules[cls.__module__].__file__)).parents[1]
    tables = {
        f'{kind}_arch_{short}': folder / f'run/sceneflow/best/architecture/{part}_{file}.npy'
        for short, part in (('fea', 'feature'), ('mat', 'matching'))
        for kind, file in (('net', 'network_path'), ('cell', 'genotype'))
    }
    return cls(Settings(settings | tables))


def _gmstereo(settings: dict[str, Any]) -> Call:
    def call(network: nn.Module, left: Tensor, right: Tensor, iterations: int) -> Tensor:
        result = network(
            _normalized(left),
            _normalized(right),
            num_reg_refine=iterations,
            task='stereo',
            **settings,
        )
        return result['flow_preds'][-1].unsqueeze(1)

    return call


def _normalized(image: Tensor) -> Tensor:
    """Normalise an image in 0..255 by the mean and deviation of ImageNet."""
    from nndepth_core.blocks.norm import ImageNetNorm

    return ImageNetNorm().to(image.device)(image)


_RAFT = Official(
    'core.raft_stereo',
    'RAFTStereo',
    _raft_stereo,
    {
        'hidden_dims': [128, 128, 128],
        'n_gru_layers': 3,
        'n_downsample': 2,
        'corr_implementation': 'reg',
        'corr_levels': 4,
        'corr_radius': 4,
        'context_norm': 'batch',
        'shared_backbone': False,
        'slow_fast_gru': False,
    },
)
_CRE = Official(
    'nets.crestereo',
    'CREStereo',
    _crestereo,
    {},
    lambda cls, settings: cls(256, settings['mixed_precision'], test_mode=True),
)
_IGEV = {'max_disp': 192, 'n_downsample': 2, 'corr_levels': 2, 'corr_radius': 4}
_LIGHT = Official(
    'stereo.modeling.models.lightstereo.lightstereo',
    'LightStereo',
    _light_stereo,
    {
        'MAX_DISP': 192,
        'LEFT_ATT': True,
        'EXPANSE_RATIO': 4,
        'AGGREGATION_BLOCKS': [1, 2, 4],
        'BACKBONE': 'MobileNetv2',
    },
    bare='stereo.modeling',
)
_LEA = Official(
    'retrain.LEAStereo',
    'LEAStereo',
    _lea_stereo,
    {
        'maxdisp': 192,
        **{
            f'{part}_{name}': value
            for part, layers in (('fea', 6), ('mat', 12))
            for name, value in (
                ('num_layers', layers),
                ('filter_multiplier', 8),
                ('block_multiplier', 4),
                ('step', 3),
            )
        },
    },
    _make_lea_stereo,
)
_GM_SCALE1 = {
    'attn_type': 'self_swin2d_cross_1d',
    'attn_splits_list': [2],
    'corr_radius_list': [-1],
    'prop_radius_list': [-1],
}
_GM_SCALE2 = {
    'attn_type': 'self_swin2d_cross_swin1d',
    'attn_splits_list': [2, 8],
    'corr_radius_list': [-1, 4],
    'prop_radius_list': [-1, 1],
}
_GM = Official(
    'unimatch.unimatch',
    'UniMatch',
    _gmstereo(_GM_SCALE1),
    {'task': 'stereo', 'num_scales': 1, 'upsample_factor': 8},
    lambda cls, settings: cls(**{k: v for k, v in settings.items() if 'precision' not in k}),
)
_GM_FINE = replace(_GM.but(num_scales=2, upsample_factor=4), call=_gmstereo(_GM_SCALE2))
_MOBILE = Official(
    'models', 'MSNet2D', _mobile_stereonet, {'maxdisp': 192}, lambda cls, settings: cls(192)
)
_LIGHT_L = _LIGHT.but(EXPANSE_RATIO=8, AGGREGATION_BLOCKS=[8, 16, 32])

OFFICIAL = {
    ('raft_stereo', 'base'): _RAFT,
    ('raft_stereo', 'realtime'): _RAFT.but(
        n_gru_layers=2, n_downsample=3, shared_backbone=True, slow_fast_gru=True
    ),
    ('raft_stereo', 'rvc'): _RAFT.but(context_norm='instance'),
    ('crestereo', 'base'): _CRE,
    ('crestereo', 'cascade'): replace(_CRE, call=_cascade),
    ('gmstereo', 'scale1'): _GM,
    ('gmstereo', 'scale2'): _GM_FINE,
    ('gmstereo', 'scale2_regrefine'): _GM_FINE.but(reg_refine=True),
    ('igev_stereo', 'base'): Official(
        'core.igev_stereo',
        'IGEVStereo',
        _igev,
        {**_IGEV, 'hidden_dims': [128, 128, 128], 'n_gru_layers': 3},
        folder='IGEV-Stereo',
    ),
    ('rt_igev', 'rt'): Official(
        'core_rt.rt_igev_stereo',
        'IGEVStereo',
        _igev,
        {**_IGEV, 'hidden_dim': 96, 'n_gru_layers': 1},
    ),
    ('lea_stereo', 'default'): _LEA,
    ('light_stereo', 's'): _LIGHT,
    ('light_stereo', 'm'): _LIGHT.but(AGGREGATION_BLOCKS=[4, 8, 16]),
    ('light_stereo', 'l'): _LIGHT_L,
    ('light_stereo', 'h'): _LIGHT_L.but(BACKBONE='EfficientNetv2'),
    ('mobile_stereonet', '2d'): _MOBILE,
    ('mobile_stereonet', '3d'): replace(_MOBILE, cls='MSNet3D'),
}
"""By network and variant of ours. CREStereo's is a port to PyTorch; its authors use MegEngine."""
