"""Filling networks with official weights and looking what goes in and out of their modules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from fill import fill, load_golden
from torch import Tensor, nn

from nndepth_core.models import create_model
from nndepth_core.models.base import StereoNetwork
from nndepth_core.weights import load_official


class Recording:
    """Tensors by module name, one list item a call.

    Attributes:
        inputs: positional arguments of each call.
        outputs: result of each call.
    """

    def __init__(self) -> None:
        self.inputs: dict[str, list[Any]] = defaultdict(list)
        self.outputs: dict[str, list[Any]] = defaultdict(list)


@contextmanager
def record(model: nn.Module) -> Iterator[Recording]:
    """Record every module call of `model`; tensors are copied, since modules work in place."""
    recording = Recording()

    def before(name: str) -> Any:
        return lambda module, args: recording.inputs[name].append(_copy(args))

    def after(name: str) -> Any:
        return lambda module, args, output: recording.outputs[name].append(_copy(output))

    hooks = []
    for name, module in model.named_modules():
        hooks += [module.register_forward_pre_hook(before(name))]
        hooks += [module.register_forward_hook(after(name))]
    try:
        yield recording
    finally:
        for hook in hooks:
            hook.remove()


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, list | tuple):
        items = [_copy(item) for item in value]
        return type(value)(*items) if hasattr(value, '_fields') else type(value)(items)
    return value


def official_state(facts: dict[str, Any]) -> dict[str, Tensor]:
    """The official state dict under the fill rule, from a golden's entries and gain."""
    state = {}
    for name, shape in facts['entries']:
        values = torch.from_numpy(np.asarray(fill(name, tuple(shape)), np.float32))
        state[name] = values * facts['gain'].get(name, 1)
    return state


def every(values: Tensor, step: int, dim: int = 1) -> np.ndarray:
    """Every `step`-th element along an axis, as goldens hold large arrays."""
    index = torch.arange(0, values.shape[dim], step)
    return values.detach().index_select(dim, index).numpy()


def run_golden(
    network: nn.Module,
    facts: dict[str, Any],
    arrays: dict[str, np.ndarray],
    device: str = 'cpu',
) -> torch.Tensor:
    """What a network gives on the inputs of its golden, in eval mode, on its device."""
    inputs = [torch.from_numpy(arrays[name]).to(device).float() for name in network.spec.inputs]
    steps = {'iterations': facts['iterations']} if network.spec.iterations else {}
    return network(*inputs, **steps, **facts.get('settings', {}))


@dataclass
class Run:
    """What a network gave under its golden weights, and what it should have given."""

    model: StereoNetwork
    facts: dict[str, Any]
    arrays: dict[str, np.ndarray]
    images: list[Tensor]
    disparity: Tensor
    confidence: Tensor
    seen: Recording


@torch.inference_mode()
def run_recorded(name: str, variant: str, iterations: int | None = None) -> Run:
    """Run a stereo network on the images of its golden and record all of its modules."""
    facts, arrays = load_golden(f'{name}_{variant}')
    model = create_model(name, variant)
    load_official(model, official_state(facts))
    images = [torch.from_numpy(arrays[side]).float() for side in ('left', 'right')]
    with record(model) as seen:
        disparity, confidence = model(*images, iterations, confidence=True)
    return Run(model, facts, arrays, images, disparity, confidence, seen)


def unpacked(arrays: dict[str, np.ndarray]) -> list[Tensor]:
    """The images of a golden that holds them as files, float32 (1, 3, H, W) in 0..255."""
    files = [cv2.imdecode(arrays[side], cv2.IMREAD_COLOR) for side in ('left', 'right')]
    return [torch.from_numpy(x[..., ::-1].transpose(2, 0, 1)[None].copy()).float() for x in files]
