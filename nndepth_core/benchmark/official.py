"""Runs the authors' networks from a checkout of their code, to compare them with ours.

The table at the end says what to import, how to make the published network, and how to call it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from nndepth_core.engines.base import physical_cores

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


class OfficialEngine:
    """Runs the authors' network as an engine (see `Engine`), one pair at a time.

    Args:
        model: the name of our network.
        variant: the variant of our network; None takes the first.
        checkout: the folder of the authors' repository.
        weights: a checkpoint with official entries, or 'random' for reproducible random weights.
        device: 'cpu', or what `TorchEngine` takes.
        precision: 'fp32', or 'fp16' and 'bf16' by the authors' switches within autocast.
        iterations: the steps of an iterative network; 0 takes our default.
        threads: the number of threads on the CPU; 0 takes one per physical core.

    Raises:
        ValueError: the network or the checkout is unknown; the message says why.
    """

    name = 'official'

    def __init__(
        self,
        model: str,
        variant: str | None,
        checkout: str | Path,
        weights: str | Path = 'random',
        device: str = 'cpu',
        precision: str = 'fp32',
        iterations: int = 0,
        threads: int = 0,
    ) -> None:
        import torch

        from nndepth_core.models import create_model
        from nndepth_core.weights import read_checkpoint

        warnings.simplefilter('ignore')  # torch warns of names that were current in their time
        torch.set_num_threads(threads or physical_cores())
        self.device = 'cuda' if device != 'cpu' and torch.cuda.is_available() else 'cpu'
        ours = create_model(model, variant)
        self.spec = ours.spec
        self.iterations = iterations or ours.spec.iterations
        variant = ours.spec.variant
        if (model, variant) not in OFFICIAL:
            known = ', '.join('-'.join(names) for names in OFFICIAL)
            raise ValueError(f'no official code of {model}-{variant} is known; only {known}')
        official = OFFICIAL[model, variant]

        self._dtype = {'fp16': torch.float16, 'bf16': torch.bfloat16}.get(precision, torch.float32)
        torch.manual_seed(0)
        self.network = _make(
            official.but(
                mixed_precision=precision != 'fp32',
                precision_dtype=str(self._dtype).removeprefix('torch.'),
            ),
            Path(checkout),
        )
        if weights != 'random':
            self.network.load_state_dict(read_checkpoint(weights))
        self.network.eval().to(self.device)
        self._call = official.call

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Map left and right, uint8 RGB (1, H, W, 3), to the disparity (1, H, W)."""
        import torch

        reduced = self._dtype is not torch.float32
        with torch.inference_mode(), torch.autocast(self.device, self._dtype, enabled=reduced):
            left, right = _images(inputs, self.device)
            disparity = self._call(self.network, left, right, self.iterations)
        return {'disparity': disparity[:, 0].float().cpu().numpy()}

    def self_test(self) -> None:
        """Do nothing: the authors' network is the reference."""


class CallableEngine:
    """Runs any stereo network that a checkout makes, to measure its speed and memory.

    Args:
        model: the name of our network, whose sizes are given to it.
        variant: the variant of our network; None takes the first.
        place: 'PATH:module:callable'. Without arguments, `callable` of `module` in the folder
            PATH makes a function or network. It is called with left and right, RGB (1, 3, H, W)
            in 0..255, and returns a tensor, or several of which the last one is taken.
        device: see `OfficialEngine`.
        precision: 'fp32', or 'fp16' and 'bf16' by autocast.
        threads: see `OfficialEngine`.

    Raises:
        ValueError: the place is not written so, or holds no such module or callable.
    """

    name = 'official'

    def __init__(
        self,
        model: str,
        variant: str | None,
        place: str,
        device: str = 'cpu',
        precision: str = 'fp32',
        threads: int = 0,
    ) -> None:
        import torch

        from nndepth_core.models import create_model

        torch.set_num_threads(threads or physical_cores())
        self.device = 'cuda' if device != 'cpu' and torch.cuda.is_available() else 'cpu'
        self.spec = create_model(model, variant).spec
        self.iterations = self.spec.iterations
        self._dtype = {'fp16': torch.float16, 'bf16': torch.bfloat16}.get(precision, torch.float32)
        try:
            folder, module, maker = place.split(':')
            sys.path.insert(0, folder)
            made = getattr(import_module(module), maker)()
        except AttributeError as error:
            raise ValueError(f'{place}: {error}') from error
        except ValueError as error:
            raise ValueError(f'{place} is not PATH:module:callable') from error
        self._network = made.eval().to(self.device) if isinstance(made, torch.nn.Module) else made

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Map left and right, uint8 RGB (1, H, W, 3), to the result (1, H, W)."""
        import torch

        reduced = self._dtype is not torch.float32
        with torch.inference_mode(), torch.autocast(self.device, self._dtype, enabled=reduced):
            result = self._network(*_images(inputs, self.device))
        while isinstance(result, list | tuple):
            result = result[-1]
        height, width = result.shape[-2:]
        return {'disparity': result.float().reshape(-1, height, width)[:1].cpu().numpy()}

    def self_test(self) -> None:
        """Do nothing: only its speed and memory are of interest."""


def _images(inputs: Mapping[str, np.ndarray], device: str) -> tuple[Tensor, Tensor]:
    """Left and right as float RGB (1, 3, H, W) in 0..255 on the device."""
    import torch

    left, right = (
        torch.from_numpy(inputs[name]).to(device).permute(0, 3, 1, 2).float().contiguous()
        for name in ('left', 'right')
    )
    return left, right


def _make(official: Official, checkout: Path) -> nn.Module:
    folder = checkout / official.folder
    sys.path.insert(0, str(folder))
    if official.bare:
        package = ModuleType(official.bare)
        package.__path__ = [str(folder.joinpath(*official.bare.split('.')))]
        sys.modules[official.bare] = package
    try:
        cls = getattr(import_module(official.module), official.cls)
    except ModuleNotFoundError as error:
        if error.name and f'{official.module}.'.startswith(f'{error.name}.'):
            raise ValueError(
                f'{folder} has no {official.module}; give a checkout of the code of that network'
            ) from error
        raise ValueError(
            f'the official code needs {error.name}; install it, in the version its authors name'
        ) from error
    return official.make(cls, Settings(official.settings))


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
    mean, deviation = (
        left.new_tensor(rgb).view(3, 1, 1)
        for rgb in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    left, right = ((image / 255 - mean) / deviation for image in (left, right))
    return network({'left': left, 'right': right})['disp_pred']


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
_LIGHT_L = _LIGHT.but(EXPANSE_RATIO=8, AGGREGATION_BLOCKS=[8, 16, 32])

OFFICIAL = {
    ('raft_stereo', 'base'): _RAFT,
    ('raft_stereo', 'realtime'): _RAFT.but(
        n_gru_layers=2, n_downsample=3, shared_backbone=True, slow_fast_gru=True
    ),
    ('raft_stereo', 'rvc'): _RAFT.but(context_norm='instance'),
    ('crestereo', 'base'): _CRE,
    ('crestereo', 'cascade'): replace(_CRE, call=_cascade),
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
    ('light_stereo', 's'): _LIGHT,
    ('light_stereo', 'm'): _LIGHT.but(AGGREGATION_BLOCKS=[4, 8, 16]),
    ('light_stereo', 'l'): _LIGHT_L,
    ('light_stereo', 'h'): _LIGHT_L.but(BACKBONE='EfficientNetv2'),
}
"""By network and variant of ours. CREStereo's is a port to PyTorch; its authors use MegEngine."""
