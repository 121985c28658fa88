"""Engines execute models. Neither torch nor ONNX Runtime is imported until an engine is made."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nndepth_core.engines.base import Engine, EngineError, ModelSpec
from nndepth_core.engines.request import Request, find_request, network_of_others, split_model
from nndepth_core.engines.sgbm import SgbmEngine, SgbmSettings
from nndepth_core.engines.source import Source
from nndepth_core.export.cache import stored_export
from nndepth_core.spec import Task
from nndepth_core.weights.catalogue import catalogue
from nndepth_core.weights.checkpoint import CheckpointError
from nndepth_core.weights.description import RANDOM, Origin
from nndepth_core.weights.licenses import check_commercial, commercial_use

if TYPE_CHECKING:
    from nndepth_core.engines.onnx import OnnxEngine
    from nndepth_core.engines.torch import TorchEngine

__all__ = [
    'AUTO',
    'DEFAULT_NETWORK',
    'DEVICES',
    'ENGINES',
    'MODELS',
    'MOST',
    'PRECISIONS',
    'Engine',
    'EngineError',
    'ModelSpec',
    'check_names',
    'common_task',
    'create_engine',
    'resolve_model',
    'split_model',
]

_log = logging.getLogger(__name__)

AUTO = 'auto'
MODELS = (AUTO, *catalogue())
DEFAULT_NETWORK = 'nano_stereo'
"""The network whose weights come with the package."""
ENGINES = ('auto', 'opencv', 'onnxruntime', 'torch')
DEVICES = ('auto', 'cpu', 'cuda', 'tensorrt')
PRECISIONS = ('auto', 'fp32', 'fp16', 'bf16', 'int8')

MOST = {'iterations': 1000, 'threads': 1024}


def create_engine(
    model: str,
    engine: str = 'auto',
    device: str = 'auto',
    *,
    weights: str | Path = '',
    network_settings: str = '',
    precision: str = 'auto',
    iterations: int = 0,
    threads: int = 0,
    task: Task | None = None,
    commercial_only: bool = False,
    origin: Origin | None = None,
    **options: Any,
) -> Engine:
    """Make the engine that executes `model`.

    Args:
        model: 'sgbm', the name of a network, which may have a variant ('raft_stereo' or
            'raft_stereo-realtime'), the path of an .onnx file, or 'auto' (see `resolve_model`).
            Without a variant, weights that tell theirs decide, else it is the network's first.
        engine: a name of ENGINES. With 'auto', OpenCV runs sgbm and ONNX Runtime runs files. A
            network is run by ONNX Runtime if `nndepth export` has put a file with the same
            weights, settings, iterations and precision into the cache, and otherwise by torch.
        device: a name of DEVICES; sgbm always runs on the CPU.
        weights: for a network: the path of a checkpoint file, a folder that
            `Estimator.save_pretrained` or transformers wrote, the name of a stored checkpoint
            ('middlebury'), '' for the one that was stored last, or 'random' for random numbers,
            which only serve to measure speed.
        network_settings: for a network, settings of its constructor in place of its own, each as
            NAME=VALUE, with blanks between them. What the network has anyway, or another of its
            variants has, changes nothing or stands for that variant.
        precision: for a network, a name of PRECISIONS; 'auto' takes what suits the device.
        iterations: for an iterative network, the number of iterations; 0 takes its default.
            Other networks ignore it with a warning.
        threads: for a network on the CPU, the number of threads; 0 takes one per physical core.
        task: what the model must be for, as far as its name tells; None takes any.
        commercial_only: whether to refuse weights whose stated licence does not allow commercial
            use.
        origin: where the weights or the .onnx file came from; None finds out.
        options: further settings of SgbmSettings, OnnxEngine or TorchEngine.

    Raises:
        EngineError: a name is unknown or does not fit the others, or something needed is missing.
    """
    check_names(model, engine, device, precision, task)
    cores = os.cpu_count() or 1
    if cores < threads <= MOST['threads']:
        _log.warning('threads is %d and this machine has %d cores; all are used', threads, cores)
        threads = cores
    for kind, count in (('iterations', iterations), ('threads', threads)):
        if not 0 <= count <= MOST[kind]:
            raise EngineError(f'{kind} is {count}; give 1..{MOST[kind]}, or 0 for the default')

    model = resolve_model(model, engine)
    settings = {'precision': precision, 'iterations': iterations, 'threads': threads, **options}
    try:
        if model == 'sgbm':
            _refuse_unless(model, engine, 'opencv')
            if device not in ('auto', 'cpu'):
                raise EngineError(f'sgbm runs on the cpu, not on {device}; choose device cpu')
            return SgbmEngine(SgbmSettings(**options))
        if Path(model).suffix == '.onnx':
            _refuse_unless(model, engine, 'onnxruntime')
            read = _onnx_engine(model, device, settings)
            if read.card and (read.card.license or origin is None):
                origin = read.card.origin
            _check_license(model, origin.license if origin else None, commercial_only)
            read.source = Source.of(read.path, origin)
            return read
        if engine == 'opencv':
            raise EngineError(f'opencv runs sgbm only, not {model}; choose onnxruntime or torch')
        request = find_request(model, weights, network_settings, origin)
        if request.weights == RANDOM:
            return _network_engine(request, engine, device, settings)
        _check_license(request.title, request.origin.license, commercial_only)
        source = Source.of(
            Path(request.weights),
            request.origin,
            (request.name, request.variant),
            request.settings,
        )
        made = _network_engine(request, engine, device, settings)
        made.source = source
        return made
    except CheckpointError as error:
        raise EngineError(str(error)) from error
    except (TypeError, ValueError) as error:
        raise EngineError(f'{model}: {error}') from error


def resolve_model(model: str = AUTO, engine: str = 'auto') -> str:
    """Return the name of the model; for 'auto', the name of the model that it stands for.

    'auto' stands for the network that comes with the package. It stands for sgbm, with a warning,
    if the engine is opencv or if no package is installed that runs networks.
    """
    if model != AUTO:
        return model
    if engine == 'opencv':
        return 'sgbm'
    if _installed('onnxruntime') or _installed('torch', 'safetensors'):
        return DEFAULT_NETWORK
    warnings.warn(
        f'sgbm takes the place of {DEFAULT_NETWORK}, since neither onnxruntime nor torch is '
        'installed; pip install "nndepth[cpu]"',
        stacklevel=2,
    )
    return 'sgbm'


def check_names(
    model: str,
    engine: str = 'auto',
    device: str = 'auto',
    precision: str = 'auto',
    task: Task | None = None,
) -> None:
    """Refuse names that no engine can be made from; nothing is loaded, so this is quick.

    Raises:
        EngineError: a name is unknown, or not one of a model for the task.
    """
    for kind, value, known in (
        ('engine', engine, ENGINES),
        ('device', device, DEVICES),
        ('precision', precision, PRECISIONS),
    ):
        if value not in known:
            raise EngineError(f'{kind} {value!r} is unknown; choose one of {", ".join(known)}')
    if Path(model).suffix == '.onnx':
        return
    fitting = [name for name in MODELS if task in (None, task_of(name))]
    name = model.partition('-')[0]
    other = network_of_others(name)
    if name not in fitting and (other is None or task not in (None, other.spec.task)):
        what = f'is no {task} model' if other or name in MODELS else 'is unknown'
        raise EngineError(
            f'model {model!r} {what}; choose one of {", ".join(fitting)}, or give the path '
            'of an .onnx file'
        )


def task_of(name: str) -> Task:
    """What a model of MODELS, or a network of others, is for."""
    if (other := network_of_others(name)) is not None:
        return other.spec.task
    return catalogue()[DEFAULT_NETWORK if name == AUTO else name].task


def common_task(models: Mapping[str, str], task: Task | None = None) -> Task | None:
    """Find the task that models share; nothing is loaded.

    Args:
        models: parameters -> the models that they name; what is no known network, such as an
            .onnx file, fits every task until it is loaded.
        task: the one that is asked for; None for that of the models.

    Returns:
        The task, None if nothing tells it.

    Raises:
        EngineError: they have different tasks, or not the one that is asked for.
    """
    known: dict[str, Task] = {}
    for parameter, model in models.items():
        with suppress(EngineError, KeyError):
            known[f'{parameter} is {model!r}'] = task_of(model.partition('-')[0])
    tasks = {*known.values(), *([task] if task else [])}
    if len(tasks) > 1:
        told = [f'{what}, a {of} model' for what, of in known.items()]
        told += [f'task is {task!r}'] if task else []
        raise EngineError(f'{" and ".join(told)}; give models of one task')
    return tasks.pop() if tasks else None


def _network_engine(
    request: Request, engine: str, device: str, settings: dict[str, Any]
) -> OnnxEngine | TorchEngine:
    special = settings.keys() - {'precision', 'iterations', 'threads'}  # settings of torch only
    by_onnx = engine == 'onnxruntime' or (
        engine == 'auto' and not special and _onnx_serves(device)
    )
    if by_onnx and (made := _exported(request, engine, device, settings)) is not None:
        return made
    if not _installed('torch', *(() if request.weights == RANDOM else ('safetensors',))):
        raise EngineError(
            f'{request.title} needs torch: pip install "nndepth[torch]"; or `nndepth export` it '
            'where torch is, and give the .onnx file as model, which needs "nndepth[cpu]" only'
        )
    from nndepth_core.engines.torch import TorchEngine, load_network

    network = load_network(
        request.name, request.variant, request.weights, request.settings, request.origin
    )
    return TorchEngine(network, device, **settings)


def _exported(
    request: Request, engine: str, device: str, settings: dict[str, Any]
) -> OnnxEngine | None:
    """Make the engine of a network's export; None where there is none and torch may serve."""
    precision, steps = settings['precision'], settings['iterations']
    if engine == 'onnxruntime' and precision == 'bf16':
        raise EngineError('onnxruntime computes no bf16; choose fp32, fp16 or int8, or torch')
    held = 'fp32' if precision == 'auto' else precision
    export = stored_export(request.export(held, steps))
    if export is not None:
        try:
            return _onnx_engine(export, device, settings)
        except EngineError as error:  # such as an export of an earlier version
            if engine == 'onnxruntime' or not _installed('torch', 'safetensors'):
                raise
            _log.warning('%s; torch takes its place', error)
            return None
    if steps and (export := stored_export(request.export(held))) is not None:
        with suppress(EngineError):  # it takes other iterations
            return _onnx_engine(export, device, settings)
    if engine == 'onnxruntime':
        raise EngineError(
            f'{request.title} has no export of these weights, settings, iterations and precision; '
            f'run `{request.export_command(held, steps)}`, or choose engine torch'
        )
    return None


