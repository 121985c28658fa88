"""What to find out of a network on a GPU, one function a step (see `plan`)."""

from __future__ import annotations

import platform
import time
from typing import Any

import numpy as np
import torch

from nndepth_core.benchmark.measure import OFFICIAL, Case, describe_machine, measure_here
from nndepth_core.benchmark.plan import UnavailableError
from nndepth_core.engines.reference import textured_inputs
from nndepth_core.engines.torch import TorchEngine
from nndepth_core.models import create_model
from nndepth_core.models.base import Network
from nndepth_core.weights.description import RANDOM

MODES = {
    'eager': {},
    'graph': {'cuda_graph': True},
    'compiled': {'compile': True},
}
"""The settings of `TorchEngine` by the name of a way to run a network."""

_MIB = 2**20
_WARM_UP = 3


def describe_gpu() -> dict[str, Any]:
    """The machine, its GPU and the versions that matter."""
    facts = {**describe_machine(), 'python': platform.python_version()}
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties(0)
        facts |= {
            'gpu': gpu.name,
            'gpu_memory_mib': gpu.total_memory // _MIB,
            'capability': f'{gpu.major}.{gpu.minor}',
            'cuda': torch.version.cuda,
            'cudnn': torch.backends.cudnn.version(),
        }
    return facts


def allow_tf32(allowed: bool) -> None:
    """Choose whether products of float32 may be computed in TF32, which has 10 bits."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def compare_precisions(
    name: str, variant: str, network: Network, device: str, size: tuple[int, int]
) -> dict[str, Any]:
    """Compare TF32, fp16 and bf16 with fp32 on a textured pair.

    Args:
        name: of the network.
        variant: of the network.
        network: with its weights, in eval mode; it is not changed.
        device: 'cuda' or 'cpu', where TF32 and fp16 are left out.
        size: (width, height) of the images.

    Returns:
        The mean and the largest difference by precision, in the unit of the output.
    """
    state = network.state_dict()
    inputs = textured_inputs(network.spec, *size[::-1])

    def output(precision: str, tf32: bool = False) -> np.ndarray:
        allow_tf32(tf32)
        own = create_model(name, variant)
        own.load_state_dict(state)
        return TorchEngine(own, device, precision, threads=_threads(device)).run(inputs)[
            network.spec.output
        ]

    ways = {'bf16': ('bf16', False)}
    if device != 'cpu':
        ways = {'tf32': ('fp32', True), 'fp16': ('fp16', False), **ways}
    exact = output('fp32')
    figures: dict[str, Any] = {'unit': network.spec.unit, 'magnitude': float(np.abs(exact).mean())}
    for way, (precision, tf32) in ways.items():
        off = np.abs(output(precision, tf32) - exact)
        figures |= {f'{way}_mean': float(off.mean()), f'{way}_largest': float(off.max())}
    return figures


def latency(
    model: str,
    size: tuple[int, int],
    device: str,
    precision: str,
    mode: str,
    runs: int,
    seconds: float,
    checkout: str = '',
) -> dict[str, Any]:
    """Measure one way to run a network, from images to maps in main memory.

    Args:
        model: network and variant, 'light_stereo-s'.
        size: (width, height) of the images.
        device: 'cuda' or 'cpu'.
        precision: see `TorchEngine`.
        mode: a name of MODES.
        runs: the largest number of runs.
        seconds: see `measure_here`.
        checkout: the authors' code, which is measured in place of ours if it is given; see `Case`.
    """
    if device == 'cpu' and (mode == 'graph' or precision == 'fp16'):
        raise UnavailableError(f'{mode} in {precision} needs a GPU')
    if device != 'cpu':
        torch.cuda.empty_cache()
        allow_tf32(precision != 'fp32')
    if mode == 'compiled':
        torch.compiler.reset()  # it gives up on code that was compiled for several networks
    engine = OFFICIAL if checkout else 'torch'
    case = Case(
        model,
        engine,
        size,
        device,
        precision,
        threads=_threads(device),
        weights=RANDOM,
        checkout=checkout,
        **MODES[mode],
    )
    figures = measure_here(case, runs, _WARM_UP, seconds).figures()
    kept = ('p50_ms', 'p95_ms', 'per_second', 'memory_mib')
    return {name: figures[name] for name in kept}


def _threads(device: str) -> int:
    """One thread on the CPU, where others may run; a GPU leaves the choice to the engine."""
    return 1 if device == 'cpu' else 0


def training_rate(
    name: str,
    variant: str,
    device: str,
    size: tuple[int, int],
    batch: int,
    precision: str,
    seconds: float,
) -> dict[str, Any]:
    """Measure steps of training: forward, backward and AdamW.

    The loss is the mean magnitude of all outputs; losses of the recipes need more packages.

    Args:
        name: of the network.
        variant: of the network.
        device: 'cuda' or 'cpu'.
        size: (width, height) of the images.
        batch: the number of samples in a step.
        precision: 'fp32' or 'bf16'.
        seconds: no step begins later than this after the first; there is at least one.
    """
    torch.manual_seed(0)
    allow_tf32(True)
    network = create_model(name, variant).train().to(device)
    network.spec.check_size(*size[::-1])
    inputs = textured_inputs(network.spec, *size[::-1])
    images = [
        torch.from_numpy(np.repeat(inputs[kind], batch, 0)).to(device).permute(0, 3, 1, 2).float()
        for kind in network.spec.images
    ]
    optimizer = torch.optim.AdamW(network.parameters(), 1e-6)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16, enabled=precision == 'bf16'):
            outputs = network(*images)
        loss = sum(x.float().abs().mean() for x in outputs)
        loss.backward()
        optimizer.step()
        return loss.item()  # waits for the GPU

    if device != 'cpu':
        torch.cuda.reset_peak_memory_stats()
    losses = [step()]
    begun, end = time.monotonic(), time.monotonic() + seconds
    while len(losses) == 1 or time.monotonic() < end:
        losses.append(step())
    rate = (len(losses) - 1) / (time.monotonic() - begun)
    if not np.isfinite(losses).all():
        raise FloatingPointError(f'the loss is {losses[-1]} after {len(losses)} steps')
    memory = torch.cuda.max_memory_allocated() / _MIB if device != 'cpu' else None
    return {'steps_per_second': rate, 'samples_per_second': rate * batch, 'memory_mib': memory}
