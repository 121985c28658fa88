"""Errors that commands expect, each told in one line."""

from nndepth_core.engines import EngineError

EXPECTED_ERRORS = (ValueError, OSError, ModuleNotFoundError, EngineError)

EXTRA_OF = {
    'accelerate': 'train',
    'foxglove': 'view',
    'fsspec': 'fleet',
    'gradio': 'app',
    'h5py': 'train',
    'huggingface_hub': 'torch',
    'jsonargparse': 'train',
    'mcap': 'bags',
    'onnx': 'export',
    'onnxruntime': 'cpu',
    'onnxscript': 'export',
    'ray': 'fleet',
    'rerun': 'view',
    'rosbags': 'bags',
    'safetensors': 'torch',
    'tensorboard': 'train',
    'torch': 'torch',
    'transformers': 'mono',
}
"""The extra of nndepth that brings a package, by the name under which it is imported."""