def _onnx_engine(path: str | Path, device: str, settings: dict[str, Any]) -> OnnxEngine:
    if not _installed('onnxruntime'):
        raise EngineError(
            f'{path} needs onnxruntime: pip install "nndepth[cpu]", with an NVIDIA GPU '
            '"nndepth[gpu]"'
        )
    from nndepth_core.engines.onnx import OnnxEngine

    return OnnxEngine(path, device, **settings)


def _check_license(model: str, license: str | None, commercial_only: bool) -> None:
    if commercial_only:
        check_commercial(license)
    _tell_license(model, license)


@cache
def _tell_license(model: str, license: str | None) -> None:
    """Log once that the licence of a model's weights forbids commercial use, if it does."""
    if commercial_use(license) == 'forbidden':
        _log.warning(
            'the weights of %s are under the licence %s, which forbids commercial use',
            model,
            license,
        )


def _onnx_serves(device: str) -> bool:
    """Tell whether ONNX Runtime is installed and can use the GPU if torch could."""
    if not _installed('onnxruntime'):
        return False
    from nndepth_core.engines.onnx import find_devices

    if device == 'cpu' or find_devices(device)[0] != 'cpu' or not _installed('torch'):
        return True
    if metadata.version('torch').endswith('+cpu'):  # importing it would take seconds
        return True
    import torch

    return not torch.cuda.is_available()


def _refuse_unless(model: str, engine: str, fitting: str) -> None:
    if engine not in ('auto', fitting):
        raise EngineError(f'{model} is run by {fitting}, not by {engine}; choose auto')


def _installed(*packages: str) -> bool:
    return all(find_spec(package) is not None for package in packages)
