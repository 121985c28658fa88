"""Which providers of ONNX Runtime run on a device, and where TensorRT stores its engines."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PROVIDERS = {
    'tensorrt': 'TensorrtExecutionProvider',
    'cuda': 'CUDAExecutionProvider',
    'cpu': 'CPUExecutionProvider',
}
FALLBACKS = {
    'auto': ('cuda', 'cpu'),
    'cpu': ('cpu',),
    'cuda': ('cuda', 'cpu'),
    'tensorrt': ('tensorrt', 'cuda', 'cpu'),
}
"""Devices in the order of trying them; 'auto' omits TensorRT, which needs minutes to start."""


def usable_devices(device: str, available: Sequence[str]) -> tuple[str, ...]:
    """List the devices to try for `device` whose provider is among the available ones."""
    return tuple(name for name in FALLBACKS[device] if PROVIDERS[name] in available)


def tensorrt_folder(
    cache: Path,
    model_sha256: str,
    runtime: str,
    tensorrt: str,
    gpu: str,
    shape: Sequence[int],
    precision: str,
) -> Path:
    """Where the TensorRT engines of one model are stored; the name holds all they depend on.

    Args:
        cache: the user's cache folder.
        model_sha256: the hash of the ONNX file.
        runtime: the version of ONNX Runtime.
        tensorrt: the version of TensorRT.
        gpu: the name of the GPU.
        shape: the shape of the inputs.
        precision: 'fp32' or 'fp16'.
    """
    size = 'x'.join(map(str, shape))
    versions = f'ort{runtime}-trt{tensorrt}'
    name = f'{model_sha256[:16]}-{versions}-{gpu}-{size}-{precision}'
    return cache / 'tensorrt' / re.sub(r'[^\w.-]+', '_', name)


def tensorrt_options(folder: Path, precision: str) -> dict[str, Any]:
    """Make the options with which the TensorRT provider stores its engines in a folder."""
    return {
        'trt_engine_cache_enable': True,
        'trt_engine_cache_path': str(folder),
        'trt_timing_cache_enable': True,
        'trt_timing_cache_path': str(folder),
        'trt_fp16_enable': precision == 'fp16',
    }


def gpu_name() -> str:
    """The name of the first GPU, or 'unknown' if the driver does not tell it."""
    try:
        cuda = ctypes.CDLL('libcuda.so.1')
    except OSError:
        return 'unknown'
    name, gpu = ctypes.create_string_buffer(256), ctypes.c_int()
    failed = (
        cuda.cuInit(0)
        or cuda.cuDeviceGet(ctypes.byref(gpu), 0)
        or cuda.cuDeviceGetName(name, len(name), gpu)
    )
    return 'unknown' if failed else name.value.decode()


def tensorrt_version() -> str:
    """The version of the TensorRT library that ONNX Runtime loads, 'unknown' if there is none."""
    for library in ('libnvinfer.so.10', 'libnvinfer.so.8', 'libnvinfer.so'):
        try:
            return str(ctypes.CDLL(library).getInferLibVersion())
        except OSError:
            continue
    return 'unknown'
