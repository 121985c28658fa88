"""Runs the authors' networks from a checkout of their code, to compare them with ours.

`authors` says what to import, how to make the published network, and how to call it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from nndepth_core.benchmark.authors import OFFICIAL, Official, Settings
from nndepth_core.engines.base import physical_cores

if TYPE_CHECKING:
    from torch import Tensor, nn


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
